"""The user's git repository: what it holds, and every state in which it must not be touched."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath

from .errors import RepositoryError
from .git import Git, require_merge_tree
from .merge import Entry, Tree

# What lies in git's own folder while something is under way, and how it is ended.
UNDER_WAY = {
    "MERGE_HEAD": ("a merge", "git merge --continue, or --abort"),
    "CHERRY_PICK_HEAD": ("a cherry-pick", "git cherry-pick --continue, or --abort"),
    "REVERT_HEAD": ("a revert", "git revert --continue, or --abort"),
    "rebase-merge": ("a rebase", "git rebase --continue, or --abort"),
    "rebase-apply": ("a rebase", "git rebase --continue, or --abort"),
}


class Repository:
    """One generated repository; it may lie in a folder of a larger one."""

    def __init__(self, root: Path) -> None:
        """`root` is the folder with the answers file. RepositoryError when nothing of it is committed to git."""
        require_merge_tree()
        if not root.is_dir():
            raise RepositoryError(f"{root} is no folder")
        self.root = root.resolve()
        self.git = Git(self.root)
        found = self.git.attempt(
            "rev-parse",
            "--is-inside-work-tree",
            "--show-prefix",
            "--absolute-git-dir",
            "--git-path",
            "objects",
            "--show-object-format",
        )
        words = found.stdout.split(b"\n")
        if found.returncode or words[0] != b"true":
            if b"dubious ownership" in found.stderr:
                self.git.run("rev-parse", "--git-dir")  # says what to do about it
            there = "" if self.root == Path.cwd() else f"cd {shlex.quote(str(root))} && "
            raise RepositoryError(
                f"{self.root} is no git repository",
                cause="an update is merged with what is committed, and what was before stays in the history",
                tip=f"{there}git init && git add --all && git commit --message Start",
            )
        self.prefix = os.fsdecode(words[1])  # of this folder in the whole work tree, with a slash at its end
        self.folder = Path(os.fsdecode(words[2]))  # git's own, of this work tree
        self.objects = (self.root / os.fsdecode(words[3])).resolve()
        self.object_format = words[4].decode()
        # The commit that is checked out, and the tree of this folder in it.
        self.head, self.tree = self._committed()

    def _committed(self) -> tuple[str, str]:
        """RepositoryError where nothing is committed."""
        found = self.git.attempt("rev-parse", "HEAD^{commit}", f"HEAD:{self.prefix}")
        if found.returncode == 0:
            head, tree = found.stdout.decode().split()
            return head, tree
        if self.git.attempt("rev-parse", "--verify", "--quiet", "HEAD").returncode:
            raise RepositoryError(
                f"{self.root} has no commit yet",
                cause="an update is merged with what is committed",
                tip="git add --all && git commit --message Start",
            )
        raise RepositoryError(f"nothing in {self.root} is committed", tip="git add --all . && git commit")

    @cached_property
    def names(self) -> list[str]:
        """How it may be called in a policy: as its host does, for example `acme/vision-a`, and `vision-a` alone."""
        remote = self.git.attempt("remote", "get-url", "origin").stdout.decode(errors="replace").strip()
        found = re.search(r"([^/:]+/([^/:]+?))(?:\.git)?/?$", remote)
        return [found[1], found[2]] if found else [self.root.name]

    def has(self, path: str) -> bool:
        """Whether something stands at a path, committed or not."""
        return (self.root / path).exists()

    def read(self, path: str) -> bytes | None:
        """The content of a file as it is, with ends of line as git keeps them; None when there is none."""
        place = self.root / path
        return place.read_bytes().replace(b"\r\n", b"\n") if place.is_file() else None

    @property
    def is_interrupted(self) -> bool:
        """Whether an update of it was killed half way."""
        return (self.folder / "labrig/journal.json").exists()

    @cached_property
    def files(self) -> Tree:
        """The files of HEAD."""
        found: Tree = {}
        for line in self.git.run("ls-tree", "-r", "-z", "--full-tree", self.tree).split(b"\0"):
            if line:
                words, _, path = line.partition(b"\t")
                mode, _, name = words.decode().split(" ")
                found[os.fsdecode(path)] = Entry(mode, name)
        return found

    def committed(self, path: str) -> bytes | None:
        """The content of a file in HEAD; None when it is not there."""
        entry = self.files.get(path)
        return self.git.run("cat-file", "blob", entry.name) if entry and entry.is_file else None

    def last_with(self, path: str) -> str | None:
        """The commit that deleted a file; None when there was no such file."""
        return self.git.text("log", "-1", "--format=%h", "--diff-filter=D", "--", path) or None

    def former(self, path: str, most: int) -> list[bytes]:
        """Older contents of a file, newest first, without the present one."""
        log = self.git.run(
            "log",
            "--full-history",
            "-m",
            "--format=",
            "--raw",
            "--no-abbrev",
            "--no-renames",
            f"-{most * 8}",
            "--",
            path,
        )
        names: dict[str, None] = {}
        for line in log.decode(errors="replace").splitlines():
            words = line.split()
            if len(words) > 4:
                names |= dict.fromkeys(name for name in (words[3], words[2]) if set(name) != {"0"})
        present = self.files.get(path)
        others = [name for name in names if present is None or name != present.name][:most]
        contents = (self.git.attempt("cat-file", "blob", name) for name in others)  # a shallow clone may lack some
        return [content.stdout for content in contents if content.returncode == 0]

    def require_quiet(self) -> None:
        """RepositoryError when something is under way or not committed here. Untracked files do not count."""
        for name, (what, end) in UNDER_WAY.items():
            if (self.folder / name).exists():
                raise RepositoryError(f"{what} is under way in {self.root}", tip=f"end it first: {end}")
        changed: list[str] = []
        words = ["status", "--porcelain", "-z", "--untracked-files=no", "--ignore-submodules=dirty", "--", "."]
        status = iter(self.git.run(*words).split(b"\0"))
        for word in status:
            if not word:
                continue
            if b"U" in word[:2] or word[:2] in {b"AA", b"DD"}:
                raise RepositoryError(
                    f"{os.fsdecode(word[3:])} has a conflict that is not resolved",
                    tip="resolve it, then: git add FILE && git commit",
                )
            changed.append(os.fsdecode(word[3:]))
            if word[:1] in b"RC":
                next(status, None)
        if changed:
            raise RepositoryError(
                f"{len(changed)} changes in {self.root} are not committed",
                cause=", ".join(changed[:5]) + (", ..." if len(changed) > 5 else ""),
                tip="commit them, or put them aside: git stash; then git stash pop",
            )

    def require_room(self, changes: Mapping[str, object]) -> None:
        """RepositoryError when something that git does not know stands where a new file would be written.

        changes: by path; None for a file that is deleted.
        """
        in_the_way: dict[str, None] = {}
        for path, new in changes.items():
            if new is None or path in self.files:
                continue
            place = self.root / path
            if place.is_dir() and not place.is_symlink():
                inside = [each.relative_to(self.root).as_posix() for each in place.rglob("*") if not each.is_dir()]
                in_the_way |= dict.fromkeys(each for each in inside if changes.get(each, path) is not None)
            elif place.is_symlink() or place.exists():
                in_the_way[path] = None
            for parent in place.relative_to(self.root).parents:
                folder, name = self.root / parent, parent.as_posix()
                if (folder.is_symlink() or folder.is_file()) and name not in self.files:
                    in_the_way[name] = None
        if in_the_way:
            raise RepositoryError(
                "files that git does not know are in the way: " + ", ".join(in_the_way),
                cause="the template has files of the same name now",
                tip="move them away or commit them, then run the same command again",
            )

    @cached_property
    def top(self) -> Git:
        """git in the uppermost folder of the work tree."""
        return Git(self.root.parents[self.prefix.count("/") - 1] if self.prefix else self.root)

    def ignored(self, paths: Iterable[str]) -> set[str]:
        """Those of the paths that git is told to ignore. What would lie behind a link is left out."""
        reached = [path for path in paths if not any((self.root / p).is_symlink() for p in PurePosixPath(path).parents)]
        stdin = b"\0".join(os.fsencode(path) for path in reached)
        if not stdin:
            return set()
        plain = {"GIT_LITERAL_PATHSPECS": "0"}  # this command knows paths only, and refuses the other setting
        words = ("check-ignore", "-z", "--stdin", "--no-index")
        found = self.git.run(*words, stdin=stdin, accept=(0, 1), variables=plain)
        return {os.fsdecode(path) for path in found.split(b"\0") if path}

    def fetch_missing(self) -> None:
        """In a partial clone, get the files of HEAD that are not there yet."""
        promised = self.git.attempt("config", "--get-regexp", r"^(remote\..*\.promisor|extensions\.partialclone)$")
        if promised.returncode == 0:
            names = "".join(f"{entry.name}\n" for entry in self.files.values() if entry.mode != "160000")
            self.git.run("cat-file", "--batch-check", stdin=names.encode())
