"""Fixtures that several test files share."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts.conda_channel import FixedPythonError, conda_channel
from hosts.tools import Tools
from hosts.tools import tools as open_tools
from proof_report import proof_report, pytest_terminal_summary  # noqa: F401 - a fixture and a hook
from repositories import ROOT, TEMPLATE

from labrig.render import Template


@pytest.fixture(scope="session")
def template() -> Template:
    """The template of this checkout."""
    return TEMPLATE


@pytest.fixture(scope="session")
def plain_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template of this checkout as a plain folder, without git: every file that git does not ignore."""
    folder = tmp_path_factory.mktemp("template")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in listed.rstrip("\0").split("\0"):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def interpreters() -> list[str]:
    """Every Python that starts here: each a path."""
    found = []
    for minor in range(11, 15):
        for folder in os.environ["PATH"].split(os.pathsep):
            candidate = Path(folder) / f"python3.{minor}"
            if (
                candidate.exists()
                and subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0
            ):
                found.append(str(candidate))
                break
    assert found
    return found


@pytest.fixture(scope="session")
def tools() -> Iterator[Tools]:
    """The package managers, with hosts that this machine may not reach answered on the loopback interface."""
    with open_tools() as opened:
        yield opened


@pytest.fixture(scope="session")
def channels() -> Path:
    """The folder that stands for https://conda.anaconda.org."""
    try:
        return conda_channel()
    except FixedPythonError as error:
        pytest.skip(str(error))
