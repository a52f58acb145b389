"""Sets a repository's environment up with its package manager, and trains its example."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from xml.etree import ElementTree

from .errors import LabrigError
from .machine import Machine, detect, managers_found
from .report import Report
from .symptoms import Symptom, recognise

CONDAS = ("conda", "mamba", "micromamba")
"""Programs that read an environment.yml, in the order they are taken."""

LEAKED = (
    "CONDA_DEFAULT_ENV",
    "CONDA_PREFIX",
    "CONDA_PROMPT_MODIFIER",
    "CONDA_SHLVL",
    "FORCE_COLOR",
    "PIP_PREFIX",
    "PIP_TARGET",
    "PIP_USER",
    "POETRY_ACTIVE",
    "PYTHONHOME",
    "PYTHONPATH",
    "UV_PROJECT",
    "UV_PROJECT_ENVIRONMENT",
    "UV_WORKING_DIR",
    "UV_WORKING_DIRECTORY",
    "VIRTUAL_ENV",
    "VIRTUAL_ENV_PROMPT",
    "__PYVENV_LAUNCHER__",
)
"""Variables that would lead a manager to another environment than the repository's own, usually labrig's."""

PROBE_SECONDS = 4.0

IMPATIENT = {
    "UV_HTTP_RETRIES": "0",
    "UV_HTTP_CONNECT_TIMEOUT": "5",
    "UV_HTTP_TIMEOUT": "5",
    "PIP_RETRIES": "0",
    "PIP_DEFAULT_TIMEOUT": "5",
    "POETRY_REQUESTS_MAX_RETRIES": "0",
    "POETRY_REQUESTS_TIMEOUT": "5",
    "CONDA_REMOTE_MAX_RETRIES": "0",
    "CONDA_REMOTE_CONNECT_TIMEOUT_SECS": "5",
    "MAMBA_REMOTE_MAX_RETRIES": "0",
    "MAMBA_REMOTE_CONNECT_TIMEOUT_SECS": "5",
}
"""For an index that did not answer: the manager finds out for itself, and in seconds rather than minutes."""

SHOWN_LINES = 20


class CommandError(LabrigError):
    """A command in the repository failed. Every file is still there."""

    kind = "environment"


@dataclass(frozen=True)
class Step:
    """One command, run in the repository's folder."""

    label: str
    command: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)
    activated: bool = False
    """Whether it runs in the activated virtual environment .venv."""

    def __str__(self) -> str:
        """The command as a shell takes it."""
        assignments = [f"{name}={shlex.quote(value)}" for name, value in self.variables.items()]
        return " ".join([*assignments, shlex.join(self.command)])


def plan(answers: Mapping[str, object], variant: str, *, python: str = "", conda: str = "conda") -> list[Step]:
    """The commands that lock, create and test the environment of `variant` (cpu, or the accelerator asked for).

    They are those of the generated README. `python` is the interpreter to use, `conda` the program that is called so.
    """
    python = python or f"python{answers['python']}"
    match answers["package_manager"]:
        case "uv":
            steps = _uv_plan(str(answers["accelerator"]), variant)
        case "pip":
            steps = _pip_plan(variant, python)
        case "conda":
            steps = _conda_plan(conda, environment_name(answers))
        case "poetry":
            steps = _poetry_plan(str(answers["accelerator"]), variant, python)
        case unknown:
            raise ValueError(f"package_manager is {unknown!r}; it takes one of uv, pip, conda, poetry")
    return [*steps, inside("Run the tests", ("poe", "test"), answers, variant, conda=conda)]


def _uv_plan(accelerator: str, variant: str) -> list[Step]:
    groups = () if variant == accelerator else ("--no-group", accelerator, "--group", variant)
    return [Step("Lock and install the packages", ("uv", "sync", *groups))]


