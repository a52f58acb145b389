"""Whole updates and switches of the real template, and what comes after the merge."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_guard import BASE, KINDS, Operation, changed
from workshop import Tree, Workshop, git, put
from workshop import workshop as workshop  # noqa: PLC0414 - a fixture

from labrig.merge import EXECUTABLE
from labrig.render import ANSWERS_FILE


@pytest.fixture
def real(workshop: Workshop, plain_template: Path) -> Workshop:
    """The template of this checkout as v1, and a v2 that changes code, a manifest and the rules for git."""
    shutil.copytree(plain_template, workshop.template)
    git(workshop.template, "init", "--quiet")
    workshop.release("v1", {})
    tools = (workshop.template / "template/tools.toml.part").read_text()
    ignored = (workshop.template / "template/.gitignore.jinja").read_text()
    workshop.release(
        "v2",
        {
            "tools.toml.part": tools.replace("line-length = 120", "line-length = 110"),
            ".gitignore.jinja": "out/\n" + ignored,
        },
    )
    return workshop


def test_an_untouched_repository_becomes_a_fresh_one_as_with_copier(real: Workshop) -> None:
    real.generate({"framework": "jax"})
    assert real.copier().returncode == 0
    assert real.labrig("update", "--no-lock").code == 0
    fresh = real.render("v2", {"framework": "jax"})
    for path, content in fresh.items():
        assert (real.root / path).read_bytes() == content == real.copier_reads(path), path
    assert sorted(git(real.root, "ls-files").splitlines()) == sorted(fresh)


def test_switching_with_edits_keeps_them_and_switching_back_gives_the_state_before(real: Workshop) -> None:
    real.generate({"framework": "pytorch", "package_manager": "uv"})
    manifest = real.read("pyproject.toml")
    assert '"tyro' in manifest
    put(
        real.root,
        {
            "pyproject.toml": manifest.replace("dependencies = [\n", 'dependencies = [\n  "pandas>=2", # mine\n', 1),
            "README.md": "Mine.\n\n" + real.read("README.md"),
            "src/demo/mine.py": "mine = 1\n",
            ".gitignore": real.read(".gitignore") + "\n# Mine\nscratch/\n",
        },
    )
    real.commit()
    before = real.state()
    done = real.labrig("set", "package_manager=poetry", "framework=jax", "--no-lock")
    assert done.code == 0, done.err
    after = real.read("pyproject.toml")
    assert "pandas" in after
    assert "# mine" in after
    assert real.read("README.md").startswith("Mine.\n")
    assert real.read(".gitignore").endswith("# Mine\nscratch/\n")
    assert real.record()["package_manager"] == "poetry"
    real.commit()
    assert real.labrig("set", "package_manager=uv", "framework=pytorch", "--no-lock").code == 0
    real.commit()
    after_back = real.state()
    assert {path: state for path, state in after_back.items() if path != ".git HEAD"} == {
        path: state for path, state in before.items() if path != ".git HEAD"
    }


def test_a_switch_that_another_answer_does_not_go_with_asks_for_it(real: Workshop) -> None:
    real.generate({"framework": "pytorch", "accelerator": "cu126"})
    done = real.labrig("set", "framework=jax", "--yes")
    assert done.code == 3
    assert "accelerator" in done.err
    assert "labrig set framework=jax accelerator=..." in done.err
    assert real.labrig("set", "framework=jax", "accelerator=cu130", "--yes", "--no-lock").code == 0
    assert real.record()["accelerator"] == "cu130"


def test_the_library_and_the_example_follow_the_framework_both_ways(real: Workshop) -> None:
    real.generate({"framework": "pytorch"})
    for framework, library, example in (("sklearn", "pipeline", "digits"), ("jax", "nnx", "addition")):
        done = real.labrig("set", f"framework={framework}", "--yes", "--no-lock")
        assert done.code == 0, done.err
        record = real.record()
        assert (record["library"], record["example"]) == (library, example)
        real.commit()
    assert real.labrig("set", "example=text", "--yes", "--no-lock").code == 0
    real.commit()
    done = real.labrig("set", "framework=sklearn", "--yes", "--no-lock")
    assert done.code == 3
    assert "labrig set framework=sklearn example=..." in done.err


def test_copier_goes_on_where_labrig_was(real: Workshop) -> None:
    real.generate()
    assert real.labrig("update", "--no-lock").code == 0
    real.commit()
    tools = (real.template / "template/tools.toml.part").read_text()
    real.release("v3", {"tools.toml.part": tools.replace("110", "100")})
    assert real.copier().returncode == 0
    fresh = real.render("v3")
    assert real.copier_reads(ANSWERS_FILE) == fresh[ANSWERS_FILE]
    assert real.copier_reads("pyproject.toml") == fresh["pyproject.toml"]


# Afterwards


QUESTION = "package_manager: {type: str, default: uv}\naccelerator: {type: str, default: cpu}\n"
MANIFEST = "[project]\nname = 'first'\nversion = '0'\nrequires-python = '>=3.11'\n"


def test_the_lock_is_refreshed_when_the_manifest_has_changed(workshop: Workshop) -> None:
    workshop.release("v1", {"pyproject.toml": MANIFEST, "a.txt": "a\n"}, QUESTION)
    workshop.release("v2", {"a.txt": "b\n"})
    workshop.release("v3", {"pyproject.toml": MANIFEST.replace("first", "second")})
    workshop.generate()
    workshop.change({"uv.lock": "not one\n"})
    assert workshop.labrig("update", "--to", "v2").code == 0
    assert workshop.read("uv.lock") == "not one\n", "the manifest is the same"
    workshop.commit()
    assert workshop.labrig("update", "--no-lock").code == 0
    assert workshop.read("uv.lock") == "not one\n"
    git(workshop.root, "reset", "--quiet", "--hard")
    (workshop.root / "uv.lock").unlink()
    subprocess.run(["uv", "lock", "--quiet"], cwd=workshop.root, check=True)
    workshop.commit()
    before = workshop.state()
    done = workshop.labrig("update")
    assert done.code == 0, done.err
    assert 'name = "second"' in workshop.read("uv.lock")
    assert "M  uv.lock" in workshop.status()
    undo = next(line for line in done.err.splitlines() if "or go back" in line).partition("#")[0].split()
    git(workshop.root, *undo[1:])
    assert workshop.state() == before


def test_a_lock_that_cannot_be_refreshed_is_said_with_its_command(workshop: Workshop) -> None:
    workshop.release("v1", {"pyproject.toml": MANIFEST}, QUESTION)
    workshop.release("v2", {"pyproject.toml": f"{MANIFEST}dependencies = ['none @ file:///nowhere']\n"})
    workshop.generate()
    workshop.change({"uv.lock": "version = 1\n"})
    done = workshop.labrig("update")
    assert done.code == 0
    assert "warning: uv.lock is of the manifest before" in done.err
    assert "tip: uv lock" in done.err


PIP_QUESTIONS = """\
package_manager: {{type: str, default: pip}}
accelerator: {{type: str, default: cpu}}
python: {{type: str, default: '{}.{}'}}
"""
TESTS = """\
from code_under_test import double


