"""Mirrors of runs. A tracker adds files, changes nothing of what is there for another one, and cannot harm a run."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from cases import Case
from environments import newest, why_not_run
from hosts.tools import Tools
from repositories import STACK, TEMPLATE, choices, resolve, write

TRACKERS = [name for name, *others in choices("trackers")[1:] if not others]
MEASURED = {"seconds", "steps_per_second", "tokens_per_second", "memory_peak_gib"}
SECRET = "a" * 40  # as long as a key of W&B


def test_trackers_add_files_and_change_no_code_of_each_other() -> None:
    def code(trackers: list[str]) -> dict[str, bytes]:
        files = TEMPLATE.render(resolve({"trackers": trackers}))
        return {path: file.content for path, file in files.items() if path.startswith(("src/", "tests/"))}

    alone = {tracker: code([tracker]) for tracker in TRACKERS}
    for trackers in choices("trackers")[1:]:
        together: dict[str, bytes] = {}
        for tracker in trackers:
            together |= alone[tracker]
        assert code(trackers) == together
    launchers = {"launchers": choices("launchers")[-1]}
    for trackers in ([], TRACKERS):
        without = TEMPLATE.render(resolve({"trackers": trackers}))
        files = TEMPLATE.render(resolve({"trackers": trackers, **launchers}))
        assert all(files[path] == file for path, file in without.items() if path.startswith(("src/", "tests/")))


@pytest.mark.parametrize("framework", choices("framework"))
def test_a_tracker_that_was_not_chosen_is_not_spoken_of(framework: str) -> None:
    for trackers in choices("trackers"):
        files = TEMPLATE.render(resolve({"trackers": trackers, "framework": framework}))
        absent = [*(set(TRACKERS) - set(trackers)), *([] if trackers else ["track", "trackers", "tracking"])]
        for name in absent:
            word = re.compile(rf"\b{name}\b", re.IGNORECASE)
            spoken_of = [path for path, file in files.items() if word.search(f"{path} {file.content.decode()}")]
            assert set(spoken_of) <= (set() if name in TRACKERS else {".copier-answers.yml"}), name


@pytest.mark.parametrize("framework", choices("framework"))
def test_the_tests_of_a_repository_tell_no_tracker_of_their_runs(framework: str) -> None:
    conftest = TEMPLATE.render(resolve({"framework": framework, "trackers": TRACKERS}))["tests/conftest.py"]
    assert 'os.environ["TRACKERS"] = ""' in conftest.content.decode()


@pytest.mark.complete
@pytest.mark.parametrize(
    ("framework", "python"),
    [(name, python) for name in choices("framework") for python in STACK["builds"][name]["pypi"]["python"]],
)
def test_all_trackers_together_go_with_a_framework(framework: str, python: str, tools: Tools, tmp_path: Path) -> None:
    """What is required of all can be met, so what is required of some can, too. Only wheels count."""
    answers = resolve({"framework": framework, "python": python, "trackers": TRACKERS})
    write(answers, tmp_path)
    requires = answers["requires_on_cpu"]
    assert isinstance(requires, list)
    (tmp_path / "more.txt").write_text("\n".join(requires), encoding="utf-8")
    tools.run(
        f"uv pip compile --quiet --python-version {python} --only-binary :all: --output-file lock.txt "
        "--python-platform x86_64-manylinux_2_28 pyproject.toml more.txt",
        tmp_path,
    )
    lock = (tmp_path / "lock.txt").read_text(encoding="utf-8")
    assert {line.partition("==")[0] for line in lock.splitlines()} >= {*TRACKERS, "numpy"}


class Runs:
    """A repository with every tracker, where runs are trained."""

    def __init__(self, folder: Path, python: Path, package: str) -> None:
        self.folder = folder
        self.python = python
        self.environment = {
            **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            "PYTHONPATH": str(folder / "src"),
            "HOME": str(folder / "home"),
            "OMP_NUM_THREADS": "1",
            "JAX_PLATFORMS": "cpu",
            "WANDB_MODE": "offline",
            "WANDB_API_KEY": SECRET,
        }
        self.command = [str(python), "-m", package]
        self.training = ["train", "debug", "--optim.steps", "60", "--save-every", "10"]

    def start(self, place: str, *words: str, **variables: str) -> subprocess.Popen[str]:
        """Start a command in a folder of its own."""
        (self.folder / place).mkdir(exist_ok=True)
        return subprocess.Popen(
            [*self.command, *words],
            cwd=self.folder / place,
            env={**self.environment, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, place: str, *words: str, **variables: str) -> str:
        process = self.start(place, *words, **variables)
        said, _ = process.communicate()
        assert process.returncode == 0, said
        return said

    def rows(self, place: str) -> list[dict[str, Any]]:
        path = self.folder / place / "runs/debug/metrics.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def results(self, place: str) -> tuple[list[dict[str, Any]], str]:
        """What a run has computed: its rows, and every number of its checkpoints."""
        rows = [{name: row[name] for name in row.keys() - MEASURED} for row in self.rows(place)]
        command = [str(self.python), "-c", NUMBERS, str(self.folder / place / "runs/debug/checkpoints")]
        return rows, subprocess.run(command, capture_output=True, text=True, check=True).stdout


NUMBERS = """
import sys
from pathlib import Path

