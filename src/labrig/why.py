"""The command `labrig why`: which answer, which layer and which version wrote a line, or that it is yours."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from .errors import RecordError, UsageError
from .factors import Factors
from .policy import POLICY_FILE, Standard
from .questionnaire import to_text
from .record import Record, find_version, parse_record, read_record
from .render import ANSWERS_FILE, RenderedFile, Template
from .report import Report
from .repository import Repository
from .space import UNASKED, Point
from .update import Rendered, Request, open_standards, open_versions, render_old


@dataclass(frozen=True)
class Origin:
    """Where one line comes from."""

    line: int
    text: str
    yours: bool
    place: str = ""  # in the template, as file:line
    layer: str = ""  # the folder of the template, "" for what is always there
    answers: dict[str, object] | None = None  # that decide it
    version: str | None = None  # of the template that wrote it; None for what is not committed
    levels: dict[str, str] | None = None  # of a policy: who decided each answer


def why(place: str, report: Report) -> int:
    """Say where the lines of a file come from: PATH, or PATH:LINE for one line."""
    name, _, number = place.rpartition(":")
    if not name or not number.isdigit():
        name, number = place, ""
    path = Path(name).absolute()
    if not path.is_file():
        raise UsageError(f"there is no file {name}", tip="labrig why pyproject.toml:12")
    repository = Repository(_root(path.parent))
    inside = path.resolve().relative_to(repository.root).as_posix()
    record = read_record(repository)
    with open_versions(record, Request()) as versions, open_standards(repository, None) as found:
        source, _ = find_version(versions.history, record, None)
        rendered = render_old(repository, versions, source, record, found.old)
        template = versions.template(source)
        if found.old is not None and inside in {POLICY_FILE, *found.old.files}:
            origins = list(_policy_origins(repository, found.old, rendered, path, inside))
        else:
            origins = list(_origins(repository, template, record, rendered, path))
        if found.old is not None:
            origins = [_with_levels(origin, found.old, template, rendered) for origin in origins]
    if number:
        origins = [origin for origin in origins if origin.line == int(number)]
        if not origins:
            raise UsageError(f"{name} has no line {number}")
    if report.json:
        report.object({"ok": True, "path": inside, "lines": [asdict(origin) for origin in origins]})
        return 0
    for stretch in _stretches(origins):
        _say(inside, stretch, report)
    return 0


def _root(folder: Path) -> Path:
    """The nearest folder above that holds an answers file."""
    for each in (folder, *folder.parents):
        if (each / ANSWERS_FILE).is_file():
            return each
    raise UsageError(f"{folder} lies in no repository that labrig or Copier made", tip=f"none has a {ANSWERS_FILE}")


def _origins(
    repository: Repository, template: Template, record: Record, rendered: Rendered, path: Path
) -> list[Origin]:
    name = path.resolve().relative_to(repository.root).as_posix()
    lines = path.read_bytes().decode(errors="replace").replace("\r\n", "\n").split("\n")
    if lines and not lines[-1]:
        lines.pop()
    file = rendered.files.get(name)
    written = _lines(rendered.files, name)
    # What `exclude` leaves to the user of this file counts for the pieces, and for nothing else.
    metadata = {"src_path": record.url, "commit": record.version, "commit_hash": record.commit_hash}
    whole = _lines(template.render(rendered.answers, **metadata), name) if file else []
    pieces = _pieces(template, record, rendered, name) if file else []
    versions = _versions(repository, name, len(lines))
    origins: list[Origin] = []
    source_of, place_of = _matches(written, lines), _matches(whole, written)
    for number, text in enumerate(lines):
        if number not in source_of or source_of[number] not in place_of:
            origins.append(Origin(number + 1, text, True, version=versions.get(number + 1)))
            continue
        place, layer, answers = _at(pieces, whole, place_of[source_of[number]])
        origins.append(Origin(number + 1, text, False, place, layer, answers, versions.get(number + 1)))
    return origins


def _policy_origins(
    repository: Repository, standard: Standard, rendered: Rendered, path: Path, name: str
) -> Iterator[Origin]:
    """The lines of a file that a layer of the policy wrote."""
    lines = path.read_bytes().decode(errors="replace").replace("\r\n", "\n").removesuffix("\n").split("\n")
    known = _matches(_lines(rendered.files, name), lines)
    versions = _versions(repository, name, len(lines))
    for number, text in enumerate(lines):
        place = "" if number not in known else f"the policy {standard.url}"
        yield Origin(number + 1, text, not place, place, "", {} if place else None, versions.get(number + 1))


def _with_levels(origin: Origin, standard: Standard, template: Template, rendered: Rendered) -> Origin:
    levels = {
        name: standard.level_of(name, value, template, rendered.answers)
        for name, value in (origin.answers or {}).items()
        if name in template.questions
    }
    return replace(origin, levels=levels)


def _lines(files: Mapping[str, RenderedFile], name: str) -> list[str]:
    return files[name].content.decode(errors="replace").split("\n") if name in files else []


def _matches(before: list[str], after: list[str]) -> dict[int, int]:
    """For the lines of `after` that stand in `before`, too: their number there."""
    found: dict[int, int] = {}
    for block in difflib.SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks():
        found |= {block.b + offset: block.a + offset for offset in range(block.size)}
    # A merge key by key may change the order of tables.
    alone = {text: number for number, text in enumerate(before) if text.strip() and before.count(text) == 1}
    moved = {number: alone[text] for number, text in enumerate(after) if text in alone and after.count(text) == 1}
    return {**moved, **found}


Piece = tuple[int, str, str, dict[str, object]]  # where it ends in the file, its place, its layer, its answers


def _pieces(template: Template, record: Record, rendered: Rendered, name: str) -> list[Piece]:
    """The stretches of a file, each with the part of the template that it comes from."""
    constants = {"_commit": record.version, "_src_path": record.url}
    constants = {key: value for key, value in constants.items() if value is not None}
    settings = {"answers_file": ANSWERS_FILE, "vcs_ref_hash": record.commit_hash}
    factors = Factors(template, constants={**constants, "_copier_conf": settings})
    space = factors.space
    recorded = rendered.answers.recorded
    for question in space.names:  # the one combination that this repository has
        space.domains[question] = (recorded.get(question),)
    point: Point = tuple(0 if question in recorded else UNASKED for question in space.names)
    file = next(file for file in factors.files if file.path(point) == name)

    def answers(axes: Iterable[str]) -> dict[str, object]:
        return {axis: recorded[axis] for axis in space.ordered(axes) if axis in recorded}

    layer = _layer(template, file.name)
    if file.verbatim is not None:
        return [(len(file.verbatim.decode(errors="replace")), file.name, layer, answers(file.path_axes))]
    pieces: list[Piece] = []
    end = 0
    for part in file.parts:
        if text := part.text(point):
            end += len(text)
            pieces.append((end, part.place, _layer(template, part.place) or layer, answers(part.axes)))
    return pieces


def _layer(template: Template, place: str) -> str:
    """The folders of layers that a file of the template lies in."""
    names = re.findall(r"\{\{ (\w+) \}\}(?=/)", place.partition(":")[0])
    return " ".join(name for name in names if name not in template.questions)


def _at(pieces: list[Piece], lines: list[str], number: int) -> tuple[str, str, dict[str, object]]:
    """What wrote a line of the rendered file: every part that has a character in it."""
    start = sum(len(line) + 1 for line in lines[:number])
    end = start + len(lines[number])
    touching: list[Piece] = []
    begin = 0
    for piece in pieces:
        if begin < max(end, start + 1) and piece[0] > start:
            touching.append(piece)
        begin = piece[0]
    if not touching:
        return "", "", {}
    answers: dict[str, object] = {}
    for piece in touching:
        answers |= piece[3]
    longest = max(touching, key=lambda piece: min(piece[0], end) - start)
    return longest[1], longest[2], answers


def _versions(repository: Repository, name: str, count: int) -> dict[int, str | None]:
    """The version of the template that was recorded in the commit that each line comes from."""
    if name not in repository.files:
        return {}
    blamed = repository.git.run("blame", "--porcelain", "--", name).decode(errors="replace")
    commits = {int(found[2]): found[1] for found in re.finditer(r"^([0-9a-f]{40,64}) \d+ (\d+)", blamed, re.MULTILINE)}
    known: dict[str, str | None] = {}
    for commit in set(commits.values()):
        known[commit] = None
        if set(commit) != {"0"}:
            shown = repository.git.attempt("show", f"{commit}:{repository.prefix}{ANSWERS_FILE}")
            try:
                known[commit] = parse_record(shown.stdout.decode(errors="replace")).version
            except RecordError:
                continue
    return {line: known[commit] for line, commit in commits.items() if line <= count}


def _stretches(origins: list[Origin]) -> list[list[Origin]]:
    """Lines that follow one another and come from the same place."""
    found: list[list[Origin]] = []
    for origin in origins:
        if found and _source(found[-1][-1]) == _source(origin):
            found[-1].append(origin)
        else:
            found.append([origin])
    return found


def _source(origin: Origin) -> tuple[object, ...]:
    return origin.yours, origin.place, origin.layer, str(origin.answers), origin.version


def _say(name: str, stretch: list[Origin], report: Report) -> None:
    first, last = stretch[0], stretch[-1]
    lines = str(first.line) if first is last else f"{first.line}-{last.line}"
    if first.yours:
        what = "yours"
    else:
        levels = first.levels or {}
        answers = " ".join(
            f"{key}={to_text(value)}" + (f" ({levels[key]})" if key in levels else "")
            for key, value in (first.answers or {}).items()
        )
        layer = f", layer {first.layer}" if first.layer else ""
        what = f"{answers or 'every answer'}{layer}, from {first.place}"
    version = f" ({first.version})" if first.version and not first.yours else ""
    report.data(f"{name}:{lines}: {what}{version}")
