"""The three-way merge of a repository with its template: old version, new version, and what the user made of it."""

from __future__ import annotations

import ast
import os
import re
import tempfile
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from . import keys
from .errors import UnmergeableError
from .git import Git, Objects
from .render import RenderedFile

FILE, EXECUTABLE, LINK, MODULE = "100644", "100755", "120000", "160000"
BOM = b"\xef\xbb\xbf"
# Settings for the one git process that decides about renames and folders.
MERGING = ("merge.renames=true", "merge.directoryRenames=true", "merge.renameLimit=7000")


@dataclass(frozen=True)
class Entry:
    """One file of a tree."""

    mode: str
    name: str  # of the git object

    @property
    def is_file(self) -> bool:
        """A regular file: no symbolic link, no submodule."""
        return self.mode in {FILE, EXECUTABLE}


Tree = dict[str, Entry]


@dataclass(frozen=True)
class Place:
    """One stretch of a file where a person has to decide."""

    line: int
    ours: str
    theirs: str


@dataclass(frozen=True)
class Conflict:
    """One file where a person has to decide."""

    path: str
    reason: str
    stages: Mapping[int, Entry]  # 1 the old template, 2 the user's, 3 the new template
    places: tuple[Place, ...] = ()


@dataclass
class Merge:
    """Three trees and what came of them. Nothing of it is in the user's repository yet."""

    store: Store
    base: Tree
    ours: Tree
    theirs: Tree
    result: Tree
    conflicts: list[Conflict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)  # the user deleted them, and the template has changed them
    ours_moved: dict[str, str] = field(default_factory=dict)  # from the path in the old template
    theirs_moved: dict[str, str] = field(default_factory=dict)

    @property
    def changes(self) -> dict[str, Entry | None]:
        """The paths that differ from the user's tree: what they become, None for deleted."""
        paths = sorted(self.ours.keys() | self.result.keys())
        return {path: self.result.get(path) for path in paths if self.ours.get(path) != self.result.get(path)}


class Store:
    """A bare repository in a temporary folder that sees the user's objects and never writes into them."""

    def __init__(self, folder: Path, git: Git, objects: Objects, width: int) -> None:
        self.folder = folder
        self._width = width  # bytes of an object's name
        self.git = git
        self._objects = objects
        self._written: dict[str, bytes] = {}

    def read(self, entry: Entry) -> bytes:
        """The content of a file."""
        return self._written.get(entry.name) or self._objects.read(entry.name)

    def write(self, content: bytes) -> str:
        """Keep a content; returns the name of its object."""
        name = self.git.run("hash-object", "-w", "--no-filters", "--stdin", stdin=content).decode().strip()
        self._written[name] = content
        return name

    def list(self, tree: str) -> Tree:
        """Every file of a tree, or of a commit's."""
        return list_tree(self._objects, f"{tree}^{{tree}}", width=self._width)


def list_tree(objects: Objects, tree: str, folder: bytes = b"", *, width: int = 20) -> Tree:
    """Every file of a tree. width: bytes of an object's name, 20 for SHA-1."""
    found: Tree = {}
    content = objects.read(tree)
    position = 0
    while position < len(content):
        end = content.index(b"\0", position)
        mode, _, name = content[position:end].partition(b" ")
        position = end + 1 + width
        object_name = content[end + 1 : position].hex()
        if mode == b"40000":
            found |= list_tree(objects, object_name, folder + name + b"/", width=width)
        else:
            found[os.fsdecode(folder + name)] = Entry(mode.decode(), object_name)
    return found


