"""Slurm: `launch/slurm/train.sbatch`, given to sbatch with the options of a cluster. A sweep is one array job.

A job is asked for, found and ended by sbatch, squeue and scancel alone, so they show and do the same by hand.
"""

import difflib
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import engines
from ..engines import Command, Launch, Receipt
from ..run import RunError

SCRIPT = Path("launch/slurm/train.sbatch")
CLUSTERS = Path("launch/slurm/clusters.toml")
KEYS = {"options", "modules", "variables", "container"}


@dataclass(frozen=True, kw_only=True)
class Options(engines.Options):
    """Launch on Slurm. What is not said here is as the cluster's table in clusters.toml says, or else train.sbatch."""

    on: str = "slurm"
    """Which engine."""
    nodes: int = 1
    """Nodes of each run."""
    time: str = ""
    """How long until it is stopped, saved and queued again: minutes, or [days-]hours:minutes:seconds."""
    cluster: str = "default"
    """Which table of launch/slurm/clusters.toml."""
    parallel: int = 0
    """Points of a sweep that run at the same time; 0: as many as the cluster takes."""
    option: tuple[str, ...] = ()
    """KEY=VALUE, any other option of sbatch; may be given again."""


def check(launch: Launch) -> None:
    cluster(launch)
    for option in launch.options.option:
        if not re.fullmatch(r"[a-z][a-z-]*(=.*)?", option):
            raise RunError(f"--option {option} is not an option of sbatch as KEY=VALUE; for example account=my-project")
    if any(character in word for point in launch.points for word in point.arguments for character in "\t\n"):
        raise RunError("a value holds a tab or a line break, which the list of points cannot hold")
    if launch.is_sweep and not launch.options.dry_run:
        limit = re.search(r"^MaxArraySize\s*=\s*(\d+)", tool("scontrol", "show", "config"), re.MULTILINE)
        if limit and len(launch.points) > int(limit[1]):
            raise RunError(
                f"the sweep has {len(launch.points)} points, and this cluster takes {limit[1]} at most in one array "
                "(MaxArraySize); launch it in parts"
            )


def commands(launch: Launch, points: Sequence[int]) -> list[Command]:
    asked, site = launch.options, cluster(launch)
    log = launch.folder / ("slurm-%A_%a.log" if launch.is_sweep else "slurm-%j.log")
    options = {"job-name": launch.name, "output": str(log), "nodes": asked.nodes, "ntasks-per-node": asked.per_node}
    options |= site.get("options", {})
    if asked.gpus:
        options["gpus-per-node"] = asked.gpus  # every process sees all of them, and takes its own
    if asked.time:
        options["time"] = asked.time
    if launch.is_sweep:
        listed = ",".join(map(str, points)) if len(points) < len(launch.points) else f"0-{len(points) - 1}"
        options["array"] = listed + (f"%{asked.parallel}" if asked.parallel else "")
    options |= {key: value for key, _, value in (option.partition("=") for option in asked.option)}
    variables = {"CODE": str(launch.code), "PYTHON": sys.executable, **site.get("variables", {})}
    if launch.is_sweep:
        variables["POINTS"] = str(launch.folder / "points.tsv")
    if "modules" in site:
        variables["MODULES"] = " ".join(site["modules"])
    if "container" in site:
        variables["CONTAINER"] = site["container"]
    flags = [f"--{key}={value}" if value != "" else f"--{key}" for key, value in options.items()]
    arguments = () if launch.is_sweep else launch.points[0].arguments
    words = ["sbatch", "--parsable", *flags, str(launch.code / SCRIPT), *arguments]
    return [Command(words=words, variables=variables)]


def submit(launch: Launch, points: Sequence[int], note: Callable[[Receipt], None]) -> int:
    if launch.is_sweep:
        lines = ["\t".join(point.arguments) + "\n" for point in launch.points]
        (launch.root / launch.folder / "points.tsv").write_text("".join(lines))
    (command,) = commands(launch, points)
    job = tool(*command.words, folder=launch.root, variables=dict(command.variables)).partition(";")[0].strip()
    note({"job": job, "points": list(points)})
    print(f"{launch.name}: job {job}, which runs {launch.code}")
    return 0


def states(receipt: Receipt) -> dict[int, str]:
    try:
        said = tool("squeue", "--noheader", "--array", f"--jobs={receipt['job']}", "--format=%K|%i|%T|%r")
    except RunError as error:
        if "Invalid job id" in str(error):  # Slurm forgets a job some minutes after its end
            return {}
        raise
    found = {}
    for line in said.splitlines():
        index, job, state, reason = line.split("|", 3)
        number = int(index) if index.isdecimal() else receipt["points"][0]
        found[number] = f"job {job} is {state.lower()}" + (f" ({reason})" if reason != "None" else "")
    return found


def stop(receipt: Receipt) -> None:
    try:
        tool("scancel", "--state=PENDING", receipt["job"])
    except RunError as error:
        if "Invalid job id" not in str(error):  # of a job that has ended
            raise


def log(launch: Launch, receipt: Receipt, point: int) -> Path | None:
    job = f"{receipt['job']}_{point}" if launch.is_sweep else receipt["job"]
    return launch.root / launch.folder / f"slurm-{job}.log"


def cluster(launch: Launch) -> dict[str, Any]:
    """The table of the chosen cluster."""
    path = launch.root / CLUSTERS
    name = launch.options.cluster
    try:
        tables = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise RunError(f"{path} cannot be read: {error}") from None
    if name not in tables:
        close = difflib.get_close_matches(name, tables, n=1)
        meant = f"did you mean {close[0]}?" if close else f"there is {', '.join(tables)}"
        raise RunError(f"{CLUSTERS} has no table [{name}]; {meant}")
    table: dict[str, Any] = tables[name]
    if unknown := sorted(table.keys() - KEYS):
        raise RunError(f"[{name}] in {CLUSTERS} has {unknown[0]}; a table has {', '.join(sorted(KEYS))}")
    return table


def tool(*words: str, folder: Path | None = None, variables: dict[str, str] | None = None) -> str:
    """What a command of Slurm says. Raises RunError with what it complains about."""
    # Inside a job, its variables would be taken for options of the next one.
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name == "SLURM_CONF" or not name.startswith(("SLURM_", "SBATCH_", "SRUN_"))
    }
    try:
        done = subprocess.run(
            words, cwd=folder, env=inherited | (variables or {}), capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise RunError(f"there is no {words[0]} on this machine; launch from a login node of the cluster") from None
    if done.returncode:
        raise RunError(f"{words[0]} refused: {' '.join(done.stderr.removeprefix(f'{words[0]}: ').split())}")
    return done.stdout
