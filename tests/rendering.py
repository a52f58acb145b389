"""The template rendered with Jinja alone, for tests that look at files: {path: text} for given answers."""

import functools
import itertools
import math
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template, meta

ROOT = Path(__file__).parent.parent
TEMPLATE = ROOT / "template"

Answers = dict[str, Any]

jinja = Environment(
    loader=FileSystemLoader(ROOT),
    undefined=StrictUndefined,
    keep_trailing_newline=True,
    trim_blocks=True,
    lstrip_blocks=True,
    autoescape=False,  # noqa: S701 - no HTML is made
)
compiled: Callable[[str], Template] = functools.cache(jinja.from_string)


@functools.cache
def questions() -> dict[str, dict[str, Any]]:
    """Every question in the order of copier.yml, with its documents in the place of their `!include`."""
    lines = (ROOT / "copier.yml").read_text(encoding="utf-8").splitlines()
    files = [line.split()[1] for line in lines if line.startswith("!include")]
    documents = [yaml.safe_load((ROOT / file).read_text(encoding="utf-8")) for file in files]
    return {name: question for document in documents for name, question in document.items()}


def resolve(given: Answers) -> Answers:
    """All answers and hidden values for these; the default wherever nothing is given."""
    answers: Answers = {
        "_folder_name": "demo",
        "_copier_conf": {"answers_file": ".copier-answers.yml", "dst_path": "/home/ada/demo"},
    }
    for name, question in questions().items():
        if name in given:
            answers[name] = given[name]
            continue
        default = question["default"]
        text = compiled(default).render(answers) if isinstance(default, str) else default
        answers[name] = parsed(text) if question["type"] == "yaml" else text
    answers["_copier_answers"] = {name: answers[name] for name in questions() if questions()[name].get("when", True)}
    return answers


parsed = functools.cache(lambda text: yaml.load(text, yaml.CSafeLoader))


def choices(question: str) -> list[Any]:
    if questions()[question]["type"] == "bool":
        return [True, False]
    values = questions()[question]["choices"].values()
    return [value["value"] if isinstance(value, dict) else value for value in values]


def legal(asked: Answers) -> bool:
    """Whether every accelerator and Python is one that has a build: the one constraint of constraints.yml."""
    known = {"framework": "pytorch", "package_manager": "uv", "accelerator": "cpu", "python": "3.12", **asked}
    channel = "conda" if known["package_manager"] == "conda" else "pypi"
    stack = resolve({})["stack"]
    builds = stack["builds"][known["framework"]][channel]
    return known["accelerator"] in builds["accelerators"] and known["python"] in builds["python"]


def render(answers: Answers) -> dict[str, str]:
    """The generated files as {path: text}."""
    files: dict[str, str] = {}
    for source in sources():
        path = destination(source, answers)
        if path is None:
            continue
        assert path not in files, f"two owners of {path}"
        files[path] = content(source, answers)
    return files


@functools.cache
def sources() -> tuple[Path, ...]:
    return tuple(sorted(path for path in TEMPLATE.rglob("*") if path.is_file() and path.suffix != ".part"))


def destination(source: Path, answers: Answers) -> str | None:
    """Where a file of the template goes; None when one of its folders is off."""
    parts = [compiled(part).render(answers) for part in source.relative_to(TEMPLATE).parts]
    if "" in parts:
        return None
    return "/".join(part for part in parts if part != ".").removesuffix(".jinja")


def content(source: Path, answers: Answers) -> str:
    if source.suffix != ".jinja":
        return source.read_text(encoding="utf-8")
    return jinja.get_template(source.relative_to(ROOT).as_posix()).render(answers)


OPEN = {
    "project_name": ["demo", "The-longest-name-that-a-project-can-have"[:39]],
    "package": ["demo", "the_longest_name_that_a_package_can_have"[:39]],
    "description": ["", 'Does "half" of it \\ hold: 50 % # or more?'],
    "author_name": ["", "Ada O'Hara: née Müller"],
    "author_email": ["", "ada@example.org"],
    "repository": ["", "https://github.com/ada/demo"],
}
"""Two answers for each question that has no choices."""

MOST_VARIANTS = 3000


def variants(path: str) -> list[tuple[Answers, str]]:
    """The different contents of one generated file, each with answers that lead to it.

    All combinations of the questions that the file names, through whatever it includes; where those are too many,
    a sample of them (the same every time).
    """
    found: dict[str, Answers] = {}
    for source in sources():
        if source.name.removesuffix(".jinja") != path.rpartition("/")[2]:
            continue  # no file whose own name is an answer has this path
        for asked in combinations(sorted(asked_by(source))):
            answers = resolve(asked)
            if destination(source, answers) == path:
                found.setdefault(content(source, answers), answers)
    return [(answers, text) for text, answers in found.items()]


def combinations(names: list[str]) -> Iterator[Answers]:
    values = [OPEN[name] if name in OPEN else choices(name) for name in names]
    total = math.prod(len(each) for each in values)
    chance = random.Random(total)
    drawn: Iterable[tuple[Any, ...]] = (
        itertools.product(*values)
        if total <= MOST_VARIANTS
        else (tuple(chance.choice(each) for each in values) for _ in range(MOST_VARIANTS))
    )
    for chosen in drawn:
        asked = dict(zip(names, chosen, strict=True))
        if legal(asked):
            yield asked


@functools.cache
def asked_by(source: Path) -> frozenset[str]:
    """The questions that a file of the template depends on: by its path, its text, and the hidden values in both."""
    names = set().union(*(variables_of(part) for part in source.relative_to(TEMPLATE).parts))
    if source.suffix == ".jinja":
        names |= variables_of(source.read_text(encoding="utf-8"))
    return frozenset(question for name in names for question in asked_for(name))


@functools.cache
def asked_for(name: str) -> frozenset[str]:
    question = questions().get(name)
    if question is None:
        return frozenset()
    if question.get("when", True):
        return frozenset([name])
    return frozenset(asked for inner in variables_of(question["default"]) for asked in asked_for(inner))


def variables_of(text: str) -> set[str]:
    """The variables that a template reads, also in what it includes and imports."""
    tree = jinja.parse(text)
    names = set(meta.find_undeclared_variables(tree))
    for included in meta.find_referenced_templates(tree):
        assert included is not None, f"an include must name its file: {text}"
        names |= variables_of((ROOT / included).read_text(encoding="utf-8"))
    return names
