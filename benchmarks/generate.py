"""Measures, in one run: labrig against Copier, the start-up, and the time from `labrig new` to the first green test.

    uv run python benchmarks/generate.py [--rounds 7] [--installations 3] [--json benchmarks/generate.json]

Commands of one table take turns, so that a busy moment of the machine meets them all; compare within a table, not
between runs. Every command runs once before it is measured: files and packages are in their caches.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import yaml
from uv import find_uv_bin

CHECKOUT = Path(__file__).resolve().parent.parent
PYTORCH_INDEX = "https://download.pytorch.org/whl/cpu/torch/"
FRAMEWORKS = ("pytorch", "jax")
PYTHON_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


@dataclass
class Timings:
    """The wall times in seconds of one command, by round."""

    name: str
    seconds: list[float] = field(default_factory=list)

    def summary(self, first: Timings) -> dict[str, float]:
        """In milliseconds; the ratio is that of the medians to the first command of the table."""
        median = statistics.median(self.seconds)
        return {
            "min_ms": round(1000 * min(self.seconds), 1),
            "median_ms": round(1000 * median, 1),
            "max_ms": round(1000 * max(self.seconds), 1),
            "ratio": round(median / statistics.median(first.seconds), 2),
        }


def main() -> None:
    """Run all measurements, print them as tables and store them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="of the short commands")
    parser.add_argument("--installations", type=int, default=3, help="rounds of what takes seconds to minutes")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/generate.json"))
    options = parser.parse_args()
    if options.rounds < 1 or options.installations < 1:
        parser.error("at least one round is needed")

    environment = dict(os.environ)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment.pop("VIRTUAL_ENV", None)
    note = prepare_pytorch(environment)
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    results: dict[str, object] = {"machine": machine, "note": note, "load": round(os.getloadavg()[0], 2)}
    print(f"{machine}; load {results['load']}. {note}")

    with tempfile.TemporaryDirectory(prefix="labrig-benchmark-") as name:
        bench = Bench(Path(name), environment)

        def record(title: str, timings: list[Timings]) -> None:
            results[title] = {timing.name: timing.summary(timings[0]) for timing in timings}
            show(title, timings)

        record("Create a repository", bench.create(options.rounds))
        record("Start", bench.start(options.rounds))
        for framework, timings in bench.first_green_test(options.installations).items():
            record(f"From `labrig new` to the first green test: {framework}, uv, packages in the cache", timings)
        record("The tests of a new repository", bench.own_tests(options.installations))
    options.json.write_text(json.dumps(results, indent=2) + "\n")


def prepare_pytorch(environment: dict[str, str]) -> str:
    """Where torch comes from: its own index, or wheels that this machine names, where the index cannot be reached."""
    try:
        urllib.request.urlopen(PYTORCH_INDEX, timeout=10).close()
    except (urllib.error.URLError, TimeoutError) as error:
        found = environment.get("PIP_FIND_LINKS")
        if not found:
            sys.exit(
                f"error: {PYTORCH_INDEX} cannot be reached ({error})\ntip: name a folder with a wheel in PIP_FIND_LINKS"
            )
        environment |= {"UV_FIND_LINKS": found, "UV_NO_SOURCES": "1"}
        return "PyTorch's index was not reachable: torch came from a local wheel (UV_FIND_LINKS, UV_NO_SOURCES=1)."
    return "torch came from PyTorch's own index."


