"""A compiled run of a generated PyTorch repository; `test_generated.py` runs this there.

It waits for a C++ compiler, which takes too long for the tests that a user runs all the time.
"""

import dataclasses
from pathlib import Path

import pytest
from demo.config import Config
from demo.run import read_rows
from demo.train import train

pytestmark = pytest.mark.filterwarnings("default")  # PyTorch's compiler uses what PyTorch itself deprecates


def test_a_compiled_run_learns_what_another_does(config: Config, tmp_path: Path) -> None:
    parts = dataclasses.replace(config, optim=dataclasses.replace(config.optim, accumulation_steps=2))
    for name, compiled in (("plain", False), ("compiled", True)):
        train(dataclasses.replace(parts, name=name, compile=compiled), tmp_path)
    plain, compiled_rows = (list(read_rows(tmp_path / name / "metrics.jsonl")) for name in ("plain", "compiled"))
    assert [row["step"] for row in plain] == [row["step"] for row in compiled_rows]
    for one, other in zip(plain, compiled_rows, strict=True):
        for figure in one.keys() & {"loss", "grad_norm", "test_loss"}:
            assert other[figure] == pytest.approx(one[figure], rel=1e-4), (one["step"], figure)
