"""Renovate itself, run over generated repositories: what it reads in them, and what it would propose."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from repositories import TEMPLATE, resolve
from tools import ToolMissingError, renovate_command
from workshop import git, put

LOCKS = {
    "uv": {"uv.lock": 'version = 1\nrequires-python = "==3.12.*"\n'},
    "poetry": {"poetry.lock": '[metadata]\nlock-version = "2.1"\npython-versions = "*"\ncontent-hash = ""\n'},
    "pip": {"requirements/cpu.lock": ""},
    "conda": {"environment.lock": ""},
}


def renovated(answers: dict[str, str], step: str, folder: Path) -> tuple[dict[str, Any], str]:
    """The files that Renovate reads with what it finds there, by its managers; and its log."""
    root = folder / "demo"
    files = TEMPLATE.render(resolve(answers), src_path="https://github.com/labrig/labrig", commit="v0.1.0")
    put(root, {path: file.content for path, file in files.items()})
    put(root, LOCKS[answers["package_manager"]])
    git(root, "init", "--quiet")
    git(root, "add", "--all")
    git(root, "-c", "user.name=Ada", "-c", "user.email=ada@example.org", "commit", "--quiet", "--message", "Start")
    report = folder / "report.json"
    options = ("--platform=local", f"--dry-run={step}", "--report-type=file", f"--report-path={report}")
    try:
        command = renovate_command("renovate", *options)
    except ToolMissingError as error:
        pytest.skip(str(error))
    environment = ["env", "LOG_LEVEL=debug", "GITHUB_COM_TOKEN=none"]  # without one it does not look at actions
    done = subprocess.run([*environment, *command], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(report.read_text())["repositories"]["local"]["packageFiles"]
    return found, done.stdout


def reasons(found: dict[str, Any]) -> dict[str, set[str | None]]:
    """Why nothing is proposed for what stands in a file, by the file."""
    return {
        file["packageFile"]: {dependency.get("skipReason") for dependency in file["deps"]}
        for files in found.values()
        for file in files
    }


@pytest.mark.complete
@pytest.mark.parametrize("package_manager", LOCKS)
def test_on_github_renovate_moves_the_lock_and_nothing_that_the_template_pins(
    package_manager: str, tmp_path: Path
) -> None:
    found, log = renovated({"ci": "github", "package_manager": package_manager}, "lookup", tmp_path)
    assert "copier" not in found, "the workflow follows the template"
    skipped = reasons(found)
    for path in (".github/workflows/ci.yml", ".github/workflows/template.yml", "pyproject.toml"):
        # Of what is left, one has no version, and the other two requirements that exclude each other.
        assert skipped[path] - {"unspecified-version", "multiple-constraint-dep"} == {"disabled"}, path
    proposed = package_manager in {"uv", "poetry"}  # whose lock Renovate can write
    assert f"Returning {int(proposed)} branch(es)" in log


@pytest.mark.complete
def test_on_github_renovate_would_move_the_actions_of_other_workflows(tmp_path: Path) -> None:
    own = "on: push\njobs:\n  mine:\n    runs-on: ubuntu-24.04\n    steps:\n      - uses: actions/checkout@v6\n"
    put(tmp_path / "demo", {".github/workflows/mine.yml": own})
    found, _ = renovated({"ci": "github", "package_manager": "uv"}, "extract", tmp_path)
    (mine,) = (file for file in found["github-actions"] if file["packageFile"] == ".github/workflows/mine.yml")
    assert [dependency["depName"] for dependency in mine["deps"]] == ["actions/checkout", "ubuntu"]
    config = json.loads((tmp_path / "demo/.github/renovate.json").read_text())
    assert ".github/workflows/mine.yml" not in config["packageRules"][0]["matchFileNames"]


@pytest.mark.complete
def test_on_gitlab_renovate_reads_which_template_it_is_and_which_version(tmp_path: Path) -> None:
    found, _ = renovated({"ci": "gitlab", "package_manager": "uv"}, "extract", tmp_path)
    (answers,) = found["copier"]
    (template,) = answers["deps"]
    assert answers["packageFile"] == ".copier-answers.yml"
    assert (template["depName"], template["currentValue"]) == ("https://github.com/labrig/labrig", "v0.1.0")
