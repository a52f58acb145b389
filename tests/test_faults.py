"""Whatever state a repository is in, and whatever stops an update: it is as before or updated, and a retry works."""

from __future__ import annotations

import itertools
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from workshop import LINES, Workshop, git, put
from workshop import workshop as workshop  # noqa: PLC0414 - a fixture

from labrig.cli import main

V2 = LINES.replace("line 5\n", "line 5, second version\n")
MINE = LINES.replace("line 30\n", "line 30, mine\n")
BOTH = V2.replace("line 30\n", "line 30, mine\n")
LABRIG = [sys.executable, "-m", "labrig", "update", "--yes"]
FILES = 60


@pytest.fixture
def edited(workshop: Workshop) -> Workshop:
    """A repository with an edit of the user's, and a template that has gone on."""
    workshop.release("v1", {"a.txt": LINES, "b.txt": "b\n", "old.txt": "old\n"})
    workshop.release("v2", {"a.txt": V2, "old.txt": None, "new/c.txt": "c\n"})
    workshop.generate()
    workshop.change({"a.txt": MINE})
    return workshop


def is_updated(workshop: Workshop) -> bool:
    return workshop.read("a.txt") == BOTH and workshop.read("new/c.txt") == "c\n"


def conflict(workshop: Workshop, command: str) -> None:
    """Leave a merge, a rebase, a cherry-pick or a revert under way."""
    git(workshop.root, "branch", "other")
    workshop.change({"b.txt": "one\n"})
    git(workshop.root, "checkout", "--quiet", "other")
    workshop.change({"b.txt": "two\n"})
    git(workshop.root, command, "main", check=False)


# States


@pytest.mark.parametrize("command", ["merge", "rebase", "cherry-pick", "revert"])
def test_what_is_under_way_comes_first(edited: Workshop, command: str) -> None:
    conflict(edited, command)
    git(edited.root, "reset", "--quiet", "--hard", check=False) if command == "rebase" else None
    before = edited.state()
    done = edited.labrig("update")
    assert done.code == 2
    assert "is under way" in done.err
    assert "--abort" in done.err
    assert edited.state() == before


def test_a_conflict_that_was_left_comes_first(edited: Workshop) -> None:
    conflict(edited, "merge")
    (edited.root / ".git/MERGE_HEAD").unlink()
    done = edited.labrig("update")
    assert done.code == 2
    assert "b.txt has a conflict that is not resolved" in done.err


@pytest.mark.parametrize("staged", [False, True])
def test_changes_that_are_not_committed_stop_it(edited: Workshop, staged: bool) -> None:
    put(edited.root, {"b.txt": "changed\n"})
    if staged:
        git(edited.root, "add", "b.txt")
    before = edited.state()
    assert edited.labrig("update").code == 2
    assert edited.state() == before


def test_untracked_files_stay_where_they_are(edited: Workshop) -> None:
    put(edited.root, {"notes.txt": "mine\n", "new/mine.txt": "mine\n"})
    assert edited.labrig("update").code == 0
    assert edited.read("notes.txt") == "mine\n"
    assert edited.read("new/mine.txt") == "mine\n"
    assert is_updated(edited)


@pytest.mark.parametrize("name", ["new/c.txt", "new"])
def test_untracked_files_in_the_way_are_named(edited: Workshop, name: str) -> None:
    put(edited.root, {name: "mine\n"})
    before = edited.state()
    done = edited.labrig("update")
    assert done.code == 2
    assert f"in the way: {name}" in done.err
    assert edited.state() == before


def test_a_folder_with_untracked_files_where_a_file_would_be_is_named(edited: Workshop) -> None:
    edited.release("v3", {"notes": "a file\n"})
    put(edited.root, {"notes/mine.txt": "mine\n"})
    done = edited.labrig("update")
    assert done.code == 2
    assert "in the way: notes/mine.txt" in done.err


def test_a_detached_head_is_fine(edited: Workshop) -> None:
    git(edited.root, "checkout", "--quiet", "--detach")
    assert edited.labrig("update").code == 0
    assert is_updated(edited)


def test_a_branch_without_a_commit_is_a_sentence(edited: Workshop) -> None:
    git(edited.root, "checkout", "--quiet", "--orphan", "empty")
    done = edited.labrig("update")
    assert done.code == 2
    assert "has no commit yet" in done.err


def test_no_repository_is_a_sentence(edited: Workshop) -> None:
    shutil.rmtree(edited.root / ".git")
    done = edited.labrig("update")
    assert done.code == 2
    assert "is no git repository" in done.err


