"""The package managers as the tests run them: real programs, on this machine, in an environment of their own."""

import os
import re
import shlex
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from uv import find_uv_bin

from . import cache
from .pip_settings import pip_setting
from .pytorch_index import pytorch_index
from .standin import stand_in

POETRY = ["poetry==2.5.1", "poetry-plugin-pypi-mirror==0.6.5"]
RELEASE = "https://pypi.org/pypi/pip/25.3/json"

# What the environment in which the tests run would tell the tools about itself.
OWN = re.compile(r"CONDA_PREFIX|POETRY_ACTIVE|PYTEST_.*|PYTHONDONTWRITEBYTECODE|PYTHONHOME|PYTHONPATH|VIRTUAL_ENV")


@dataclass(frozen=True)
class Tools:
    """uv, poetry and Python on PATH, and package hosts that answer."""

    environment: Mapping[str, str]

    def run(self, command: str, folder: Path, environment: Mapping[str, str] | None = None) -> str:
        """Runs a command line in a folder and returns what it said, stdout and stderr together."""
        start = time.monotonic()
        done = subprocess.run(
            shlex.split(command),
            cwd=folder,
            env=self.environment if environment is None else environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        print(f"{time.monotonic() - start:6.1f} s: {command}")  # pytest -rP shows it
        assert done.returncode == 0, f"{command!r} ended with {done.returncode}:\n{done.stdout}"
        return done.stdout


@contextmanager
def tools() -> Iterator[Tools]:
    """The tools with PyTorch's index stood in, until the context ends.

    Their caches are apart from the user's, which must never hold a package of the stand-ins under a true address, and
    anew for every index: uv takes for granted that a wheel of PyTorch never changes.
    """
    index = pytorch_index()
    cached = cache.built("caches", Path.touch, [index.name])
    with TemporaryDirectory(prefix="tools-") as folder, stand_in({"download.pytorch.org": index}) as hosts:
        write_commands(Path(folder))
        own = Path(sys.prefix, "bin").resolve()
        path = [part for part in os.get_exec_path() if Path(part).resolve() != own]
        inherited = {name: value for name, value in os.environ.items() if not OWN.fullmatch(name)}
        caches = {
            "UV_CACHE_DIR": str(cached / "uv"),
            "PIP_CACHE_DIR": str(cached / "pip"),
            "POETRY_CACHE_DIR": str(cached / "poetry"),
            "CONDA_PKGS_DIRS": str(cached / "conda"),
        }
        settings = {
            "PATH": os.pathsep.join([folder, *path]),
            "UV_PYTHON_DOWNLOADS": "never",
        }
        yield Tools({**inherited, **hosts.environment, **caches, **settings, **poetry_settings()})


def write_commands(folder: Path) -> None:
    """Puts the commands that a user has on PATH into a folder: the Python that runs this, uv and poetry."""
    python = Path(sys.base_exec_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
    for name in ("python", "python3", python.name):
        (folder / name).symlink_to(python)
    (folder / "uv").symlink_to(find_uv_bin())
    plugins = " ".join(f"--with {plugin}" for plugin in POETRY[1:])
    poetry = folder / "poetry"
    poetry.write_text(
        f'#!/bin/sh\nexec uv tool run --quiet --python {python} --from {POETRY[0]} {plugins} poetry "$@"\n'
    )
    poetry.chmod(0o755)


def poetry_settings() -> dict[str, str]:
    """Where Poetry finds PyPI's packages: it asks for one release of a package as JSON, which mirrors of PyPI lack."""
    try:
        urllib.request.urlopen(RELEASE, timeout=60).close()
    except urllib.error.HTTPError:
        index = pip_setting("index-url") or ["https://pypi.org/simple/"]
        return {"POETRY_PYPI_MIRROR_URL": index[0]}
    return {}
