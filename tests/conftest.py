"""Fixtures that several test files share."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
from environments import environment_of, python_of, run_case  # noqa: F401 - fixtures
from hosts.conda_channel import FixedPythonError, conda_channel
from hosts.tools import Tools
from hosts.tools import tools as open_tools
from jinja2.sandbox import ImmutableSandboxedEnvironment
from proof import Proof
from proof_report import (  # noqa: F401 - fixture, hooks
    RUNS,
    Report,
    proof_report,
    pytest_configure,
    pytest_deselected,
    pytest_sessionfinish,
    pytest_terminal_summary,
    pytest_testnodedown,
)
from repositories import ROOT, TEMPLATE

from labrig.render import Template

# A shell starts what runs in its background with Ctrl-C ignored, and every process of a test would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

COSTLY = {"channels", "proof", "reference", "releases", "tools"}
"""Fixtures that take long to make; so do many tests that use one."""


MEMORY = Path("/dev/shm")  # noqa: S108 - where Linux has files that never reach a disk
ROOM = 8 * 2**30


@pytest.hookimpl(specname="pytest_configure", tryfirst=True)
def pytest_write_to_memory(config: pytest.Config) -> None:
    """Keep the small files of the tests from the disk, where there is room: some take a millisecond to make a file.

    What is left to CI makes environments of gigabytes.
    """
    usual = RUNS.get(config.option.markexpr) == "uv run pytest"
    if usual and "TMPDIR" not in os.environ and MEMORY.is_dir():
        programs_run = not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC
        if programs_run and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM:
            os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)  # the workers inherit it


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what takes longest first: one worker makes what it shares, and the other takes tests from its end.

    Those of the proof come before all: to render everything takes longest, and no other worker has to do it, too.
    """

    def place(item: pytest.Item) -> tuple[bool, bool]:
        fixtures = getattr(item, "fixturenames", ())
        return "proof" not in fixtures, COSTLY.isdisjoint(fixtures)

    items.sort(key=place)


@pytest.fixture(scope="session", autouse=True)
def compiled_once() -> Iterator[None]:
    """Let Jinja compile a text once in a process: that takes most of a command, and most commands read the same texts.

    Copier's environment, with which labrig's is compared, is another one.
    """
    compile_text = ImmutableSandboxedEnvironment.compile
    known: dict[tuple[object, ...], CodeType] = {}

    def compile_once(
        self: ImmutableSandboxedEnvironment, source: Any, name: str | None = None, filename: str | None = None
    ) -> CodeType:
        if not isinstance(source, str):
            return compile_text(self, source, name, filename)
        # Jinja keeps one lexer for all environments with the same settings.
        key = self.lexer, self.autoescape, *self.filters, *self.tests, *self.extensions, name, source
        if key not in known:
            known[key] = compile_text(self, source, name, filename)
        return moved(known[key], filename or "<template>")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ImmutableSandboxedEnvironment, "compile", compile_once)
        yield


def moved(code: CodeType, filename: str) -> CodeType:
    """The code as it would be if its text had come from another file."""
    constants = (moved(each, filename) if isinstance(each, CodeType) else each for each in code.co_consts)
    return code.replace(co_filename=filename, co_consts=tuple(constants))


@pytest.fixture(scope="session")
def template() -> Template:
    """The template of this checkout."""
    return TEMPLATE


@pytest.fixture(scope="session")
def proof(proof_report: Report) -> Proof:  # noqa: F811 - the fixture
    """The template of this checkout with everything that it can generate, rendered once."""
    with proof_report.seconds("seconds of processor time: every combination rendered"):
        proof = Proof(Template(ROOT))
        assert proof.factors.problems() == []
        contents = proof.contents
    parts = [part for file in proof.factors.files for part in file.parts]
    proof_report.figures |= {
        "questions": len(proof.space.names),
        "combinations of answers, a text counted once": proof.space.total,
        "files of the template": len(proof.factors.files),
        "files shown in all their combinations": sum(proof.is_listed(file) for file in proof.factors.files),
        "parts of files": len(parts),
        "texts of parts": sum(len(part.variants) for part in parts),
        "distinct contents to be checked": len(contents),
    }
    return proof


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
