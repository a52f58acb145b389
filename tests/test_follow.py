"""The nightly workflow of a repository on GitHub, its steps run as they stand: what it proposes, and when it asks.

The remote is a bare repository. `gh` and `uvx` are stood in for: the one keeps what it is told, as GitHub would; the
other runs this labrig.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from repositories import TEMPLATE, resolve
from workshop import LINES, Workshop, git, put
from workshop import workshop as workshop  # noqa: PLC0414 - a fixture

WORKFLOW, SCRIPT = ".github/workflows/template.yml", ".github/template.sh"
UVX = f"""\
#!/bin/sh
[ "$1" = --quiet ] && echo "$2" >>"$RUNNER_TEMP/uvx" && [ -z "$GH_TOKEN" ] || exit 70
shift 2
exec {sys.executable} -m labrig "$@"
"""
GH = f"""\
#!{sys.executable}
import json, os, sys
from pathlib import Path

assert os.environ["GH_TOKEN"] == "the token of the run"
kind, verb, *words = sys.argv[1:]
kept = Path(os.environ["RUNNER_TEMP"]) / f"{{kind}}s.json"
known = json.loads(kept.read_text()) if kept.exists() else []
options = dict(zip(words[::2], words[1::2]))
if verb == "list":
    assert (options["--json"], options["--jq"]) == ("number", "length")
    print(sum(one.get("--head") == options.get("--head") for one in known))
elif verb == "create":
    assert options.pop("--body-file") == "-"
    kept.write_text(json.dumps([*known, {{**options, "body": sys.stdin.read()}}]))
else:
    assert (kind, verb) == ("auth", "setup-git"), sys.argv
"""


@dataclass(frozen=True)
class GitHub:
    """A remote, and the machine that a workflow runs on."""

    workshop: Workshop

    @property
    def runner(self) -> Path:
        return self.workshop.folder / "runner"

    def open(self) -> Path:
        """The remote: the repository as it is now, at the first look."""
        origin = self.workshop.folder / "origin.git"
        if not origin.exists():
            git(self.workshop.folder, "clone", "--quiet", "--bare", str(self.workshop.root), str(origin))
        return origin

    def night(self) -> int:
        """Run the steps of the workflow in a fresh clone; the exit code of the last one."""
        here = self.workshop.folder
        put(here / "bin", {"uvx": UVX, "gh": GH})
        for program in (here / "bin").iterdir():
            program.chmod(0o755)
        checkout = here / f"checkout-{len(list(here.iterdir()))}"
        git(here, "clone", "--quiet", str(self.open()), str(checkout))
        self.runner.mkdir(exist_ok=True)
        outputs = self.runner / "output"
        outputs.unlink(missing_ok=True)
        workflow = yaml.safe_load((checkout / WORKFLOW).read_text())
        values = {"secrets.TEMPLATE_TOKEN || github.token": "the token of the run"}
        for step in workflow["jobs"]["update"]["steps"]:
            if "run" not in step:
                continue
            variables = {name: expanded(value, values) for name, value in step.get("env", {}).items()}
            done = subprocess.run(
                ["bash", "-e", "-c", step["run"]],
                cwd=checkout,
                env={
                    **os.environ,
                    **variables,
                    "GITHUB_OUTPUT": str(outputs),
                    "GITHUB_REF_NAME": "main",
                    "PATH": f"{here / 'bin'}{os.pathsep}{os.environ['PATH']}",
                    "RUNNER_TEMP": str(self.runner),
                },
                check=False,
            )
            if done.returncode:
                return done.returncode
            if outputs.exists():
                told = dict(line.split("=", 1) for line in outputs.read_text().splitlines())
                values |= {f"steps.{step.get('id')}.outputs.{name}": value for name, value in told.items()}
        return 0

    def told(self, kind: str) -> list[dict[str, Any]]:
        """The pull requests or issues that there are."""
        kept = self.runner / f"{kind}s.json"
        return json.loads(kept.read_text()) if kept.exists() else []

    def branches(self) -> set[str]:
        listed = git(self.open(), "for-each-ref", "--format=%(refname:short)", "refs/heads")
        return set(listed.split())


def expanded(text: str, values: Mapping[str, str]) -> str:
    """A value of a workflow, with its expressions."""
    return re.sub(r"\$\{\{ (.*?) \}\}", lambda found: values[found[1]], text)


@pytest.fixture
def github(workshop: Workshop) -> GitHub:
    """A repository made of v1, with the template's workflow; v2 changes two files."""
    files = TEMPLATE.render(resolve({"ci": "github"}))
    followed = {path: files[path].content for path in (WORKFLOW, SCRIPT)}
    workshop.release("v1", {"a.txt": LINES, "b.txt": "b\n", **followed})
    workshop.generate()
    return GitHub(workshop)


