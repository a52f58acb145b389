"""Measures the launchers of a generated repository: what `launch` adds, how fast a run stops, and what Slurm adds.

    uv run python benchmarks/launch.py --python .venv-with-torch/bin/python [--framework pytorch] [--rounds 5]

The Python is that of an environment with the framework and tyro. Commands that are compared take turns, so that a busy
moment of the machine meets them all. Without Slurm's packages its figures are left out, and that is said.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT / "tests"))

import slurm_cluster  # noqa: E402 - in tests/
from repositories import resolve, write  # noqa: E402

POINTS = 50
LONG = ("--optim.steps", "100000", "--save-every", "100000", "--eval-every", "100000", "--log-every", "1")


class Repository:
    """A generated repository with a commit."""

    def __init__(self, folder: Path, framework: str, python: Path) -> None:
        self.folder = folder
        self.command = [str(python), "-m", "demo"]
        self.environment = {**os.environ, "PYTHONPATH": "src", "CUDA_VISIBLE_DEVICES": ""}
        write(resolve({"framework": framework, "launchers": ["slurm"]}), folder)
        identity = ["-c", "user.name=someone", "-c", "user.email=someone@example.org"]
        for words in (["init", "--quiet"], ["add", "--all"], [*identity, "commit", "--quiet", "--message", "Begin"]):
            subprocess.run(["git", *words], cwd=folder, check=True)

    def start(self, *words: str, variables: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*self.command, *words],
            cwd=self.folder,
            env={**self.environment, **(variables or {})},
            stdout=subprocess.DEVNULL,
        )

    def run(self, *words: str, variables: Mapping[str, str] | None = None, code: int = 0) -> float:
        """The seconds that a command takes."""
        begin = time.perf_counter()
        assert self.start(*words, variables=variables).wait() == code, words
        return time.perf_counter() - begin

    def wait_for_rows(self, name: str, count: int) -> None:
        path = self.folder / "runs" / name / "metrics.jsonl"
        while not path.exists() or path.read_text().count("\n") < count:
            time.sleep(0.005)

    def forget(self) -> None:
        shutil.rmtree(self.folder / "runs", ignore_errors=True)


def launching(repository: Repository) -> dict[str, float]:
    """The debug run by hand, and launched on this machine; the code is frozen anew each time."""
    repository.forget()
    by_hand = repository.run("train", "debug")
    repository.forget()
    return {"train debug": by_hand, "launch -- debug": repository.run("launch", "--", "debug")}


def stopping(repository: Repository) -> dict[str, float]:
    """From SIGTERM in the middle of training to exit code 75."""
    repository.forget()
    process = repository.start("train", "debug", *LONG)
    repository.wait_for_rows("debug", 20)
    begin = time.perf_counter()
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 75
    return {"from SIGTERM to exit code 75": time.perf_counter() - begin}


def submitting(repository: Repository, variables: Mapping[str, str]) -> dict[str, float]:
    """To the first step by hand and on Slurm, and the submission of a sweep."""
    seconds = {}
    repository.forget()
    begin = time.perf_counter()
    process = repository.start("train", "debug")
    repository.wait_for_rows("debug", 2)  # the first is that before all steps
    seconds["to the first step, train debug"] = time.perf_counter() - begin
    process.wait()
    repository.forget()
    begin = time.perf_counter()
    repository.run("launch", "--on", "slurm", "--", "debug", variables=variables)
    submitted = time.perf_counter()
    repository.wait_for_rows("debug", 2)
    seconds["to the first step, from the job on"] = time.perf_counter() - submitted
    seconds["to the first step, launch --on slurm"] = time.perf_counter() - begin
    seconds["to the start of an empty job"] = empty_job(repository.folder / "runs" / "empty", variables)
    seeds = ",".join(map(str, range(POINTS)))
    later = ("--option", "begin=now+1hour")
    sweep = ("launch", "--on", "slurm", "--sweep", f"seed={seeds}", *later, "--", "debug")
    seconds[f"submit a sweep of {POINTS} points"] = repository.run(*sweep, variables=variables)
    subprocess.run(["scancel", "--name=debug-sweep"], env={**os.environ, **variables}, check=True)
    return seconds


def empty_job(file: Path, variables: Mapping[str, str]) -> float:
    """From sbatch to the first line of a script: what Slurm itself takes."""
    begin = time.perf_counter()
    command = ["sbatch", f"--wrap=touch '{file}'", "--output=/dev/null"]
    subprocess.run(command, env={**os.environ, **variables}, check=True, stdout=subprocess.DEVNULL)
    while not file.exists():
        time.sleep(0.005)
    return time.perf_counter() - begin


def measure(rounds: int, once: Callable[[], dict[str, float]], figures: dict[str, list[float]]) -> None:
    for _ in range(rounds):
        for name, seconds in once().items():
            figures.setdefault(name, []).append(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, required=True, help="with the framework and tyro")
    parser.add_argument("--framework", default="pytorch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="store the figures there, too")
    arguments = parser.parse_args()
    figures: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        repository = Repository(Path(scratch) / "demo", arguments.framework, arguments.python.absolute())
        repository.run("train", "debug")  # compiles the modules
        measure(arguments.rounds, lambda: launching(repository), figures)
        measure(arguments.rounds, lambda: stopping(repository), figures)
        if reason := slurm_cluster.why_not():
            print(f"without Slurm: {reason}")
        else:
            with slurm_cluster.cluster(Path(scratch) / "slurm") as configuration:
                variables = {"SLURM_CONF": configuration}
                measure(arguments.rounds, lambda: submitting(repository, variables), figures)
    print(f"{arguments.framework}, seconds: least, median and most of {arguments.rounds} rounds")
    for name, seconds in figures.items():
        print(f"  {min(seconds):6.2f} {statistics.median(seconds):6.2f} {max(seconds):6.2f}  {name}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
