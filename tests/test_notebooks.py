"""A notebook runs from its first cell to its last in a real repository, over a real run."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml
from environments import PythonOf
from hosts.tools import Tools
from repositories import STACK, TEMPLATE, choices, resolve, write
from test_slurm import Repository

KINDS = [kind for kind in choices("notebooks") if kind != "none"]


@pytest.fixture
def repository(kind: str, python_of: PythonOf, tools: Tools, tmp_path: Path) -> Repository:
    """A repository with a notebook, and a Python that has what the notebook needs."""
    python, packages = python_of("jax"), tmp_path / "packages"
    wanted = " ".join(f"'{name}{versions}'" for name, versions in STACK["requires"][kind].items())
    tools.run(f"uv pip install --quiet --python {python} --target {packages} {wanted}", tmp_path)
    folder = tmp_path / "demo"
    write(resolve({"framework": "jax", "notebooks": kind}), folder)
    path = os.pathsep.join([str(packages / "bin"), str(python.parent), os.environ["PATH"]])
    return Repository(folder, python, {"PYTHONPATH": f"{folder / 'src'}:{packages}", "PATH": path, "MPLBACKEND": "agg"})


@pytest.mark.complete
@pytest.mark.parametrize("kind", KINDS)
def test_the_notebook_passes_its_tests_and_shows_a_real_run(kind: str, repository: Repository) -> None:
    said = repository.run(repository.python, "-m", "pytest", "--durations=3", "tests/test_explore.py")
    assert "skipped" not in said
    print(said)
    for checker in ("pyright", "mypy"):
        repository.run(repository.python, "-m", checker, "tests/test_explore.py")
    twin = repository.folder / "notebooks" / "explore.py"
    assert f"error: there is no run in {repository.folder / 'runs'} yet" in repository.run("python", twin, code=1)
    repository.run("python", "-m", "demo", "train", "debug")
    if kind == "marimo":
        said = repository.run("python", twin)
        assert "runs/debug" in said
        repository.run("marimo", "check", "--strict", twin)
    else:
        notebook = twin.with_suffix(".ipynb")
        strip = hook("notebook-outputs", repository.folder)
        before = notebook.read_bytes(), twin.read_bytes()
        repository.run("jupytext", "--sync", notebook)
        repository.run(*strip, notebook)
        assert (notebook.read_bytes(), twin.read_bytes()) == before, "one notebook, without outputs"
        repository.run("jupyter", "execute", "--inplace", notebook)
        outputs = [output for cell in json.loads(notebook.read_text())["cells"] for output in cell.get("outputs", [])]
        assert any("runs/debug" in "".join(output.get("text", "")) for output in outputs)
        assert any("image/png" in output.get("data", {}) for output in outputs)
        repository.run(*strip, notebook)
        assert notebook.read_bytes() == before[0], "nothing of a run stays in git"


def hook(name: str, folder: Path) -> list[str]:
    """The command of a hook, in an environment that is active."""
    configuration = yaml.safe_load((folder / ".pre-commit-config.yaml").read_text())
    (entry,) = [
        one["entry"] for repository in configuration["repos"] for one in repository["hooks"] if one["id"] == name
    ]
    return str(entry).removeprefix("uv run ").split()


@pytest.mark.complete
@pytest.mark.parametrize("kind", KINDS)
def test_a_notebook_outside_of_its_environment_says_so_in_a_sentence(kind: str, repository: Repository) -> None:
    (repository.folder / "runs" / "debug").mkdir(parents=True)
    (repository.folder / "runs" / "debug" / "config.json").touch()
    elsewhere = {**repository.environment, "PYTHONPATH": repository.environment["PYTHONPATH"].partition(":")[2]}
    done = subprocess.run(
        ["python", "notebooks/explore.py"],
        cwd=repository.folder,
        env=elsewhere,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, kind
    assert done.stderr.startswith("error: No module named 'demo' in "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


def test_a_notebook_adds_files_and_the_packages_that_it_needs() -> None:
    def files(kind: str) -> dict[str, bytes]:
        return {path: file.content for path, file in TEMPLATE.render(resolve({"notebooks": kind})).items()}

    spoken_of = {"README.md", "pyproject.toml", ".pre-commit-config.yaml", ".copier-answers.yml"}
    for kind in KINDS:
        added = files(kind).keys() - files("none").keys()
        assert all(path.startswith("notebooks/") or path == "tests/test_explore.py" for path in added)
        changed = {path for path, content in files("none").items() if files(kind)[path] != content}
        assert changed <= spoken_of
