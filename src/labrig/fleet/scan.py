"""The state of each repository: managed, behind, drifted, adoptable, archived or broken, with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..check import Checks, Finding
from ..errors import LabrigError
from ..render import ANSWERS_FILE
from .inventory import Member
from .mirror import Mirror, Mirrors, open_mirror

STATES = {
    "managed": "as the template and the policy want it",
    "behind": "of an older version, else as it should be",
    "drifted": "something that the template or the policy sets is another one",
    "adoptable": "under no template yet",
    "archived": "nobody changes it any more",
    "broken": "it cannot be read, or does not say what it was made of",
}
BEHIND, BROKEN = {"LR001", "LR008"}, {"LR002"}


@dataclass(frozen=True)
class Options:
    """What the looks at all repositories share."""

    policy: str | None = None
    cache: Path | None = None
    fetch: bool = True
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True)
class Look:
    """What one repository is like."""

    name: str
    state: str
    reason: str
    head: str = ""
    version: str | None = None
    newest: str | None = None
    findings: tuple[Finding, ...] = field(default=())


def scan(members: Sequence[Member], options: Options) -> list[Look]:
    """Look at repositories, one after the other; what is wrong with one of them is its state."""
    with Checks(options.policy) as checks:
        return [_scan(member, options, checks) for member in members]


def _scan(member: Member, options: Options, checks: Checks) -> Look:
    if member.archived:
        return Look(member.name, "archived", "nobody works in it any more")
    try:
        folder = fetched(member, options)
        with open_mirror(folder, member) as mirror:
            return look(mirror, checks, options.ignored)
    except LabrigError as error:
        return Look(member.name, "broken", sentence(error))
    except OSError as error:
        return Look(member.name, "broken", str(error))


def fetched(member: Member, options: Options) -> Path:
    """The folder of the mirror, brought up to date where that is wanted."""
    mirrors = Mirrors(options.cache)
    if not options.fetch:
        return mirrors.folder_of(member)
    from .host import credentials  # noqa: PLC0415

    return mirrors.fetch(member, credentials(member.url))


def look(mirror: Mirror, checks: Checks, ignored: Sequence[str] = ()) -> Look:
    """The state of one repository."""
    name = mirror.root.as_posix()
    if ANSWERS_FILE not in mirror.files and not mirror.last_with(ANSWERS_FILE):
        sources = sum(path.endswith((".py", ".ipynb")) for path in mirror.files)
        return Look(name, "adoptable", f"it has no {ANSWERS_FILE}; {sources} of {len(mirror.files)} files are Python")
    result = checks.examine(mirror, name, ignored)
    found = {finding.rule for finding in result.findings}
    broken = [finding for finding in result.findings if finding.rule in BROKEN]
    drifted = [finding for finding in result.findings if finding.rule not in BROKEN | BEHIND]
    behind = [finding for finding in result.findings if finding.rule in BEHIND]
    state = "broken" if broken else "drifted" if drifted else "behind" if behind else "managed"
    if not found:
        return Look(name, state, f"as {result.version} wants it", mirror.head, result.version, result.newest)
    first = (broken or drifted or behind)[0]
    more = len(broken or drifted) - 1
    reason = f"{first.path}: {first.message}" if first.path != ANSWERS_FILE else first.message
    reason += f" (and {more} more)" if more > 0 else ""
    if drifted and behind:
        reason += f"; behind {result.newest}, too"
    return Look(name, state, reason, mirror.head, result.version, result.newest, result.findings)


def sentence(error: LabrigError) -> str:
    """A failure in one line."""
    return " ".join((error.message + (f": {error.cause}" if error.cause else "")).split())
