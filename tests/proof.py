"""What the proof looks at: every content that a file of a generated repository can have, as files for real tools."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

from covering import Assembly

from labrig.factors import Factors, File
from labrig.render import Template
from labrig.space import Point

MOST_COMBINATIONS_TO_LIST = 5_000
MOST_CHARACTERS_OF_A_NAME = 39
SEED = 20261120


@dataclass(frozen=True)
class Content:
    """One content that a file can have, with one combination of answers that gives it."""

    path: str
    content: bytes
    executable: bool
    source: str  # the file of the template
    point: Point
    words: tuple[str, ...] = ()  # the answers that are a person's own words

    @property
    def text(self) -> str:
        """The content as text; every file is UTF-8."""
        return self.content.decode()

    @property
    def plain(self) -> str:
        """The text without a person's own words, which are right whatever they say."""
        text = self.text
        for words in self.words:
            if len(words) > MOST_CHARACTERS_OF_A_NAME or not re.fullmatch(r"[\w.-]*", words):
                text = text.replace(quoted(words), "words").replace(words, "words")
        return text

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
        self._assemblies: dict[str, Assembly] = {}
        self._combinations: dict[str, tuple[Point, ...]] = {}

    @cached_property
    def contents(self) -> tuple[Content, ...]:
        """Every content to be checked, once.

        For a file that depends on few answers, all there are. For one that is assembled from many parts, so many that
        every two texts which can stand in one file do so, and every seam is there (docs/decisions/0008).
        """
        return tuple(self.contents_at(("",)))

    def contents_at(self, beginnings: tuple[str, ...]) -> Iterator[Content]:
        """Those contents whose path begins with one of these."""
        found: dict[tuple[str, bytes, bool], Content] = {}
        for file in self.factors.files:
            if not any(path.startswith(beginnings) for path in file.paths()):
                continue
            for point in self.combinations(file):
                if file.path(point) is not None:
                    content = self.content(file, point)
                    found.setdefault((content.path, content.content, content.executable), content)
        yield from found.values()

    def combinations(self, file: File) -> tuple[Point, ...]:
        """The combinations of answers in which a file is looked at."""
        if self.is_listed(file):
            return self.space.points(file.axes)
        if file.name not in self._combinations:
            self._combinations[file.name] = tuple(self.assembly(file).rows(SEED))
        return self._combinations[file.name]

    def assembly(self, file: File) -> Assembly:
        """A file that is not listed, as the texts of its parts."""
        if file.name not in self._assemblies:
            self._assemblies[file.name] = Assembly(file)
        return self._assemblies[file.name]

    def is_listed(self, file: File) -> bool:
        """Whether a file is looked at in every combination of the answers that it depends on."""
        return file.name in self._listed

    @cached_property
    def _listed(self) -> set[str]:
        files = self.factors.files
        return {
            file.name for file in files if not file.parts or self.space.size(file.axes) <= MOST_COMBINATIONS_TO_LIST
        }

    def shown_with(self, content: Content) -> str:
        """The answers that lead to a content, for a message."""
        return self.words(content.point)

    def words(self, point: Point) -> str:
        """The answers that somebody has to give to get to a combination, for a message."""
        given = self.given(point)
        return " ".join(f"{name}={value!r}" for name, value in given.items()) or "the suggested answers"

    def given(self, point: Point) -> dict[str, object]:
        """The answers that somebody has to give to get to a combination."""
        whole = self.space.complete(point)
        assert whole is not None, "what is looked at is legal"
        return self.space.given(whole)

    def count(self, content: Content) -> int:
        """How many combinations of answers agree with the one that a content is shown with."""
        texts = {number for number, name in enumerate(self.space.names) if self.space.is_text(name)}
        return self.space.count(tuple(-2 if number in texts else index for number, index in enumerate(content.point)))

    def whole(self, point: Point) -> Iterator[Content]:
        """All files of one combination."""
        for file in self.factors.files:
            if file.path(point) is not None:
                yield self.content(file, point)

    def content(self, file: File, point: Point) -> Content:
        """A file in one combination, in which it is there."""
        path = file.path(point)
        assert path is not None, f"{file.name} is left out"
        texts = self.space.ordered(name for name in file.axes if self.space.is_text(name))
        words = tuple(str(self.space.value(name, point)) for name in texts)
        return Content(path, file.content(point), file.source.executable, file.name, point, words)


def quoted(text: str) -> str:
    """A text as it stands between double quotes (shared/quote.jinja)."""
    return text.replace("\\", "\\\\").replace('"', '\\"')
