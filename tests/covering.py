"""Few combinations of answers that show many things together: three answers at once, or two parts of one file."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping

from labrig.factors import File, Part
from labrig.space import OPEN, Point, Space

CANDIDATES = 12  # of these random completions the one that shows most is taken
TEXTS_IN_TRIPLES = 4

Target = Hashable
Shows = Callable[[Point], set[Target]]


def cover(space: Space, targets: Mapping[Target, Point], shows: Shows, seed: int) -> list[Point]:
    """Complete combinations that together show every target; each target comes with a combination that allows it."""
    chance = random.Random(seed)
    waiting = dict(targets)
    rows: list[Point] = []
    while waiting:
        target, point = next(iter(waiting.items()))
        candidates = [full for _ in range(CANDIDATES) if (full := space.complete(point, chance))]
        shown, row = max(
            (([seen for seen in shows(full) if seen in waiting], full) for full in candidates),
            key=lambda pair: len(pair[0]),
        )
        assert target in shown, f"{target} cannot be shown"
        rows.append(row)
        for seen in shown:
            del waiting[seen]
    return rows


# Three answers at once


def three_way(space: Space, seed: int) -> list[Point]:
    """Combinations in which every three answers that can be given together are given together."""
    return cover(space, dict(triples(space)), shown_triples, seed)


def triples(space: Space) -> Iterator[tuple[Target, Point]]:
    """Every legal combination of the answers to three questions. Of a text, the first four samples that are legal."""
    kept = [_kept(space, name) for name in space.names]
    for names in itertools.combinations(space.names, 3):
        positions = [space.names.index(name) for name in names]
        for point in space.points(names):
            if all(point[position] in kept[position] for position in positions):
                yield tuple((position, point[position]) for position in positions), point


def shown_triples(point: Point) -> set[Target]:
    """The triples of answers in a combination."""
    return set(itertools.combinations(enumerate(point), 3))


def _kept(space: Space, name: str) -> set[int]:
    position = space.names.index(name)
    options = [point[position] for point in space.points([name])]
    return set(options[:TEXTS_IN_TRIPLES] if space.is_text(name) else options)


# Two parts of one file


class Assembly:
    """One file as the texts of its parts, each text a number."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.space = file.space
        self.parts: list[Part] = []  # those whose texts decide the texts of all others
        for part in sorted(file.parts, key=lambda part: -len(part.variants)):
            if part.axes and not any(decides(other, part) for other in self.parts):
                self.parts.append(part)
        self.numbers = [{text: number for number, text in enumerate(part.variants)} for part in self.parts]

    def rows(self, seed: int) -> list[Point]:
        """Whole files in which every two texts that can stand in one file do so, and every seam that there can be."""
        return cover(self.space, {**self.pairs(), **self.seams()}, self.shows, seed)

    def shows(self, point: Point) -> set[Target]:
        """The pairs of texts and the seams in one file."""
        if self.file.path(point) is None:
            return set()
        numbers = [known[part.text(point)] for part, known in zip(self.parts, self.numbers, strict=True)]
        pairs: set[Target] = {
            (first, numbers[first], second, numbers[second])
            for first, second in itertools.combinations(range(len(numbers)), 2)
        }
        filled = [(number, text) for number, part in enumerate(self.file.parts) if (text := part.text(point))]
        return pairs | {
            (first, ending(before), second, beginning(after, ending(before)))
            for (first, before), (second, after) in itertools.pairwise(filled)
        }

    def pairs(self) -> dict[Target, Point]:
        """Every two texts of two parts that can stand in one file."""
        found: dict[Target, Point] = {}
        for first, second in itertools.combinations(range(len(self.parts)), 2):
            shared = set(self.space.closure(self.parts[first].axes)) & set(self.space.closure(self.parts[second].axes))
            key = self.space.getter(shared)
            left, right = self._by_key(first, key), self._by_key(second, key)
            for value, texts in left.items():
                for (one, start), (other, end) in itertools.product(texts.items(), right.get(value, {}).items()):
                    found.setdefault((first, one, second, other), merged(start, end))
        return found

    def _by_key(self, number: int, key: Callable[[Point], Point]) -> dict[Point, dict[int, Point]]:
        """The texts of a part for each combination of the answers that it shares with another, with an example."""
        found: dict[Point, dict[int, Point]] = defaultdict(dict)
        part = self.parts[number]
        for point in self.space.points(self.space.closure(part.axes)):
            if self.file.path(point) is not None:
                found[key(point)].setdefault(self.numbers[number][part.text(point)], point)
        return found

    def seams(self) -> dict[Target, Point]:
        """Every two texts between which nothing else stands, as far as their edges differ."""
        found: dict[Target, Point] = {}
        for first, part in enumerate(self.file.parts):
            for end, starts in edges(part, ending).items():
                for second in range(first + 1, len(self.file.parts)):
                    following = self.file.parts[second]
                    for start, ends in edges(following, lambda text, end=end: beginning(text, end)).items():
                        point = self._together(first, starts, second, ends)
                        if point:
                            found[first, end, second, start] = point
                    if "" not in following.variants:
                        break
        return found

    def _together(self, first: int, starts: list[Point], second: int, ends: list[Point]) -> Point | None:
        """A combination that gives one of `starts`, one of `ends`, and nothing between the two parts."""
        between = [part.variants[""] for part in self.file.parts[first + 1 : second]]
        return self._agreeing(self.space.start, [starts, ends, *between])

    def _agreeing(self, point: Point, choices: list[list[Point]]) -> Point | None:
        if not choices:
            return point if self.space.complete(point) else None
        for choice in dict.fromkeys(choices[0]):
            if all(OPEN in {one, other} or one == other for one, other in zip(point, choice, strict=True)):
                found = self._agreeing(merged(point, choice), choices[1:])
                if found:
                    return found
        return None


def merged(one: Point, other: Point) -> Point:
    """Two combinations that agree, as one."""
    return tuple(max(pair) for pair in zip(one, other, strict=True))


def decides(one: Part, other: Part) -> bool:
    """Whether the text of one part decides the text of another, so that its pairs show those of the other."""
    if not set(other.axes) <= set(one.axes):
        return False
    return all(len({other.text(point) for point in points}) == 1 for points in one.variants.values())


def ending(text: str) -> str:
    """What matters at the end of a part: its last two characters, or a line that it leaves unfinished."""
    return text[-2:] if text.endswith("\n") else text.rpartition("\n")[2]


def beginning(text: str, end: str) -> str:
    """What matters at the beginning of a part after such an end: blank lines and indentation, or the rest of the line."""
    return text[: len(text) - len(text.lstrip()) + 1] if end.endswith("\n") else text.partition("\n")[0]


def edges(part: Part, edge: Callable[[str], str]) -> dict[str, list[Point]]:
    """The texts of a part by one of their edges, each with the combinations that give it."""
    found: dict[str, list[Point]] = defaultdict(list)
    for text, points in part.variants.items():
        if text:
            found[edge(text)] += points
    return found