def _pip_plan(variant: str, python: str) -> list[Step]:
    requirements = f"requirements/{variant}.txt"
    return [
        Step("Create the environment", (python, "-m", "venv", ".venv")),
        Step("Install what locks the packages", ("pip", "install", "poethepoet", "uv"), activated=True),
        Step("Lock the packages", ("poe", "lock"), activated=True),
        Step("Install the packages", ("pip", "install", "--requirement", requirements), activated=True),
        Step("Install the project", ("pip", "install", "--no-deps", "--editable", "."), activated=True),
    ]


def _conda_plan(conda: str, name: str) -> list[Step]:
    agreed = () if conda == "conda" else ("--yes",)  # conda asks nothing here
    create = Step("Create the environment", (conda, "env", "create", "--file", "environment.yml", *agreed))
    lock = Step("Lock the packages", (conda, "run", "--name", name, "poe", "lock"))
    return [create, lock] if conda == "conda" else [create]  # that task runs conda


def _poetry_plan(accelerator: str, variant: str, python: str) -> list[Step]:
    command = "install" if variant == accelerator else "sync"  # `sync` also removes the other variant
    return [
        Step("Create the environment", ("poetry", "env", "use", python)),
        Step("Lock and install the packages", ("poetry", command, "--extras", variant)),
    ]


def training(answers: Mapping[str, object], variant: str, *, conda: str = "conda") -> Step:
    """The command that trains the example."""
    command = ("python", "-m", str(answers["package"]), "train", "baseline")
    return inside("Train the example", command, answers, variant, conda=conda)


def inside(
    label: str, command: tuple[str, ...], answers: Mapping[str, object], variant: str, *, conda: str = "conda"
) -> Step:
    """A step that runs in the environment."""
    match answers["package_manager"]:
        case "uv":  # run also by tasks: it would bring the build for the accelerator back
            keep = {} if variant == answers["accelerator"] else {"UV_NO_SYNC": "1"}
            return Step(label, ("uv", "run", *command), keep)
        case "poetry":
            return Step(label, ("poetry", "run", *command))
        case "conda":
            return Step(label, (conda, "run", "--name", environment_name(answers), *command))
        case _:
            return Step(label, command, activated=True)


def environment_name(answers: Mapping[str, object]) -> str:
    """What environment.yml calls the environment."""
    return str(answers["package"]).replace("_", "-")


def commands(steps: Sequence[Step]) -> list[str]:
    """The steps as lines for a shell."""
    lines = [str(step) for step in steps]
    first = next((index for index, step in enumerate(steps) if step.activated), None)
    return lines if first is None else [*lines[:first], "source .venv/bin/activate", *lines[first:]]


def install(directory: Path, answers: Mapping[str, object], report: Report) -> None:
    """Lock, create and test the environment of the repository in `directory`."""
    machine = detect()
    variant = variant_for(machine, answers)
    python, conda = _programs(machine, answers, directory)
    if answers["package_manager"] == "conda":
        _refuse_taken_name(conda, environment_name(answers))
    elif variant != answers["accelerator"]:  # with conda, the solver looks for itself
        report.say(f"This machine has nothing that {answers['accelerator']} is for, so the CPU variant is installed.")
    if answers["package_manager"] == "uv" and not shutil.which("uv"):
        report.warn("uv is not on PATH, so the one that came with labrig is used", tip="for later: pipx install uv")
    steps = plan(answers, variant, python=python, conda=conda)
    silent = silent_hosts(index_addresses(directory, str(answers["package_manager"])))
    variables = child_variables(IMPATIENT if silent else {})
    for index, step in enumerate(steps):
        _run(step, steps[index:], directory, variables=variables, silent=silent, report=report)


def lock_step(answers: Mapping[str, object]) -> tuple[Step, str, str] | None:
    """What brings the lock up to date after a change of the manifest, with the manifest and a lock; None for conda.

    conda records the environment as it is, so it has to be changed first.
    """
    match answers.get("package_manager"):
        case "uv":
            return Step("Lock the packages", ("uv", "lock")), "pyproject.toml", "uv.lock"
        case "poetry":
            return Step("Lock the packages", ("poetry", "lock")), "pyproject.toml", "poetry.lock"
        case "pip":
            return Step("Lock the packages", ("poe", "lock"), activated=True), "pyproject.toml", "requirements/cpu.lock"
        case _:
            return None


