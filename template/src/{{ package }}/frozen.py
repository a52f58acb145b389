"""The code as it is now, uncommitted work included, kept so that editing changes nothing for a run that waits.

It becomes a commit object of git that no branch leads to: branch, index and stash stay as they are. A ref of its own
(`refs/launches/...`) keeps it, and `runs/.code/<commit>` holds its files.
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .run import FROZEN, RunError

MOST_BYTES = 10_000_000
"""Of one file that git does not know yet; larger ones are seldom code."""


@dataclass(frozen=True)
class Code:
    """A commit of what was in the working tree."""

    root: Path
    commit: str
    head: str
    changes: str
    """What it has beside `head`, as `git diff --stat` sums it up; empty if nothing."""

    @property
    def folder(self) -> Path:
        """Where its files are unpacked, relative to `root`."""
        return Path("runs") / ".code" / self.commit

    def __str__(self) -> str:
        return self.commit[:12] + (f" = {self.head[:12]} + {self.changes}" if self.changes else "")


def freeze(folder: Path, *, keep: bool) -> Code:
    """The code of the repository around `folder` as a commit; with `keep` it stays in git, else only its name is known.

    Raises RunError if git does not know the code, or if something in it cannot or should not be kept.
    """
    try:
        root = Path(git(folder, "rev-parse", "--show-toplevel"))
        head = git(root, "rev-parse", "--verify", "HEAD")
    except (RunError, FileNotFoundError) as error:
        raise RunError(
            f"the code cannot be frozen, because {folder} is not in a git repository with a commit ({error}); "
            "run git init, git add --all and git commit"
        ) from None
    _refuse_what_is_no_code(root)
    with tempfile.TemporaryDirectory() as scratch:
        environment = {"GIT_INDEX_FILE": f"{scratch}/index"}
        if not keep:
            objects = git(root, "rev-parse", "--path-format=absolute", "--git-path", "objects")
            Path(f"{scratch}/objects").mkdir()
            environment |= {"GIT_OBJECT_DIRECTORY": f"{scratch}/objects", "GIT_ALTERNATE_OBJECT_DIRECTORIES": objects}
        index = root / git(root, "rev-parse", "--git-path", "index")
        if index.exists():
            shutil.copy(index, f"{scratch}/index")  # what git knows about the files, so that it need not read them all
        git(root, "add", "--all", environment=environment)
        tree = git(root, "write-tree", environment=environment)
        if tree == git(root, "rev-parse", f"{head}^{{tree}}"):
            return Code(root, head, head, "")
        # The same code at the same commit is the same object, whoever launches it and when.
        when = git(root, "show", "--no-patch", "--format=%cI", head)
        author = {f"GIT_{role}_{what}": "launch" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        dates = {"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when}
        message = ("-m", "The working tree as it was launched")
        commit = git(root, "commit-tree", tree, "-p", head, *message, environment=environment | author | dates)
        return Code(root, commit, head, git(root, "diff", "--shortstat", head, commit, environment=environment).strip())


def unpack(code: Code) -> bool:
    """Write the files of `code` to its folder and keep its commit; False if that was done before."""
    folder = code.root / code.folder
    if folder.exists():
        return False
    git(code.root, "update-ref", f"refs/launches/{code.commit}", code.commit)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        partial = Path(scratch) / "code"
        _check_out(code.root, code.commit, partial)
        state = {"commit": code.commit, "diff": git(code.root, "diff", code.head, code.commit), "untracked": ""}
        (partial / FROZEN).write_text(json.dumps(state, indent=2) + "\n")
        partial.rename(folder)
    return True


def discard(code: Code) -> None:
    """Undo `unpack`."""
    shutil.rmtree(code.root / code.folder)
    git(code.root, "update-ref", "-d", f"refs/launches/{code.commit}")


def git(folder: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """What a git command says. Raises RunError with what it complains about."""
    # A hook of git, or a shell in it, has variables that lead to another index or repository.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", *arguments]
    done = subprocess.run(
        command, cwd=folder, env={**clean, **(environment or {})}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RunError(f"git {arguments[0]}: {' '.join(done.stderr.split())}")
    return done.stdout.strip("\n")


def _check_out(root: Path, commit: str, folder: Path) -> None:
    """Write the files of a commit, with those of its submodules."""
    with tempfile.TemporaryDirectory() as scratch:
        environment = {"GIT_INDEX_FILE": f"{scratch}/index"}
        git(root, "read-tree", commit, environment=environment)
        git(root, "checkout-index", "--all", f"--prefix={folder}/", environment=environment)
        for line in git(root, "ls-files", "--stage", environment=environment).splitlines():
            mode, submodule, _, name = line.split(maxsplit=3)
            if mode == "160000" and (root / name / ".git").exists():
                _check_out(root / name, submodule, folder / name)


def _refuse_what_is_no_code(root: Path) -> None:
    for name in git(root, "ls-files", "--others", "--exclude-standard", "-z").split("\0")[:-1]:
        if name.endswith("/"):
            raise RunError(f"{name} is a git repository of its own; add it as a submodule, or list it in .gitignore")
        size = (root / name).lstat().st_size
        if size > MOST_BYTES:
            raise RunError(
                f"{name} ({size / 1e6:.0f} MB) is not in git and large for code; list it in .gitignore, or commit it"
            )
    if (root / ".gitmodules").exists():
        for line in git(root, "status", "--porcelain=v2", "--ignore-submodules=none").splitlines():
            _, _, submodule, *rest = [*line.split(maxsplit=8), "", ""]
            if submodule.startswith("S") and {"M", "U"} & set(submodule[2:]):
                raise RunError(f"the submodule {rest[-3]} has changes of its own; commit them there")