@contextmanager
def open_store(objects_folder: Path, object_format: str = "sha1") -> Iterator[Store]:
    """A store beside the user's objects, which is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="labrig-merge-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        nobody = {
            "GIT_CONFIG_GLOBAL": os.devnull,  # merge drivers, attributes and styles of the user's have no say
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_COUNT": "0",
            "GIT_ATTR_NOSYSTEM": "1",
            "XDG_CONFIG_HOME": str(folder),
            "HOME": str(folder),
            "GIT_DIR": str(folder),
        }
        git = Git(folder, nobody)
        (folder / "refs").mkdir()
        (folder / "objects/info").mkdir(parents=True)
        (folder / "HEAD").write_text("ref: refs/heads/none\n")
        version = 1 if object_format != "sha1" else 0
        extension = f"[extensions]\n\tobjectFormat = {object_format}\n" if version else ""
        (folder / "config").write_text(f"[core]\n\trepositoryformatversion = {version}\n\tbare = true\n{extension}")
        (folder / "objects/info/alternates").write_bytes(os.fsencode(objects_folder.resolve()) + b"\n")
        with git.reading() as objects:
            yield Store(folder, git, objects, 20 if object_format == "sha1" else 32)


def merge(
    store: Store,
    head: str,
    old: Mapping[str, RenderedFile],
    new: Mapping[str, RenderedFile],
    *,
    names: tuple[str, str, str] = ("template before", "yours", "template"),
) -> Merge:
    """Merge the tree `head` of the user's with the way from `old` to `new`.

    names: how the old template, the user's file and the new template are called between conflict markers.
    Raises UnmergeableError for what cannot be shown as a conflict in a file.
    """
    _import(store, head, old, new)
    printed = store.git.attempt(
        *(word for setting in MERGING for word in ("-c", setting)),
        "merge-tree",
        "--write-tree",
        "-z",
        "--messages",
        "yours",
        "template",
    )
    if printed.returncode not in {0, 1}:
        raise UnmergeableError("git cannot merge", cause=printed.stderr.decode(errors="replace").strip())
    tree, stages, messages = _read_output(printed.stdout)
    base, ours, theirs = (store.list(f"refs/heads/{name}") for name in ("base", "yours", "template"))
    found = Merge(store, base, ours, theirs, store.list(tree))
    found.ours_moved = _moved(store, "yours", base, ours)
    found.theirs_moved = _moved(store, "template", base, theirs)
    merging = _Merging(found, names)
    merging.settle_conflicts(stages, messages)
    for kind, paths, _ in messages:
        if kind == "Auto-merging" and paths[0] not in stages:
            merging.check_automatic(paths[0])
    _check_names(found)
    found.conflicts.sort(key=lambda conflict: conflict.path)
    return found


def _import(store: Store, head: str, old: Mapping[str, RenderedFile], new: Mapping[str, RenderedFile]) -> None:
    """Make three commits, with the old version as the parent of the other two."""
    stream: list[bytes] = []

    def commit(branch: str, parent: str | None) -> None:
        stream.append(f"commit refs/heads/{branch}\ncommitter labrig <labrig@localhost> 0 +0000\ndata 0\n".encode())
        if parent:
            stream.append(f"from refs/heads/{parent}\n".encode())

    def files(rendered: Mapping[str, RenderedFile]) -> None:
        stream.append(b"deleteall\n")
        for path, file in rendered.items():
            mode = EXECUTABLE if file.executable else FILE
            stream.append(f"M {mode} inline {_quoted(path)}\ndata {len(file.content)}\n".encode())
            stream.append(file.content + b"\n")

    commit("base", None)
    files(old)
    commit("yours", "base")
    stream.append(f'M 040000 {head} ""\n'.encode())
    commit("template", "base")
    files(new)
    store.git.run("fast-import", "--quiet", "--done", "--force", stdin=b"".join([*stream, b"done\n"]))


def _quoted(path: str) -> str:
    if path.startswith('"') or "\n" in path or "\\" in path:
        return '"' + path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    return path


Message = tuple[str, list[str], str]  # kind, paths, text


def _read_output(printed: bytes) -> tuple[str, dict[str, dict[int, Entry]], list[Message]]:
    """What `merge-tree -z` says: the tree, the index stages of conflicts, and the messages."""
    words = [os.fsdecode(word) for word in printed.split(b"\0")]
    tree = words[0]
    position = 1
    stages: dict[str, dict[int, Entry]] = {}
    while position < len(words) and words[position]:
        entry, _, path = words[position].partition("\t")
        mode, name, stage = entry.split(" ")
        stages.setdefault(path, {})[int(stage)] = Entry(mode, name)
        position += 1
    position += 1
    messages: list[Message] = []
    while position < len(words) and words[position]:
        amount = int(words[position])
        paths = words[position + 1 : position + 1 + amount]
        kind, text = words[position + 1 + amount : position + 3 + amount]
        messages.append((kind, paths, text.strip()))
        position += 3 + amount
    return tree, stages, messages


def _moved(store: Store, side: str, base: Tree, tree: Tree) -> dict[str, str]:
    """The files that one side moved, from the path in the old template."""
    if base.keys() <= tree.keys():
        return {}
    words = store.git.run(
        "diff-tree", "-r", "-M", "-l7000", "--diff-filter=R", "--name-status", "-z", "base", side
    ).split(b"\0")
    paths = [os.fsdecode(word) for word in words]
    return {paths[index + 1]: paths[index + 2] for index in range(0, len(paths) - 2, 3)}


class _Merging:
    """Settles what `merge-tree` left open, file by file."""

    def __init__(self, found: Merge, names: tuple[str, str, str]) -> None:
        self.found = found
        self.names = names
        self.store = found.store

    def settle_conflicts(self, stages: Mapping[str, Mapping[int, Entry]], messages: list[Message]) -> None:
        """Decide what a rule decides, put markers where a person has to, and refuse what no marker can show."""
        settled: set[str] = set()
        for kind, paths, text in messages:
            if kind == "CONFLICT (rename/rename)" and len(paths) == 3:
                settled |= self._settle_two_names(paths)
            elif kind == "CONFLICT (directory rename split)":
                self.found.notes.append(text.removeprefix(f"{kind}: "))
            elif kind in {"CONFLICT (file/directory)", "CONFLICT (distinct modes)", "CONFLICT (submodule)"} or (
                kind.startswith("CONFLICT (") and "rename" in kind and kind != "CONFLICT (rename/delete)"
            ):
                raise UnmergeableError(
                    f"{paths[0]} cannot be merged",
                    cause=self._readable(text),
                    tip="rename what is yours (git mv), commit, and run the same command again",
                )
        for path, known in stages.items():
            if path not in settled:
                self._settle(path, known)

    def _readable(self, text: str) -> str:
        text = re.sub(r"^CONFLICT \(([^)]*)\): ", "", text)
        return text.replace("yours", "your repository").replace(" template", " the template")

    def _settle_two_names(self, paths: list[str]) -> set[str]:
        """Both sides renamed a file: the user's name stands."""
        old, yours, new = paths
        # The stages of git hold its own merge of the contents, with markers.
        base, ours, theirs = self.found.base.get(old), self.found.ours.get(yours), self.found.theirs.get(new)
        if base is None or ours is None or theirs is None:
            raise UnmergeableError(f"{old} was renamed to {yours} by you and to {new} by the template")
        self.found.result.pop(old, None)
        self.found.result.pop(new, None)
        self._settle(yours, {1: base, 2: ours, 3: theirs})
        self.found.notes.append(f"the template renamed {old} to {new}; your name {yours} stands")
        return {old, yours, new}

    def _settle(self, path: str, stages: Mapping[int, Entry]) -> None:
        base, ours, theirs = (stages.get(number) for number in (1, 2, 3))
        if ours is None:  # what the user deleted stays deleted
            self.found.result.pop(path, None)
            self.found.left_out.append(path)
        elif theirs is None:
            self.found.result[path] = ours
            self._conflict(path, "the template has deleted it, and you changed it", stages)
        elif not (ours.is_file and theirs.is_file and (base is None or base.is_file)):
            self.found.result[path] = ours
            self._conflict(path, "it is a link or a submodule on one side", stages)
        else:
            self._settle_content(path, base, ours, theirs, stages)

    def _settle_content(
        self, path: str, base: Entry | None, ours: Entry, theirs: Entry, stages: Mapping[int, Entry]
    ) -> None:
        mode = theirs.mode if base is not None and base.mode == ours.mode else ours.mode
        contents = [self.store.read(entry) if entry else b"" for entry in (base, ours, theirs)]
        if any(is_binary(content) for content in contents):
            self.found.result[path] = Entry(mode, ours.name)
            self._conflict(path, "both sides changed it, and it is no text", stages)
            return
        merged, places, reason = merge_contents(self.store, path, contents, self.names)
        self.found.result[path] = Entry(mode, self.store.write(merged))
        if reason:
            self._conflict(path, reason, stages, places)

    def _conflict(self, path: str, reason: str, stages: Mapping[int, Entry], places: tuple[Place, ...] = ()) -> None:
        self.found.conflicts.append(Conflict(path, reason, dict(stages), places))

    def check_automatic(self, path: str) -> None:
        """Accept what git merged line by line only where it says what both sides said."""
        found = self.found
        origin = next(
            (old for moved in (found.ours_moved, found.theirs_moved) for old, to in moved.items() if to == path), path
        )
        base = found.base.get(origin)
        ours = found.ours.get(found.ours_moved.get(origin, origin))
        theirs = found.theirs.get(found.theirs_moved.get(origin, origin))
        merged = found.result.get(path)
        sides = [base, ours, theirs]
        if merged is None or ours is None or not all(entry is None or entry.is_file for entry in sides):
            return
        contents = [self.store.read(entry) if entry else b"" for entry in sides]
        text = _decode(self.store.read(merged))
        texts = [_decode(content) for content in contents]
        if text is None or any(each is None for each in texts):
            return
        if not _says_both(path, [each or "" for each in texts], text):
            stages = {number: entry for number, entry in enumerate(sides, 1) if entry}
            better, places, reason = merge_contents(self.store, path, contents, self.names)
            found.result[path] = Entry(merged.mode, self.store.write(better))
            if reason:
                self._conflict(path, reason, stages, places)


