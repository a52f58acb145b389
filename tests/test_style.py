"""Labrig's own source passes the linter, the formatter and the type checker, under the settings in pyproject.toml."""

from __future__ import annotations

import subprocess
import sys

import pytest
from repositories import ROOT


@pytest.mark.parametrize(
    "command",
    ["ruff check", "ruff format --check", pytest.param("mypy", marks=pytest.mark.complete)],
)
def test_the_source_passes(command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command.split()], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
