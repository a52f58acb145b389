"""A rollout in rings: one branch and one request for each repository, and no next ring before the last one is sound."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import LabrigError, UsageError
from ..git import Git
from ..merge import Store
from ..render import ANSWERS_FILE
from ..transaction import Change, import_objects
from ..update import Proposal, repository_store
from . import lock
from .host import Host, credentials, open_host
from .inventory import Member, matches
from .ledger import Action, Campaign, Ledger, now
from .mirror import Mirror, MirrorError, open_mirror
from .scan import Options, fetched, sentence
from .simulation import Outcome, Target, Trials, describe

OPEN = {"planned", "pushed"}  # what is still to be done
RETRIED = {"failed", "conflict", "invalid", "blocked"}
TRAILER = "Labrig-Campaign"
NOBODY = "labrig <labrig@localhost>"


@dataclass(frozen=True)
class Rollout:
    """How far, how fast, and when to stop."""

    options: Options
    target: Target
    lock: bool = True  # make locks anew whose manifest changes
    drafts: bool = False  # open requests with conflict markers, as drafts
    most_failures: int = 0  # of CI, that were not there before
    most_open: int = 0  # requests at once; 0 for any number
    wait_seconds: float = 0.0  # for CI results
    spacing_seconds: float = 1.0
    failed_only: bool = False


@dataclass(frozen=True)
class Made:
    """A commit that is to be proposed, in the mirror already."""

    commit: str
    title: str
    text: str
    draft: bool = False


Make = Callable[[Mirror, Store, Action], "Made | Outcome"]


class Runner:
    """Brings a campaign as far as it goes now; each call goes on where the last one ended, however that was."""

    def __init__(self, ledger: Ledger, campaign: Campaign, rollout: Rollout, say: Callable[[str], None]) -> None:
        self.ledger = ledger
        self.campaign = campaign
        self.rollout = rollout
        self.say = say
        self._hosts: dict[str, Host] = {}

    @property
    def branch(self) -> str:
        """The branch that every repository gets."""
        return f"labrig/{self.campaign.id}"

    def run(self, make: Make) -> str:
        """Ring after ring. The state of the campaign: running (it waits for something), halted or done."""
        actions = self.ledger.actions(self.campaign.id)
        for action in actions:
            if self.rollout.failed_only and action.state in RETRIED:
                action.state, action.reason = "planned", "tried again"
                self.ledger.keep(self.campaign.id, action)
        for action in actions:  # without a token nothing is begun
            if action.member.host and action.state in {*OPEN, "requested"}:
                self.host(action.member)
        room = self.rollout.most_open or len(actions)
        if self.rollout.most_open:
            room -= sum(self._is_open(action) for action in actions if action.state == "requested")
        for ring in range(len(self.campaign.rings)):
            inside = [action for action in actions if action.ring == ring]
            for action in inside:
                if action.state not in OPEN:
                    continue
                if room <= 0:
                    return self._end("running", f"{self.rollout.most_open} requests are open, and no more are wanted")
                self._advance(action, make)
                room -= action.state == "requested"
            if stopped := self._wait_for_results(inside, ring):
                return self._end(*stopped)
        outside = sum(action.ring == len(self.campaign.rings) for action in actions)
        if outside:
            return self._end("running", f"{outside} repositories are in no ring yet: --rings ...,100%")
        return self._end("done", "")

    def _end(self, state: str, reason: str) -> str:
        self.ledger.say(self.campaign, state, reason)
        return state

    def _is_open(self, action: Action) -> bool:
        found = self.host(action.member).find(action.member, self.branch)
        return found is not None and found.state == "open"

    def host(self, member: Member) -> Host:
        """Where the repository's requests are opened."""
        if member.host not in self._hosts:
            self._hosts[member.host] = open_host(member.host, spacing_seconds=self.rollout.spacing_seconds)
        return self._hosts[member.host]

    # One repository

    def _advance(self, action: Action, make: Make) -> None:
        """From what is planned to a request that is open; what fails is written down, and the others go on."""
        member = action.member
        try:
            folder = fetched(member, self.rollout.options)
            with open_mirror(folder, member) as mirror, repository_store(mirror) as store:
                there = self._pushed(mirror)
                made = make(mirror, store, action)
                if isinstance(made, Outcome):
                    if there is None:
                        action.state, action.reason = made.outcome, made.reason
                        self.ledger.keep(self.campaign.id, action)
                        self.say(f"{action.name}: {made.outcome}: {made.reason}")
                        return
                    made = Made(there, self.campaign.id, "")  # it was proposed, and merged meanwhile
                action.base = action.base or mirror.head
                if there is None:
                    self._push(mirror, member, made.commit)
                action.head = there or made.commit
                action.state, action.reason = "pushed", f"branch {self.branch}"
                self.ledger.keep(self.campaign.id, action)
                if member.host:
                    base = mirror.git.text("symbolic-ref", "--short", "HEAD")
                    found = self.host(member).ensure(member, self.branch, base, made.title, made.text, draft=made.draft)
                    action.number, action.url = found.number, found.url
                    action.state, action.reason = "requested", found.url
                else:
                    action.state = "done"
                self.ledger.keep(self.campaign.id, action)
                self.say(f"{action.name}: {action.reason}")
        except LabrigError as error:
            action.state, action.reason = "failed", sentence(error)
            self.ledger.keep(self.campaign.id, action)
            self.say(f"{action.name}: failed: {action.reason}")
        except OSError as error:
            action.state, action.reason = "failed", str(error)
            self.ledger.keep(self.campaign.id, action)

    def _pushed(self, mirror: Mirror) -> str | None:
        """The commit of our branch, if a run that was killed got so far. MirrorError when it is somebody else's."""
        found = mirror.git.attempt("log", "-1", "--format=%H%n%B", f"refs/heads/{self.branch}", "--")
        if found.returncode:
            return None
        commit, _, message = found.stdout.decode(errors="replace").partition("\n")
        if f"{TRAILER}: {self.campaign.id}" not in message:
            raise MirrorError(
                f"{mirror.root} has a branch {self.branch} that this campaign did not make, or that was changed since",
                tip="look at it, and delete it or name the campaign otherwise: --campaign NAME",
            )
        return commit

    def _push(self, mirror: Mirror, member: Member, commit: str) -> None:
        ref, variables = f"refs/heads/{self.branch}", credentials(member.url)
        words = ("push", "--quiet", f"--force-with-lease={ref}:", member.url, f"{commit}:{ref}")
        done = mirror.git.attempt(*words, variables=variables)
        if done.returncode:  # the answer may have been lost on its way
            listed = mirror.git.attempt("ls-remote", member.url, ref, variables=variables).stdout.decode()
            if listed.partition("\t")[0] == commit:
                return
            said = done.stderr.decode(errors="replace").strip().splitlines()
            reason = next((line for line in said if line.startswith(("remote:", "fatal:"))), said[-1] if said else "")
            raise MirrorError(
                f"{member.name} cannot be pushed to", cause=reason, tip="see whether the token may write contents"
            )

    # Rings

    def _wait_for_results(self, actions: Sequence[Action], ring: int) -> tuple[str, str] | None:
        """The state and the reason when the next ring has to wait, or must not come; None when it may."""
        until = time.monotonic() + self.rollout.wait_seconds
        while True:
            for action in actions:
                if action.state == "requested":
                    self._read_result(action)
            failed = [action.name for action in actions if action.result == "failed"]
            if len(failed) > self.rollout.most_failures:
                shown = ", ".join(failed[:5]) + (", ..." if len(failed) > 5 else "")
                return "halted", f"ring {ring + 1}: CI fails, and did not before, in {shown}"
            broken = [action.name for action in actions if action.state == "failed"]
            if len(broken) > self.rollout.most_failures:
                shown = ", ".join(broken[:5]) + (", ..." if len(broken) > 5 else "")
                many = f"{len(broken)} of {len(actions)}"
                return "halted", f"ring {ring + 1}: {many} repositories could not be updated: {shown}"
            running = [action.name for action in actions if action.result == "running"]
            if not running:
                return None
            if time.monotonic() >= until:
                return "running", f"CI of ring {ring + 1} is still running in {len(running)} repositories"
            time.sleep(min(30.0, max(1.0, until - time.monotonic())))

    def _read_result(self, action: Action) -> None:
        """What the repository's own CI says of the proposal, less what it said before."""
        if action.result in {"passed", "none"}:
            return
        member = action.member
        host = self.host(member)
        try:
            now_, before = host.results(member, action.head), host.results(member, action.base)
        except LabrigError as error:
            action.result = "running"
            self.ledger.keep(self.campaign.id, action, f"no CI results: {sentence(error)}")
            return
        worse = [name for name, result in now_.items() if result == "failed" and before.get(name) != "failed"]
        if worse:
            action.result, text = "failed", f"CI: {', '.join(worse)}"
        elif "running" in now_.values():
            action.result, text = "running", "CI is running"
        else:
            action.result, text = ("passed", "CI passes") if now_ else ("none", "there is no CI")
        self.ledger.keep(self.campaign.id, action, text)


