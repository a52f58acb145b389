"""The generated files beside the code say what was asked for: CI, hooks, settings of editors, licence."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from proof import Content, Proof
from repositories import ROOT, TEMPLATE, choices, resolve
from tools import uvx


def files(**given: object) -> dict[str, str]:
    """The generated repository for these answers: its texts by their paths."""
    return {path: file.content.decode() for path, file in TEMPLATE.render(resolve(given)).items()}


def contents(proof: Proof, path: str) -> list[Content]:
    """Every content of one file."""
    found = [content for content in proof.contents if content.path == path]
    assert found, f"no combination has {path}"
    return found


def run(command: list[str], folder: Path) -> None:
    """Run a command; the test fails with its output when it does."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command[:6])} ...\n{done.stdout}\n{done.stderr}"


# Continuous integration


@pytest.mark.parametrize("path", [".github/workflows/ci.yml", ".gitlab-ci.yml"])
def test_ci_installs_the_cpu_variant_from_the_lock(path: str, proof: Proof) -> None:
    for content in contents(proof, path):
        accelerator = str(proof.space.value("accelerator", content.point))
        on_cpu = accelerator == "cpu"
        expected = {
            "uv": "uv sync --locked" + ("\n" if on_cpu else f" --no-group {accelerator} --group cpu\n"),
            "pip": "pip install --require-hashes --requirement requirements/cpu.txt\n",
            "conda": " environment.yml\n" if on_cpu else " environment-cpu.yml\n",
            "poetry": "poetry install --extras cpu\n",
        }[str(proof.space.value("package_manager", content.point))]
        assert expected in content.text, proof.shown_with(content)
        assert on_cpu or accelerator not in content.text.replace(expected, ""), proof.shown_with(content)


# Hooks


@pytest.mark.parametrize("tool", ["prek", pytest.param("pre-commit", marks=pytest.mark.complete)])
@pytest.mark.parametrize(
    ("name", "content", "hook"),
    [
        ("unused.py", "import os\n", "ruff-check"),
        ("untidy.py", "x = [1,2]\n", "ruff-format"),
        ("merge.txt", "<<<<<<< HEAD\nmine\n=======\ntheirs\n>>>>>>> other\n", "whitespace"),
        ("blank.txt", "words \n", "whitespace"),
        ("key.txt", f"-----BEGIN OPENSSH {'PRIVATE'} KEY-----\n", "private-key"),
        ("model.pt", "weights\n", "large-file"),
    ],
)
def test_a_hook_stops_a_commit_of_what_does_not_belong(
    tool: str, name: str, content: str, hook: str, tmp_path: Path
) -> None:
    (tmp_path / ".pre-commit-config.yaml").write_text(files(package_manager="pip")[".pre-commit-config.yaml"])
    (tmp_path / "fine.py").write_text('"""Fine."""\n')
    git = ["git", "-c", "init.defaultBranch=main", "-C", str(tmp_path)]
    run([*git, "init", "--quiet"], tmp_path)
    run([*git, "add", "."], tmp_path)
    command = uvx(tool, tool, "run", beside="ruff==0.17.5")
    run(command, tmp_path)
    (tmp_path / name).write_text(content)
    run([*git, "add", "."], tmp_path)
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    failed = re.findall(r"hook id: (\S+)", done.stdout)
    assert (done.returncode, failed) == (1, [hook]), done.stdout + done.stderr


# Editors


@pytest.mark.parametrize("checker", choices("type_checker"))
@pytest.mark.parametrize("editor", ["vscode", "cursor"])
def test_the_editor_is_given_the_chosen_type_checker_and_no_other(editor: str, checker: str) -> None:
    generated = files(editor=editor, type_checker=checker)
    recommended = set(json.loads(generated[".vscode/extensions.json"])["recommendations"])
    pyright = {"vscode": "ms-python.vscode-pylance", "cursor": "anysphere.cursorpyright"}[editor]
    extensions = {"pyright": pyright, "mypy": "ms-python.mypy-type-checker", "ty": "astral-sh.ty"}
    expected = {extensions[checker]} if checker in extensions else set[str]()
    assert recommended == {"charliermarsh.ruff", "ms-python.debugpy", "ms-python.python"} | expected
    settings = json.loads(generated[".vscode/settings.json"])
    off = [name for name, value in settings.items() if name.endswith(".typeCheckingMode") and value == "off"]
    assert bool(off) == (checker != "pyright")


@pytest.mark.parametrize("manager", choices("package_manager"))
def test_the_editor_takes_the_interpreter_that_the_manager_makes(manager: str) -> None:
    settings = json.loads(files(package_manager=manager)[".vscode/settings.json"])
    expected = None if manager == "conda" else "${workspaceFolder}/.venv/bin/python"
    assert settings.get("python.defaultInterpreterPath") == expected


@pytest.mark.parametrize("manager", choices("package_manager"))
def test_a_script_of_a_launcher_takes_the_interpreter_that_the_manager_makes(manager: str) -> None:
    repository = files(package_manager=manager, launchers=["slurm", "ray"])
    expected = "${PYTHON:-python}" if manager == "conda" else "${PYTHON:-.venv/bin/python}"
    for script in ("launch/slurm/train.sbatch", "launch/ray/train.sh"):
        assert re.findall(r"\$\{PYTHON:-[^}]*\}", repository[script]) == [expected], script


# Licence and citation


@pytest.mark.parametrize("kind", ["mit", "bsd-3-clause"])
@pytest.mark.parametrize(("author", "holder"), [("", "the authors of demo"), ("Ada Lovelace", "Ada Lovelace")])
def test_a_licence_names_its_holder(kind: str, author: str, holder: str) -> None:
    lines = files(license=kind, author_name=author)["LICENSE"].splitlines()
    assert f"Copyright (c) {holder}" in lines


def test_the_apache_licence_is_the_published_text() -> None:
    text = files(license="apache-2.0")["LICENSE"]
    assert text.splitlines()[1].strip() == "Apache License"
    assert hashlib.sha256(text.encode()).hexdigest().startswith("cfc7749b96f63bd31c3c42b5c471bf75")


def test_without_a_licence_nothing_speaks_of_one() -> None:
    generated = files(license="none")
    assert "LICENSE" not in generated
    assert not re.search("licen[cs]e", generated["README.md"], re.IGNORECASE)
    assert "license" not in yaml.safe_load(generated["CITATION.cff"])


# Instructions for agents


def test_a_claude_file_holds_nothing_but_the_other_ones_name() -> None:
    assert files()["CLAUDE.md"] == "@AGENTS.md\n"
    assert not {"AGENTS.md", "CLAUDE.md"} & set(files(agents=False))


# The catalogue and the questions


def test_the_catalogue_says_what_every_accelerator_is() -> None:
    stack = yaml.safe_load((ROOT / "stack.yml").read_text(encoding="utf-8"))
    offered = {
        name
        for framework in stack["builds"].values()
        for channel in framework.values()
        for name in channel["accelerators"]
    }
    assert offered == set(stack["accelerators"])


def test_every_question_is_one_question() -> None:
    for question in TEMPLATE.questions.values():
        assert question.help.count("?") == 1, question.name
        assert question.help.endswith("?"), question.name
