"""Accounts for everything that the user did: whatever merged the trees, nothing of it may be missing in the result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from . import keys
from .errors import LossError
from .merge import BOM, Entry, Merge, is_binary

SHOWN = 60  # characters of a line in a message


@dataclass(frozen=True)
class Loss:
    """One thing of the user's that the result does not hold."""

    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


def require_no_loss(merge: Merge) -> None:
    """LossError with the first things that would be lost, if there are any."""
    losses = list(find_losses(merge))
    if losses:
        named = "\n".join(str(loss) for loss in losses[:8]) + ("\n..." if len(losses) > 8 else "")
        raise LossError(
            f"nothing was changed, because {len(losses)} of your changes would have been lost",
            cause=named,
            tip="this is a defect of labrig: please report it. Meanwhile: labrig diff shows what the template changes",
        )


def find_losses(merge: Merge) -> Iterator[Loss]:
    """What the user added, changed, moved or deleted and the result does not have so."""
    conflicted = {
        stage.name for conflict in merge.conflicts for number, stage in conflict.stages.items() if number == 2
    }
    origins = {to: origin for origin, to in merge.ours_moved.items()}
    arrived: dict[str, list[str]] = {}  # the new paths by their last name: where a folder that moved took its files
    for path in merge.result.keys() - merge.ours.keys():
        arrived.setdefault(PurePosixPath(path).name, []).append(path)
    for path, entry in merge.ours.items():
        origin = origins.get(path, path)
        before = merge.base.get(origin)
        if merge.result.get(path) == entry or (before == entry and origin == path):
            continue
        if entry.name in conflicted:
            yield from _conflict_losses(merge, path, entry)
            continue
        places = [path] if path in merge.result else arrived.get(PurePosixPath(path).name, [])
        if path not in merge.result and origin == path and origin in merge.theirs_moved:
            places = [*places, merge.theirs_moved[origin]]
        found = [list(_file_losses(merge, path, origin, to)) for to in places or [path]]
        yield from min(found, key=len)
    yield from _deletions_undone(merge)


def _conflict_losses(merge: Merge, path: str, entry: Entry) -> Iterator[Loss]:
    """A file with a conflict is kept in the index; it must be in the folder too, with every line of the user's."""
    mine = [conflict for conflict in merge.conflicts if 2 in conflict.stages and conflict.stages[2].name == entry.name]
    conflict = next((conflict for conflict in mine if conflict.path == path), mine[0])
    result = merge.result.get(conflict.path)
    if result is None:
        yield Loss(path, "the file would be deleted")
    elif result.name != entry.name:
        missing = _lines(merge.store.read(entry)) - _lines(merge.store.read(result))
        stages = [merge.store.read(conflict.stages[n]) if n in conflict.stages else b"" for n in (1, 3)]
        removed = _lines(stages[0]) - _lines(stages[1])
        for line in filter(str.strip, missing - removed):  # an empty line stands for nothing anywhere
            yield Loss(path, f"lost beside the conflict: {line.strip()[:SHOWN]!r}")


def _file_losses(merge: Merge, path: str, origin: str, to: str) -> Iterator[Loss]:
    """What the file at `to` does not have of the user's at `path`, which the old template has at `origin`."""
    entry, before, result = merge.ours[path], merge.base.get(origin), merge.result.get(to)
    template = merge.theirs.get(merge.theirs_moved.get(origin, origin))
    if result is None:
        yield Loss(path, "the file would be deleted")
        return
    if before is not None and entry.mode not in {before.mode, result.mode}:
        yield Loss(path, f"its mode would be {result.mode} again, not {entry.mode}")
    if before is not None and before.name == entry.name:
        return
    if not (entry.is_file and result.is_file):
        if result.name != entry.name:
            yield Loss(path, "your link or submodule would be replaced")
        return
    contents = [
        merge.store.read(each) if each is not None and each.is_file else b""
        for each in (before, entry, template, result)
    ]
    if is_binary(contents[1]):
        if contents[3] != contents[1]:
            yield Loss(path, "your version of a file that is no text would be replaced")
        return
    yield from content_losses(path, contents[0], contents[1], contents[2] if template else contents[0], contents[3])


