"""Changes files and index of a repository in one step: whatever happens, they are as before or as they should be.

Everything is written beside the repository first. Then git's own lock on the index is taken, the files are exchanged
one rename each, and the new index takes the place of the old one, which is the moment that counts: a run that was
killed before it is undone by the next one, a run that was killed after it has only to be cleaned up.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import signal
import stat
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import BusyError, RepositoryError, WriteError
from .merge import LINK, MODULE, Entry, Store

if TYPE_CHECKING:
    from .repository import Repository

try:
    import fcntl
except ImportError:  # Windows: git's lock on the index is the only one there
    fcntl = None  # type: ignore[assignment]

OUTSIDE = ".labrig-update"  # in the repository, where git's own folder is on another file system


@dataclass(frozen=True)
class Change:
    """What the work tree and the index become."""

    files: Mapping[str, Entry | None]  # by the path in the repository; None deletes
    stages: Mapping[str, Mapping[int, Entry]] = field(default_factory=dict)  # of conflicts
    untracked: frozenset[str] = frozenset()  # written, but left out of the index: git ignores them


@contextlib.contextmanager
def alone(repository: Repository) -> Iterator[None]:
    """Keep other runs of labrig out, and put right what a run that was killed left."""
    folder = repository.folder / "labrig"
    folder.mkdir(exist_ok=True)
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if fcntl is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                owner = os.read(handle, 20).decode(errors="replace").strip()
                raise BusyError(
                    f"another labrig is changing {repository.root}",
                    cause=f"process {owner}" if owner else None,
                    tip="wait for it to end, then run the same command again",
                ) from None
        os.ftruncate(handle, 0)
        os.write(handle, f"{os.getpid()}\n".encode())
        recover(repository)
        yield
    finally:
        os.close(handle)


def recover(repository: Repository) -> bool:
    """Undo or complete what a run that was killed had begun; True when there was something."""
    folder = repository.folder / "labrig"
    journal = folder / "journal.json"
    try:
        plan = json.loads(journal.read_text(encoding="utf-8"))
    except FileNotFoundError:
        _release(repository)
        _clean(repository)
        return False
    work = _Work(repository, Path(plan["staging"]), plan["paths"])
    if not work.is_committed(plan["index"]):
        work.undo(plan["folders"], plan["marks"])
        _release(repository)
    journal.unlink()
    _clean(repository)
    return True


def apply(repository: Repository, store: Store, change: Change) -> None:
    """Make the change, all or nothing.

    WriteError when the disk refuses, RepositoryError when somebody changed the repository meanwhile; nothing is then
    changed.
    """
    folder = repository.folder / "labrig"
    _clean(repository)
    try:
        staging = folder if _device(folder) == _device(repository.root) else repository.root / OUTSIDE
        staging.mkdir(exist_ok=True)
        index = repository.folder / "index"
        before = _digest(index)
        import_objects(repository, store, change)
        _write_index(repository, folder / "index", change)
        written = [path for path, entry in change.files.items() if entry is not None and entry.mode != MODULE]
        _check_out(repository, staging / "new", change, written)
        work = _Work(repository, staging, list(change.files))
        _sync(folder / "index")
        _take_lock(repository, folder / "index")
        try:
            _require_unchanged(repository, before, change)
            folders, marks = work.folders_to_make(), work.marks()
            work.save()
            plan = {
                "staging": str(staging),
                "paths": work.paths,
                "folders": folders,
                "marks": marks,
                "index": _digest(folder / "index"),
            }
            with _uninterrupted():
                _write_journal(folder / "journal.json", plan)
                try:
                    work.exchange(folders)
                    (repository.folder / "index.lock").replace(index)
                except BaseException:
                    work.undo(folders, marks)
                    (folder / "journal.json").unlink()
                    raise
                (folder / "journal.json").unlink()
                work.remove_empty_folders()
        finally:
            _release(repository)
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
        raise WriteError(
            f"{repository.root} could not be changed, and is as it was",
            cause=(error.strerror or str(error)) + (f": {error.filename}" if error.filename else ""),
            tip="make room, then run the same command again" if full else "see whether its folders may be written to",
        ) from error
    finally:
        if not (folder / "journal.json").exists():
            _clean(repository)
    repository.git.attempt("update-index", "-q", "--refresh")


class _Work:
    """The files of one change: those before in `old`, those after in `new`, each under the number of its path."""

    def __init__(self, repository: Repository, staging: Path, paths: Sequence[str]) -> None:
        self.root = repository.root
        self.repository = repository
        self.staging = staging
        self.paths = list(paths)

    def _each(self) -> Iterator[tuple[Path, Path, Path]]:
        """Of every path: where it is, where its old content is kept, where its new one waits."""
        for number, path in enumerate(self.paths):
            yield self.root / path, self.staging / "old" / str(number), self.staging / "new" / path

    def save(self) -> None:
        """Keep every file that is to be replaced or deleted, without copying where the file system can link."""
        (self.staging / "old").mkdir()
        for place, old, _ in self._each():
            if _is_there(place):
                _link_or_copy(place, old)
        _sync_folder(self.staging / "old")

    def marks(self) -> list[str]:
        """What tells each new file from everything else that could stand in its place later; "" for deletions."""
        return [_mark(new) for _, _, new in self._each()]

    def folders_to_make(self) -> list[str]:
        """The folders that the new files need and that are not there, outermost first."""
        missing: dict[str, None] = {}
        for path in self.paths:
            if _is_there(self.staging / "new" / path):
                for parent in reversed((self.root / path).relative_to(self.root).parents):
                    if not (self.root / parent).is_dir() or (self.root / parent).is_symlink():
                        missing[parent.as_posix()] = None
        return list(missing)

    def exchange(self, folders: Sequence[str]) -> None:
        """Deletions first: a file may make room for a folder."""
        for place, old, new in self._each():
            if not _is_there(new) and _is_there(old):
                place.unlink()
        for name in folders:
            (self.root / name).mkdir()
        for place, _, new in self._each():
            if _is_there(new):
                if place.is_dir() and not place.is_symlink():
                    _remove_empty(place)
                new.replace(place)

    def undo(self, folders: Sequence[str], marks: Sequence[str]) -> None:
        """Bring every file back to what was saved; RepositoryError when somebody has changed one meanwhile."""
        saved = self.staging / "old"
        foreign = [
            str(place)
            for (place, old, _), mark in zip(self._each(), marks, strict=True)
            if _mark(place) not in {"", mark, _mark(old)}
        ]
        if foreign:
            raise RepositoryError(
                "files were changed after an update was killed: " + ", ".join(foreign),
                cause="the update has to be undone before anything else, and your change would be overwritten",
                tip="move them out of the repository, run the same command again, then take your change over",
            )
        for place, old, _ in self._each():
            if not _is_there(old) and _mark(place):
                place.unlink()
        for name in reversed(folders):
            with contextlib.suppress(OSError):  # somebody has put a file there
                (self.root / name).rmdir()
        for place, old, _ in self._each():
            if _is_there(old) and _mark(place) != _mark(old):
                place.parent.mkdir(parents=True, exist_ok=True)
                temporary = saved / "again"
                temporary.unlink(missing_ok=True)
                _link_or_copy(old, temporary)
                temporary.replace(place)
                temporary.unlink(missing_ok=True)  # a rename between two links of one file leaves both

    def remove_empty_folders(self) -> None:
        """git knows no empty folders."""
        for path in self.paths:
            folder = (self.root / path).parent
            while folder != self.root and folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
                folder = folder.parent

    def is_committed(self, new_index: str) -> bool:
        """Whether the new index has taken its place already."""
        if _digest(self.repository.folder / "index") == new_index:
            return True
        if (self.repository.folder / "index.lock").exists():
            return False
        # git may have refreshed the index since, or somebody may have removed the lock: what it lists tells.
        git = self.repository.git
        listed = git.run("ls-files", "--stage", "-z", "--", *self.paths)
        fresh = git.run(
            "ls-files", "--stage", "-z", "--", *self.paths,
            variables={"GIT_INDEX_FILE": str(self.repository.folder / "labrig/index")},
        )  # fmt: skip
        return listed == fresh


def import_objects(repository: Repository, store: Store, change: Change) -> None:
    """Bring the objects that the index will name into the user's repository."""
    entries = [entry for entry in change.files.values() if entry is not None]
    entries += [entry for stages in change.stages.values() for entry in stages.values()]
    names = "".join(f"{name}\n" for name in dict.fromkeys(e.name for e in entries if e.mode != MODULE))
    if names:
        pack = store.git.run("pack-objects", "--stdout", "-q", stdin=names.encode())
        repository.git.run("unpack-objects", "-q", stdin=pack)