class Bench:
    """A fresh environment with labrig, as users install it, and Copier; and the template as a tagged clone."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = environment
        self.template = folder / "template"
        self.run(["git", "clone", "--quiet", str(CHECKOUT), str(self.template)])
        self.run(["git", "tag", "--force", "v99.0.0"], self.template)
        venv.create(folder / "venv", with_pip=False)
        self.programs = folder / "venv" / "bin"
        install = [
            find_uv_bin(),
            "pip",
            "install",
            "--quiet",
            "--compile-bytecode",
            "--python",
            str(self.programs / "python"),
        ]
        self.run([*install, str(self.template), "copier"])
        environment["PATH"] = os.pathsep.join([str(self.programs), environment["PATH"]])
        environment["COPIER_SETTINGS_PATH"] = str(folder / "settings.yml")
        self.number = 0

    def create(self, rounds: int) -> list[Timings]:
        """The same template and the same answers; the files are compared before anything is measured."""
        self.run(["labrig", "new", "first", "--yes", "--template", str(self.template)])
        recorded = yaml.safe_load((self.folder / "first/.copier-answers.yml").read_text())
        answers = self.folder / "answers.yml"
        answers.write_text(yaml.safe_dump({key: value for key, value in recorded.items() if not key.startswith("_")}))

        def labrig(*options: str) -> Callable[[Path], list[str]]:
            return lambda project: ["labrig", "new", str(project), "--yes", "--answers", str(answers), *options]

        commands: dict[str, Callable[[Path], list[str]]] = {
            "copier copy --defaults": lambda project: [
                *(
                    "copier",
                    "copy",
                    "--quiet",
                    "--defaults",
                    "--data-file",
                    str(answers),
                    str(self.template),
                    str(project),
                ),
            ],
            "labrig new --yes, the same clone": labrig("--template", str(self.template)),
            "labrig new --yes, its own bundle": labrig(),
        }
        trees = [files_of(self.generate(command)) for command in list(commands.values())[:2]]
        if trees[0] != trees[1]:
            sys.exit("error: labrig and Copier wrote different files, so their times cannot be compared")
        self.generate(commands["labrig new --yes, its own bundle"])
        return interleave({name: partial(self.generate, command) for name, command in commands.items()}, rounds)

    def start(self, rounds: int) -> list[Timings]:
        """What the shell waits for before anything is done."""
        commands = {
            "python -c pass": ["python", "-c", "pass"],
            "labrig --help": ["labrig", "--help"],
            "labrig new --help": ["labrig", "new", "--help"],
            'python -c "import copier"': ["python", "-c", "import copier"],
        }
        for command in commands.values():
            self.run(command)
        return interleave({name: partial(self.run, command) for name, command in commands.items()}, 3 * rounds)

    def first_green_test(self, rounds: int) -> dict[str, list[Timings]]:
        """The steps of `labrig new --install` with a warm package cache; the last repositories stay for `own_tests`."""
        steps = ("all", "labrig new", "uv lock", "uv sync", "uv run pytest")
        timings = {framework: {step: Timings(step) for step in steps} for framework in FRAMEWORKS}
        for number in range(rounds + 1):
            for framework in FRAMEWORKS:
                project = self.folder / f"{framework}-experiment"
                shutil.rmtree(project, ignore_errors=True)
                new = ["labrig", "new", str(project), "--yes", "--framework", framework, "--python", PYTHON_VERSION]
                seconds = {
                    "labrig new": timed(partial(self.run, new)),
                    "uv lock": timed(partial(self.run, ["uv", "lock"], project)),
                    "uv sync": timed(partial(self.run, ["uv", "sync"], project)),
                    "uv run pytest": timed(partial(self.run, ["uv", "run", "pytest"], project)),
                }
                seconds["all"] = sum(seconds.values())
                if number == 0:  # fills the caches
                    continue
                for step in steps:
                    timings[framework][step].seconds.append(seconds[step])
        return {framework: list(timings[framework].values()) for framework in FRAMEWORKS}

    def own_tests(self, rounds: int) -> list[Timings]:
        """Again, as one does all day."""
        tests = ["uv", "run", "pytest"]
        return interleave(
            {name: partial(self.run, tests, self.folder / f"{name}-experiment") for name in FRAMEWORKS}, rounds
        )

    def generate(self, command: Callable[[Path], list[str]]) -> Path:
        """Run a command that creates a repository in a new place."""
        self.number += 1
        project = self.folder / "generated" / str(self.number) / "moon"
        project.parent.mkdir(parents=True)
        self.run(command(project))
        return project

    def run(self, command: list[str], where: Path | None = None) -> None:
        """Run a command; one that fails ends the benchmark with what it said."""
        done = subprocess.run(
            command,
            cwd=where or self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        if done.returncode != 0:
            sys.exit(f"error: {' '.join(command)} failed\n{done.stdout.decode()}\n{done.stderr.decode()}")


def interleave(actions: dict[str, Callable[[], object]], rounds: int) -> list[Timings]:
    """Time every action once per round."""
    timings = [Timings(name) for name in actions]
    for _ in range(rounds):
        for timing, action in zip(timings, actions.values(), strict=True):
            timing.seconds.append(timed(action))
    return timings


def timed(action: Callable[[], object]) -> float:
    """The wall time of `action` in seconds."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def files_of(project: Path) -> dict[str, bytes]:
    """Every generated file and its content; git's own files aside, which only labrig makes."""
    files = (path for path in project.rglob("*") if path.is_file() and ".git" not in path.relative_to(project).parts)
    return {str(path.relative_to(project)): path.read_bytes() for path in files}


def show(title: str, timings: list[Timings]) -> None:
    """Print one table."""
    width = max(len(timing.name) for timing in timings)
    print(f"\n{title}\n{'':{width}}  {'min':>9}  {'median':>9}  {'max':>9}  {'ratio':>6}")
    for timing in timings:
        row = timing.summary(timings[0])
        print(
            f"{timing.name:{width}}  {row['min_ms']:6.0f} ms  {row['median_ms']:6.0f} ms  {row['max_ms']:6.0f} ms"
            f"  {row['ratio']:6.2f}"
        )


if __name__ == "__main__":
    main()
