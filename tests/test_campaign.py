"""Rollouts: real git over HTTP, a host's API on the loopback interface, and everything that can go wrong with them."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fleets import FILES, QUESTIONS, Bare
from hosts.code_host import TOKEN, CodeHost, Fault, code_host
from workshop import LINES, Run, Workshop, git, put
from workshop import workshop as workshop  # noqa: PLC0414 - a fixture

from labrig.fleet import campaign as campaigns
from labrig.fleet import host as hosts
from labrig.fleet.inventory import Member
from labrig.fleet.ledger import Campaign, open_ledger

BRANCH = "labrig/update-v2"


class Group:
    """Repositories of the owner `acme`, and the host that serves them."""

    def __init__(self, workshop: Workshop, host: CodeHost, names: list[str]) -> None:
        self.workshop = workshop
        self.host = host
        self.names = names

    def run(self, *words: str) -> Run:
        return self.workshop.labrig("fleet", *words)

    def update(self, *words: str) -> Run:
        done = self.run("update", "gh:acme", "--to", "v2", "--spacing", "0", "--json", *words)
        assert TOKEN not in done.out + done.err
        return done

    def states(self, done: Run) -> dict[str, str]:
        return {each["name"].partition("/")[2]: each["state"] for each in done.object["repositories"]}

    def requests(self) -> dict[str, int]:
        """How many requests each repository ever had."""
        return {name: len(self.host.pulls.get(f"acme/{name}", [])) for name in self.names}

    def branches(self) -> dict[str, list[str]]:
        found = {}
        for name in self.names:
            text = git(self.folder(name), "for-each-ref", "--format=%(refname:short)", "refs/heads/labrig")
            found[name] = text.split()
        return found

    def folder(self, name: str) -> Path:
        return self.host.root / "acme" / f"{name}.git"

    def tips(self) -> dict[str, str]:
        """The commit of our branch in each repository that has it."""
        return {
            name: git(self.folder(name), "rev-parse", f"refs/heads/{branches[0]}")
            for name, branches in self.branches().items()
            if branches
        }

    def work_on(self, name: str, files: dict[str, str]) -> str:
        """Let somebody add files to the default branch; returns its new tip."""
        clone = self.workshop.folder / "clone"
        git(self.workshop.folder, "clone", "--quiet", str(self.folder(name)), str(clone))
        put(clone, files)
        git(clone, "add", "--all")
        git(clone, "commit", "--quiet", "--message", "More")
        git(clone, "push", "--quiet")
        shutil.rmtree(clone)
        return git(self.folder(name), "rev-parse", "HEAD")

    def merge(self, name: str) -> None:
        """Take a request over, as a person would with its button."""
        commit = git(self.folder(name), "rev-parse", f"refs/heads/{BRANCH}")
        git(self.folder(name), "update-ref", "refs/heads/main", commit)
        for pull in self.host.pulls[f"acme/{name}"]:
            pull |= {"state": "closed", "merged_at": "2026-01-01T00:00:00Z"}


NAMES = ["a", "b", "c", "conflict"]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """A template with two versions, and four repositories of the first one, one of which conflicts with the second."""
    settings = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    for role in ("AUTHOR", "COMMITTER"):
        settings |= {f"GIT_{role}_NAME": "Ada", f"GIT_{role}_EMAIL": "ada@example.org"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        made = Workshop(tmp_path_factory.mktemp("campaign"))
        made.release("v1", FILES, QUESTIONS)
        made.release("v2", {"train.py": LINES.replace("line 5\n", "line 5 of v2\n")})
        plant(made, made.folder / "hosted", NAMES)
    return made


def plant(workshop: Workshop, root: Path, names: list[str]) -> None:
    """Repositories of the first version."""
    files = workshop.render("v1")
    for name in names:
        mine = {"own.py": f"name = '{name}'\n".encode()}
        if name.startswith("conflict"):
            mine["train.py"] = files["train.py"].replace(b"line 5\n", b"line 5, mine\n")
        Bare(root / "acme" / f"{name}.git").commit({**files, **mine})


@pytest.fixture
def group(workshop: Workshop, original: Workshop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Group]:
    """The repositories at a host."""
    shutil.copytree(original.folder / "hosted", workshop.folder / "hosted")
    workshop.root, workshop.template = workshop.folder, original.template
    with code_host(workshop.folder / "hosted") as host:
        for name, value in host.variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("XDG_CACHE_HOME", str(workshop.folder / "cache"))
        monkeypatch.setattr(hosts, "_backoff_seconds", lambda attempt: 0.01 * attempt)
        yield Group(workshop, host, NAMES)


def test_every_repository_gets_one_branch_and_one_request_with_the_plan(group: Group) -> None:
    done = group.update("--rings", "100%")
    assert done.code == 3  # one needs a person
    assert group.states(done) == {"a": "requested", "b": "requested", "c": "requested", "conflict": "conflict"}
    assert group.requests() == {"a": 1, "b": 1, "c": 1, "conflict": 0}
    assert group.branches() == {"a": [BRANCH], "b": [BRANCH], "c": [BRANCH], "conflict": []}
    (pull,) = group.host.pulls["acme/a"]
    assert (pull["title"], pull["base"], pull["draft"]) == ("Update the template to v2", "main", False)
    assert "- `train.py`: changed" in pull["body"]
    again = group.update("--rings", "100%")
    assert group.states(again) == group.states(done)
    assert group.requests() == {"a": 1, "b": 1, "c": 1, "conflict": 0}
    assert "requested" in group.run("log", "update-v2", "acme/a").out


def test_conflict_markers_are_proposed_as_a_draft_and_only_when_asked_for(group: Group) -> None:
    group.update("--rings", "100%", "--drafts")
    (pull,) = group.host.pulls["acme/conflict"]
    assert pull["draft"] is True
    assert "**conflict** in `train.py`" in pull["body"]
    assert "<<<<<<< " in git(group.folder("conflict"), "show", f"{BRANCH}:train.py")


def test_the_next_ring_waits_for_ci_and_halts_at_what_is_newly_broken(group: Group) -> None:
    tips = {name: git(group.folder(name), "rev-parse", "HEAD") for name in group.names}
    answers: dict[str, dict[str, str]] = {"a": {"test": "running"}}

    def ci(name: str, commit: str) -> dict[str, str]:
        short = name.partition("/")[2]
        return {"test": "passed", "old": "failed"} if commit == tips[short] else answers.get(short, {})

    group.host.ci = ci
    waiting = group.update("--rings", "a,b,100%")
    assert (waiting.code, waiting.object["state"]) == (0, "running")
    assert "still running" in waiting.object["reason"]
    assert group.requests() == {"a": 1, "b": 0, "c": 0, "conflict": 0}

    answers |= {"a": {"test": "passed", "old": "failed"}, "b": {"test": "failed"}}  # `old` failed before
    halted = group.update("--rings", "a,b,100%")
    assert (halted.code, halted.object["state"]) == (1, "halted")
    assert halted.object["reason"] == "ring 2: CI fails, and did not before, in acme/b"
    assert group.requests() == {"a": 1, "b": 1, "c": 0, "conflict": 0}

    answers["b"] = {"test": "passed"}
    assert group.update("--rings", "a,b,100%").object["state"] == "done"
    assert group.requests() == {"a": 1, "b": 1, "c": 1, "conflict": 0}


def test_a_campaign_goes_on_with_more_rings(group: Group) -> None:
    first = group.update("--rings", "a")
    assert (first.object["state"], first.object["reason"]) == (
        "running",
        "3 repositories are in no ring yet: --rings ...,100%",
    )
    assert group.requests() == {"a": 1, "b": 0, "c": 0, "conflict": 0}
    done = group.update("--rings", "a,100%")
    assert done.object["state"] == "done"
    assert {each["name"]: each["ring"] for each in done.object["repositories"]} == {
        "acme/a": 0,
        "acme/b": 1,
        "acme/c": 1,
        "acme/conflict": 1,
    }
    assert group.requests() == {"a": 1, "b": 1, "c": 1, "conflict": 0}
    wrong = group.update("--rings", "z*", "--campaign", "other")
    assert (wrong.code, wrong.object["error"]["message"]) == (2, "nobody is in the ring 'z*'")


def test_no_more_requests_are_open_than_wanted(group: Group) -> None:
    done = group.update("--rings", "100%", "--most-open", "2")
    assert done.object["state"] == "running"
    assert sum(group.requests().values()) == 2
    for name, number in group.requests().items():
        if number:
            group.merge(name)
    assert group.update("--rings", "100%", "--most-open", "2").object["state"] == "done"
    assert group.requests() == {"a": 1, "b": 1, "c": 1, "conflict": 0}


PASSING = [
    [
        Fault("POST", "/acme/a/pulls", 403, {"Retry-After": "0"}),
        Fault("POST", "/acme/b/pulls", 429, {"Retry-After": "0"}, times=2),
        Fault("POST", "/acme/c/pulls", 502, times=2),
        Fault("GET", "/orgs/acme/repos", 500, times=2),
    ],
    [
        Fault("POST", "/acme/a/pulls", 502, done=True),
        Fault("POST", "/acme/b/pulls", 0, done=True),
        Fault("POST", "/acme/c/pulls", 0),
        Fault("GET", "/acme/a/pulls", 503, times=2),
        Fault("POST", "/acme/b.git/git-receive-pack", 0, done=True),
    ],
]


@pytest.mark.parametrize("faults", PASSING)
def test_what_passes_is_waited_for_and_nothing_is_done_twice(
    faults: list[Fault], group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "random", lambda: 0.0)
    group.host.faults = [replace(fault) for fault in faults]
    done = group.update("--rings", "100%")
    assert group.states(done) == {"a": "requested", "b": "requested", "c": "requested", "conflict": "conflict"}
    assert group.requests() == {"a": 1, "b": 1, "c": 1, "conflict": 0}
    assert [fault.times for fault in group.host.faults] == [0] * len(faults)


REFUSALS = [
    (
        {"a": "the token may not write", "b": "or does not show it", "c": "answers 422"},
        [
            Fault("POST", "/acme/a/pulls", 403),
            Fault("POST", "/acme/b/pulls", 404),
            Fault("POST", "/acme/c/pulls", 422),
        ],
    ),
    (
        {"a": "cannot be pushed to", "b": "cannot be fetched", "c": "has moved"},
        [
            Fault("POST", "/acme/a.git/git-receive-pack", 403),
            Fault("GET", "/acme/b.git/info/refs", 404),
            Fault("POST", "/acme/c/pulls", 307, {"Location": "http://127.0.0.1:9/elsewhere"}),
        ],
    ),
]


@pytest.mark.parametrize(("messages", "faults"), REFUSALS)
def test_what_does_not_pass_is_written_down_and_the_others_go_on(
    messages: dict[str, str], faults: list[Fault], group: Group
) -> None:
    group.host.faults = [replace(fault) for fault in faults]
    done = group.update("--rings", "100%")
    assert (done.code, done.object["state"]) == (1, "halted")
    expected = {name: "failed" if name in messages else "requested" for name in "abc"}
    assert group.states(done) == {**expected, "conflict": "conflict"}
    reasons = {each["name"].partition("/")[2]: each["reason"] for each in done.object["repositories"]}
    for name, message in messages.items():
        assert message in reasons[name]
    assert group.states(group.update("--rings", "100%")) == group.states(done)
    before = group.tips()
    group.work_on("a", {"later.py": "x = 1\n"})  # the next commit would be another one
    again = group.update("--rings", "100%", "--failed")
    assert group.states(again) == {"a": "requested", "b": "requested", "c": "requested", "conflict": "conflict"}
    assert group.requests() == {"a": 1, "b": 1, "c": 1, "conflict": 0}
    assert {**group.tips(), **before} == group.tips()


def test_a_branch_of_somebody_else_is_left_alone(group: Group) -> None:
    git(group.folder("a"), "update-ref", f"refs/heads/{BRANCH}", "refs/heads/main")
    done = group.update("--rings", "100%", "--failures", "1")
    assert group.states(done)["a"] == "failed"
    assert "did not make" in group.run("log", "update-v2", "acme/a").out
    assert git(group.folder("a"), "rev-parse", BRANCH) == git(group.folder("a"), "rev-parse", "main")


def test_a_revert_closes_what_is_open_and_takes_back_what_was_merged(group: Group) -> None:
    group.update("--rings", "100%")
    before = git(group.folder("a"), "rev-parse", "main^{tree}")
    group.merge("a")
    group.merge("c")
    group.work_on("c", {"later.py": "x = 1\n"})
    done = group.run("revert", "update-v2", "--spacing", "0", "--json")
    assert done.code == 0
    assert [pull["state"] for pull in group.host.pulls["acme/b"]] == ["closed"]
    assert group.states(done) == {"a": "requested", "c": "requested"}
    assert git(group.folder("c"), "show", "labrig/revert-update-v2:later.py") == "x = 1"  # what came since stays
    assert "line 5\n" in git(group.folder("c"), "show", "labrig/revert-update-v2:train.py")
    reverse = git(group.folder("a"), "rev-parse", "labrig/revert-update-v2^{tree}")
    assert reverse == before
    assert group.host.pulls["acme/a"][1]["title"] == "Undo: update-v2"


def test_two_campaigns_at_once_exclude_each_other(group: Group) -> None:
    with open_ledger(group.workshop.folder / "labrig-fleet.sqlite", alone=True):
        done = group.update()
    assert done.code == 1
    assert "another campaign is working" in done.object["error"]["message"]


def test_a_campaign_does_not_change_what_it_is_about(group: Group) -> None:
    group.update("--rings", "100%", "--campaign", "x")
    done = group.run("update", "gh:acme", "--to", "v1", "--campaign", "x", "--json")
    assert done.code == 2
    assert "is about something else" in done.object["error"]["message"]


def test_writes_keep_their_distance(group: Group) -> None:
    waits: list[float] = []
    host = hosts.open_host("github", spacing_seconds=50)
    host.client.sleep = waits.append
    group.host.pulls["acme/a"] = [{"number": 1, "state": "open"}]
    for _ in range(2):
        host.close(Member("acme/a", "", "github"), 1)
        host.results(Member("acme/a", "", "github"), "0" * 40)  # what is only read need not wait
    assert len(waits) == 2
    assert waits[0] == 0
    assert 45 < waits[1] <= 50


def test_an_owner_s_repositories_are_all_found_with_topics_and_archives(group: Group) -> None:
    group.host.topics = {"acme/a": ["vision"], "acme/b": ["vision"]}
    group.host.archived = {"acme/b"}
    found = group.run("scan", "gh:acme", "--json").object["repositories"]
    assert {each["name"]: each["state"] for each in found} == {
        "acme/a": "behind",
        "acme/b": "archived",
        "acme/c": "behind",
        "acme/conflict": "behind",
    }
    found = group.run("scan", "gh:acme", "--topic", "vision", "--exclude", "b", "--json").object["repositories"]
    assert [each["name"] for each in found] == ["acme/a"]
    (group.host.root / "acme").rename(group.host.root / "ada")  # a user is no organization
    assert len(group.run("scan", "gh:ada", "--json").object["repositories"]) == 4


def test_mirrors_are_fetched_again_only_where_something_is_new(group: Group) -> None:
    first = {each["name"]: each["head"] for each in group.run("scan", "gh:acme", "--json").object["repositories"]}
    tip = group.work_on("a", {"own.py": "x = 1\n"})
    second = {each["name"]: each for each in group.run("scan", "gh:acme", "--json").object["repositories"]}
    assert second["acme/a"]["head"] == tip != first["acme/a"]
    assert {name: each["head"] for name, each in second.items() if name != "acme/a"} == {
        name: head for name, head in first.items() if name != "acme/a"
    }
    mirrors = list((group.workshop.folder / "cache/labrig/mirrors").iterdir())
    assert len(mirrors) == 4
    (mirrors[0] / "HEAD").write_text("spoiled")
    assert group.run("scan", "gh:acme", "--json").code == 0  # a cache may always be made anew


def test_gitlab_gets_merge_requests(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GH_TOKEN")
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://github.com")
    monkeypatch.setattr("hosts.code_host.CodeHost._git", _with_user("oauth2"))
    done = group.run("update", "gl:acme", "--to", "v2", "--rings", "100%", "--spacing", "0", "--json")
    assert group.states(done) == {"a": "requested", "b": "requested", "c": "requested", "conflict": "conflict"}
    (opened,) = group.host.pulls["acme/a"]
    assert (opened["source_branch"], opened["target_branch"]) == (BRANCH, "main")
    assert group.run("revert", "update-v2", "--spacing", "0").code == 0
    assert opened["state"] == "closed"


def _with_user(user: str) -> Any:
    original = CodeHost._git

    def serve(self: CodeHost, request: Any, *words: Any) -> Any:
        import base64  # noqa: PLC0415

        for name, key in ((user, "x-access-token"),):
            given = base64.b64encode(f"{name}:{TOKEN}".encode()).decode()
            if request.headers.get("Authorization") == f"Basic {given}":
                request.headers.replace_header(
                    "Authorization", "Basic " + base64.b64encode(f"{key}:{TOKEN}".encode()).decode()
                )
        return original(self, request, *words)

    return serve


def test_without_a_token_or_with_a_wrong_one_it_is_said_what_is_needed(
    group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GH_TOKEN", "wrong")
    done = group.run("scan", "gh:acme")
    assert done.code == 1
    assert "does not take the token" in done.err
    assert "pull requests" in done.err
    monkeypatch.delenv("GH_TOKEN")
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))  # where there is no gh
    done = group.run("scan", "gh:acme")
    assert done.code == 1
    (group.workshop.folder / "list.txt").write_text(f"{group.host.url}/acme/a.git\n")
    monkeypatch.setattr("labrig.fleet.inventory.HOSTS", {re.escape(group.host.url): "github"})
    assert "there is no token" in group.run("update", "list.txt", "--to", "v2").err
    assert not (group.folder("a") / "refs/heads/labrig").exists()
    assert re.match(r"error: there is no token for [^\n]+\n  cause: [^\n]+\n  tip: export GH_TOKEN", done.err)


def test_a_limit_is_waited_for_as_long_as_the_host_says() -> None:
    from email.message import Message  # noqa: PLC0415

    def seconds(status: int, body: str = "", **headers: str) -> float | None:
        message = Message()
        for name, value in headers.items():
            message[name.replace("_", "-")] = value
        return hosts._limit_seconds(status, message, body)

    assert 7 <= (seconds(429, Retry_After="7") or 0) <= 8
    reset = {"X_RateLimit_Remaining": "0", "X_RateLimit_Reset": str(time.time() + 20)}
    assert 20 <= (seconds(403, **reset) or 0) <= 22
    assert 60 <= (seconds(403, "You have exceeded a secondary rate limit") or 0) <= 61
    assert seconds(403) is None
    assert seconds(404) is None


def test_rings_grow_and_hold_everybody_once() -> None:
    members = [Member(f"acme/{letter}{number}", "") for letter in "ab" for number in range(50)]
    made = Campaign("x", "", {}, ["1", "5%", "b1*", "100%"], "")
    actions = campaigns.plan(made, members)
    rings = [[action.name for action in actions if action.ring == ring] for ring in range(4)]
    assert sorted(name for ring in rings for name in ring) == sorted(member.name for member in members)
    assert (len(rings[0]), len(rings[1])) == (1, 4)
    assert all(name.startswith("acme/b1") for name in rings[2])
    other = campaigns.plan(Campaign("y", "", {}, ["1", "100%"], ""), members)
    assert [action.name for action in actions] != [action.name for action in other]


def test_a_ring_is_those_of_a_topic_too() -> None:
    members = [Member(f"acme/{name}", "", topics=topics) for name, topics in [("a", ()), ("b", ("vision", "pilot"))]]
    actions = campaigns.plan(Campaign("x", "", {}, ["pilot", "100%"], ""), members)
    assert {action.name: action.ring for action in actions} == {"acme/b": 0, "acme/a": 1}


@pytest.mark.complete
def test_killed_at_twenty_moments_each_repository_has_one_branch_and_one_request(
    workshop: Workshop, original: Workshop
) -> None:
    chance = random.Random(8)
    names = [f"r{number}" for number in range(40)]
    plant(original, workshop.folder / "hosted", names)
    with code_host(workshop.folder / "hosted") as host:
        group = Group(workshop, host, names)
        words = ["fleet", "update", "gh:acme", "--to", "v2", "--rings", "1,25%,100%", "--spacing", "0.02", "--quiet"]
        command = [sys.executable, "-m", "labrig", *words]
        environment = {**os.environ, **host.variables, "XDG_CACHE_HOME": str(workshop.folder / "cache")}
        kills = 0
        while kills < 20:
            before = sum(group.requests().values())
            process = subprocess.Popen(command, cwd=workshop.folder, env=environment, stderr=subprocess.DEVNULL)
            # It is killed a moment after it has begun to change something, else after it has started.
            deadline = time.monotonic() + 20
            wanted = before + chance.choice([0, 1, 2])
            while sum(group.requests().values()) < wanted and time.monotonic() < deadline:
                time.sleep(0.002)
            time.sleep(chance.random() * (0.2 if wanted > before else 1.5))
            if process.poll() is not None:
                break
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
        done = subprocess.run(
            command, cwd=workshop.folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert kills == 20
        assert group.requests() == dict.fromkeys(names, 1)
        assert group.branches() == {name: [BRANCH] for name in names}
