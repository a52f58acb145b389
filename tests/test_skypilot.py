"""The SkyPilot launcher of a generated repository: what SkyPilot would run on two machines, run here.

There is no cloud. The script `run` of the task runs twice on this machine, with the variables that SkyPilot sets; a
stand-in for its command takes the job. That SkyPilot accepts the task is seen by its own program, in test_tools.py.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from environments import PythonOf
from hosts.tools import Tools
from repositories import resolve, write
from stand_ins import stand_in
from test_slurm import SLOW, Repository, commit
from tools import uvx

pytestmark = pytest.mark.complete

ADDRESSES = "127.0.0.1\n127.0.0.2"


def made(framework: str, python_of: PythonOf, folder: Path) -> Repository:
    """A repository, and a stand-in for sky that writes down, word by word, what it is asked."""
    write(resolve({"framework": framework, "launchers": ["skypilot"]}), folder / "demo")
    tools = stand_in(folder / "tools", "sky", f'printf "%s\\n" "$@" > {folder}/asked').parent
    repository = Repository(folder / "demo", python_of(framework), {"PATH": f"{tools}:{os.environ['PATH']}"})
    commit(repository)
    return repository


class Machines:
    """Two machines with the frozen code, which share a bucket."""

    def __init__(self, repository: Repository, asked: Sequence[str], folder: Path) -> None:
        options = dict(word.removeprefix("--").split("=", 1) for word in asked if "=" in word and "env=" not in word)
        self.envs = dict(word.removeprefix("--env=").split("=", 1) for word in asked if word.startswith("--env="))
        task = yaml.safe_load((repository.folder / asked[-1]).read_text(encoding="utf-8"))
        self.run = task["run"]
        self.bucket = folder / "runs"
        self.bucket.mkdir()
        assert list(task["file_mounts"]) == ["~/runs"]
        assert options["num-nodes"] == "2"
        self.folders = [folder / f"machine-{number}" for number in range(2)]
        for machine in self.folders:
            shutil.copytree(repository.folder / options["workdir"], machine)
            (machine / ".venv/bin").mkdir(parents=True)
            stand_in(machine / ".venv/bin", "python", f'exec {repository.python} "$@"')

    def start(self, port: int) -> list[subprocess.Popen[str]]:
        started = []
        for rank, machine in enumerate(self.folders):
            given = {
                "PATH": os.environ["PATH"],
                "HOME": str(self.bucket.parent),
                "SKYPILOT_NODE_IPS": ADDRESSES,
                "SKYPILOT_NODE_RANK": str(rank),
                "SKYPILOT_NUM_NODES": "2",
                "SKYPILOT_NUM_GPUS_PER_NODE": "0",
                "MASTER_PORT": str(port),
            }
            words = ["bash", "-c", self.run]
            env = given | self.envs
            started.append(subprocess.Popen(words, cwd=machine, env=env, text=True, start_new_session=True))
        return started


@pytest.mark.parametrize("framework", ["pytorch", "jax"])
def test_a_run_on_two_machines_that_is_stopped_ends_like_one_by_hand(
    framework: str, python_of: PythonOf, tmp_path: Path
) -> None:
    repository = made(framework, python_of, tmp_path)
    training = ("debug", "--optim.steps", "200", *SLOW)
    by_hand = (repository.python, "-m", "demo", "spawn", "2", "train", *training, "--name", "by hand")
    repository.run(*by_hand)
    with repository.slow_start():
        repository.launch("--on", "skypilot", "--nodes", "2", "--", *training, "--name", "with space")
    machines = Machines(repository, (tmp_path / "asked").read_text().splitlines(), tmp_path)
    (repository.folder / "runs" / "with space").rename(tmp_path / "record")
    (repository.folder / "runs" / "with space").symlink_to(machines.bucket / "with space")

    first, second = machines.start(29511)
    repository.wait_for_step("with space", 10)
    children = [Path(f"/proc/{machine.pid}/task/{machine.pid}/children") for machine in (first, second)]
    for spawn in [int(path.read_text()) for path in children]:
        with suppress(ProcessLookupError):  # one signal is enough for both, which then may have left
            os.kill(spawn, signal.SIGTERM)
    assert first.wait(timeout=240) == 75
    begin = time.monotonic()
    while time.monotonic() < begin + 3:
        assert second.poll() is None, "it has left before the first machine could save"
        time.sleep(0.1)
    os.killpg(second.pid, signal.SIGKILL)  # as SkyPilot does
    second.wait()

    assert [machine.wait(timeout=240) for machine in machines.start(29512)] == [0, 0]
    starts = repository.starts("with space")
    assert 0 == starts[0]["after_step"] < starts[1]["after_step"] < 200
    assert repository.losses("with space") == repository.losses("by hand")


def test_every_file_of_the_frozen_code_is_copied_to_the_machines(
    python_of: PythonOf, tools: Tools, tmp_path: Path
) -> None:
    """Without .skyignore SkyPilot would ask git, which ignores the folder in which the code lies."""
    repository = made("pytorch", python_of, tmp_path)
    repository.launch("--on", "skypilot", "--", "debug")
    (code,) = (repository.folder / "runs" / ".code").iterdir()
    program = (
        "import sys; from sky.data.storage_utils import get_excluded_files as excluded; "
        "print('left out:', excluded(sys.argv[1]))"
    )
    home = {**tools.environment, "HOME": str(tmp_path)}
    asked = shlex.join([*uvx("skypilot", "python", "-c", program), str(code)])
    assert "left out: []" in tools.run(asked, tmp_path, home).splitlines()
