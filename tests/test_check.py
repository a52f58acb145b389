"""`labrig check` and `labrig why`: what is off in a repository, and where each of its lines comes from."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from repositories import ROOT
from workshop import LINES, Workshop, git, put
from workshop import workshop as workshop  # noqa: PLC0414 - a fixture

from labrig.check import RULES, is_managed
from labrig.render import ANSWERS_FILE

MANIFEST = '[project]\nname = "demo"\ndependencies = ["torch"]\n\n[tool.ruff]\nline-length = 100\n'


@pytest.fixture
def fresh(workshop: Workshop) -> Workshop:
    """An untouched repository of the newest version."""
    workshop.release(
        "v1", {"pyproject.toml": MANIFEST, "src/train.py": LINES, "README.md": LINES, "ci.yml": "on: push\n"}
    )
    workshop.generate()
    return workshop


def rules(workshop: Workshop, *words: str) -> list[str]:
    found = workshop.labrig("check", "--json", *words).object
    return [finding["rule"] for finding in found["repositories"][0]["findings"]]


def test_nothing_is_off_in_a_fresh_repository(fresh: Workshop) -> None:
    done = fresh.labrig("check")
    assert (done.code, done.out) == (0, "")


def test_what_the_user_writes_is_never_drift(fresh: Workshop) -> None:
    put(
        fresh.root,
        {
            "src/train.py": "everything is mine\n",
            "README.md": None,
            "mine.toml": "x = 1\n",
            "pyproject.toml": MANIFEST.replace('"torch"', '"mine", "torch"') + "select = []\n[tool.mine]\nx = 1\n",
            "ci.yml": "on: push # mine\n\njobs: {}\n",
        },
    )
    assert fresh.labrig("check").code == 0


def test_a_newer_version_is_named(fresh: Workshop) -> None:
    fresh.release("v2", {"a.txt": "a\n"})
    done = fresh.labrig("check")
    assert done.code == 1
    assert done.out == f"{ANSWERS_FILE}:1: LR001 behind: v2 is out; this is v1\n  fix: labrig update\n"


def test_drift_is_found_by_content_with_its_line(fresh: Workshop) -> None:
    put(fresh.root, {"pyproject.toml": MANIFEST.replace("100", "88").replace('"torch"', '"jax"')})
    done = fresh.labrig("check")
    assert done.code == 1
    assert "pyproject.toml:6: LR003 drift: tool.ruff.line-length is 88, and 100 in the template" in done.out
    assert "pyproject.toml:3: LR003 drift: project.dependencies does not hold 'torch'" in done.out
    assert fresh.labrig("check", "--ignore", "LR003").code == 0


def test_every_rule_is_found(fresh: Workshop) -> None:
    put(fresh.root, {"pyproject.toml": None})
    assert rules(fresh) == ["LR004"]
    put(fresh.root, {"pyproject.toml": "[project\n"})
    assert rules(fresh) == ["LR006"]
    put(fresh.root, {"pyproject.toml": MANIFEST, "src/train.py": "<<<<<<< yours\n"})
    assert rules(fresh) == ["LR005"]
    put(fresh.root, {"src/train.py": LINES, ".git/labrig/journal.json": "{}"})
    assert rules(fresh) == ["LR007"]
    shutil.rmtree(fresh.root / ".git/labrig")
    fresh.release("v2", {}, "other: {type: str, default: x}\n")
    assert rules(fresh) == ["LR001", "LR008"]
    fresh.release("v2", {"ci.yml": "on: pull_request\n"}, "name: {type: str, default: demo}\n")
    fresh.change({ANSWERS_FILE: fresh.render("v2")[ANSWERS_FILE]})
    assert "LR002" in rules(fresh)
    of_a_policy = {"LR009", "LR010"}  # test_policy.py finds these
    assert {"LR001", "LR002", "LR003", "LR004", "LR005", "LR006", "LR007", "LR008"} == set(RULES) - of_a_policy


@pytest.mark.parametrize(
    ("path", "content", "line"),
    [
        ("pyproject.toml", "[a]\nx = 1\n[b\n", 3),
        ("ci.yml", "on: push\njobs: {\n", 3),
        (".vscode/settings.json", '{\n  // fine\n  "a": }\n', 3),
    ],
)
def test_a_file_that_is_not_valid_is_named_with_its_line(
    path: str, content: str, line: int, workshop: Workshop
) -> None:
    workshop.release("v1", {path: {"toml": "[a]\n", "yml": "on: push\n", "json": "{}\n"}[path.rpartition(".")[2]]})
    workshop.generate()
    put(workshop.root, {path: content})
    done = workshop.labrig("check")
    assert done.code == 1
    assert f"{path}:{line}: LR006 invalid: it is not valid: " in done.out


def test_an_unknown_rule_is_a_sentence(fresh: Workshop) -> None:
    done = fresh.labrig("check", "--ignore", "LR03")
    assert done.code == 2
    assert "Did you mean 'LR003'?" in done.err


def test_sarif_names_rule_file_and_line(fresh: Workshop) -> None:
    put(fresh.root, {"pyproject.toml": MANIFEST.replace("100", "88")})
    done = fresh.labrig("check", "--sarif")
    assert done.code == 1
    log: dict[str, Any] = json.loads(done.out)
    (result,) = log["runs"][0]["results"]
    assert result["ruleId"] == "LR003"
    location = result["locations"][0]["physicalLocation"]
    assert location == {"artifactLocation": {"uri": "pyproject.toml"}, "region": {"startLine": 6}}
    assert {rule["id"] for rule in log["runs"][0]["tool"]["driver"]["rules"]} == set(RULES)


def test_code_prose_and_locks_are_the_users(template_files: list[str]) -> None:
    managed = {path for path in template_files if is_managed(path)}
    assert "pyproject.toml" in managed
    assert ".github/workflows/ci.yml" in managed
    assert ".gitignore" in managed
    assert not [path for path in managed if path.endswith((".py", ".md", ".lock")) or path == "LICENSE"]


@pytest.fixture
def template_files() -> list[str]:
    from repositories import TEMPLATE, resolve  # noqa: PLC0415

    return list(TEMPLATE.render(resolve({})))


def test_many_repositories_are_looked_at_whatever_is_wrong_with_one(fresh: Workshop) -> None:
    (fresh.folder / "empty").mkdir()
    done = fresh.labrig("check", ".", str(fresh.folder / "empty"), "--json")
    assert done.code == 1
    first, second = done.object["repositories"]
    assert first["findings"] == []
    assert [finding["rule"] for finding in second["findings"]] == ["LR002"]
    assert fresh.labrig("check", str(fresh.folder / "empty")).code == 2


def test_the_github_action_reports_and_fails(fresh: Workshop) -> None:
    """The script of action.yml, with the labrig of this environment where it would install one."""
    (step,) = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))["runs"]["steps"]
    script = [line for line in step["run"].splitlines() if "venv" not in line and "pip" not in line]
    programs = fresh.folder / "labrig/bin"
    programs.mkdir(parents=True)
    put(programs, {"labrig": f'#!/bin/sh\nexec {sys.executable} -m labrig "$@"\n'})
    (programs / "labrig").chmod(0o755)
    put(fresh.root, {"pyproject.toml": MANIFEST.replace("100", "88")})
    fresh.release("v2", {"a.txt": "a\n"})

    def run(ignore: str) -> subprocess.CompletedProcess[str]:
        variables = {"RUNNER_TEMP": str(fresh.folder), "GITHUB_OUTPUT": str(fresh.folder / "output")}
        inputs = {"DIRECTORY": ".", "IGNORE": ignore}
        command = ["bash", "-eo", "pipefail", "-c", "\n".join(script)]
        environment = {**os.environ, **variables, **inputs}
        return subprocess.run(command, cwd=fresh.root, env=environment, capture_output=True, text=True, check=False)

    done = run("LR001")
    assert done.returncode == 1
    assert "LR003" in done.stdout
    assert "LR001" not in done.stdout
    output = (fresh.folder / "output").read_text().strip().removeprefix("sarif=")
    assert json.loads(Path(output).read_text())["runs"][0]["results"][0]["ruleId"] == "LR003"
    assert run("LR001 LR003").returncode == 0
    assert run("LR99").returncode == 2


def test_the_hook_for_pre_commit_calls_a_command_that_there_is(fresh: Workshop) -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert fresh.labrig(*shlex.split(hook["entry"])[1:]).code == 0


# Why


@pytest.fixture
def real(workshop: Workshop, plain_template: Path) -> Workshop:
    """A repository of the template of this checkout."""
    shutil.copytree(plain_template, workshop.template)
    git(workshop.template, "init", "--quiet")
    workshop.release("v1", {})
    workshop.generate({"framework": "jax", "license": "mit"})
    return workshop


def test_each_line_has_its_answer_its_layer_and_its_version(real: Workshop) -> None:
    lines = real.read("pyproject.toml").splitlines()
    number = next(number for number, line in enumerate(lines, 1) if line.startswith("license"))
    done = real.labrig("why", f"pyproject.toml:{number}", "--json")
    (origin,) = done.object["lines"]
    assert origin["answers"] == {"license": "mit"}
    assert (origin["layer"], origin["version"], origin["yours"]) == ("mit", "v1", False)
    place, _, line = origin["place"].partition(":")
    assert lines[number - 1] in (ROOT / place).read_text(encoding="utf-8").splitlines()
    assert line == "1"


def test_a_line_of_the_users_is_yours(real: Workshop) -> None:
    put(real.root, {"pyproject.toml": real.read("pyproject.toml") + "[tool.mine]\n"})
    count = len(real.read("pyproject.toml").splitlines())
    assert real.labrig("why", f"pyproject.toml:{count}").out == f"pyproject.toml:{count}: yours\n"
    put(real.root, {"mine.py": "x = 1\ny = 2\n"})
    assert real.labrig("why", "mine.py").out == "mine.py:1-2: yours\n"


def test_every_line_has_an_origin(real: Workshop) -> None:
    for path in (
        ANSWERS_FILE,
        ".gitignore",
        "README.md",
        "pyproject.toml",
        ".github/workflows/ci.yml",
        "src/demo/train.py",
    ):
        done = real.labrig("why", path, "--json")
        assert done.code == 0, path
        assert all(not origin["yours"] and origin["place"] for origin in done.object["lines"]), path


@pytest.mark.parametrize(("place", "said"), [("none.py", "no file"), ("pyproject.toml:9999", "has no line 9999")])
def test_a_place_that_is_not_there_is_a_sentence(fresh: Workshop, place: str, said: str) -> None:
    done = fresh.labrig("why", place)
    assert done.code == 2
    assert said in done.err