def _write_index(repository: Repository, target: Path, change: Change) -> None:
    """Write the new index: the user's own, with the change."""
    # With its time: git compares it with those of the files, to know which of them it has to read again.
    shutil.copy2(repository.folder / "index", target)
    lines: list[bytes] = []
    nothing = "0" * len(repository.head)
    for path, entry in change.files.items():
        if path in change.untracked:
            continue
        name = os.fsencode(repository.prefix + path)
        lines.append(f"0 {nothing}\t".encode() + name)
        stages = change.stages.get(path)
        if stages:
            lines += [f"{each.mode} {each.name} {stage}\t".encode() + name for stage, each in stages.items()]
        elif entry is not None:
            lines.append(f"{entry.mode} {entry.name} 0\t".encode() + name)
    here = {"GIT_INDEX_FILE": str(target)}
    hidden = _sparse(repository)
    repository.git.run("update-index", "-z", "--index-info", stdin=b"\0".join([*lines, b""]), variables=here)
    still = [path for path, entry in change.files.items() if path in hidden and entry and path not in change.stages]
    if still:
        stdin = b"\0".join([*(os.fsencode(path) for path in still), b""])
        repository.git.run("update-index", "-z", "--skip-worktree", "--stdin", stdin=stdin, variables=here)


def _sparse(repository: Repository) -> set[str]:
    """The files that a sparse checkout leaves out of the folder."""
    listed = repository.git.run("ls-files", "-z", "-t", "--", ".").split(b"\0")
    return {os.fsdecode(line[2:]) for line in listed if line.startswith(b"S ")}


