"""Changes what a text of JSON says, and leaves every other character as it is: order, white space and comments."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

STRING = r'"(?:\\.|[^"\\\n])*"'
REMARK = r"//[^\n]*|/\*[\s\S]*?\*/"

Edit = tuple[int, int, str]  # from, to, and what stands there then
Naming = Callable[[list[Any], list[Any]], Callable[[Any], str]]  # what tells the items of two lists from each other


def bare(text: str) -> str:
    """The text with blanks for comments, and for the comma behind a last item: every other place stays the same."""

    def blank(found: re.Match[str]) -> str:
        return found[0] if found[0][0] == '"' else re.sub(r"\S", " ", found[0])

    return re.sub(rf"{STRING}|,(?=\s*[}}\]])", blank, re.sub(rf"{STRING}|{REMARK}", blank, text))


def remarks(text: str) -> Iterator[str]:
    """The comments of a text."""
    return (found[0].strip() for found in re.finditer(rf"{STRING}|{REMARK}", text) if found[0][0] == "/")


def change(text: str, before: Any, after: Any, naming: Naming) -> str:
    """A text that says `before`, changed to say `after`."""
    edits = _Changes(text, naming).of(_read(bare(text), 0), before, after, "\n")
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text


@dataclass(frozen=True)
class _Node:
    """A value in the text."""

    start: int
    end: int
    members: list[_Member]  # of an object or a list


@dataclass(frozen=True)
class _Member:
    start: int  # of its key, if it has one
    node: _Node


def _read(text: str, start: int) -> _Node:
    """The value at a place of a valid text without comments."""

    def solid(position: int) -> int:
        while text[position].isspace():
            position += 1
        return position

    start = solid(start)
    decoder = json.JSONDecoder()
    if text[start] not in "{[":
        return _Node(start, decoder.raw_decode(text, start)[1], [])
    members: list[_Member] = []
    position = solid(start + 1)
    while text[position] not in "}]":
        begin = position
        if text[start] == "{":
            position = solid(decoder.raw_decode(text, begin)[1]) + 1  # behind the colon
        members.append(_Member(begin, _read(text, position)))
        position = solid(members[-1].node.end)
        position = solid(position + 1) if text[position] == "," else position
    return _Node(start, position + 1, members)


class _Changes:
    """The edits that make one text say something else, in its own form."""

    def __init__(self, text: str, naming: Naming) -> None:
        self.text = text
        self.naming = naming
        indent = re.search(r"^([ \t]+)\S", text, re.MULTILINE)
        self.indent = indent[1] if indent else None
        self.is_escaped = text.isascii() and "\\u" in text
        self.separators = (",", ":") if re.search(r'":\S', text) else (", ", ": ")

    def of(self, node: _Node, before: Any, after: Any, gap: str) -> Iterator[Edit]:
        """The edits of one value. `gap` is the white space before it, from the line end on if there is one."""
        if _same(before, after):
            return
        if not (type(before) is type(after) and isinstance(after, dict | list)):
            yield node.start, node.end, self._write(after, gap)
            return
        old: dict[Any, Any]
        new: dict[Any, Any]
        if isinstance(after, dict):
            old, new = before, after
        else:
            name = self.naming(before, after)
            old, new = ({name(item): item for item in side} for side in (before, after))
        kept = [key for key in old if key in new]
        is_moved = isinstance(after, list) and kept != [key for key in new if key in old]
        if is_moved or not kept:
            yield node.start, node.end, self._write(after, gap)
            return
        members = dict(zip(old, node.members, strict=True))
        inner = self._gap(node)
        for key in kept:
            yield from self.of(members[key].node, old[key], new[key], inner)
        yield from self._removals(list(members.items()), new, kept[-1])
        if isinstance(after, list):
            yield from self._items(members, new, inner)
        else:
            yield from self._keys(node, members, new, inner)

    def _removals(self, members: list[tuple[Any, _Member]], new: Mapping[Any, Any], last: Any) -> Iterator[Edit]:
        """Each goes with its comma: the one behind it, or before it if nothing is left behind it."""
        is_behind = False
        for index, (key, member) in enumerate(members):
            if key not in new and is_behind:
                yield members[index - 1][1].node.end, member.node.end, ""
            elif key not in new:
                yield member.start, members[index + 1][1].start, ""
            is_behind = is_behind or key == last

    def _keys(self, node: _Node, members: Mapping[Any, _Member], new: Mapping[Any, Any], gap: str) -> Iterator[Edit]:
        """New keys come first: behind the last line there would have to be a comma, which changes that line."""
        added = [self._member(key, new[key], gap) for key in new if key not in members]
        if added:
            lead = gap if "\n" in gap else self.text[node.start + 1 : next(iter(members.values())).start]
            comma = "," if lead else self.separators[0]
            yield node.start + 1, node.start + 1, "".join(f"{lead}{each}{comma}" for each in added)

    def _items(self, members: Mapping[Any, _Member], new: Mapping[Any, Any], gap: str) -> Iterator[Edit]:
        """New items stand where they stand in the new list."""
        comma = "," + gap if "\n" in gap else self.separators[0]
        open_: list[str] = []
        end = 0
        for key, item in new.items():
            if key not in members:
                open_.append(self._write(item, gap))
                continue
            if open_:
                yield members[key].start, members[key].start, "".join(each + comma for each in open_)
            open_, end = [], members[key].node.end
        if open_:
            yield end, end, "".join(comma + each for each in open_)

    def _gap(self, node: _Node) -> str:
        """The white space before the first member, without blank lines."""
        before = self.text[node.start + 1 : node.members[0].start]
        white = before[len(before.rstrip()) :]
        return white[white.rfind("\n") :] if "\n" in white else white

    def _write(self, value: Any, gap: str) -> str:
        indent = self.indent if "\n" in gap else None
        separators = (self.separators[0].rstrip() if indent else self.separators[0], self.separators[1])
        text = json.dumps(value, ensure_ascii=self.is_escaped, indent=indent, separators=separators)
        return text.replace("\n", gap)

    def _member(self, key: str, value: Any, gap: str) -> str:
        return json.dumps(key, ensure_ascii=self.is_escaped) + self.separators[1] + self._write(value, gap)


def _same(left: Any, right: Any) -> bool:
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)
