"""What the checks of a generated repository read, and how many combinations of answers read the same."""

from __future__ import annotations

import hashlib
import re
import tomllib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, combinations, permutations

from proof import Proof

from labrig.factors import File, Part
from labrig.space import OPEN, UNASKED, Point

TASKS = ("lint", "types", "test")
CODE = ("src/", "tests/", "launch/")
# By no task: they depend on more answers, and tests here run them.
UNREAD = ("launch/modal/", "launch/skypilot/", "launch/tpu/", "tests/test_explore.py")
PYTHON = (".py", "/py.typed")
MANIFEST = "pyproject.toml"
# Whose tables in pyproject.toml are whose. One of an unknown tool is taken for the type checker's.
TABLES = {"tool.ruff": "lint", "tool.pytest": "test", "tool.poe": "", "tool.poetry": "", "tool.uv": ""}
HEADER = re.compile(r"\[+([^\[\]]+)\]")


@dataclass(frozen=True)
class Case:
    """All that one task reads in some combinations of answers."""

    task: str
    answers: Mapping[str, object]  # that all of these combinations share
    files: Mapping[str, bytes]  # by path
    combinations: int  # how many read exactly this

    @property
    def name(self) -> str:
        """The answers in short."""
        words = [
            "+".join(map(str, answer)) if isinstance(answer, list) else str(answer) for answer in self.answers.values()
        ]
        return "-".join(filter(None, words))

    @property
    def commands(self) -> list[str]:
        """What the task runs; nothing where the repository has no such task."""
        tasks = tomllib.loads(self.files[MANIFEST].decode())["tool"]["poe"]["tasks"]
        task = tasks.get(self.task, {"sequence": []})
        return [step["cmd"] for step in task.get("sequence", [task])]


class Cases:
    """The cases of every task. A text that a person types counts once: the checks of single files try the others."""

    def __init__(self, proof: Proof) -> None:
        self.proof = proof
        self.space = proof.space
        self._contents: dict[tuple[str, Point], bytes] = {}
        self._manifests: dict[tuple[str, bytes], bytes] = {}

    def of(self, task: str) -> list[Case]:
        """Every case of a task, in the order of the questions."""
        axes = [name for name in self._axes[task] if not self.space.is_text(name) and name not in self.growing]
        found: dict[frozenset[tuple[str, bytes]], Case] = {}
        without = self.space.counts(axes, {name: {least, UNASKED} for name, (least, _) in self.growing.items()})
        for point, number in self.space.counts(axes, {}).items():
            for most, count in ((False, without[point]), (True, number - without[point])):
                answered = self._with(point, most=most)
                files, answers = self.files(task, self._completed(answered)), self.space.answers(answered)
                key = frozenset(files.items())
                known = found.setdefault(key, Case(task, answers, files, 0))
                alike = {name: value for name, value in known.answers.items() if answers.get(name) == value}
                found[key] = replace(known, answers=alike, combinations=known.combinations + count)
        return list(found.values())

    def with_all(self, task: str, point: Point) -> Point:
        """The combination with all that could be added where it has some of that: the files of some are among them.

        What the task does not read is answered anew: it may forbid what is added, as an accelerator does a launcher.
        """
        growing, names = self.growing, self.space.names
        kept = self._axes[task] - growing.keys()
        read = tuple(answer if name in kept else OPEN for name, answer in zip(names, point, strict=True))
        most = any(point[names.index(name)] not in {least, OPEN} for name, (least, _) in growing.items())
        return self._completed(self._with(read, most=most))

    def _with(self, point: Point, *, most: bool) -> Point:
        """The point with the answers that add least or most: of several choices as many as the others allow."""
        for name, (least, full) in self.growing.items():
            position = self.space.names.index(name)
            many = self.space.template.questions[name].many
            for index in range(full, least, -1) if most and many else [full if most else least]:
                changed = (*point[:position], index, *point[position + 1 :])
                if self.space.complete(changed) is not None:
                    point = changed
                    break
        return point

    def _completed(self, point: Point) -> Point:
        usual = self.space.complete(point)
        assert usual is not None
        return usual

    @cached_property
    def growing(self) -> dict[str, tuple[int, int]]:
        """Questions that add to what a task reads, and change nothing: the answers that add least and most.

        They are asked together: with n of them, a task has the cases without any and with all of them, and not 2**n.
        What is on or off, and may not be on everywhere, has cases of its own: others would have to give way to it.
        """
        pieces: list[tuple[frozenset[str], Callable[[Point], str]]] = []
        for file in self.proof.factors.files:
            if any(is_code(path, "test") for path in file.paths()):
                pieces.append((file.path_axes, lambda point, file=file: file.path(point) or ""))  # type: ignore[misc]
                pieces += [(frozenset(part.axes), part.text) for part in file.parts]
            elif MANIFEST in file.paths():
                pieces += [(frozenset(part.axes), part.text) for _, part in self._owned(file)]
        found: dict[str, tuple[int, int]] = {}
        for name in self.space.ordered(frozenset().union(*self._axes.values())):
            last, question = len(self.space.domains[name]) - 1, self.space.template.questions[name]
            if question.type == "bool" and self.space.axes_of(self.space.limits(name)):
                continue
            is_set = question.many or question.type == "bool"
            for ends in [(0, last)] if is_set else permutations(range(last + 1), 2):
                if name not in found and all(self._grows(name, ends, *piece) for piece in pieces if name in piece[0]):
                    found[name] = ends
        return found

    def _grows(self, name: str, ends: tuple[int, int], axes: frozenset[str], text: Callable[[Point], str]) -> bool:
        """Whether a text is there or not, and there with one answer wherever it is there with any."""
        position = self.space.names.index(name)
        for point in self.space.points(axes):
            least, most = (text((*point[:position], end, *point[position + 1 :])) for end in ends)
            if text(point) not in {"", most} or least not in {"", text(point)}:
                return False
        return True

    def files(self, task: str, point: Point) -> dict[str, bytes]:
        """What a task reads in one combination: the code, and its own lines of pyproject.toml."""
        found = {}
        for file, key in self._sources:
            path = file.path(point)
            if path == MANIFEST:
                found[path] = self._settings(task, file.content(point))
            elif path is not None and is_code(path, task):
                place = file.name, key(point)
                if place not in self._contents:  # the same bytes again are not hashed again
                    self._contents[place] = file.content(point)
                found[path] = self._contents[place]
        return found

    def _settings(self, task: str, manifest: bytes) -> bytes:
        if (task, manifest) not in self._manifests:
            lines = [line for owner, _, line in settings(manifest.decode()) if owner in {task, ""}]
            self._manifests[task, manifest] = "".join(lines).encode()
        return self._manifests[task, manifest]

    @cached_property
    def _sources(self) -> list[tuple[File, Callable[[Point], Point]]]:
        """The files of the template that tasks read, each with what takes the answers that it depends on from all."""
        files = [file for file in self.proof.factors.files if any(map(is_read, file.paths()))]
        return [(file, self.space.getter(file.axes)) for file in files]

    @cached_property
    def _axes(self) -> dict[str, set[str]]:
        """The questions that decide what each task reads."""
        found = {
            task: {
                axis
                for file in self.proof.factors.files
                if any(is_code(path, task) for path in file.paths())
                for axis in file.axes
            }
            for task in TASKS
        }
        for file in self.proof.factors.files:
            if MANIFEST in file.paths():
                for owner, part in self._owned(file):
                    for task in [owner] if owner else TASKS:
                        found[task] |= {*part.axes}
        return found

    def _owned(self, file: File) -> list[tuple[str, Part]]:
        """The tasks, and the parts of pyproject.toml in which their lines stand.

        The files that are looked at show every two texts together: the header of a table, and what can stand under it.
        """
        found: set[tuple[str, int]] = set()
        for point in self.proof.combinations(file):
            ends = [*accumulate(len(part.text(point)) for part in file.parts)]
            for owner, start, line in settings(file.content(point).decode()):
                first, last = bisect_right(ends, start), bisect_right(ends, start + len(line) - 1)
                found |= {(owner, number) for number in range(first, last + 1)}
        return [(owner, file.parts[number]) for owner, number in sorted(found)]


