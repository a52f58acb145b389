"""What the files of one repository say of each other is true in every combination of answers."""

from __future__ import annotations

import itertools
from collections import defaultdict

import pytest
from joins import JOINS
from proof import SEED, Proof
from proof_report import Report
from reading import Fact, read
from said import Condition, said

RANDOM_COMBINATIONS = 500


@pytest.mark.parametrize("join", JOINS)
def test_the_files_of_a_repository_agree(join: str, proof: Proof, proof_report: Report) -> None:
    with proof_report.seconds(f"seconds of processor time: {join}"):
        problems = JOINS[join](proof)
    assert problems == []


def test_random_repositories_say_what_their_parts_were_found_to_say(proof: Proof, proof_report: Report) -> None:
    everything = said(proof)
    facts: dict[Condition, set[tuple[str, Fact]]] = defaultdict(set)  # many are said under one condition
    for saying in itertools.chain.from_iterable(everything.sayings.values()):
        facts[saying.when].add((saying.path, saying.fact))
    for point in itertools.islice(proof.space.samples(SEED + 5), RANDOM_COMBINATIONS):
        expected = set[tuple[str, Fact]]().union(*(some for when, some in facts.items() if when.holds(point)))
        found = {(content.path, fact) for content in proof.whole(point) for fact in read(content.path, content.plain)}
        assert found == expected, proof.words(point)
    proof_report.figures["facts that files state of each other"] = sum(map(len, everything.sayings.values()))