def test_double():
    assert double(2) == 4


def test_other():
    pass
"""


def test_tests_are_run_before_and_after_and_compared(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    workshop.release(
        "v1",
        {
            "code_under_test.py": "def double(x):\n    return 2 * x\n",
            "test_it.py": TESTS,
            ".gitignore": ".venv\n*.pyc\n",
        },
        PIP_QUESTIONS.format(*sys.version_info),
    )
    workshop.release("v2", {"code_under_test.py": "def double(x):\n    return 3 * x\n"})
    workshop.generate()
    programs = workshop.root / ".venv/bin"
    put(programs, {"python": f'#!/bin/sh\nexec {sys.executable} "$@"\n'})
    (programs / "python").chmod(0o755)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    done = workshop.labrig("update", "--test")
    assert done.code == 1, done.err
    assert "Tests: 2 of 2 passed before, 1 of 2 now" in done.err
    assert "worse test_it::test_double" in done.err
    assert "return 3 * x" in workshop.read("code_under_test.py")


def test_json_says_everything(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt": "a\nb\nc\n", "b.txt": "b\n"})
    workshop.release("v2", {"a.txt": "a\ntheirs\nc\n", "b.txt": None, "c.txt": "c\n"})
    workshop.generate()
    workshop.change({"a.txt": "a\nmine\nc\n"})
    done = workshop.labrig("update", "--json")
    assert done.code == 3
    said = done.object
    assert (said["ok"], said["from"], said["to"]) == (False, "v1", "v2")
    assert said["files"] == {ANSWERS_FILE: "changed", "a.txt": "changed", "b.txt": "deleted", "c.txt": "added"}
    assert said["conflicts"] == [
        {
            "path": "a.txt",
            "reason": "both sides changed the same lines",
            "places": [{"line": 2, "yours": "mine", "template": "theirs"}],
        }
    ]
    subprocess.run(["sh", "-c", said["undo"]], cwd=workshop.root, check=True)
    assert workshop.status() == []


# Random repositories, on disk


@pytest.mark.complete
@pytest.mark.parametrize("seed", range(40))
def test_a_random_update_ends_as_git_would_have_it_and_can_be_undone(workshop: Workshop, seed: int) -> None:
    chance = random.Random(seed)

    def operations() -> list[Operation]:
        return [
            Operation(chance.choice(KINDS), chance.randrange(13), chance.randrange(40))
            for _ in range(chance.randint(1, 6))
        ]

    workshop.release("v0", {})
    write_files(workshop.template / "template", {}, BASE)
    workshop.release("v1", {})
    write_files(workshop.template / "template", BASE, changed(operations(), "theirs"))
    workshop.release("v2", {})
    workshop.generate()
    write_files(workshop.root, {}, BASE)  # with their modes
    workshop.commit()
    write_files(workshop.root, BASE, changed(operations(), "mine"))
    workshop.commit()
    before = workshop.state()
    done = workshop.labrig("update", "--json")
    said = done.object
    if "error" in said:
        assert (done.code, said["error"]["kind"]) == (3, "unmergeable"), said
        assert workshop.state() == before
        return
    assert done.code == (3 if said["conflicts"] else 0)
    assert git(workshop.root, "ls-files", "--others") == ""
    differing = git(workshop.root, "diff-files", "--name-only").split()
    assert set(differing) == {conflict["path"] for conflict in said["conflicts"]}
    subprocess.run(["sh", "-c", said["undo"]], cwd=workshop.root, check=True)
    assert workshop.state() == before


def write_files(folder: Path, before: Tree, after: Tree) -> None:
    """Make the files of one tree those of another."""
    for path in before.keys() - after.keys():
        (folder / path).unlink()
        for parent in (folder / path).relative_to(folder).parents:
            if parent != Path() and not any((folder / parent).iterdir()):
                (folder / parent).rmdir()
    put(folder, {path: content for path, (_, content) in after.items()})
    for path, (mode, _) in after.items():
        (folder / path).chmod(0o755 if mode == EXECUTABLE else 0o644)
