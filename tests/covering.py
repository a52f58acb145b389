"""Few combinations of answers that show many things together: three answers at once, or two parts of one file."""

from __future__ import annotations

import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from operator import itemgetter

from labrig.factors import File, Part
from labrig.space import OPEN, Point, Space

CANDIDATES = 2  # of these random completions the one that shows most is taken
TEXTS_IN_TRIPLES = 4

Slot = tuple[int, ...]  # the questions or parts that something is shown of
Targets = Mapping[Slot, Mapping[Hashable, Point]]  # what each slot shall show, with a combination that allows it
Shows = Callable[[Point, Iterable[Slot]], Iterable[tuple[Slot, Hashable]]]  # what a complete combination shows there


def cover(space: Space, targets: Targets, shows: Shows, seed: int) -> list[Point]:
    """Complete combinations that together show everything there is to be shown."""
    chance = random.Random(seed)
    waiting = {slot: dict(wanted) for slot, wanted in targets.items() if wanted}
    rows: list[Point] = []
    while waiting:
        slot, wanted = next(iter(waiting.items()))
        value, point = next(iter(wanted.items()))
        best: list[tuple[Slot, Hashable]] = []
        row = point
        for _ in range(CANDIDATES):
            candidate = space.complete(point, chance)
            assert candidate is not None, "what is wanted is legal"
            shown = [(where, what) for where, what in shows(candidate, waiting) if what in waiting[where]]
            if len(shown) > len(best):
                best, row = shown, candidate
        assert (slot, value) in best, f"{value} cannot be shown at {slot}"
        rows.append(row)
        for where, what in best:
            del waiting[where][what]
            if not waiting[where]:
                del waiting[where]
    return rows


# Three answers at once


def triples(space: Space) -> dict[Slot, dict[Hashable, Point]]:
    """Every legal combination of the answers to three questions.

    Of a text, the first four samples that are legal; of several choices, none, each by itself, and all.
    """
    kept = {name: _kept(space, name) for name in space.names}
    tied = linked(space)
    known: dict[Slot, tuple[Point, ...]] = {}  # of the questions among three that others have to do with
    found: dict[Slot, dict[Hashable, Point]] = {}
    for slot in itertools.combinations(range(len(space.names)), 3):
        some, free = tuple(n for n in slot if n in tied), [n for n in slot if n not in tied]
        if some not in known:
            known[some] = space.legal([space.names[number] for number in some], kept)
        wanted = found[slot] = {}
        for point in known[some]:
            for indexes in itertools.product(*(kept[space.names[number]] for number in free)):
                whole = list(point)
                for number, index in zip(free, indexes, strict=True):
                    whole[number] = index
                wanted[itemgetter(*slot)(whole)] = tuple(whole)
    return found


def shown_triples(point: Point, slots: Iterable[Slot]) -> Iterator[tuple[Slot, Hashable]]:
    """The triples of answers in a combination."""
    for slot in slots:
        first, second, third = slot
        yield slot, (point[first], point[second], point[third])


def linked(space: Space) -> set[int]:
    """The questions that are limited by others, or limit them."""
    closures = [space.closure([name]) for name in space.names]
    return {space.names.index(name) for closure in closures if len(closure) > 1 for name in closure}


def _kept(space: Space, name: str) -> set[int]:
    position = space.names.index(name)
    options = [point[position] for point in space.points([name])]
    if space.template.questions[name].many:
        sizes = [len(choice) for choice in space.domains[name] if isinstance(choice, list)]
        options = [one for one in options if sizes[one] in {0, 1, max(sizes)}]
    return set(options[:TEXTS_IN_TRIPLES] if space.is_text(name) else options)


# Two parts of one file

