"""Every generated repository passes its own tests, linter and type checker.

Combinations of answers in which a task reads the same are one case, which stands for all of them. So many cases are run
that every two files which can stand in one repository do so in one of them (docs/decisions/0008). The folder of a case
holds what was compared and nothing else, so a task that reads more would fail.
"""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
from cases import TASKS, Case, Cases, covering, digest, meet
from environments import RunCase, newest, why_not_run
from proof import SEED, Proof
from proof_report import Report
from repositories import TEMPLATE, choices, resolve

from labrig.space import OPEN

ALL = Cases(Proof(TEMPLATE))
EVERY = {task: ALL.of(task) for task in TASKS}
SUGGESTED = resolve({})
USUAL = {**SUGGESTED, "python": newest(SUGGESTED["framework"])}


def is_usual(case: Case) -> bool:
    """Whether a case has the suggested answers, on the newest Python that runs here."""
    return all(USUAL[name] == value for name, value in case.answers.items())


def runs_here(case: Case) -> bool:
    return case.task != "test" or why_not_run(case.answers["framework"], case.answers["python"]) is None


KINDS = {"types": ("framework", "library", "type_checker"), "test": ("framework", "library", "example")}
OLDEST = choices("python")[0]
NEEDS_COMPILER = pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler")
CASES = {
    task: covering([case for case in EVERY[task] if case.commands], lambda case: 2 * is_usual(case) + runs_here(case))
    for task in TASKS
}


def parameters(task: str) -> Iterator[Any]:
    """The cases of a task. The default run takes the usual one, CI some of the others, and a release the rest.

    CI lints all. It takes the types once for each library and type checker, the tests once for each example: on the
    oldest Python, and with all that can be added, if there is such a case.
    """
    fullest: dict[str, tuple[tuple[bool, ...], Case]] = {}
    for case in CASES[task]:
        kind = case.name if task == "lint" else str([case.answers.get(name) for name in KINDS[task]])
        is_oldest = case.answers.get("python", OLDEST) == OLDEST
        rank = runs_here(case), is_oldest, bool(case.answers.get("launchers"))
        fullest[kind] = max(fullest.get(kind, (rank, case)), (rank, case), key=itemgetter(0))
    seen = {case.name for _, case in fullest.values()}
    for case in CASES[task]:
        left = pytest.mark.complete if case.name in seen else pytest.mark.release
        yield pytest.param(case, id=f"{task}-{case.name}", marks=[] if is_usual(case) else [left])


def test_the_cases_stand_for_every_combination(proof_report: Report) -> None:
    space = ALL.space
    for task, cases in EVERY.items():
        assert sum(case.combinations for case in cases) == space.total
        known = {digest(case.files) for case in cases}
        for point in itertools.islice(space.samples(SEED + 5), 200):
            one_word = zip(space.names, point, strict=True)
            usual = space.complete(tuple(OPEN if space.is_text(name) else index for name, index in one_word))
            assert usual is not None
            read = ALL.files(task, ALL.with_all(task, usual))
            assert digest(read) in known, f"{task} reads something new with {space.given(usual)}"
            assert ALL.files(task, usual).keys() <= read.keys()
        for case in CASES[task]:
            proof_report.cases[f"{task} of {case.name}"] = case.combinations


def test_every_two_files_that_can_stand_together_do_so_in_a_case_that_is_run() -> None:
    for task, run in CASES.items():
        every = [case for case in EVERY[task] if case.commands]
        assert {two for case in run for two in pairs(case)} == {two for case in every for two in pairs(case)}
        assert len(run) < len(every)


def pairs(case: Case) -> Iterator[tuple[tuple[str, int], ...]]:
    """Every two files that meet, each by its path and the hash of what it holds."""
    both = itertools.combinations(sorted((path, hash(content)) for path, content in case.files.items()), 2)
    return ((one, two) for one, two in both if meet(one[0], two[0]))


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
    ("framework", "library", "more"),
    [
        ("jax", "nnx", "two_jax_processes.py"),
        ("jax", "equinox", "two_jax_processes.py"),
        ("pytorch", "loop", "more_pytorch_processes.py"),
        ("tensorflow", "keras", "two_tensorflow_processes.py"),
        pytest.param("pytorch", "loop", "compiled_run.py", marks=NEEDS_COMPILER),
        pytest.param("pytorch", "lightning", "compiled_run.py", marks=NEEDS_COMPILER),
        pytest.param("pytorch", "transformers", "compiled_run.py", marks=NEEDS_COMPILER),
    ],
)
def test_a_repository_passes_what_takes_too_long_for_its_own_tests(
    framework: str, library: str, more: str, run_case: RunCase
) -> None:
    usual = {"framework": framework, "library": library, "example": "addition", "python": newest(framework)}
    case = next(one for one in EVERY["test"] if one.answers.items() >= usual.items())
    package = next(path.split("/")[1] for path in case.files if path.startswith("src/"))
    text = Path(__file__).with_name(more).read_text(encoding="utf-8")
    files = {**case.files, "tests/test_more.py": text.replace("from demo", f"from {package}").encode()}
    assert " passed" in run_case(replace(case, files=files))
