"""Kubernetes: `launch/kubernetes/job.yaml`, or `jobset.yaml` for several nodes, filled in and given to kubectl.

The repository, with `runs/`, has to be on a volume that this machine and the pods mount in the same place.
"""

import contextlib
import json
import os
import re
import secrets
import subprocess
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import engines
from ..engines import Command, Launch, Receipt
from ..run import RunError

FOLDER = Path("launch/kubernetes")
CLUSTER = FOLDER / "cluster.toml"
KEYS = {"image", "python", "claim", "mount", "queue", "options"}


@dataclass(frozen=True, kw_only=True)
class Options(engines.Options):
    """Launch on Kubernetes, as launch/kubernetes says."""

    on: str = "kubernetes"
    """Which engine."""
    nodes: int = 1
    """Nodes of each run; several need JobSet in the cluster."""
    cpus: int = 4
    """CPUs per node."""
    memory: str = "16Gi"
    """Memory per node."""


def check(launch: Launch) -> None:
    site = cluster(launch)
    if empty := [key for key in ("image", "claim", "mount") if not site[key]]:
        raise RunError(f"{CLUSTER} does not say which {empty[0]}; fill it in, once for every launch")
    if not launch.root.is_relative_to(site["mount"]):
        raise RunError(
            f"{launch.root} is not below {site['mount']}, the mount in {CLUSTER}: the pods would not find it; "
            "launch from a machine that mounts the volume there, with the repository on it"
        )


def commands(launch: Launch, points: Sequence[int]) -> list[Command]:
    return [creation(launch, {point: name_of(launch, point) for point in points})]


def submit(launch: Launch, points: Sequence[int], note: Callable[[Receipt], None]) -> int:
    names = {point: name_of(launch, point) for point in points}
    kind = "job" if launch.options.nodes == 1 else "jobset"
    jobs = {str(point): name for point, name in names.items()}
    receipt: Receipt = {"options": cluster(launch)["options"], "kind": kind, "points": list(points), "jobs": jobs}
    command = creation(launch, names)
    try:
        kubectl(*command.words[1:], text=command.text)
    except RunError:
        with contextlib.suppress(RunError):
            delete(receipt, list(names.values()))  # those that came before the refused one
        raise
    note(receipt)
    print(f"{launch.name}: {', '.join(jobs.values())}, which run {launch.code}")
    return 0


def states(receipt: Receipt) -> dict[int, str]:
    numbers = {name: int(point) for point, name in receipt["jobs"].items()}
    words = ("get", receipt["kind"], f"--selector=run in ({','.join(numbers)})", "--output=json")
    items = json.loads(kubectl(*receipt["options"], *words))["items"]
    jobs = {item["metadata"]["name"]: state(item.get("status", {})) for item in items}
    return {numbers[name]: f"{receipt['kind']} {name} is {found}" for name, found in jobs.items() if found}


def state(status: Mapping[str, Any]) -> str:
    """What a Job or a JobSet is doing; nothing once it has ended."""
    is_so = {condition["type"] for condition in status.get("conditions", []) if condition["status"] == "True"}
    if is_so & {"Complete", "Completed", "Failed"}:
        return ""
    if "Suspended" in is_so:
        return "suspended"  # Kueue has not admitted it
    return "running" if any(part.get("ready") for part in status.get("replicatedJobsStatus", [status])) else "pending"


def stop(receipt: Receipt) -> None:
    waiting = [receipt["jobs"][str(point)] for point, said in states(receipt).items() if not said.endswith("running")]
    if waiting:
        delete(receipt, waiting)


def log(launch: Launch, receipt: Receipt, point: int) -> Path | None:
    name = receipt["jobs"][str(point)]
    path = launch.root / launch.folder / f"kubernetes-{name}.log"
    words = ("logs", f"--selector=run={name}", "--prefix", "--tail=-1", "--ignore-errors")
    path.write_text(kubectl(*receipt["options"], *words))
    return path


def name_of(launch: Launch, point: int) -> str:
    """A name that no other launch of this point has, short enough for those of its pods."""
    words = re.sub(r"[^a-z0-9]+", "-", launch.points[point].name.lower())[:30].strip("-")
    return f"run-{words}-{secrets.token_hex(4)}"


def creation(launch: Launch, names: Mapping[int, str]) -> Command:
    """What creates these points under these names."""
    manifests = [manifest(launch, point, name) for point, name in names.items()]
    words = ["kubectl", *cluster(launch)["options"], "create", "--filename=-"]
    return Command(words=words, variables={}, text="---\n".join(manifests))


def manifest(launch: Launch, point: int, name: str) -> str:
    asked = launch.options
    values = {
        "NAME": name,
        "NODES": asked.nodes,
        "PROCESSES": asked.per_node,
        "GPUS": asked.gpus,
        "CPUS": asked.cpus,
        "MEMORY": asked.memory,
        "ROOT": launch.root,
        "CODE": launch.code,
        "USER_ID": os.getuid(),
        "GROUP_ID": os.getgid(),
        **{key.upper(): value for key, value in cluster(launch).items()},
    }
    filled = {key: json.dumps(str(value), ensure_ascii=False)[1:-1] for key, value in values.items()}
    filled["ARGUMENTS"] = json.dumps(launch.points[point].arguments, ensure_ascii=False)  # YAML, too
    file = FOLDER / ("job.yaml" if asked.nodes == 1 else "jobset.yaml")
    frozen = launch.root / launch.code / file
    text = (frozen if frozen.exists() else launch.root / file).read_text()  # a dry run freezes nothing
    _, start, body = text.partition("apiVersion:")
    if unknown := sorted(set(re.findall(r"\$\{(\w+)\}", body)) - filled.keys()):
        raise RunError(f"{file} has ${{{unknown[0]}}}, and only {', '.join(sorted(filled))} are filled in")
    return start + re.sub(r"\$\{(\w+)\}", lambda found: filled[found[1]], body)


def cluster(launch: Launch) -> dict[str, Any]:
    """What the launches have in common."""
    try:
        found = tomllib.loads((launch.root / CLUSTER).read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise RunError(f"{CLUSTER} cannot be read: {error}") from None
    if wrong := sorted(found.keys() ^ KEYS):
        known = ", ".join(sorted(KEYS))
        raise RunError(f"{CLUSTER} {'has' if wrong[0] in found else 'lacks'} {wrong[0]}; its keys are {known}")
    return found


def delete(receipt: Receipt, names: Sequence[str]) -> None:
    kubectl(*receipt["options"], "delete", receipt["kind"], *names, "--ignore-not-found", "--wait=false")


def kubectl(*words: str, text: str = "") -> str:
    """What kubectl says. Raises RunError with what it complains about."""
    try:
        done = subprocess.run(["kubectl", *words], input=text, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise RunError("there is no kubectl on this machine; see https://kubernetes.io/docs/tasks/tools") from None
    if done.returncode:
        raise RunError(f"kubectl refused: {' '.join(done.stderr.removeprefix('error: ').split())}")
    return done.stdout
