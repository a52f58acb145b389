"""labrig answers at once: it does not import what a command does not need."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence


def cpu_seconds(command: Sequence[str]) -> float:
    """The processor time of one run."""
    before = os.times()
    subprocess.run(command, capture_output=True, check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def test_help_takes_a_third_of_the_time_that_importing_copier_takes() -> None:
    help_command = [sys.executable, "-m", "labrig", "--help"]
    import_command = [sys.executable, "-c", "import copier"]
    pairs = [(cpu_seconds(help_command), cpu_seconds(import_command)) for _ in range(6)]
    assert min(helped for helped, _ in pairs) < 0.35 * min(imported for _, imported in pairs)


def test_help_imports_neither_a_renderer_nor_prompts() -> None:
    program = (
        "import sys; from labrig.cli import main; main(['--help']); "
        "print('imported:', *sorted({'jinja2', 'yaml', 'questionary', 'rich', 'copier'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == "imported:"
