"""What this machine has: who works on it, its accelerators, package managers and interpreters."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from uv import find_uv_bin

MANAGERS = ("uv", "pip", "conda", "mamba", "micromamba", "poetry")

OLDEST_PYTHON = (3, 11)

NVIDIA_SMI_TIMEOUT_SECONDS = 8.0
"""Without a persistent driver, nvidia-smi first wakes every GPU of the machine up."""

TIMEOUT_SECONDS = 3.0

TPU_CHIPS = {
    "0x0027": "TPU v3",
    "0x005e": "TPU v4",
    "0x0062": "TPU v5p",
    "0x0063": "TPU v5e",
    "0x006f": "TPU v6e",
    "0x0076": "TPU 7x",
}
"""PCI device numbers of Google (vendor 0x1ae0), as in jax/_src/hardware_utils.py."""


@dataclass(frozen=True)
class Gpu:
    """An NVIDIA GPU, and its generation: `7.5` is Turing, `9.0` Hopper. Old drivers do not tell the generation."""

    name: str
    compute_capability: str | None


@dataclass(frozen=True)
class Machine:
    """What was found. None, or an empty collection, stands for whatever was not."""

    author_name: str | None = None
    author_email: str | None = None
    remote: str | None = None
    """Where the current folder's repository is hosted: `github` or `gitlab`."""
    nvidia_driver: str | None = None
    nvidia_error: str | None = None
    """What nvidia-smi says when it is there and fails."""
    gpus: tuple[Gpu, ...] = ()
    amd_gpus: tuple[str, ...] = ()
    """The instruction sets of the AMD GPUs that ROCm sees, such as `gfx942`."""
    tpu: str | None = None
    slurm: str | None = None
    """The version of Slurm."""
    managers: Mapping[str, Path] = field(default_factory=dict)
    pythons: Mapping[str, Path] = field(default_factory=dict)
    """The interpreters that start, by version (`3.12`), oldest first."""

    def has(self, accelerator: str) -> bool:
        """Whether there is a device that `accelerator` (cpu, cu130, rocm, tpu, ...) is built for."""
        if accelerator.startswith("cu"):
            return bool(self.gpus)
        return {"cpu": True, "rocm": bool(self.amd_gpus), "tpu": self.tpu is not None}.get(accelerator, False)


def detect(file_system: Path = Path("/")) -> Machine:
    """Ask every program at the same time. Never fails, and no program may keep it waiting."""
    with ThreadPoolExecutor(max_workers=32) as pool:
        nvidia = pool.submit(_nvidia)
        pythons = _start_pythons(pool)
        managers = managers_found()
        author = pool.submit(_author)
        remote = pool.submit(_remote)
        amd_gpus = pool.submit(_amd_gpus)
        slurm = pool.submit(_slurm)
        driver, gpus, error = nvidia.result()
        name, email = author.result()
        return Machine(
            author_name=name,
            author_email=email,
            remote=remote.result(),
            nvidia_driver=driver,
            nvidia_error=error,
            gpus=gpus,
            amd_gpus=amd_gpus.result(),
            tpu=_tpu(file_system),
            slurm=slurm.result(),
            managers=managers,
            pythons=_collect_pythons(pythons),
        )


def defaults(machine: Machine, answers: Mapping[str, object], stack: Mapping[str, Any]) -> dict[str, object]:
    """The answers that this machine suggests. The `answers` so far, framework and manager, decide what is built."""
    framework = str(answers.get("framework", next(iter(stack["builds"]))))
    manager = str(answers.get("package_manager", "uv"))
    builds = stack["builds"][framework]["conda" if manager == "conda" else "pypi"]
    found = {"author_name": machine.author_name, "author_email": machine.author_email, "ci": machine.remote}
    return {
        **{question: answer for question, answer in found.items() if answer is not None},
        "package_manager": "uv",
        "accelerator": best_accelerator(machine, builds["accelerators"], stack),
        "python": best_python(machine, builds["python"]),
    }


