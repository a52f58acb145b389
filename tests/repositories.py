"""Generated repositories for tests: the template of this checkout, its legal combinations, and a tree on disk."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from labrig.questions import Question
from labrig.render import Answers, Template

ROOT = Path(__file__).parents[1]
STACK: dict[str, Any] = yaml.safe_load((ROOT / "stack.yml").read_text(encoding="utf-8"))
TEMPLATE = Template(ROOT)


def choices(question: str) -> list[Any]:
    return alternatives(TEMPLATE.questions[question])


def alternatives(question: Question) -> list[Any]:
    """What a question with choices can be answered with; of one that takes many, every set of them."""
    values = [choice.value for choice in question.choices]
    if not question.many:
        return values
    return [list(some) for size in range(len(values) + 1) for some in itertools.combinations(values, size)]


def legal_combinations() -> Iterator[dict[str, str]]:
    """Every combination of the six questions that depend on each other, which stack.yml says can be made."""
    for framework, package_manager in itertools.product(choices("framework"), choices("package_manager")):
        builds = STACK["builds"][framework]["conda" if package_manager == "conda" else "pypi"]
        for accelerator, python, type_checker, ci in itertools.product(
            builds["accelerators"], builds["python"], choices("type_checker"), choices("ci")
        ):
            yield {
                "framework": framework,
                "package_manager": package_manager,
                "accelerator": accelerator,
                "python": python,
                "type_checker": type_checker,
                "ci": ci,
            }


def resolve(given: Mapping[str, object]) -> Answers:
    """All answers and hidden values for these; the default wherever nothing is given."""
    return TEMPLATE.resolve(given, folder_name="demo")


def write(answers: Answers, folder: Path, template: Template = TEMPLATE) -> None:
    """Write the repository of these answers to a folder."""
    for name, file in template.render(answers).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
        if file.executable:
            path.chmod(0o755)
