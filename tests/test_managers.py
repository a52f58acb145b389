"""A new repository is locked, installed, checked and trained by its own README and CI, with the real tools."""

import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from hosts import conda
from hosts.conda_channel import PYTHON, PYTORCH
from hosts.pytorch_index import real_cpu_wheels
from hosts.standin import stand_in
from hosts.tools import Tools
from repositories import resolve, write

from labrig.render import Answers

# With a GPU as the answer, CI has to choose the CPU build against the default: the harder of the two cases.
ACCELERATORS = {("conda", "jax"): "cu129", **{(one, "tensorflow"): "cu129" for one in ("uv", "pip", "poetry")}}
# What CI gets from a runner and a test from the fixture `tools`.
PROVIDED = re.compile(r"pipx install poetry==")


@dataclass
class Repository:
    """A generated repository on disk, and the environment of the shell that works in it."""

    folder: Path
    answers: Answers
    tools: Tools
    environment: dict[str, str]

    @property
    def readme(self) -> list[str]:
        """The commands of the README, without their comments."""
        text = (self.folder / "README.md").read_text(encoding="utf-8")
        blocks = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        return [re.sub(r"\s+# .*", "", line).strip() for block in blocks for line in block.splitlines()]

    @property
    def ci(self) -> dict[str, Any]:
        """The job of CI."""
        workflow = yaml.safe_load((self.folder / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
        return dict(workflow["jobs"]["check"])

    def run(self, command: str) -> str:
        return self.tools.run(command, self.folder, self.environment)

    def follow(self, command: str) -> str:
        """Runs a command that the README names."""
        assert command in self.readme
        return self.run(command)

    def activate(self, environment: Path) -> None:
        """What `source .venv/bin/activate` changes for the commands that follow."""
        path = os.pathsep.join([str(environment / "bin"), self.environment["PATH"]])
        self.environment |= {"VIRTUAL_ENV": str(environment), "PATH": path}


@pytest.fixture
def repository(manager: str, framework: str, tools: Tools, tmp_path: Path) -> Repository:
    if framework == "pytorch" and not real_cpu_wheels(PYTORCH, PYTHON):
        pytest.skip(f"pip's find-links name no folder with a wheel of torch {PYTORCH}+cpu for Python {PYTHON}")
    accelerator = "cpu" if framework == "sklearn" else ACCELERATORS.get((manager, framework), "cu130")
    answers = resolve(
        {
            "package_manager": manager,
            "framework": framework,
            "accelerator": accelerator,
            "python": PYTHON,
            "ci": "github",
        }
    )
    folder = tmp_path / "demo"
    write(answers, folder)
    opened = Repository(folder, answers, tools, dict(tools.environment))
    opened.run("git init --quiet --initial-branch main")
    opened.run("git -c user.name=Ada -c user.email=ada@example.org add --all")
    opened.run("git -c user.name=Ada -c user.email=ada@example.org commit --quiet --message Begin")
    return opened


def set_up_uv(repository: Repository) -> None:
    accelerator = repository.answers["accelerator"]
    repository.follow("uv sync" if accelerator == "cpu" else f"uv sync --no-group {accelerator} --group cpu")


def set_up_pip(repository: Repository) -> None:
    repository.follow(f"python{PYTHON} -m venv .venv")
    repository.activate(repository.folder / ".venv")
    repository.follow("pip install poethepoet uv")
    repository.follow("poe lock")


def set_up_poetry(repository: Repository) -> None:
    command = "install" if repository.answers["accelerator"] == "cpu" else "sync"
    repository.follow(f"poetry {command} --extras cpu")


SET_UP = {"uv": set_up_uv, "pip": set_up_pip, "poetry": set_up_poetry}


@pytest.mark.parametrize(
    ("manager", "framework"),
    [
        ("uv", "jax"),
        *(
            pytest.param(manager, framework, marks=mark)
            for manager in SET_UP
            for framework in ("pytorch", "jax", "tensorflow", "sklearn")
            for common in [framework == "pytorch" or manager == "uv"]
            for mark in [pytest.mark.complete if common else pytest.mark.release]
            if (manager, framework) != ("uv", "jax")
        ),
    ],
)
def test_a_new_repository_passes_its_own_ci_and_trains(manager: str, repository: Repository) -> None:
    SET_UP[manager](repository)
    passes_its_own_ci_and_trains(repository)


@pytest.mark.complete
@pytest.mark.parametrize("framework", ["pytorch", "jax"])
@pytest.mark.parametrize("manager", ["conda"])
def test_a_new_repository_for_conda_passes_its_own_ci_and_trains(repository: Repository, channels: Path) -> None:
    (file,) = [step["with"]["environment-file"] for step in repository.ci["steps"] if "micromamba" in str(step)]
    prefix = repository.folder.parent / "environment"
    conda.create(repository.folder / file, prefix, channels, repository.environment)
    repository.environment = conda.activated(prefix, repository.environment)
    passes_its_own_ci_and_trains(repository)


def passes_its_own_ci_and_trains(repository: Repository) -> None:
    repository.environment |= repository.ci.get("env", {})
    for step in repository.ci["steps"]:
        if "run" in step and not PROVIDED.match(step["run"]):
            repository.run(step["run"])
    if repository.answers["package_manager"] != "conda":  # whose program may not be here
        repository.tools.run(task_of_the_editor("lint", repository.folder), repository.folder, without(repository))
    does_what_its_tasks_say(repository)
    untracked = repository.run("git status --porcelain --untracked-files=all").splitlines()
    assert all(line.startswith("?? ") and line.endswith(".lock") for line in untracked), untracked


def does_what_its_tasks_say(repository: Repository) -> None:
    """Each task of the README that CI and the lock have not run."""
    folder, poe = repository.folder, f"{repository.answers['run']}poe"
    assert repository.run(f"{poe} --dry-run check").count("=>") == 4  # Ruff twice, types, tests
    repository.follow(f"{poe} format")
    repository.follow(f"{poe} smoke")
    assert not [*folder.glob("runs/*/config.json")]
    repository.run(f"{poe} train debug --name short --optim.steps 3")
    repository.follow(f"{poe} sweep")
    trained = sorted(path.parent.name for path in folder.glob("runs/*/result.json"))
    assert trained == ["debug-seed=0", "debug-seed=1", "short"]
    before = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    repository.follow(f"{poe} clean")
    removed = before - {str(path.relative_to(folder)) for path in folder.rglob("*")}
    assert {".pytest_cache", ".ruff_cache", "src/demo/__pycache__", "tests/__pycache__"} <= removed
    assert all(re.match(r"\.\w+_cache|(src|tests)/(.*/)?__pycache__", path) for path in removed), removed


def task_of_the_editor(label: str, folder: Path) -> str:
    """The command of a task of Visual Studio Code."""
    tasks = json.loads((folder / ".vscode/tasks.json").read_text(encoding="utf-8"))["tasks"]
    (command,) = [task["command"] for task in tasks if task["label"] == label]
    return str(command)


def without(repository: Repository) -> dict[str, str]:
    """The environment of an editor's shell, in which nobody has activated anything."""
    environment = {**repository.environment, "PATH": repository.tools.environment["PATH"]}
    return {name: value for name, value in environment.items() if name != "VIRTUAL_ENV"}


@pytest.mark.complete
@pytest.mark.parametrize("framework", ["pytorch", "jax"])
@pytest.mark.parametrize("manager", ["conda"])
@pytest.mark.parametrize("program", ["conda", "mamba", "micromamba"])
def test_conda_itself_makes_the_cpu_environment(program: str, repository: Repository, channels: Path) -> None:
    if shutil.which(program, path=repository.environment["PATH"]) is None:
        pytest.skip(f"there is no {program} on PATH")
    prefix = repository.folder.parent / "environment"
    with stand_in({"conda.anaconda.org": channels}) as hosts:
        repository.environment |= {**hosts.environment, "MAMBA_ROOT_PREFIX": str(prefix.with_name("root"))}
        repository.run(f"{program} env create --yes --quiet --file environment-cpu.yml --prefix {prefix}")
    taken = [path.name for name in ("pytorch", "jaxlib") for path in prefix.glob(f"conda-meta/{name}-[0-9]*.json")]
    assert len(taken) == 1
    assert "-cpu_" in taken[0]
    repository.run(f"{prefix}/bin/python -c 'import demo'")