def run_step(step: Step, directory: Path, report: Report) -> None:
    """Run one command in the environment of a repository. CommandError when it fails."""
    _run(step, [step], directory, variables=child_variables({}), silent=(), report=report)


def run_tests(directory: Path, answers: Mapping[str, object], report: Report) -> dict[str, bool]:
    """Run the tests of a repository: for each, whether it passed. CommandError when they cannot be run."""
    machine = detect()
    _, conda = _programs(machine, answers, directory)
    with tempfile.TemporaryDirectory(prefix="labrig-") as folder:
        result = Path(folder) / "tests.xml"
        command = ("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={result}")
        step = inside("Run the tests", command, answers, variant_for(machine, answers), conda=conda)
        with report.step(step.label), _process(step, directory, child_variables({}), subprocess.PIPE) as process:
            output = (process.stdout or io.StringIO()).read()
        if not result.is_file():
            report.detail(output.splitlines()[-SHOWN_LINES:])
            raise CommandError(
                "the tests could not be run", cause=f"`{step}` failed", tip="set the environment up as README.md says"
            )
        cases = ElementTree.parse(result).iter("testcase")  # noqa: S314 - written by pytest this moment
        return {
            f"{case.get('classname')}::{case.get('name')}": not any(child.tag in {"failure", "error"} for child in case)
            for case in cases
        }


def train(directory: Path, answers: Mapping[str, object], report: Report) -> Mapping[str, float]:
    """Train the example in its environment; returns the last evaluation."""
    machine = detect()
    _, conda = _programs(machine, answers, directory)
    step = training(answers, variant_for(machine, answers), conda=conda)
    began = time.monotonic()
    report.say(f"{step.label}: {step}")
    variables = {**child_variables({}), "PYTHONUNBUFFERED": "1"}
    output: list[str] = []
    with _process(step, directory, variables, subprocess.PIPE) as process:
        for line in process.stdout or ():
            output.append(line)
            report.say(line.rstrip("\n"))
    if process.returncode != 0:
        raise _failure(step, [step], directory, recognise("".join(output)), process.returncode)
    row = last_evaluation(directory / "runs/baseline/metrics.jsonl")
    result = "  ".join(f"{name} {value:.4g}" for name, value in row.items())
    report.say(f"Trained in {time.monotonic() - began:.0f} s: {result}")
    return row


def last_evaluation(path: Path) -> dict[str, float]:
    """The last row of a metrics.jsonl that holds a measurement on the test split."""
    rows: list[dict[str, float]] = [json.loads(line) for line in path.read_text().splitlines()]
    evaluations = [row for row in rows if any(name.startswith("test_") for name in row)]
    if not evaluations:
        raise CommandError(f"{path} holds no evaluation", cause="no row has a value whose name begins with test_")
    return evaluations[-1]


