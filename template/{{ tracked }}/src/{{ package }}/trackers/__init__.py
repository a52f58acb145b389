"""Where runs are mirrored: one module each, with the function of `Tracker`."""

import dataclasses
import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from ..config import Config, flatten

PROJECT = __name__.partition(".")[0]
"""What the runs of this repository are filed under."""

Row = dict[str, Any]
"""A row of metrics.jsonl."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The run that is mirrored, as its folder says."""

    folder: Path
    config: Config
    key: str
    """By which the service finds the run again; another one in every new folder."""
    facts: Mapping[str, str]
    """The commit, hardware, data and the like of its newest start."""
    began: float
    """When it was started first, in seconds since 1970."""
    memory: Path
    """A folder for what the tracker has to keep, or to remember."""

    @property
    def parameters(self) -> dict[str, Any]:
        """The configuration by the names that the command line gives it: `optim.steps`."""
        return flatten(dataclasses.asdict(self.config))

    def time(self, row: Row) -> float:
        """When a row would have been measured without interruptions, in seconds since 1970."""
        return self.began + float(row["seconds"])


class Mirror(Protocol):
    """The run as a service has it. Every function may raise whatever the library of the service raises."""

    # Add those of the rows that are not there yet. It is told all rows of the run in turn, `first` counts those before.
    def log(self, first: int, rows: Sequence[Row]) -> None: ...

    # Add a file of the run, or put it in the place of its former state.
    def keep(self, path: Path) -> None: ...

    # When this returns, all of that is there for good.
    def close(self, *, finished: bool) -> None: ...


class Tracker(Protocol):
    """What a module here has."""

    # Find the run, or begin it. May raise, as above.
    def connect(self, subject: Subject) -> Mirror: ...


def names() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str) -> Tracker:
    """One of `names()`."""
    return cast(Tracker, importlib.import_module(f"{__name__}.{name}"))
