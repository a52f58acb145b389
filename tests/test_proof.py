"""Every combination of answers gives well-formed files: shown part by part, and searched in whole repositories."""

from __future__ import annotations

import itertools
import math
import os
import shutil
import time
from collections.abc import Hashable
from multiprocessing import get_context
from operator import itemgetter
from pathlib import Path

import pytest
from copier_reference import Reference, differences
from covering import Slot, cover, shown_triples, triples
from formats import Checker
from proof import SEED, Proof
from proof_report import Report
from repositories import STACK, choices, legal_combinations

from labrig.factors import Factors
from labrig.render import Template
from labrig.space import FOLDER_NAME, Space

COMBINATIONS_OF_A_SEED = 500


@pytest.fixture(scope="module")
def space(proof: Proof) -> Space:
    return proof.space


@pytest.fixture(scope="module")
def checker() -> Checker:
    """Shared by the tests here, so that no content is checked twice."""
    return Checker()


def test_every_content_of_every_file_is_well_formed(proof: Proof, checker: Checker, proof_report: Report) -> None:
    with proof_report.seconds("seconds of processor time: every content parsed"):
        problems = [
            f"{content.path}, from {content.source}: {problem}\n  it shows with {proof.shown_with(content)}"
            for content in proof.contents
            if (problem := checker.problem(content.path, content.content))
        ]
    proof_report.count(checker.checks)
    assert problems == []


def test_the_parts_of_every_file_put_together_are_what_the_template_renders(proof: Proof) -> None:
    for point in itertools.islice(proof.space.samples(SEED), 500):
        answers = proof.template.resolve(proof.space.answers(point), folder_name=FOLDER_NAME)
        assert differences(proof.factors.render(point), proof.template.render(answers)) == [], proof.space.given(point)


def free_threaded(each: dict[str, str]) -> list[str]:
    """The Pythons that run the framework without the global lock."""
    found: list[str] = STACK["builds"][each["framework"]]["pypi"].get("free_threaded", [])
    return found


def servings(library: str, example: str) -> set[str]:
    """How a model can be used elsewhere."""
    if library in {"loop", "lightning", "keras"}:
        return {"none", "onnx", "fastapi"}
    return {"none", "vllm"} if (library, example) == ("transformers", "text") else {"none"}


def test_the_combinations_are_those_that_the_questions_allow(space: Space) -> None:
    without_modal = [some for some in choices("launchers") if "modal" not in some]
    beside = [{*some, notebooks} for some in choices("trackers") for notebooks in choices("notebooks")]
    unlocked = [layers for layers in beside if not layers & STACK["global_lock"].keys()]
    linked = sum(  # of framework, package manager, accelerator, python, checker, CI, launchers and more
        len(without_modal if each["accelerator"] in {"rocm", "tpu"} else choices("launchers"))
        * (1 if (each["framework"], each["accelerator"]) == ("jax", "rocm") else len(choices("containers")))
        * sum(len(servings(library, example)) for example in STACK["examples"][each["framework"]])
        * (
            len(beside)
            + len(unlocked)
            * (each["package_manager"] == "uv" and each["python"] in free_threaded(each))
            * (library not in STACK["global_lock"])
        )
        for each in legal_combinations()
        for library in STACK["libraries"][each["framework"]]
    )
    free = math.prod(len(choices(name)) for name in ("config", "license", "editor"))
    yes_or_no = sum(question.type == "bool" for question in space.template.questions.values()) - 1
    assert space.total == linked * free * 2**yes_or_no


@pytest.mark.complete
def test_whole_repositories_with_every_three_answers_are_well_formed(
    proof: Proof, checker: Checker, proof_report: Report
) -> None:
    wanted = triples(proof.space)
    rows = cover(proof.space, wanted, shown_triples, SEED)
    shown = {slot: set(map(itemgetter(*slot), rows)) for slot in wanted}
    missing = {slot: wanted[slot].keys() - shown[slot] for slot in wanted if wanted[slot].keys() - shown[slot]}
    assert missing == {}, "the covering array is complete"
    for row in rows:
        for content in proof.whole(row):
            assert not checker.problem(content.path, content.content), (content.path, proof.shown_with(content))
    proof_report.figures["combinations that show every three answers"] = len(rows)
    proof_report.figures["sets of three answers"] = sum(len(values) for values in wanted.values())