def _check_out(repository: Repository, target: Path, change: Change, paths: Sequence[str]) -> None:
    """Write the new files to `target` as git would write them: with line ends, filters and links."""
    index = repository.folder / "labrig/files"
    here = {"GIT_INDEX_FILE": str(index)}
    target.mkdir()
    # Attributes decide about line ends, and git reads them from the index: the files' own new ones, too.
    shutil.copy2(repository.folder / "labrig/index", index)
    lines: list[bytes] = []
    nothing = "0" * len(repository.head)
    for path in paths:
        entry = change.files[path]
        if entry is not None:
            name = os.fsencode(repository.prefix + path)
            lines += [f"0 {nothing}\t".encode() + name, f"{entry.mode} {entry.name} 0\t".encode() + name]
    repository.git.run("update-index", "-z", "--index-info", stdin=b"\0".join([*lines, b""]), variables=here)
    hidden = _sparse(repository)
    shown = [path for path in paths if path not in hidden or path in change.stages]
    stdin = b"\0".join([*(os.fsencode(path) for path in shown), b""])
    if shown:
        repository.git.run(
            "checkout-index", "-z", "--stdin", "--quiet", f"--prefix={target}/", stdin=stdin, variables=here
        )
    if repository.prefix:  # git puts the files where they are in the whole work tree
        inner = target / repository.prefix
        if inner.is_dir():
            moved = target.with_name("moved")
            inner.replace(moved)
            shutil.rmtree(target)
            moved.replace(target)
    for path in shown:
        _keep_permissions(repository.root / path, target / path)


def _keep_permissions(place: Path, new: Path) -> None:
    """A file keeps who may read and write it; whether it can be run is the new one's."""
    if new.is_symlink() or place.is_symlink() or not place.is_file():
        return
    mode = stat.S_IMODE(place.stat().st_mode)
    readable = (mode & 0o444) >> 2
    new.chmod(mode | readable if new.stat().st_mode & 0o100 else mode & ~0o111)