# The answers that a list of combinations has in common with the lists before it, and the list by these answers.
Step = tuple[Callable[[Sequence[int]], Point], Mapping[Point, Sequence[Point]]]
SEAM = -1  # begins the slot of a seam: (SEAM, first part, second part)


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
        return cover(self.space, {**self.pairs, **self.seams}, self.shows, seed)

    def shows(self, point: Point, slots: Iterable[Slot]) -> Iterator[tuple[Slot, Hashable]]:
        """The pairs of texts and the seams in one file."""
        if self.file.path(point) is None:
            return
        numbers = [known[part.text(point)] for part, known in zip(self.parts, self.numbers, strict=True)]
        met: dict[Slot, Hashable] = {}
        for slot in slots:
            if slot[0] != SEAM:
                yield slot, tuple(numbers[number] for number in slot)
            else:
                met = met or self.met(point)
                if slot in met:
                    yield slot, met[slot]

    def met(self, point: Point) -> dict[Slot, Hashable]:
        """The seams in one file: which parts meet there, and the edges of their texts."""
        filled = [(number, text) for number, part in enumerate(self.file.parts) if (text := part.text(point))]
        return {
            (SEAM, first, second): (ending(before), beginning(after, ending(before)))
            for (first, before), (second, after) in itertools.pairwise(filled)
        }

    @cached_property
    def pairs(self) -> dict[Slot, dict[Hashable, Point]]:
        """Every two texts of two parts that can stand in one file; of a file of one part, every text."""
        if len(self.parts) == 1:
            return {(0,): {(number,): points[0] for number, points in enumerate(self.parts[0].variants.values())}}
        found: dict[Slot, dict[Hashable, Point]] = {}
        for slot in itertools.combinations(range(len(self.parts)), 2):
            closures = [set(self.space.closure(self.parts[number].axes)) for number in slot]
            key = self.space.getter(closures[0] & closures[1])
            left, right = (self._by_key(number, key) for number in slot)
            wanted = found[slot] = {}
            for value, texts in left.items():
                for (one, start), (other, end) in itertools.product(texts.items(), right.get(value, {}).items()):
                    wanted.setdefault((one, other), merged(start, end))
        return found

    def _by_key(self, number: int, key: Callable[[Sequence[int]], Point]) -> dict[Point, dict[int, Point]]:
        """The texts of a part for each combination of the answers that it shares with another, with an example."""
        found: dict[Point, dict[int, Point]] = defaultdict(dict)
        for point, text in self._texts[number]:
            found[key(point)].setdefault(text, point)
        return found

    @cached_property
    def _texts(self) -> list[list[tuple[Point, int]]]:
        """The text of each part in every combination of the answers that it depends on."""
        return [
            [
                (point, known[part.text(point)])
                for point in self.space.points(self.space.closure(part.axes))
                if self.file.path(point) is not None
            ]
            for part, known in zip(self.parts, self.numbers, strict=True)
        ]

    @cached_property
    def seams(self) -> dict[Slot, dict[Hashable, Point]]:
        """Every two texts between which nothing else stands, as far as their edges differ."""
        found: dict[Slot, dict[Hashable, Point]] = {}
        parts = self.file.parts
        for first, second in itertools.combinations(range(len(parts)), 2):
            between = [part.variants.get("") for part in parts[first + 1 : second]]
            nothing = [points for points in between if points]
            if len(nothing) < len(between):
                continue
            wanted = found[SEAM, first, second] = {}
            for end, starts in edges(parts[first], ending).items():
                for start, ends in edges(parts[second], partial(beginning, end=end)).items():
                    point = self._together([starts, ends, *nothing])
                    if point:
                        wanted[end, start] = point
        return found

    def _together(self, choices: list[list[Point]]) -> Point | None:
        """A combination that agrees with one point of each list."""
        # Answers that only one list decides, and that have nothing to do with others, cannot disagree.
        deciding = Counter(number for points in choices for number, index in enumerate(points[0]) if index != OPEN)
        kept = itemgetter(*[number for number in deciding if deciding[number] > 1 or number in self._linked], -1, -1)
        steps: list[Step] = []
        decided: set[int] = set()
        for points in sorted(choices, key=len):  # to try little; all points of a list decide the same questions
            own = {number for number, index in enumerate(points[0]) if index != OPEN}
            shared = self.space.getter(self.space.names[number] for number in own & decided)
            alike: dict[Point, list[Point]] = defaultdict(list)
            for point in {kept(point): point for point in points}.values():
                alike[shared(point)].append(point)
            steps.append((shared, alike))
            decided |= own
        return self._agreeing(self.space.start, steps)

    @cached_property
    def _linked(self) -> set[int]:
        return linked(self.space)

    def _agreeing(self, point: Point, steps: list[Step]) -> Point | None:
        if not steps:
            return point if self.space.complete(point) else None
        shared, alike = steps[0]
        for choice in alike.get(shared(point), []):
            found = self._agreeing(merged(point, choice), steps[1:])
            if found:
                return found
        return None


def agree(one: Point, other: Point) -> bool:
    """Whether two combinations decide nothing differently."""
    return all(left in {OPEN, right} or right == OPEN for left, right in zip(one, other, strict=True))


def merged(one: Point, other: Point) -> Point:
    """Two combinations that agree, as one."""
    return tuple(map(max, one, other))


def decides(one: Part, other: Part) -> bool:
    """Whether the text of one part decides the text of another, so that its pairs show those of the other."""
    if not set(other.axes) <= set(one.axes):
        return False
    return all(len({other.text(point) for point in points}) == 1 for points in one.variants.values())


def ending(text: str) -> str:
    """What matters at the end of a part: its last two characters, or a line that it leaves unfinished."""
    return text[-2:] if text.endswith("\n") else text.rpartition("\n")[2]


def beginning(text: str, end: str) -> str:
    """What matters at the beginning of a part after such an end: blank lines and indentation, or the line's rest."""
    return text[: len(text) - len(text.lstrip()) + 1] if end.endswith("\n") else text.partition("\n")[0]


def edges(part: Part, edge: Callable[[str], str]) -> dict[str, list[Point]]:
    """The texts of a part by one of their edges, each with the combinations that give it."""
    found: dict[str, list[Point]] = defaultdict(list)
    for text, points in part.variants.items():
        if text:
            found[edge(text)] += points
    return found
