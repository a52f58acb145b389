"""Compares this machine with what a repository asks for, and names the remedy."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from .environment import child_variables, commands, conda_found, environment_name, inside, plan, variant_for
from .errors import UsageError
from .machine import Machine, best_accelerator, detect, manager_version, version, why_cuda_cannot_run
from .report import Report

ANSWERS_FILE = ".copier-answers.yml"

GIGABYTES_NEEDED = {"cpu": 2, "accelerator": 12}
"""An environment with its downloads: PyTorch for CUDA alone is 5 GB, unpacked once and cached once."""

OLDEST_POETRY = "2.0"
"""The first that reads [project] and dependency groups."""

ANSWER_SECONDS = 120.0
"""The first import of a framework reads gigabytes from a disk that may be on a network."""

Level = Literal["ok", "absent", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `absent` is not here and not asked for; a `problem` stands in the way."""

    what: str
    asked: str
    found: str
    level: Level = "ok"
    remedy: str = ""


@dataclass(frozen=True)
class Repository:
    """A generated repository, its answers, and what its environment holds (None: there is no environment)."""

    directory: Path
    answers: Mapping[str, Any]
    machine: Machine
    stack: Mapping[str, Any]
    environment: Mapping[str, Any] | None

    @property
    def manager(self) -> str:
        return str(self.answers["package_manager"])

    @property
    def accelerator(self) -> str:
        return str(self.answers["accelerator"])

    @property
    def channel(self) -> Mapping[str, Any]:
        """What the framework is built for, where the manager takes it from."""
        builds: Mapping[str, Any] = self.stack["builds"][self.answers["framework"]]
        channel: Mapping[str, Any] = builds["conda" if self.manager == "conda" else "pypi"]
        return channel

    @property
    def set_up(self) -> str:
        """The commands that make the environment."""
        steps = plan(self.answers, variant_for(self.machine, self.answers), conda=conda_found(self.machine) or "conda")
        return " && ".join(commands(steps[:-1]))

    def version_of(self, package: str) -> str | None:
        """The version of a package in the environment."""
        versions = (self.environment or {}).get("packages", {}).get(package)
        return str(versions[0]) if versions else None


def doctor(directory: Path | None, template: Path, report: Report) -> int:
    """Look, say what was found, and return the exit code: 1 when there is a problem."""
    stack = yaml.safe_load((template / "stack.yml").read_text(encoding="utf-8"))
    if directory is not None and not (directory / ANSWERS_FILE).exists():
        raise UsageError(
            f"{directory} is not a repository that labrig made", cause=f"it has no {ANSWERS_FILE}", tip="labrig doctor"
        )
    here = Path() if Path(ANSWERS_FILE).exists() else None
    with report.step("Look around"):
        findings = diagnose(directory or here, stack)
    problem = any(finding.level == "problem" for finding in findings)
    if report.json:
        report.object({"ok": not problem, "findings": [asdict(finding) for finding in findings]})
    else:
        for line in table(findings):
            report.data(line)
    return int(problem)


def diagnose(directory: Path | None, stack: Mapping[str, Any]) -> list[Finding]:
    """Every finding about the repository in `directory`, or else about this machine and the whole catalogue."""
    machine = detect()
    if directory is None:
        return list(_about_machine(machine, stack))
    answers = yaml.safe_load((directory / ANSWERS_FILE).read_text(encoding="utf-8"))
    environment = probe(directory, answers, machine)
    return list(_about_repository(Repository(directory, answers, machine, stack, environment)))


def table(findings: Sequence[Finding]) -> list[str]:
    """The findings as lines for a person, each remedy under its finding."""
    columns = [(finding.level, finding.what, finding.asked or "-", finding.found) for finding in findings]
    widths = [max(len(row[column]) for row in [("", "", "asked", ""), *columns]) for column in range(3)]
    lines = [_row(("", "", "asked", "found"), widths)]
    for finding, row in zip(findings, columns, strict=True):
        lines.append(_row(row, widths))
        if finding.remedy:
            lines.append(f"{'':{widths[0]}}    {finding.remedy}")
    return lines


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [f"{cell:{width}}" for cell, width in zip(cells[:-1], widths, strict=True)]
    return "  ".join([*padded, cells[-1]]).rstrip()