def release_next(github: GitHub) -> None:
    github.workshop.release("v2", {"a.txt": LINES.replace("line 20\n", "line twenty\n"), "b.txt": "more\n"})


def test_a_night_without_news_proposes_nothing(github: GitHub) -> None:
    assert github.night() == 0
    assert (github.told("pr"), github.told("issue"), github.branches()) == ([], [], {"main"})


def test_a_new_version_is_proposed_once_with_the_report(github: GitHub) -> None:
    github.workshop.change({"a.txt": LINES.replace("line 2\n", "mine\n")})
    release_next(github)
    assert github.night() == 0
    assert github.night() == 0
    (proposal,) = github.told("pr")
    assert (proposal["--head"], proposal["--base"]) == ("template-v2", "main")
    assert proposal["--title"] == "Update the template to v2"
    assert "v1 to v2: 3 files changed" in proposal["body"]
    assert "Merged without a conflict." in proposal["body"]
    assert "git reset" not in proposal["body"]
    assert github.told("issue") == []
    assert github.branches() == {"main", "template-v2"}
    origin = github.open()
    text = git(origin, "show", "template-v2:a.txt")
    assert "mine" in text
    assert "line twenty" in text
    assert git(origin, "log", "--format=%s", "main..template-v2") == "Update the template to v2"
    assert (github.runner / "uvx").read_text().splitlines() == ["labrig@1", "labrig@1"], "the version that is recorded"


def test_a_conflict_becomes_one_issue_and_no_branch(github: GitHub) -> None:
    github.workshop.change({"a.txt": LINES.replace("line 20\n", "mine\n")})
    release_next(github)
    assert github.night() == 0
    assert github.night() == 0
    (issue,) = github.told("issue")
    assert issue["--title"] == "Update the template by hand"
    assert "conflict a.txt: both sides changed the same lines\n  a.txt:20" in issue["body"]
    assert re.search(r"yours: +mine", issue["body"])
    assert re.search(r"template: line twenty", issue["body"])
    assert "uvx labrig update" in issue["body"]
    assert (github.told("pr"), github.branches()) == ([], {"main"})


def test_an_answer_that_a_person_has_to_give_becomes_an_issue(github: GitHub) -> None:
    github.workshop.release("v2", {}, "title: {type: str, default: other}\n")
    assert github.night() == 0
    (issue,) = github.told("issue")
    assert "name" in issue["body"]
    assert "--forget name" in issue["body"]
    assert github.branches() == {"main"}


def test_a_branch_that_github_refuses_becomes_an_issue(github: GitHub) -> None:
    """As it refuses changes of workflows to the token of a run."""
    release_next(github)
    origin = github.open()
    put(origin / "hooks", {"pre-receive": "#!/bin/sh\necho refused >&2\nexit 1\n"})
    (origin / "hooks/pre-receive").chmod(0o755)
    assert github.night() == 0
    (issue,) = github.told("issue")
    assert "could not be pushed" in issue["body"]
    assert "v1 to v2" in issue["body"]
    assert (github.told("pr"), github.branches()) == ([], {"main"})


def test_a_template_that_cannot_be_reached_fails_the_run(github: GitHub) -> None:
    shutil.rmtree(github.workshop.template)
    assert github.night() == 2
    assert (github.told("pr"), github.told("issue"), github.branches()) == ([], [], {"main"})
