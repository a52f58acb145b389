"""Every different content that a file of a generated repository can have, with answers that lead to it.

What a file renders to depends only on the questions that its path and its text name, through whatever they include. So
the combinations of those questions alone are all of them; where they are too many, a fixed sample stands for them.
"""

import functools
import itertools
import math
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from jinja2 import Environment, meta

from labrig.errors import AnswerError
from labrig.questions import read_configuration
from labrig.render import Answers, Template

ROOT = Path(__file__).parent.parent
TEMPLATE = ROOT / "template"

TEXTS: dict[str, list[object]] = {
    "project_name": ["demo", "The-longest-name-that-a-project-can-have"[:39]],
    "package": ["demo", "the_longest_name_that_a_package_can_have"[:39]],
    "description": ["", 'Does "half" of it \\ hold: 50 % # or more?'],
    "author_name": ["", "Ada O'Hara: née Müller"],
    "author_email": ["", "ada@example.org"],
    "repository": ["", "https://github.com/ada/demo"],
}
"""Two answers for each question that has no choices."""

MOST_COMBINATIONS, SAMPLE = 2500, 800

template = Template(ROOT)


@functools.cache
def files(**given: object) -> dict[str, str]:
    """The generated repository for these answers, as {path: text}."""
    return render(template.resolve(given, folder_name="demo"))


def render(answers: Answers) -> dict[str, str]:
    rendered = template.render(answers, src_path="https://github.com/labrig/labrig.git", commit="v0.1.0")
    return {path: file.content.decode() for path, file in rendered.items()}


@functools.cache
def variants() -> dict[str, dict[str, Answers]]:
    """The different contents of every file: {path: {content: answers}}."""
    found: dict[str, dict[str, Answers]] = {}
    asked = {asked_by(source) for source in TEMPLATE.rglob("*") if source.is_file() and source.suffix != ".part"}
    for names in sorted(sorted(each) for each in asked if not any(each < other for other in asked if few(other))):
        for answers in combinations(names):
            for path, text in render(answers).items():
                found.setdefault(path, {}).setdefault(text, answers)
    return found


def combinations(names: list[str]) -> Iterator[Answers]:
    """Legal answers to these questions, the other ones at their defaults."""
    values = [choices(name) for name in names]
    chance = random.Random(0)
    drawn: Iterable[tuple[Any, ...]] = (
        itertools.product(*values)
        if few(names)
        else (tuple(chance.choice(each) for each in values) for _ in range(SAMPLE))
    )
    for chosen in drawn:
        try:
            yield template.resolve(dict(zip(names, chosen, strict=True)), folder_name="demo")
        except AnswerError:
            continue  # a pair that cannot go together: constraints.yml says why


def few(names: Iterable[str]) -> bool:
    """Whether all combinations of these questions can be tried."""
    return math.prod(len(choices(name)) for name in names) <= MOST_COMBINATIONS


def choices(name: str) -> list[object]:
    question = template.questions[name]
    if question.type == "bool":
        return [True, False]
    return [choice.value for choice in question.choices] or TEXTS[name]


@functools.cache
def asked_by(source: Path) -> frozenset[str]:
    """The questions that a file of the template depends on."""
    names = set[str]().union(*(variables(part) for part in source.relative_to(TEMPLATE).parts))
    if source.suffix == ".jinja":
        names |= variables(source.read_text(encoding="utf-8"))
    asked = frozenset(question for name in names for question in behind(name))
    # Which accelerators and Pythons there are hangs on these two (constraints.yml).
    return asked | {"framework", "package_manager"} if asked & {"accelerator", "python"} else asked


@functools.cache
def behind(name: str) -> frozenset[str]:
    """The question of this name, or those that a hidden value of this name is made from."""
    if name in template.questions:
        return frozenset([name])
    hidden = read_configuration(ROOT)[1].get(name)
    if hidden is None:
        return frozenset()  # a name of Copier's own
    return frozenset(asked for inner in variables(str(hidden.default)) for asked in behind(inner))


def variables(text: str) -> set[str]:
    """The variables that a template reads, also in what it includes and imports."""
    tree = Environment(autoescape=False).parse(text)  # noqa: S701 - parsed only
    names = set(meta.find_undeclared_variables(tree))
    for included in meta.find_referenced_templates(tree):
        assert included is not None, f"an include must name its file: {text}"
        names |= variables((ROOT / included).read_text(encoding="utf-8"))
    return names