def child_variables(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment variables for a manager: the user's, but nothing that leads it out of the repository."""
    kept = {name: value for name, value in os.environ.items() if name not in LEAKED}
    uv_folder = str(managers_found()["uv"].parent)
    folders = kept.get("PATH", os.defpath).split(os.pathsep)
    if uv_folder not in folders:
        folders.append(uv_folder)
    return {**kept, "PATH": os.pathsep.join(folders), "NO_COLOR": "1", **extra}


def index_addresses(directory: Path, manager: str) -> list[str]:
    """The addresses that the packages of a repository come from."""
    if manager == "conda":
        return ["https://conda.anaconda.org"]
    tool: dict[str, Any] = tomllib.loads((directory / "pyproject.toml").read_text()).get("tool", {})
    sources = [*tool.get("uv", {}).get("index", []), *tool.get("poetry", {}).get("source", [])]
    addresses = [str(source["url"]) for source in sources if "url" in source]
    for path in sorted(directory.glob("requirements/*.txt")):
        options = (line.split() for line in path.read_text().splitlines() if line.startswith("--"))
        addresses += [words[1] for words in options if words[0].endswith("index-url")]
    settings = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")
    return [*addresses, next((os.environ[name] for name in settings if name in os.environ), "https://pypi.org/simple")]


def silent_hosts(addresses: Sequence[str]) -> list[str]:
    """The hosts that do not answer within seconds. They are asked through the user's proxy settings."""
    from urllib.parse import urlsplit  # noqa: PLC0415 (needed by --install only, and slow to import)

    parts = [urlsplit(address) for address in addresses]
    hosts = {f"{part.scheme}://{part.netloc.rpartition('@')[2]}" for part in parts if part.scheme in ("http", "https")}
    answered: set[str] = set()
    probes = [threading.Thread(target=_probe, args=(host, answered), daemon=True) for host in hosts]
    for probe in probes:
        probe.start()
    deadline = time.monotonic() + PROBE_SECONDS
    for probe in probes:
        probe.join(max(0.0, deadline - time.monotonic()))  # not longer, even if resolving the name hangs
    return sorted({urlsplit(host).hostname or host for host in hosts - answered})


def _probe(host: str, answered: set[str]) -> None:
    from http.client import HTTPException  # noqa: PLC0415
    from urllib.error import HTTPError, URLError  # noqa: PLC0415
    from urllib.request import Request, build_opener  # noqa: PLC0415

    try:
        build_opener().open(Request(host + "/", method="HEAD"), timeout=PROBE_SECONDS).close()  # noqa: S310 (http(s) only)
    except (HTTPError, HTTPException):
        answered.add(host)  # it refuses this page, or speaks strangely; that is an answer
    except URLError as error:
        if type(error.reason).__name__.startswith("SSL"):
            answered.add(host)  # whether its certificate is good is for the manager to say, with its own settings
    except OSError:
        return
    else:
        answered.add(host)


def variant_for(machine: Machine, answers: Mapping[str, object]) -> str:
    """What to install: the accelerator asked for, or `cpu` where this machine has none."""
    accelerator = str(answers["accelerator"])
    return accelerator if machine.has(accelerator) else "cpu"


def conda_found(machine: Machine) -> str | None:
    """The program that stands for conda here."""
    return next((name for name in CONDAS if name in machine.managers), None)


def _programs(machine: Machine, answers: Mapping[str, object], directory: Path) -> tuple[str, str]:
    """The interpreter and the conda to use. Raises CommandError when the manager needs one that is not there."""
    manager, version = str(answers["package_manager"]), str(answers["python"])
    again = f"cd {shlex.quote(_shown(directory))}"
    conda = conda_found(machine)
    if manager == "conda" and conda is None:
        raise CommandError(
            "the files are all there, but no conda was found to make the environment with",
            cause="none of conda, mamba and micromamba is on PATH",
            tip=f"install Miniforge (https://conda-forge.org/download), then: {again} && {plan(answers, 'cpu')[0]}",
        )
    if manager == "poetry" and "poetry" not in machine.managers:
        raise CommandError(
            "the files are all there, but Poetry was not found to make the environment with",
            cause="poetry is not on PATH",
            tip=f"pipx install poetry, then: {again} && {' && '.join(commands(plan(answers, 'cpu')))}",
        )
    if manager in ("pip", "poetry") and version not in machine.pythons:
        found = ", ".join(f"{number} ({path})" for number, path in machine.pythons.items())
        raise CommandError(
            f"the files are all there, but no Python {version} was found to make the environment with",
            cause=f"interpreters that start: {found}",
            tip=f"uv python install {version}, then: {again} && {' && '.join(commands(plan(answers, 'cpu')))}",
        )
    return str(machine.pythons.get(version, "")), conda or "conda"


def _refuse_taken_name(conda: str, name: str) -> None:
    """Some of these programs would replace an environment of this name, which may belong to another project."""
    listed = subprocess.run([conda, "env", "list", "--json"], capture_output=True, text=True, check=False)
    environments: list[str] = json.loads(listed.stdout)["envs"] if listed.returncode == 0 else []
    taken = next((path for path in environments if Path(path).name == name), None)
    if taken:
        raise CommandError(
            f"the files are all there, but {conda} has an environment called {name} already",
            cause=f"it lies in {taken}",
            tip=f"if you need it no more: {conda} env remove --name {name}",
        )


def _run(
    step: Step,
    remaining: Sequence[Step],
    directory: Path,
    *,
    variables: Mapping[str, str],
    silent: Collection[str],
    report: Report,
) -> None:
    """Run one step. What it prints goes to a log, which stays, and whose end is shown, when it fails."""
    with tempfile.TemporaryDirectory(prefix="labrig-") as folder:
        log = Path(folder) / "output.log"
        with log.open("w") as file, report.step(step.label), _process(step, directory, variables, file) as process:
            process.wait()
        if process.returncode != 0:
            output = log.read_text(errors="replace")
            kept = _keep(log)
            report.detail([*output.splitlines()[-SHOWN_LINES:], f"(all of it: {kept})"])
            raise _failure(step, remaining, directory, recognise(output, silent), process.returncode)


def _keep(log: Path) -> Path:
    """The log under a name that outlives this program."""
    handle, name = tempfile.mkstemp(prefix="labrig-", suffix=".log")
    os.close(handle)
    return log.replace(name)


@contextlib.contextmanager
def _process(
    step: Step, directory: Path, variables: Mapping[str, str], output: int | IO[str]
) -> Iterator[subprocess.Popen[str]]:
    """A running step. It and everything it started are stopped when this is left early, for example by Ctrl-C."""
    try:
        process = subprocess.Popen(
            step.command,
            cwd=directory,
            env=_step_variables(step, directory, variables),
            stdin=subprocess.DEVNULL,  # nothing may wait for an answer
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise CommandError(
            f"the files are all there, but {step.command[0]} does not start", cause=str(error)
        ) from error
    try:
        yield process
        process.wait()
    finally:
        if process.poll() is None:
            _stop(process)
        if process.stdout:
            process.stdout.close()


def _stop(process: subprocess.Popen[str]) -> None:
    """End a process group: as Ctrl-C would, then harder. Another Ctrl-C goes on to the next."""
    for number, seconds in ((signal.SIGINT, 5.0), (signal.SIGTERM, 3.0), (signal.SIGKILL, 3.0)):
        with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            os.killpg(process.pid, number)
            process.wait(seconds)
            break
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # children that outlived it


def _step_variables(step: Step, directory: Path, variables: Mapping[str, str]) -> dict[str, str]:
    environment = directory.absolute() / ".venv"
    if not step.activated:
        return {**variables, **step.variables}
    path = os.pathsep.join([str(environment / "bin"), variables["PATH"]])
    return {**variables, **step.variables, "VIRTUAL_ENV": str(environment), "PATH": path}


def _failure(
    step: Step, remaining: Sequence[Step], directory: Path, symptom: Symptom | None, exit_code: int
) -> CommandError:
    """What went wrong with a step, and how to go on from there."""
    again = " && ".join([f"cd {shlex.quote(_shown(directory))}", *commands(remaining)])
    ended = f"exit {exit_code}" if exit_code >= 0 else f"stopped by {signal.Signals(-exit_code).name}"
    message = f"the files are all there, but `{step}` failed ({ended})"
    if symptom is None:
        return CommandError(message, cause="see its last lines above", tip=again)
    error = CommandError(message, cause=symptom.cause, tip=f"{symptom.remedy}, then: {again}")
    error.kind = symptom.kind
    return error


def _shown(directory: Path) -> str:
    """A path as short as it can be typed from here."""
    relative = os.path.relpath(directory)
    return str(directory) if relative.startswith(os.pardir) else relative
