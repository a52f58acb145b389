"""What another version of the template, or of the policy, would do to each repository: nothing is written anywhere."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from .. import keys
from ..check import Checks
from ..errors import LabrigError
from ..merge import Store
from ..questionnaire import to_text
from ..record import read_record
from ..render import ANSWERS_FILE
from ..update import Proposal, Request, Situation, Versions, open_versions, propose, repository_store
from . import lock
from .inventory import Member
from .mirror import Mirror, open_mirror
from .scan import Options, fetched, sentence

OUTCOMES = {
    "clean": "merges without a conflict",
    "current": "nothing to do",
    "conflict": "both sides changed the same lines",
    "invalid": "a merged file is not valid in its format",
    "blocked": "a person has to decide first",
    "skipped": "archived, or under no template",
}
FAILED = ("conflict", "invalid", "blocked")


@dataclass(frozen=True)
class Target:
    """What is tried."""

    to: str | None = None
    template: str | None = None
    policy: str | None = None
    locks: bool = False  # make them anew, too

    @property
    def request(self) -> Request:
        """The same as the command line of one repository."""
        return Request(to=self.to, template=self.template, policy=self.policy, yes=True)


@dataclass(frozen=True)
class Outcome:
    """What would become of one repository."""

    name: str
    outcome: str
    reason: str
    old: str | None = None
    new: str | None = None
    files: tuple[str, ...] = ()  # that change
    answers: Mapping[str, str] = field(default_factory=dict)  # that would be new or others
    conflicts: tuple[tuple[str, str], ...] = ()  # path, and what is the same in each repository that has it
    locks: tuple[str, ...] = ()  # that have to be made anew, because their manifest changes


def simulate(members: Sequence[Member], options: Options, target: Target) -> list[Outcome]:
    """Try it on repositories, one after the other."""
    with Trials(options, target) as trials:
        return [trials.outcome(member) for member in members]


class Trials:
    """Updates of many repositories that are not written: each template and each policy is opened once."""

    def __init__(self, options: Options, target: Target) -> None:
        self.options = options
        self.target = target
        self._stack = ExitStack()
        self._checks = Checks(target.policy or options.policy)
        self._versions: dict[str | None, Versions] = {}

    def __enter__(self) -> Trials:
        self._stack.enter_context(self._checks)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def outcome(self, member: Member) -> Outcome:
        """What would become of one repository; what stands against it is an outcome, too."""
        if member.archived:
            return Outcome(member.name, "skipped", "archived")
        try:
            with open_mirror(fetched(member, self.options), member) as mirror:
                if ANSWERS_FILE not in mirror.files and not mirror.last_with(ANSWERS_FILE):
                    return Outcome(member.name, "skipped", f"it has no {ANSWERS_FILE}")
                with repository_store(mirror) as store:
                    proposal = self.propose(mirror, store)
                    found = describe(member, mirror, proposal)
                    if self.target.locks and proposal is not None and found.outcome == "clean":
                        lock.refreshed(proposal)
                    return found
        except lock.LockError as error:
            return Outcome(member.name, "invalid", sentence(error))
        except LabrigError as error:
            return Outcome(member.name, "blocked", sentence(error))
        except OSError as error:
            return Outcome(member.name, "blocked", str(error))

    def propose(self, mirror: Mirror, store: Store) -> Proposal | None:
        """The update as `labrig update --yes` would do it; None when there is nothing to do."""
        record = read_record(mirror)
        where = self.target.template or record.where
        if where not in self._versions:
            self._versions[where] = self._stack.enter_context(open_versions(record, self.target.request))
        _, found = self._checks.standards(mirror)
        return propose(Situation(mirror, record, self._versions[where], store, found), self.target.request)


def describe(member: Member, mirror: Mirror, proposal: Proposal | None) -> Outcome:
    """An update in a form that can be stored and sent."""
    if proposal is None:
        record = read_record(mirror)
        return Outcome(member.name, "current", f"as {record.version} wants it", record.version, record.version)
    invalid = list(_invalid(proposal))
    outcome = "conflict" if proposal.conflicts else "invalid" if invalid else "clean"
    files = tuple(proposal.change.files)
    reason = f"{len(files)} files change"
    if proposal.conflicts:
        reason = "; ".join(f"{conflict.path}: {conflict.reason}" for conflict in proposal.conflicts[:3])
    elif invalid:
        reason = "; ".join(invalid[:3])
    conflicts = [
        (conflict.path, f"{conflict.reason}\n" + "\n".join(place.theirs for place in conflict.places))
        for conflict in proposal.conflicts
    ]
    stale = lock.stale(proposal)
    return Outcome(
        member.name,
        outcome,
        reason,
        proposal.old.source.commit,
        proposal.new.source.commit,
        files,
        {name: to_text(value) for name, value in proposal.answers_changed.items()},
        tuple(conflicts),
        (stale,) if stale else (),
    )


def _invalid(proposal: Proposal) -> Iterator[str]:
    """The changed files that are not valid in their format, and were before."""
    merge = proposal.merge
    conflicted = {conflict.path for conflict in merge.conflicts}
    for path, entry in proposal.change.files.items():
        if entry is None or not entry.is_file or path in conflicted:
            continue
        before = merge.ours.get(path)
        problem = _problem(path, merge.store.read(entry))
        if problem and not (before and before.is_file and _problem(path, merge.store.read(before))):
            yield f"{path}: {problem}"


def _problem(path: str, content: bytes) -> str:
    """What is wrong with a file in its format, in one line; "" when nothing is known to be."""
    kind = keys.format_of(path)
    try:
        text = content.decode()
        if path.endswith(".py"):
            ast.parse(text)
        elif kind in keys.WRITERS:
            keys.parse(kind, text)
    except UnicodeDecodeError:
        return ""
    except (SyntaxError, ValueError, keys.UnreadableError) as error:
        return " ".join(str(error).split())
    return ""


@dataclass(frozen=True)
class Group:
    """One conflict that several repositories have in the same way."""

    path: str
    reason: str
    names: tuple[str, ...]


def grouped(outcomes: Sequence[Outcome]) -> list[Group]:
    """The conflicts, those that most repositories have first."""
    found: dict[tuple[str, str], list[str]] = {}
    for outcome in outcomes:
        for conflict in outcome.conflicts:
            found.setdefault(conflict, []).append(outcome.name)
    groups = [Group(path, reason.partition("\n")[0], tuple(names)) for (path, reason), names in found.items()]
    return sorted(groups, key=lambda group: (-len(group.names), group.path))


def over_budget(outcomes: Sequence[Outcome], budget: str) -> str:
    """Why the simulation fails, as a sentence; "" when it does not. budget: a number, or a share such as 5%."""
    failed = sum(outcome.outcome in FAILED for outcome in outcomes)
    tried = sum(outcome.outcome != "skipped" for outcome in outcomes)
    allowed = float(budget.rstrip("%"))
    amount = 100 * failed / max(1, tried) if budget.endswith("%") else failed
    return f"{failed} of {tried} repositories need a person; the budget is {budget}" if amount > allowed else ""
