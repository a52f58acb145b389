"""What the files of a repository say, each fact with the combinations of answers in which it is said."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, reduce
from operator import or_

from proof import Proof
from reading import Fact, read

from labrig.errors import TemplateError
from labrig.factors import File
from labrig.space import Point

MOST_COMBINATIONS = 300_000
MOST_ALONE = 8  # of many conditions, those of the fewest answers
MOST_EXAMPLES = 20  # of these the smallest is shown


@dataclass(frozen=True)
class Condition:
    """When something is so: decided by the answers to a few questions."""

    axes: frozenset[str]
    holds: Callable[[Point], bool]

    @classmethod
    def of_path(cls, file: File, path: str | None = None) -> Condition:
        """When a file is there, at this path or at any."""
        if path is None:
            return cls(file.path_axes, lambda point: file.path(point) is not None)
        return cls(file.path_axes, lambda point: file.path(point) == path)

    def __or__(self, other: Condition) -> Condition:
        return Condition(self.axes | other.axes, lambda point: self.holds(point) or other.holds(point))

    def __and__(self, other: Condition) -> Condition:
        return Condition(self.axes | other.axes, lambda point: self.holds(point) and other.holds(point))


@dataclass(frozen=True)
class Saying:
    """A fact, the path of the file that says it, and when."""

    fact: Fact
    path: str
    file: File
    when: Condition


@dataclass(frozen=True)
class Decider:
    """A text that may decide a fact: of a part, or of the path. Each text with the rows in which it stands, as bits."""

    axes: frozenset[str]
    text: Callable[[Point], str | None]
    rows: Mapping[str | None, int]


class Said:
    """Everything that the files of a template say."""

    def __init__(self, proof: Proof) -> None:
        self.proof = proof
        self.sayings: dict[str, list[Saying]] = defaultdict(list)  # by the kind of fact
        self.undecided: list[str] = []  # facts of which it cannot be told when they are said
        self.files: dict[str, list[tuple[File, Condition]]] = defaultdict(list)  # by their paths
        for file in proof.factors.files:
            for path in file.paths():
                self.files[path].append((file, Condition.of_path(file, path)))
            for (path, fact), when in decided(proof, file).items():
                if isinstance(when, Condition):
                    self.sayings[fact[0]].append(Saying(fact, path, file, when))
                else:
                    self.undecided.append(when)

    def __getitem__(self, kind: str) -> list[Saying]:
        return self.sayings.get(kind, [])

    def when(self, *fact: str) -> list[Condition]:
        """When any file says this."""
        return self._by_fact.get(fact, [])

    @cached_property
    def _by_fact(self) -> dict[Fact, list[Condition]]:
        found: dict[Fact, list[Condition]] = defaultdict(list)
        for saying in itertools.chain.from_iterable(self.sayings.values()):
            found[saying.fact].append(saying.when)
        return found

    @cached_property
    def folders(self) -> dict[str, list[Condition]]:
        """When a path is there: a file, or a folder with a file in it."""
        found: dict[str, list[Condition]] = defaultdict(list)
        for file in self.proof.factors.files:
            every = [*file.paths()]
            below: dict[str, list[str]] = defaultdict(list)
            for path in every:
                parts = path.split("/")
                for end in range(1, len(parts) + 1):
                    below["/".join(parts[:end])].append(path)
            for place, paths in below.items():
                if len(paths) == len(every):  # wherever the file is, it is in this folder
                    found[place].append(Condition.of_path(file))
                else:
                    found[place] += [Condition.of_path(file, path) for path in paths]
        return found

    def without(self, needed: Iterable[tuple[Saying, Sequence[Condition]]], what: str) -> list[str]:
        """A problem for each saying that stands in a combination in which nothing of what it needs is so."""
        problems = {}
        for saying, offers in needed:
            words = what.format(*saying.fact[1:])
            if (words, saying.path) not in problems and (point := self.meeting([saying.when], offers)):
                problems[words, saying.path] = self.problem(saying, words, point)
        return list(problems.values())

    def problem(self, saying: Saying, words: str, point: Point) -> str:
        """What is wrong, where, and the combination that shows it."""
        return f"{saying.path}, from {saying.file.name}: {words}; it shows with {self.proof.words(point)}"

    def meeting(self, all_of: Sequence[Condition], none_of: Iterable[Condition] = ()) -> Point | None:
        """The smallest combination in which all of some conditions hold, and none of others; None if there is none."""
        return meeting(self.proof, all_of, none_of)


@lru_cache(maxsize=2)  # the template of this checkout, and a changed one
def said(proof: Proof) -> Said:
    """What the files of a template say; read once."""
    return Said(proof)


def meeting(proof: Proof, all_of: Sequence[Condition], none_of: Iterable[Condition] = ()) -> Point | None:
    """The smallest combination in which all of some conditions hold, and none of others; None if there is none."""
    without = list(none_of)
    asked = frozenset[str]().union(*(condition.axes for condition in all_of))
    near = [condition for condition in without if condition.axes <= asked]
    if near and near != without and meeting(proof, all_of, near) is None:
        return None  # a file that is always there, for example: the others do not matter
    axes = asked.union(*(condition.axes for condition in without))
    if proof.space.size(axes) > MOST_COMBINATIONS and len(without) > 1:  # one of the others may be so in all of these
        fewest = sorted(without, key=lambda other: proof.space.size(other.axes))
        if any(meeting(proof, all_of, [other]) is None for other in fewest[:MOST_ALONE]):
            return None
        alike = [other for other in fewest if other.axes == fewest[0].axes]  # or those of one question together
        if 1 < len(alike) < len(without) and meeting(proof, all_of, alike) is None:
            return None
    if proof.space.size(axes) > MOST_COMBINATIONS:
        raise TemplateError(
            f"a fact depends on too many answers at once: {', '.join(proof.space.ordered(axes))}",
            tip="split the text that says it into parts that each depend on a few",
        )
    found = (
        point
        for point in proof.space.points(axes)
        if all(condition.holds(point) for condition in all_of) and not any(other.holds(point) for other in without)
    )
    return min(itertools.islice(found, MOST_EXAMPLES), key=lambda point: len(proof.given(point)), default=None)


# When a fact is said


def decided(proof: Proof, file: File) -> dict[tuple[str, Fact], Condition | str]:
    """What a file says, at each of its paths, and when; a problem where that cannot be told.

    The file is read in the combinations that `Proof` looks at, which show every two texts of two parts that can stand
    together. So a text of one part that goes with a fact in all of them does so in every combination, and so do two
    texts of two parts (docs/decisions/0008).
    """
    points = [point for point in proof.combinations(file) if file.path(point) is not None]
    held: dict[tuple[str, Fact], int] = defaultdict(int)
    for number, point in enumerate(points):
        content = proof.content(file, point)
        for fact in read(content.path, content.plain):
            held[content.path, fact] |= 1 << number
    whole = (1 << len(points)) - 1
    conditions: dict[int, Condition | str] = {whole: Condition.of_path(file)}
    if held.keys() and set(held.values()) != {whole}:
        deciders = list(all_deciders(proof, file, points))
        for rows in set(held.values()) - {whole}:
            conditions[rows] = condition(proof, file, deciders, rows, next(key for key in held if held[key] == rows))
    return {key: conditions[rows] for key, rows in held.items()}


def all_deciders(proof: Proof, file: File, points: Sequence[Point]) -> Iterator[Decider]:
    """The path and the parts of a file, those that depend on the fewest combinations first."""
    texts: list[tuple[frozenset[str], Callable[[Point], str | None]]] = [(file.path_axes, file.path)]
    texts += [(file.path_axes.union(part.axes), part.text) for part in file.parts]
    for axes, text in sorted(texts, key=lambda item: proof.space.size(item[0])):
        rows: dict[str | None, int] = defaultdict(int)
        for number, point in enumerate(points):
            rows[text(point)] |= 1 << number
        if len(rows) > 1:
            yield Decider(axes, text, rows)


def condition(
    proof: Proof, file: File, deciders: Sequence[Decider], rows: int, key: tuple[str, Fact]
) -> Condition | str:
    """When a fact is said that is said in these rows; a problem if more than two parts decide it."""
    sayers = enough(deciders, rows)
    if sayers:
        return reduce(or_, (Condition(decider.axes, _one(file, decider, said)) for decider, said in sayers))
    for one, other in itertools.combinations(deciders, 2):
        both = {
            (left, right): seen
            for left, some in one.rows.items()
            for right, others in other.rows.items()
            if (seen := some & others)
        }
        if all(known & rows in {0, known} for known in both.values()):
            pairs = {texts for texts, known in both.items() if known & rows}
            return Condition(one.axes | other.axes, _two(file, one, other, pairs))
    if proof.is_listed(file):
        wanted = proof.space.getter(file.axes)
        points = [point for point in proof.combinations(file) if file.path(point) is not None]
        shown = {wanted(point) for number, point in enumerate(points) if rows >> number & 1}
        return Condition(frozenset(file.axes), lambda point: wanted(point) in shown)
    return (
        f"{key[0]}, from {file.name}: three parts decide whether it says {' '.join(key[1])}, and not every three texts "
        "are looked at together; say it in one part"
    )


def enough(deciders: Sequence[Decider], rows: int) -> list[tuple[Decider, set[str | None]]]:
    """Few parts whose texts say a fact each by itself, and one of which stands in each of these rows; or nothing."""
    sayers: list[tuple[Decider, set[str | None], int]] = []
    for decider in deciders:  # those of few answers first: a text that stands in few rows may be there by chance
        alone = {text for text, known in decider.rows.items() if not known & ~rows}
        if alone:
            sayers.append((decider, alone, reduce(or_, (decider.rows[text] for text in alone))))
        if reduce(or_, (known for *_, known in sayers), 0) == rows:
            break
    else:
        return []
    chosen = []
    left = rows
    while left:
        decider, alone, known = max(sayers, key=lambda sayer: (sayer[2] & left).bit_count())
        chosen.append((decider, alone))
        left &= ~known
    return chosen


def _one(file: File, decider: Decider, said: set[str | None]) -> Callable[[Point], bool]:
    return lambda point: file.path(point) is not None and decider.text(point) in said


def _two(file: File, one: Decider, other: Decider, said: set[tuple[str | None, str | None]]) -> Callable[[Point], bool]:
    return lambda point: file.path(point) is not None and (one.text(point), other.text(point)) in said
