"""What was seen and done: one SQLite file, in which every step of a campaign is written down before the next one."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import BusyError, UsageError
from .inventory import Member

try:
    import fcntl
except ImportError:  # Windows: SQLite's own lock is the only one there
    fcntl = None  # type: ignore[assignment]

FILE = "labrig-fleet.sqlite"
SCHEMA = """
create table if not exists runs (id integer primary key, kind text, place text, target text, started text);
create table if not exists results (
  run integer, name text, state text, reason text, data text, primary key (run, name));
create table if not exists campaigns (
  id text primary key, place text, target text, rings text, created text, state text, reason text);
create table if not exists actions (
  campaign text, name text, ring integer, member text, state text, reason text, base text, head text,
  number integer, url text, result text, primary key (campaign, name));
create table if not exists log (campaign text, name text, time text, text text);
"""


@dataclass
class Action:
    """What a campaign does to one repository, and how far it is."""

    name: str
    ring: int
    member: Member
    state: str = "planned"
    reason: str = ""
    base: str = ""  # the commit that it starts from
    head: str = ""  # the commit that is proposed
    number: int = 0
    url: str = ""
    result: str = ""  # of the repository's own CI


@dataclass
class Campaign:
    """One rollout."""

    id: str
    place: str
    target: dict[str, Any]
    rings: list[str]
    created: str
    state: str = "running"  # running, halted, done
    reason: str = ""


class Ledger:
    """The open file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._database = sqlite3.connect(path, timeout=30, isolation_level=None)
            self._database.execute("pragma journal_mode=wal")
            self._database.execute("pragma synchronous=full")
            self._database.executescript(SCHEMA)
        except sqlite3.Error as error:
            raise UsageError(f"{path} is no ledger", cause=str(error), tip="another file: --ledger FILE") from None

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    # Looks

    def store(self, kind: str, place: str, target: Mapping[str, Any], results: Sequence[Any], *, state: str) -> None:
        """Keep what a scan or a simulation found, all or nothing. state: the field that counts."""
        with self._transaction():
            run = self._database.execute(
                "insert into runs (kind, place, target, started) values (?, ?, ?, ?)",
                (kind, place, json.dumps(target), now()),
            ).lastrowid
            rows = [(run, each.name, getattr(each, state), each.reason, json.dumps(asdict(each))) for each in results]
            self._database.executemany("insert into results values (?, ?, ?, ?, ?)", rows)

    def last(self, kind: str) -> tuple[dict[str, Any], list[dict[str, Any]]] | None:
        """The newest run of a kind, and what it found."""
        row = self._database.execute(
            "select id, place, target, started from runs where kind = ? order by id desc limit 1", (kind,)
        ).fetchone()
        if row is None:
            return None
        found = self._database.execute("select data from results where run = ? order by name", (row[0],))
        run = {"place": row[1], "target": json.loads(row[2]), "started": row[3]}
        return run, [json.loads(data) for (data,) in found]

    def history(self) -> list[tuple[str, dict[str, int]]]:
        """How many repositories were in which state, at each scan."""
        rows = self._database.execute(
            "select runs.id, started, state, count(*) from runs join results on run = runs.id where kind = 'scan' "
            "group by runs.id, state order by runs.id"
        )
        found: dict[int, tuple[str, dict[str, int]]] = {}
        for number, started, state, count in rows:
            found.setdefault(number, (started, {}))[1][state] = count
        return list(found.values())

    # Campaigns

    def campaigns(self) -> list[Campaign]:
        """All of them, the newest first."""
        rows = self._database.execute(
            "select id, place, target, rings, created, state, reason from campaigns order by created desc, rowid desc"
        )
        return [Campaign(row[0], row[1], json.loads(row[2]), json.loads(row[3]), *row[4:]) for row in rows]

    def campaign(self, name: str) -> Campaign | None:
        """The campaign of this name."""
        return next((each for each in self.campaigns() if each.id == name), None)

    def start(self, campaign: Campaign, actions: Sequence[Action]) -> None:
        """Write a campaign down, with all that it is going to do; of one that goes on, its rings."""
        with self._transaction():
            self._database.execute(
                "insert into campaigns values (?, ?, ?, ?, ?, ?, ?) "
                "on conflict (id) do update set rings = excluded.rings",
                (
                    campaign.id,
                    campaign.place,
                    json.dumps(campaign.target),
                    json.dumps(campaign.rings),
                    campaign.created,
                    campaign.state,
                    campaign.reason,
                ),
            )
            for action in actions:
                self._put(campaign.id, action)

    def say(self, campaign: Campaign, state: str, reason: str) -> None:
        """Change the state of a campaign."""
        campaign.state, campaign.reason = state, reason
        self._database.execute("update campaigns set state = ?, reason = ? where id = ?", (state, reason, campaign.id))

    def actions(self, campaign: str) -> list[Action]:
        """What it does, ring by ring."""
        rows = self._database.execute(
            "select name, ring, member, state, reason, base, head, number, url, result from actions "
            "where campaign = ? order by ring, rowid",
            (campaign,),
        )
        return [Action(row[0], row[1], _member(row[2]), *row[3:]) for row in rows]

    def keep(self, campaign: str, action: Action, text: str = "") -> None:
        """Write down how far an action is."""
        with self._transaction():
            self._put(campaign, action)
            line = text or f"{action.state}: {action.reason}"
            self._database.execute("insert into log values (?, ?, ?, ?)", (campaign, action.name, now(), line))

    def log(self, campaign: str, name: str) -> list[tuple[str, str]]:
        """What happened to one repository, in order."""
        return list(
            self._database.execute(
                "select time, text from log where campaign = ? and name = ? order by rowid", (campaign, name)
            )
        )

    def _put(self, campaign: str, action: Action) -> None:
        self._database.execute(
            "insert into actions values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict (campaign, name) do update set "
            "ring = excluded.ring, state = excluded.state, reason = excluded.reason, base = excluded.base, "
            "head = excluded.head, number = excluded.number, url = excluded.url, result = excluded.result",
            (
                campaign,
                action.name,
                action.ring,
                json.dumps(asdict(action.member)),
                action.state,
                action.reason,
                action.base,
                action.head,
                action.number,
                action.url,
                action.result,
            ),
        )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._database.execute("rollback")
            raise
        self._database.execute("commit")


@contextmanager
def open_ledger(path: Path | None, *, alone: bool = False) -> Iterator[Ledger]:
    """Open the ledger. alone: BusyError while another campaign works with it."""
    path = path or Path(FILE)
    with contextlib.ExitStack() as stack:
        if alone and fcntl is not None:
            handle = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o666)
            stack.callback(os.close, handle)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise BusyError(
                    f"another campaign is working with {path}",
                    cause="two at once would open requests that exclude each other",
                    tip="wait for it to end, or give another ledger: --ledger FILE",
                ) from None
        ledger = Ledger(path)
        stack.callback(ledger.close)
        yield ledger


def _member(text: str) -> Member:
    fields = json.loads(text)
    return Member(**{**fields, "topics": tuple(fields["topics"])})


def now() -> str:
    """The time, to be stored."""
    return datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds")