import torch

def say(name, value):
    if isinstance(value, (dict, list, tuple)):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            say(f"{name} {key}", one)
    else:
        print(name, value.numpy().tobytes().hex() if isinstance(value, torch.Tensor) else value)

for path in sorted(Path(sys.argv[1]).iterdir()):
    say(path.name, torch.load(path, weights_only=True))
"""


@pytest.fixture
def runs(environment_of: Callable[[Case, str], Path], tmp_path: Path) -> Runs:
    """Runs of PyTorch: a tracker sees no framework."""
    python = newest("pytorch")
    if python is None:
        pytest.skip(str(why_not_run("pytorch", choices("python")[0])))
    answers = resolve({"framework": "pytorch", "trackers": TRACKERS, "python": python})
    write(answers, tmp_path / "demo")
    case = Case("test", {name: answers[name] for name in TEMPLATE.questions}, {}, 0)
    return Runs(tmp_path / "demo", environment_of(case, python) / "bin" / "python", str(answers["package"]))


@pytest.fixture
def mlflow_server(runs: Runs) -> Iterator[str]:
    """The address of a real MLflow with a database of its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [str(runs.python), "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{runs.folder}/server.db"]
    command += ["--artifacts-destination", f"{runs.folder}/server"]
    variables = {**runs.environment, "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (runs.folder / "server.log").open("w", encoding="utf-8") as log:
        server = subprocess.Popen(
            command, env=variables, cwd=runs.folder, stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_for(lambda: answers_at(port), server)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def answers_at(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def wait_for(is_so: Callable[[], bool], process: subprocess.Popen[Any], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)


READ = """
import json, sys
from pathlib import Path
from mlflow import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
client = MlflowClient(tracking_uri=sys.argv[1])
experiments = [experiment.experiment_id for experiment in client.search_experiments()]
found = {}
for run in client.search_runs(experiments):
    history = {name: client.get_metric_history(run.info.run_id, name) for name in ("loss", "test_loss")}
    found[run.info.run_id] = {
        "metrics": {name: [(metric.step, metric.value) for metric in some] for name, some in history.items()},
        "status": run.info.status,
        "parameters": run.data.params,
        "weights": len(Path(client.download_artifacts(run.info.run_id, "checkpoints/best.pt")).read_bytes()),
    }
events = EventAccumulator("runs/debug", size_guidance={"scalars": 0}).Reload()
scalars = {name: [(event.step, event.value) for event in events.Scalars(name)] for name in ("loss", "test_loss")}
from trackio.sqlite_storage import SQLiteStorage
known = SQLiteStorage.get_run_records("demo")
rows = [row for run in known for row in SQLiteStorage.get_logs("demo", run_id=run["id"])]
print(json.dumps({"mlflow": found, "tensorboard": scalars, "trackio": rows}))
"""


@pytest.mark.complete
def test_a_run_with_every_tracker_that_is_killed_and_goes_on_ends_like_one_without_and_is_mirrored_whole(
    runs: Runs, mlflow_server: str
) -> None:
    tracked: Mapping[str, str] = {"MLFLOW_TRACKING_URI": mlflow_server}
    runs.run("plain", *runs.training, TRACKERS="")
    assert not (runs.folder / "plain/runs/debug/trackers").exists()
    killed = runs.start("tracked", *runs.training, **tracked)
    wait_for(lambda: any(row["step"] >= 25 for row in runs.rows("tracked")), killed)
    killed.kill()
    killed.communicate()
    runs.run("tracked", *runs.training, **tracked)
    assert runs.results("tracked") == runs.results("plain")
    said = runs.run("tracked", "track", "runs/debug", **tracked)
    assert said.count(f"has all {len(runs.rows('tracked'))} rows") == len(TRACKERS), said

    rows = runs.rows("tracked")
    wanted = {name: [[row["step"], row[name]] for row in rows if name in row] for name in ("loss", "test_loss")}
    read = subprocess.run(
        [str(runs.python), "-c", READ, mlflow_server],
        cwd=runs.folder / "tracked",
        env={**runs.environment, "TRACKIO_DIR": "runs/.trackio"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = json.loads(read.stdout.splitlines()[-1])
    (run,) = found["mlflow"].values()
    assert run["metrics"] == wanted
    assert (run["status"], run["parameters"]["optim.steps"]) == ("FINISHED", "60")
    assert run["weights"] == (runs.folder / "tracked/runs/debug/checkpoints/best.pt").stat().st_size
    steps = {name: [step for step, _ in values] for name, values in wanted.items()}
    assert {name: [step for step, _ in values] for name, values in found["tensorboard"].items()} == steps
    assert {name: [row["step"] for row in found["trackio"] if name in row] for name in steps} == steps
    for path in (runs.folder / "tracked").rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


@pytest.mark.complete
def test_services_that_are_down_cost_a_run_nothing(runs: Runs) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:  # somebody is there, and says nothing
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        variables = {"WANDB_MODE": "online", "WANDB_BASE_URL": address, "MLFLOW_TRACKING_URI": address}
        said = runs.run("down", *runs.training, **variables)
    runs.run("plain", *runs.training, TRACKERS="")
    assert runs.results("down") == runs.results("plain")
    assert "error" not in said
    assert "Traceback" not in said
