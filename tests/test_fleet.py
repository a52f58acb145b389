"""Fleets: what is reported of many repositories equals what was planted in them, and nothing of it is lost."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fleets import KINDS, Fleet
from repositories import ROOT
from workshop import Run, Workshop, git, put
from workshop import workshop as workshop  # noqa: PLC0414 - a fixture

from labrig.cli import main
from labrig.fleet.inventory import Selection, members
from labrig.fleet.page import render
from labrig.fleet.simulation import Outcome, over_budget
from labrig.render import ANSWERS_FILE

SIZES = [len(KINDS), pytest.param(12 * len(KINDS), marks=pytest.mark.complete)]


@pytest.fixture
def fleet(workshop: Workshop, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """A fleet with one repository of each kind, or more."""
    made = Fleet(workshop, getattr(request, "param", len(KINDS)))
    monkeypatch.chdir(workshop.folder)
    workshop.root = workshop.folder
    return made


def run(fleet: Fleet, *words: str) -> Run:
    return fleet.workshop.labrig("fleet", *words)


def states(found: dict[str, Any], key: str) -> dict[str, str]:
    return {each["name"]: each[key] for each in found["repositories"]}


@pytest.mark.parametrize("fleet", SIZES, indirect=True)
def test_what_is_reported_is_what_was_planted(fleet: Fleet) -> None:
    scanned = run(fleet, "scan", str(fleet.list), "--json")
    assert scanned.code == 1  # some are broken
    assert states(scanned.object, "state") == {each.name: each.state for each in fleet.planted}
    assert all(each["reason"] for each in scanned.object["repositories"])

    tried = run(fleet, "simulate", str(fleet.list), "--to", "v2", "--json")
    assert tried.code == 1
    assert states(tried.object, "outcome") == {each.name: each.outcome for each in fleet.planted}
    (group,) = tried.object["conflicts"]
    assert group["path"] == "train.py"
    assert sorted(group["names"]) == sorted(each.name for each in fleet.of(outcome="conflict"))

    shown = run(fleet, "report").out
    done = run(fleet, "report", "--html", "fleet.html", "--json")
    assert done.code == 0
    page = (fleet.workshop.folder / "fleet.html").read_text()
    assert all(each.name in shown and each.name in page for each in fleet.planted)
    assert done.object["states"] == dict(Counter(each.state for each in fleet.planted))
    assert "http://" not in page
    assert "https://" not in page


@pytest.mark.parametrize(("budget", "code"), [("0", 1), ("1", 0), ("40%", 1), ("50%", 0)])
def test_a_simulation_fails_over_its_budget(budget: str, code: int) -> None:
    outcomes = [Outcome("a", "clean", ""), Outcome("b", "conflict", ""), Outcome("c", "skipped", "")]
    assert bool(over_budget(outcomes, budget)) is bool(code)


@pytest.mark.parametrize("fleet", SIZES, indirect=True)
def test_a_clean_merge_equals_that_of_labrig_update_and_nothing_is_lost(fleet: Fleet) -> None:
    done = run(fleet, "update", str(fleet.list), "--to", "v2", "--rings", "100%", "--failures", "1000", "--json")
    assert done.code == 3  # some need a person
    clean = fleet.of(outcome="clean")
    assert {each["name"] for each in done.object["repositories"] if each["state"] == "done"} == {
        each.name for each in clean
    }
    for number, each in enumerate(clean):
        folder = fleet.folder / f"{each.name}.git"
        commit = git(folder, "rev-parse", "refs/heads/labrig/update-v2")
        assert git(folder, "rev-parse", f"{commit}^") == git(folder, "rev-parse", "HEAD")
        for path, line in each.mine.items():
            assert line in git(folder, "show", f"{commit}:{path}"), (each.name, path)
        if number < len(KINDS) or each.kind == "edited":
            clone = fleet.workshop.folder / each.name
            git(fleet.workshop.folder, "clone", "--quiet", str(folder), str(clone))
            assert main(["update", str(clone), "--yes", "--no-lock", "--quiet", "--to", "v2"]) == 0
            assert git(clone, "write-tree") == git(folder, "rev-parse", f"{commit}^{{tree}}"), each.name
            shutil.rmtree(clone)
    for each in fleet.planted:
        if each.outcome != "clean" and each.kind not in {"empty", "nothing"}:
            assert git(fleet.folder / f"{each.name}.git", "for-each-ref", "refs/heads/labrig") == ""


def test_a_candidate_that_writes_an_invalid_file_is_found_before_it_is_tagged(fleet: Fleet) -> None:
    names = ("gitlab-*", "old-0*", "untouched-*")
    words = [word for name in names for word in ("--include", name)]
    tried = run(fleet, "simulate", str(fleet.list), "--to", "candidate", *words, "--json")
    assert tried.code == 1
    outcomes = {each["name"].rstrip("-0123456789"): each["outcome"] for each in tried.object["repositories"]}
    assert outcomes == {"gitlab": "invalid", "old": "clean", "untouched": "clean"}
    assert "pyproject.toml" in next(
        each["reason"] for each in tried.object["repositories"] if each["outcome"] == "invalid"
    )


def test_a_change_of_the_policy_is_tried_before_it_is_accepted(fleet: Fleet) -> None:
    policy = fleet.workshop.folder / "policy"
    text = 'locked = ["ci"]\n[defaults]\nci = "github"\n[forbidden]\nsize = ["large"]\n'
    put(policy, {"policy.toml": text, "template/OWNERS.txt": "acme\n"})
    git(policy, "init", "--quiet")
    git(policy, "add", "--all")
    git(policy, "commit", "--quiet", "--message", "Policy")
    kinds = ("untouched", "worked-on", "old", "gitlab")
    words = [word for kind in kinds for word in ("--include", f"{kind}-0*")]
    tried = run(fleet, "simulate", str(fleet.list), "--policy", str(policy), "--to", "v2", "--json", *words)
    planted = [each for each in fleet.planted if each.kind in kinds]
    sizes = {each.name: git(fleet.folder / f"{each.name}.git", "show", f"HEAD:{ANSWERS_FILE}") for each in planted}
    assert states(tried.object, "outcome") == {
        name: "blocked" if "large" in text else "clean" for name, text in sizes.items()
    }
    assert {"blocked", "clean"} == set(states(tried.object, "outcome").values())
    gitlab = next(each for each in tried.object["repositories"] if each["name"].startswith("gitlab"))
    assert gitlab["outcome"] == "blocked" or gitlab["answers"] == {"ci": "github"}
    scanned = run(fleet, "scan", str(fleet.list), "--policy", str(policy), "--json", *words)
    assert set(states(scanned.object, "state").values()) == {"drifted"}


MANIFEST = """\
[project]
name = "demo"
version = "1"
requires-python = ">=3.11"
dependencies = []
"""


def test_a_lock_is_made_anew_and_one_that_does_not_resolve_is_found(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.chdir(workshop.folder)
    question = "package_manager: {type: str, default: uv}\n"
    workshop.release("v1", {"pyproject.toml": MANIFEST}, question)
    workshop.generate({})
    assert subprocess.run(["uv", "lock", "--quiet"], cwd=workshop.root, check=False).returncode == 0
    workshop.commit()
    workshop.release("v2", {"pyproject.toml": MANIFEST.replace("3.11", "3.12")})
    broken = MANIFEST.replace("[]", '["nothing"]') + '[tool.uv.sources]\nnothing = { path = "nowhere" }\n'
    workshop.release("v3", {"pyproject.toml": broken})
    fleet = workshop.folder / "fleet"
    fleet.mkdir()
    git(workshop.folder, "clone", "--quiet", "--bare", str(workshop.root), str(fleet / "demo.git"))
    workshop.root = workshop.folder

    tried = workshop.labrig("fleet", "simulate", "fleet", "--to", "v3", "--locks", "--json").object
    assert [each["outcome"] for each in tried["repositories"]] == ["invalid"]
    assert "uv.lock does not resolve" in tried["repositories"][0]["reason"]
    assert workshop.labrig("fleet", "update", "fleet", "--to", "v3").code == 3
    assert git(fleet / "demo.git", "for-each-ref", "refs/heads/labrig") == ""

    assert workshop.labrig("fleet", "simulate", "fleet", "--to", "v2", "--locks").code == 0
    assert workshop.labrig("fleet", "update", "fleet", "--to", "v2").code == 0
    proposed = git(fleet / "demo.git", "rev-parse", "labrig/update-v2^{tree}")
    assert 'requires-python = ">=3.12"' in git(fleet / "demo.git", "show", "labrig/update-v2:uv.lock")
    assert main(["update", str(workshop.folder / "demo"), "--to", "v2", "--yes", "--quiet"]) == 0
    assert git(workshop.folder / "demo", "write-tree") == proposed


def test_a_simulation_writes_nothing(fleet: Fleet) -> None:
    def all_files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in sorted(fleet.folder.rglob("*")) if path.is_file()}

    before = all_files()
    run(fleet, "simulate", str(fleet.list), "--to", "v2")
    run(fleet, "scan", str(fleet.list))
    assert all_files() == before


def test_shards_together_are_the_whole(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("".join(f"r{number}.git\n" for number in range(20)))
    parts = [members(str(tmp_path / "list.txt"), Selection(shard=(part, 3))) for part in (1, 2, 3)]
    assert sorted(member.name for part in parts for member in part) == sorted(f"r{number}" for number in range(20))


def on_executor(fleet: Fleet, *words: str) -> dict[str, Any]:
    """What a scan finds in a process of its own, without what depends on the moment."""
    program = "import sys; from labrig.cli import main; sys.exit(main(sys.argv[1:]))"
    guarded = f"if __name__ == '__main__':\n {program}"
    script = fleet.workshop.folder / "run.py"
    script.write_text(guarded)
    done = subprocess.run(
        [sys.executable, str(script), "fleet", "scan", str(fleet.list), "--json", *words],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 1, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_two_processes_find_what_one_finds(fleet: Fleet) -> None:
    assert on_executor(fleet, "--jobs", "2") == on_executor(fleet, "--jobs", "1")


@pytest.mark.complete
def test_a_dask_cluster_finds_what_one_process_finds(fleet: Fleet) -> None:
    assert on_executor(fleet, "--executor", "dask_cluster:executor") == on_executor(fleet, "--jobs", "1")


def test_what_a_repository_says_cannot_act_on_the_page() -> None:
    name = "<script>alert(1)</script>"
    row = {"name": name, "state": name, "reason": name, "version": name, "outcome": name, "outcome_reason": name}
    row |= {"requests": [{"state": name, "result": name, "url": "javascript:alert(1)"}]}  # type: ignore[dict-item]
    content = {
        "place": name,
        "scanned": name,
        "simulated": {"started": name, "target": {"to": name}},
        "states": {name: 1},
        "outcomes": {name: 1},
        "history": [{"time": name, "states": {"behind": 2}}] * 2,
        "rules": {name: 1},
        "conflicts": {name: 1},
        "campaigns": [{"id": name, "state": name, "reason": name, "rings": [{"ring": 1, "states": {name: 1}}]}],
        "repositories": [row],
    }
    page = render(content)
    assert "<script>alert" not in page
    assert "javascript:" not in page


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("docs/fleet/fleet.yml", ["vendor.github-workflows"]),
        ("docs/fleet/fleet.gitlab-ci.yml", ["vendor.gitlab-ci", "--data-transform", "gitlab-ci"]),
    ],
)
def test_the_workflows_to_copy_are_valid_and_call_commands_that_there_are(path: str, words: list[str]) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", *words, path]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0
    called = re.findall(r"uvx labrig fleet (\w+)([^\n]*(?:\n +--[^\n]*)*)", (ROOT / path).read_text())
    assert {name for name, _ in called} == {"scan", "report", "simulate", "update"}
    for name, rest in called:
        shown = subprocess.run(
            [sys.executable, "-m", "labrig", "fleet", name, "--help"], capture_output=True, text=True, check=True
        )
        for option in re.findall(r"--[a-z-]+", rest):
            assert option in shown.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["scan", "nowhere"], "there are no repositories at 'nowhere'"),
        (["scan", "fleet/list.txt", "--include", "x"], "there is no repository in fleet/list.txt"),
        (["scan", "fleet/twice.txt"], "two repositories in fleet/twice.txt are called nothing"),
        (["scan", "fleet/list.txt", "--shard", "4/3"], "--shard takes I/N"),
        (["scan", "fleet/list.txt", "--executor", "nothing:here"], "there is no executor 'nothing:here'"),
        (["simulate", "fleet/list.txt", "--budget", "few"], "--budget takes a number"),
        (["report"], "the ledger is empty"),
        (["report", "--ledger", "fleet/list.txt"], "is no ledger"),
        (["revert", "nothing"], "there is no campaign 'nothing'"),
        (["update", "fleet/list.txt", "--campaign", "a b"], "cannot be the name of a campaign"),
    ],
)
def test_wrong_use_is_one_sentence(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fleet").mkdir()
    (tmp_path / "fleet/list.txt").write_text("nothing.git\n")
    (tmp_path / "fleet/twice.txt").write_text("a/nothing.git\nb/nothing.git\n")
    assert main(["fleet", *words]) == 2
    said = capfd.readouterr().err
    assert message in said
    assert "Traceback" not in said


def in_browser(page: Path, *words: str) -> tuple[str, list[str]]:
    """What a browser makes of a page, and what it says on its console."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("there is no Chromium to open the page in")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--window-size=1200,1600"]
    command = [browser, *options, f"--user-data-dir={page.parent / 'browser'}", *words, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.complete
def test_a_browser_shows_the_page_without_an_error_and_searches_it(fleet: Fleet) -> None:
    for _ in range(2):
        run(fleet, "scan", str(fleet.list))
        run(fleet, "update", str(fleet.list), "--to", "v2", "--rings", "100%", "--failures", "1000")
    run(fleet, "simulate", str(fleet.list), "--to", "v2")
    page = fleet.workshop.folder / "fleet.html"
    run(fleet, "report", "--html", str(page))
    search = "<script>const field = document.getElementById('search'); field.value = 'conflict-0'; "
    search += "field.dispatchEvent(new Event('input')); const shown = document.querySelectorAll("
    search += "'#repositories tbody tr:not([hidden])').length; document.title = `${shown} shown`;</script>"
    searched = page.with_name("searched.html")
    searched.write_text(page.read_text().replace("</body>", f"{search}</body>"))
    dom, said = in_browser(searched, "--dump-dom")
    assert said == []
    assert "<title>1 shown</title>" in dom
    broken = page.with_name("broken.html")
    broken.write_text(page.read_text().replace("</body>", "<script>nothing()</script></body>"))
    assert in_browser(broken, "--dump-dom")[1]
    in_browser(page, f"--screenshot={page.with_suffix('.png')}")
    assert page.with_suffix(".png").stat().st_size > 20_000
