"""The table that a test run prints and stores: what was proven, by how many checks, in how many seconds."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "build" / "proof"
RUNS = {
    "not complete and not release": "uv run pytest",
    "complete": "uv run pytest -m complete",
    "release": "uv run pytest -m release",
}
"""The runs whose figures are kept, by the marks that they select, with their commands."""


class Report:
    """Figures by their names, in the order they were found."""

    def __init__(self) -> None:
        self.start = time.monotonic()
        self.figures: dict[str, int | float | str] = {}
        self.checks: dict[str, int] = {}  # by tool
        self.cases: dict[str, int] = {}  # of the generated repositories: how many combinations each stands for

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

    def add(self, figures: Mapping[str, Any], checks: Mapping[str, int], cases: Mapping[str, int]) -> None:
        """Add what another process of this run has found. Both may have measured the same."""
        self.figures |= figures
        self.count(checks)
        self.cases |= cases

    def rows(self) -> dict[str, str]:
        """The table: what, and how many."""
        checks = {f"checks: {tool}": amount for tool, amount in sorted(self.checks.items())}
        cases = {f"{CASE} {case}": amount for case, amount in self.cases.items()}
        return {what: f"{value:,}" for what, value in {**self.figures, **checks, **cases}.items()}


def stored(run: str, rows: Mapping[str, str], folder: Path) -> None:
    """Write the table for programs (report.json) and for people (report.md), beside other runs of the same tree."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "report.json"
    report: dict[str, Any] = {"tree": tree(), "runs": {}}
    if path.exists() and (known := json.loads(path.read_text(encoding="utf-8"))).get("tree") == report["tree"]:
        report = known
    report["runs"][run] = {"date": datetime.now(UTC).date().isoformat(), "rows": dict(rows)}
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    runs = [report["runs"][name] for name in RUNS.values() if name in report["runs"]]
    names = dict.fromkeys(what for one in runs for what in one["rows"])
    heads = [f"`{name}`, {report['runs'][name]['date']}" for name in RUNS.values() if name in report["runs"]]
    lines = [
        f"| proof of {report['tree']} | {' | '.join(heads)} |",
        f"|---|{'---:|' * len(runs)}",
        *(f"| {what} | {' | '.join(one['rows'].get(what, '') for one in runs)} |" for what in names),
    ]
    (folder / "report.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def tree() -> str:
    """What is proven: the commit, and a hash of what has changed since."""
    head, changes, new = (
        subprocess.run(["git", *command.split()], cwd=ROOT, capture_output=True, check=True).stdout
        for command in ("rev-parse --short HEAD", "diff HEAD", "ls-files --others --exclude-standard")
    )
    changed = hashlib.sha256(changes + new).hexdigest()[:8]
    return head.decode().strip() + (f" with changes {changed}" if changes or new else "")


REPORT = pytest.StashKey[Report]()
CASE = "combinations shown by the"
DESELECTED = "tests deselected"


@pytest.fixture(scope="session")
def proof_report(pytestconfig: pytest.Config) -> Report:
    """The report of this run."""
    return pytestconfig.stash[REPORT]


def pytest_configure(config: pytest.Config) -> None:
    """Begin the report."""
    config.stash[REPORT] = Report()


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Count what this run leaves out: with pytest-xdist, pytest itself does not."""
    if items:
        figures = items[0].config.stash[REPORT].figures
        figures[DESELECTED] = int(figures.get(DESELECTED, 0)) + len(items)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand over what this worker of pytest-xdist has found."""
    if hasattr(session.config, "workeroutput"):
        report = session.config.stash[REPORT]
        session.config.workeroutput["proof"] = (report.figures, report.checks, report.cases)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a worker has found; one that crashed hands over nothing."""
    if "proof" in getattr(node, "workeroutput", {}):
        node.config.stash[REPORT].add(*node.workeroutput["proof"])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the report; store it, with every case, when the run was a whole one."""
    report = config.stash[REPORT]
    if not report.figures.keys() - {DESELECTED}:
        return
    for outcome in ("passed", "failed", "skipped"):
        report.figures[f"tests {outcome}"] = len(terminalreporter.stats.get(outcome, []))
    report.figures["seconds of the whole run"] = round(time.monotonic() - report.start)
    rows = report.rows()
    shown = {what: value for what, value in rows.items() if not what.startswith(CASE)}  # there are many
    width = max(map(len, shown))
    terminalreporter.section("proof")
    for what, value in shown.items():
        terminalreporter.line(f"{what:{width}}  {value:>14}")
    run = RUNS.get(config.option.markexpr)
    if run and not config.option.keyword and config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        stored(run, rows, FOLDER)
        terminalreporter.line(f"stored in {FOLDER}")
