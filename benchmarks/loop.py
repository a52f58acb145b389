"""Measures the training loop of generated repositories against the same work written by hand, in one run.

    uv run python benchmarks/loop.py --framework pytorch --python .venv-with-torch/bin/python [--rounds 5]
    uv run python benchmarks/loop.py --framework jax --library equinox --python .venv-with-jax/bin/python

The Python is that of an environment with the framework, its library and tyro. Both loops take turns, each in a process
of its own on one processor, so that a busy moment of the machine meets both: compare ratios, not times. Everything runs
once before it is measured. By hand means `workers/bare_*.py`: the same model, batches, optimizer, clipping and metrics.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
WORKERS = CHECKOUT / "benchmarks" / "workers"
sys.path.insert(0, str(CHECKOUT / "tests"))

from repositories import resolve, write  # noqa: E402 - in tests/

SIZES = {
    "addition, debug (width 8)": ("addition", "debug", (600, 100, 50)),
    "text, debug (width 8)": ("text", "debug", (600, 100, 50)),
    "text, baseline (width 128)": ("text", "baseline", (60, 20, 20)),
}
"""Example, named run, and its steps, those of the warm-up among them, and those for each row of metrics."""


@dataclass
class Pair:
    """The same thing by hand and as generated, round by round."""

    unit: str
    by_hand: list[float] = field(default_factory=list)
    generated: list[float] = field(default_factory=list)

    def line(self, name: str, ratios: Sequence[float]) -> str:
        least, median, most = min(ratios), statistics.median(ratios), max(ratios)
        hand, ours = statistics.median(self.by_hand), statistics.median(self.generated)
        return f"{name:32} {hand:9.3f} {ours:9.3f} {self.unit:4} {least:6.2f} {median:6.2f} {most:6.2f}"


class Repositories:
    """Generated repositories of one framework and library, one for each example, and what runs in them."""

    def __init__(self, root: Path, framework: str, python: Path, library: str | None = None) -> None:
        self.root, self.framework, self.python = root, framework, python
        chosen = {} if library is None else {"library": library}
        for example in ("addition", "text"):
            write(resolve({"framework": framework, "example": example, **chosen}), root / example)

    def start(self, example: str, *words: str) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "PYTHONPATH": "src",
            "CUDA_VISIBLE_DEVICES": "",
            "JAX_PLATFORMS": "cpu",
            "JAX_COMPILATION_CACHE_DIR": str(self.root / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",  # as the repository has it where it chooses the folder
            "OMP_NUM_THREADS": "1",
        }
        command = [str(self.python), *words]
        return subprocess.Popen(command, cwd=self.root / example, env=environment, stdout=subprocess.PIPE, text=True)

    def said(self, example: str, worker: str, *arguments: object) -> str:
        """The last line of what a worker prints."""
        process = self.start(example, str(WORKERS / f"{worker}.py"), *map(str, arguments))
        said, _ = process.communicate()
        assert process.returncode == 0, said
        return said.splitlines()[-1]

    def number(self, example: str, worker: str, *arguments: object) -> float:
        return float(self.said(example, worker, *arguments))

    def first_step(self, *words: str) -> float:
        """The seconds until a command has made its first step."""
        begin = time.perf_counter()
        with self.start("addition", *words) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("step 1 "):
                    seconds = time.perf_counter() - begin
                    process.stdout.read()
                    return seconds
        raise AssertionError(f"{words} made no step")


def measure(repositories: Repositories, rounds: int) -> tuple[dict[str, Pair], list[float]]:
    bare = f"bare_{repositories.framework}"
    pairs = {name: Pair("ms") for name in SIZES}
    start = pairs["to the first step"] = Pair("s")
    tokens = []
    for number in range(rounds + 1):  # the first compiles modules and programs, and is forgotten
        keep = number > 0
        for name, (example, run, counts) in SIZES.items():
            times = [repositories.number(example, worker, run, *counts) for worker in (bare, "generated")]
            if keep:
                pairs[name].by_hand.append(times[0])
                pairs[name].generated.append(times[1])
        short = ("--name", f"first-{number}", "--optim.steps", "1", "--optim.warmup-steps", "0")
        by_hand = repositories.first_step(str(WORKERS / f"{bare}.py"), "debug", "1", "0", "1")
        generated = repositories.first_step("-m", "demo", "train", "debug", *short)
        rate = repositories.number("text", "generated", "batches")
        if keep:
            start.by_hand.append(by_hand)
            start.generated.append(generated)
            tokens.append(rate)
    return pairs, tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--framework", choices=("pytorch", "jax"), required=True)
    parser.add_argument("--library", help="that which is suggested unless given")
    parser.add_argument("--python", type=Path, required=True, help="with the framework, its library and tyro")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="store the figures there, too")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # the processes inherit it
    with tempfile.TemporaryDirectory() as scratch:
        repositories = Repositories(Path(scratch), arguments.framework, arguments.python.absolute(), arguments.library)
        pairs, tokens = measure(repositories, arguments.rounds)
    what = f"{arguments.framework}{f' with {arguments.library}' if arguments.library else ''}"
    print(f"{what}, {arguments.rounds} rounds, load {load:.1f} at the start; medians, and ratios of rounds")
    print(f"{'':32} {'by hand':>9} {'generated':>9}      {'least':>6} {'median':>6} {'most':>6}")
    for name, pair in pairs.items():
        both = zip(pair.by_hand, pair.generated, strict=True)
        # Of steps per second, where more is better; and of seconds to the first step, where less is.
        ratios = [hand / ours if name in SIZES else ours / hand for hand, ours in both]
        print(pair.line(name, ratios))
        if name in SIZES:
            overheads = [1_000 * (ours - hand) for hand, ours in zip(pair.by_hand, pair.generated, strict=True)]
            print(f"{'  overhead of a step':32} {statistics.median(overheads):19.0f} us")
    least, median, most = (f"{value / 1e6:.0f}" for value in (min(tokens), statistics.median(tokens), max(tokens)))
    print(f"{'batches, million tokens per second':32} {least} {median} {most}")
    if arguments.json:
        figures = {name: {"by_hand": pair.by_hand, "generated": pair.generated} for name, pair in pairs.items()}
        arguments.json.write_text(
            json.dumps({**figures, "tokens_per_second": tokens}, indent=2) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
