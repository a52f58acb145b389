"""Measures an exported model against the framework, and the service over it against bare ONNX Runtime, in one run.

    uv run python benchmarks/serve.py --python .venv-of-a-repository-with-serving/bin/python [--rounds 5]

The Python is that of an environment with PyTorch, tyro and what `serving: fastapi` requires. The worker,
`workers/serve.py`, exports a run of each example and calls in turn PyTorch, ONNX Runtime, and the service, which is a
process of its own and is asked over one connection. So a busy moment of the machine meets all of them: compare ratios.
The service may take one and a half times a bare call and 2 ms (docs/decisions/0026).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from loop import WORKERS
from repositories import resolve, write

EXAMPLES = {"addition": "addition, baseline (width 64)", "text": "text, baseline (width 128)"}
ALLOWED_RATIO, ALLOWED_MS = 1.5, 2.0


def spread(values: Sequence[float]) -> str:
    return f"{min(values):9.3f} {statistics.median(values):9.3f} {max(values):9.3f}"


def report(name: str, rounds: list[dict[str, float]]) -> None:
    print(f"\n{name:46} {'least':>9} {'median':>9} {'most':>9}")
    for what in rounds[0]:
        print(f"  {f'{what}, ms':44} {spread([one[what] for one in rounds])}")
    for rows in (1, 64):
        ratios = [one[f"ONNX Runtime, {rows} rows"] / one[f"PyTorch, {rows} rows"] for one in rounds]
        print(f"  {f'ONNX Runtime to PyTorch, {rows} rows, ratio':44} {spread(ratios)}")
    shares = [one["service, p50"] / (ALLOWED_RATIO * one["bare call, p50"] + ALLOWED_MS) for one in rounds]
    print(f"  {'service, p50, share of what is allowed':44} {spread(shares)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, required=True, help="with torch, tyro, onnxruntime and fastapi")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f} at the start")
    with tempfile.TemporaryDirectory() as scratch:
        for example, name in EXAMPLES.items():
            folder = Path(scratch) / example
            write(resolve({"framework": "pytorch", "example": example, "serving": "fastapi"}), folder)
            report(name, measure(folder, arguments.python.absolute(), arguments.rounds))


def measure(folder: Path, python: Path, rounds: int) -> list[dict[str, float]]:
    """What the worker says of each round."""
    environment = {**os.environ, "PYTHONPATH": "src", "CUDA_VISIBLE_DEVICES": ""}
    command = [str(python), str(WORKERS / "serve.py"), str(rounds)]
    process = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in process.stdout.splitlines()[-rounds:]]


if __name__ == "__main__":
    main()
