"""A model card, in the format of the Hugging Face Hub, filled with what the folder of a run says."""

import datetime
import json
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from .compare import Record, with_unit
from .run import RunError, load_config

PACKAGE = __name__.partition(".")[0]
UNKNOWN = "[More Information Needed]"
"""What the Hub's own template says where a person has to write."""


def card_of(folder: Path) -> str:
    """The card of the run in `folder`. Raises RunError if it holds no run, or one that has not come to its end."""
    load_config(folder)
    run = Record.read(folder)
    if not run.is_finished:
        raise RunError(f"{folder} is at step {run.progress}, and a card is of a finished run; train it to its end")
    starts = json.loads((folder / "code.json").read_text())
    about = _about()
    sections = [
        f"# {about.get('Name', PACKAGE)}: {folder.resolve().name}",
        about.get("Summary", ""),
        f"## Intended use and limits\n\n{UNKNOWN}",
        f"## Results\n\n{_table(['metric', 'last', 'best'], _results(run))}",
        "`best` is after the step with the lowest loss on the test split.",
        f"## Data\n\n{_values(run, 'data')}\n\nRead from: {starts[-1].get('data', UNKNOWN)}.",
        f"## Model\n\n{_values(run, 'model')}",
        f"## Training\n\n{_values(run, 'seed', 'optim')}",
        f"## Compute\n\n{_compute(run, starts)}",
        f"## Reproduce\n\n{_reproduce(run, starts)}",
    ]
    return _front_matter(run, about) + "\n" + "\n\n".join(filter(None, sections)) + "\n"


def _front_matter(run: Record, about: Mapping[str, str]) -> str:
    """What the Hub reads. Text is written as JSON, which YAML reads, too."""
    licence = about.get("License-Expression", "").lower()
    measured = {name: value for name, value in run.best.items() if _is_test(name)}
    lines = [
        "---",
        *([f"license: {licence}"] if licence else []),
        "model-index:",
        f"  - name: {json.dumps(run.path.resolve().name)}",
        "    results:",
        "      - task: {type: other}",
        f"        dataset: {{type: {PACKAGE}, name: {json.dumps(f'test split of {PACKAGE}')}}}",
        "        metrics:",
        *(f"          - {{type: {name}, value: {value:.6g}}}" for name, value in measured.items()),
        "---",
    ]
    return "\n".join(lines) + "\n"


def _results(run: Record) -> Iterator[list[str]]:
    for name, value in run.last.items():
        if _is_test(name):
            yield [with_unit(name), f"{value:.4g}", f"{run.best[name]:.4g}" if name in run.best else "-"]


def _values(run: Record, *parts: str) -> str:
    found = {name: value for name, value in run.fields.items() if name.partition(".")[0] in parts}
    return _table(["setting", "value"], ([f"`{name}`", str(value)] for name, value in found.items()))


def _compute(run: Record, starts: list[dict[str, Any]]) -> str:
    hardware = dict.fromkeys(start.get("hardware", UNKNOWN) for start in starts)
    time = datetime.timedelta(seconds=round(run.last.get("seconds", 0)))
    rows = [
        ["hardware", ", then ".join(hardware)],
        ["training time", f"{time} (h:m:s)"],
        ["steps", str(max(run.rows, default=0))],
        ["Python", starts[-1]["python"]],
    ]
    memory = max((row["memory_peak_gib"] for row in run.rows.values() if "memory_peak_gib" in row), default=None)
    return _table(["", ""], [*rows, *([["peak of memory", f"{memory:.3g} GiB"]] if memory is not None else [])])


def _reproduce(run: Record, starts: list[dict[str, Any]]) -> str:
    code = f"The code is commit {', then '.join(run.commits)}" if run.commits else "The commit of the code is not known"
    changed = "; with + there were changes that are not in it" if "+" in "".join(run.commits) else ""
    words = starts[0]["command"]
    command = " ".join(words[words.index("train") :]) if "train" in words else "train"
    return f"{code}{changed}. In an environment with its lock:\n\n```sh\npython -m {PACKAGE} {command}\n```"


def _table(heads: list[str], rows: Any) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)


def _is_test(metric: str) -> bool:
    return metric.startswith("test_")


def _about() -> Mapping[str, str]:
    """Name, summary and licence as the package declares them; nothing if it is not installed."""
    try:
        about = metadata.metadata(PACKAGE)
    except metadata.PackageNotFoundError:
        return {}
    return {key: about[key] for key in about}
