"""The renderer gives what Copier gives: byte for byte, mode for mode, and refuses what it cannot give."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from copier_reference import Reference, differences, differing_values
from repositories import ROOT, STACK, alternatives, legal_combinations

from labrig.errors import AnswerError, ForbiddenChoiceError, TemplateError, UnknownChoiceError, UnknownQuestionError
from labrig.questions import Question
from labrig.render import RenderedFile, Template, why_unsafe

TEXTS = [
    "",
    "plain",
    "with \"double\" and 'single' quotes",
    "back\\slash \\n \\u0041",
    "{{ framework }} {% raw %} {# #}",
    "$(touch PWNED) `id` ${HOME} ${{ github.token }} %PATH%",
    "yes",
    "null",
    "1.10",
    "2026-11-20",
    "key: value # comment",
    "- item",
    "[a, b] {c: d} & * ! | > % @",
    '"""',
    "Grüße, señor; 研究",
    "🧪 and 👩‍👩‍👧 and 🏳️‍🌈",
    "</script><b>&amp;",
    " leading and trailing ",
    "~",
    "x" * 300,
]
PATHS = ["README.md src/demo tests", "src .github/workflows .gitignore", "ests test README src/demo/train"]
NAMES = ["demo", "My-Experiment", "a.b_c", "X1", "long-name-with-many-parts-0123456789abc"]


@pytest.fixture(scope="module")
def reference(plain_template: Path) -> Reference:
    return Reference(plain_template)


@pytest.mark.parametrize(
    "step", [97, pytest.param(23, marks=pytest.mark.complete), pytest.param(1, marks=pytest.mark.release)]
)
def test_legal_combinations_of_choices_render_as_copier_renders_them(
    step: int, reference: Reference, plain_template: Path
) -> None:
    template = Template(plain_template)
    count = 0
    for combination in itertools.islice(legal_combinations(), 0, None, step):
        files, folders, values = reference.copy(combination, "demo")
        answers = template.resolve(combination, folder_name="demo")
        rendered = template.render(answers, src_path=str(plain_template))
        assert differing_values(answers, values) == []
        assert differences(rendered, files) == [], combination
        assert _empty_folders(folders, files) == set(), "Copier would create folders that git cannot keep"
        count += 1
    assert count > 1000 // step


@pytest.mark.parametrize(
    "times", [20, pytest.param(50, marks=pytest.mark.complete), pytest.param(300, marks=pytest.mark.release)]
)
def test_random_answers_to_all_questions_render_as_copier_renders_them(
    times: int, reference: Reference, plain_template: Path
) -> None:
    template = Template(plain_template)
    generator = random.Random(20261120)
    for _ in range(times):
        folder = generator.choice(NAMES)
        given = _random_answers(template, generator, folder)
        files, _, values = reference.copy(given, folder)
        answers = template.resolve(given, folder_name=folder)
        assert differing_values(answers, values) == []
        assert differences(template.render(answers, src_path=str(plain_template)), files) == [], given


def _random_answers(template: Template, generator: random.Random, folder: str) -> dict[str, object]:
    given: dict[str, object] = {}
    for name, question in template.questions.items():
        if generator.random() < 0.2:
            continue
        offer = template.offer(name, given, folder_name=folder)
        if not offer.applies:
            continue
        if question.choices:
            possible = [value for _, value, reason in offer.choices if not reason]
            many = [value for value in possible if generator.random() < 0.5] if question.many else []
            given[name] = many if question.many else generator.choice(possible)
        else:
            texts = [*TEXTS, *NAMES, *PATHS, "ada@example.org", "https://github.com/ada/demo"]
            answer = generator.choice([False, True] if question.type == "bool" else texts)
            try:
                given[name] = template.accept(name, answer, given, folder_name=folder)
            except AnswerError:
                continue
    return given


def _empty_folders(folders: set[str], files: dict[str, RenderedFile]) -> set[str]:
    filled = {str(parent) for path in files for parent in Path(path).parents}
    return folders - filled


