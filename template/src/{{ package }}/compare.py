"""Runs held against each other by what their folders say: a table, and their curves."""

from __future__ import annotations

import datetime
import difflib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from .config import CompareConfig, flatten
from .run import RunError, read_rows, writing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UNITS = {"loss": "nats", "test_loss": "nats"}
"""Of the metrics whose names do not tell it."""

Row = dict[str, float]


@dataclass(frozen=True)
class Record:
    """What the folder of a run says, also one of an older version of this code, and one whose run goes on."""

    path: Path
    fields: dict[str, Any]
    """The configuration by the names that the command line gives it: `optim.steps`."""
    rows: dict[int, Row]
    """The metrics by the step after which they were measured."""
    commits: list[str]
    """Of the code, in the order in which the run was started with it; one with uncommitted changes ends in +."""
    is_finished: bool

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises RunError if the folder holds no run, or a broken one."""
        if not (path / "config.json").exists():
            raise RunError(f"{path} is not the folder of a run (it has no config.json)")
        try:
            fields = flatten(json.loads((path / "config.json").read_text()))
            rows: dict[int, Row] = {}
            for row in read_rows(path / "metrics.jsonl"):
                rows.setdefault(row["step"], {}).update(row)
            code = path / "code.json"
            starts = json.loads(code.read_text()) if code.exists() else []
            commits = [f"{start['commit'][:7]}{'+' if start['diff'] else ''}" for start in starts if start["commit"]]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(f"{path} is broken ({error})") from error
        return cls(path, fields, rows, list(dict.fromkeys(commits)), (path / "result.json").exists())

    @property
    def last(self) -> Row:
        """Each metric as it was measured last."""
        return {name: value for step in sorted(self.rows) for name, value in self.rows[step].items()}

    @property
    def best(self) -> Row:
        """The metrics after the step with the lowest test loss: its weights are kept."""
        tested = [row for step, row in self.rows.items() if step > 0 and "test_loss" in row]
        return min(tested, key=lambda row: row["test_loss"], default={})

    @property
    def progress(self) -> str:
        return f"{max(self.rows, default=0)} of {self.fields.get('optim.steps', '?')}"


def compare_runs(paths: Sequence[Path], asked: CompareConfig) -> str:
    """The table of the runs in these folders; the plot that is asked for is drawn beside.

    What cannot be read is left out, with a note. Raises RunError if nothing is left, or a metric is of none of them.
    """
    runs: list[Record] = []
    for path in paths:
        try:
            runs.append(Record.read(path))
        except RunError as error:
            print(f"note: {error}, and is left out", file=sys.stderr)
    if not runs:
        raise RunError("there is no run to compare; give the folders of some, such as runs/baseline")
    for run in runs:
        if not run.is_finished:
            print(f"note: {run.path} is at step {run.progress}: it runs, waits or ended early", file=sys.stderr)
    metrics = choose(runs, asked.metrics)
    if asked.plot:
        plot(runs, metrics, Path(asked.plot))
    return table(runs, metrics)


def choose(runs: Sequence[Record], wanted: Sequence[str]) -> list[str]:
    """The metrics to show: the wanted ones, or else the loss and those of the test split."""
    there = list(dict.fromkeys(name for run in runs for name in run.last))
    for name in wanted:
        if name not in there:
            close = difflib.get_close_matches(name, there, n=1)
            meant = f"did you mean {close[0]}?" if close else f"there are {', '.join(there) or 'none yet'}"
            raise RunError(f"no run has the metric {name}; {meant}")
    return list(wanted) or [name for name in there if name == "loss" or name.startswith("test_")]


def table(runs: Sequence[Record], metrics: Sequence[str]) -> str:
    """One line for each run, with the fields of the configuration in which they differ."""
    fields = dict.fromkeys(field for run in runs for field in run.fields if field != "name")
    changed = [field for field in fields if any(run.fields.get(field) != runs[0].fields.get(field) for run in runs)]
    heads = [heading for metric in metrics for heading in (with_unit(metric), "")]
    lines = [
        ["run", *changed, "step", "time", "commit", *heads],
        ["", *("" for _ in changed), "", "h:m:s", "", *("last" if heading else "best" for heading in heads)],
    ]
    for run in runs:
        time = datetime.timedelta(seconds=round(run.last.get("seconds", 0)))
        values = [row.get(metric) for metric in metrics for row in (run.last, run.best)]
        lines.append(
            [
                str(run.path),
                *(str(run.fields.get(field, "-")) for field in changed),
                run.progress,
                str(time),
                " ".join(run.commits) or "-",
                *("-" if value is None else f"{value:.4g}" for value in values),
            ]
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    return "\n".join("  ".join(line).rstrip() for line in padded)


def plot(runs: Sequence[Record], metrics: Sequence[str], path: Path) -> None:
    """Save the curves as a file. Raises RunError if there are none, or it cannot be written."""
    figure = draw(runs, metrics)
    with writing(path) as partial:
        figure.savefig(partial, format=path.suffix[1:])


def draw(runs: Sequence[Record], metrics: Sequence[str]) -> Figure:
    """Draw each metric over the steps, a curve for each run. Raises RunError if there is none."""
    if not metrics:
        raise RunError("there is nothing to draw: no run has logged a metric yet")
    from matplotlib.figure import Figure  # only here, because the import takes longer than the table

    figure = Figure(figsize=(5 * len(metrics), 4), layout="constrained")
    panels = figure.subplots(1, len(metrics), squeeze=False)[0]
    for panel, metric in zip(panels, metrics, strict=True):
        for run in runs:
            steps = [step for step in sorted(run.rows) if metric in run.rows[step]]
            panel.plot(steps, [run.rows[step][metric] for step in steps], marker=".", label=str(run.path))
        panel.set_xlabel("step")
        panel.set_ylabel(with_unit(metric))
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left")
    return figure


def with_unit(metric: str) -> str:
    return f"{metric} ({UNITS[metric]})" if metric in UNITS else metric
