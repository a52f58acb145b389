"""Which repositories there are: in a file, in a folder, or of an owner on GitHub or GitLab."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from ..errors import UsageError
from ..source import SHORTCUTS

ARCHIVED = "archived"  # a word behind an address in a file


@dataclass(frozen=True)
class Member:
    """One repository."""

    name: str  # as its host calls it, for example acme/vision-a
    url: str  # what git fetches: an address or a path
    host: str = ""  # github or gitlab, where requests can be opened; "" for plain git
    topics: tuple[str, ...] = ()
    archived: bool = False
    branch: str = ""  # the default branch, where it is known already


@dataclass(frozen=True)
class Selection:
    """Which of the repositories are wanted."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    shard: tuple[int, int] = (1, 1)

    def holds(self, member: Member) -> bool:
        """Whether a repository is wanted, whatever its shard."""
        if self.include and not any(matches(member, pattern) for pattern in self.include):
            return False
        if any(matches(member, pattern) for pattern in self.exclude):
            return False
        return not self.topics or bool(set(self.topics) & set(member.topics))


def members(where: str, selection: Selection = Selection()) -> list[Member]:
    """The wanted repositories of FILE, FOLDER, gh:OWNER or gl:GROUP, by their names."""
    found: dict[str, Member] = {}
    for member in filter(selection.holds, _all(where)):
        if found.setdefault(member.name, member).url != member.url:
            raise UsageError(
                f"two repositories in {where} are called {member.name}",
                cause="the last part of an address is the name, and branches, requests and reports are told by it",
                tip="rename one of them, or look at them apart: --include, --exclude",
            )
    if not found:
        raise UsageError(f"there is no repository in {where}", cause="or --include, --exclude and --topic leave none")
    index, count = selection.shard
    return [member for number, (_, member) in enumerate(sorted(found.items())) if number % count == index - 1]


def shard(text: str) -> tuple[int, int]:
    """What --shard says: 2/8 is the second of eight parts."""
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise UsageError(f"--shard takes I/N, not '{text}'", tip="for example, of eight parts the second: --shard 2/8")
    return int(found[1]), int(found[2])


def _all(where: str) -> Iterator[Member]:
    if owner := re.fullmatch(r"(gh|gl):([\w.-]+(?:/[\w.-]+)*)/?", where):
        from .host import open_host  # noqa: PLC0415 - a folder needs no network

        yield from open_host({"gh": "github", "gl": "gitlab"}[owner[1]]).members(owner[2])
        return
    path = Path(where).expanduser()
    if path.is_dir():
        yield from _folder(path)
    elif path.is_file():
        yield from _file(path)
    else:
        raise UsageError(
            f"there are no repositories at '{where}'",
            cause="it is neither a file nor a folder",
            tip="a list of addresses, a folder of repositories, gh:OWNER or gl:GROUP",
        )


def _folder(folder: Path) -> Iterator[Member]:
    for path in sorted(folder.iterdir()):
        if (path / ".git").exists() or path.name.endswith(".git") or (path / "HEAD").is_file():
            yield Member(path.name.removesuffix(".git"), str(path.resolve()))


def _file(path: Path) -> Iterator[Member]:
    """One repository per line: its address, then its topics, and the word `archived`; # starts a remark."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read", cause=str(error)) from None
    for line in lines:
        address, *words = line.partition("#")[0].split() or [""]
        if address:
            yield member_at(address, path.parent, tuple(words))


def member_at(address: str, folder: Path, words: Sequence[str] = ()) -> Member:
    """The repository at an address; a path starts from the folder."""
    for shortcut, host in SHORTCUTS.items():
        if address.startswith(shortcut):
            address = f"{host}{address.removeprefix(shortcut)}.git"
    is_local = not re.match(r"git@|[a-z][a-z+]*://", address)
    if is_local:
        address = str((folder / Path(address).expanduser()).resolve())
    parts = re.split(r"[/:]", address.rstrip("/").removesuffix(".git"))
    name = parts[-1] if is_local else "/".join(parts[-2:])
    host = next((name for place, name in HOSTS.items() if re.search(place, address)), "")
    topics = tuple(word for word in words if word != ARCHIVED)
    return Member(name, address, host, topics, ARCHIVED in words)


HOSTS = {r"^(https://|git@)github\.com[/:]": "github", r"^(https://|git@)gitlab\.com[/:]": "gitlab"}


def matches(member: Member, pattern: str) -> bool:
    """Whether a pattern holds for a name, with its owner or without."""
    return fnmatchcase(member.name, pattern) or fnmatchcase(member.name.rpartition("/")[2], pattern)
