"""Creates conda environments from environment files as `conda env create` does, with the solver that pixi uses.

conda, mamba and micromamba are not on PyPI; py-rattler is, and it is the same kind of solver and installer. The
environment file is read unmodified: only what the name conda-forge stands for is changed.
"""

import asyncio
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

import rattler
import yaml

from . import cache


@dataclass(frozen=True)
class EnvironmentFile:
    """What an environment.yml asks of conda and, under `pip:`, of pip."""

    channels: list[str]
    conda: list[str]
    pip: list[str]

    @classmethod
    def read(cls, path: Path) -> "EnvironmentFile":
        content = yaml.safe_load(path.read_text())
        dependencies = content["dependencies"]
        conda = [one for one in dependencies if isinstance(one, str)]
        pip = [requirement for one in dependencies if isinstance(one, dict) for requirement in one["pip"]]
        return cls(content["channels"], conda, pip)


def solve(file: EnvironmentFile, channels: Path, cuda: str | None = None) -> list[rattler.RepoDataRecord]:
    """The packages that conda would install on a Linux machine whose driver supports `cuda`, or that has no driver.

    Raises:
        rattler.exceptions.SolverError: nothing satisfies the file on such a machine.
    """
    config = rattler.ChannelConfig(channel_alias=f"{channels.as_uri()}/")
    machine = [one.into_generic() for one in rattler.VirtualPackage.detect()]
    machine = [one for one in machine if one.name.normalized != "__cuda"]
    if cuda is not None:
        name, version = rattler.PackageName("__cuda"), rattler.Version(cuda)
        machine.append(rattler.GenericVirtualPackage(name, version, rattler.BuildString("0")))
    return asyncio.run(
        rattler.solve(
            sources=[rattler.Channel(channel, config) for channel in file.channels],
            specs=[rattler.MatchSpec(spec) for spec in file.conda],
            platforms=[rattler.Subdir("linux-64"), rattler.Subdir("noarch")],
            virtual_packages=machine,
        )
    )


def create(path: Path, prefix: Path, channels: Path, environment: Mapping[str, str]) -> None:
    """Creates the environment of the file at `path` in the folder `prefix`."""
    file = EnvironmentFile.read(path)
    records = solve(file, channels)
    install = rattler.install(records, target_prefix=prefix, cache_dir=cache.ROOT / "rattler", show_progress=False)
    asyncio.run(install)
    if file.pip:
        # conda, too, hands pip's part over as a requirements file beside the environment file, so that `.` means there
        with NamedTemporaryFile("w", suffix=".requirements.txt", dir=path.parent) as requirements:
            requirements.write("\n".join(file.pip) + "\n")
            requirements.flush()
            command = ["-m", "pip", "install", "--quiet", "--requirement", requirements.name]
            subprocess.run(
                [prefix / "bin" / "python", *command], cwd=path.parent, env=activated(prefix, environment), check=True
            )


def activated(prefix: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """What `conda activate` changes for a process."""
    path = os.pathsep.join([str(prefix / "bin"), environment.get("PATH", os.defpath)])
    return {**environment, "PATH": path, "CONDA_PREFIX": str(prefix)}