def best_accelerator(machine: Machine, built: Mapping[str, Any], stack: Mapping[str, Any]) -> str:
    """The newest of the `built` accelerators that runs here, or else `cpu`."""
    cuda = [
        name
        for name, build in built.items()
        if name.startswith("cu") and not why_cuda_cannot_run(machine, name, stack, build)
    ]
    others = [name for name in ("rocm", "tpu") if name in built and machine.has(name)]
    return max(cuda, key=lambda name: int(name[2:]), default=others[0] if others else "cpu")


def best_python(machine: Machine, built: Sequence[str]) -> str:
    """The newest of the `built` Pythons that is installed, or else 3.12."""
    return next((python for python in reversed(built) if python in machine.pythons), "3.12")


def why_cuda_cannot_run(
    machine: Machine, accelerator: str, stack: Mapping[str, Any], build: Mapping[str, Any] | None = None
) -> str | None:
    """Why the builds of a CUDA `accelerator`, or one of them, would not run here; None when they do."""
    if machine.nvidia_driver is None or not machine.gpus:
        return "no NVIDIA GPU was found"
    floor = str(stack["drivers"][accelerator])
    if version(machine.nvidia_driver) < version(floor):
        return f"the driver is {machine.nvidia_driver}, and {accelerator} needs {floor} or newer"
    oldest = str((build or {}).get("compute_capability", stack["compute_capabilities"][accelerator]))
    for gpu in machine.gpus:
        if gpu.compute_capability and version(gpu.compute_capability) < version(oldest):
            return f"{gpu.name} has compute capability {gpu.compute_capability}, and {accelerator} needs {oldest}"
    return None


def version(text: str) -> tuple[int, ...]:
    """The numbers that a version begins with, to compare: `525.60.13` to (525, 60, 13)."""
    return tuple(int(number) for number in re.findall(r"\d+", text.partition("+")[0]))


def managers_found() -> dict[str, Path]:
    """The package managers on PATH, and the uv that came with labrig if there is no other."""
    found = {name: shutil.which(name) for name in MANAGERS}
    return {"uv": Path(find_uv_bin()), **{name: Path(path) for name, path in found.items() if path}}


def manager_version(path: Path) -> str | None:
    """What a manager says its version is. Managers written in Python take a second to say it."""
    answer = _ask([str(path), "--version"], seconds=20)
    number = re.search(r"\d+(\.\d+)+", answer.output) if answer.succeeded else None
    return number.group() if number else None


@dataclass(frozen=True)
class _Answer:
    succeeded: bool
    output: str
    errors: str


def _ask(command: Sequence[str], seconds: float = TIMEOUT_SECONDS) -> _Answer:
    """Run a program; one that is not there, or does not end in time, has not succeeded."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        return _Answer(succeeded=False, output="", errors=str(error))
    try:
        output, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        _abandon(process)
        return _Answer(succeeded=False, output="", errors=f"{command[0]} did not answer within {seconds:g} s")
    return _Answer(succeeded=process.returncode == 0, output=output, errors=errors)


def _abandon(process: subprocess.Popen[str]) -> None:
    """Kill a program and its children, which hold its pipes open; one that hangs in a driver survives even that."""
    os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=0.5)


def _nvidia() -> tuple[str | None, tuple[Gpu, ...], str | None]:
    """The driver's version, the GPUs, and what went wrong."""
    if not shutil.which("nvidia-smi"):
        return None, (), None
    for fields in ("driver_version,compute_cap,name", "driver_version,name"):  # drivers before 510 lack compute_cap
        answer = _ask(["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"], NVIDIA_SMI_TIMEOUT_SECONDS)
        if answer.succeeded:
            rows = [line.split(", ", fields.count(",")) for line in answer.output.splitlines() if line.strip()]
            gpus = tuple(Gpu(row[-1], row[1] if len(row) == 3 else None) for row in rows)
            return (rows[0][0] if rows else None), gpus, (None if rows else "nvidia-smi lists no GPU")
        if "compute_cap" not in answer.output + answer.errors:
            break
    lines = (answer.output + answer.errors).split("\n")
    return None, (), next((line.strip() for line in lines if line.strip()), "nvidia-smi failed")


