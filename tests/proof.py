"""What the proof looks at: every content that a file of a generated repository can have, as files for real tools."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

from covering import Assembly

from labrig.factors import Factors, File
from labrig.render import Template
from labrig.space import Point

MOST_COMBINATIONS_TO_LIST = 5_000
SEED = 20261120


@dataclass(frozen=True)
class Content:
    """One content that a file can have, with one combination of answers that gives it."""

    path: str
    content: bytes
    executable: bool
    source: str  # the file of the template
    point: Point

    @property
    def text(self) -> str:
        """The content as text; every file is UTF-8."""
        return self.content.decode()

    @property
    def suffix(self) -> str:
        """What tells the format: `.toml`, `.py`; of a dotfile without one, its name."""
        name = PurePosixPath(self.path)
        return name.suffix or name.name


class Proof:
    """One template and everything that it can generate."""

    def __init__(self, template: Template) -> None:
        self.template = template
        self.factors = Factors(template)
        self.space = self.factors.space
        self._combinations: dict[str, tuple[Point, ...]] = {}

    @cached_property
    def contents(self) -> tuple[Content, ...]:
        """Every content to be checked, once.

        For a file that depends on few answers, all there are. For one that is assembled from many parts, so many that
        every two texts which can stand in one file do so, and every seam is there (docs/decisions/0007).
        """
        found: dict[tuple[str, bytes, bool], Content] = {}
        for file in self.factors.files:
            for point in self.combinations(file):
                path = file.path(point)
                if path is not None:
                    content = Content(path, file.content(point), file.source.executable, file.name, point)
                    found.setdefault((path, content.content, content.executable), content)
        return tuple(found.values())

    def combinations(self, file: File) -> tuple[Point, ...]:
        """The combinations of answers in which a file is looked at."""
        if self.is_listed(file):
            return self.space.points(file.axes)
        if file.name not in self._combinations:
            self._combinations[file.name] = tuple(Assembly(file).rows(SEED))
        return self._combinations[file.name]

    def is_listed(self, file: File) -> bool:
        """Whether a file is looked at in every combination of the answers that it depends on."""
        return self.space.size(file.axes) <= MOST_COMBINATIONS_TO_LIST

    def shown_with(self, content: Content) -> str:
        """The answers that lead to a content, for a message."""
        point = self.space.complete(content.point)
        assert point is not None
        given = self.space.given(point)
        return " ".join(f"{name}={value!r}" for name, value in given.items()) or "the suggested answers"

    def count(self, content: Content) -> int:
        """How many combinations of answers agree with the one that a content is shown with."""
        texts = {number for number, name in enumerate(self.space.names) if self.space.is_text(name)}
        return self.space.count(tuple(-2 if number in texts else index for number, index in enumerate(content.point)))

    def whole(self, point: Point) -> Iterator[Content]:
        """All files of one combination."""
        for file in self.factors.files:
            path = file.path(point)
            if path is not None:
                yield Content(path, file.content(point), file.source.executable, file.name, point)
