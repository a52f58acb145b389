"""The Slurm launcher of a generated repository, on a real Slurm of two nodes that is started here."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import slurm_cluster
from environments import PythonOf
from repositories import resolve, write

pytestmark = [
    pytest.mark.complete,
    pytest.mark.skipif(bool(slurm_cluster.why_not()), reason=slurm_cluster.why_not()),
]

ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"}
PATIENCE = 240  # seconds: a framework starts slowly on a machine with other work
SLOW = ("--save-every", "100000", "--eval-every", "100000", "--log-every", "10")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with slurm_cluster.cluster(tmp_path_factory.mktemp("slurm")) as configuration:
        yield configuration


class Repository:
    """A generated repository, and the variables that lead to a cluster."""

    def __init__(self, folder: Path, python: Path, variables: Mapping[str, str]) -> None:
        self.folder = folder
        self.python = python
        self.patience = PATIENCE
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "VIRTUAL_ENV"))}
        self.environment = {**kept, "PYTHONPATH": "src", "CUDA_VISIBLE_DEVICES": "", **variables}

    def run(self, *command: str | Path, code: int = 0) -> str:
        words = [str(word) for word in command]
        done = subprocess.run(words, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def launch(self, *words: str, code: int = 0) -> str:
        return self.run(self.python, "-m", "demo", "launch", *words, code=code)

    def submit(self, *words: str) -> str:
        """The number of the job of a launch on Slurm."""
        said = self.launch("--on", "slurm", *words)
        return said.partition(": job ")[2].partition(",")[0]

    def path(self, name: str, file: str) -> Path:
        return self.folder / "runs" / name / file

    def rows(self, name: str) -> list[dict[str, Any]]:
        path = self.path(name, "metrics.jsonl")
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def losses(self, name: str) -> list[dict[str, Any]]:
        """The metrics without the time and memory they took."""
        measured = ("seconds", "_second", "_gib")
        return [{key: value for key, value in row.items() if not key.endswith(measured)} for row in self.rows(name)]

    def starts(self, name: str) -> list[dict[str, Any]]:
        path = self.path(name, "code.json")
        found: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
        return found

    def log(self, name: str) -> str:
        return "\n".join(path.read_text() for path in sorted(self.path(name, "").glob("slurm-*.log")))

    def job(self, number: str) -> dict[str, str]:
        words = self.run("scontrol", "show", "job", "--oneliner", number).splitlines()[0].split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def wait(self, is_so: Callable[[], object], name: str) -> None:
        end = time.monotonic() + self.patience
        while not is_so():
            assert time.monotonic() < end, f"still waiting after {self.patience} s:\n{self.log(name)}"
            time.sleep(0.1)

    def wait_for_step(self, name: str, step: int, log: str = "") -> None:
        self.wait(lambda: any(row["step"] >= step for row in self.rows(name)), log or name)

    def end(self, number: str, name: str) -> str:
        """The state in which a job has ended, and how often it was started again."""
        self.wait(lambda: self.job(number)["JobState"] in ENDED, name)
        job = self.job(number)
        return f"{job['JobState']} after {job['Restarts']} restarts"

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.folder / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    @contextmanager
    def slow_start(self) -> Iterator[None]:
        """What is launched in this context takes its time until it is stopped: no machine is through before that."""
        loop = "    for step in range(start + 1, config.optim.steps + 1):\n"
        self.edit("src/demo/train.py", loop, f"{loop}        __import__('time').sleep(0 if start else 0.1)\n")
        try:
            yield
        finally:
            self.run("git", "checkout", "src")


def commit(repository: Repository) -> None:
    repository.run("git", "init", "--quiet", "--initial-branch=main")
    repository.run("git", "add", "--all")
    identity = ("-c", "user.name=someone", "-c", "user.email=someone@example.org")
    repository.run("git", *identity, "commit", "--quiet", "--message", "Begin")


@pytest.fixture(scope="module")
def make(slurm: str, python_of: PythonOf, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Repository]:
    def made(framework: str, **others: object) -> Repository:
        folder = tmp_path_factory.mktemp("repository") / "demo"
        write(resolve({"framework": framework, "launchers": ["slurm"], **others}), folder)
        repository = Repository(folder, python_of(framework, **others), {"SLURM_CONF": slurm})
        commit(repository)
        return repository

    return made


@pytest.fixture(scope="module")
def repository(make: Callable[..., Repository]) -> Repository:
    """For what does not depend on the framework."""
    return make("pytorch")


@pytest.mark.parametrize("framework", ["pytorch", "jax"])
def test_a_run_on_two_nodes_that_is_driven_out_ends_like_one_that_is_not(
    framework: str, make: Callable[..., Repository]
) -> None:
    repository = make(framework)
    asked = ("--nodes", "2", "--gpus", "2", "--", "debug", "--optim.steps", "200", *SLOW)
    straight = repository.submit(*asked, "--name", "straight")
    assert repository.end(straight, "straight") == "COMPLETED after 0 restarts", repository.log("straight")
    (start,) = repository.starts("straight")
    assert start["hardware"].startswith("4 x")

    with repository.slow_start():
        job = repository.submit(*asked, "--name", "driven-out")
    repository.wait_for_step("driven-out", 10)
    urgent = ("--partition=urgent", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=sleep 1")
    repository.run("sbatch", *urgent)
    assert repository.end(job, "driven-out") == "COMPLETED after 1 restarts", repository.log("driven-out")
    first, second = repository.starts("driven-out")
    assert 0 == first["after_step"] < second["after_step"] < 200
    assert repository.losses("driven-out") == repository.losses("straight")


def test_a_job_that_waits_runs_the_code_that_was_submitted(repository: Repository) -> None:
    job = repository.submit("--option", "begin=now+1hour", "--", "debug", "--name", "waits")
    repository.edit("src/demo/train.py", '"""', 'raise SystemExit("half-written")\n"""')
    try:
        repository.run("scontrol", "update", f"JobId={job}", "StartTime=now")
        assert repository.end(job, "waits") == "COMPLETED after 0 restarts", repository.log("waits")
    finally:
        repository.edit("src/demo/train.py", 'raise SystemExit("half-written")\n', "")
    assert repository.starts("waits")[0]["diff"] == ""


def test_of_a_sweep_only_what_was_stopped_is_queued_again_and_what_failed_is_retried(repository: Repository) -> None:
    sweep = ("--sweep", "optim.lr=1e-3,1e38,2e-3", "--processes", "1")
    with repository.slow_start():
        job = repository.submit(*sweep, "--", "debug", "--name", "points", "--optim.steps", "200", *SLOW)
    fine, failing, stopped = (f"points-optim.lr={value}" for value in ("1e-3", "1e38", "2e-3"))
    repository.wait_for_step(stopped, 10, log="points-sweep")
    # The last point has the number of the whole array: asked for by that, all would be queued again.
    repository.run("scancel", "--signal=USR1", f"{job}_2")
    repository.wait(
        lambda: all(repository.path(name, "result.json").exists() for name in (fine, stopped)), "points-sweep"
    )
    assert [len(repository.starts(name)) for name in (fine, failing, stopped)] == [1, 1, 2]
    assert "loss is" in repository.log("points-sweep")
    repository.wait(lambda: not repository.run("squeue", "--noheader"), "points-sweep")
    status = repository.launch("status", "points-sweep")
    assert [line.split("  ")[1].split(",")[0] for line in status.splitlines()] == [
        "finished",
        "ended early",
        "finished",
    ]

    again = repository.launch("retry", "points-sweep")
    assert f"again {failing}\n" in again
    repository.wait(lambda: not repository.run("squeue", "--noheader"), "points-sweep")
    assert [len(repository.starts(name)) for name in (fine, failing, stopped)] == [1, 2, 2]


def test_a_sweep_over_overrides_of_hydra_is_queued_again_by_its_points(make: Callable[..., Repository]) -> None:
    repository = make("pytorch", config="hydra")
    training = ("debug", "optim.steps=200", "log_every=10", "eval_every=100000", "save_every=100000")
    with repository.slow_start():
        job = repository.submit("--sweep", "seed=0,1", "--processes", "1", "--", *training)
    repository.wait_for_step("debug-seed=1", 10, log="debug-sweep")
    repository.run("scancel", "--signal=USR1", f"{job}_1")
    finished = [repository.path(f"debug-seed={seed}", "result.json") for seed in (0, 1)]
    repository.wait(lambda: all(path.exists() for path in finished), "debug-sweep")
    assert [len(repository.starts(f"debug-seed={seed}")) for seed in (0, 1)] == [1, 2]
    repository.run(repository.python, "-m", "demo", "train", *training, "seed=1", "name=straight")
    assert repository.losses("debug-seed=1") == repository.losses("straight")


def test_a_run_that_is_stopped_for_good_is_saved_and_withdrawn_and_can_be_taken_up_again(
    repository: Repository,
) -> None:
    asked = ("--sweep", "seed=1,2", "--parallel", "1", "--", "debug", "--name", "ended", "--optim.steps", "200")
    with repository.slow_start():
        repository.submit(*asked, *SLOW)
    repository.wait_for_step("ended-seed=1", 10, log="ended-sweep")
    assert "pending" in repository.launch("status", "ended-sweep")
    twice = repository.launch("--on", "slurm", *asked, *SLOW, code=1)
    assert "ended-sweep is launched already" in twice
    repository.launch("stop", "ended-sweep")
    repository.wait(lambda: not repository.run("squeue", "--noheader"), "ended-sweep")
    assert repository.launch("status", "ended-sweep").count("stopped for good") == 2
    assert "ends with 0" in repository.launch("logs", "ended-sweep")
    assert [len(repository.starts(f"ended-seed={seed}")) for seed in (1, 2)] == [1, 0]
    repository.launch("retry", "ended-sweep")
    finished = [repository.path(f"ended-seed={seed}", "result.json") for seed in (1, 2)]
    repository.wait(lambda: all(path.exists() for path in finished), "ended-sweep")
    assert repository.starts("ended-seed=1")[1]["after_step"] >= 10


def test_a_job_that_is_cancelled_is_saved_and_stays_cancelled(repository: Repository) -> None:
    job = repository.submit("--processes", "2", "--", "debug", "--name", "cancelled", "--optim.steps", "100000", *SLOW)
    repository.wait_for_step("cancelled", 10)
    repository.run("scancel", job)
    assert repository.end(job, "cancelled") == "CANCELLED after 0 restarts"
    assert list(repository.path("cancelled", "checkpoints").iterdir())


def test_a_job_is_saved_and_queued_again_before_its_time_is_up(repository: Repository) -> None:
    # Slurm looks at the limits only now and then: the signal comes some 10 to 40 s into this minute.
    limited = ("--time", "1", "--option", "signal=USR1@50")
    job = repository.submit(*limited, "--", "debug", "--name", "limited", "--optim.steps", "1000000", *SLOW)
    repository.wait(lambda: len(repository.starts("limited")) == 2, "limited")
    repository.launch("stop", "limited")
    assert repository.end(job, "limited") == "COMPLETED after 1 restarts", repository.log("limited")
    assert repository.starts("limited")[1]["after_step"] > 0


def test_a_crash_of_one_process_ends_the_job_and_is_not_queued_again(repository: Repository) -> None:
    crash = (
        "    if step == 3 and devices.rank == 1:\n            raise RunError('a crash')\n        stop = devices.any("
    )
    repository.edit("src/demo/train.py", "    stop = devices.any(", crash)
    repository.edit("src/demo/train.py", "import Run, due", "import Run, RunError, due")
    try:
        job = repository.submit("--processes", "2", "--", "debug", "--name", "crashed")
    finally:
        repository.run("git", "checkout", "src")
    assert repository.end(job, "crashed") == "FAILED after 0 restarts", repository.log("crashed")
    repository.launch("stop", "crashed")  # of which nothing runs any more
    assert "error: a crash" in repository.log("crashed")


@pytest.mark.parametrize(("method", "seconds_to_save"), [("fork", slurm_cluster.KILL_WAIT + 5), ("forkserver", 0)])
def test_processes_that_load_data_and_the_one_that_saves_live_until_a_slow_disk_has_the_state(
    method: str, seconds_to_save: int, repository: Repository
) -> None:
    loader = f"DataLoader(range(10**9), num_workers=2, multiprocessing_context={method!r})"
    loop = "    for step in range(start + 1"
    repository.edit("src/demo/train.py", loop, f"    loader = iter({loader})\n{loop}")
    repository.edit("src/demo/train.py", "        recent.append(", "        next(loader)\n        recent.append(")
    repository.edit(
        "src/demo/train.py",
        "from torch import Tensor",
        "from torch.utils.data import DataLoader\nfrom torch import Tensor",
    )
    # The other process does not wait but leaves at once, with 75: it must not take this one with it.
    repository.edit("src/demo/train.py", "    parallel.stop()\n", "")
    slow = f"    __import__('time').sleep({seconds_to_save})\n    with writing("
    repository.edit("src/demo/checkpoint.py", "    with writing(", slow)
    name = f"loads-{method}"
    try:
        job = repository.submit("--processes", "2", "--", "debug", "--name", name, "--optim.steps", "100000", *SLOW)
    finally:
        repository.run("git", "checkout", "src")
    repository.wait_for_step(name, 10)
    repository.run("scancel", "--signal=TERM", job)
    repository.wait(lambda: len(repository.starts(name)) == 2, name)
    repository.launch("stop", name)
    assert repository.end(job, name) == "COMPLETED after 1 restarts", repository.log(name)
    assert repository.starts(name)[1]["after_step"] >= 10
    assert "Traceback" not in repository.log(name)


def test_processes_agree_on_the_step_after_which_they_stop(repository: Repository) -> None:
    asked = ("--processes", "2", "--", "debug", "--name", "agree", "--optim.steps", "100000", *SLOW)
    job = repository.submit(*asked)
    repository.wait_for_step("agree", 10)
    repository.run("scancel", "--signal=USR1", job)
    repository.wait(lambda: len(repository.starts("agree")) == 2 or repository.job(job)["JobState"] in ENDED, "agree")
    assert len(repository.starts("agree")) == 2, repository.log("agree")
    repository.launch("stop", "agree")
    assert repository.end(job, "agree") == "COMPLETED after 1 restarts", repository.log("agree")


def test_what_the_cluster_refuses_is_said_in_a_sentence_and_leaves_nothing(repository: Repository) -> None:
    def found() -> tuple[list[Path], str]:
        files = [path for path in repository.folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]
        return sorted(files), repository.run("git", "for-each-ref")

    before = found()
    for option, complaint in (
        ("partition=nowhere", "invalid partition specified"),
        ("time=30-0", "Requested time limit is invalid"),
        ("nodes=5", "Node count specification invalid"),
    ):
        said = repository.launch("--on", "slurm", "--option", option, "--", "debug", "--name", "refused", code=1)
        assert said.startswith("error: sbatch refused: ")
        assert complaint in said
        assert len(said.splitlines()) == 1
    seeds = ",".join(map(str, range(102)))
    said = repository.launch("--on", "slurm", "--sweep", f"seed={seeds}", "--", "debug", "--name", "many", code=1)
    assert "the sweep has 102 points, and this cluster takes 101 at most in one array" in said
    assert found() == before


@dataclass(frozen=True)
class Mutant:
    """Something that published scripts get wrong."""

    file: str
    right: str
    wrong: str
    scenario: Callable[[Repository], None]
    says: str


SCRIPT = "launch/slurm/train.sbatch"
MUTANTS = {
    "is not queued again": Mutant(
        SCRIPT,
        'scontrol requeue "$job"',
        "true",
        test_of_a_sweep_only_what_was_stopped_is_queued_again_and_what_failed_is_retried,
        r"ends with 75\n",
    ),
    "queues the whole array again": Mutant(
        SCRIPT,
        "job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID",
        "job=$SLURM_ARRAY_JOB_ID",
        test_of_a_sweep_only_what_was_stopped_is_queued_again_and_what_failed_is_retried,
        r"== \[1, 1, 2\]|ends with 75\n",
    ),
    "kills those that still save": Mutant(
        SCRIPT,
        "srun --kill-on-bad-exit=0",
        "srun --kill-on-bad-exit=1",
        partial(
            test_processes_that_load_data_and_the_one_that_saves_live_until_a_slow_disk_has_the_state,
            "fork",
            slurm_cluster.KILL_WAIT + 5,
        ),
        r"ends with 137",
    ),
    "runs the working tree": Mutant(
        SCRIPT,
        "code=${CODE:-.}",
        "code=.",
        test_a_job_that_waits_runs_the_code_that_was_submitted,
        r"half-written",
    ),
    "stops one process alone": Mutant(
        "src/demo/train.py",
        "stop = devices.any(run.stop_requested)",
        "stop = devices.is_main and run.stop_requested",
        test_processes_agree_on_the_step_after_which_they_stop,
        # Messages of two kinds have met: one process fails, or no one ends, long after it was asked at step 10.
        r"ends with (?!75)|still waiting(?![\s\S]*ends with)[\s\S]*step 10 ",
    ),
}


@pytest.mark.parametrize("mutant", [pytest.param(mutant, id=name) for name, mutant in MUTANTS.items()])
def test_a_script_that_does_it_wrong_is_seen(mutant: Mutant, make: Callable[[str], Repository]) -> None:
    repository = make("pytorch")
    repository.edit(mutant.file, mutant.right, mutant.wrong)
    commit(repository)
    repository.patience = 60
    try:
        with pytest.raises(AssertionError, match=mutant.says):
            mutant.scenario(repository)
    finally:
        repository.run("scancel", "--me")
        repository.wait(lambda: not repository.run("squeue", "--noheader"), "")