def covering(cases: Sequence[Case], rank: Callable[[Case], int]) -> list[Case]:
    """Few of the cases, in which every two files stand together that do so in any; of a higher rank where that will do.

    What is wrong in a repository is wrong in one of its files, or where two of them meet.
    """
    holding: dict[tuple[str, bytes | None], int] = {}  # by what a path holds, or that it is not there: cases, as bits
    for path in {path for case in cases for path in case.files}:
        for number, case in enumerate(cases):
            file = path, case.files.get(path)
            holding[file] = holding.get(file, 0) | 1 << number
    both = {
        holding[one] & holding[two]
        for one, two in combinations(holding, 2)
        if one[0] != two[0] and meet(one[0], two[0])
    }
    pairs = [int("0" + "".join("01"[those >> case & 1] for those in both), base=2) for case in range(len(cases))]
    waiting = (1 << len(both)) - 1
    chosen = set()
    for wanted in sorted({rank(case) for case in cases}, reverse=True):
        ranked = [number for number, case in enumerate(cases) if rank(case) == wanted]
        while gain := max((pairs[number] & waiting).bit_count() for number in ranked):
            best = next(number for number in ranked if (pairs[number] & waiting).bit_count() == gain)
            chosen.add(best)
            waiting &= ~pairs[best]
    return [case for number, case in enumerate(cases) if number in chosen]


def meet(one: str, two: str) -> bool:
    """Whether something can be wrong in these two files together: a script of a launcher is its own tests' only."""
    script = next((path for path in (one, two) if path.startswith("launch/")), "")
    return not script or all(script.split("/")[1] in path for path in (one, two))


def is_code(path: str, task: str) -> bool:
    """Whether a task reads this file: of the scripts beside the Python, only the tests know."""
    return path.startswith(CODE) and not path.startswith(UNREAD) and (task == "test" or path.endswith(PYTHON))


def is_read(path: str) -> bool:
    """Whether a task reads this file, as code or for its settings."""
    return path == MANIFEST or is_code(path, "test")


def settings(manifest: str) -> Iterator[tuple[str, int, str]]:
    """The lines of pyproject.toml that tasks read: whose, "" for everybody's, where they start, and what they say."""
    table = ""
    start = 0
    for line in manifest.splitlines(keepends=True):
        header = HEADER.match(line)
        table = header[1] if header else table
        owner = _owner(table, line)
        if owner is not None and line.strip():
            yield owner, start, line
        start += len(line)


def _owner(table: str, line: str) -> str | None:
    if table == "project":
        return "" if line.startswith(("[", "name =", "version =", "requires-python =")) else None
    if table == "tool.poe.tasks":
        name = line.partition(" ")[0]
        return "" if line.startswith("[") else name if name in TASKS else None
    tool = ".".join(table.split(".")[:2])
    return (TABLES.get(tool, "types") or None) if tool.startswith("tool.") else None


def digest(files: Mapping[str, bytes]) -> str:
    """The hash of files and their paths."""
    found = hashlib.sha256()
    for path, content in sorted(files.items()):
        found.update(f"{path} {len(content)}\n".encode() + content)
    return found.hexdigest()
