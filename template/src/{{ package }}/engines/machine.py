"""This machine: the points of a launch one after the other, each in as many processes as asked."""

import os
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import engines, processes
from ..engines import Command, Launch, Receipt
from ..stop import STOPPED_EXIT_CODE

PACKAGE = __name__.partition(".")[0]


@dataclass(frozen=True, kw_only=True)
class Options(engines.Options):
    """Launch on this machine."""


def check(launch: Launch) -> None:
    """Nothing is refused here."""


def commands(launch: Launch, points: Sequence[int]) -> list[Command]:
    count = launch.options.per_node
    spawn = ["spawn", str(count)] if count > 1 else []
    start = [sys.executable, "-m", PACKAGE, *spawn, "train"]
    variables = {"PYTHONPATH": str(launch.code / "src")}
    return [Command(words=[*start, *launch.points[point].arguments], variables=variables) for point in points]


def submit(launch: Launch, points: Sequence[int], note: Callable[[Receipt], None]) -> int:
    """Train. A point that fails does not keep the next from running; a request to stop does."""
    note({"pid": os.getpid(), "host": platform.node(), "points": list(points)})
    worst = 0
    for point in points:
        if launch.is_sweep:
            print(f"--- {launch.points[point].name}", flush=True)
        command = [sys.executable, "-m", PACKAGE, "train", *launch.points[point].arguments]
        variables = {"PYTHONPATH": str(launch.root / launch.code / "src")}
        code = processes.run(command, launch.options.per_node, variables, folder=launch.root)
        if code == STOPPED_EXIT_CODE:
            return code
        worst = worst or code
    return worst


def states(receipt: Receipt) -> dict[int, str]:
    runs = platform.node() == receipt["host"] and _is_alive(receipt["pid"])
    return dict.fromkeys(receipt["points"], f"process {receipt['pid']} runs here") if runs else {}


def stop(receipt: Receipt) -> None:
    """Nothing waits here without a process of its own."""


def log(launch: Launch, receipt: Receipt, point: int) -> Path | None:  # noqa: ARG001 (there is none)
    return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:  # no such process
        return False
    return True