def content_losses(path: str, base: bytes, ours: bytes, theirs: bytes, result: bytes) -> Iterator[Loss]:
    """What the user did to a text and the result does not show.

    However lines are aligned, a right merge holds each of them as often as the user's file, but for those that the
    template itself removed or added. Where a file was merged key by key, the same is asked of its values.
    """
    if ours.startswith(BOM) and not base.startswith(BOM) and not result.startswith(BOM):
        yield Loss(path, "your byte order mark")
    if _is_crlf(ours) and not _is_crlf(base) and not _is_crlf(result):
        yield Loss(path, "your line ends (CRLF)")
    found = list(_differences(path, *(_lines(content) for content in (base, ours, theirs, result))))
    if not found:
        found = list(_disorder(path, base, ours, result))
    if found and _values_agree(path, base, ours, theirs, result):
        return
    yield from found


def _differences(
    path: str, base: Counter[str], ours: Counter[str], theirs: Counter[str], result: Counter[str]
) -> Iterator[Loss]:
    for line in ours:
        if line.strip() and result[line] < ours[line] - max(0, base[line] - theirs[line]):
            yield Loss(path, f"your line is missing: {line.strip()[:SHOWN]!r}")
    for line in base:
        if line.strip() and result[line] > ours[line] + max(0, theirs[line] - base[line]):
            yield Loss(path, f"the line that you deleted is back: {line.strip()[:SHOWN]!r}")


def _disorder(path: str, base: bytes, ours: bytes, result: bytes) -> Iterator[Loss]:
    """Lines that only the user has must stand in the result in the user's order."""
    known, mine = _lines(base), _lines(ours)
    own = [line for line in _split(ours) if line.strip() and line not in known and mine[line] == 1]
    wanted = set(own)
    found = list(dict.fromkeys(line for line in _split(result) if line in wanted))
    if found != own:
        line = next((line for line, other in zip(own, found, strict=False) if line != other), own[-1])
        yield Loss(path, f"your lines are in another order: {line.strip()[:SHOWN]!r}")


def _values_agree(path: str, *contents: bytes) -> bool:
    """Whether the result says all that the user's file says, key by key, with every comment."""
    kind = keys.format_of(path)
    if kind not in keys.WRITERS:
        return False
    try:
        texts = [content.removeprefix(BOM).decode() for content in contents]
        values = [Counter(keys.leaves(keys.parse(kind, text) if text.strip() else {})) for text in texts]
    except (keys.UnreadableError, UnicodeDecodeError):
        return False
    remarks = [keys.comments(kind, text) for text in texts]
    return not list(_differences(path, *values)) and not list(_differences(path, *remarks))


def _deletions_undone(merge: Merge) -> Iterator[Loss]:
    """What the user deleted or moved away must not come back."""
    for path, entry in merge.base.items():
        back = merge.result.get(path)
        if path in merge.ours or back is None or merge.theirs.get(path) is None:
            continue
        del entry
        yield Loss(path, "you deleted or moved it, and it would come back")


def answers_kept(before: Mapping[str, object], after: Mapping[str, object], decided: Collection[str]) -> None:
    """LossError when an answer that nobody gave anew is another one afterwards."""
    for name, value in before.items():
        if name not in decided and (name not in after or after[name] != value):
            raise LossError(
                f"nothing was changed, because your answer {name}={value} would have been lost",
                tip="this is a defect of labrig: please report it",
            )


def _split(content: bytes) -> list[str]:
    text = content.removeprefix(BOM).decode("utf-8", "surrogateescape")
    return [line.rstrip("\r") for line in text.split("\n")]


def _lines(content: bytes) -> Counter[str]:
    return Counter(_split(content))


def _is_crlf(content: bytes) -> bool:
    return b"\r\n" in content and content.count(b"\n") == content.count(b"\r\n")