def plan(campaign: Campaign, members: Sequence[Member]) -> list[Action]:
    """Which repository comes in which ring: in an order that has nothing to do with their names.

    Those in no ring come after the last one, and wait there for a ring of their own.
    """
    wanted = [member for member in members if not member.archived]
    order = sorted(wanted, key=lambda each: hashlib.sha256(f"{campaign.id} {each.name}".encode()).digest())
    ring_of: dict[str, int] = {}
    for ring, text in enumerate(campaign.rings):
        inside = list(_in_ring(text, order))
        if not inside and order:
            raise UsageError(
                f"nobody is in the ring '{text}'",
                cause="a ring is a number, a share such as 5%, a topic, or a pattern of names",
                tip="for example: --rings 1,pilot,vision-*,25%,100%",
            )
        for member in inside:
            ring_of.setdefault(member.name, ring)
    last = len(campaign.rings)
    return [Action(each.name, ring_of.get(each.name, last), each) for each in order]


def _in_ring(text: str, order: Sequence[Member]) -> Iterator[Member]:
    """Those of one ring and of all before it: a number, a share, a topic, or a pattern of names."""
    if found := re.fullmatch(r"(\d+(?:\.\d+)?)(%?)", text):
        number = float(found[1])
        count = -(-len(order) * number // 100) if found[2] else number
        yield from order[: int(count)]
    else:
        for member in order:
            if text in member.topics or matches(member, text):
                yield member


def updates(trials: Trials, campaign: Campaign, rollout: Rollout) -> Make:
    """The commit of an update, as `labrig update --yes` would stage it."""

    def make(mirror: Mirror, store: Store, action: Action) -> Made | Outcome:
        member = action.member
        if ANSWERS_FILE not in mirror.files:
            return Outcome(member.name, "skipped", f"it has no {ANSWERS_FILE}")
        try:
            proposal = trials.propose(mirror, store)
        except LabrigError as error:
            return Outcome(member.name, "blocked", sentence(error))
        outcome = describe(member, mirror, proposal)
        wanted = outcome.outcome == "clean" or (outcome.outcome == "conflict" and rollout.drafts)
        if proposal is None or not wanted:
            return outcome
        change = proposal.change
        try:
            refreshed = lock.refreshed(proposal) if rollout.lock and not proposal.conflicts else None
        except lock.LockError as error:
            return replace(outcome, outcome="invalid", reason=sentence(error))
        if refreshed is not None:
            change = replace(change, files={**change.files, refreshed[0]: refreshed[1]})
        import_objects(mirror, store, change)
        tree = tree_of(mirror, change)
        title = f"Update the template to {proposal.new.source.commit}"
        if proposal.new.source.commit_hash == proposal.old.source.commit_hash:
            title = "Follow the policy"
        commit = commit_of(mirror.git, tree, [mirror.head], f"{title}\n\n{TRAILER}: {campaign.id}\n", campaign.created)
        return Made(
            commit,
            title,
            "\n".join(_plan_lines(proposal, outcome, campaign, locked=refreshed is not None)),
            outcome.outcome == "conflict",
        )

    return make


def reverts(ledger: Ledger, of: Campaign, campaign: Campaign) -> Make:
    """The commit that undoes what a campaign brought, and keeps what came after it."""
    done = {action.name: action for action in ledger.actions(of.id)}

    def make(mirror: Mirror, store: Store, action: Action) -> Made | Outcome:
        before = done[action.name]
        git = store.git
        trees = [mirror.git.text("rev-parse", f"{name}^{{tree}}") for name in (before.head, "HEAD", f"{before.head}^")]
        if trees[1] == trees[2]:
            return Outcome(action.name, "current", "nothing of the campaign is there")
        base = commit_of(git, trees[0], [], "base", of.created)
        sides = [commit_of(git, tree, [base], "side", of.created) for tree in trees[1:]]
        merged = git.attempt("merge-tree", "--write-tree", *sides)
        if merged.returncode:
            return Outcome(action.name, "conflict", "what the campaign changed was changed again since")
        tree = merged.stdout.decode().split("\n")[0]
        if tree == trees[1]:
            return Outcome(action.name, "current", "nothing of the campaign is there")
        entries = {path: entry for path, entry in store.list(tree).items() if mirror.files.get(path) != entry}
        gone = dict.fromkeys(path for path in mirror.files if path not in store.list(tree))
        change = Change({**entries, **gone})
        import_objects(mirror, store, change)
        title = f"Undo: {of.id}"
        message = f"{title}\n\n{TRAILER}: {campaign.id}\n"
        commit = commit_of(mirror.git, tree_of(mirror, change), [mirror.head], message, campaign.created)
        return Made(commit, title, f"Takes back what the campaign {of.id} brought ({before.url or before.head[:12]}).")

    return make


def tree_of(mirror: Mirror, change: Change) -> str:
    """The tree at the tip with a change, in the mirror; what git ignores is left out, as in an index."""
    nothing = "0" * len(mirror.head)
    with tempfile.TemporaryDirectory(prefix="labrig-index-") as name:
        here = {"GIT_INDEX_FILE": str(Path(name) / "index")}
        mirror.git.run("read-tree", mirror.tree, variables=here)
        lines = [
            (f"{entry.mode} {entry.name} 0\t" if entry else f"0 {nothing}\t").encode() + os.fsencode(path)
            for path, entry in sorted(change.files.items(), key=lambda item: item[1] is not None)
            if path not in change.untracked
        ]
        if lines:
            mirror.git.run("update-index", "-z", "--index-info", stdin=b"\0".join([*lines, b""]), variables=here)
        return mirror.git.run("write-tree", variables=here).decode().strip()


def commit_of(git: Git, tree: str, parents: Sequence[str], message: str, time_: str) -> str:
    """A commit that is the same whenever it is made."""
    name, _, address = NOBODY.removesuffix(">").partition(" <")
    who = {}
    for role in ("AUTHOR", "COMMITTER"):
        who[f"GIT_{role}_NAME"] = os.environ.get(f"GIT_{role}_NAME", name)
        who[f"GIT_{role}_EMAIL"] = os.environ.get(f"GIT_{role}_EMAIL", address)
        who[f"GIT_{role}_DATE"] = time_
    words = [word for parent in parents for word in ("-p", parent)]
    made = git.run("commit-tree", tree, *words, "-F", "-", stdin=message.encode(), variables=who)
    return made.decode().strip()


def _plan_lines(proposal: Proposal, outcome: Outcome, campaign: Campaign, *, locked: bool) -> Iterator[str]:
    yield f"The template goes from {outcome.old} to {outcome.new}, merged with what you made of it."
    yield ""
    for path, entry in proposal.change.files.items():
        what = "deleted" if entry is None else "changed" if path in proposal.merge.ours else "new"
        yield f"- `{path}`: {what}"
    if outcome.answers:
        yield ""
        yield "Answers that are new or others:"
        for name, value in outcome.answers.items():
            yield f"- `{name}`: {value or '(empty)'}"
    for conflict in proposal.conflicts:
        yield f"- **conflict** in `{conflict.path}`: {conflict.reason}; resolve the markers before this is merged"
    for remark in proposal.remarks:
        yield f"- note: {remark}"
    for path in outcome.locks:
        yield f"- `{path}`: made anew, because its manifest changes" if locked else f"- `{path}` has to be made anew"
    yield ""
    yield f"Opened by the campaign {campaign.id}. To do it by hand: `labrig update`."


def start(ledger: Ledger, name: str, place: str, rings: Sequence[str], target: Mapping[str, object]) -> Campaign:
    """The campaign of this name: the one that is in the ledger, with these rings, or a new one."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name) or name.endswith((".lock", ".")) or ".." in name:
        raise UsageError(
            f"'{name}' cannot be the name of a campaign", cause="it becomes a branch: letters, digits, . _ -"
        )
    known = ledger.campaign(name)
    if known is not None:
        if known.target != dict(target) or known.place != place:
            raise UsageError(
                f"the campaign {name} is about something else already",
                cause=f"it began on {known.created} with {known.place} and {known.target}",
                tip="give this one another name: --campaign NAME",
            )
        return replace(known, rings=list(rings))
    return Campaign(name, place, dict(target), list(rings), now())


def close_requests(ledger: Ledger, campaign: Campaign, rollout: Rollout, say: Callable[[str], None]) -> set[str]:
    """Close what is still open of a campaign; the names of the repositories that have merged it."""
    runner = Runner(ledger, campaign, rollout, say)
    merged: set[str] = set()
    for action in ledger.actions(campaign.id):
        if action.state == "done":
            merged.add(action.name)
        elif action.state == "requested":
            host = runner.host(action.member)
            found = host.find(action.member, runner.branch)
            if found is not None and found.state == "open":
                host.close(action.member, found.number)
                ledger.keep(campaign.id, replace(action, state="reverted", reason="closed"))
                say(f"{action.name}: closed {found.url}")
            elif found is not None and found.state == "merged":
                merged.add(action.name)
    return merged
