"""Measures the loop of a generated PyTorch repository beside those of others, in one run.

    uv venv --python 3.11 build/trainers
    uv pip install --python build/trainers/bin/python torch numpy tyro transformers accelerate lightning
    uv run python benchmarks/trainers.py --python build/trainers/bin/python [--rounds 5]

The others are the Trainer of Hugging Face, Lightning, and a plain loop made like nanoGPT's. The model, the batches, the
fused AdamW, clipping and the rows of metrics are the same, and all else is each one's default: `workers/trainers.py`.
They take turns, each in a process of its own on one processor. A step is timed from one batch to the next, and with it
what the processor did, which a busy machine changes less. At the end stands what logging and saving cost at the
intervals of the named run `baseline`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path

from loop import WORKERS, Repositories
from repositories import resolve, write

LOOPS = ("generated", "nanogpt", "trainer", "lightning")
STEPS = {"mlp": (1_000, 200, 50), "tiny": (600, 100, 50), "middle": (100, 20, 20)}
"""Steps, those of the warm-up among them, and those for each row of metrics."""


def measure(repositories: Repositories, rounds: int) -> dict[str, dict[str, list[dict[str, float]]]]:
    """What each loop says at each size, round by round."""
    figures: dict[str, dict[str, list[dict[str, float]]]] = {size: {loop: [] for loop in LOOPS} for size in STEPS}
    for number in range(rounds + 1):  # the first compiles modules, and is forgotten
        for size, counts in STEPS.items():
            for loop in LOOPS:
                said = repositories.said("mlp" if size == "mlp" else "text", "trainers", loop, size, *counts)
                if number > 0:
                    figures[size][loop].append(json.loads(said))
        print(f"{number} of {rounds} rounds", flush=True)
    return figures


def report(figures: dict[str, dict[str, list[dict[str, float]]]]) -> None:
    for size, loops in figures.items():
        for clock, name in (("ms", "of the clock"), ("cpu_ms", "of the processor")):
            title = f"{size}, ms {name}"
            print(f"\n{title:28} {'least':>8} {'median':>8} {'most':>8}  ratio: least median   most  over")
            ours = [one[clock] for one in loops["generated"]]
            for loop, rounds in loops.items():
                times = [one[clock] for one in rounds]
                ratios = [other / own for other, own in zip(times, ours, strict=True)]
                over = 1_000 * (statistics.median(times) - statistics.median(ours))
                spread = f"{min(times):8.3f} {statistics.median(times):8.3f} {max(times):8.3f}"
                compared = f"{min(ratios):12.2f} {statistics.median(ratios):6.2f} {max(ratios):6.2f}"
                print(f"  {loop:26} {spread}  {compared} {over:5.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, required=True, help="with torch, tyro, transformers and lightning")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="store the figures there, too")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # the processes inherit it
    with tempfile.TemporaryDirectory() as scratch:
        repositories = Repositories(Path(scratch), "pytorch", arguments.python.absolute())
        write(resolve({"framework": "pytorch", "example": "addition"}), repositories.root / "mlp")
        (repositories.root / "mlp/src/demo/model.py").write_bytes((WORKERS / "mlp.py").read_bytes())
        figures = measure(repositories, arguments.rounds)
        costs = [json.loads(repositories.said("text", "trainers", "costs", 500)) for _ in range(arguments.rounds)]
    print(f"load {load:.1f} at the start; ratios of rounds to the generated loop, and microseconds over its median")
    report(figures)
    for what in costs[0]:
        shares = [one[what] for one in costs]
        least, median, most = min(shares), statistics.median(shares), max(shares)
        print(f"{what}, percent of a run of 500 steps at the middle size: {least:.2f} {median:.2f} {most:.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps({**figures, "costs": costs}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
