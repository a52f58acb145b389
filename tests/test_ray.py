"""The Ray launcher of a generated repository, on a Ray of one node that is started here."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from environments import PythonOf, newest
from hosts.tools import Tools
from repositories import resolve, write
from test_slurm import PATIENCE, SLOW, Repository, commit

pytestmark = pytest.mark.complete

RAY = "2.60.0"


@pytest.fixture(scope="module")
def ray(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of Ray's programs, in an environment of its own: a client needs none, and jobs bring theirs."""
    environment = tmp_path_factory.mktemp("ray") / "environment"
    tools.run(f"uv venv --quiet --python {newest('pytorch')} {environment}", environment.parent)
    tools.run(f"uv pip install --quiet --python {environment} 'ray[default]=={RAY}'", environment.parent)
    return environment / "bin"


@pytest.fixture(scope="module")
def cluster(ray: Path) -> Iterator[dict[str, str]]:
    """Variables that lead to a head with two CPUs and two GPUs, which it is told of and does not look for."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    variables = {
        "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{port}",
        "RAY_AUTH_MODE": "token",  # Ray listens on every interface
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # else a Ray that was started below `uv run` runs jobs in that project
        "PATH": f"{ray}:{os.environ['PATH']}",
    }
    folder = tempfile.mkdtemp(prefix="ray-")  # a short path: it holds sockets
    start = ["ray", "start", "--head", "--block", "--port=0", "--node-ip-address=127.0.0.1", f"--temp-dir={folder}"]
    start += [f"--dashboard-port={port}", "--num-cpus=2", "--num-gpus=2", "--object-store-memory=100000000"]
    log = Path(folder, "start.log")
    with log.open("wb") as out:
        process = subprocess.Popen(start, env={**os.environ, **variables}, stdout=out, stderr=out)
    try:
        end = time.monotonic() + PATIENCE
        while not (Path(folder, "session_latest", "logs", "dashboard.log").exists() and answers(port)):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.2)
        yield variables
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def repository(cluster: dict[str, str], python_of: PythonOf, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    folder = tmp_path_factory.mktemp("repository") / "demo"
    write(resolve({"launchers": ["ray"]}), folder)
    repository = Repository(folder, python_of("pytorch"), cluster)
    commit(repository)
    return repository


def states(repository: Repository, name: str) -> str:
    return repository.launch("status", name)


def test_a_run_on_ray_is_stopped_and_taken_up_again(repository: Repository) -> None:
    asked = ("--on", "ray", "--gpus", "2", "--", "debug", "--name", "run", "--optim.steps", "400", *SLOW)
    with repository.slow_start():
        repository.launch(*asked)
    repository.edit("src/demo/train.py", '"""', 'raise SystemExit("half-written")\n"""')  # the job has other code
    repository.wait_for_step("run", 10)
    assert "is running, step" in states(repository, "run")
    assert "is launched already" in repository.launch(*asked, code=1)
    repository.launch("stop", "run")
    repository.wait(lambda: "stopped for good" in states(repository, "run"), "run")
    assert "saved and stopped as asked" in repository.launch("logs", "run")

    repository.launch("retry", "run")
    repository.wait(lambda: len(repository.starts("run")) == 2, "run")
    assert repository.starts("run")[1]["after_step"] >= 10
    assert repository.starts("run")[1]["hardware"].startswith("2 x")
    repository.run("git", "checkout", "src")
    repository.wait(lambda: "finished" in states(repository, "run"), "run")


def test_what_a_dry_run_prints_does_the_same_by_hand(repository: Repository) -> None:
    repository.launch("--on", "ray", "--", "debug", "--name", "first")
    repository.wait(lambda: "finished" in states(repository, "first"), "first")
    command = repository.launch("--on", "ray", "--dry-run", "--", "debug", "--name", "by-hand").splitlines()[-1]
    repository.run("bash", "-c", command)
    repository.wait(lambda: repository.path("by-hand", "result.json").exists(), "by-hand")
    assert repository.losses("by-hand") == repository.losses("first")


def test_a_job_that_ray_stops_has_saved(repository: Repository) -> None:
    repository.launch("--on", "ray", "--", "debug", "--name", "ended", "--optim.steps", "100000", *SLOW)
    repository.wait_for_step("ended", 10)
    job = repository.launch("status", "ended").split("job ")[1].split()[0]
    repository.run("ray", "job", "stop", job)
    repository.wait(lambda: "ended early" in states(repository, "ended"), "ended")
    assert list(repository.path("ended", "checkpoints").glob("*.pt"))