@pytest.mark.parametrize("excluded", PATHS)
def test_what_is_excluded_is_left_out_as_copier_leaves_it_out(
    excluded: str, reference: Reference, plain_template: Path
) -> None:
    template = Template(plain_template)
    files, _, _ = reference.copy({"exclude": excluded}, "demo")
    rendered = template.render(
        template.resolve({"exclude": excluded}, folder_name="demo"), src_path=str(plain_template)
    )
    whole = template.render(template.resolve({}, folder_name="demo"))
    left_out = {path for path in whole if any(f"{path}/".startswith(f"{each}/") for each in excluded.split())}
    assert rendered.keys() == whole.keys() - left_out
    assert bool(left_out) == (excluded != PATHS[2])
    assert differences(rendered, files) == []


@pytest.mark.parametrize(
    "text", ["/README.md", "tests/", "a  b", " a", "../x", "*.py", "a//b", ".copier-answers.yml", "!a", "ä"]
)
def test_what_is_no_path_is_not_excluded(text: str, template: Template) -> None:
    with pytest.raises(AnswerError, match="exclude"):
        template.resolve({"exclude": text}, folder_name="demo")


@pytest.mark.parametrize("number", [0, 1, 2, *(pytest.param(more, marks=pytest.mark.release) for more in range(3, 10))])
def test_the_copier_command_writes_the_same_tree(number: int, tmp_path: Path, plain_template: Path) -> None:
    repository = tmp_path / "template"
    _git_copy(plain_template, repository)
    template = Template(repository)
    given = _random_answers(template, random.Random(number), "demo")
    (tmp_path / "answers.yml").write_text(yaml.safe_dump(given, allow_unicode=True), encoding="utf-8")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "copier",
            "copy",
            "--defaults",
            "--quiet",
            "--data-file",
            "answers.yml",
            "template",
            "demo",
        ],
        cwd=tmp_path,
        check=True,
        timeout=120,
    )
    on_disk = {
        path.relative_to(tmp_path / "demo").as_posix(): RenderedFile(
            path.read_bytes(), bool(path.stat().st_mode & 0o100)
        )
        for path in (tmp_path / "demo").rglob("*")
        if path.is_file()
    }
    answers = template.resolve(given, folder_name="demo")
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=repository, capture_output=True, text=True, check=True)
    files = template.render(answers, src_path="template", commit="v1.2.3", commit_hash=commit.stdout.strip())
    assert differences(files, on_disk) == []


