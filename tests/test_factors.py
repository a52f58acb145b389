"""Taking a template apart changes nothing, looks at every combination, and says what is wrong with the template."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from labrig.errors import AnswerError, TemplateError
from labrig.factors import Factors
from labrig.render import Template
from labrig.space import FOLDER_NAME, OPEN, UNASKED

SETTINGS = """\
_subdirectory: template
_exclude: [".git", "*.part"]
_envops: {undefined: jinja2.StrictUndefined, keep_trailing_newline: true, trim_blocks: true, lstrip_blocks: true}
"""
QUESTIONS = """\
name: {type: str, default: "{{ _folder_name }}", validator: "{{ 'too long' if name | length > 9 else '' }}"}
engine: {type: str, choices: [petrol, diesel, electric], default: petrol}
fuel: {type: str, when: false, default: "{{ '' if engine == 'electric' else engine }}"}
turbo: {type: bool, default: false, when: "{{ engine != 'electric' }}"}
gears:
  type: int
  choices:
    one: {value: 1, validator: "{{ 'only without fuel' if fuel else '' }}"}
    five: {value: 5, validator: "{{ '' if fuel else 'not without fuel' }}"}
    six: {value: 6, validator: "{{ '' if turbo else 'only with a turbo' }}"}
  default: "{{ 5 if fuel else 1 }}"
