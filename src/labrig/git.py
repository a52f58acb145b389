"""Runs git in a repository of the user's, so that neither its settings nor its hooks change what labrig does."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from .errors import GitError

# What would run a program, ask somebody, or change what is read and written.
SETTINGS = (
    "advice.detachedHead=false",
    "core.commentChar=#",
    "core.fsmonitor=false",
    f"core.hooksPath={os.devnull}",
    "core.quotePath=false",
    "core.splitIndex=false",
    "diff.noprefix=false",
    "diff.mnemonicPrefix=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "color.ui=never",
    "status.showUntrackedFiles=normal",
    "submodule.recurse=false",
)
NEEDED = (2, 38)  # the first git with `merge-tree --write-tree`


@dataclass(frozen=True)
class Git:
    """git in one folder."""

    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    def run(
        self,
        *arguments: str,
        stdin: bytes = b"",
        accept: tuple[int, ...] = (0,),
        variables: Mapping[str, str] | None = None,
    ) -> bytes:
        """What a command prints; GitError when it ends with another status than those of `accept`."""
        done = self.attempt(*arguments, stdin=stdin, variables=variables)
        if done.returncode not in accept:
            said = done.stderr.decode(errors="replace").strip()
            reason = " ".join(
                line.removeprefix("fatal: ") for line in said.splitlines() if not line.startswith("hint:")
            )
            raise GitError(f"git {arguments[0]} failed", cause=reason or None, tip=_tip(said, self.folder))
        return done.stdout

    def text(self, *arguments: str, accept: tuple[int, ...] = (0,)) -> str:
        """The same as text without the line end; for output that holds no file names."""
        return self.run(*arguments, accept=accept).decode(errors="replace").strip()

    def attempt(
        self, *arguments: str, stdin: bytes = b"", variables: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """One git command, however it ends."""
        return subprocess.run(
            self._command(arguments),
            cwd=self.folder,
            env=self._environment(variables),
            input=stdin,
            capture_output=True,
            check=False,
        )

    @contextmanager
    def reading(self) -> Iterator[Objects]:
        """Read many objects through one process."""
        process = subprocess.Popen(
            self._command(["cat-file", "--batch"]),
            cwd=self.folder,
            env=self._environment(None),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield Objects(process)
        finally:
            if process.stdin:
                with suppress(BrokenPipeError):
                    process.stdin.close()
            if process.stdout:
                process.stdout.close()
            process.wait()

    def _command(self, arguments: Iterable[str]) -> list[str]:
        return ["git", *(word for setting in SETTINGS for word in ("-c", setting)), *arguments]

    def _environment(self, more: Mapping[str, str] | None) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not _leads_elsewhere(name)}
        own = {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C", "GIT_LITERAL_PATHSPECS": "1"}
        return kept | own | dict(self.variables) | dict(more or {})


class Objects:
    """A running `git cat-file --batch`; each object is read once. A name may also be a revision."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._known: dict[str, bytes] = {}

    def read(self, name: str) -> bytes:
        """The content of an object. GitError when it is not there."""
        if name in self._known:
            return self._known[name]
        _, content = self.look_up(name)
        if "^" not in name:  # a revision may mean something else the next time
            self._known[name] = content
        return content

    def look_up(self, revision: str) -> tuple[str, bytes]:
        """The name and the content of the object that a revision leads to. GitError when there is none."""
        if self._process.stdin is None or self._process.stdout is None:
            raise GitError("git cat-file has no pipes")
        with suppress(BrokenPipeError):  # it has ended over a broken object, and there is nothing to read either
            self._process.stdin.write(revision.encode() + b"\n")
            self._process.stdin.flush()
        head = self._process.stdout.readline().split()
        if len(head) != 3:
            raise GitError(f"the git object {revision} cannot be read", tip="git fsck")
        content = self._process.stdout.read(int(head[2]))
        self._process.stdout.read(1)
        return head[0].decode(), content


@lru_cache
def version() -> tuple[int, int]:
    """The version of the installed git, its first two numbers."""
    try:
        said = subprocess.run(["git", "version"], capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        raise GitError(
            "labrig needs git",
            cause="there is no program 'git' on PATH",
            tip="install it (https://git-scm.com/downloads), then run the command again",
        ) from None
    numbers = [*said.split(), "", "", "0.0"][2].split(".")
    return int(numbers[0]), int(numbers[1])


def require_merge_tree() -> None:
    """Refuse a git that cannot merge without a work tree."""
    found = version()
    if found < NEEDED:
        raise GitError(
            f"git {found[0]}.{found[1]} is too old to merge with",
            cause=f"labrig merges with `git merge-tree --write-tree`, which git {NEEDED[0]}.{NEEDED[1]} brought",
            tip="install a newer git, for example: conda install -c conda-forge git",
        )


def _leads_elsewhere(name: str) -> bool:
    """Whether a variable would point git at another repository: labrig may be run from a hook of git's."""
    return name in {
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_DIR",
        "GIT_EXTERNAL_DIFF",
        "GIT_INDEX_FILE",
        "GIT_NAMESPACE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_REPLACE_REF_BASE",
        "GIT_SHALLOW_FILE",
        "GIT_WORK_TREE",
    }


def _tip(said: str, folder: Path) -> str | None:
    if "dubious ownership" in said:
        return f"if you trust this repository: git config --global --add safe.directory {folder}"
    if "tell me who you are" in said:
        return 'git config --global user.name "Your Name" && git config --global user.email you@example.org'
    return None
