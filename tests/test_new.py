"""`labrig new` through its command line: what it creates, what it refuses, and that a refusal leaves no trace."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import stat
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from repositories import ROOT

from labrig.cli import main
from labrig.render import Template


@dataclass(frozen=True)
class Run:
    """What a command gave back."""

    code: int
    out: str
    err: str

    @property
    def object(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.out)
        return content


Labrig = Callable[..., Run]


@pytest.fixture
def labrig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Labrig:
    """Runs `labrig WORDS...` in an empty folder, as a user with nothing but git would."""
    work = tmp_path / "work"
    programs = tmp_path / "programs"
    for folder in (work, programs):
        folder.mkdir()
    git = shutil.which("git")
    assert git
    (programs / "git").symlink_to(git)
    for name in list(os.environ):
        if name.startswith(("LABRIG_", "GIT_", "XDG_")) or name in {"CI", "CLAUDECODE", "AI_AGENT"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.chdir(work)

    def run(*words: str) -> Run:
        capfd.readouterr()
        code = main(list(words))
        captured = capfd.readouterr()
        return Run(code, captured.out, captured.err)

    return run


@pytest.fixture
def plain_labrig(labrig: Labrig, plain_template: Path, monkeypatch: pytest.MonkeyPatch) -> Labrig:
    """The same with a template that is a folder: git checks out no version of it for each of many runs."""
    monkeypatch.setenv("LABRIG_TEMPLATE", str(plain_template))
    return labrig


def content(folder: Path) -> dict[str, tuple[bytes, bool]]:
    """Every file below a folder, without git's own."""
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), bool(path.stat().st_mode & stat.S_IXUSR))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# What it creates


def test_yes_creates_a_repository_with_every_default(labrig: Labrig) -> None:
    result = labrig("new", "demo", "--yes")
    assert result.code == 0, result.err
    assert entries(Path()) == ["demo"]
    template = Template(ROOT)
    expected = template.render(template.resolve({}, folder_name="demo"))
    assert content(Path("demo")).keys() == expected.keys()
    answers = yaml.safe_load(Path("demo/.copier-answers.yml").read_text(encoding="utf-8"))
    assert answers["framework"] == "pytorch"
    assert "_src_path" in answers
    assert "Same again" in result.err
    assert result.out == ""


def test_the_repository_is_a_git_repository_on_main_without_a_commit(labrig: Labrig) -> None:
    assert labrig("new", "demo", "--yes").code == 0
    head = Path("demo/.git/HEAD").read_text(encoding="utf-8")
    assert head == "ref: refs/heads/main\n"
    assert not list(Path("demo/.git/refs/heads").iterdir())


def test_inside_a_work_tree_no_second_repository_is_made(labrig: Labrig) -> None:
    subprocess.run(["git", "init", "--quiet", "."], check=True)
    assert labrig("new", "demo", "--yes").code == 0
    assert not Path("demo/.git").exists()


def test_git_can_be_left_out(labrig: Labrig) -> None:
    assert labrig("new", "demo", "--yes", "--no-git").code == 0
    assert not Path("demo/.git").exists()


