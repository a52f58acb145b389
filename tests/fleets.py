"""A fleet of bare repositories in which every state is planted, so that what is reported can be held against it."""

from __future__ import annotations

import hashlib
import random
import shutil
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from workshop import LINES, Tree, Workshop, git

from labrig.render import ANSWERS_FILE

QUESTIONS = """\
name: {type: str, default: demo}
size: {type: str, default: small, choices: [small, large, huge]}
ci: {type: str, default: github, choices: [github, gitlab]}
github: {type: str, when: false, default: "{{ '.' if ci == 'github' else '' }}"}
"""
FILES: dict[str, str | bytes | None] = {
    "pyproject.toml.jinja": "[project]\nname = '{{ name }}'\n\n[tool.ruff]\nline-length = 100\n",
    "train.py": LINES,
    "settings.yml.jinja": "size: {{ size }}\nsteps: 10\n",
    "{{ github }}/ci.yml": "on: push\njobs:\n  test: {}\n",
    ".gitignore": "*.ckpt\n",
    "logo.bin": b"\0logo",
    "guide.md": LINES,
}
LFS = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'4d7a' * 16}\nsize 12345\n"


@dataclass(frozen=True)
class Planted:
    """One repository, and what has to be reported of it."""

    name: str
    state: str
    outcome: str
    kind: str
    mine: Mapping[str, str] = field(default_factory=dict)  # a line of the user's, by the file that must hold it


class Fleet:
    """A template with the versions v1 and v2, a candidate, and repositories in a folder."""

    def __init__(self, workshop: Workshop, size: int, seed: int = 0) -> None:
        self.workshop = workshop
        self.folder = workshop.folder / "fleet"
        self.folder.mkdir()
        workshop.release("v1", FILES, QUESTIONS)
        workshop.release(
            "v2",
            {
                "train.py": LINES.replace("line 5\n", "line 5 of v2\n") + "the end\n",
                "settings.yml.jinja": "size: {{ size }}\nsteps: 20\n",
                "new/more.txt.jinja": "{{ name }}\n",
                "model.ckpt": "a file that git ignores\n",
            },
            QUESTIONS.replace(", huge", ""),
        )
        # A candidate that nobody has tagged: with gitlab it writes a file that is not valid.
        broken = "[project]\nname = '{{ name }}'\n{% if ci == 'gitlab' %}name = 'again'\n{% endif %}\n"
        broken += "[tool.ruff]\nline-length = 100\n"
        (workshop.template / "template/pyproject.toml.jinja").write_text(broken)
        git(workshop.template, "checkout", "--quiet", "-b", "candidate")
        git(workshop.template, "commit", "--quiet", "--all", "--message", "Candidate")
        self._rendered: dict[tuple[str, str, str], dict[str, bytes]] = {}
        chance = random.Random(seed)
        kinds = list(KINDS)
        self.planted = [self._plant(number, kinds[number % len(kinds)], chance) for number in range(size)]
        self.list = self.folder / "list.txt"
        lines = [f"{each.name}.git{' archived' if each.state == 'archived' else ''}\n" for each in self.planted]
        self.list.write_text("# the fleet\n" + "".join(lines))

    def of(self, **wanted: str) -> list[Planted]:
        """Those with an attribute."""
        return [each for each in self.planted if all(getattr(each, key) == value for key, value in wanted.items())]

    def files(self, version: str, size: str, ci: str) -> dict[str, bytes]:
        """What a version gives, without what git ignores."""
        key = version, size, ci
        if key not in self._rendered:
            found = self.workshop.render(version, {"size": size, "ci": ci})
            self._rendered[key] = {path: content for path, content in found.items() if path != "model.ckpt"}
        return dict(self._rendered[key])

    def _plant(self, number: int, kind: str, chance: random.Random) -> Planted:
        name = f"{kind}-{number:03}"
        make, state, outcome = KINDS[kind]
        repository = Bare(self.folder / f"{name}.git")
        mine = make(self, repository, chance) or {}
        return Planted(name, state, outcome, kind, mine)