extras: {type: str, multiselect: true, choices: [radio, towbar], default: []}
towing: {type: str, when: false, default: "{{ '.' if 'towbar' in extras else '' }}"}
"""
FILES = {
    "shared/words.jinja": """\
{% macro shout(text) %}{{ text | upper }}!{% endmacro %}
{% macro motor() %}{{ shout(engine) }}{% endmacro %}
{% macro wheels() %}{{ gears }}{% endmacro %}
""",
    "template/car.txt.jinja": """\
{% from 'shared/words.jinja' import motor with context %}
{% from 'shared/words.jinja' import shout %}
{% set doors = 2 if turbo else 4 %}
{{ shout(name) }} has {{ doors }} doors
{% if engine == 'petrol' %}
It smells.
{% if turbo %}
It roars{% if gears == 6 %} in six gears{% endif %}.
{% endif %}
{% elif engine == 'diesel' %}
It rattles.
{% include 'template/diesel.part' %}
{% else %}
It hums: {{ motor() }}
{% endif %}
{% for extra in extras %}
- {{ loop.index }} {{ extra }}
{% else %}
Nothing extra.
{% endfor %}
{% filter upper %}
{{ fuel }}
{% endfilter %}
{% if false %}
{% include 'template/diesel.part' %}
{% endif %}
""",
    "template/diesel.part": "{% if 'towbar' in extras %}\nIt pulls {{ gears }} carts.\n{% endif %}\nThe end.\n",
    "template/{{ towing }}/bar-{{ engine }}.txt": "A bar.\n",
    "template/{{ _copier_conf.answers_file }}.jinja": """\
{% for key, value in _copier_answers | dictsort %}
{{ key }}: {{ value }}
{% endfor %}
""",
}


def make(root: Path, files: dict[str, str] | None = None, questions: str = QUESTIONS) -> Template:
    """The small template, with some files of its own."""
    for name, text in {**FILES, "copier.yml": SETTINGS + questions, **(files or {})}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return Template(root)


@pytest.fixture
def factors(tmp_path: Path) -> Factors:
    return Factors(make(tmp_path))


def every_answer(factors: Factors) -> Iterator[dict[str, object]]:
    """All combinations of answers, found by trying every value of every question one after the other."""

    def extend(given: dict[str, object], names: list[str]) -> Iterator[dict[str, object]]:
        if not names:
            yield given
            return
        name, *others = names
        if not factors.template.offer(name, given, folder_name=FOLDER_NAME).applies:
            yield from extend(given, others)
            return
        for value in factors.space.domains[name]:
            try:
                factors.template.accept(name, value, given, folder_name=FOLDER_NAME)
            except AnswerError:
                continue
            yield from extend({**given, name: value}, others)

    return extend({}, list(factors.space.names))


def test_every_legal_combination_is_there_once_and_no_other(factors: Factors) -> None:
    space = factors.space
    expected = sorted(map(repr, every_answer(factors)))
    assert sorted(repr(space.answers(point)) for point in space.points(space.names)) == expected
    names = len(space.points(["name"]))
    assert space.total * names == len(expected) == space.size(space.names)
    assert names > 3


def test_the_combinations_of_some_questions_are_those_that_can_be_completed(factors: Factors) -> None:
    space = factors.space
    everything = space.points(space.names)
    for amount in range(1, len(space.names)):
        for names in itertools.combinations(space.names, amount):
            keep = [name in names for name in space.names]
            expected = {
                tuple(index if kept else OPEN for index, kept in zip(point, keep, strict=True)) for point in everything
            }
            found = space.points(names)
            assert len(found) == len(set(found))
            assert set(found) == expected, names
            assert all(space.complete(point) for point in found)


def test_combinations_are_counted_as_they_can_be_listed(factors: Factors) -> None:
    space = factors.space
    texts = len(space.points(["name"]))
    for names in (["engine"], ["turbo"], ["gears", "extras"]):
        for point in space.points(names):
            agreeing = [
                other
                for other in space.points(space.names)
                if all(one in {OPEN, two} for one, two in zip(point, other, strict=True))
            ]
            assert space.count(point) * texts == len(agreeing)


def test_a_question_that_is_not_asked_has_no_answer(factors: Factors) -> None:
    position = factors.space.names.index("turbo")
    asked = {factors.space.answers(point).get("engine"): set[int]() for point in factors.space.points(["engine"])}
    for point in factors.space.points(["engine", "turbo"]):
        asked[factors.space.answers(point)["engine"]].add(point[position])
    assert asked == {"petrol": {0, 1}, "diesel": {0, 1}, "electric": {UNASKED}}


def test_the_parts_put_together_are_the_rendered_files_in_every_combination(factors: Factors) -> None:
    seen: set[str] = set()
    for point in factors.space.points(factors.space.names):
        answers = factors.template.resolve(factors.space.answers(point), folder_name=FOLDER_NAME)
        files = factors.render(point)
        assert files == factors.template.render(answers), factors.space.answers(point)
        seen |= files.keys()
    assert {"car.txt", ".copier-answers.yml", "bar-petrol.txt", "bar-electric.txt"} <= seen


def test_a_part_depends_on_the_answers_that_it_reads_and_no_others(factors: Factors) -> None:
    car = next(file for file in factors.files if file.name == "template/car.txt.jinja")
    axes = {part.place: part.axes for part in reversed(car.parts)}  # the first part of a line
    assert axes["template/car.txt.jinja:4"] == ("name", "engine", "turbo"), "whether turbo is asked depends on engine"
    assert axes["template/car.txt.jinja:6"] == ("engine",)
    assert axes["template/diesel.part:2"] == ("engine", "gears", "extras"), "turbo limits gears, and is not read"
    assert axes["template/car.txt.jinja:14"] == ("engine",), "`motor` does not read `gears`, though its file does"
    assert axes["template/car.txt.jinja:16"] == ("extras",)


def test_a_recorded_answer_depends_on_itself(factors: Factors) -> None:
    answers = next(file for file in factors.files if "answers_file" in file.name)
    assert [part.axes for part in answers.parts] == [
        ("engine",),
        ("extras",),
        ("gears",),
        ("name",),
        ("engine", "turbo"),
    ]


def test_the_texts_of_a_part_are_few(factors: Factors) -> None:
    car = next(file for file in factors.files if file.name == "template/car.txt.jinja")
    part = next(part for part in car.parts if part.place == "template/diesel.part:2")
    assert part.variants.keys() == {"", "It pulls 5 carts.\n", "It pulls 6 carts.\n"}
    assert sum(map(len, part.variants.values())) == len(factors.space.points(part.axes))


# What is wrong with a template


def problem(root: Path, files: dict[str, str], questions: str = QUESTIONS) -> TemplateError:
    """The only problem of the small template with these files."""
    problems = Factors(make(root, files, questions)).problems()
    assert len(problems) == 1, [(error.message, error.cause) for error in problems]
    return problems[0]


def broken_car(line: str) -> dict[str, str]:
    """The car with one more line, which only a diesel with a turbo and a towbar has."""
    text = FILES["template/diesel.part"]
    return {"template/diesel.part": f"{{% if turbo and 'towbar' in extras %}}\n{line}\n{{% endif %}}\n{text}"}


SHOWN = "it shows with engine=diesel turbo=True extras=['towbar']"


@pytest.mark.parametrize(
    ("line", "message", "cause"),
    [
        ("{{ enigne }}", r"template/diesel.part:2 reads enigne, which is no question", None),
        ("{{ fuel.price }}", r"template/diesel.part:2 could not be rendered", "has no attribute 'price'"),
        ("{{ {}['litres'] }}", r"template/diesel.part:2 could not be rendered", "has no attribute 'litres'"),
        ("{{ 1 // (gears - gears) }}", r"template/diesel.part:2 could not be rendered", "ZeroDivisionError"),
        ("{% include 'template/dissel.part' %}", r"template/diesel.part:2 names the file template/dissel.part", None),
        ("{% include 'template/diesel.part' %}", r"template/diesel.part:2 leads back to template/diesel.part", None),
        ("{% include 'shared/broken' %}", r"shared/broken:3 is not Jinja", "unexpected end of template|Unexpected end"),
        ("{% set gears = 7 %}", r"template/diesel.part:2 defines a name in a branch", "without naming it"),
        ("{{ _copier_answers }}", r"template/diesel.part:2 reads _copier_answers", "depends on every answer"),
        ("{{ _folder_name }}", r"template/diesel.part:2 reads _folder_name, which is no question", None),
    ],
)
def test_an_error_is_reported_with_its_line_and_the_smallest_combination_that_shows_it(
    line: str, message: str, cause: str | None, tmp_path: Path
) -> None:
    error = problem(tmp_path, {**broken_car(line), "shared/broken": "fine\n{% if engine %}\n{{ name }}\n"})
    assert re.match(message, error.message), error.message
    assert re.search(cause, error.cause or "") if cause else error.cause is None
    assert error.tip == SHOWN


@pytest.mark.parametrize(
    ("line", "message", "cause"),
    [
        ("{% include name %}", "template/diesel.part:2 includes a file whose name is computed", "could not be told"),
        ("{% from name ~ '.jinja' import x %}", "template/diesel.part:2 includes a file whose name is computed", ""),
        ("{{ '$HOME' | expandvars }}", "template/diesel.part:2 uses the filter expandvars", "not on the machine"),
        ("{{ [1, 2] | random }}", "template/diesel.part:2 uses the filter random", "or chance"),
        ("{{ 1 is lucky }}", "template/diesel.part:2 uses the test lucky, which plain Jinja does not have", "time"),
        ("{% set counter = namespace(n=0) %}", "template/diesel.part:2 uses namespace", "what others did"),
        ("{% block x %}{% endblock %}", "template/diesel.part:2 uses inheritance", ""),
        ("{{ oh no }}", "template/diesel.part:2 is not Jinja", "expected token"),
        ("{% endif %}{% endif %}", "template/diesel.part:2 is not Jinja", "endif"),
    ],
)
def test_a_file_that_cannot_be_taken_apart_is_refused_with_the_smallest_combination_that_needs_it(
    line: str, message: str, cause: str, tmp_path: Path
) -> None:
    error = problem(tmp_path, broken_car(line))
    assert error.message.startswith(message), error.message
    assert cause in (error.cause or "")
    assert error.tip == "it shows with engine=diesel"


def test_a_part_that_uses_a_name_of_the_file_around_it_is_refused(tmp_path: Path) -> None:
    error = problem(tmp_path, broken_car("{{ doors }}"))
    assert (
        error.message
        == "template/car.txt.jinja:12 includes template/diesel.part, which reads doors from the file around it"
    )
    assert error.tip == "it shows with engine=diesel"


def test_a_macro_that_reads_answers_is_not_imported_without_context(tmp_path: Path) -> None:
    files = {"template/other.jinja": "{% from 'shared/words.jinja' import motor %}\n{{ motor() }}\n"}
    error = problem(tmp_path, files)
    assert error.message == (
        "template/other.jinja:1 uses shared/words.jinja without context, and shared/words.jinja:2 reads engine"
    )
    assert error.tip == "it shows with the suggested answers"


def test_a_macro_that_does_not_exist_is_reported(tmp_path: Path) -> None:
    error = problem(
        tmp_path, {"template/other.jinja": "{% from 'shared/words.jinja' import whisper %}\n{{ whisper() }}\n"}
    )
    assert error.message == "template/other.jinja:1 imports whisper, which shared/words.jinja does not define"


def test_a_name_in_a_path_that_is_no_question_is_reported(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match=r"the path template/{{ color }}.txt:1 reads color, which is no question"):
        Factors(make(tmp_path, {"template/{{ color }}.txt": ""}))


def test_a_path_that_leaves_the_repository_is_reported_with_its_combination(tmp_path: Path) -> None:
    error = problem(tmp_path, {"template/{{ '..' if engine == 'electric' else '.' }}/x": "x"})
    assert "which lies outside the repository" in error.message
    assert error.tip == "it shows with engine=electric"


def test_a_part_that_depends_on_too_much_is_refused(tmp_path: Path) -> None:
    extras = ", ".join(f"extra{number}" for number in range(8))
    many = QUESTIONS.replace("[radio, towbar]", f"[towbar, {extras[:-8]}]") + "".join(
        f"more{number}: {{type: str, multiselect: true, choices: [a, b, c, d], default: []}}\n" for number in range(3)
    )
    error = problem(tmp_path, {"template/all.jinja": "{{ extras }}{{ more0 }}{{ more1 }}{{ more2 }}\n"}, many)
    assert error.message == "template/all.jinja:1 depends on too many answers at once: extras, more0, more1, more2"


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ("range: {type: str, default: far}", r"copier.yml:\d+: the question range has the name of a function of Jinja"),
        (
            "colour: {type: str, when: false, default: '{{ paint }}'}",
            r"copier.yml:\d+, the question colour.* reads paint",
        ),
        (
            "colour: {type: str, when: false, default: '{{ paint }}'}\npaint: {type: str, default: red}",
            r"copier.yml:\d+, the question colour, default:1 reads paint, which is asked later",
        ),
        (
            "doors: {type: int, choices: {two: {value: 2, validator: \"{{ 'no' if turbo else '' }}\"}}, default: 2}",
            r"copier.yml:\d+: the question doors has no answer left",
        ),
    ],
)
def test_a_question_that_is_wrong_is_reported_with_its_line(question: str, message: str, tmp_path: Path) -> None:
    template = make(tmp_path, questions=QUESTIONS + question + "\n")
    with pytest.raises(TemplateError, match=message):
        _ = Factors(template).space.total


@pytest.mark.parametrize(
    ("question", "message", "tip"),
    [
        (
            "seats: {type: int, choices: {two: {value: 2, validator: \"{{ 1 // 0 if turbo else '' }}\"}}, default: 2}",
            r"a choice of the question seats, line 1 could not be rendered",
            "it shows with engine=petrol turbo=True",
        ),
        (
            "seats: {type: int, choices: {two: {value: 2, validator: \"{{ 'no' if turbo else '' }}\"}}, default: 2}",
            r"the question seats has no answer left",
            "it shows with engine=petrol turbo=True",
        ),
        (
            "horn: {type: str, validator: \"{{ 'too loud' if turbo and horn == 'loud' else '' }}\", default: loud}",
            r"the question horn refuses its own default",
            "it shows with turbo=True",
        ),
        (
            "unused: {type: str, when: false, default: \"{{ {'petrol': 1, 'diesel': 2}[engine] }}\"}",
            r"the default of the question unused, line 1 could not be rendered",
            "it shows with engine=electric",
        ),
    ],
)
def test_a_question_that_fails_after_some_answers_is_reported_with_them(
    question: str, message: str, tip: str, tmp_path: Path
) -> None:
    error = problem(tmp_path, {"template/plain": "\n"}, QUESTIONS + question + "\n")
    assert re.match(rf"copier.yml:\d+: {message}", error.message)
    assert error.tip == tip


def test_an_error_in_a_hidden_value_names_the_combination(tmp_path: Path) -> None:
    questions = QUESTIONS + "price: {type: int, when: false, default: \"{{ {'petrol': 1, 'diesel': 2}[engine] }}\"}\n"
    error = problem(tmp_path, {"template/price.jinja": "{{ price }}\n"}, questions)
    assert re.match(r"copier.yml:\d+: the default of the question price", error.message)
    assert error.tip == "it shows with engine=electric"
