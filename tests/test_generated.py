"""Every generated repository passes its own tests, linter and type checker.

Combinations of answers in which a task reads the same are one case: it is run once and stands for all of them. Its
folder holds what was compared and nothing else, so a task that reads more would fail.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cases import TASKS, Case, Cases, digest
from environments import RunCase, newest
from proof import SEED, Proof
from proof_report import Report
from repositories import TEMPLATE, resolve

from labrig.space import OPEN

ALL = Cases(Proof(TEMPLATE))
EVERY = {task: ALL.of(task) for task in TASKS}
CASES = {task: [case for case in EVERY[task] if case.commands] for task in TASKS}


def parameters(task: str) -> Iterator[Any]:
    """The cases of a task. The default run takes that of the suggested answers, on the newest Python that runs here."""
    suggested = resolve({})
    usual = {**suggested, "python": newest(suggested["framework"])}
    for case in CASES[task]:
        sampled = all(usual[name] == value for name, value in case.answers.items())
        yield pytest.param(case, id=f"{task}-{case.name}", marks=[] if sampled else [pytest.mark.complete])


def test_the_cases_that_are_run_stand_for_every_combination(proof_report: Report) -> None:
    space = ALL.space
    for task, cases in EVERY.items():
        assert sum(case.combinations for case in cases) == space.total
        known = {digest(case.files) for case in cases}
        for point in itertools.islice(space.samples(SEED + 5), 200):
            one_word = zip(space.names, point, strict=True)
            usual = space.complete(tuple(OPEN if space.is_text(name) else index for name, index in one_word))
            assert usual is not None
            read = digest(ALL.files(task, ALL.with_all(usual)))
            assert read in known, f"{task} reads something new with {space.given(usual)}"
        for case in CASES[task]:
            proof_report.cases[f"{task} of {case.name}"] = case.combinations


@pytest.mark.parametrize("case", [*parameters("lint"), *parameters("types")])
def test_a_repository_passes_its_linter_and_its_type_checker(case: Case, run_case: RunCase) -> None:
    run_case(case)


@pytest.mark.parametrize("case", [*parameters("test")])
def test_a_repository_passes_its_own_tests(case: Case, run_case: RunCase) -> None:
    said = run_case(case)
    passed = re.search(r"(\d+) passed", said)
    assert passed is not None, said
    assert "skipped" not in said, said
    print(f"{case.name}: {said.splitlines()[-1].strip('= ')}")


@pytest.mark.complete
@pytest.mark.parametrize(
    ("framework", "more"),
    [
        ("jax", "two_jax_processes.py"),
        ("pytorch", "two_sharded_processes.py"),
        ("tensorflow", "two_tensorflow_processes.py"),
    ],
)
def test_two_processes_train_as_one_does_and_go_on_after_a_kill(framework: str, more: str, run_case: RunCase) -> None:
    usual = {"framework": framework, "example": "addition", "python": newest(framework)}
    case = next(one for one in CASES["test"] if one.answers.items() >= usual.items())
    package = next(path.split("/")[1] for path in case.files if path.startswith("src/"))
    text = Path(__file__).with_name(more).read_text(encoding="utf-8")
    files = {**case.files, "tests/test_two_processes.py": text.replace("from demo.", f"from {package}.").encode()}
    assert " passed" in run_case(replace(case, files=files))