def _amd_gpus() -> tuple[str, ...]:
    for command in (["rocminfo"], ["rocm-smi", "--showproductname"]):
        answer = _ask(command)
        if answer.succeeded:
            names = re.findall(r"(?:^\s*Name|GFX Version):\s*(gfx[0-9a-f]+)\s*$", answer.output, re.MULTILINE)
            return tuple(names)
    return ()


def _tpu(file_system: Path) -> str | None:
    """The chip of a Cloud TPU machine, from its environment or its PCI bus."""
    if kind := os.environ.get("TPU_ACCELERATOR_TYPE"):
        return kind
    for vendor in (file_system / "sys/bus/pci/devices").glob("*/vendor"):
        if _read(vendor) == "0x1ae0" and (chip := TPU_CHIPS.get(_read(vendor.with_name("device")))):
            return chip
    return None


def _read(path: Path) -> str:
    return path.read_text().strip() if os.access(path, os.R_OK) else ""


def _slurm() -> str | None:
    answer = _ask(["sinfo", "--version"])
    return answer.output.split()[-1] if answer.succeeded and answer.output.strip() else None


def _author() -> tuple[str | None, str | None]:
    answer = _ask(["git", "config", "--get-regexp", r"^user\.(name|email)$"])
    settings = dict(line.split(" ", 1) for line in answer.output.splitlines() if " " in line)
    return settings.get("user.name"), settings.get("user.email")


def _remote() -> str | None:
    answer = _ask(["git", "ls-remote", "--get-url"])  # reads the settings only
    address = re.match(r"(?:[a-z+]+://)?(?:[^@/]+@)?([^/:]+)[/:]", answer.output)
    host = address.group(1) if answer.succeeded and address else ""
    return next((name for name in ("github", "gitlab") if host.startswith(name)), None)


def _start_pythons(pool: ThreadPoolExecutor) -> list[Future[tuple[str, Path] | None]]:
    """Begin to run every interpreter there is. One that is on PATH need not start: pyenv puts wrappers there."""
    uv_pythons = pool.submit(_managed_by_uv)
    candidates = list(_on_path())
    running = ".".join(map(str, sys.version_info[:2]))
    started = [pool.submit(_which_python, path) for name, path in candidates if name != running]
    return started + [pool.submit(_which_python, path) for name, path in uv_pythons.result() if name != running]


def _collect_pythons(started: list[Future[tuple[str, Path] | None]]) -> dict[str, Path]:
    base = getattr(sys, "_base_executable", sys.executable)  # outside of the virtual environment that labrig lies in
    found = {".".join(map(str, sys.version_info[:2])): Path(base)}
    for future in started:
        if answer := future.result():
            found.setdefault(*answer)
    return dict(sorted(found.items(), key=lambda item: version(item[0])))


def _on_path() -> Iterator[tuple[str, Path]]:
    seen: set[Path] = set()
    for folder in os.get_exec_path():
        yield from _pythons_in(Path(folder), seen)


def _managed_by_uv() -> list[tuple[str, Path]]:
    answer = _ask([str(managers_found()["uv"]), "python", "dir"])
    if not answer.succeeded:
        return []
    installed = Path(answer.output.strip()).glob("cpython-*/bin")
    seen: set[Path] = set()
    return [python for folder in installed if "+" not in folder.parent.name for python in _pythons_in(folder, seen)]


def _pythons_in(folder: Path, seen: set[Path]) -> Iterator[tuple[str, Path]]:
    """The executables named python3.N in a folder, each file once."""
    for path in sorted(folder.glob("python3.*")):
        name = re.fullmatch(r"python(3\.\d+)", path.name)
        if name and version(name.group(1)) >= OLDEST_PYTHON and path.resolve() not in seen:
            seen.add(path.resolve())
            yield name.group(1), path


def _which_python(path: Path) -> tuple[str, Path] | None:
    """The version that an interpreter has, and where it really lies; None when it does not start."""
    code = "import sys; print('%d.%d' % sys.version_info[:2], getattr(sys, '_base_executable', sys.executable))"
    answer = _ask([str(path), "-I", "-S", "-c", code])
    if not answer.succeeded or " " not in answer.output:
        return None
    number, executable = answer.output.strip().split(" ", 1)
    return number, Path(executable)