@pytest.mark.parametrize("amount", [2_000, pytest.param(20_000, marks=pytest.mark.release)])
def test_whole_repositories_of_random_answers_are_well_formed(amount: int, proof: Proof, proof_report: Report) -> None:
    known = {(content.path, content.content) for content in proof.contents}
    seeds = range(SEED + 100, SEED + 100 + amount // COMBINATIONS_OF_A_SEED)
    with (
        proof_report.seconds("seconds of processor time: random combinations"),
        get_context("fork").Pool(os.cpu_count(), initializer=_share, initargs=(proof, known)) as pool,
    ):
        done = pool.map(_random_repositories, seeds)
        pool.close()
        pool.join()  # so that the time of these processes counts
    problems = [problem for found, _ in done for problem in found]
    proof_report.figures["random combinations"] = amount
    for _, checks in done:
        proof_report.count(checks)
    assert problems == []


def _share(proof: Proof, known: set[tuple[str, bytes]]) -> None:
    _shared.append((proof, known))


_shared: list[tuple[Proof, set[tuple[str, bytes]]]] = []


def _random_repositories(seed: int) -> tuple[list[str], dict[str, int]]:
    """The problems of some random repositories, and how many checks found them."""
    proof, known = _shared[0]
    checker = Checker()
    problems = []
    for point in itertools.islice(proof.space.samples(seed), COMBINATIONS_OF_A_SEED):
        for file in proof.factors.files:
            path = file.path(point)
            if path is None:
                continue
            content = file.content(point)
            if (path, content) in known:
                continue  # it was checked, and a file that is shown in all its combinations has no other content
            problem = "it is not listed" if proof.is_listed(file) else checker.problem(path, content)
            if problem:
                problems.append(f"{path}: {problem}\n  it shows with {proof.space.given(point)}")
    return problems, dict(checker.checks)


def test_every_two_texts_that_can_stand_in_one_file_are_looked_at_together(proof: Proof) -> None:
    for file in proof.factors.files:
        if proof.is_listed(file):
            continue
        assembly = proof.assembly(file)
        pairs = assembly.pairs
        seen: dict[Slot, set[Hashable]] = {slot: set() for slot in pairs}
        for row in proof.combinations(file):
            for slot, value in assembly.shows(row, pairs):
                seen[slot].add(value)
        for slot, wanted in pairs.items():
            assert seen[slot] == wanted.keys(), (file.name, [assembly.parts[number].place for number in slot])
        for point in itertools.islice(proof.space.samples(SEED + 2), 200):
            if file.path(point) is not None:
                for slot, value in assembly.shows(point, pairs):
                    assert value in pairs[slot], "a random combination shows no pair that was not thought of"


def test_every_seam_between_two_texts_is_looked_at(proof: Proof) -> None:
    for file in proof.factors.files:
        if proof.is_listed(file):
            continue
        assembly = proof.assembly(file)
        seams = assembly.seams
        seen = {(slot, value) for row in proof.combinations(file) for slot, value in assembly.shows(row, [*seams])}
        assert seen == {(slot, value) for slot, values in seams.items() for value in values}
        for point in itertools.islice(proof.space.samples(SEED + 3), 200):
            if file.path(point) is not None:
                assert all(value in seams[slot] for slot, value in assembly.met(point).items()), (
                    "no seam was overlooked"
                )


@pytest.mark.parametrize("amount", [50, pytest.param(500, marks=pytest.mark.release)])
def test_copier_renders_the_same_files(amount: int, plain_template: Path, proof_report: Report) -> None:
    reference = Reference(plain_template)
    factors = Factors(Template(plain_template), constants={"_src_path": str(plain_template)})
    seconds = 0.0
    for point in itertools.islice(factors.space.samples(SEED + 4), amount):
        start = time.process_time()
        files, _, _ = reference.copy(factors.space.answers(point), FOLDER_NAME)
        seconds += time.process_time() - start
        assert differences(factors.render(point), files) == [], factors.space.given(point)
    each = seconds / amount
    figures = proof_report.figures
    figures["combinations equal to Copier's, byte for byte"] = amount
    figures["milliseconds of one render by Copier in memory"] = round(1000 * each, 1)
    rendering = figures.get("seconds of processor time: every combination rendered")
    if isinstance(rendering, float):
        ratio = each * factors.space.total / rendering
        figures["times the processor time that Copier would need for all combinations"] = round(ratio)


@pytest.mark.complete
def test_a_new_question_and_its_file_are_proven_without_a_change_here(
    plain_template: Path, proof: Proof, tmp_path: Path
) -> None:
    root = tmp_path / "template"
    shutil.copytree(plain_template, root)
    question = "spelling: {type: str, help: Which spelling?, choices: [british, american, none], default: none}"
    with (root / "questions" / "repository.yml").open("a", encoding="utf-8") as file:
        file.write(f"\n{question}\n")
    layer = root / "template" / "{{ '.' if spelling != 'none' else '' }}"
    layer.mkdir()
    (layer / "spelling-{{ spelling }}.toml.jinja").write_text(
        'words = "{{ spelling }}"\nfor = "{{ framework }}"\n', encoding="utf-8"
    )
    extended = Proof(Template(root))
    assert extended.space.total == 3 * proof.space.total
    assert extended.factors.problems() == []
    known = {content.path for content in proof.contents}
    added = [content for content in extended.contents if content.path not in known]
    assert {content.path for content in added} == {"spelling-british.toml", "spelling-american.toml"}
    checker = Checker()
    different = 2 * len(choices("framework"))
    assert [checker.problem(content.path, content.content) for content in added] == [""] * different
    assert checker.checks["tomllib"] == different
