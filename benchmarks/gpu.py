"""Measures gpt2_small of generated repositories on one GPU, beside a plain loop written for it, in one run.

    uv run python benchmarks/gpu.py prepare build/gpu              # here: writes the repositories; then take all along
    python benchmarks/gpu.py run build/gpu [--rounds 3]            # there: needs a framework, no network, no tyro
    python benchmarks/gpu.py run build/gpu --device cpu            # tiny sizes, to see that it works

`run` is for a machine with PyTorch, and JAX with Optax and Flax or Equinox; what it lacks is left out, and that is
said. All take turns, each in a process of its own: the plain loop (`workers/plain_gpt.py`) and PyTorch's twin, both
with and without torch.compile, and JAX's twins, which are always compiled. Utilization is of the H200's 989 teraflops
in bfloat16; beside the usual count of a token's operations stands that of the weights alone, 6 for each.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
WORKERS = CHECKOUT / "benchmarks" / "workers"
PEAK_FLOPS = 989e12  # of an H100 or H200 without sparsity, as NVIDIA states it

GPT2_SMALL = (1_024, 768, 12, 12, 50_304)
TINY = (16, 16, 1, 2, 256)
"""Context, width, depth, heads and vocabulary."""

CONTENDERS = {
    "plain": ("torch", "plain_gpt.py", "", "0"),
    "plain, compiled": ("torch", "plain_gpt.py", "", "1"),
    "pytorch": ("torch", "gpt2_small.py", "pytorch", "0"),
    "pytorch, compiled": ("torch", "gpt2_small.py", "pytorch", "1"),
    "jax, nnx": ("flax", "gpt2_small.py", "nnx", "1"),
    "jax, equinox": ("equinox", "gpt2_small.py", "equinox", "1"),
}
"""The package that each needs, its script, its repository, and whether it is compiled."""


def prepare(folder: Path) -> None:
    """Write the repositories."""
    sys.path.insert(0, str(CHECKOUT / "tests"))
    from repositories import resolve, write  # noqa: PLC0415 - needs labrig, which is not there where this runs

    write(resolve({"example": "text"}), folder / "pytorch")
    for library in ("nnx", "equinox"):
        write(resolve({"framework": "jax", "library": library, "example": "text"}), folder / library)
    print(f"{folder}: take it and {CHECKOUT / 'benchmarks'} to the GPU")


def run(
    folder: Path, *, device: str, rounds: int, steps: int, batch: int, parts: int
) -> dict[str, list[dict[str, Any]]]:
    """What each contender says, round by round."""
    corpus = folder.absolute() / "corpus.bin"
    corpus.write_bytes(os.urandom(20_000_000))  # which bytes they are does not matter to the clock
    sizes = TINY if device == "cpu" else GPT2_SMALL
    warmup_steps = steps // 3 // 5 * 5
    figures: dict[str, list[dict[str, Any]]] = {}
    for number in range(rounds):
        for name, (package, script, repository, compiled) in CONTENDERS.items():
            if importlib.util.find_spec(package) is None:
                if number == 0:
                    print(f"{name}: left out, because there is no {package}")
                continue
            numbers = (batch, parts, steps, warmup_steps, *sizes)
            command = [sys.executable, str(WORKERS / script), str(corpus), device, compiled, *map(str, numbers)]
            tiny = {"JAX_PLATFORMS": "cpu", "OMP_NUM_THREADS": "1"} if device == "cpu" else {}
            environment = {**os.environ, "PYTHONPATH": "src", **tiny}
            where = folder / repository
            done = subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"{name}: failed\n{done.stderr[-2_000:]}")
                continue
            figures.setdefault(name, []).append(json.loads(done.stdout.splitlines()[-1]))
            print(f"round {number + 1}: {name}: {statistics.median(figures[name][-1]['step_ms']):.1f} ms", flush=True)
    return figures


def report(figures: dict[str, list[dict[str, Any]]], device: str, batch: int) -> None:
    """Print a table of medians; the ratio is that of tokens per second to the plain loop, compiled alike."""
    context, width, depth, _, vocabulary = TINY if device == "cpu" else GPT2_SMALL
    weights = 12 * depth * width**2 + width * vocabulary
    flops = 6 * weights + 12 * depth * width * context
    rates = {
        name: [batch * context * 1_000 / statistics.median(one["step_ms"]) for one in rounds]
        for name, rounds in figures.items()
    }
    print(f"{'':18} {'tokens/s: least':>15} {'median':>9} {'most':>9} {'ratio':>6} {'util.':>6} {'6N':>6} first s  GiB")
    for name, values in rates.items():
        plain = "plain" if name in {"plain", "pytorch"} else "plain, compiled"
        median = statistics.median(values)
        ratio = f"{median / statistics.median(rates[plain]):.2f}" if plain in rates else "-"
        used = [f"{median * count / PEAK_FLOPS:.1%}" if device == "cuda" else "-" for count in (flops, 6 * weights)]
        first = statistics.median(one["first_step_seconds"] for one in figures[name])
        memory = [one["memory_peak_gib"] for one in figures[name]]
        gib = f"{max(memory):.1f}" if None not in memory else "-"
        words = f"{min(values):15,.0f} {median:9,.0f} {max(values):9,.0f} {ratio:>6} {used[0]:>6} {used[1]:>6}"
        print(f"{name:18} {words} {first:7.1f} {gib:>4}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("prepare", "run"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60, help="a multiple of 5; the first third is left out")
    parser.add_argument("--batch", type=int, default=64, help="sequences for each step")
    parser.add_argument("--parts", type=int, default=2, help="that it is computed in, one after the other")
    parser.add_argument("--json", type=Path, help="store the figures there, too")
    arguments = parser.parse_args()
    if arguments.what == "prepare":
        prepare(arguments.folder)
        return
    figures = run(
        arguments.folder,
        device=arguments.device,
        rounds=arguments.rounds,
        steps=arguments.steps,
        batch=arguments.batch,
        parts=arguments.parts,
    )
    report(figures, arguments.device, arguments.batch)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