class Bare:
    """A bare repository that is written object by object: a fleet costs no git process each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "objects/info").mkdir(parents=True)
        (folder / "refs/heads").mkdir(parents=True)
        (folder / "HEAD").write_text("ref: refs/heads/main\n")
        (folder / "config").write_text("[core]\n\trepositoryformatversion = 0\n\tbare = true\n")
        self.head = ""

    def commit(self, files: Mapping[str, bytes], others: Tree | None = None) -> None:
        """A commit with these files. others: with their own modes."""
        tree = self._tree({**{path: ("100644", content) for path, content in files.items()}, **(others or {})})
        parent = f"parent {self.head}\n" if self.head else ""
        who = "Ada <ada@example.org> 1700000000 +0000"
        self.head = self.write(b"commit", f"tree {tree}\n{parent}author {who}\ncommitter {who}\n\nWork\n".encode())
        (self.folder / "refs/heads/main").write_text(f"{self.head}\n")

    def write(self, kind: bytes, content: bytes) -> str:
        data = kind + b" %d\0" % len(content) + content
        name = hashlib.sha1(data, usedforsecurity=False).hexdigest()
        path = self.path(name)
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(zlib.compress(data, 1))
        return name

    def path(self, name: str) -> Path:
        return self.folder / "objects" / name[:2] / name[2:]

    def _tree(self, files: Tree) -> str:
        folders: dict[str, Tree] = {}
        entries: list[tuple[bytes, bytes, str]] = []
        for path, (mode, content) in files.items():
            first, _, rest = path.partition("/")
            if rest:
                folders.setdefault(first, {})[rest] = mode, content
            else:
                name = content.decode() if mode == "160000" else self.write(b"blob", content)
                entries.append((first.encode(), mode.encode(), name))
        entries += [(name.encode(), b"40000", self._tree(inner)) for name, inner in folders.items()]
        entries.sort(key=lambda entry: entry[0] + (b"/" if entry[1] == b"40000" else b""))
        return self.write(
            b"tree", b"".join(mode + b" " + name + b"\0" + bytes.fromhex(sha) for name, mode, sha in entries)
        )


Make = Callable[[Fleet, Bare, random.Random], "dict[str, str] | None"]


def _at(version: str, edit: Callable[[dict[str, bytes]], dict[str, str] | None] | None = None) -> Make:
    def make(fleet: Fleet, repository: Bare, chance: random.Random) -> dict[str, str] | None:
        files = fleet.files(version, chance.choice(["small", "large"]), "github")
        repository.commit(files)
        mine = edit(files) if edit else None
        if edit:
            repository.commit(files)
        return mine

    return make


def _edits(files: dict[str, bytes]) -> dict[str, str]:
    files["train.py"] = files["train.py"].replace(b"line 30\n", b"line 30, mine\n")
    files["settings.yml"] += b"mine: 1\n"
    files["src/own.py"] = b"value = 1\n"
    del files["guide.md"]
    return {"train.py": "line 30, mine", "settings.yml": "mine: 1", "src/own.py": "value = 1"}


def _moved(files: dict[str, bytes]) -> dict[str, str]:
    files["src/train.py"] = files.pop("train.py").replace(b"line 30\n", b"line 30, mine\n")
    return {"src/train.py": "line 30, mine"}


def _conflict(files: dict[str, bytes]) -> dict[str, str]:
    files["train.py"] = files["train.py"].replace(b"line 5\n", b"line 5, mine\n")
    return {"train.py": "line 5, mine"}


def _drift(files: dict[str, bytes]) -> None:
    files["pyproject.toml"] = files["pyproject.toml"].replace(b"100", b"88")


def _markers(files: dict[str, bytes]) -> None:
    files[ANSWERS_FILE] = b"<<<<<<< yours\n" + files[ANSWERS_FILE]


def _no_source(files: dict[str, bytes]) -> None:
    files[ANSWERS_FILE] = b"".join(
        line + b"\n" for line in files[ANSWERS_FILE].splitlines() if not line.startswith(b"_src_path")
    )


def _moved_tag(files: dict[str, bytes]) -> None:
    text = files[ANSWERS_FILE]
    position = text.index(b"_commit_hash") + 15
    files[ANSWERS_FILE] = text[:position] + b"0" * 40 + text[position + 40 :]


def _no_record(files: dict[str, bytes]) -> None:
    del files[ANSWERS_FILE]


def _odd(fleet: Fleet, repository: Bare, chance: random.Random) -> dict[str, str]:
    """Latin-1, an LFS pointer, CRLF, a link, a submodule and a name that is no ASCII."""
    files = fleet.files("v1", chance.choice(["small", "large"]), "github")
    files["train.py"] = files["train.py"].replace(b"line 30\n", b"line 30 \xe9\n")
    files["data/weights.bin"] = LFS.encode()
    files["settings.yml"] = files["settings.yml"].replace(b"\n", b"\r\n")
    files["größe.txt"] = b"x\n"
    others: Tree = {"link": ("120000", b"train.py"), "vendor": ("160000", b"1" * 40)}
    repository.commit(files, others)
    return {"train.py": "line 30 \udce9", "data/weights.bin": "oid sha256"}


def _huge(fleet: Fleet, repository: Bare, chance: random.Random) -> None:
    """An answer that v2 does not take any more."""
    del chance
    repository.commit(fleet.files("v1", "huge", "github"))


def _gitlab(fleet: Fleet, repository: Bare, chance: random.Random) -> None:
    repository.commit(fleet.files("v2", chance.choice(["small", "large"]), "gitlab"))


def _by_hand(fleet: Fleet, repository: Bare, chance: random.Random) -> None:
    del fleet
    repository.commit({"train.py": LINES.encode(), f"notes-{chance.random()}.md": b"x\n"})


def _empty(fleet: Fleet, repository: Bare, chance: random.Random) -> None:
    del fleet, repository, chance


def _corrupt(fleet: Fleet, repository: Bare, chance: random.Random) -> None:
    files = fleet.files("v1", chance.choice(["small", "large"]), "github")
    repository.commit(files)
    name = repository.write(b"blob", files[ANSWERS_FILE])
    repository.path(name).write_bytes(b"not an object")


def _nothing(fleet: Fleet, repository: Bare, chance: random.Random) -> None:
    del fleet, chance
    shutil.rmtree(repository.folder)
    repository.folder.mkdir()


# By kind: how it is made, what `scan` says, and what a trial of v2 says.
KINDS: dict[str, tuple[Make, str, str]] = {
    "untouched": (_at("v2"), "managed", "current"),
    "worked-on": (_at("v2", _edits), "managed", "current"),
    "old": (_at("v1"), "behind", "clean"),
    "edited": (_at("v1", _edits), "behind", "clean"),
    "moved": (_at("v1", _moved), "behind", "clean"),
    "odd": (_odd, "behind", "clean"),
    "conflict": (_at("v1", _conflict), "behind", "conflict"),
    "drifted": (_at("v2", _drift), "drifted", "current"),
    "old-drifted": (_at("v1", _drift), "drifted", "clean"),
    "huge": (_huge, "behind", "blocked"),
    "gitlab": (_gitlab, "managed", "current"),
    "by-hand": (_by_hand, "adoptable", "skipped"),
    "closed": (_at("v1"), "archived", "skipped"),
    "markers": (_at("v1", _markers), "broken", "blocked"),
    "no-source": (_at("v1", _no_source), "broken", "blocked"),
    "moved-tag": (_at("v1", _moved_tag), "broken", "blocked"),
    "no-record": (_at("v1", _no_record), "broken", "blocked"),
    "empty": (_empty, "broken", "blocked"),
    "corrupt": (_corrupt, "broken", "blocked"),
    "nothing": (_nothing, "broken", "blocked"),
}