def _require_unchanged(repository: Repository, before: str, change: Change) -> None:
    """With the lock held: what is about to be replaced must still be what is committed."""
    head = repository.git.text("rev-parse", "HEAD")
    if head != repository.head or _digest(repository.folder / "index") != before:
        raise RepositoryError(
            f"{repository.root} was changed meanwhile", tip="let the other program end, then run the same command again"
        )
    repository.require_room(change.files)
    hidden = _sparse(repository)
    replaced = {path: entry for path, entry in repository.files.items() if path in change.files and path not in hidden}
    files = [path for path, entry in replaced.items() if entry.is_file]
    changed = [path for path in files if not (repository.root / path).is_file()]
    changed += [
        path for path, entry in replaced.items() if entry.mode == LINK and not (repository.root / path).is_symlink()
    ]
    present = [path for path in files if path not in changed]
    for words in (
        ["--stdin-paths"],
        ["--no-filters", "--stdin-paths"],
    ):  # the second for line ends committed as they are
        stdin = b"".join(_escaped(repository.prefix + path) + b"\n" for path in present)
        names = repository.top.run("hash-object", *words, stdin=stdin).split()
        present = [path for path, name in zip(present, names, strict=True) if replaced[path].name != name.decode()]
    changed += present
    changed += [path for path in hidden if path in change.files and _is_there(repository.root / path)]
    if changed:
        raise RepositoryError(
            "files differ from what is committed: " + ", ".join(sorted(changed)[:5]),
            cause="they were changed this moment, or git was told to assume that they are unchanged",
            tip="commit them, then run the same command again",
        )


def _escaped(path: str) -> bytes:
    if path.startswith('"') or "\n" in path:
        return os.fsencode('"' + path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"')
    return os.fsencode(path)


def _take_lock(repository: Repository, index: Path) -> None:
    lock = repository.folder / "index.lock"
    try:
        _link_or_copy(index, lock)
    except FileExistsError:
        raise BusyError(
            f"git is at work in {repository.root}",
            cause=f"{lock} exists",
            tip="let it end, then run the same command again; if no git runs, a killed one left that file: remove it",
        ) from None


def _write_journal(path: Path, plan: Mapping[str, object]) -> None:
    temporary = path.with_suffix(".new")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(plan, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    _sync_folder(path.parent)


def _clean(repository: Repository) -> None:
    """Remove what is left in labrig's folders once it is not needed any more."""
    folder = repository.folder / "labrig"
    for place in (folder, repository.root / OUTSIDE):
        for name in ("new", "old", "moved"):
            if (place / name).is_dir():
                shutil.rmtree(place / name)
    for name in ("index", "index.lock", "files", "files.lock", "journal.new"):
        (folder / name).unlink(missing_ok=True)
    outside = repository.root / OUTSIDE
    if outside.is_dir() and not any(outside.iterdir()):
        outside.rmdir()


def _link_or_copy(source: Path, target: Path) -> None:
    """FileExistsError when the target is there."""
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        raise
    except (OSError, NotImplementedError):
        if source.is_symlink():
            target.symlink_to(source.readlink())
            return
        with source.open("rb") as before, target.open("xb") as after:
            shutil.copyfileobj(before, after)
        shutil.copystat(source, target)


def _is_there(path: Path) -> bool:
    """Whether a file or a link is there; a folder does not count."""
    return path.is_symlink() or path.is_file()


def _mark(path: Path) -> str:
    """What a file or a link holds, in short; "" when there is none, or a folder."""
    if path.is_symlink():
        return f"link {path.readlink()}"
    return f"{path.stat().st_mode & 0o100} {_digest(path)}" if path.is_file() else ""


def _release(repository: Repository) -> None:
    """Remove git's lock on the index, if it is ours."""
    lock = repository.folder / "index.lock"
    if _same_content(lock, repository.folder / "labrig/index"):
        lock.unlink()


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let Ctrl-C wait for the end of the block, which takes milliseconds."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt


def _same_content(one: Path, other: Path) -> bool:
    if not (one.is_file() and other.is_file()):
        return False
    return one.samefile(other) or (
        one.stat().st_size == other.stat().st_size and one.read_bytes() == other.read_bytes()
    )


def _remove_empty(folder: Path) -> None:
    """Remove a folder that holds nothing but empty folders; OSError when it holds a file."""
    for inner in folder.iterdir():
        if inner.is_dir() and not inner.is_symlink():
            _remove_empty(inner)
    folder.rmdir()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


def _device(path: Path) -> int:
    return path.stat().st_dev


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_folder(path: Path) -> None:
    if os.name != "nt":
        _sync(path)
