"""One generated repository on disk: it appears complete, in one rename, or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .errors import DestinationError, GitError, WriteError
from .render import ANSWERS_FILE, RenderedFile

try:
    import fcntl
except ImportError:  # Windows has no locks on folders: leftovers are named there, not removed
    fcntl = None  # type: ignore[assignment]

TEMPORARY = ".labrig-"

# Variables that would point git at another repository than the one in the folder where it runs.
GIT_VARIABLES = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
)


@dataclass(frozen=True)
class Destination:
    """A place where a repository can be created. The rename goes to `top`: the first folder that does not exist yet."""

    path: Path
    top: Path

    @property
    def parent(self) -> Path:
        """The existing folder that the new one appears in."""
        return self.top.parent


def destination(path: Path, *, template_roots: Iterable[Path] = ()) -> Destination:
    """Check that a repository can be created at `path`, before anything else is done."""
    shown = path
    try:
        path = path.absolute()
        if path.is_symlink():
            state = "leads to" if path.exists() else "leads nowhere, to"
            raise DestinationError(
                f"{shown} is a symbolic link",
                cause=f"it {state} {path.readlink()}",
                tip="give the folder itself",
            )
        path = path.resolve()
        for root in template_roots:
            if root.is_dir() and path.is_relative_to(root.resolve()):
                raise DestinationError(
                    f"{shown} lies inside the template {root}", tip="create the repository somewhere else"
                )
        if path.is_dir():
            _check_empty(path, shown)
            return Destination(path, path)
        if path.exists():
            raise DestinationError(f"{shown} exists and is not a folder", tip="give another name")
        top = path
        while not top.parent.exists():
            top = top.parent
        if not top.parent.is_dir():
            raise DestinationError(f"{shown} cannot be created", cause=f"{top.parent} is not a folder")
        if not os.access(top.parent, os.W_OK | os.X_OK):
            raise DestinationError(
                f"{shown} cannot be created",
                cause=f"{top.parent} cannot be written to",
                tip="create it in a folder of your own",
            )
    except (OSError, ValueError) as error:
        raise DestinationError(f"{str(shown)!r} cannot be created", cause=_reason(error)) from error
    return Destination(path, top)


def _check_empty(path: Path, shown: Path) -> None:
    entries = sorted(entry.name for entry in path.iterdir())
    if not entries:
        return
    if ANSWERS_FILE in entries:
        raise DestinationError(f"{shown} was already made by labrig", tip="give another name")
    names = ", ".join(entries[:4]) + (", ..." if len(entries) > 4 else "")
    raise DestinationError(
        f"{shown} is not empty",
        cause=f"it holds {names}",
        tip=f"give another name, or an empty folder\nto bring what is there under the template: labrig adopt {shown}",
    )


def create(place: Destination, files: Mapping[str, RenderedFile], *, git: bool) -> bool:
    """Write `files` to `place`, all or nothing. With `git`, make it a git repository; True when it became one.

    Everything is written to a hidden folder beside the destination, which gets its name at the very end, by one rename.
    """
    repository = git and shutil.which("git") is not None and not _in_work_tree(place.parent)
    try:
        with _temporary(place.parent) as temporary:
            inside = temporary / place.path.relative_to(place.top)
            inside.mkdir(parents=True, exist_ok=True)
            for name, file in files.items():
                _write(inside / name, file)
            if repository:
                _git(["-c", "init.defaultBranch=main", "init", "--quiet"], inside)
            temporary.rename(place.top)
    except OSError as error:
        tip = None
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            tip = "create it in a folder that you may write to"
        elif error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            tip = "make room, then run the same command again"
        elif error.errno in {errno.EEXIST, errno.ENOTEMPTY}:
            tip = "somebody else created it meanwhile; give another name"
        raise WriteError(f"{place.path} could not be written", cause=_reason(error), tip=tip) from error
    return repository


def remove_leftovers(folder: Path) -> list[Path]:
    """Remove what runs that were killed left in `folder`; return what could not be removed or may still be in use."""
    remaining: list[Path] = []
    for leftover in folder.glob(f"{TEMPORARY}*") if folder.is_dir() else ():
        handle = _hold(leftover, wait=False)
        try:
            if handle is None:
                remaining.append(leftover)
            else:
                shutil.rmtree(leftover)
        except OSError:
            remaining.append(leftover)
        finally:
            _release(handle)
    return remaining


@contextmanager
def _temporary(parent: Path) -> Iterator[Path]:
    """A new hidden folder in `parent`, removed again unless it is renamed; held, so that it is known to be in use."""
    path = parent / f"{TEMPORARY}{secrets.token_hex(6)}"
    handle = None
    try:
        while handle is None:
            path.mkdir()
            handle = _hold(path, wait=True)
            if handle is None or path.exists():  # else another run took it for a leftover before it was held
                break
            _release(handle)
            handle = None
        yield path
    finally:
        if path.exists():
            shutil.rmtree(path)
        _release(handle)


def _hold(folder: Path, *, wait: bool) -> int | None:
    """Hold a folder against other runs: the kernel ends the hold with the process, however it ends.

    None when another run holds it, or where folders cannot be held (Windows, some network file systems).
    """
    if fcntl is None:
        return None
    handle = None
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        _release(handle)
        return None
    return handle


def _release(handle: int | None) -> None:
    if handle is not None:
        os.close(handle)


def _write(path: Path, file: RenderedFile) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o777 if file.executable else 0o666)
    with os.fdopen(handle, "wb") as stream:
        stream.write(file.content)


def _in_work_tree(folder: Path) -> bool:
    """Whether `folder` belongs to a git repository already, which the new files then become part of."""
    try:
        return _git(["rev-parse", "--is-inside-work-tree"], folder).strip() == "true"
    except GitError:
        return False


def _git(arguments: list[str], folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in GIT_VARIABLES}
    process = subprocess.run(
        ["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True, errors="replace", check=False
    )
    if process.returncode:
        raise GitError(f"git {arguments[-2]} failed", cause=process.stderr.strip() or None, tip="try --no-git")
    return process.stdout


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
