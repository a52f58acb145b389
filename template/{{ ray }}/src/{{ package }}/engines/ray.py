"""Ray: jobs for a cluster that runs already, each on the node that Ray gives it. A sweep is a job per point.

Jobs are submitted, found and ended over the REST interface of Ray's dashboard, which needs no Ray on this machine. The
repository, with `runs/`, has to be on a file system that the nodes share.
"""

import json
import os
import re
import shlex
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import engines
from ..engines import Command, Launch, Receipt
from ..run import RunError

SCRIPT = Path("launch/ray/train.sh")
SECONDS_TO_ANSWER = 30


@dataclass(frozen=True, kw_only=True)
class Options(engines.Options):
    """Launch on Ray."""

    on: str = "ray"
    """Which engine."""
    cpus: int = 0
    """CPUs of each run; 0: one per process."""
    address: str = os.environ.get("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:8265")
    """Where the dashboard of the cluster is."""


def check(launch: Launch) -> None:
    if not launch.options.address.startswith(("http://", "https://")):
        raise RunError(f"--address {launch.options.address} is not that of a dashboard, such as http://127.0.0.1:8265")
    if not launch.options.dry_run:
        ask(launch.options.address, "version")


def commands(launch: Launch, points: Sequence[int]) -> list[Command]:
    """What does by hand what `submit` does."""
    asked = launch.options
    found = []
    for point in points:
        job = description(launch, point)
        words = ["ray", "job", "submit", "--no-wait", f"--address={asked.address}"]
        words += [f"--entrypoint-num-cpus={job['entrypoint_num_cpus']}"]
        words += [f"--entrypoint-num-gpus={job['entrypoint_num_gpus']}"]
        words += [f"--runtime-env-json={json.dumps(job['runtime_env'])}", "--", *entrypoint(launch, point)]
        found.append(Command(words=words, variables={}))
    return found


def submit(launch: Launch, points: Sequence[int], note: Callable[[Receipt], None]) -> int:
    address = launch.options.address
    receipt: Receipt = {"address": address, "points": list(points), "jobs": {}}
    try:
        for point in points:
            answer = ask(address, "jobs/", description(launch, point))
            receipt["jobs"][str(point)] = answer["submission_id"]
    except RunError:
        stop(receipt)
        raise
    note(receipt)
    print(f"{launch.name}: {', '.join(receipt['jobs'].values())}, which run {launch.code}")
    return 0


def states(receipt: Receipt) -> dict[int, str]:
    found = {}
    for point, job in receipt["jobs"].items():
        state = ask(receipt["address"], f"jobs/{job}")["status"]
        if state in ("PENDING", "RUNNING"):
            found[int(point)] = f"job {job} is {state.lower()}"
    return found


def stop(receipt: Receipt) -> None:
    """Withdraw what waits; a run that is asked by Ray to end would have few seconds to save."""
    for job in receipt["jobs"].values():
        if ask(receipt["address"], f"jobs/{job}")["status"] == "PENDING":
            ask(receipt["address"], f"jobs/{job}/stop", {})


def log(launch: Launch, receipt: Receipt, point: int) -> Path | None:
    path = launch.root / launch.folder / f"ray-{receipt['jobs'][str(point)]}.log"
    path.write_text(ask(receipt["address"], f"jobs/{receipt['jobs'][str(point)]}/logs")["logs"])
    return path


def description(launch: Launch, point: int) -> dict[str, Any]:
    """What Ray is told about the job of a point."""
    name = re.sub(r"[^\w.-]", "-", launch.points[point].name)
    return {
        "submission_id": f"{name}-{time.strftime('%Y%m%d-%H%M%S')}",
        "entrypoint": shlex.join(entrypoint(launch, point)),
        "entrypoint_num_cpus": launch.options.cpus or launch.options.per_node,
        "entrypoint_num_gpus": launch.options.gpus,
        "runtime_env": {"env_vars": {"ROOT": str(launch.root), "PYTHON": sys.executable}},
    }


def entrypoint(launch: Launch, point: int) -> list[str]:
    script = launch.root / launch.code / SCRIPT
    return ["bash", str(script), str(launch.options.per_node), *launch.points[point].arguments]


def ask(address: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """What the dashboard answers; with a `body` it is asked to do something. Raises RunError with its complaint."""
    headers = {"Content-Type": "application/json"}
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{address}/api/{path}", data, headers)  # noqa: S310 (check has seen the address)
    try:
        with urllib.request.urlopen(request, timeout=SECONDS_TO_ANSWER) as answer:  # noqa: S310
            found: dict[str, Any] = json.loads(answer.read())
            return found
    except urllib.error.HTTPError as error:
        said = error.read().decode(errors="replace").strip().splitlines() or [error.reason]
        raise RunError(f"Ray refused: {said[-1]}") from None
    except (urllib.error.URLError, TimeoutError, ValueError) as error:
        raise RunError(f"no Ray answers at {address} ({error}); name its dashboard with --address") from None