def merge_contents(
    store: Store, path: str, contents: list[bytes], names: tuple[str, str, str]
) -> tuple[bytes, tuple[Place, ...], str]:
    """The merge of three contents (old template, user's, new template): by lines, else key by key.

    Returns the content, with conflict markers where there is no merge; their places; and why a person has to decide, or
    "". Line ends and a byte order mark are those of the user's file.
    """
    ours = contents[1]
    has_bom = ours.startswith(BOM) and not contents[0].startswith(BOM)
    has_crlf = _is_crlf(ours) and b"\r\n" not in contents[0] + contents[2]
    plain = [content.removeprefix(BOM) if has_bom else content for content in contents]
    plain = [content.replace(b"\r\n", b"\n") if has_crlf else content for content in plain]

    def restored(content: bytes) -> bytes:
        content = content.replace(b"\n", b"\r\n") if has_crlf else content
        return BOM + content if has_bom else content

    merged, places = _merge_lines(store, path, plain, names)
    texts = [_decode(content) for content in plain]
    kind = keys.format_of(path)
    base, mine, new = (text or "" for text in texts)
    if None in texts:
        return restored(merged), places, "both sides changed the same lines" if places else ""
    if not places and _says_both(path, [base, mine, new], _decode(merged) or ""):
        return restored(merged), (), ""
    reason = "both sides changed the same lines"
    if kind in keys.WRITERS:
        try:
            text, values = keys.merge_text(kind, base, mine, new)
        except keys.UnreadableError:
            text, values = None, keys.Values()
        if text is not None:
            return restored(text.encode()), (), ""
        if values.conflicts:
            reason = f"both sides changed {', '.join(values.conflicts[:4])}"
    if not places:  # every line found its place, and together they are wrong: the user's file stands
        return contents[1], (), f"merged line by line it would not be valid {kind or 'Python'}"
    return restored(merged), places, reason


