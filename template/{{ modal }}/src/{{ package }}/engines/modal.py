"""Modal: `launch/modal/app.py` as a detached app, with the frozen code. A sweep is an app per point.

Modal keeps `runs/` in a volume, so steps and results are not on this machine: the volume says what has finished.
"""

import json
import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import engines
from ..engines import FINISHED, Command, Launch, Receipt
from ..run import RunError, lock_hashes

APP = Path("launch/modal/app.py")
VOLUME = f"{__name__.partition('.')[0].replace('_', '-')}-runs"  # as in that file
MOST_GPUS = 8
MOST_SECONDS = 86_100
"""Modal lets a call run for a day, of which `APP` keeps some minutes for saving."""
MOST_LINES = 20_000
"""Of a log; modal fetches no more at a time."""


@dataclass(frozen=True, kw_only=True)
class Options(engines.Options):
    """Launch on Modal, as launch/modal/app.py says."""

    on: str = "modal"
    """Which engine."""
    nodes: int = 1
    """Machines of each run: one."""
    gpu: str = "H100"
    """Which GPUs: a name that Modal has, such as A100-80GB."""
    time: str = "23:55:00"
    """How long until it is stopped, saved and started again: minutes, or hours:minutes:seconds."""


def check(launch: Launch) -> None:
    asked = launch.options
    if asked.nodes != 1:
        raise RunError(
            f"--nodes {asked.nodes}: a run on Modal has one machine, because its clusters are a preview; "
            f"take more GPUs of one, --gpus {MOST_GPUS} at most, or another engine"
        )
    if asked.gpus > MOST_GPUS:
        raise RunError(f"--gpus {asked.gpus}: a machine of Modal has {MOST_GPUS} GPUs at most")
    seconds_of(asked.time)
    if not lock_hashes(launch.root):
        raise RunError("there is no lock here, from which Modal makes the image; write it with poe lock")


def commands(launch: Launch, points: Sequence[int]) -> list[Command]:
    asked = launch.options
    variables = {"GPU": f"{asked.gpu}:{asked.gpus}"} if asked.gpus else {"GPU": ""}
    variables |= {"PROCESSES": str(asked.per_node), "TIMEOUT": str(seconds_of(asked.time))}
    found = []
    for point in points:
        run = launch.points[point]
        words = ["modal", "run", "--detach", "--quiet", f"--name={run.name}", str(launch.code / APP), "--"]
        found.append(Command(words=[*words, *run.arguments], variables=variables))
    return found


def submit(launch: Launch, points: Sequence[int], note: Callable[[Receipt], None]) -> int:
    names = {str(point): launch.points[point].name for point in points}
    receipt: Receipt = {"points": list(points), "names": names, "apps": {}}
    try:
        for point, command in zip(points, commands(launch, points), strict=True):
            said = modal(*command.words[1:], folder=launch.root, variables=command.variables)
            app = re.search(r"\bap-\w+", said)
            if not app:
                raise RunError(f"modal run named no app, but said {said[-80:]!r}; modal 1.6 does")
            receipt["apps"][str(point)] = app[0]
    except RunError:
        if receipt["apps"]:
            stop(receipt)
        raise
    note(receipt)
    print(f"{launch.name}: {', '.join(receipt['apps'].values())}, which run {launch.code}")
    return 0


def states(receipt: Receipt) -> dict[int, str]:
    known, saved = live_apps(), None
    found = {}
    for point, app in receipt["apps"].items():
        name = receipt["names"][point]
        if app in known:
            found[int(point)] = f"app {app} {'runs' if int(known[app]['tasks']) else 'waits'}"
            continue
        saved = files_of("/") if saved is None else saved
        if name in saved and "result.json" in files_of(name):
            found[int(point)] = FINISHED
    return found


def stop(receipt: Receipt) -> None:
    """Modal interrupts what runs, which saves if it has the time."""
    known = live_apps()
    for app in receipt["apps"].values():
        if app in known:
            modal("app", "stop", "--yes", app)


def log(launch: Launch, receipt: Receipt, point: int) -> Path | None:
    app = receipt["apps"][str(point)]
    path = launch.root / launch.folder / f"modal-{app}.log"
    path.write_text(modal("app", "logs", f"--tail={MOST_LINES}", app))
    return path


def seconds_of(time: str) -> int:
    """Minutes, or hours:minutes:seconds, in seconds. Raises RunError if it is neither, or too long for Modal."""
    if not re.fullmatch(r"\d+|\d+:[0-5]\d:[0-5]\d", time):
        raise RunError(f"--time {time} is neither minutes nor hours:minutes:seconds; for example 4:00:00")
    hours, minutes, seconds = map(int, time.split(":") if ":" in time else ("0", time, "0"))
    found = hours * 3600 + minutes * 60 + seconds
    if not 0 < found <= MOST_SECONDS:
        raise RunError(f"--time {time} is not between 0:00:01 and 23:55:00; Modal starts it again after that, as often")
    return found


def live_apps() -> dict[str, Any]:
    """The apps that wait or run, by their names."""
    said = modal("app", "list", "--json")
    try:
        return {app["app_id"]: app for app in json.loads(said) if app["state"] != "stopped"}
    except ValueError:
        raise RunError(f"modal app list said no JSON, but {said[:80]!r}; modal 1.6 does") from None


def files_of(folder: str) -> set[str]:
    """The names of what is in a folder of the volume."""
    return {Path(line).name for line in modal("volume", "ls", VOLUME, folder).splitlines()}


def modal(*words: str, folder: Path | None = None, variables: Mapping[str, str] | None = None) -> str:
    """What a command of modal says. Raises RunError with what it complains about."""
    environment = {**os.environ, **(variables or {})}
    try:
        done = subprocess.run(
            ["modal", *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise RunError("there is no modal on this machine; uv tool install modal brings it") from None
    said = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["no reason given"]
    if done.returncode and "oken" in said[-1]:
        raise RunError(f"modal cannot tell who you are; run modal token new ({said[-1]})")
    if done.returncode:
        raise RunError(f"modal refused: {said[-1]}")
    return done.stdout