def test_a_shallow_clone_is_fine(edited: Workshop) -> None:
    origin, edited.root = edited.root, edited.folder / "clone"
    git(edited.folder, "clone", "--quiet", "--depth=1", f"file://{origin}", "clone")
    assert edited.labrig("update").code == 0
    assert is_updated(edited)


def test_a_partial_clone_is_fine(edited: Workshop) -> None:
    git(edited.root, "config", "uploadpack.allowFilter", "true")
    origin, edited.root = edited.root, edited.folder / "clone"
    git(edited.folder, "clone", "--quiet", "--filter=blob:none", "--sparse", f"file://{origin}", "clone")
    assert edited.labrig("update").code == 0
    assert is_updated(edited)


def test_a_worktree_is_fine(edited: Workshop) -> None:
    git(edited.root, "worktree", "add", "--quiet", str(edited.folder / "tree"))
    main, edited.root = edited.root, edited.folder / "tree"
    assert edited.labrig("update").code == 0
    assert is_updated(edited)
    assert not git(main, "status", "--porcelain")


def test_a_folder_that_git_lies_elsewhere_for_is_fine(edited: Workshop) -> None:
    git(edited.root, "init", "--quiet", f"--separate-git-dir={edited.folder}/elsewhere")
    assert edited.labrig("update").code == 0
    assert is_updated(edited)


@pytest.mark.parametrize("index", [False, True], ids=["plain index", "sparse index"])
def test_a_sparse_checkout_stays_sparse(edited: Workshop, index: bool) -> None:
    edited.change({"far/mine.txt": "mine\n"})
    edited.release("v3", {"far/theirs.txt": "theirs\n"})
    edited.release("v4", {"far/theirs.txt": "theirs, changed\n", "new/d.txt": "d\n"})
    assert edited.labrig("update", "--to", "v3").code == 0
    edited.commit()
    git(edited.root, "sparse-checkout", "set", *(["--sparse-index"] if index else []), "new")
    assert not (edited.root / "far").exists()
    assert edited.labrig("update").code == 0
    assert not (edited.root / "far").exists()
    assert git(edited.root, "show", ":far/theirs.txt") == "theirs, changed"
    assert sorted(line for line in edited.status()) == ["A  new/d.txt", "M  .copier-answers.yml", "M  far/theirs.txt"]


def test_a_submodule_is_not_touched(edited: Workshop) -> None:
    other = edited.folder / "other"
    other.mkdir()
    git(other, "init", "--quiet")
    put(other, {"x": "x\n"})
    git(other, "add", ".")
    git(other, "commit", "--quiet", "--message", "x")
    git(edited.root, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), "vendor")
    edited.commit()
    put(edited.root, {"vendor/x": "dirty\n"})
    assert edited.labrig("update").code == 0
    assert is_updated(edited)
    assert edited.read("vendor/x") == "dirty\n"