def test_variables_of_a_git_hook_do_not_lead_git_astray(labrig: Labrig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nonexistent/index")
    assert labrig("new", "demo", "--yes").code == 0
    assert Path("demo/.git/HEAD").exists()


def test_the_files_have_the_modes_that_the_user_s_umask_gives(labrig: Labrig) -> None:
    before = os.umask(0o027)
    try:
        assert labrig("new", "demo", "--yes").code == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE(Path("demo").stat().st_mode) == 0o750
    assert stat.S_IMODE(Path("demo/README.md").stat().st_mode) == 0o640


def test_folders_above_the_repository_are_made(labrig: Labrig) -> None:
    assert labrig("new", "a/b/demo", "--yes").code == 0
    assert entries(Path("a/b")) == ["demo"]
    assert entries(Path()) == ["a"]


def test_an_empty_folder_is_filled(labrig: Labrig) -> None:
    Path("demo").mkdir()
    assert labrig("new", "demo", "--yes").code == 0
    assert Path("demo/README.md").exists()


def test_the_folder_one_stands_in_is_filled_when_it_is_empty(labrig: Labrig, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("demo").mkdir()
    folder = Path("demo").absolute()
    monkeypatch.chdir(folder)
    assert labrig("new", ".", "--yes").code == 0
    assert (folder / "README.md").exists()


def test_without_a_directory_the_project_s_name_is_taken(labrig: Labrig) -> None:
    assert labrig("new", "--project-name", "demo", "--yes").code == 0
    assert entries(Path()) == ["demo"]


def test_dry_run_lists_the_files_and_writes_nothing(labrig: Labrig) -> None:
    result = labrig("new", "demo", "--dry-run")
    assert result.code == 0
    assert "README.md" in result.out.split()
    assert entries(Path()) == []


def without_python(command: list[str]) -> list[str]:
    """`command` without the option that a machine with a newer interpreter needs."""
    at = command.index("--python") if "--python" in command else len(command)
    return command[:at] + command[at + 2 :]


def test_json_is_one_object_with_what_was_done(labrig: Labrig) -> None:
    result = labrig("new", "demo", "--yes", "--json", "--set", "ci=none")
    assert result.err == ""
    assert result.object["ok"] is True
    assert result.object["answers"]["ci"] == "none"
    assert sorted(result.object["files"]) == sorted(content(Path("demo")))
    assert without_python(result.object["command"]) == ["labrig", "new", "demo", "--ci", "none", "--yes"]


def test_json_of_an_error_is_one_object_too(labrig: Labrig) -> None:
    result = labrig("new", "demo", "--yes", "--json", "--ci", "jenkins")
    assert (result.code, result.err) == (2, "")
    assert result.object["ok"] is False
    assert result.object["error"]["kind"] == "unknown_choice"
    assert result.object["error"]["question"] == "ci"


def test_quiet_says_nothing_but_errors(labrig: Labrig) -> None:
    assert labrig("new", "demo", "--yes", "--quiet") == Run(0, "", "")
    assert "error:" in labrig("new", "demo", "--yes", "--quiet").err


def test_no_colours_go_to_a_pipe(labrig: Labrig) -> None:
    assert "\x1b" not in labrig("new", "demo", "--yes").err


# The levels of answers


def test_every_later_level_wins_over_the_earlier_ones(labrig: Labrig, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("mine.toml").write_text('[answers]\nci = "none"\nlicense = "none"\neditor = "none"\n', encoding="utf-8")
    Path("answers.yml").write_text("ci: gitlab\neditor: cursor\n", encoding="utf-8")
    monkeypatch.setenv("LABRIG_CI", "github")
    words = ["new", "demo", "--yes", "--json", "--preset", "mine.toml", "--answers", "answers.yml"]
    answers = labrig(*words, "--dry-run").object["answers"]
    assert (answers["license"], answers["editor"], answers["ci"]) == ("none", "cursor", "github")
    assert labrig(*words, "--ci", "none").object["answers"]["ci"] == "none"


@pytest.mark.parametrize("step", [8, pytest.param(1, marks=pytest.mark.complete)])
def test_questions_can_be_answered_by_flag_setting_variable_and_file(
    step: int, plain_labrig: Labrig, monkeypatch: pytest.MonkeyPatch, template: Template
) -> None:
    others = {"author_email": "a@b.c", "repository": "https://a.b/c", "accelerator": "cu130"}
    others |= {"library": "lightning", "example": "text"}  # the last are not PyTorch's
    for name, question in list(template.questions.items())[::step]:
        value = question.choices[-1].value if question.choices else {"bool": False, "str": "ada"}[question.type]
        value = others.get(name, value)
        text = "no" if value is False else str(value)
        value = [value] if question.many else value
        flag = "--" + name.replace("_", "-")
        by_flag = plain_labrig("new", "demo", "--dry-run", "--json", flag, text).object["answers"]
        by_setting = plain_labrig("new", "demo", "--dry-run", "--json", "--set", f"{name}={text}").object["answers"]
        Path("answers.yml").write_text(yaml.safe_dump({name: value}), encoding="utf-8")
        by_file = plain_labrig("new", "demo", "--dry-run", "--json", "--answers", "answers.yml").object["answers"]
        monkeypatch.setenv(f"LABRIG_{name.upper()}", text)
        by_variable = plain_labrig("new", "demo", "--dry-run", "--json").object["answers"]
        monkeypatch.delenv(f"LABRIG_{name.upper()}")
        assert by_flag[name] == value
        assert by_flag == by_setting == by_variable == by_file


def test_a_variable_that_answers_no_question_is_named(labrig: Labrig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABRIG_FRAMWORK", "jax")
    assert "Did you mean 'LABRIG_FRAMEWORK'?" in labrig("new", "demo", "--yes").err


def test_the_answers_file_of_a_repository_can_be_given_again(labrig: Labrig) -> None:
    assert labrig("new", "one", "--yes", "--framework", "jax", "--ci", "none", "--project-name", "same").code == 0
    assert labrig("new", "two", "--yes", "--answers", "one").code == 0
    assert content(Path("one")) == content(Path("two"))


# The command that repeats the run

HOSTILE = 'it\'s "quoted" $(touch PWNED) `id` ${HOME} \\ {{ x }} 👩‍👩‍👧 # & | ; *'


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--framework", "jax", "--package-manager", "pip", "--accelerator", "cu129"],
        ["--description", HOSTILE, "--author-name", HOSTILE],
        ["--package-manager", "conda", "--hooks", "no", "--agents", "no"],
        ["--project-name", "Other.Name", "--no-git"],
        ["--preset", "minimal", "--type-checker", "mypy"],
    ],
)
def test_the_printed_command_creates_the_same_again(words: list[str], labrig: Labrig) -> None:
    first = labrig("new", "demo", "--yes", *words)
    assert first.code == 0, first.err
    command = first.err.rstrip().splitlines()[-1].strip()
    Path("demo").rename("first")
    again = subprocess.run(["/bin/sh", "-c", f"printf '%s\\0' {command}"], capture_output=True, check=True).stdout
    program, *rest = again.decode().rstrip("\0").split("\0")
    assert program == "labrig"
    assert shlex.split(command) == ["labrig", *rest]
    assert labrig(*rest).code == 0
    assert content(Path("first")) == content(Path("demo"))
    assert Path("first/.git").exists() == Path("demo/.git").exists()
    assert not list(Path().rglob("PWNED"))


def test_the_printed_command_holds_only_what_differs_from_the_defaults(labrig: Labrig) -> None:
    result = labrig("new", "demo", "--yes", "--json", "--framework", "pytorch", "--ci", "gitlab", "--hooks", "yes")
    assert without_python(result.object["command"]) == ["labrig", "new", "demo", "--ci", "gitlab", "--yes"]


def test_the_printed_command_gives_the_same_on_a_machine_that_suggests_otherwise(labrig: Labrig) -> None:
    python = labrig("new", "demo", "--dry-run", "--json").object["answers"]["python"]
    command = labrig("new", "demo", "--dry-run", "--json").object["command"]
    assert ("--python" in command) == (python != "3.12"), "3.12 is what the template takes by itself"
    assert not any(word.startswith("--author") for word in command)


def test_the_printed_command_installs_and_trains_if_the_first_did(labrig: Labrig) -> None:
    command = labrig("new", "demo", "--dry-run", "--json", "--install", "--run").object["command"]
    assert command[-3:] == ["--yes", "--install", "--run"]


def test_the_printed_command_holds_against_variables(labrig: Labrig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABRIG_CI", "none")
    result = labrig("new", "demo", "--dry-run", "--json", "--ci", "github")
    assert without_python(result.object["command"]) == ["labrig", "new", "demo", "--ci", "github", "--yes"]


# What it refuses


def refused(labrig: Labrig, *words: str, kind: str) -> dict[str, str]:
    """The error of a command that must end with exit code 2 and leave no trace."""
    before = sorted(path for path in Path().rglob("*"))
    result = labrig(*words, "--json")
    assert result.code == 2, result
    error: dict[str, str] = result.object["error"]
    assert error["kind"] == kind, error
    spoken = labrig(*words)
    assert spoken.code == 2
    assert spoken.err.splitlines()[-1 - (error["tip"] or "").count("\n")] if error["tip"] else True
    assert "error: " in spoken.err
    assert "Traceback" not in spoken.err
    assert sorted(path for path in Path().rglob("*")) == before
    return error


def test_an_unknown_option_is_refused_and_the_likely_one_named(labrig: Labrig) -> None:
    error = refused(labrig, "new", "demo", "--yes", "--framwork", "jax", kind="usage")
    assert "Did you mean '--framework'?" in error["message"]


def test_an_unknown_question_is_refused_and_the_likely_one_named(labrig: Labrig) -> None:
    error = refused(labrig, "new", "demo", "--yes", "--set", "framwork=jax", kind="unknown_question")
    assert "Did you mean 'framework'?" in error["message"]


def test_an_unknown_value_is_refused_with_those_that_exist(labrig: Labrig) -> None:
    error = refused(labrig, "new", "demo", "--yes", "--package-manager", "potery", kind="unknown_choice")
    assert error["message"] == "package_manager cannot be 'potery'. Did you mean 'poetry'?"
    assert error["cause"] == "it takes one of: uv, pip, conda, poetry"


def test_a_setting_without_a_value_is_refused(labrig: Labrig) -> None:
    refused(labrig, "new", "demo", "--yes", "--set", "framework", kind="usage")


def test_a_forbidden_pair_is_refused_with_the_sentence_that_greys_the_choice_out(
    labrig: Labrig, template: Template
) -> None:
    error = refused(
        labrig, "new", "demo", "--yes", "--framework", "jax", "--accelerator", "cu128", kind="forbidden_choice"
    )
    assert error["cause"] == template.why_not("accelerator", "cu128", {"framework": "jax"}, folder_name="demo")


@pytest.mark.parametrize(
    "name",
    ["class", "torch", "json", "test", "CON", "x", "-demo", "9lives", "a" * 40, "a" * 300, "demo ", "dé", "🧪demo",
     "\u202eomed", "a'b", 'a"b', "{{demo}}", "$(id)", "a\nb", "a\x1bb", "a;b", "true"],
)  # fmt: skip
def test_a_name_that_would_break_the_repository_is_refused(name: str, plain_labrig: Labrig) -> None:
    words = ["--", name] if name.startswith("-") else [name]
    error = refused(plain_labrig, "new", "--yes", *_before_json(words), kind=_kind_of(name))
    assert error["message"]
    assert refused(plain_labrig, "new", "demo", "--yes", f"--project-name={name}", kind="invalid_answer")["cause"]


def _before_json(words: list[str]) -> list[str]:
    return [words[-1].replace("-demo", "./-demo")]


def _kind_of(name: str) -> str:
    return "destination" if len(name.encode()) > 255 else "invalid_answer"


@pytest.mark.parametrize("name", ["", "..", ".", "a/b", "../x", "/", "/etc", "~"])
def test_a_name_that_is_a_path_is_refused(name: str, plain_labrig: Labrig) -> None:
    refused(plain_labrig, "new", "demo", "--yes", f"--project-name={name}", kind="invalid_answer")


@pytest.mark.parametrize("directory", ["", "..", "/", ".git"])
def test_a_directory_that_cannot_be_a_project_is_refused(directory: str, labrig: Labrig) -> None:
    result = labrig("new", directory, "--yes")
    assert result.code == 2
    assert "error:" in result.err
    assert entries(Path()) == []


def test_a_nul_in_a_path_is_refused(labrig: Labrig) -> None:
    assert labrig("new", "a\0b", "--yes").code == 2


@pytest.mark.parametrize("option", ["description", "author-name"])
def test_text_that_cannot_be_printed_is_refused(option: str, plain_labrig: Labrig) -> None:
    for text in ("a\nb", "\x1b[31m", "\u202eb", "\x7f", "caf\udce9"):
        refused(plain_labrig, "new", "demo", "--yes", f"--{option}={text}", kind="invalid_answer")


def test_a_file_in_the_place_is_refused(labrig: Labrig) -> None:
    Path("demo").write_text("mine", encoding="utf-8")
    assert "not a folder" in refused(labrig, "new", "demo", "--yes", kind="destination")["message"]
    assert "not a folder" in refused(labrig, "new", "demo/inside", "--yes", kind="destination")["cause"]
    assert Path("demo").read_text(encoding="utf-8") == "mine"


def test_a_folder_with_files_is_refused(labrig: Labrig) -> None:
    Path("demo").mkdir()
    Path("demo/train.py").touch()
    assert "train.py" in refused(labrig, "new", "demo", "--yes", kind="destination")["cause"]


def test_a_repository_of_labrig_is_not_overwritten(labrig: Labrig) -> None:
    assert labrig("new", "demo", "--yes").code == 0
    before = content(Path("demo"))
    assert "already made by labrig" in refused(labrig, "new", "demo", "--yes", kind="destination")["message"]
    assert content(Path("demo")) == before


@pytest.mark.parametrize("target", ["elsewhere", "nowhere"])
def test_a_symbolic_link_is_refused(target: str, labrig: Labrig) -> None:
    Path("elsewhere").mkdir()
    Path("demo").symlink_to(target)
    assert "symbolic link" in refused(labrig, "new", "demo", "--yes", kind="destination")["message"]
    assert entries(Path("elsewhere")) == []


def test_a_place_inside_the_template_is_refused(labrig: Labrig) -> None:
    for place in (ROOT / "template" / "demo", ROOT / "demo"):
        error = refused(labrig, "new", str(place), "--yes", kind="destination")
        assert "inside the template" in error["message"]
        assert not place.exists()


def test_without_a_terminal_nothing_waits_and_the_command_that_works_is_named(labrig: Labrig) -> None:
    error = refused(labrig, "new", "demo", "--ci", "none", kind="not_interactive")
    assert "labrig new demo --ci none --yes" in error["tip"]


def test_an_agent_is_told_that_nothing_is_asked(labrig: Labrig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAUDECODE", "1")
    assert "CLAUDECODE is set" in refused(labrig, "new", "demo", kind="not_interactive")["message"]


@pytest.mark.parametrize("name", ["jax", "class", "9Foo_a", "éé", "x" * 80, "Torch"])
def test_the_name_that_is_proposed_for_a_refused_one_is_taken(plain_labrig: Labrig, name: str) -> None:
    proposed = refused(plain_labrig, "new", name, "--yes", kind="invalid_answer")["tip"].removeprefix("labrig new ")
    assert plain_labrig("new", proposed, "--dry-run").code == 0


def test_without_a_name_nothing_is_created(labrig: Labrig) -> None:
    assert refused(labrig, "new", "--yes", kind="usage")["tip"] == "for example: labrig new my-experiment --yes"


@pytest.mark.parametrize(
    "text",
    [
        "[1, 2]",
        "just text",
        "a: [",
        "framework: jax\nframework: [",
        "\t- x",
        "1: 2",
        "framwork: jax",
        "<<<<<<<\nci: none",
    ],
)
def test_a_broken_answers_file_is_refused(text: str, plain_labrig: Labrig) -> None:
    Path("answers.yml").write_text(text, encoding="utf-8")
    assert (
        "answers.yml"
        in refused(plain_labrig, "new", "demo", "--yes", "--answers", "answers.yml", kind="answers_file")["message"]
    )


def test_an_answers_file_that_is_not_text_or_not_there_is_refused(labrig: Labrig) -> None:
    Path("answers.yml").write_bytes(b"ci: \xff\xfe")
    refused(labrig, "new", "demo", "--yes", "--answers", "answers.yml", kind="answers_file")
    refused(labrig, "new", "demo", "--yes", "--answers", "nowhere.yml", kind="answers_file")


def test_a_wrong_answer_in_a_file_or_variable_is_refused_with_its_origin(
    labrig: Labrig, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("answers.yml").write_text("ci: jenkins", encoding="utf-8")
    error = refused(labrig, "new", "demo", "--yes", "--answers", "answers.yml", kind="unknown_choice")
    assert error["message"].endswith("(answers.yml)")
    monkeypatch.setenv("LABRIG_CI", "jenkins")
    assert refused(labrig, "new", "demo", "--yes", kind="unknown_choice")["message"].endswith("(LABRIG_CI)")


def test_without_git_the_files_are_created_all_the_same(labrig: Labrig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    plain = Path("plain")
    shutil.copytree(ROOT, plain, ignore=shutil.ignore_patterns(".git", ".venv", "*cache*", "src", "tests"))
    assert labrig("new", "demo", "--yes", "--template", "plain").code == 0
    assert not Path("demo/.git").exists()


# Answers reach the files unchanged


def test_text_arrives_unchanged_in_toml_and_yaml(labrig: Labrig) -> None:
    assert labrig("new", "demo", "--yes", "--description", HOSTILE, "--author-name", HOSTILE).code == 0
    project = tomllib.loads(Path("demo/pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["description"] == HOSTILE
    assert project["authors"][0]["name"] == HOSTILE
    answers = yaml.safe_load(Path("demo/.copier-answers.yml").read_text(encoding="utf-8"))
    assert (answers["description"], answers["author_name"]) == (HOSTILE, HOSTILE)


# The rest of the command line


def test_help_and_version_need_no_template(labrig: Labrig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABRIG_TEMPLATE", "/nonexistent")
    assert "new" in labrig("--help").out
    assert labrig("--version").out == "labrig 0.1.0\n"
    assert labrig("new", "--help").code != 0


def test_labrig_alone_shows_the_help(labrig: Labrig) -> None:
    assert labrig() == labrig("--help")
    assert labrig().code == 0


def test_help_of_new_lists_every_question(labrig: Labrig, template: Template) -> None:
    text = labrig("new", "--help").out
    assert all("--" + name.replace("_", "-") in text for name in template.questions)


def test_an_unknown_command_is_refused_and_the_likely_one_named(labrig: Labrig) -> None:
    result = labrig("nwe", "demo")
    assert result.code == 2
    assert "Did you mean 'new'?" in result.err


def test_questions_are_listed_for_people_and_programs(labrig: Labrig, template: Template) -> None:
    listed = labrig("questions", "--json").object
    assert listed.keys() == template.questions.keys()
    for name, question in template.questions.items():
        assert [choice["value"] for choice in listed[name]["choices"]] == [c.value for c in question.choices]
        assert listed[name]["option"] == "--" + name.replace("_", "-")
    spoken = labrig("questions").out
    assert all(name in spoken for name in template.questions)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("labrig new --package-manager ", {"uv", "pip", "conda", "poetry"}),
        ("labrig new --package-manager p", {"pip", "poetry"}),
        ("labrig new --hooks ", {"yes", "no"}),
        ("labrig new --fram", {"--framework"}),
    ],
)
def test_bash_completes_options_and_values(line: str, expected: set[str], tmp_path: Path) -> None:
    labrig = Path(sys.executable).with_name("labrig")
    environment = {**os.environ, "PATH": f"{labrig.parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    shown = subprocess.run(
        [labrig, "--show-completion", "bash"], env={**environment, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    words = line.split(" ")
    script = (
        f"{shown}\nCOMP_WORDS=({' '.join(shlex.quote(word) for word in words)})\nCOMP_CWORD={len(words) - 1}\n"
        "_labrig_completion labrig\nprintf '%s\\n' \"${COMPREPLY[@]}\"\n"
    )
    reply = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True).stdout
    assert {word.strip() for word in reply.splitlines()} == expected


def test_a_question_that_takes_many_takes_them_with_commas_and_none_for_no_one(plain_labrig: Labrig) -> None:
    def launchers(*words: str) -> object:
        return plain_labrig("new", "demo", "--dry-run", "--json", *words).object["answers"]["launchers"]

    assert launchers() == launchers("--launchers", "none") == launchers("--launchers", "") == []
    assert launchers("--launchers", "slurm,slurm") == ["slurm"]
    refused = plain_labrig("new", "demo", "--yes", "--launchers", "slurm,slrum")
    assert refused.code == 2
    assert "launchers cannot be 'slrum'" in refused.err
    assert "Did you mean 'slurm'?" in refused.err
