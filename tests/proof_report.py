"""The table that a test run prints and stores: what was proven, by how many checks, in how many seconds."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "build" / "proof"


class Report:
    """Figures by their names, in the order they were found."""

    def __init__(self) -> None:
        self.figures: dict[str, int | float | str] = {}
        self.checks: dict[str, int] = {}  # by tool

    def count(self, checks: Mapping[str, int]) -> None:
        """Add checks, by the tool that made them."""
        for tool, amount in checks.items():
            self.checks[tool] = self.checks.get(tool, 0) + amount

    @contextmanager
    def seconds(self, what: str) -> Iterator[None]:
        """Measure the processor time of a stretch of work, with that of the processes it ran."""
        start = sum(os.times()[:4])
        yield
        self.figures[what] = round(sum(os.times()[:4]) - start, 2)

    def rows(self) -> list[tuple[str, str]]:
        """The table: what, and how many."""
        figures = [
            (what, f"{value:,}" if isinstance(value, int) else str(value)) for what, value in self.figures.items()
        ]
        checks = [(f"checks: {tool}", f"{amount:,}") for tool, amount in sorted(self.checks.items())]
        return [*figures, *checks]

    def store(self, folder: Path) -> None:
        """Write the table for programs (report.json) and for people (report.md)."""
        folder.mkdir(parents=True, exist_ok=True)
        now = datetime.now(UTC).date().isoformat()
        content = {"date": now, "figures": self.figures, "checks": self.checks}
        (folder / "report.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        lines = [f"| proof of {now} | |", "|---|---:|", *(f"| {what} | {value} |" for what, value in self.rows())]
        (folder / "report.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


REPORT = pytest.StashKey[Report]()


@pytest.fixture(scope="session")
def proof_report(pytestconfig: pytest.Config) -> Report:
    """The report of this run."""
    return pytestconfig.stash.setdefault(REPORT, Report())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the report and store it."""
    report = config.stash.get(REPORT, None)
    if report is None:
        return
    report.store(FOLDER)
    width = max(len(what) for what, _ in report.rows())
    terminalreporter.section("proof")
    for what, value in report.rows():
        terminalreporter.line(f"{what:{width}}  {value:>14}")
    terminalreporter.line(f"stored in {FOLDER}")
