"""Whatever stops `labrig new`, there is the old state or the new one, and the next run cleans up."""

from __future__ import annotations

import fcntl
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from repositories import ROOT

from labrig.render import Template

LABRIG = [sys.executable, "-m", "labrig"]
SAMPLES = pytest.mark.parametrize("times", [9, pytest.param(30, marks=pytest.mark.release)])


@pytest.fixture(scope="module")
def expected() -> dict[str, bytes]:
    template = Template(ROOT)
    files = template.render(template.resolve({}, folder_name="demo"))
    return {path: file.content for path, file in files.items() if path != ".copier-answers.yml"}


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, of a user without a name."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def start(work: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*LABRIG, "new", "demo", "--yes", "--python", "3.12", "--accelerator", "cpu", "--ci", "github", *words],
        cwd=work,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def is_complete(work: Path, expected: dict[str, bytes]) -> bool:
    """Whether the repository is there; half a repository fails the test."""
    visible = [name for name in entries(work) if not name.startswith(".labrig-")]
    if not visible:
        return False
    assert visible == ["demo"]
    found = {
        path.relative_to(work / "demo").as_posix(): path.read_bytes()
        for path in (work / "demo").rglob("*")
        if path.is_file() and ".git" not in path.relative_to(work / "demo").parts
    }
    assert found.pop(".copier-answers.yml")
    assert found == expected
    return True


def wait_for_writing(work: Path, process: subprocess.Popen[str]) -> None:
    """Until the first thing appears on the disk."""
    while process.poll() is None and not entries(work):
        time.sleep(0.0002)


@SAMPLES
def test_a_kill_at_any_moment_leaves_all_or_nothing(times: int, work: Path, expected: dict[str, bytes]) -> None:
    generator = random.Random(1)
    states = {"nothing": 0, "leftover": 0, "complete": 0}
    for number in range(times):
        process = start(work)
        if number % 3 == 0:
            time.sleep(generator.uniform(0, 0.8))
        else:
            wait_for_writing(work, process)
            time.sleep(generator.uniform(0, 0.02))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        complete = is_complete(work, expected)
        leftovers = [name for name in entries(work) if name.startswith(".labrig-")]
        states["complete" if complete else "leftover" if leftovers else "nothing"] += 1
        if complete:
            subprocess.run(["rm", "-r", str(work / "demo")], check=True)
    assert states["leftover"] >= times // 9, f"the kills must hit the writing: {states}"
    process = start(work)
    process.communicate()
    assert process.returncode == 0
    assert is_complete(work, expected)
    assert entries(work) == ["demo"], "the next run removes what the killed ones left"


@SAMPLES
def test_ctrl_c_at_any_moment_leaves_all_or_nothing_and_says_which(
    times: int, work: Path, expected: dict[str, bytes]
) -> None:
    generator = random.Random(2)
    codes = set()
    for number in range(times):
        process = start(work)
        if number % 3 == 0:
            time.sleep(generator.uniform(0.15, 0.8))
        else:
            wait_for_writing(work, process)
            time.sleep(generator.uniform(0, 0.02))
        os.killpg(process.pid, signal.SIGINT)
        _, spoken = process.communicate()
        # Python also dies of SIGINT when it came while a dataclass was made; a shell shows both as 130.
        code = 130 if process.returncode == -signal.SIGINT else process.returncode
        codes.add(code)
        complete = is_complete(work, expected)
        assert entries(work) == (["demo"] if complete else []), spoken
        assert "Traceback" not in spoken
        if code == 130:
            assert ("are complete" if complete else "Stopped. Nothing was written.") in spoken
        else:
            assert (code, complete) == (0, True), spoken
        if complete:
            subprocess.run(["rm", "-r", str(work / "demo")], check=True)
    assert 130 in codes


def test_two_runs_at_once_give_one_repository_and_one_refusal(work: Path, expected: dict[str, bytes]) -> None:
    processes = [start(work) for _ in range(2)]
    spoken = [process.communicate()[1] for process in processes]
    assert sorted(process.returncode != 0 for process in processes) == [False, True], spoken
    assert is_complete(work, expected)
    assert entries(work) == ["demo"]


def test_the_folder_of_a_run_that_goes_on_is_named_and_kept(work: Path, expected: dict[str, bytes]) -> None:
    other = work / ".labrig-other"
    other.mkdir()
    handle = os.open(other, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        process = start(work)
        assert ".labrig-other" in process.communicate()[1]
        assert other.is_dir()
    finally:
        os.close(handle)
    assert is_complete(work, expected)


@pytest.fixture
def small_disk(work: Path) -> Iterator[bool]:
    """A disk of 32 KiB under `work`; False where it cannot be mounted."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(work)], capture_output=True, check=False
    )
    yield mounted.returncode == 0
    if mounted.returncode == 0:
        subprocess.run(["umount", "--lazy", str(work)], check=True)


def test_a_full_disk_leaves_nothing(work: Path, small_disk: bool) -> None:
    """On a small disk where one can be mounted; elsewhere with a limit on the size of files."""

    def limit() -> None:
        if not small_disk:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))

    result = subprocess.run(
        [*LABRIG, "new", "demo", "--yes"], cwd=work, capture_output=True, text=True, preexec_fn=limit, check=False
    )
    assert result.returncode == 1
    assert ("No space left on device" if small_disk else "File too large") in result.stderr
    assert "make room" in result.stderr
    assert "Traceback" not in result.stderr
    assert entries(work) == []


def test_a_folder_that_cannot_be_written_to_is_refused(work: Path) -> None:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(work)], capture_output=True, check=False)
    if mounted.returncode:
        if os.geteuid() == 0:
            pytest.skip("root may write everywhere, and nothing can be mounted here")
        work.chmod(0o555)
    try:
        process = start(work)
        _, spoken = process.communicate()
        assert process.returncode == 2
        assert "cannot be written to" in spoken
        assert entries(work) == []
    finally:
        if mounted.returncode:
            work.chmod(0o755)
        else:
            subprocess.run(["umount", "--lazy", str(work)], check=True)
