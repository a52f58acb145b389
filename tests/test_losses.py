"""Every way in which an update is known to lose a user's work, and what labrig does instead.

The numbers are those of the measurements on Copier 9.19.1 that the design of labrig started from: D for faults, S for
scenarios. Where it is cheap, Copier's own behaviour stands beside it, so that a new version that behaves better shows.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from workshop import ANSWERS, LINES, QUESTIONS, Workshop, git, put
from workshop import workshop as workshop  # noqa: PLC0414 - a fixture

from labrig.render import ANSWERS_FILE

BINARY = bytes(range(256)) * 4
V2 = LINES.replace("line 5\n", "line 5, second version\n")
MINE = LINES.replace("line 30\n", "line 30, mine\n")
BOTH = V2.replace("line 30\n", "line 30, mine\n")


def test_d1_a_binary_that_the_user_replaced_stays(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt": LINES, "logo.png": BINARY})
    workshop.release("v2", {"a.txt": V2})
    workshop.generate()
    mine = b"\0mine" + BINARY[::-1]
    workshop.change({"logo.png": mine})
    assert workshop.labrig("update").code == 0
    assert (workshop.root / "logo.png").read_bytes() == mine
    assert workshop.read("a.txt") == V2
    assert workshop.copier().returncode == 0
    assert workshop.copier_reads("logo.png") == BINARY, "Copier reverts it"


def test_d2_a_byte_that_is_no_utf_8_stays(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt": LINES})
    workshop.release("v2", {"a.txt": V2})
    workshop.generate()
    workshop.change({"a.txt": LINES.encode().replace(b"line 30\n", b"caf\xe9\n")})
    assert workshop.labrig("update").code == 0
    assert (workshop.root / "a.txt").read_bytes() == V2.encode().replace(b"line 30\n", b"caf\xe9\n")
    workshop.copier()
    assert b"caf\n" in workshop.copier_reads("a.txt"), "Copier drops the byte"


@pytest.mark.parametrize("changed", [False, True], ids=["the template did not touch it", "the template changed it"])
def test_d3_s29_a_file_that_git_ignores_is_not_touched(workshop: Workshop, changed: bool) -> None:
    workshop.release("v1", {"a.txt": LINES, ".gitignore": ".env\n", ".env": "KEY=changeme\n"})
    workshop.release("v2", {"a.txt": V2, **({".env": "KEY=another\n"} if changed else {})})
    workshop.generate()
    put(workshop.root, {".env": "KEY=secret\n"})
    done = workshop.labrig("update")
    assert done.code == 0
    assert workshop.read(".env") == "KEY=secret\n"
    assert (".env is left alone, because git does not have it" in done.err) == changed
    workshop.copier()
    assert workshop.copier_reads(".env") != b"KEY=secret\n", "Copier overwrites it"


def test_d3_a_new_file_that_git_ignores_does_not_replace_the_users(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt": LINES, ".gitignore": ".env\n"})
    workshop.release("v2", {".env": "KEY=changeme\n"})
    workshop.generate()
    put(workshop.root, {".env": "KEY=secret\n"})
    assert workshop.labrig("update").code == 0
    assert workshop.read(".env") == "KEY=secret\n"
    assert not [line for line in workshop.status() if ".env" in line]


def test_d3_a_new_file_that_git_ignores_is_written_and_not_committed(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt": LINES, ".gitignore": ".env\n"})
    workshop.release("v2", {".env": "KEY=changeme\n"})
    workshop.generate()
    assert workshop.labrig("update").code == 0
    assert workshop.read(".env") == "KEY=changeme\n"
    assert not [line for line in workshop.status() if ".env" in line]


@pytest.mark.parametrize("present", [False, True])
def test_d3_an_edit_does_not_follow_its_file_out_of_git(workshop: Workshop, present: bool) -> None:
    workshop.release("v1", {"settings.txt": LINES, ".gitignore": "local.txt\n"})
    workshop.release("v2", {"settings.txt": None, "local.txt": V2})
    workshop.generate()
    workshop.change({"settings.txt": MINE})
    if present:
        put(workshop.root, {"local.txt": "secret\n"})
    before = workshop.state()
    done = workshop.labrig("update")
    if present:
        assert done.code == 2
        assert "in the way: local.txt" in done.err
        assert workshop.state() == before
    else:
        assert done.code == 0
        assert git(workshop.root, "show", ":local.txt") == BOTH.strip()


def test_d4_a_reject_file_of_the_users_own_stays(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt": LINES, ".gitignore": "*.rej\n"})
    workshop.release("v2", {"a.txt": V2})
    workshop.generate()
    workshop.change({"notes": "mine\n"})
    put(workshop.root, {"notes.rej": "mine too\n", "other.rej": "and this\n"})
    assert workshop.labrig("update").code == 0
    assert workshop.read("notes.rej") == "mine too\n"
    assert workshop.read("other.rej") == "and this\n"


def test_d5_s2_a_file_that_the_template_deletes_and_the_user_changed_is_a_conflict(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt": LINES, "old.txt": LINES.replace("line", "word")})
    workshop.release("v2", {"old.txt": None})
    workshop.generate()
    mine = LINES.replace("line", "word") + "mine\n"
    workshop.change({"old.txt": mine})
    done = workshop.labrig("update")
    assert done.code == 3
    assert workshop.read("old.txt") == mine
    assert "UD old.txt" in workshop.status()
    assert "old.txt: the template has deleted it, and you changed it" in done.err
    assert workshop.copier().returncode == 0
    assert not (workshop.folder / "demo-copier/old.txt").exists(), "Copier deletes it without a word"


def test_d6_s1_the_users_edit_follows_a_file_that_the_template_renames(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt": LINES})
    workshop.release("v2", {"a.txt": None, "b.txt": V2})
    workshop.generate()
    workshop.change({"a.txt": MINE})
    assert workshop.labrig("update").code == 0
    assert workshop.read("b.txt") == BOTH
    assert not (workshop.root / "a.txt").exists()
    assert workshop.copier().returncode == 0
    assert b"mine" not in workshop.copier_reads("b.txt"), "Copier loses the edit"


def test_d7_s22_the_templates_change_follows_a_file_that_the_user_renamed(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt": LINES})
    workshop.release("v2", {"a.txt": V2})
    workshop.generate()
    git(workshop.root, "mv", "a.txt", "mine.txt")
    workshop.change({"mine.txt": MINE})
    assert workshop.labrig("update").code == 0
    assert workshop.read("mine.txt") == BOTH
    assert not (workshop.root / "a.txt").exists()
    workshop.copier()
    assert b"second version" not in workshop.copier_reads("mine.txt"), "Copier does not deliver the change"


def test_d7_when_both_rename_a_file_the_users_name_stands(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt": LINES})
    workshop.release("v2", {"a.txt": None, "b.txt": V2})
    workshop.generate()
    git(workshop.root, "mv", "a.txt", "mine.txt")
    workshop.change({"mine.txt": MINE})
    done = workshop.labrig("update")
    assert done.code == 0
    assert workshop.read("mine.txt") == BOTH
    assert not (workshop.root / "b.txt").exists()
    assert "your name mine.txt stands" in done.err


HOSTILE = {
    "apply.whitespace": "error",
    "color.ui": "always",
    "commit.gpgSign": "true",
    "core.quotePath": "true",
    "core.splitIndex": "true",
    "core.untrackedCache": "true",
    "core.whitespace": "trailing-space",
    "diff.external": "false",
    "diff.mnemonicPrefix": "true",
    "diff.noprefix": "true",
    "diff.renames": "false",
    "feature.manyFiles": "true",
    "gpg.program": "false",
    "merge.conflictStyle": "diff3",
    "merge.default": "union",
    "merge.directoryRenames": "false",
    "merge.renames": "false",
    "status.relativePaths": "false",
    "status.showUntrackedFiles": "no",
}


@pytest.mark.parametrize("line_ends", ["false", "true", "input"])
def test_d8_no_setting_of_git_changes_the_merge(workshop: Workshop, line_ends: str) -> None:
    workshop.release("v1", {"a.txt": LINES, "b.txt": LINES.replace("line", "word")})
    workshop.release("v2", {"a.txt": V2, "b.txt": None, "c.txt": LINES.replace("line", "word") + "new\n"})
    workshop.generate()
    mine = MINE.replace("line 35\n", "line 35  \t\n")
    workshop.change({"a.txt": mine, "b.txt": "mine\n" + LINES.replace("line", "word")})
    attributes = workshop.folder / "attributes"
    attributes.write_text("* merge=union\n")
    for name, value in {**HOSTILE, "core.autocrlf": line_ends, "core.attributesFile": str(attributes)}.items():
        git(workshop.root, "config", "--global", name, value)
    done = workshop.labrig("update")
    assert done.code == 0, done.err
    expected = mine.replace("line 5\n", "line 5, second version\n").encode()
    written = expected.replace(b"\n", b"\r\n") if line_ends == "true" else expected
    assert (workshop.root / "a.txt").read_bytes() == written
    index = subprocess.run(["git", "show", ":a.txt"], cwd=workshop.root, capture_output=True, check=True).stdout
    assert index == expected
    changed = git(workshop.root, "diff-index", "--cached", "--no-renames", "--name-status", "HEAD").split()
    assert changed == ["M", ".copier-answers.yml", "M", "a.txt", "D", "b.txt", "A", "c.txt"]
    assert git(workshop.root, "diff-files", "--name-only") == ""


TIGHTENED = """\
licence:
  type: str
  default: MIT
  validator: "{% if licence not in ['MIT', 'BSD'] %}take MIT or BSD{% endif %}"
