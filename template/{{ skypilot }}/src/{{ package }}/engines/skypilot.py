"""SkyPilot: `launch/skypilot/train.yaml` as a managed job, with the frozen code. A sweep is a job per point.

The machines keep `runs/` in a bucket, so steps and results are not on this machine: SkyPilot says what has finished.
"""

import json
import re
import secrets
import shlex
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import engines
from ..engines import FINISHED, Command, Launch, Receipt
from ..run import RunError

TASK = Path("launch/skypilot/train.yaml")
FAILED = re.compile(r"FAILED.*|CANCELL(ED|ING)")


@dataclass(frozen=True, kw_only=True)
class Options(engines.Options):
    """Launch on machines that SkyPilot finds. What is not said here is as in launch/skypilot/train.yaml."""

    on: str = "skypilot"
    """Which engine."""
    nodes: int = 1
    """Machines of each run."""
    gpu: str = "H100"
    """Which GPUs: one of `sky gpus list`."""
    option: tuple[str, ...] = ()
    """KEY=VALUE, any other option of sky, such as infra=aws; may be given again."""


def check(launch: Launch) -> None:
    for option in launch.options.option:
        if not re.fullmatch(r"[a-z][a-z-]*(=.*)?", option):
            raise RunError(f"--option {option} is not an option of sky as KEY=VALUE; for example infra=aws")


def commands(launch: Launch, points: Sequence[int]) -> list[Command]:
    return [command(launch, point, name_of(launch, point)) for point in points]


def submit(launch: Launch, points: Sequence[int], note: Callable[[Receipt], None]) -> int:
    receipt: Receipt = {"points": list(points), "jobs": {}}
    try:
        for point in points:
            name = name_of(launch, point)
            sky(*command(launch, point, name).words[1:], folder=launch.root)
            receipt["jobs"][str(point)] = name
    except RunError:
        if receipt["jobs"]:
            stop(receipt)
        raise
    note(receipt)
    print(f"{launch.name}: {', '.join(receipt['jobs'].values())}, which run {launch.code}")
    return 0


def states(receipt: Receipt) -> dict[int, str]:
    known = queue()
    found = {}
    for point, name in receipt["jobs"].items():
        state = known.get(name, {"status": "FAILED"})["status"]
        if state == "SUCCEEDED":
            found[int(point)] = FINISHED
        elif not FAILED.fullmatch(state):
            found[int(point)] = f"job {known[name]['job_id']} is {state.lower()}"
    return found


def stop(receipt: Receipt) -> None:
    """SkyPilot asks what runs to end, which saves, and waits until the bucket has it."""
    known = queue()
    waiting = states(receipt)
    jobs = [
        str(known[name]["job_id"])
        for point, name in receipt["jobs"].items()
        if waiting.get(int(point), FINISHED) != FINISHED
    ]
    if jobs:
        sky("jobs", "cancel", "--yes", "--graceful", *jobs)


def log(launch: Launch, receipt: Receipt, point: int) -> Path | None:
    name = receipt["jobs"][str(point)]
    path = launch.root / launch.folder / f"skypilot-{name}.log"
    path.write_text(sky("jobs", "logs", "--no-follow", "--tail=0", f"--name={name}"))
    return path


def name_of(launch: Launch, point: int) -> str:
    """A name that no other launch of this point has."""
    words = re.sub(r"[^a-z0-9]+", "-", launch.points[point].name.lower())[:30].strip("-")
    return f"run-{words}-{secrets.token_hex(4)}"


def command(launch: Launch, point: int, name: str) -> Command:
    asked = launch.options
    words = ["sky", "jobs", "launch", "--yes", "--detach-run", f"--name={name}", f"--workdir={launch.code}"]
    words += [f"--num-nodes={asked.nodes}", f"--env=PROCESSES={asked.per_node}"]
    words += [f"--gpus={asked.gpu}:{asked.gpus}"] if asked.gpus else []
    words += [f"--{option}" for option in asked.option]
    words += [f"--env=ARGUMENTS={shlex.join(launch.points[point].arguments)}", str(launch.code / TASK)]
    return Command(words=words, variables={})


def queue() -> dict[str, Any]:
    """The managed jobs that SkyPilot knows, by name."""
    said = sky("jobs", "queue", "--all", "--output=json")
    try:
        return {job["job_name"]: job for job in json.loads(said)}
    except ValueError:
        raise RunError(f"sky jobs queue said no JSON, but {said[:80]!r}; SkyPilot 0.14 does") from None


def sky(*words: str, folder: Path | None = None) -> str:
    """What a command of SkyPilot says. Raises RunError with what it complains about."""
    try:
        done = subprocess.run(["sky", *words], cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise RunError("there is no sky on this machine; see https://docs.skypilot.co") from None
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["no reason given"]
        raise RunError(f"sky refused: {said[-1]}")
    return done.stdout
