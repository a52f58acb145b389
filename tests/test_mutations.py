"""Every kind of defect that can be planted in the template is found, and only combinations that show it are blamed."""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import mutations
import pytest
from cases import Cases, digest
from environments import RunCase, newest
from hosts.tools import Tools
from joins import JOINS
from locks import check_lock
from mutations import Mutant
from proof import Proof
from repositories import write
from tools import TOOLS, ToolMissingError, findings

from labrig.errors import TemplateError
from labrig.factors import Factors
from labrig.render import Template
from labrig.space import FOLDER_NAME

ANSWER = re.compile(r"""(\w+)=('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\[[^\]]*\]|[^\s;]+)""")


def each(
    mutants: list[Mutant], quick: int = 0, rest: pytest.MarkDecorator = pytest.mark.release
) -> pytest.MarkDecorator:
    """One test for each defect; the default run plants the first few alone, and the run with that mark all others."""
    parameters = [
        pytest.param(mutant, id=mutant.defect, marks=[] if number < quick else [rest])
        for number, mutant in enumerate(mutants)
    ]
    return pytest.mark.parametrize("mutant", parameters)


def planted(mutant: Mutant, plain_template: Path, folder: Path) -> Path:
    """A copy of the template with the defect."""
    root = folder / "template"
    shutil.copytree(plain_template, root)
    for edit in mutant.edits:
        edit.plant(root)
    return root


def check(mutant: Mutant, messages: list[str], sound: Template) -> None:
    """Assert that a message says what is wrong, and that all of them name combinations that show it."""
    assert messages, "nothing was found"
    for message in messages if mutant.shows_with else []:
        assert mutant.blames(named(message, sound)), f"the defect does not show there:\n{message}"
    assert any(re.search(mutant.says, message) for message in messages), "\n".join(messages[:3])


def named(message: str, template: Template) -> Mapping[str, object]:
    """All answers of the combination that a message names, as somebody would give them who reads it."""
    _, shows, combination = message.rpartition("it shows with ")
    assert shows, f"no combination is named:\n{message}"
    given = dict(_given(combination, template))
    assert given or combination.startswith("the suggested answers"), message
    return template.resolve(given, folder_name=FOLDER_NAME)


def _given(words: str, template: Template) -> Iterator[tuple[str, object]]:
    for name, value in ANSWER.findall(words):
        assert name in template.questions, words
        yield name, ast.literal_eval(value) if value[0] in "'\"[" or value in {"True", "False"} else value


def test_every_tool_and_every_join_has_a_defect_that_it_finds() -> None:
    assert {mutant.found_by for mutant in [*mutations.TOOLS, *mutations.JOINS]} == {*TOOLS, *JOINS}


@each(mutations.TEMPLATE, quick=3, rest=pytest.mark.complete)
def test_what_cannot_be_rendered_or_proven_is_reported(mutant: Mutant, plain_template: Path, tmp_path: Path) -> None:
    root = planted(mutant, plain_template, tmp_path)
    try:
        problems = Factors(Template(root)).problems()
    except TemplateError as error:
        problems = [error]
    assert len(problems) == 1, "one defect, one message"
    check(
        mutant, [f"{problem.message}: {problem.cause}; {problem.tip}" for problem in problems], Template(plain_template)
    )


@each(mutations.TOOLS, quick=2)
def test_a_tool_finds_what_its_format_forbids(mutant: Mutant, plain_template: Path, tmp_path: Path) -> None:
    proof = Proof(Template(planted(mutant, plain_template, tmp_path)))
    contents = list(proof.contents_at(mutant.looks_at))
    assert mutant.found_by in TOOLS
    try:
        found = findings(mutant.found_by, contents, tmp_path / "files")
    except ToolMissingError as error:
        pytest.skip(str(error))
    check(mutant, [finding.shown(proof) for finding in found], Template(plain_template))


@each(mutations.JOINS, quick=1)
def test_a_join_finds_files_that_disagree(mutant: Mutant, plain_template: Path, tmp_path: Path) -> None:
    proof = Proof(Template(planted(mutant, plain_template, tmp_path)))
    check(mutant, JOINS[mutant.found_by](proof), Template(plain_template))


@each(mutations.TASKS)
def test_a_task_of_the_repository_finds_what_is_wrong_with_it(
    mutant: Mutant, run_case: RunCase, plain_template: Path, tmp_path: Path
) -> None:
    """Of the cases that the defect changes, one that it shows in and one that it does not; the others are as before."""
    sound = known(plain_template, mutant.found_by)
    cases = Cases(Proof(Template(planted(mutant, plain_template, tmp_path)))).of(mutant.found_by)
    changed = [case for case in cases if case.commands and digest(case.files) not in sound]
    runs = [case for case in changed if case.answers["python"] == newest(case.answers["framework"])]
    blamed = [case for case in runs if mutant.blames(case.answers)]
    sparing = [case for case in runs if not mutant.blames(case.answers)]
    with pytest.raises(AssertionError, match=mutant.says):
        run_case(blamed[0])
    for case in sparing[:1]:
        run_case(case)


@cache
def known(plain_template: Path, task: str) -> set[str]:
    """What a task reads in the repositories without a defect."""
    return {digest(case.files) for case in Cases(Proof(Template(plain_template))).of(task)}


@each(mutations.LOCKS)
def test_a_lock_shows_what_is_wrong_with_the_catalogue(
    mutant: Mutant, tools: Tools, plain_template: Path, tmp_path: Path
) -> None:
    template = Template(planted(mutant, plain_template, tmp_path))
    with pytest.raises(AssertionError, match=mutant.says):
        lock(template, mutant.shows_with, tools, tmp_path)
    lock(template, {**mutant.shows_with, "accelerator": "cu130"}, tools, tmp_path)


def lock(template: Template, given: Mapping[str, object], tools: Tools, folder: Path) -> None:
    answers = template.resolve(given, folder_name=FOLDER_NAME)
    place = folder / str(answers["accelerator"])
    write(answers, place, template)
    check_lock(answers, tools, place)