"""


def test_d9_s9_a_tightened_question_asks_for_another_answer(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt.jinja": LINES + "{{ licence }}\n"}, "licence: {type: str, default: MIT}\n")
    workshop.release("v2", {"a.txt.jinja": V2 + "{{ licence }}\n"}, TIGHTENED)
    workshop.generate({"licence": "Proprietary"})
    before = workshop.state()
    done = workshop.labrig("update", "--yes")
    assert done.code == 3
    assert "take MIT or BSD" in done.err
    assert "--set licence=..." in done.err
    assert workshop.state() == before
    assert workshop.labrig("update", "--yes", "--set", "licence=BSD").code == 0
    assert workshop.record()["licence"] == "BSD"
    workshop.copier()
    assert b'"MIT"' in workshop.copier_reads(ANSWERS_FILE), "Copier writes MIT without a word"


def test_d9_s9_a_choice_that_is_gone_asks_for_another_answer(workshop: Workshop) -> None:
    question = "python: {{type: str, choices: {}, default: '3.12'}}\n"
    workshop.release("v1", {"a.txt.jinja": "{{ python }}\n"}, question.format("['3.9', '3.12']"))
    workshop.release("v2", {}, question.format("['3.12', '3.13']"))
    workshop.generate({"python": "3.9"})
    done = workshop.labrig("update", "--json")
    assert done.code == 3
    assert done.object["error"]["kind"] == "decision"
    assert "python cannot be '3.9'" in done.object["error"]["cause"]
    assert workshop.labrig("update", "--yes", "--set", "python=3.13").code == 0
    assert workshop.read("a.txt") == "3.13\n"


def test_d9_a_question_that_is_gone_is_not_forgotten_in_silence(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt.jinja": "{{ tracker }}\n"}, "tracker: {type: str, default: none}\n")
    workshop.release("v2", {"a.txt.jinja": None, "a.txt": "fixed\n"}, QUESTIONS)
    workshop.generate({"tracker": "wandb"})
    done = workshop.labrig("update", "--yes")
    assert done.code == 3
    assert "tracker is no question any more; your answer was wandb" in done.err
    assert "--forget tracker" in done.err
    assert workshop.labrig("update", "--yes", "--forget", "tracker").code == 0
    assert workshop.read("a.txt") == "fixed\n"
    assert "tracker" not in workshop.record()


def test_d9_a_question_that_was_renamed_without_a_word_stops(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt.jinja": "{{ package }}\n"}, "package: {type: str, default: pkg}\n")
    workshop.release("v2", {"a.txt.jinja": "{{ module }}\n"}, "module: {type: str, default: pkg}\n")
    workshop.generate({"package": "mine"})
    assert workshop.labrig("update", "--yes").code == 3
    assert workshop.labrig("update", "--yes", "--forget", "package", "--set", "module=mine").code == 0
    assert workshop.read("a.txt") == "mine\n"


def test_s8_a_renamed_question_whose_default_reads_the_old_one_keeps_the_answer(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt.jinja": "{{ tracker }}\n"}, "tracker: {type: str, default: wandb}\n")
    workshop.release(
        "v2", {"a.txt.jinja": "{{ logger }}\n"}, "logger: {type: str, default: \"{{ tracker | default('wandb') }}\"}\n"
    )
    workshop.generate({"tracker": "mlflow"})
    done = workshop.labrig("update", "--yes")
    assert done.code == 0
    assert workshop.read("a.txt") == "mlflow\n"
    assert "the question tracker is called logger now" in done.err


def test_d10_uncommitted_edits_stop_the_update(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt": LINES})
    workshop.release("v2", {"a.txt": V2})
    workshop.generate()
    put(workshop.root, {"a.txt": MINE})
    before = workshop.state()
    done = workshop.labrig("update")
    assert done.code == 2
    assert "a.txt" in done.err
    assert "git stash" in done.err
    assert workshop.state() == before


def test_d12_a_template_with_tasks_is_refused_before_anything_is_written(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt": LINES})
    workshop.release("v2", {"a.txt": V2}, QUESTIONS + "_tasks: ['false']\n")
    workshop.generate()
    before = workshop.state()
    done = workshop.labrig("update")
    assert done.code == 1
    assert "_tasks" in done.err
    assert workshop.state() == before


def test_d13_a_file_may_become_a_folder(workshop: Workshop) -> None:
    workshop.release("v1", {"configs": "one\n", "data/readme": LINES})
    put(workshop.template / "template", {"configs": None, "data/readme": None})
    (workshop.template / "template/data").rmdir()
    workshop.release("v2", {"configs/debug": "two\n", "data": "flat\n"})
    workshop.generate()
    assert workshop.labrig("update").code == 0
    assert workshop.read("configs/debug") == "two\n"
    assert workshop.read("data") == "flat\n"


def test_d13_a_file_of_the_users_where_the_template_has_a_folder_is_refused(workshop: Workshop) -> None:
    workshop.release("v1", {"configs": LINES})
    put(workshop.template / "template", {"configs": None})
    workshop.release("v2", {"configs/debug": "two\n"})
    workshop.generate()
    workshop.change({"configs": MINE})
    before = workshop.state()
    done = workshop.labrig("update")
    assert done.code == 3
    assert "configs" in done.err
    assert "git mv" in done.err
    assert workshop.state() == before


def test_d13_nothing_is_written_through_a_link_that_leads_outside(workshop: Workshop) -> None:
    workshop.release("v1", {"data/readme": LINES, "a.txt": LINES})
    workshop.release("v2", {"data/readme": V2, "a.txt": V2, "data/more": "new\n"})
    workshop.generate()
    outside = workshop.folder / "outside"
    outside.mkdir()
    (outside / "readme").write_text("theirs\n")
    (workshop.root / "data/readme").unlink()
    (workshop.root / "data").rmdir()
    (workshop.root / "data").symlink_to(outside)
    workshop.commit()
    before = workshop.state()
    done = workshop.labrig("update")
    assert done.code == 3
    assert workshop.state() == before
    assert [path.name for path in outside.iterdir()] == ["readme"]
    assert (outside / "readme").read_text() == "theirs\n"


def test_d13_nothing_is_written_through_a_link_that_git_ignores(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt": LINES, ".gitignore": "/data\n"})
    workshop.release("v2", {"data/readme": "new\n"})
    workshop.generate()
    outside = workshop.folder / "outside"
    outside.mkdir()
    (workshop.root / "data").symlink_to(outside)
    done = workshop.labrig("update")
    assert done.code == 2
    assert "in the way: data" in done.err
    assert not list(outside.iterdir())


def test_d14_s19_a_tag_that_was_moved_delivers_its_change(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt": LINES})
    workshop.generate()
    workshop.release("v1", {"a.txt": V2})
    workshop.change({"a.txt": MINE})
    done = workshop.labrig("update")
    assert done.code == 0
    assert workshop.read("a.txt") == BOTH
    assert "the tag v1 of the template was moved" in done.err
    workshop.copier()
    assert b"second version" not in workshop.copier_reads("a.txt"), "Copier keeps the old version"


def test_d14_a_tag_that_was_moved_off_a_commit_that_is_gone_stops(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt": LINES})
    workshop.generate()
    (workshop.template / "template/a.txt").write_text(V2)
    git(workshop.template, "commit", "--quiet", "--all", "--amend", "--message", "another")
    git(workshop.template, "tag", "--force", "v1")
    git(workshop.template, "reflog", "expire", "--expire=now", "--all")
    git(workshop.template, "gc", "--quiet", "--prune=now")
    before = workshop.state()
    done = workshop.labrig("update")
    assert done.code == 3
    assert "the tag was moved" in done.err
    assert "--from v1" in done.err
    assert workshop.state() == before


def test_d14_s11_a_tag_that_was_deleted_is_found_by_its_commit(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt": LINES})
    workshop.release("v2", {"a.txt": V2})
    workshop.generate()
    workshop.change({"a.txt": MINE})
    git(workshop.template, "tag", "--delete", "v1")
    assert workshop.labrig("update").code == 0
    assert workshop.read("a.txt") == BOTH
    assert workshop.copier().returncode == 1


def test_d14_s11_a_version_that_is_nowhere_can_be_stated(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt": LINES})
    workshop.release("v2", {"a.txt": V2})
    workshop.generate()
    record = workshop.read(ANSWERS_FILE)
    lines = [line for line in record.splitlines() if "_commit_hash" not in line]
    workshop.change({ANSWERS_FILE: "\n".join(lines).replace("v1", "v0") + "\n", "a.txt": MINE})
    done = workshop.labrig("update")
    assert done.code == 3
    assert "has no version 'v0'" in done.err
    assert "labrig update --from VERSION" in done.err
    assert workshop.labrig("update", "--from", "v1").code == 0
    assert workshop.read("a.txt") == BOTH


def test_d15_a_record_that_is_newer_than_the_files_is_noticed(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt": LINES, "b.txt": LINES.replace("line", "word")})
    workshop.release("v2", {"a.txt": V2, "b.txt": V2.replace("line", "word")})
    workshop.generate()
    workshop.change({ANSWERS_FILE: workshop.render("v2")[ANSWERS_FILE], "b.txt": MINE.replace("line", "word")})
    done = workshop.labrig("update")
    assert done.code == 3
    assert "says v2, but the files are those of v1" in done.err
    assert "labrig update --from v1" in done.err
    assert workshop.labrig("update", "--from", "v1").code == 0
    assert workshop.read("a.txt") == V2
    assert workshop.read("b.txt") == BOTH.replace("line", "word")


def test_d15_an_answers_file_that_was_deleted_is_named_with_the_commit_that_has_it(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt": LINES})
    workshop.release("v2", {"a.txt": V2})
    workshop.generate()
    record = workshop.read(ANSWERS_FILE)
    workshop.change({ANSWERS_FILE: None})
    done = workshop.labrig("update")
    assert done.code == 3
    command = next(line for line in done.err.splitlines() if "git checkout" in line).partition("git checkout")[2]
    git(workshop.root, "checkout", *command.partition("&&")[0].split())
    workshop.commit()
    assert workshop.read(ANSWERS_FILE) == record
    assert workshop.labrig("update").code == 0


def test_d15_conflict_markers_in_the_answers_file_are_named(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt": LINES})
    workshop.generate()
    record = workshop.read(ANSWERS_FILE)
    workshop.change({ANSWERS_FILE: f"<<<<<<< HEAD\n{record}=======\n{record}>>>>>>> other\n"})
    done = workshop.labrig("update")
    assert done.code == 3
    assert "holds conflict markers" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("text", ["- a\n", "a: [\n", "", "name: demo\n", "_src_path: 7\n", "\tx: {"])
def test_d15_an_answers_file_that_makes_no_sense_is_a_sentence(workshop: Workshop, text: str) -> None:
    workshop.release("v1", {"a.txt": LINES})
    workshop.generate()
    workshop.change({ANSWERS_FILE: text})
    done = workshop.labrig("update")
    assert done.code == 3
    assert done.err.startswith("error: .copier-answers.yml")
    assert "Traceback" not in done.err


def test_d15_an_answers_file_without_a_template_or_version_can_be_helped(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt": LINES})
    workshop.release("v2", {"a.txt": V2})
    workshop.generate()
    workshop.change({ANSWERS_FILE: "name: demo\n"})
    assert workshop.labrig("update").code == 3
    assert workshop.labrig("update", "--template", str(workshop.template), "--from", "v1").code == 0
    assert workshop.read("a.txt") == V2
    assert workshop.record()["_commit"] == "v2"


def test_d16_two_updates_at_once_do_not_meet(workshop: Workshop) -> None:
    workshop.release("v1", {f"{number}.txt": LINES for number in range(50)})
    workshop.release("v2", {f"{number}.txt": V2 for number in range(50)})
    workshop.generate()
    workshop.change({f"{number}.txt": MINE for number in range(50)})
    command = [sys.executable, "-m", "labrig", "update", "--yes"]
    runs = [subprocess.Popen(command, cwd=workshop.root, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    results = [(run.communicate()[1], run.returncode) for run in runs]
    for said, code in results:
        assert code == 0 or "another labrig is changing" in said or "are not committed" in said, said
    assert [code for _, code in results].count(0) == 1
    assert all(workshop.read(f"{number}.txt") == BOTH for number in range(50))


def test_d17_a_template_runs_nothing(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt": LINES}, QUESTIONS + "_tasks: ['touch ran']\n")
    workshop.root.mkdir()
    put(workshop.root, {ANSWERS_FILE: f"_src_path: {workshop.template}\n_commit: v1\nname: demo\n", "a.txt": LINES})
    git(workshop.root, "init", "--quiet")
    workshop.commit()
    workshop.release("v2", {"a.txt": V2})
    assert workshop.labrig("update").code == 1
    assert not list(workshop.folder.rglob("ran"))


# Scenarios


def test_s3_what_the_user_broke_stays_as_the_user_left_it(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt": LINES, "ci.yml": "on: [push]\njobs: {}\n"})
    workshop.release("v2", {"a.txt": V2})
    workshop.generate()
    workshop.change({"ci.yml": "on: [\n"})
    assert workshop.labrig("update").code == 0
    assert workshop.read("ci.yml") == "on: [\n"


def test_s4_a_true_conflict_has_markers_stages_a_list_and_exit_status_3(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt": LINES, "b.txt": LINES.replace("line", "word")})
    workshop.release("v2", {"a.txt": V2, "b.txt": V2.replace("line", "word")})
    workshop.generate()
    workshop.change({"a.txt": LINES.replace("line 5\n", "line 5, mine\n")})
    done = workshop.labrig("update")
    assert done.code == 3
    assert "UU a.txt" in workshop.status()
    assert "a.txt:5" in done.err
    assert "yours:    line 5, mine" in done.err
    assert "template: line 5, second version" in done.err
    assert "<<<<<<< yours\nline 5, mine\n=======\nline 5, second version\n>>>>>>> template v2\n" in workshop.read(
        "a.txt"
    )
    stages = git(workshop.root, "ls-files", "--unmerged").splitlines()
    assert [line.split()[2] for line in stages] == ["1", "2", "3"]
    assert git(workshop.root, "show", ":2:a.txt") == LINES.replace("line 5\n", "line 5, mine\n").strip()
    assert workshop.read("b.txt") == V2.replace("line", "word")
    assert workshop.copier().returncode == 0, "Copier says that all is well"


def test_s4_a_conflict_is_resolved_as_git_users_do(workshop: Workshop) -> None:
    test_s4_a_true_conflict_has_markers_stages_a_list_and_exit_status_3(workshop)
    git(workshop.root, "checkout", "--ours", "a.txt")
    git(workshop.root, "add", "a.txt")
    workshop.commit()
    done = workshop.labrig("update")
    assert done.code == 0
    assert "Up to date with v2" in done.err


def test_s6_a_file_that_the_user_deleted_stays_deleted(workshop: Workshop) -> None:
    settings = QUESTIONS + "_skip_if_exists: [b.txt]\n"
    workshop.release("v1", {"a.txt": LINES, "b.txt": LINES.replace("line", "word")}, settings)
    workshop.release("v2", {"a.txt": V2, "b.txt": V2.replace("line", "word")})
    workshop.generate()
    workshop.change({"b.txt": None})
    done = workshop.labrig("update")
    assert done.code == 0
    assert not (workshop.root / "b.txt").exists()
    assert "b.txt stays deleted; the template has changed it" in done.err


def test_s10_a_default_that_changed_does_not_change_the_answer(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt.jinja": "{{ name }}\n"}, "name: {type: str, default: one}\n")
    workshop.release("v2", {}, "name: {type: str, default: two}\n")
    workshop.generate()
    assert workshop.labrig("update", "--yes").code == 0
    assert workshop.read("a.txt") == "one\n"


def test_s12_a_new_question_without_a_default_stops_with_its_flag(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt": LINES})
    workshop.release(
        "v2", {"a.txt": None, "a.txt.jinja": "{{ team }}\n"}, QUESTIONS + "team: {type: str, help: Which team?}\n"
    )
    workshop.generate()
    before = workshop.state()
    done = workshop.labrig("update", "--yes")
    assert done.code == 3
    assert "Which team?" in done.err
    assert "--set team=..." in done.err
    assert workshop.state() == before
    assert workshop.labrig("update", "--yes", "--set", "team=vision").code == 0
    assert workshop.read("a.txt") == "vision\n"


def test_s16_a_file_that_both_added_is_a_conflict_unless_it_is_the_same(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt": LINES})
    workshop.release("v2", {"same.txt": "same\n", "other.txt": "theirs\n"})
    workshop.generate()
    workshop.change({"same.txt": "same\n", "other.txt": "mine\n"})
    assert workshop.labrig("update").code == 3
    assert [line for line in workshop.status() if "txt" in line] == ["AA other.txt"]
    assert "mine\n" in workshop.read("other.txt")
    assert "theirs\n" in workshop.read("other.txt")


def test_s17_an_answers_file_that_was_edited_by_hand_is_noticed(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt.jinja": "{{ colour }}\n" + LINES}, "colour: {type: str, default: red}\n")
    workshop.release("v2", {"b.txt": "new\n"})
    workshop.generate()
    workshop.change({ANSWERS_FILE: workshop.read(ANSWERS_FILE).replace("red", "blue")})
    done = workshop.labrig("update", "--yes")
    assert done.code == 3
    assert "says colour=blue, but the files are those of colour=red" in done.err
    assert "labrig set colour=blue" in done.err
    workshop.change({ANSWERS_FILE: workshop.read(ANSWERS_FILE).replace("blue", "red")})
    assert workshop.labrig("set", "colour=blue").code == 0
    assert workshop.read("a.txt") == "blue\n" + LINES


def test_s18_a_repository_in_a_folder_of_a_larger_one(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt": LINES})
    workshop.release("v2", {"a.txt": V2, "inner/new.txt": "new\n"})
    workshop.generate()
    larger = workshop.folder / "larger"
    (larger / "projects").mkdir(parents=True)
    git(larger, "init", "--quiet")
    (workshop.root / ".git").rename(workshop.folder / "unused")
    workshop.root.rename(larger / "projects/demo")
    workshop.root = larger / "projects/demo"
    put(larger, {"other.txt": "other\n"})
    git(larger, "add", "--all")
    git(larger, "commit", "--quiet", "--message", "All")
    put(larger, {"other.txt": "dirty\n"})
    assert workshop.labrig("update").code == 0
    assert workshop.read("a.txt") == V2
    assert workshop.read("inner/new.txt") == "new\n"
    assert (larger / "other.txt").read_text() == "dirty\n"
    listed = git(larger, "status", "--porcelain").splitlines()
    assert sorted(line.strip() for line in listed) == [
        "A  projects/demo/inner/new.txt",
        "M  projects/demo/.copier-answers.yml",
        "M  projects/demo/a.txt",
        "M other.txt",
    ]


def test_s18_the_state_before_comes_back_without_touching_the_rest(workshop: Workshop) -> None:
    """Also a conflict in a folder that the template has moved, which HEAD does not have."""
    test_s18_a_repository_in_a_folder_of_a_larger_one(workshop)
    git(workshop.root, "commit", "--quiet", "--message", "Update")
    workshop.release("v3", {"package/a.py": LINES, "package/b.py": LINES.replace("line", "word")})
    assert workshop.labrig("update").code == 0
    git(workshop.root, "commit", "--quiet", "--message", "Update")
    put(workshop.root, {"package/a.py": LINES.replace("line 5\n", "mine\n")})
    git(workshop.root, "commit", "--quiet", "--message", "Mine", ".")
    before = workshop.state()
    moved = {"moved/a.py": V2, "moved/b.py": V2.replace("line", "word")}
    workshop.release("v4", {"package/a.py": None, "package/b.py": None, **moved})
    done = workshop.labrig("update", "--json")
    assert done.code == 3
    assert [conflict["path"] for conflict in done.object["conflicts"]] == ["moved/a.py"]
    subprocess.run(["sh", "-c", done.object["undo"]], cwd=workshop.root, check=True)
    assert workshop.state() == before
    assert (workshop.root.parents[1] / "other.txt").read_text() == "dirty\n"


def test_s20_a_template_that_records_no_answers_is_a_sentence(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt": LINES})
    workshop.generate()
    workshop.change({ANSWERS_FILE: None})
    git(workshop.root, "commit", "--quiet", "--amend", "--message", "x")
    (workshop.root / ".git").rename(workshop.folder / "unused")
    git(workshop.root, "init", "--quiet")
    workshop.commit()
    done = workshop.labrig("update")
    assert done.code == 2
    assert "was not made of a template" in done.err


def test_s20_a_version_that_records_no_answers_is_refused(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt": LINES})
    workshop.release("v2", {"a.txt": V2, ANSWERS: None})
    workshop.generate()
    before = workshop.state()
    done = workshop.labrig("update")
    assert done.code == 1
    assert "version v2 of the template does not record the answers" in done.err
    assert workshop.state() == before


def test_s25_no_hook_runs(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt": LINES})
    workshop.release("v2", {"a.txt": V2})
    workshop.generate()
    hooks = workshop.folder / "hooks"
    for name in ("pre-commit", "post-checkout", "post-index-change", "reference-transaction", "post-commit"):
        put(hooks, {name: f"#!/bin/sh\necho {name} >> {workshop.folder}/ran\n"})
        (hooks / name).chmod(0o755)
    git(workshop.root, "config", "--global", "core.hooksPath", str(hooks))
    assert workshop.labrig("update").code == 0
    assert not (workshop.folder / "ran").exists()
    git(workshop.root, "commit", "--quiet", "--message", "x")
    assert (workshop.folder / "ran").exists(), "the hooks of the test do run"


def test_s28_rules_of_the_template_for_git_do_not_reach_its_own_files(workshop: Workshop) -> None:
    workshop.release("v1", {".gitignore.jinja": "outputs/*\n!outputs/.gitkeep\n", "outputs/.gitkeep": ""})
    workshop.release("v2", {"outputs/.gitkeep": None, "outputs/readme.txt": "new\n"})
    workshop.generate()
    assert workshop.labrig("update").code == 0
    assert workshop.read("outputs/readme.txt") == "new\n"


def test_s31_a_binary_that_both_changed_is_a_conflict(workshop: Workshop) -> None:
    workshop.release("v1", {"logo.png": BINARY})
    workshop.release("v2", {"logo.png": BINARY + b"\0theirs"})
    workshop.generate()
    workshop.change({"logo.png": BINARY + b"\0mine"})
    done = workshop.labrig("update")
    assert done.code == 3
    assert (workshop.root / "logo.png").read_bytes() == BINARY + b"\0mine"
    assert "it is no text" in done.err
    git(workshop.root, "checkout", "--theirs", "logo.png")
    assert (workshop.root / "logo.png").read_bytes() == BINARY + b"\0theirs"
    workshop.copier()
    assert workshop.copier_reads("logo.png") == BINARY + b"\0theirs", "Copier takes the template's in silence"


def test_s32_a_file_that_the_user_converted_to_crlf_merges_and_stays_so(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt": LINES})
    workshop.release("v2", {"a.txt": V2})
    workshop.generate()
    workshop.change({"a.txt": b"\xef\xbb\xbf" + MINE.replace("\n", "\r\n").encode()})
    assert workshop.labrig("update").code == 0
    assert (workshop.root / "a.txt").read_bytes() == b"\xef\xbb\xbf" + BOTH.replace("\n", "\r\n").encode()


def test_a_relative_template_is_a_sentence(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt": LINES})
    workshop.release("v2", {"a.txt": V2})
    workshop.generate()
    path = str(workshop.template)
    workshop.change({ANSWERS_FILE: workshop.read(ANSWERS_FILE).replace(path, "../template")})
    done = workshop.labrig("update")
    assert done.code == 3
    assert "a relative path says nothing" in done.err
    assert workshop.labrig("update", "--template", path).code == 0
    assert workshop.record()["_src_path"] == path


def test_a_template_that_moved_to_another_address_can_be_given(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt": LINES})
    workshop.release("v2", {"a.txt": V2})
    workshop.generate()
    moved = workshop.folder / "moved"
    workshop.template.rename(moved)
    done = workshop.labrig("update")
    assert done.code == 2
    assert "there is no template at" in done.err
    assert "--template" in done.err
    assert workshop.labrig("update", "--template", str(moved)).code == 0
    assert workshop.record()["_src_path"] == str(moved)


def test_nothing_is_written_by_a_plan(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt": LINES})
    workshop.release("v2", {"a.txt": V2})
    workshop.generate()
    before = workshop.state()
    objects = sorted((workshop.root / ".git/objects").rglob("*"))
    done = workshop.labrig("update", "--plan")
    assert done.code == 0
    assert "+line 5, second version" in done.out.splitlines()
    assert workshop.state() == before
    assert sorted((workshop.root / ".git/objects").rglob("*")) == objects
    assert workshop.labrig("diff").out == done.out


def test_the_state_before_is_one_command_away(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt": LINES, "b.txt": "b\n", "c.txt": LINES.replace("line", "word")})
    workshop.release("v2", {"a.txt": V2, "b.txt": None, "new/d.txt": "d\n", "c.txt": V2.replace("line", "word")})
    workshop.generate()
    workshop.change({"c.txt": LINES.replace("line", "word").replace("word 5\n", "mine\n")})
    before = workshop.state()
    done = workshop.labrig("update")
    assert done.code == 3
    assert workshop.state() != before
    command = next(line for line in done.err.splitlines() if "or go back" in line).partition("#")[0].split()
    git(workshop.root, *command[1:])
    assert workshop.state() == before


# As they were numbered when Copier was tried; the numbers that are missing were no losses.
MEASURED = [
    *(f"d{number}" for number in range(1, 18)),
    *(f"s{number}" for number in (1, 2, 3, 4, 6, 8, 9, 10, 11, 12, 16, 17, 18, 19, 20, 22, 25, 28, 29, 31, 32)),
]


@pytest.mark.parametrize("loss", MEASURED)
def test_every_loss_that_was_measured_has_a_test(loss: str) -> None:
    files = (Path(__file__), Path(__file__).with_name("test_faults.py"))
    names = [line for file in files for line in file.read_text().splitlines() if line.startswith("def test_")]
    assert any(f"_{loss}_" in name for name in names)
