"""What a package manager takes into a lock for each accelerator."""

import re
import shlex
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hosts.tools import Tools
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from labrig.render import Answers

# What tells one build from another: the local version of torch, the packages that JAX reaches a device through, and
# that of TensorFlow itself with its CUDA libraries.
TORCH = {"cpu": "cpu", "cu126": "cu126", "cu128": "cu128", "cu130": "cu130", "cu132": "cu132", "rocm": "rocm7.2"}
JAX = {
    "cpu": set[str](),
    "cu129": {"jax-cuda12-plugin", "jax-cuda12-pjrt"},
    "cu130": {"jax-cuda13-plugin", "jax-cuda13-pjrt"},
    "cu132": {"jax-cuda13-plugin", "jax-cuda13-pjrt"},
    "rocm": {"jax-rocm7-plugin", "jax-rocm7-pjrt"},
    "tpu": {"libtpu"},
}
TENSORFLOW = {"cpu": {"tensorflow-cpu"}, "cu129": {"tensorflow", "nvidia-cudnn-cu12", "nvidia-nccl-cu12"}}
# The package whose version is that of CUDA itself: what torch was linked with, and the compiler that JAX calls, whose
# output a driver of the same CUDA version must be able to load.
CUDA = {"pytorch": "cuda-toolkit", "jax": "nvidia-cuda-nvcc", "tensorflow": "nvidia-cuda-nvcc"}


def check_lock(answers: Answers, tools: Tools, folder: Path) -> None:
    """Lock the repository in a folder as `poe lock` does, and assert what the lock holds."""
    for command in lock_commands(folder):
        tools.run(command, folder)
    for lock in (path for path in folder.rglob("*") if path.suffix == ".lock"):
        assert not re.search(r"127\.0\.0\.1|localhost|file:", lock.read_text(encoding="utf-8")), (
            f"{lock} names this machine"
        )
    variants: Any = answers["variants"]
    for variant in variants:
        installed = would_install(answers, variant, tools, folder)
        versions = dict(installed)
        assert len(installed) == len(versions), sorted(installed)
        check_build(str(answers["framework"]), variant, versions)
        assert versions["pytest"], "the tools are not locked"


def lock_commands(folder: Path) -> list[str]:
    """What `poe lock` runs."""
    task = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["poe"]["tasks"]["lock"]
    return [task["cmd"]] if "cmd" in task else [part["cmd"] for part in task["sequence"]]


def would_install(answers: Answers, variant: str, tools: Tools, folder: Path) -> list[tuple[str, str]]:
    """The packages, by name and version, that the documented commands install for one variant from the lock."""
    accelerator = answers["accelerator"]
    if answers["package_manager"] == "uv":
        groups = "" if variant == accelerator else f"--no-group {accelerator} --group {variant}"
        export = f"uv export --locked --quiet --no-header --no-annotate --no-hashes --no-emit-project {groups}"
        return pinned(tools.run(export, folder).splitlines())
    if answers["package_manager"] == "pip":
        lines = (folder / "requirements" / f"{variant}.lock").read_text(encoding="utf-8").splitlines()
        assert sum("--hash=sha256:" in line for line in lines) >= sum("==" in line for line in lines)
        return pinned(line.removesuffix("\\") for line in lines if "==" in line)
    said = tools.run(f"poetry install --no-root --dry-run --no-ansi --extras {shlex.quote(variant)}", folder)
    found = re.findall(r"- Installing (\S+) \((\S+)\)(?!: Skipped)", said)
    return [(canonicalize_name(name), version) for name, version in found]


def pinned(lines: Iterable[str]) -> list[tuple[str, str]]:
    """What a list of exact requirements installs on this machine."""
    requirements = [Requirement(line) for line in lines]
    here = [one for one in requirements if one.marker is None or one.marker.evaluate()]
    return [(canonicalize_name(one.name), str(one.specifier).removeprefix("==")) for one in here]


def check_build(framework: str, variant: str, versions: dict[str, str]) -> None:
    """Asserts that these packages are the framework's build for one accelerator and of a matching CUDA."""
    if framework == "pytorch":
        assert Version(versions["torch"]).local == TORCH[variant]
        assert ("triton-rocm" in versions) == (variant == "rocm")
    elif framework == "sklearn":
        assert versions["scikit-learn"], "for the CPU, on every machine"
    elif framework == "tensorflow":
        assert versions.keys() & {name for names in TENSORFLOW.values() for name in names} == TENSORFLOW[variant]
    else:
        device = {name for name in versions if name == "libtpu" or name.endswith(("-plugin", "-pjrt"))}
        assert device == JAX[variant]
        assert {versions[name] for name in device | {"jax", "jaxlib"} if name != "libtpu"} == {versions["jax"]}
    nvidia = {name for name in versions if name.startswith("nvidia-")}
    assert bool(nvidia) == variant.startswith("cu")
    if variant.startswith("cu"):
        cuda = CUDA[framework] if CUDA[framework] in versions else f"{CUDA[framework]}-cu12"
        major, minor, *_ = Version(versions[cuda]).release
        assert f"cu{major}{minor}" == variant