def probe(directory: Path, answers: Mapping[str, Any], machine: Machine, *arguments: str) -> Any:
    """What probe.py says in the environment of a repository; None when there is no environment."""
    environment = directory / ".venv/bin/python"
    if answers["package_manager"] == "conda":
        conda = conda_found(machine)
        if conda is None:
            return None
        command = [conda, "run", "--name", environment_name(answers), "python"]
    elif environment.exists():
        command = [str(environment.absolute())]
    else:
        return None
    return _json_of([*command, "-I", str(Path(__file__).with_name("probe.py")), *arguments], directory)


def _json_of(command: Sequence[str], directory: Path) -> Any:
    """The last line that a command prints, which is JSON; None when the command fails."""
    done = _run(command, directory)
    lines = done.stdout.strip().splitlines() if done and done.returncode == 0 else []
    return json.loads(lines[-1]) if lines else None


def _run(command: Sequence[str], directory: Path) -> subprocess.CompletedProcess[str] | None:
    """None when the program is not there or does not end."""
    try:
        return subprocess.run(
            command,
            cwd=directory,
            env=child_variables({}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ANSWER_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None


def _about_machine(machine: Machine, stack: Mapping[str, Any]) -> Iterator[Finding]:
    yield _git()
    for name, path in machine.managers.items():
        yield Finding(name, "", f"{manager_version(path) or 'does not tell its version'} ({path})")
    yield Finding("python", "", ", ".join(machine.pythons))
    yield from _slurm(machine)
    if machine.nvidia_error:
        yield _broken_driver(machine, "", machine.nvidia_error)
    built = {
        accelerator
        for channels in stack["builds"].values()
        for channel in channels.values()
        for accelerator in channel["accelerators"]
    }
    yield from (_fit(machine, accelerator, stack) for accelerator in sorted(built))
    yield _disk(Path(), GIGABYTES_NEEDED["accelerator"])


def _fit(machine: Machine, accelerator: str, stack: Mapping[str, Any]) -> Finding:
    """Whether an accelerator of the catalogue runs here."""
    if not machine.has(accelerator):
        return Finding(accelerator, "", "no device for it was found", "absent")
    reason = why_cuda_cannot_run(machine, accelerator, stack) if accelerator.startswith("cu") else None
    if reason is None:
        return Finding(accelerator, "", f"runs here: {_devices(machine, accelerator)}")
    return Finding(accelerator, "", reason, "warning")


def _devices(machine: Machine, accelerator: str) -> str:
    if accelerator == "cpu":
        return f"{os.cpu_count()} cores"
    if accelerator == "rocm":
        return ", ".join(machine.amd_gpus)
    if accelerator == "tpu":
        return str(machine.tpu)
    names = [gpu.name for gpu in machine.gpus]
    counted = ", ".join(f"{names.count(name)} x {name}" for name in dict.fromkeys(names))
    return f"{counted}, driver {machine.nvidia_driver}"


def _about_repository(repository: Repository) -> Iterator[Finding]:
    machine = repository.machine
    yield _git()
    yield _manager(repository)
    yield _python(repository)
    yield _accelerator(repository)
    yield from _slurm(machine)
    yield _lock(repository)
    if repository.environment is None:
        yield Finding("environment", "one", "none", "warning", repository.set_up)
    else:
        about = {"pytorch": _pytorch, "jax": _jax, "tensorflow": _tensorflow, "sklearn": _sklearn}
        yield about[str(repository.answers["framework"])](repository)
        yield from _jax_libraries(repository)
        yield from _twice(repository)
        yield from _framework_devices(repository)
    on_cpu = variant_for(machine, repository.answers) == "cpu"
    yield _disk(repository.directory, GIGABYTES_NEEDED["cpu" if on_cpu else "accelerator"])


def _git() -> Finding:
    path = shutil.which("git")
    if path is None:
        return Finding("git", "", "not on PATH", "problem", "install it: https://git-scm.com/downloads")
    return Finding("git", "", f"{manager_version(Path(path)) or 'does not start'} ({path})")


def _manager(repository: Repository) -> Finding:
    manager = repository.manager
    if manager == "pip":
        return Finding("manager", "pip", "comes with Python")
    name = conda_found(repository.machine) if manager == "conda" else manager
    path = shutil.which(name) if name else None
    if path is None:
        remedy = {
            "uv": "pipx install uv",
            "poetry": "pipx install poetry",
            "conda": "install Miniforge: https://conda-forge.org/download",
        }[manager]
        return Finding("manager", manager, "not on PATH", "problem", remedy)
    found = manager_version(Path(path))
    if found is None:
        return Finding("manager", manager, f"{path} does not start", "problem", f"{path} --version")
    if manager == "poetry" and version(found) < version(OLDEST_POETRY):
        return Finding("manager", f"poetry {OLDEST_POETRY} or newer", found, "problem", "pipx upgrade poetry")
    return Finding("manager", manager, f"{name} {found}")


def _python(repository: Repository) -> Finding:
    asked = str(repository.answers["python"])
    if repository.environment is not None:
        found = str(repository.environment["python"])
        if found == asked:
            return Finding("python", asked, f"{found} in the environment")
        return Finding("python", asked, f"{found} in the environment", "problem", repository.set_up)
    if asked in repository.machine.pythons:
        return Finding("python", asked, str(repository.machine.pythons[asked]))
    if repository.manager in ("uv", "conda"):
        return Finding("python", asked, f"none; {repository.manager} downloads it")
    found = ", ".join(repository.machine.pythons)
    return Finding("python", asked, f"only {found}", "problem", f"uv python install {asked}")


def _accelerator(repository: Repository) -> Finding:
    """Whether this machine's device and driver run what was asked for."""
    machine, asked, stack = repository.machine, repository.accelerator, repository.stack
    best = best_accelerator(machine, repository.channel["accelerators"], stack)
    change = f"labrig set accelerator={best}"
    if asked == "cpu":
        hint = f"to use it: {change}" if best != "cpu" else ""
        return Finding("accelerator", asked, _devices(machine, best), "ok", hint)
    if asked.startswith("cu") and machine.nvidia_error:
        return _broken_driver(machine, asked, machine.nvidia_error)
    if not machine.has(asked):
        if machine.slurm:
            return Finding("accelerator", asked, "none on this node", "warning", "srun --gpus=1 labrig doctor")
        return Finding("accelerator", asked, "none: this machine runs the CPU variant", "warning")
    if asked.startswith("cu") and (
        reason := why_cuda_cannot_run(machine, asked, stack, repository.channel["accelerators"][asked])
    ):
        floor = stack["drivers"][asked]
        newer = f"update the NVIDIA driver to {floor} or newer, or: " if reason.startswith("the driver") else ""
        return Finding("accelerator", asked, reason, "problem", newer + change)
    return Finding("accelerator", asked, _devices(machine, asked))


def _broken_driver(machine: Machine, asked: str, error: str) -> Finding:
    remedy = (
        "restart the machine" if "mismatch" in error else "nvidia-smi must work first: install or repair the driver"
    )
    if machine.slurm and "mismatch" not in error:
        remedy = "srun --gpus=1 labrig doctor"
    return Finding("NVIDIA driver", asked, error, "problem", remedy)


def _slurm(machine: Machine) -> Iterator[Finding]:
    if machine.slurm:
        yield Finding("slurm", "", machine.slurm)


def _lock(repository: Repository) -> Finding:
    """Whether there is a lock, and whether it is that of the manifest as it is now."""
    directory, manager = repository.directory, repository.manager
    name = {
        "uv": "uv.lock",
        "pip": f"requirements/{variant_for(repository.machine, repository.answers)}.lock",
        "conda": "environment.lock",
        "poetry": "poetry.lock",
    }[manager]
    if not (directory / name).exists():
        return Finding("lock", name, "none", "absent" if manager == "conda" else "warning", repository.set_up)
    variant = variant_for(repository.machine, repository.answers)
    relock = str(
        inside("", ("poe", "lock"), repository.answers, variant, conda=conda_found(repository.machine) or "conda")
    )
    problem = Finding("lock", name, "not that of pyproject.toml as it is now", "problem", relock)
    if manager == "pip":
        missing = _missing_from_lock(directory, directory / name, variant)
        return problem if missing else Finding("lock", name, "names every dependency")
    check = {"uv": ["uv", "lock", "--check", "--offline"], "poetry": ["poetry", "check", "--lock"]}.get(manager)
    if check is None:
        return Finding("lock", name, "there")
    done = _run(check, directory)
    if done is None or (manager == "uv" and done.returncode == 2 and "Failed to parse" not in done.stderr):
        reason = done.stderr.partition("\n")[0] if done else f"{manager} does not start"
        return Finding("lock", name, f"there, and not compared with pyproject.toml ({reason})", "warning")
    return problem if done.returncode != 0 else Finding("lock", name, "up to date")


def _missing_from_lock(directory: Path, lock: Path, variant: str) -> set[str]:
    """The packages that the manifest asks for and the lock does not name."""
    manifest = tomllib.loads((directory / "pyproject.toml").read_text(encoding="utf-8"))
    groups = manifest.get("dependency-groups", {})
    asked = [*manifest["project"].get("dependencies", []), *groups.get("dev", []), *groups.get(variant, [])]
    locked = re.findall(r"^([\w.-]+)(?:\[.*\])?==", lock.read_text(encoding="utf-8"), re.MULTILINE)
    names = {re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0] for requirement in asked}
    return {_normal(name) for name in names} - {_normal(name) for name in locked}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _pytorch(repository: Repository) -> Finding:
    """Whether PyTorch is the build for what was asked and is there."""
    build = (repository.environment or {}).get("torch")
    asked = variant_for(repository.machine, repository.answers)
    if build is None:
        return Finding("pytorch", asked, "not in the environment", "problem", repository.set_up)
    found = f"cu{build['cuda'].replace('.', '')}" if build["cuda"] else "rocm" if build["hip"] else "cpu"
    shown = f"{build['version']}, built for {found}"
    if found == asked or (repository.manager == "conda" and found.startswith("cu") and asked.startswith("cu")):
        return Finding("pytorch", asked, shown)
    if asked == "cpu":  # it runs there, too
        return Finding("pytorch", asked, f"{shown}: larger than needed", "warning", repository.set_up)
    return Finding("pytorch", asked, shown, "problem", repository.set_up)


JAX_PLUGINS = {"cu129": "jax-cuda12-plugin", "cu130": "jax-cuda13-plugin", "cu132": "jax-cuda13-plugin"}


def _jax(repository: Repository) -> Finding:
    """Whether JAX has its plugin for what was asked and is there."""
    asked = variant_for(repository.machine, repository.answers)
    found = repository.version_of("jax")
    if found is None:
        return Finding("jax", asked, "not in the environment", "problem", repository.set_up)
    plugin = JAX_PLUGINS.get(asked) or {"rocm": "jax-rocm7-plugin", "tpu": "libtpu"}.get(asked)
    if plugin is None or repository.manager == "conda" or repository.version_of(plugin):
        return Finding("jax", asked, f"{found}{f' with {plugin}' if plugin else ''}")
    return Finding("jax", asked, f"{found} without {plugin}, so it runs on the CPU", "problem", repository.set_up)


def _jax_libraries(repository: Repository) -> Iterator[Finding]:
    """JAX and its binary parts must be of one version, and load the CUDA libraries that came with them."""
    if repository.version_of("jax") is None:
        return
    names = [
        name
        for name in (repository.environment or {})["packages"]
        if name in ("jax", "jaxlib") or re.fullmatch(r"jax-(cuda|rocm)\d+-(plugin|pjrt)", name)
    ]
    versions = {name: repository.version_of(name) for name in sorted(names)}
    if repository.manager != "conda" and len({version(found or "")[:3] for found in versions.values()}) > 1:
        shown = ", ".join(f"{name} {found}" for name, found in versions.items())
        yield Finding("jax versions", "one for all", shown, "problem", repository.set_up)
    path = os.environ.get("LD_LIBRARY_PATH")
    if path and any("-cuda" in name for name in versions):
        yield Finding("LD_LIBRARY_PATH", "not set", path, "warning", "unset LD_LIBRARY_PATH")


def _tensorflow(repository: Repository) -> Finding:
    """Whether TensorFlow is the build for what was asked, with its CUDA libraries, and is there once."""
    asked = variant_for(repository.machine, repository.answers)
    found, found_cpu = repository.version_of("tensorflow"), repository.version_of("tensorflow-cpu")
    if found is None and found_cpu is None:
        return Finding("tensorflow", asked, "not in the environment", "problem", repository.set_up)
    if found and found_cpu:
        shown = f"tensorflow {found} and tensorflow-cpu {found_cpu}, which are the same files"
        return Finding("tensorflow", asked, shown, "problem", _anew(repository))
    libraries = repository.version_of("nvidia-cudnn-cu12")
    if asked == "cpu":
        if libraries is None:
            return Finding("tensorflow", asked, str(found or found_cpu))
        return Finding("tensorflow", asked, f"{found} for CUDA: larger than needed", "warning", repository.set_up)
    if repository.manager == "conda" or (found and libraries):
        return Finding("tensorflow", asked, f"{found}{' with the libraries of CUDA' if libraries else ''}")
    shown = f"{found or found_cpu} without the libraries of CUDA, so it runs on the CPU"
    return Finding("tensorflow", asked, shown, "problem", _anew(repository))


def _sklearn(repository: Repository) -> Finding:
    """Whether scikit-learn is there: it has one build, for the CPU."""
    found = repository.version_of("scikit-learn")
    if found is None:
        return Finding("scikit-learn", "cpu", "not in the environment", "problem", repository.set_up)
    return Finding("scikit-learn", "cpu", found)


def _twice(repository: Repository) -> Iterator[Finding]:
    """One CUDA library in two versions: which of them is loaded is chance."""
    copies: dict[str, list[str]] = {}
    for name, versions in (repository.environment or {})["packages"].items():
        if name.startswith("nvidia-"):
            copies.setdefault(re.sub(r"-cu\d+$", "", name), []).extend(f"{name} {found}" for found in versions)
    for name, found in copies.items():
        if len(found) > 1:
            yield Finding(name, "one version", ", ".join(sorted(found)), "problem", _anew(repository))


def _anew(repository: Repository) -> str:
    """The commands that make the environment again from nothing."""
    if repository.manager == "conda":
        name = environment_name(repository.answers)
        return f"{conda_found(repository.machine) or 'conda'} env remove --name {name} && {repository.set_up}"
    return f"rm -r .venv && {repository.set_up}"


def _framework_devices(repository: Repository) -> Iterator[Finding]:
    """What the framework itself finds, where there is something to find."""
    machine, asked = repository.machine, repository.accelerator
    framework = {"pytorch": "torch"}.get(str(repository.answers["framework"]), str(repository.answers["framework"]))
    if asked == "cpu" or not machine.has(asked):
        return
    devices = probe(repository.directory, repository.answers, machine, framework)
    if devices:
        yield Finding(f"{framework} devices", asked, ", ".join(devices))
    else:
        command = {
            "torch": "import torch; torch.zeros(1).cuda()",
            "jax": "import jax; jax.devices()",
            "tensorflow": "import tensorflow as tf; tf.config.list_physical_devices()",
        }[framework]
        step = inside("", ("python", "-c", command), repository.answers, asked)
        found = "none" if devices == [] else f"{framework} does not start"
        yield Finding(f"{framework} devices", asked, found, "problem", f"see why: {step}")


def _disk(directory: Path, needed: int) -> Finding:
    free = shutil.disk_usage(directory).free / 1e9
    level: Level = "ok" if free >= needed else "warning"
    return Finding("disk", f"{needed} GB", f"{free:.0f} GB free", level, "" if level == "ok" else "uv cache prune")