def test_sha_256_is_fine(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt": LINES})
    workshop.release("v2", {"a.txt": V2, "new/c.txt": "c\n"})
    put(workshop.root, workshop.render("v1"))
    git(workshop.root, "init", "--quiet", "--object-format=sha256")
    workshop.change({"a.txt": MINE})
    assert workshop.labrig("update").code == 0
    assert is_updated(workshop)


def test_an_edit_that_git_was_told_to_overlook_is_not_overwritten(edited: Workshop) -> None:
    git(edited.root, "update-index", "--assume-unchanged", "a.txt")
    put(edited.root, {"a.txt": "hidden\n"})
    done = edited.labrig("update")
    assert done.code == 2
    assert "differ from what is committed: a.txt" in done.err
    assert edited.read("a.txt") == "hidden\n"
    assert not (edited.root / ".git/index.lock").exists()


def test_names_that_differ_in_case_only_are_refused(edited: Workshop) -> None:
    edited.change({"Readme.txt": "mine\n"})
    edited.release("v3", {"readme.txt": "theirs\n"})
    done = edited.labrig("update")
    assert done.code == 3
    assert "readme.txt and Readme.txt" in done.err


def test_strange_names_are_fine(workshop: Workshop) -> None:
    names = ["with space", 'quote"d', "tab\there", "ümläut/ä", "-dash", ":colon", "*star", "[a]", "back~", "#x", "!y"]
    workshop.release("v1", {"a.txt": LINES})
    workshop.release("v2", {"a.txt": V2})
    workshop.generate()
    workshop.change({name: name for name in names})
    undecodable = os.fsdecode(b"\xe9\xff")
    workshop.change({undecodable: "x", "a.txt": MINE})
    git(workshop.root, "mv", "--", "a.txt", "-a b\tc")
    workshop.commit()
    assert workshop.labrig("update").code == 0
    assert workshop.read("-a b\tc") == BOTH
    assert workshop.read(undecodable) == "x"


def test_modes_and_links_are_kept(workshop: Workshop) -> None:
    workshop.release("v1", {"run.sh": LINES, "made.sh": LINES.replace("line", "word"), "linked": "text\n"})
    workshop.generate()
    put(workshop.template / "template", {"run.sh": V2, "made.sh": V2.replace("line", "word")})
    (workshop.template / "template/made.sh").chmod(0o755)
    workshop.release("v2", {"a.txt": "new\n"})
    (workshop.root / "run.sh").chmod(0o755)
    (workshop.root / "linked").unlink()
    (workshop.root / "linked").symlink_to("/elsewhere")
    (workshop.root / "own").symlink_to("run.sh")
    workshop.commit()
    (workshop.root / "made.sh").chmod(0o640)
    assert workshop.labrig("update").code == 0
    assert (workshop.root / "run.sh").stat().st_mode & 0o777 == 0o755
    assert workshop.read("run.sh") == V2
    assert (workshop.root / "made.sh").stat().st_mode & 0o777 == 0o750
    assert (workshop.root / "linked").readlink() == Path("/elsewhere")
    assert (workshop.root / "own").readlink() == Path("run.sh")


def test_a_filter_is_applied_as_git_applies_it(edited: Workshop) -> None:
    git(edited.root, "config", "filter.upper.smudge", "tr a-z A-Z")
    git(edited.root, "config", "filter.upper.clean", "tr A-Z a-z")
    edited.change({".gitattributes": "new/* filter=upper\n"})
    assert edited.labrig("update").code == 0
    assert edited.read("new/c.txt") == "C\n"
    assert git(edited.root, "show", ":new/c.txt") == "c"


def test_a_repository_is_taken_back_only_when_asked(edited: Workshop) -> None:
    assert edited.labrig("update").code == 0
    edited.commit()
    git(edited.template, "tag", "--delete", "v2")
    before = edited.state()
    done = edited.labrig("update")
    assert done.code == 0
    assert "Up to date with v2" in done.err
    assert edited.state() == before
    assert edited.labrig("check").code == 0
    assert edited.labrig("update", "--to", "v1").code == 0
    assert edited.read("a.txt") == MINE


# Faults


@pytest.fixture
def large(workshop: Workshop) -> Workshop:
    """Many files, so that there are many moments to be stopped at."""
    workshop.release("v1", {f"{number}/{number}.txt": LINES for number in range(FILES)})
    changes = {f"{number}/{number}.txt": V2 for number in range(FILES)}
    workshop.release("v2", {**changes, **{f"{number}/new/n.txt": "n\n" for number in range(FILES)}, "0/0.txt": None})
    workshop.generate()
    workshop.change({f"{number}/{number}.txt": MINE for number in range(1, FILES)})
    return workshop


# What changes the disk, or starts a program that may.
EVENTS = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.truncate", "subprocess.Popen"}


def run_until(workshop: Workshop, is_time: Callable[[], bool]) -> int:
    """Run an update that is killed, as by kill -9, before its first step at which it is time; its exit code."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    os.chdir(workshop.root)

    def hook(event: str, _: object) -> None:
        if event in EVENTS and is_time():
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    os._exit(main(["update", "--yes"]))


def step(number: int) -> Callable[[], bool]:
    """The time of the step with this number."""
    steps = itertools.count()
    return lambda: next(steps) >= number


@pytest.mark.release
def test_d11_a_kill_at_any_moment_leaves_the_old_state_or_the_new_one(large: Workshop) -> None:
    saved = large.folder / "saved"
    shutil.copytree(large.root, saved, symlinks=True)
    before = large.state()
    assert large.labrig("update").code == 0
    after = large.state()
    restore(large, saved)
    steps = large.folder / "steps"

    def counted() -> bool:
        with steps.open("a") as file:
            file.write(".")
        return False

    assert run_until(large, counted) == 0
    count = steps.stat().st_size
    chance = random.Random(1)
    seen = set()
    for number in [*chance.sample(range(count), 20), count - 5]:
        restore(large, saved)
        assert run_until(large, step(number)) == -signal.SIGKILL
        seen.add("partial" if large.state() not in (before, after) else "whole")
        retry = large.labrig("update", "--yes")
        if retry.code == 2:  # it was complete: what it wrote is staged
            assert "are not committed" in retry.err, retry.err
        else:
            assert retry.code == 0, retry.err
        assert large.state() == after, number
        assert not (large.root / ".git/index.lock").exists()
        assert not (large.root / ".git/labrig/journal.json").exists()
    assert "partial" in seen, "none of the kills hit the moments that matter"


def restore(workshop: Workshop, saved: Path) -> None:
    shutil.rmtree(workshop.root)
    shutil.copytree(saved, workshop.root, symlinks=True)


@pytest.mark.release
def test_d11_a_kill_from_outside_at_random_moments(large: Workshop) -> None:
    saved = large.folder / "saved"
    shutil.copytree(large.root, saved, symlinks=True)
    before = large.state()
    began = time.monotonic()
    assert subprocess.run(LABRIG, cwd=large.root, capture_output=True, check=False).returncode == 0
    seconds = time.monotonic() - began
    after = large.state()
    chance = random.Random(2)
    for number in range(20):
        restore(large, saved)
        process = subprocess.Popen(
            LABRIG, cwd=large.root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        time.sleep(chance.uniform(0.3, 1.0) * seconds)
        os.killpg(process.pid, [signal.SIGKILL, signal.SIGTERM, signal.SIGINT][number % 3])
        process.wait()
        if not (large.root / ".git/labrig/journal.json").exists():
            assert large.state() in (before, after)
        large.labrig("update", "--yes")
        assert large.state() == after


def stopped_half_way(workshop: Workshop) -> None:
    """Kill an update in the middle of the exchange of files."""
    journal = workshop.root / ".git/labrig/journal.json"
    assert run_until(workshop, lambda: journal.exists() and (workshop.root / "new/c.txt").exists()) == -signal.SIGKILL


def test_a_file_that_was_changed_after_a_kill_is_not_overwritten(edited: Workshop) -> None:
    stopped_half_way(edited)
    put(edited.root, {"new/c.txt": "mine, written after the kill\n"})
    done = edited.labrig("update")
    assert done.code == 2
    assert "new/c.txt" in done.err
    assert edited.read("new/c.txt") == "mine, written after the kill\n"
    kept = edited.folder / "kept"
    (edited.root / "new/c.txt").rename(kept)
    assert edited.labrig("update").code == 0
    assert is_updated(edited)


def test_git_refuses_to_commit_half_an_update(edited: Workshop) -> None:
    stopped_half_way(edited)
    refused = subprocess.run(["git", "add", "--all"], cwd=edited.root, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "index.lock" in refused.stderr
    (edited.root / ".git/index.lock").unlink()  # as git's message proposes
    assert edited.labrig("update").code == 0
    assert is_updated(edited)


@pytest.mark.parametrize("limit", [1000, 20_000, 200_000])
def test_a_full_disk_changes_nothing(large: Workshop, limit: int) -> None:
    before = large.state()
    big = LINES * 3000
    large.release("v3", {"big.txt": big, **{f"{number}/{number}.txt": V2 + "more\n" for number in range(1, FILES)}})

    def small_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    environment = {**os.environ, "TMPDIR": "/dev/shm"} if Path("/dev/shm").is_dir() else None  # noqa: S108
    done = subprocess.run(
        LABRIG, cwd=large.root, capture_output=True, text=True, check=False, preexec_fn=small_files, env=environment
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert large.state() == before
    assert large.labrig("update", "--yes").code == 0
    assert large.read("big.txt") == big


@pytest.mark.parametrize(
    "moment", [pytest.param(moment, marks=pytest.mark.release if moment % 39 else []) for moment in range(0, 118, 13)]
)
def test_an_exchange_that_the_disk_refuses_half_way_is_undone(
    large: Workshop, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    before = large.state()
    replace, left = Path.replace, [moment]

    def failing(self: Path, target: str | os.PathLike[str]) -> Path:
        if "/labrig/new/" in str(self):
            left[0] -= 1
            if left[0] < 0:
                left[0] = 10_000
                raise OSError(28, "No space left on device", str(target))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    done = large.labrig("update", "--yes")
    if left[0] < 5000:
        pytest.fail("there were fewer moments than that")
    assert done.code == 1
    assert "is as it was" in done.err
    assert large.state() == before
    assert large.labrig("update", "--yes").code == 0


def test_a_read_only_file_is_updated_and_stays_read_only(edited: Workshop) -> None:
    (edited.root / "a.txt").chmod(0o444)
    assert edited.labrig("update").code == 0
    assert is_updated(edited)
    assert (edited.root / "a.txt").stat().st_mode & 0o777 == 0o444


def test_a_lock_of_git_is_a_sentence(edited: Workshop) -> None:
    put(edited.root, {".git/index.lock": ""})
    before = edited.state()
    done = edited.labrig("update")
    assert done.code == 1
    assert "git is at work" in done.err
    assert edited.state() == before
    assert (edited.root / ".git/index.lock").exists(), "it is not ours to remove"


def test_git_is_too_old(edited: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labrig.git.version", lambda: (2, 34))
    done = edited.labrig("update")
    assert done.code == 1
    assert "git 2.34 is too old" in done.err
