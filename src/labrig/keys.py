"""Merges what TOML, YAML, JSON and ignore files say, key by key; comments and order of the user's file are kept."""

from __future__ import annotations

import copy
import json
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from io import StringIO
from pathlib import PurePosixPath
from typing import Any

from . import jsonc

MISSING: Any = object()
NAMES = ("id", "name", "repo", "uses", "key", "path", "label", "title")  # of these, one tells an item of a list
REQUIREMENT = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^\]]*\])?\s*([<>=!~;@(].*)?$")


class UnreadableError(ValueError):
    """The text is not what its name promises, or holds something that cannot be merged key by key."""


@dataclass
class Values:
    """The merge of three values."""

    value: Any = MISSING
    conflicts: list[str] = field(default_factory=list)  # the keys that both sides changed
    kept_out: list[str] = field(default_factory=list)  # keys that the user deleted and the template changed


def format_of(path: str) -> str | None:
    """`toml`, `yaml`, `json`, `jsonc` (with comments), `ignore`, or None for what is merged by lines alone."""
    name = PurePosixPath(path).name
    if name.endswith("ignore") and name.startswith("."):
        return "ignore"
    if name == "devcontainer.json" or (PurePosixPath(path).parent.name == ".vscode" and name.endswith(".json")):
        return "jsonc"
    formats = {".toml": "toml", ".yml": "yaml", ".yaml": "yaml", ".cff": "yaml", ".json": "json", ".ipynb": "json"}
    formats[".jsonc"] = "jsonc"
    known = {"Pipfile": "toml", "uv.lock": "toml", "poetry.lock": "toml", ".gitattributes": "ignore"}
    return known.get(name) or formats.get(PurePosixPath(name).suffix)


def parse(kind: str, text: str) -> Any:
    """What a file says, in plain values. UnreadableError when it is not valid."""
    try:
        if kind == "toml":
            return tomllib.loads(text)
        if kind in {"json", "jsonc"}:
            return json.loads(jsonc.bare(text) if kind == "jsonc" else text, object_pairs_hook=_without_doubles)
        return _plain(_load_yaml(text))
    except (ValueError, RecursionError) as error:
        raise UnreadableError(str(error).splitlines()[0] if str(error) else type(error).__name__) from error


def merge_values(base: Any, ours: Any, theirs: Any) -> Values:
    """The merge of what three files say."""
    found = Values()
    found.value = _merge(base, ours, theirs, "", found)
    return found


def merge_text(kind: str, base: str, ours: str, theirs: str) -> tuple[str | None, Values]:
    """The user's text with the template's changes put in, or None where a person has to decide.

    The new text is read again: it says exactly what the merge of the values says, with every comment of the user's.
    """
    plain = [parse(kind, text) if text.strip() else {} for text in (base, ours, theirs)]
    merged = merge_values(*plain)
    if merged.conflicts:
        return None, merged
    try:
        text = WRITERS[kind](ours, theirs, plain[1], merged.value)
        complete = same(parse(kind, text), merged.value) and not _lost_comments(kind, base, ours, theirs, text)
    except Exception:  # noqa: BLE001 - a writer that stumbles over a strange file is no reason to stop: lines are left
        return None, merged
    return (text if complete else None), merged


def without(kind: str, text: str, names: Iterable[str]) -> str:
    """A file without some keys, each as `name_of` gives it. UnreadableError when the text is not valid."""
    values = parse(kind, text)
    kept = _without(values, frozenset(names), "")
    return text if same(values, kept) else WRITERS[kind](text, "", values, kept)


def name_of(outer: str, key: Any) -> str:
    """What a key, or an item of a list, is called in the answer `exclude`: `tool.ruff`, `dependency-groups.dev.numpy`.

    Signs that the answer cannot hold are left out.
    """
    word = item_name(key).partition(" ")[2] if isinstance(key, dict | list) else item_name(str(key))
    return re.sub(r"\.{2,}", ".", f"{outer}.{re.sub(r'[^A-Za-z0-9._-]', '', word)}").strip(".")


def same(left: Any, right: Any, *, ordered: bool = True) -> bool:
    """Whether two values are equal, in type too. Without `ordered`, lists may hold their items in any order."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key], ordered=ordered) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        if not ordered:
            return Counter(map(canonical, left)) == Counter(map(canonical, right))
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    return type(left) is type(right) and (left == right or repr(left) == repr(right))  # nan is nan


def canonical(value: Any) -> str:
    """One text for equal values."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key!r}:{canonical(value[key])}" for key in sorted(value, key=repr)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(sorted(map(canonical, value))) + "]"
    return f"{type(value).__name__} {value!r}"


def leaves(value: Any, path: str = "") -> Iterator[str]:
    """Every value as one line, `tool.ruff.line-length = int 100`; the place in a list does not count."""
    if isinstance(value, dict):
        if not value:
            yield f"{path} = {{}}"
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        if not value:
            yield f"{path} = []"
        for item in value:
            yield from leaves(item, f"{path}[]")
    else:
        yield f"{path} = {type(value).__name__} {value!r}"


def comments(kind: str, text: str) -> Counter[str]:
    """The comments of a file, and how often each stands there."""
    if kind in {"json", "jsonc"}:
        return Counter(jsonc.remarks(text))
    return Counter(found[1].strip() for line in text.splitlines() if (found := re.search(r"(?:^|\s)(#.*)", line)))


def merge_region(base: list[str], ours: list[str], theirs: list[str]) -> list[str]:
    """Lines of an ignore file that both sides changed: the union, less what either removed.

    The user's lines come last: of the rules that fit a file, the last one decides.
    """
    kept = [line for line in ours if line not in base or line in theirs]
    new = [line for line in theirs if line not in base and line not in ours]
    return new + kept


# Values


def _merge(base: Any, ours: Any, theirs: Any, path: str, found: Values) -> Any:
    if same(theirs, base) or same(ours, theirs):
        return ours
    if same(ours, base):
        return theirs
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return _merge_mapping(base if isinstance(base, dict) else {}, ours, theirs, path, found)
    if isinstance(ours, list) and isinstance(theirs, list):
        return _merge_list(base if isinstance(base, list) else [], ours, theirs, path, found)
    if ours is MISSING:
        found.kept_out.append(path)
        return MISSING
    found.conflicts.append(path)
    return ours


def _merge_mapping(base: dict[Any, Any], ours: dict[Any, Any], theirs: dict[Any, Any], path: str, found: Values) -> Any:
    merged: dict[Any, Any] = {}
    for key in _united(base, ours, theirs, ordered=False) or []:
        inner = f"{path}.{key}" if path else str(key)
        values = [side.get(key, MISSING) for side in (base, ours, theirs)]
        value = _merge(values[0], values[1], values[2], inner, found)
        if value is not MISSING:
            merged[key] = value
    return merged


def _merge_list(base: list[Any], ours: list[Any], theirs: list[Any], path: str, found: Values) -> Any:
    """Items are told by their names, so that each is merged with its own former self."""
    name = _naming(base, ours, theirs)
    if name is None:
        found.conflicts.append(path)
        return ours
    named = [{name(item): item for item in side} for side in (base, ours, theirs)]
    ours_moved, theirs_moved = (_moved(named[0], side) for side in named[1:])
    if ours_moved and theirs_moved and _common(named[1], named[2]) != _common(named[2], named[1]):
        found.conflicts.append(path)
        return ours
    first, second = (named[2], named[1]) if theirs_moved and not ours_moved else (named[1], named[2])
    order = _united(named[0], first, second)
    if order is None:
        found.conflicts.append(path)
        return ours
    merged = []
    for key in order:
        values = [side.get(key, MISSING) for side in named]
        value = _merge(values[0], values[1], values[2], f"{path}[{key}]", found)
        if value is not MISSING:
            merged.append(value)
    return merged


def _united(
    base: dict[Any, Any], first: dict[Any, Any], second: dict[Any, Any], *, ordered: bool = True
) -> list[Any] | None:
    """The names of both sides in one order: that of `first`, each new one of `second` behind its neighbour there.

    None where the order matters and cannot be told.
    """
    order = list(first)
    position = 0
    for key, value in second.items():
        if key in first:
            position = order.index(key) + 1
            continue
        if key not in base:
            # Both put something new here. The order of steps matters, that of plain words hardly ever.
            while position < len(order) and order[position] not in base and order[position] not in second:
                if ordered and isinstance(value, dict | list):
                    return None
                position += 1
        order.insert(position, key)
        position += 1
    return order


def _without(value: Any, names: frozenset[str], path: str) -> Any:
    if isinstance(value, list):
        return [
            item for item in value if name_of(path, item_name(item) if isinstance(item, str) else item) not in names
        ]
    if not isinstance(value, dict):
        return value
    inner = {key: name_of(path, key) for key in value}
    kept = {key: _without(item, names, inner[key]) for key, item in value.items() if inner[key] not in names}
    return {key: item for key, item in kept.items() if item or not value[key]}  # a table that was emptied goes, too


def _moved(base: dict[str, Any], side: dict[str, Any]) -> bool:
    return _common(base, side) != _common(side, base)


def _common(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    return [key for key in first if key in second]


def _naming(*sides: list[Any]) -> Callable[[Any], str] | None:
    """What tells the items of these lists from each other; None where nothing does."""
    for name in (item_name, canonical):
        if all(len({name(item) for item in side}) == len(side) for side in sides):
            return name
    return None


def item_name(item: Any) -> str:
    """What tells an item of a list from the others: of a requirement its package, of a mapping its name."""
    if isinstance(item, str):
        requirement = REQUIREMENT.match(item)
        return re.sub(r"[-_.]+", "-", requirement[1]).lower() if requirement and requirement[3] else item
    if isinstance(item, dict):
        for key in NAMES:
            if isinstance(item.get(key), str):
                return f"{key} {item[key].partition('@')[0] if key == 'uses' else item[key]}"
    return canonical(item)


# Texts


def _write_json(ours: str, theirs: str, before: Any, value: Any) -> str:
    del theirs
    return jsonc.change(ours if ours.strip() else "{}", before, value, lambda *sides: _naming(*sides) or canonical)


def _write_toml(ours: str, theirs: str, before: Any, value: Any) -> str:
    import tomlkit  # noqa: PLC0415 - most updates need no writer

    document = tomlkit.parse(ours)
    _change(document, before, value, tomlkit.parse(theirs) if theirs.strip() else {})
    return _spaced(tomlkit.dumps(document), ours)


TABLE = r"\[\[?[^\[\]\n]+\]\]?[ \t]*(?:#.*)?"


def _spaced(text: str, ours: str) -> str:
    """A TOML text as a person would space it.

    tomlkit puts a new table right before the next one, below the comment that belongs to that. With a table that goes,
    a blank line goes, too.
    """
    for found in re.finditer(rf"(?:^|\n\n)((?:#.*\n)+)({TABLE})\n", ours):
        remark, table = found[1], f"\n{found[2]}\n"
        if remark + table[1:] not in text and text.count(remark) == text.count(table) == 1:
            text = text.replace(remark, "").replace(table, f"\n{remark}{table[1:]}")
    known = ours.split("\n")
    close = {line for index, line in enumerate(known) if known[_remarks_above(known, index) - 1]}
    lines: list[str] = []
    for line in text.split("\n"):
        if re.fullmatch(TABLE, line) and line not in close:
            first = _remarks_above(lines, len(lines))
            while first > 1 and not lines[first - 1] and "\n\n\n" not in ours:
                first -= 1
                del lines[first]
            if first and lines[first - 1]:
                lines.insert(first, "")
        lines.append(line)
    text = "\n".join(lines)
    return text if ours.endswith("\n\n") else re.sub(r"\n+$", "\n", text)


def _remarks_above(lines: list[str], index: int) -> int:
    """Where the comments start that stand right above a line."""
    while index and lines[index - 1].startswith("#"):
        index -= 1
    return index


def _write_yaml(ours: str, theirs: str, before: Any, value: Any) -> str:
    yaml = _yaml()
    document = yaml.load(ours)
    _change(document, before, value, yaml.load(theirs))
    yaml.width = 4096
    dashes = re.search(r"^( *)(?:[\w\"'-][^\n]*:)\s*(?:#[^\n]*)?\n(?:\s*#[^\n]*\n|\s*\n)*( *)- ", ours, re.MULTILINE)
    inset = len(dashes[2]) - len(dashes[1]) if dashes else 2
    nested = re.search(r"^( *)[\w\"'-][^\n]*:\s*(?:#[^\n]*)?\n( +)[\w\"']", ours, re.MULTILINE)
    yaml.indent(mapping=len(nested[2]) - len(nested[1]) if nested else 2, sequence=inset + 2, offset=inset)
    yaml.explicit_start = bool(re.match(r"(?:\s*#[^\n]*\n|\s*\n)*---", ours))
    stream = StringIO()
    yaml.dump(document, stream)
    return stream.getvalue()


WRITERS = {"json": _write_json, "jsonc": _write_json, "toml": _write_toml, "yaml": _write_yaml}


def _change(node: Any, before: Any, after: Any, theirs: Any) -> None:
    """Change a document of a round-trip library in place, from saying `before` to saying `after`.

    What is new is taken over from `theirs`, the template's document, with its own comments and form.
    """
    if isinstance(after, dict):
        _change_mapping(node, before, after, theirs)
    else:
        _change_list(node, before, after, theirs)


def _change_mapping(node: Any, before: dict[Any, Any], after: dict[Any, Any], theirs: Any) -> None:
    for key in [key for key in before if key not in after]:
        del node[key]
    for index, (key, value) in enumerate(after.items()):
        inner = theirs[key] if isinstance(theirs, Mapping) and key in theirs else MISSING
        if key not in before:
            new = copy.deepcopy(inner) if inner is not MISSING and same(_plain(inner), value) else value
            if hasattr(node, "insert"):  # YAML
                node.insert(index, key, new)
                _copy_comment(node, theirs, key)
            else:
                node[key] = new
        elif not same(before[key], value):
            if type(before[key]) is type(value) and isinstance(value, dict | list):
                _change(node[key], before[key], value, inner)
            else:
                node[key] = value


def _change_list(node: Any, before: list[Any], after: list[Any], theirs: Any) -> None:
    name = _naming(before, after) or canonical
    # Only ruamel.yaml's lists keep the form of what is put into them.
    formed = (
        {canonical(_plain(item)): item for item in theirs} if isinstance(theirs, list) and hasattr(node, "ca") else {}
    )
    names = [name(item) for item in after]
    for index in reversed([index for index, item in enumerate(before) if name(item) not in names]):
        del node[index]
    kept = [item for item in before if name(item) in names]
    for index, item in enumerate(after):
        known = next((number for number, old in enumerate(kept) if name(old) == names[index]), None)
        if known is None:
            node.insert(index, copy.deepcopy(formed.get(canonical(item), item)))
            kept.insert(index, item)
        elif known != index:
            raise UnreadableError("the order of a list has changed")
        elif not same(kept[index], item):
            if isinstance(item, dict | list) and type(item) is type(kept[index]):
                _change(node[index], kept[index], item, MISSING)
            else:
                node[index] = item


def _copy_comment(node: Any, theirs: Any, key: Any) -> None:
    """Take over the comment that stands behind a key."""
    tokens = theirs.ca.items.get(key) if hasattr(theirs, "ca") else None
    token = tokens[2] if tokens and len(tokens) > 2 else None
    if token is not None and token.value.startswith("#"):
        node.yaml_add_eol_comment(token.value.split("\n")[0], key)


def _lost_comments(kind: str, base: str, ours: str, theirs: str, text: str) -> bool:
    """Whether a comment of the user's is missing that the template did not remove itself."""
    removed = comments(kind, base) - comments(kind, theirs)
    return bool(comments(kind, ours) - removed - comments(kind, text))


def _yaml() -> Any:
    from ruamel.yaml import YAML  # noqa: PLC0415 - most updates need no writer

    yaml = YAML()
    yaml.preserve_quotes = True
    return yaml


def _load_yaml(text: str) -> Any:
    from ruamel.yaml.error import MarkedYAMLError, YAMLError  # noqa: PLC0415

    if re.search(r"(?:^|[\s\[{,:-])[&*][\w-]+", re.sub(r"#.*|\"[^\"\n]*\"|'[^'\n]*'", "", text)):
        raise UnreadableError("it uses anchors")
    try:
        return _yaml().load(text)
    except MarkedYAMLError as error:
        line = f" (line {error.problem_mark.line + 1})" if error.problem_mark else ""
        raise UnreadableError(f"{error.problem or 'it is not YAML'}{line}") from error
    except (YAMLError, AttributeError, TypeError, NotImplementedError) as error:
        raise UnreadableError(str(error).splitlines()[0] if str(error) else "it is not YAML") from error


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return value if kind is bool else kind(value)
    return getattr(value, "unwrap", lambda: value)()


def _without_doubles(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise UnreadableError(f"the key {key!r} stands there twice")
        found[key] = value
    return found