def is_binary(content: bytes) -> bool:
    """Whether git would take the content for no text."""
    return b"\0" in content[:8000]


def _is_crlf(content: bytes) -> bool:
    return b"\r\n" in content and content.count(b"\n") == content.count(b"\r\n")


def _decode(content: bytes) -> str | None:
    try:
        return content.removeprefix(BOM).decode()
    except UnicodeDecodeError:
        return None


def _says_both(path: str, texts: list[str], merged: str) -> bool:
    """Whether lines that were merged mean what both sides meant; True where nothing is known about the format."""
    kind = keys.format_of(path)
    if path.endswith(".py"):
        return _is_python(merged) or not all(map(_is_python, texts))
    if kind not in keys.WRITERS:
        return True
    try:
        values = [keys.parse(kind, text) if text.strip() else {} for text in texts]
    except keys.UnreadableError:
        return True  # one of them is not valid by itself, or has comments where the format has none
    try:
        said = keys.parse(kind, merged)
    except keys.UnreadableError:
        return False
    wanted = keys.merge_values(*values)
    return bool(wanted.conflicts) or keys.same(said, wanted.value, ordered=False)


def _is_python(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _merge_lines(
    store: Store, path: str, contents: list[bytes], names: tuple[str, str, str]
) -> tuple[bytes, tuple[Place, ...]]:
    """`git merge-file`. In an ignore file, what both sides changed is united."""
    size = 7
    while any(re.search(rb"^[<=>|]{%d}" % size, content, re.MULTILINE) for content in contents):
        size += 5
    with tempfile.TemporaryDirectory(dir=store.folder) as name:
        folder = Path(name)
        for side, content in zip(("base", "ours", "theirs"), contents, strict=True):
            (folder / side).write_bytes(content)
        united = keys.format_of(path) == "ignore"
        labels = [word for label in (names[1], names[0], names[2]) for word in ("-L", label)]
        done = store.git.attempt(
            "merge-file",
            "-p",
            "-q",
            f"--marker-size={size}",
            *(["--diff3"] if united else []),
            *labels,
            *(str(folder / side) for side in ("ours", "base", "theirs")),
        )
    if done.returncode > 127:
        raise UnmergeableError(f"{path} cannot be merged", cause=done.stderr.decode(errors="replace").strip())
    if done.returncode == 0:
        return done.stdout, ()
    if united:
        return _unite(done.stdout, size), ()
    return done.stdout, tuple(_places(done.stdout, size))


def _places(merged: bytes, size: int) -> Iterator[Place]:
    lines = merged.decode(errors="replace").split("\n")
    start, middle = 0, 0
    for number, line in enumerate(lines):
        if line.startswith("<" * size + " "):
            start = number
        elif line == "=" * size:
            middle = number
        elif line.startswith(">" * size + " "):
            yield Place(start + 1, "\n".join(lines[start + 1 : middle]), "\n".join(lines[middle + 1 : number]))


def _unite(merged: bytes, size: int) -> bytes:
    found: list[str] = []
    regions: list[list[str]] = []
    for line in merged.decode("utf-8", "surrogateescape").removesuffix("\n").split("\n"):
        if line.startswith("<" * size + " "):
            regions = [[]]
        elif regions and (line.startswith("|" * size + " ") or line == "=" * size):
            regions.append([])
        elif regions and line.startswith(">" * size + " "):
            found += keys.merge_region(regions[1], regions[0], regions[2])
            regions = []
        else:
            (regions[-1] if regions else found).append(line)
    return "".join(f"{line}\n" for line in found).encode("utf-8", "surrogateescape")


def _check_names(found: Merge) -> None:
    """Refuse a new file whose name differs from one of the user's in case only: many file systems hold but one."""
    known = {_folded(path): path for path in found.ours.keys() & found.result.keys()}
    for path in found.result.keys() - found.ours.keys():
        other = known.setdefault(_folded(path), path)
        if other != path:
            raise UnmergeableError(
                f"the template's {path} and {other} differ in upper and lower case only",
                cause="on most Macs and on Windows one would overwrite the other",
                tip=f"rename yours: git mv {other} ..., commit, and run the same command again",
            )


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()