def _git_copy(source: Path, target: Path) -> None:
    """The template as a git repository with one version, as users' Copier clones it."""
    git = ["git", "-C", str(target), "-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    subprocess.run(["cp", "-r", str(source), str(target)], check=True)
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "add", "--all"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--no-gpg-sign", "--message", "One version"], check=True)
    subprocess.run([*git, "tag", "--no-sign", "v1.2.3"], check=True)


# What is refused


@pytest.mark.parametrize(
    "text", ["a\nb", "a\tb", "\x1b[31m", "\x7f", "\x85", "a\u2028b", "\u202eb", "\u200b", "x" * 301]
)
def test_text_that_copier_refuses_is_refused(text: str, reference: Reference, template: Template) -> None:
    for name in ("description", "author_name", "author_email", "project_name", "package", "repository"):
        with pytest.raises(ValueError, match="Validation error"):
            reference.copy({name: text}, "demo")
        with pytest.raises(AnswerError) as caught:
            template.resolve({name: text}, folder_name="demo")
        assert caught.value.question == name


def test_text_that_is_not_unicode_is_refused(template: Template) -> None:
    with pytest.raises(AnswerError, match="description") as caught:
        template.resolve({"description": "caf\udce9"}, folder_name="demo")
    assert caught.value.cause == "it is not Unicode text"


def test_an_unknown_question_is_refused_and_the_likely_one_named(template: Template) -> None:
    with pytest.raises(UnknownQuestionError, match=r"no question 'framwork'\. Did you mean 'framework'\?"):
        template.resolve({"framwork": "jax"}, folder_name="demo")


def test_a_hidden_value_cannot_be_answered(template: Template) -> None:
    for name in ("stack", "pytorch", "build"):
        with pytest.raises(UnknownQuestionError):
            template.resolve({name: "."}, folder_name="demo")


def test_an_unknown_choice_of_every_question_is_refused(template: Template) -> None:
    for name, question in template.questions.items():
        if question.choices:
            with pytest.raises(UnknownChoiceError, match="cannot be 'nonsense'"):
                template.resolve({name: ["nonsense"] if question.many else "nonsense"}, folder_name="demo")
        if question.type == "bool":
            with pytest.raises(AnswerError, match="cannot be 'maybe'") as caught:
                template.resolve({name: "maybe"}, folder_name="demo")
            assert caught.value.cause == "it takes yes or no"


def test_a_choice_is_forbidden_exactly_where_the_catalogue_has_no_build(
    template: Template,
) -> None:
    questions = template.questions
    managers = [choice.value for choice in questions["package_manager"].choices]
    for framework, package_manager in itertools.product(STACK["builds"], managers):
        builds = STACK["builds"][framework]["conda" if package_manager == "conda" else "pypi"]
        earlier = {"framework": framework, "package_manager": package_manager}
        for name, possible in (("accelerator", builds["accelerators"]), ("python", builds["python"])):
            for choice in questions[name].choices:
                reason = template.why_not(name, choice.value, earlier, folder_name="demo")
                assert bool(reason) is (choice.value not in possible)
                if reason:
                    assert all(value in reason for value in possible), "the reason names what can be chosen"
                    assert "{" not in reason
                    with pytest.raises(ForbiddenChoiceError) as caught:
                        template.resolve({**earlier, name: choice.value}, folder_name="demo")
                    assert caught.value.cause == reason


# What the questionnaire promises


def test_the_defaults_render(template: Template) -> None:
    files = template.render(template.resolve({}, folder_name="demo"))
    assert {"README.md", "pyproject.toml", ".copier-answers.yml"} <= files.keys()


def test_every_value_of_every_question_changes_a_file(
    template: Template,
) -> None:
    unchanged = [
        (name, value)
        for name, question in template.questions.items()
        for value in _alternatives(question)
        if not _changes_a_file(template, name, value)
    ]
    assert unchanged == []


def _alternatives(question: Question) -> list[object]:
    if question.choices:
        return alternatives(question)
    if question.type == "bool":
        return [True, False]
    texts = {"author_email": "ada@example.org", "exclude": "README.md", "repository": "https://example.org/x"}
    return [texts.get(question.name, "Other" if question.name != "package" else "other")]


def _changes_a_file(
    template: Template,
    name: str,
    value: object,
) -> bool:
    """Whether some legal answers exist after which `value` gives other files than others, or is the only one left."""
    alone = False
    bases: list[dict[str, object]] = [
        {"framework": framework, "package_manager": manager, **more}
        for framework, manager in itertools.product(STACK["builds"], ("uv", "conda"))
        for more in (
            {},
            {"python": STACK["builds"][framework]["conda" if manager == "conda" else "pypi"]["python"][-1]},
        )
    ]
    bases.append({"framework": "pytorch", "library": "transformers", "example": "text"})  # vLLM takes no others
    for base in bases:
        offer = template.offer(name, base, folder_name="demo")
        if any(choice == value and reason for _, choice, reason in offer.choices):
            continue
        if not _is_taken(template, name, value, base):
            continue
        others = [other for other in [offer.default, *_alternatives(template.questions[name])] if other != value]
        mine = _without_answers(template, {**base, name: value})
        for other in others:
            if not _is_taken(template, name, other, base):
                continue
            if _without_answers(template, {**base, name: other}) != mine:
                return True
        alone |= [choice for _, choice, reason in offer.choices if not reason] == [value]
    return alone


def _is_taken(template: Template, name: str, value: object, given: dict[str, object]) -> bool:
    try:
        template.accept(name, value, given, folder_name="demo")
    except AnswerError:
        return False
    return True


def _without_answers(template: Template, given: dict[str, object]) -> dict[str, RenderedFile]:
    files = template.render(template.resolve(given, folder_name="demo"))
    del files[".copier-answers.yml"]
    return files


def test_no_more_than_twelve_questions_are_asked(template: Template) -> None:
    assert sum(question.ask is not False for question in template.questions.values()) <= 12


def test_names_of_python_itself_are_known_for_every_interpreter_found(interpreters: list[str]) -> None:
    known = set(yaml.safe_load((ROOT / "shared" / "names.yml").read_text(encoding="utf-8"))["python"])
    program = "import keyword, sys; print(*sys.stdlib_module_names, *keyword.kwlist)"
    for interpreter in interpreters:
        words = subprocess.run([interpreter, "-c", program], capture_output=True, text=True, check=True).stdout.split()
        public = {word.lower() for word in words if not word.startswith("_")}
        assert public - known == set(), interpreter


# A template that is wrong is reported at its line


def _small_template(root: Path, **files: str) -> Template:
    (root / "template").mkdir(parents=True)
    (root / "copier.yml").write_text(
        files.pop("copier", "")
        + "\n_subdirectory: template\n_envops: {undefined: jinja2.StrictUndefined}\n_exclude: ['*.part']\n",
        encoding="utf-8",
    )
    for name, content in files.items():
        (root / "template" / name.replace("__", "/").replace("_jinja", ".jinja")).write_text(content, encoding="utf-8")
    return Template(root)


def _render(template: Template, **given: object) -> dict[str, RenderedFile]:
    return template.render(template.resolve(given, folder_name="demo"))


def test_an_unknown_name_in_a_file_is_reported_with_file_line_and_answers(tmp_path: Path) -> None:
    template = _small_template(tmp_path, copier="colour: red", a_jinja="first\n{{ color }}\n")
    with pytest.raises(TemplateError) as caught:
        _render(template)
    assert caught.value.message == "template/a.jinja:2 could not be rendered"
    assert "'color' is undefined" in str(caught.value.cause)
    assert "colour=red" in str(caught.value.tip)


def test_a_syntax_error_in_an_included_file_is_reported_at_its_own_line(tmp_path: Path) -> None:
    template = _small_template(tmp_path, a_jinja="{% include 'template/b.part' %}", **{"b.part": "one\n\n{% if %}\n"})
    with pytest.raises(TemplateError, match=r"template/b\.part:3"):
        _render(template)


def test_an_error_in_a_question_names_the_question(tmp_path: Path) -> None:
    template = _small_template(tmp_path, copier="colour: '{{ nothing }}'")
    with pytest.raises(TemplateError, match="the default of the question colour"):
        _render(template)


@pytest.mark.parametrize("setting", ["_tasks: [date]", "_migrations: []", "_jinja_extensions: [x.Y]", "_tsks: [date]"])
def test_a_setting_that_runs_code_or_is_unknown_is_refused(setting: str, tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match=setting.partition(":")[0]):
        _small_template(tmp_path, copier=setting)


def test_two_files_with_one_destination_are_refused(tmp_path: Path) -> None:
    template = _small_template(tmp_path, copier="a: same\nb: same", **{"{{ a }}": "", "{{ b }}": ""})
    with pytest.raises(TemplateError, match="both write same"):
        _render(template)


@pytest.mark.parametrize(
    "path",
    ["../x", "/etc/x", "a/../../x", ".git/config", "A/.GIT/x", ".git. /x", "GIT~1/x", ".g\u200cit/x", "\uff0egit/x"],
)
def test_a_path_out_of_the_repository_or_into_git_is_refused(path: str, tmp_path: Path) -> None:
    template = _small_template(tmp_path, copier="path: default", **{"{{ path }}_jinja": "x"})
    with pytest.raises(TemplateError, match="would be written"):
        _render(template, path=path)
    assert why_unsafe(path)


@pytest.mark.parametrize("path", [".github/x", ".gitignore", "git/x", "a.git/x", "src/demo/x"])
def test_an_ordinary_path_is_allowed(path: str) -> None:
    assert why_unsafe(path) == ""


def test_a_link_in_the_template_is_refused(tmp_path: Path) -> None:
    template = _small_template(tmp_path)
    (tmp_path / "template" / "passwords").symlink_to("/etc/passwd")
    with pytest.raises(TemplateError, match="not a regular file"):
        _render(template)


def test_an_include_through_a_link_is_refused(tmp_path: Path) -> None:
    template = _small_template(tmp_path, a_jinja="{% include 'outside' %}")
    (tmp_path / "outside").symlink_to("/etc/passwd")
    with pytest.raises(TemplateError, match="leads out of the template"):
        _render(template)


def test_jinja_in_an_answer_is_not_rendered(tmp_path: Path) -> None:
    template = _small_template(tmp_path, copier="text: x", a_jinja="{{ text }}")
    assert _render(template, text="{{ 6 * 7 }}")["a"].content == b"{{ 6 * 7 }}"


def test_a_template_cannot_reach_python_through_an_attribute(tmp_path: Path) -> None:
    template = _small_template(tmp_path, a_jinja="{{ ''.__class__.__mro__ }}")
    with pytest.raises(TemplateError, match=r"a\.jinja:1"):
        _render(template)
