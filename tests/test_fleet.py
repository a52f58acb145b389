"""Fleets: what is reported of many repositories equals what was planted in them, and nothing of it is lost."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fleets import KINDS, Fleet
from workshop import Run, Workshop, git
from workshop import workshop as workshop  # noqa: PLC0414 - a fixture

from labrig.cli import main
from labrig.fleet.page import render

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

    failed = sum(each.outcome in {"conflict", "blocked"} for each in fleet.planted)
    assert run(fleet, "simulate", str(fleet.list), "--to", "v2", "--budget", str(failed)).code == 0
    assert run(fleet, "simulate", str(fleet.list), "--to", "v2", "--budget", str(failed - 1)).code == 1


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


def test_a_simulation_writes_nothing(fleet: Fleet) -> None:
    def all_files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in sorted(fleet.folder.rglob("*")) if path.is_file()}

    before = all_files()
    run(fleet, "simulate", str(fleet.list), "--to", "v2")
    run(fleet, "scan", str(fleet.list))
    assert all_files() == before


def test_shards_together_are_the_whole(fleet: Fleet) -> None:
    names: Counter[str] = Counter()
    for part in ("1/3", "2/3", "3/3"):
        found = run(fleet, "scan", str(fleet.list), "--shard", part, "--json").object
        names.update(each["name"] for each in found["repositories"])
    assert names == Counter(each.name for each in fleet.planted)


def test_the_table_and_the_page_show_every_repository(fleet: Fleet) -> None:
    run(fleet, "scan", str(fleet.list))
    run(fleet, "simulate", str(fleet.list), "--to", "v2")
    shown = run(fleet, "report").out
    done = run(fleet, "report", "--html", "fleet.html", "--json")
    assert done.code == 0
    page = (fleet.workshop.folder / "fleet.html").read_text()
    for each in fleet.planted:
        assert each.name in shown
        assert each.name in page
    assert json.loads(done.out)["states"] == dict(Counter(each.state for each in fleet.planted))
    assert "http://" not in page
    assert "https://" not in page


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
    ("words", "message"),
    [
        (["scan", "nowhere"], "there are no repositories at 'nowhere'"),
        (["scan", "fleet/list.txt", "--include", "x"], "there is no repository in fleet/list.txt"),
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
    assert main(["fleet", *words]) == 2
    said = capfd.readouterr().err
    assert message in said
    assert "Traceback" not in said
