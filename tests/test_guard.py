"""Random changes of a template meet random edits of a user: nothing is lost, and the guard sees what would be."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from workshop import Tree, write_tree

from labrig import keys
from labrig.errors import UnmergeableError
from labrig.guard import find_losses
from labrig.merge import BOM, EXECUTABLE, FILE, LINK, Entry, Merge, Store, merge, open_store
from labrig.render import RenderedFile


def numbered(name: str, count: int = 24) -> bytes:
    return "".join(f"{name}_{number} = {number}\n" for number in range(count)).encode()


WORKFLOW = b"""\
# CI
on:
  push:
permissions: {contents: read}
jobs:
  check:
    runs-on: ubuntu-24.04 # pinned
    steps:
      - uses: actions/checkout@v4
      - name: lint
        run: ruff check
      - name: test
        run: pytest
"""
MANIFEST = b"""\
[project]
name = "demo" # the name
requires-python = ">=3.12"
dependencies = [
  "torch>=2.6", # the framework
  "numpy",
]

[tool.ruff]
line-length = 100

[tool.ruff.lint]
select = ["E", "F"] # more
ignore = []
"""
BASE: Tree = {
    ".vscode/settings.json": (
        FILE,
        b'{\n  // for everybody\n  "editor.tabSize": 4, // columns\n  "editor.rulers": [100],\n}\n',
    ),
    ".gitignore": (FILE, b"__pycache__/\n.venv/\nruns/\n\n# Secrets\n.env\n"),
    "README.md": (FILE, numbered("readme").replace(b" = ", b" is ")),
    "ci.yml": (FILE, WORKFLOW),
    "logo.png": (FILE, bytes(range(256))),
    "package/__init__.py": (FILE, b""),
    "package/data.py": (FILE, numbered("data")),
    "package/model.py": (FILE, numbered("model")),
    "package/train.py": (FILE, numbered("train")),
    "pyproject.toml": (FILE, MANIFEST),
    "run.sh": (EXECUTABLE, b"#!/bin/sh\nset -e\nexec python -m package\n"),
    "settings.json": (
        FILE,
        b'{\n  "editor": {\n    "tabSize": 4,\n    "rulers": [100]\n  },\n  "files": ["a", "b"]\n}\n',
    ),
}


@dataclass(frozen=True)
class Operation:
    """One change: what, to which file, where."""

    kind: str
    file: int
    place: int


def lines(content: bytes) -> list[bytes]:
    return content.split(b"\n")


def apply(tree: Tree, operation: Operation, token: str) -> None:  # noqa: PLR0912 - one line each
    """Change a tree; `token` is a word that stands nowhere else."""
    paths = sorted(tree)
    if not paths:
        return
    path = paths[operation.file % len(paths)]
    mode, content = tree[path]
    at = operation.place % (content.count(b"\n") + 1)
    word = token.encode()
    rows = lines(content)
    plain = mode != LINK and b"\0" not in content
    match operation.kind:
        case "insert" if plain:
            tree[path] = mode, b"\n".join([*rows[:at], fitting(path, token), *rows[at:]])
        case "change" if plain:
            rows[at] = fitting(path, token)
            tree[path] = mode, b"\n".join(rows)
        case "delete" if plain:
            tree[path] = mode, b"\n".join(rows[:at] + rows[at + 1 :])
        case "append" if plain:
            tree[path] = mode, content + fitting(path, token) + b"\n"
        case "strip" if plain:
            tree[path] = mode, content.removesuffix(b"\n")
        case "crlf" if plain:
            tree[path] = mode, content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        case "bom" if plain and content:
            tree[path] = mode, BOM + content.removeprefix(BOM)
        case "latin" if plain and path.endswith(".md"):
            tree[path] = mode, b"\n".join([*rows[:at], word + b" caf\xe9", *rows[at:]])
        case "binary":
            tree[path] = mode if mode != LINK else FILE, b"\0" + word + content
        case "remove":
            del tree[path]
        case "rename":
            tree[f"{path.rpartition('/')[0]}/renamed-{token}".lstrip("/")] = tree.pop(path)
        case "folder":
            for each in [each for each in paths if each.startswith("package/")]:
                tree[f"moved-{token}/" + each.removeprefix("package/")] = tree.pop(each)
        case "add":
            tree.setdefault(
                f"{path.rpartition('/')[0]}/new-{operation.place % 4}.py".lstrip("/"), (FILE, word + b" = 1\n")
            )
        case "mode" if mode != LINK:
            tree[path] = (EXECUTABLE if mode == FILE else FILE), content
        case "key" if plain:
            tree[path] = mode, with_key(path, content, token, operation.place)
        case _:
            return


def fitting(path: str, token: str) -> bytes:
    """A line that fits into the file where its format allows one anywhere."""
    text = {".py": f"{token} = 1", ".toml": f"# {token}", ".yml": f"# {token}"}.get(Path(path).suffix, token)
    return text.encode()


def with_key(path: str, content: bytes, token: str, place: int) -> bytes:
    """One more or another value in a file of keys, written as a person would."""
    replacements: dict[str, list[tuple[bytes, bytes]]] = {
        "pyproject.toml": [
            (b'  "numpy",\n', f'  "numpy",\n  "{token}", # {token}\n'.encode()),
            (b'"numpy"', f'"numpy>={place}"'.encode()),
            (b'select = ["E", "F"', f'select = ["E", "F", "{token}"'.encode()),
            (b"ignore = []", f'ignore = ["{token}"]'.encode()),
            (b"line-length = 100\n", f'line-length = 100\n"{token}" = 1\n'.encode()),
            (b"line-length = 100\n", f"line-length = {place}\n".encode()),
            (b"\n[tool.ruff]\n", f'\n[tool.{token}]\nx = "{token}"\n\n[tool.ruff]\n'.encode()),
            (b'name = "demo"', f'name = "{token}"'.encode()),
        ],
        ".vscode/settings.json": [
            (b'"editor.tabSize": 4', f'"editor.tabSize": {place}'.encode()),
            (b"[100]", f'[100, "{token}"]'.encode()),
            (b"{\n", f'{{\n  "{token}": true,\n'.encode()),
            (b"  // for everybody\n", f"  // for everybody\n  /* {token} */\n".encode()),
            (b"  // for everybody\n", b""),
        ],
        "ci.yml": [
            (b"        run: pytest\n", f"        run: pytest\n      - name: {token}\n        run: x\n".encode()),
            (b"    steps:\n", f"    timeout-minutes: 5 # {token}\n    steps:\n".encode()),
            (b"jobs:\n", f"jobs:\n  {token}:\n    runs-on: x\n".encode()),
            (b"run: pytest\n", f"run: pytest --{token}\n".encode()),
            (b"actions/checkout@v4", f"actions/checkout@{token}".encode()),
        ],
        "settings.json": [
            (b'"tabSize": 4', f'"tabSize": 4,\n    "{token}": 1'.encode()),
            (b'"tabSize": 4', f'"tabSize": {place}'.encode()),
            (b'["a", "b"]', f'["a", "b", "{token}"]'.encode()),
        ],
        ".gitignore": [(b"runs/\n", f"runs/\n{token}/\n".encode()), (b".env\n", f".env\n!{token}\n".encode())],
    }
    known = replacements.get(path, [])
    if not known:
        return content
    before, after = known[place % len(known)]
    return content.replace(before, after, 1)


KINDS = [
    "insert", "insert", "change", "change", "delete", "append", "key", "key", "key", "strip", "crlf", "bom", "latin",
    "binary", "remove", "rename", "folder", "add", "mode",
]  # fmt: skip
OPERATIONS = st.builds(Operation, st.sampled_from(KINDS), st.integers(0, 12), st.integers(0, 40))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("objects")
    with open_store(folder) as opened:
        yield opened


def rendered(tree: Tree) -> dict[str, RenderedFile]:
    return {path: RenderedFile(content, mode == EXECUTABLE) for path, (mode, content) in tree.items()}


def changed(operations: list[Operation], prefix: str) -> Tree:
    tree = dict(BASE)
    for number, operation in enumerate(operations):
        apply(tree, operation, f"{prefix}{number}")
    return tree


def contents(found: Merge) -> Tree:
    return {path: (entry.mode, found.store.read(entry)) for path, entry in found.result.items()}


def cases(number: int) -> settings:
    """The same random cases in every run."""
    return settings(
        max_examples=number, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
    )


CASES = given(template=st.lists(OPERATIONS, max_size=5), user=st.lists(OPERATIONS, max_size=5))


@cases(200)
@CASES
def test_nothing_of_the_users_is_lost(store: Store, template: list[Operation], user: list[Operation]) -> None:
    look(store, template, user)


@pytest.mark.release
def test_nothing_of_the_users_is_lost_in_2000_cases(store: Store) -> None:
    outcomes: Counter[str] = Counter()

    @cases(2000)
    @CASES
    def every(template: list[Operation], user: list[Operation]) -> None:
        outcomes[look(store, template, user)] += 1

    every()
    assert outcomes.total() >= 2000
    assert outcomes["clean"] > 500, outcomes
    assert outcomes["conflict"] > 100, outcomes
    assert outcomes["refused"] < 200, outcomes


def look(store: Store, template: list[Operation], user: list[Operation]) -> str:
    """Merge, and look for losses; how it ended."""
    ours, theirs = changed(user, "mine"), changed(template, "theirs")
    if not ours:
        return "empty"
    try:
        found = merge(store, write_tree(store, ours), rendered(BASE), rendered(theirs))
    except UnmergeableError:
        return "refused"
    result = contents(found)
    assert list(find_losses(found)) == []
    if ours == BASE:
        assert result == theirs
    if theirs == BASE:
        assert result == ours
    check_words(ours, result)
    check_deletions(ours, theirs, found, result)
    check_delivery(ours, theirs, found, result)
    check_validity(ours, theirs, found, result)
    return "conflict" if found.conflicts else "clean"


def words(tree: Tree, prefix: str) -> set[bytes]:
    return {word for _, content in tree.values() for word in re.findall(prefix.encode() + rb"\d+", content)} | {
        word.encode() for path in tree for word in re.findall(prefix + r"\d+", path)
    }


def check_words(ours: Tree, result: Tree) -> None:
    """Every word that the user wrote, and every name that the user gave, is in the files."""
    assert words(ours, "mine") <= words(result, "mine")


def check_deletions(ours: Tree, theirs: Tree, found: Merge, result: Tree) -> None:
    """No line comes back that the user deleted everywhere, but between the markers of a conflict."""
    conflicted = {conflict.path for conflict in found.conflicts}
    for path, (_, content) in BASE.items():
        if not path.endswith((".py", ".md")) or not content:
            continue
        everywhere = b"\n".join(each for _, each in ours.values())
        for line in set(lines(content)) - {b""}:
            if line not in everywhere:
                back = [name for name, (_, each) in result.items() if line in each and name not in conflicted]
                assert not back, (line, back)
    for path in BASE.keys() - ours.keys():
        if path in result and path in theirs:
            assert path not in found.base or path in ours, path


def check_delivery(ours: Tree, theirs: Tree, found: Merge, result: Tree) -> None:
    """Every word of the template arrives, but where the user deleted or a person has to decide."""
    if found.conflicts or found.left_out or set(BASE) - set(ours):
        return
    missing = words(theirs, "theirs") - words(result, "theirs")
    for word in missing:
        holders = [path for path, (_, content) in theirs.items() if word in content]
        assert all(keys.format_of(path) in keys.WRITERS for path in holders), (word, holders)


def check_validity(ours: Tree, theirs: Tree, found: Merge, result: Tree) -> None:
    """What was valid on all sides is valid together."""
    conflicted = {conflict.path for conflict in found.conflicts}
    for path, (_, content) in result.items():
        kind = keys.format_of(path)
        if (
            kind in keys.WRITERS
            and path not in conflicted
            and all(is_valid(kind, tree[path][1]) for tree in (BASE, ours, theirs) if path in tree)
        ):
            assert is_valid(kind, content), (path, content)


def is_valid(kind: str, content: bytes) -> bool:
    try:
        keys.parse(kind, content.removeprefix(BOM).decode())
    except (keys.UnreadableError, UnicodeDecodeError):
        return False
    return True


# The guard itself: each way of losing something is seen


def merged(store: Store, ours: Tree, theirs: Tree) -> Merge:
    found = merge(store, write_tree(store, ours), rendered(BASE), rendered(theirs))
    assert list(find_losses(found)) == []
    return found


def put(found: Merge, path: str, content: bytes, mode: str = FILE) -> None:
    found.result[path] = Entry(mode, found.store.write(content))


def with_content(**files: bytes) -> Tree:
    named = {name.replace("__", "/").replace("_dot_", "."): content for name, content in files.items()}
    return {**BASE, **{name: (BASE.get(name, (FILE, b""))[0], content) for name, content in named.items()}}


def edit(path: str, before: bytes, after: bytes) -> Tree:
    mode, content = BASE[path]
    assert before in content
    return {**BASE, path: (mode, content.replace(before, after))}


THEIRS = edit("package/train.py", b"train_3 = 3\n", b"train_3 = 33\n")

SPOILED: dict[str, tuple[Tree, Callable[[Merge], None], str]] = {
    "a line is dropped": (
        edit("package/train.py", b"train_20 = 20\n", b"train_20 = 20\nmine = 1\n"),
        lambda found: put(found, "package/train.py", THEIRS["package/train.py"][1]),
        "your line is missing: 'mine = 1'",
    ),
    "one of two equal lines is dropped": (
        edit("package/train.py", b"train_20 = 20\n", b"train_20 = 20\nmine = 1\nmine = 1\n"),
        lambda found: put(
            found,
            "package/train.py",
            THEIRS["package/train.py"][1].replace(b"train_20 = 20\n", b"train_20 = 20\nmine = 1\n"),
        ),
        "your line is missing: 'mine = 1'",
    ),
    "a deleted line is back": (
        edit("package/train.py", b"train_20 = 20\n", b""),
        lambda found: put(found, "package/train.py", THEIRS["package/train.py"][1]),
        "the line that you deleted is back: 'train_20 = 20'",
    ),
    "lines change places": (
        edit("package/train.py", b"train_20 = 20\n", b"first = 1\nsecond = 2\n"),
        lambda found: put(
            found,
            "package/train.py",
            THEIRS["package/train.py"][1].replace(b"train_20 = 20\n", b"second = 2\nfirst = 1\n"),
        ),
        "your lines are in another order",
    ),
    "a file is deleted": (
        {**BASE, "mine.py": (FILE, b"mine\n")},
        lambda found: found.result.__delitem__("mine.py"),
        "mine.py: the file would be deleted",
    ),
    "a deleted file is back": (
        {path: file for path, file in BASE.items() if path != "README.md"},
        lambda found: put(found, "README.md", BASE["README.md"][1]),
        "README.md: you deleted or moved it, and it would come back",
    ),
    "a binary is reverted": (
        edit("logo.png", bytes(range(256)), b"\0mine"),
        lambda found: put(found, "logo.png", BASE["logo.png"][1]),
        "your version of a file that is no text would be replaced",
    ),
    "a byte is dropped": (
        edit("README.md", b"readme_9 is 9\n", b"caf\xe9\n"),
        lambda found: put(found, "README.md", BASE["README.md"][1].replace(b"readme_9 is 9\n", b"caf\n")),
        "your line is missing",
    ),
    "a mode is reverted": (
        {**BASE, "run.sh": (FILE, BASE["run.sh"][1])},
        lambda found: put(found, "run.sh", BASE["run.sh"][1], EXECUTABLE),
        "its mode would be 100755 again",
    ),
    "line ends are reverted": (
        edit("README.md", b"\n", b"\r\n"),
        lambda found: put(found, "README.md", BASE["README.md"][1]),
        "your line ends (CRLF)",
    ),
    "a link is replaced": (
        {**BASE, "README.md": (LINK, b"/elsewhere")},
        lambda found: put(found, "README.md", BASE["README.md"][1]),
        "your link or submodule would be replaced",
    ),
    "a value is reset": (
        edit("pyproject.toml", b"line-length = 100", b"line-length = 88"),
        lambda found: put(found, "pyproject.toml", BASE["pyproject.toml"][1]),
        "your line is missing: 'line-length = 88'",
    ),
    "a comment is dropped": (
        edit("pyproject.toml", b"line-length = 100", b"line-length = 100 # because"),
        lambda found: put(found, "pyproject.toml", BASE["pyproject.toml"][1]),
        "your line is missing: 'line-length = 100 # because'",
    ),
}


@pytest.mark.parametrize("name", SPOILED)
def test_the_guard_sees_what_would_be_lost(store: Store, name: str) -> None:
    ours, spoil, said = SPOILED[name]
    found = merged(store, ours, THEIRS)
    spoil(found)
    assert said in "\n".join(str(loss) for loss in find_losses(found))


def test_the_guard_sees_a_line_that_is_lost_beside_a_conflict(store: Store) -> None:
    ours = edit("package/train.py", b"train_3 = 3\n", b"train_3 = 4\nmine = 1\n")
    found = merged(store, ours, THEIRS)
    assert [conflict.path for conflict in found.conflicts] == ["package/train.py"]
    put(found, "package/train.py", THEIRS["package/train.py"][1])
    assert "lost beside the conflict" in "\n".join(str(loss) for loss in find_losses(found))


def test_a_file_that_both_moved_and_changed_at_the_same_line_is_a_conflict(store: Store) -> None:
    def moved(line: bytes, folder: str) -> Tree:
        tree = edit("package/data.py", b"data_0 = 0\n", line)
        return {path.replace("package/", f"{folder}/"): file for path, file in tree.items()}

    found = merged(store, moved(b"mine = 1\n", "mine"), moved(b"theirs = 1\ndata_0 = 0\n", "theirs"))
    assert [conflict.path for conflict in found.conflicts] == ["mine/data.py"]
    assert b"<<<<<<< yours\nmine = 1\n=======\ntheirs = 1\n" in contents(found)["mine/data.py"][1]


def test_a_json_file_of_the_users_keeps_its_form(store: Store) -> None:
    ours = {
        **BASE,
        "settings.json": (
            FILE,
            json.dumps({"editor": {"tabSize": 4, "rulers": [100]}, "files": ["a", "b", "mine"]}, indent="\t").encode(),
        ),
    }
    theirs = edit("settings.json", b'["a", "b"]', b'["a", "b", "theirs"]')
    found = merged(store, ours, theirs)
    assert not found.conflicts
    assert (
        contents(found)["settings.json"][1]
        == json.dumps(
            {"editor": {"tabSize": 4, "rulers": [100]}, "files": ["a", "b", "mine", "theirs"]}, indent="\t"
        ).encode()
    )
