"""Presets: built in, one's own, or an organization's, which may lock answers for everybody."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labrig import presets
from labrig.cli import main
from labrig.errors import PresetError
from labrig.render import Template

Labrig = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def labrig(
    plain_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Labrig:
    """Runs `labrig WORDS... --json` in an empty folder, the template a plain one; the exit code and the object."""
    monkeypatch.setenv("LABRIG_TEMPLATE", str(plain_template))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")

    def run(*words: str) -> tuple[int, dict[str, Any]]:
        capfd.readouterr()
        code = main([*words, "--json"])
        return code, json.loads(capfd.readouterr().out)

    return run


def write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_every_built_in_preset_can_be_taken_and_changes_something(template: Template) -> None:
    defaults = template.resolve({}, folder_name="demo").recorded
    for preset in presets.BUILT_IN:
        answers = template.resolve(preset.answers, folder_name="demo").recorded
        assert (answers == defaults) is (preset.name == "recommended")


def test_a_saved_preset_is_listed_shown_and_taken(labrig: Labrig) -> None:
    assert labrig("presets", "save", "mine", "framework=jax", "hooks=no")[0] == 0
    code, listed = labrig("presets", "list")
    assert code == 0
    assert listed["mine"]["answers"] == {"framework": "jax", "hooks": False}
    assert labrig("presets", "show", "mine")[1]["answers"] == {"framework": "jax", "hooks": False}
    answers = labrig("new", "demo", "--dry-run", "--preset", "mine")[1]["answers"]
    assert (answers["framework"], answers["hooks"]) == ("jax", False)


def test_a_preset_saved_from_a_repository_leaves_out_what_belongs_to_it(labrig: Labrig) -> None:
    labrig("new", "demo", "--yes", "--description", "About this one", "--ci", "none")
    assert labrig("presets", "save", "mine", "--answers", "demo")[0] == 0
    answers = labrig("presets", "show", "mine")[1]["answers"]
    assert answers["ci"] == "none"
    assert not {"project_name", "package", "description", "repository"} & answers.keys()


@pytest.mark.parametrize(
    "words", [["x", "framwork=jax"], ["x", "ci=jenkins"], ["../x", "ci=none"], ["minimal", "ci=none"]]
)
def test_a_preset_that_could_not_be_taken_is_not_saved(words: list[str], labrig: Labrig, tmp_path: Path) -> None:
    assert labrig("presets", "save", *words)[0] == 2
    assert not list(tmp_path.rglob("*.toml"))


def test_later_presets_win(labrig: Labrig, tmp_path: Path) -> None:
    one = write(tmp_path / "one.toml", '[answers]\nci = "none"\nlicense = "none"\n')
    two = write(tmp_path / "two.toml", '[answers]\nci = "gitlab"\n')
    answers = labrig("new", "demo", "--dry-run", "--preset", one, "--preset", two)[1]["answers"]
    assert (answers["ci"], answers["license"]) == ("gitlab", "none")


def test_a_preset_extends_another(labrig: Labrig, tmp_path: Path) -> None:
    write(tmp_path / "base.toml", 'extends = "minimal"\n[answers]\nci = "gitlab"\nlicense = "none"\n')
    path = write(tmp_path / "mine.toml", 'extends = "base"\n[answers]\nlicense = "apache-2.0"\n')
    answers = labrig("new", "demo", "--dry-run", "--preset", path)[1]["answers"]
    assert (answers["type_checker"], answers["ci"], answers["license"]) == ("none", "gitlab", "apache-2.0")


def test_an_organization_keeps_presets_in_a_git_repository(labrig: Labrig, tmp_path: Path) -> None:
    repository = tmp_path / "standards.git"
    write(repository / "cluster.toml", 'locked = ["license"]\n[answers]\nlicense = "apache-2.0"\nci = "gitlab"\n')
    git = ["git", "-C", str(repository), "-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "--quiet", "--no-gpg-sign", "-m", "Standards"], check=True)
    for reference in (f"file://{repository}#cluster", f"{repository}#cluster"):
        answers = labrig("new", "demo", "--dry-run", "--preset", reference)[1]["answers"]
        assert (answers["license"], answers["ci"]) == ("apache-2.0", "gitlab")
    code, result = labrig("new", "demo", "--dry-run", "--preset", f"file://{repository}#clutser")
    assert code == 2
    assert "Did you mean 'cluster'?" in result["error"]["message"]


def test_a_locked_answer_cannot_be_changed_by_anything(
    labrig: Labrig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "lab.toml", 'locked = ["license"]\n[answers]\nlicense = "apache-2.0"\n')
    other = write(tmp_path / "other.toml", '[answers]\nlicense = "mit"\n')
    answers = write(tmp_path / "answers.yml", "license: mit\n")
    new = ["new", "demo", "--yes", "--preset", path]
    for words in (["--license", "mit"], ["--set", "license=mit"], ["--answers", answers]):
        code, result = labrig(*new, *words)
        assert (code, result["error"]["kind"]) == (2, "locked_answer")
        assert result["error"]["cause"] == "the preset lab locks it to apache-2.0"
    assert labrig(*new, "--preset", other)[1]["error"]["kind"] == "preset"
    monkeypatch.setenv("LABRIG_LICENSE", "mit")
    assert labrig(*new)[1]["error"]["kind"] == "locked_answer"
    monkeypatch.setenv("LABRIG_LICENSE", "apache-2.0")
    assert labrig(*new)[0] == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[answers", "cannot be read"),
        ('answer = {ci = "none"}', "holds 'answer'"),
        ('locked = "ci"', "malformed"),
        ('locked = ["ci"]', "locks ci and does not answer it"),
        ('extends = "mine.toml"', "extends itself"),
        ('extends = "nothing"', "there is no preset 'nothing'"),
    ],
)
def test_a_broken_preset_is_refused(text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "mine.toml", text)
    with pytest.raises(PresetError, match=message):
        presets.load("mine.toml")


@pytest.mark.parametrize("answers", ['ci = "jenkins"', 'framwork = "jax"', "hooks = 3"])
def test_a_wrong_answer_in_a_preset_is_refused_with_its_name(answers: str, labrig: Labrig, tmp_path: Path) -> None:
    path = write(tmp_path / "mine.toml", f"[answers]\n{answers}\n")
    code, result = labrig("new", "demo", "--yes", "--preset", path)
    assert code == 2
    assert result["error"]["message"].endswith("(the preset mine)")


def test_an_unknown_preset_is_refused_and_the_likely_one_named(labrig: Labrig) -> None:
    code, result = labrig("new", "demo", "--yes", "--preset", "minimul")
    assert code == 2
    assert "Did you mean 'minimal'?" in result["error"]["message"]


def test_a_preset_file_cannot_be_read_from_outside_an_organization_s_folder(tmp_path: Path) -> None:
    write(tmp_path / "secret.toml", "[answers]\n")
    write(tmp_path / "standards" / "x.toml", "[answers]\n")
    with pytest.raises(PresetError, match="there is no preset"):
        presets.load(f"{tmp_path}/standards#../secret")


def test_presets_that_git_cannot_read_are_refused_with_its_reason(labrig: Labrig, tmp_path: Path) -> None:
    for reference in (f"file://{tmp_path}/nothing.git#lab", f"{tmp_path}/nothing.git#lab"):
        code, result = labrig("new", "demo", "--dry-run", "--preset", reference)
        assert (code, result["error"]["kind"]) == (2, "preset")
        assert result["error"]["message"] == f"the presets in {reference.partition('#')[0]} cannot be read"
        assert "exist" in result["error"]["cause"] or "not appear to be a git repository" in result["error"]["cause"]
