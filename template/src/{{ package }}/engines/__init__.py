"""Where runs are launched: one module each, with its options and the functions of `Engine`."""

import importlib
import pkgutil
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

Receipt = dict[str, Any]
"""What an engine needs to find again what it was given. JSON, with `points`: the numbers of the points."""

FINISHED = "finished"
"""What `states` says of a point that has come to its end, where `runs/` of this machine cannot show it."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What can be said about a launch on any engine."""

    on: str = "machine"
    """Which engine."""
    gpus: int = 0
    """GPUs per node; each gets a process."""
    processes: int = 1
    """Processes per node, where there are no GPUs."""
    sweep: tuple[str, ...] = ()
    """FIELD=VALUE,VALUE...: a run for each value; given again, a run for each combination."""
    dry_run: bool = False
    """Print what would be done, and do nothing."""

    @property
    def per_node(self) -> int:
        return self.gpus or self.processes


@dataclass(frozen=True, kw_only=True)
class Point:
    """One run of a launch."""

    name: str
    arguments: tuple[str, ...]
    """Of `train`."""


@dataclass(frozen=True, kw_only=True)
class Launch:
    """What is launched together: one run, or the points of a sweep."""

    name: str
    root: Path
    """The repository. Everything runs there, and finds `runs/` there."""
    code: Path
    """The frozen code, relative to `root`."""
    points: tuple[Point, ...]
    is_sweep: bool
    options: Any
    """The `Options` of the engine."""

    @property
    def folder(self) -> Path:
        """What belongs to the launch, relative to `root`: its record, and logs."""
        return Path("runs") / self.name


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command for the root of the repository."""

    words: Sequence[str]
    variables: Mapping[str, str]
    text: str = ""
    """What it reads; with the newline at its end."""

    def __str__(self) -> str:
        variables = [f"{name}={shlex.quote(value)}" for name, value in self.variables.items()]
        command = " ".join([*variables, shlex.join(self.words)])
        return f"{command} << 'END'\n{self.text}END" if self.text else command


class Engine(Protocol):
    """What a module here has. Every function may raise RunError."""

    Options: type[Options]

    # Raises RunError if the launch cannot be; changes nothing.
    def check(self, launch: Launch) -> None: ...

    # What starts these points.
    def commands(self, launch: Launch, points: Sequence[int]) -> list[Command]: ...

    # Start these points, and `note` as soon as they are. The exit code for the launch.
    def submit(self, launch: Launch, points: Sequence[int], note: Callable[[Receipt], None]) -> int: ...

    # The points of a receipt that wait or run, in the engine's words; or FINISHED.
    def states(self, receipt: Receipt) -> dict[int, str]: ...

    # Withdraw what waits. What runs saves and ends by itself, because of the file `stop`.
    def stop(self, receipt: Receipt) -> None: ...

    # The file with what a point has printed; None if it went to a terminal.
    def log(self, launch: Launch, receipt: Receipt, point: int) -> Path | None: ...


def names() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str) -> Engine:
    """One of `names()`."""
    return cast(Engine, importlib.import_module(f"{__name__}.{name}"))
