"""The template rendered with Jinja alone, for tests that look at files: {path: text} for given answers."""

import functools
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

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
        answers[name] = yaml.safe_load(text) if question["type"] == "yaml" else text
    answers["_copier_answers"] = {name: answers[name] for name in questions() if questions()[name].get("when", True)}
    return answers


def choices(question: str) -> list[Any]:
    if questions()[question]["type"] == "bool":
        return [True, False]
    values = questions()[question]["choices"].values()
    return [value["value"] if isinstance(value, dict) else value for value in values]


def every(*names: str, **given: Any) -> Iterator[Answers]:
    """The legal combinations of all choices of these questions, the other ones as given or default."""
    for values in itertools.product(*(choices(name) for name in names)):
        asked = {**given, **dict(zip(names, values, strict=True))}
        if legal(asked):
            yield resolve(asked)


def legal(asked: Answers) -> bool:
    """Whether every accelerator and Python is one that has a build: the one constraint of constraints.yml."""
    known = {"framework": "pytorch", "package_manager": "uv", "accelerator": "cpu", "python": "3.12", **asked}
    channel = "conda" if known["package_manager"] == "conda" else "pypi"
    stack = resolve({})["stack"]
    builds = stack["builds"][known["framework"]][channel]
    return known["accelerator"] in builds["accelerators"] and known["python"] in builds["python"]


def render(answers: Answers, *, only: str | None = None) -> dict[str, str]:
    """The generated files as {path: text}, or the one at the path `only`."""
    files: dict[str, str] = {}
    for source in sources():
        path = destination(source, answers)
        if path is None or (only is not None and path != only):
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
