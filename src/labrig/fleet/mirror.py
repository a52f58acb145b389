"""A bare repository as `check` and `update` see any other, and the cache in which such mirrors are kept."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from ..errors import GitError, RepositoryError
from ..git import Git, Objects, require_merge_tree
from ..merge import Tree, list_tree
from ..repository import Repository
from .inventory import Member


class MirrorError(RepositoryError):
    """A repository of the fleet cannot be fetched or read."""

    kind = "mirror"


class Mirror(Repository):
    """The tip of a branch in a bare repository: nothing of it is checked out, and nothing is under way."""

    def __init__(self, folder: Path, member: Member, objects: Objects) -> None:
        """RepositoryError when there is nothing at its tip."""
        require_merge_tree()
        self.root = Path(member.name)  # how it is called in messages, and which folder it would be
        self.prefix = ""
        self.folder = folder
        self.objects = folder / "objects"
        self.git = Git(folder, {"GIT_DIR": str(folder)})
        self._reader = objects
        try:
            self.head, commit = objects.look_up("HEAD^{commit}")
        except GitError:
            raise MirrorError(f"{member.name} has no commit at its default branch") from None
        self.tree = commit[5 : commit.index(b"\n")].decode()
        self.object_format = "sha1" if len(self.tree) == 40 else "sha256"

    @cached_property
    def names(self) -> list[str]:
        """How it may be called in a policy."""
        name = self.root.as_posix()
        return list(dict.fromkeys([name, name.rpartition("/")[2]]))

    @cached_property
    def files(self) -> Tree:
        """The files at the tip."""
        return list_tree(self._reader, self.tree, width=len(self.tree) // 2)

    def committed(self, path: str) -> bytes | None:
        """The content of a file at the tip."""
        entry = self.files.get(path)
        return self._reader.read(entry.name) if entry and entry.is_file else None

    def read(self, path: str) -> bytes | None:
        """The same: there is no other."""
        content = self.committed(path)
        return content.replace(b"\r\n", b"\n") if content is not None else None

    def has(self, path: str) -> bool:
        """Whether something is at a path that git does not have: there is no such place."""
        del path
        return False

    @property
    def is_interrupted(self) -> bool:
        """Nothing is written in steps here."""
        return False

    def require_quiet(self) -> None:
        """Nobody works here."""

    def require_room(self, changes: Mapping[str, object]) -> None:
        """Nothing can be in the way."""

    def fetch_missing(self) -> None:
        """All objects are here."""

    def ignored(self, paths: Iterable[str]) -> set[str]:
        """Those of the paths that the ignore files at the tip name."""
        wanted = list(paths)
        rules = [
            path for path, entry in self.files.items() if path.rpartition("/")[2] == ".gitignore" and entry.is_file
        ]
        if not wanted or not rules:
            return set()
        with tempfile.TemporaryDirectory(prefix="labrig-ignored-") as name:
            for path in rules:
                (Path(name) / path).parent.mkdir(parents=True, exist_ok=True)
                (Path(name) / path).write_bytes(self.committed(path) or b"")
            plain = {"GIT_LITERAL_PATHSPECS": "0", "GIT_WORK_TREE": name}
            words = ("-c", "core.bare=false", "check-ignore", "-z", "--stdin", "--no-index")
            stdin = b"\0".join(os.fsencode(path) for path in wanted)
            found = Git(Path(name), self.git.variables).run(*words, stdin=stdin, accept=(0, 1), variables=plain)
        return {os.fsdecode(path) for path in found.split(b"\0") if path}


@contextmanager
def open_mirror(folder: Path, member: Member) -> Iterator[Mirror]:
    """Look at a bare repository. MirrorError when it is none, or broken."""
    if not (folder / "HEAD").is_file():
        raise MirrorError(f"{member.name} is no git repository", cause=f"{folder} holds no HEAD")
    git = Git(folder, {"GIT_DIR": str(folder)})
    with git.reading() as objects:
        try:
            yield Mirror(folder, member, objects)
        except (GitError, OSError) as error:
            cause = error.cause or error.message if isinstance(error, GitError) else str(error)
            raise MirrorError(f"{member.name} is corrupt", cause=cause, tip=f"git -C {folder} fsck") from error


class Mirrors:
    """The cache: one bare repository per address, fetched again only where something is new."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_folder()

    def folder_of(self, member: Member) -> Path:
        """Where the mirror is, or will be; a repository on this machine is looked at where it is."""
        local = Path(member.url)
        if local.is_absolute():
            return local / ".git" if (local / ".git").is_dir() else local
        digest = hashlib.sha256(member.url.encode()).hexdigest()[:16]
        return self.folder / f"{re.sub(r'[^A-Za-z0-9]+', '-', member.name).strip('-')}-{digest}.git"

    def fetch(self, member: Member, variables: Mapping[str, str] | None = None) -> Path:
        """Bring the mirror up to date. MirrorError when the address cannot be reached."""
        folder = self.folder_of(member)
        if Path(member.url).is_absolute():
            if not folder.is_dir():
                raise MirrorError(f"{member.name} is not there", cause=f"{folder} is no folder")
            return folder
        if folder.exists() and Git(folder).attempt("rev-parse", "--git-dir").returncode:
            shutil.rmtree(folder)  # a cache may always be made anew
        if not folder.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix="fetching-", dir=self.folder) as name:
                words = ("clone", "--quiet", "--bare", "--no-tags", "--template=", "--", member.url, "new")
                self._run(Path(name), member, *words, more=variables)
                (Path(name) / "new").replace(folder)
            return folder
        refspec = "+refs/heads/*:refs/heads/*"  # no tags, and none of the host's own refs for requests
        self._run(folder, member, "fetch", "--quiet", "--prune", "--no-tags", "origin", refspec, more=variables)
        branch = f"refs/heads/{member.branch}" if member.branch else self._default_branch(folder, member, variables)
        if branch:
            Git(folder).run("symbolic-ref", "HEAD", branch)
        return folder

    def _default_branch(self, folder: Path, member: Member, variables: Mapping[str, str] | None) -> str:
        head = self._run(folder, member, "ls-remote", "--symref", "origin", "HEAD", more=variables).decode()
        found = re.match(r"ref: (refs/heads/\S+)\tHEAD", head)
        return found[1] if found else ""

    def _run(self, folder: Path, member: Member, *words: str, more: Mapping[str, str] | None) -> bytes:
        done = Git(folder).attempt(*words, variables=more)
        if done.returncode:
            said = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
            reason = next((line for line in said if line.startswith(("fatal:", "remote:"))), said[-1] if said else "")
            reason = reason.removeprefix("fatal: ").removeprefix("remote: ")
            shown = shown_url(member.url)
            raise MirrorError(
                f"{member.name} cannot be fetched",
                cause=reason.replace(member.url, shown) or None,
                tip=f"git ls-remote {shown}",
            )
        return done.stdout


def shown_url(url: str) -> str:
    """An address without a name or a password in it."""
    return re.sub(r"^(https?://)[^/@]*@", r"\1", url)


def cache_folder() -> Path:
    """Where mirrors are kept."""
    configured = os.environ.get("XDG_CACHE_HOME")
    return (Path(configured) if configured else Path.home() / ".cache") / "labrig" / "mirrors"
