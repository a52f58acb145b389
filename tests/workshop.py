"""A small template with versions, and a repository made of it: for tests of what happens to a repository later."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from labrig.cli import main
from labrig.merge import Store
from labrig.render import ANSWERS_FILE, Template

ANSWERS = "{{ _copier_conf.answers_file }}.jinja"
PLAIN_RECORD = """\
{% if _copier_conf.vcs_ref_hash %}
_commit_hash: "{{ _copier_conf.vcs_ref_hash }}"
{% endif %}
{% for key, value in _copier_answers | dictsort %}
{{ key }}: {{ value | tojson }}
{% endfor %}
"""
SETTINGS = """\
_subdirectory: template
_envops: {undefined: jinja2.StrictUndefined, keep_trailing_newline: true, trim_blocks: true, lstrip_blocks: true}
"""
QUESTIONS = "name: {type: str, default: demo}\n"
LINES = "".join(f"line {number}\n" for number in range(1, 41))

Content = str | bytes | None  # None deletes


@dataclass(frozen=True)
class Run:
    """What a command gave back."""

    code: int
    out: str
    err: str

    @property
    def object(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found


def git(folder: Path, *words: str, check: bool = True) -> str:
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, check=False)
    assert not check or done.returncode == 0, done.stderr.decode()
    return done.stdout.decode(errors="surrogateescape").strip()


def put(folder: Path, files: Mapping[str, Content]) -> None:
    """Write, replace and delete files."""
    for name, content in files.items():
        path = folder / name
        if content is None:
            path.unlink()
            continue
        if path.is_symlink():
            path.unlink()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


Tree = dict[str, tuple[str, bytes]]  # mode and content by path


def write_tree(store: Store, tree: Tree) -> str:
    """The name of a tree object that holds these files, written without a git process each."""
    folders: dict[str, Tree] = {}
    entries: list[tuple[bytes, bytes, str]] = []
    for path, (mode, content) in tree.items():
        first, _, rest = path.partition("/")
        if rest:
            folders.setdefault(first, {})[rest] = mode, content
        else:
            entries.append((first.encode(), mode.encode(), loose(store, b"blob", content)))
    entries += [(name.encode(), b"40000", write_tree(store, inner)) for name, inner in folders.items()]
    entries.sort(key=lambda entry: entry[0] + (b"/" if entry[1] == b"40000" else b""))
    return loose(
        store, b"tree", b"".join(mode + b" " + name + b"\0" + bytes.fromhex(sha) for name, mode, sha in entries)
    )


def loose(store: Store, kind: bytes, content: bytes) -> str:
    data = kind + b" %d\0" % len(content) + content
    name = hashlib.sha1(data, usedforsecurity=False).hexdigest()
    path = store.folder / "objects" / name[:2] / name[2:]
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(zlib.compress(data, 1))
    return name


class Workshop:
    """A template, a repository made of it, and the commands that are run on it."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str] | None = None) -> None:
        self.folder = folder
        self.template = folder / "template"
        self.root = folder / "demo"
        self._capture = capture

    def release(self, version: str, files: Mapping[str, Content], questions: str | None = None) -> None:
        """Commit and tag a version of the template: the files of the last one with these changes."""
        if not self.template.exists():
            (self.template / "template").mkdir(parents=True)
            git(self.template, "init", "--quiet")
            put(self.template / "template", {ANSWERS: PLAIN_RECORD})
            questions = questions or QUESTIONS
        put(self.template / "template", files)
        if questions is not None:
            (self.template / "copier.yml").write_text(SETTINGS + questions)
        git(self.template, "add", "--all", "--force")
        git(self.template, "commit", "--quiet", "--allow-empty", "--message", version)
        git(self.template, "tag", "--force", version)

    def generate(self, answers: Mapping[str, object] | None = None, version: str = "v1") -> Path:
        """Create the repository, and commit it."""
        put(self.root, self.render(version, answers))
        git(self.root, "init", "--quiet")
        self.commit()
        return self.root

    def render(self, version: str, answers: Mapping[str, object] | None = None) -> dict[str, bytes]:
        """The files that a version gives."""
        checkout = self.folder / f"checkout-{version}"
        if checkout.exists():
            shutil.rmtree(checkout)
        git(self.template, "worktree", "add", "--quiet", "--detach", str(checkout), version)
        commit = git(self.template, "rev-parse", f"{version}^{{commit}}")
        template = Template(checkout)
        resolved = template.resolve(answers or {}, folder_name="demo")
        described = git(self.template, "describe", "--tags", "--always", version)
        files = template.render(resolved, src_path=str(self.template), commit=described, commit_hash=commit)
        shutil.rmtree(checkout)
        git(self.template, "worktree", "prune")
        return {path: file.content for path, file in files.items()}

    def change(self, files: Mapping[str, Content]) -> None:
        """Let the user change files, and commit that."""
        put(self.root, files)
        self.commit()

    def commit(self, message: str = "Work") -> None:
        git(self.root, "add", "--all")
        git(self.root, "commit", "--quiet", "--allow-empty", "--message", message)

    def labrig(self, *words: str) -> Run:
        """Run a command in the repository."""
        before = Path.cwd()
        if self._capture:
            self._capture.readouterr()
        os.chdir(self.root)
        try:
            code = main(list(words))
        finally:
            os.chdir(before)
        captured = self._capture.readouterr() if self._capture else None
        return Run(code, captured.out if captured else "", captured.err if captured else "")

    def copier(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run Copier's own update in a copy of the repository as it is committed, `demo-copier`."""
        copy = self.folder / "demo-copier"
        if copy.exists():
            shutil.rmtree(copy)
        shutil.copytree(self.root, copy, symlinks=True)
        git(copy, "reset", "--quiet", "--hard")
        command = [sys.executable, "-m", "copier", "update", "--defaults", "--quiet", *words]
        return subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)

    def copier_reads(self, path: str) -> bytes:
        return (self.folder / "demo-copier" / path).read_bytes()

    def read(self, path: str) -> str:
        return (self.root / path).read_text(encoding="utf-8")

    def record(self) -> dict[str, Any]:
        found: dict[str, Any] = yaml.safe_load(self.read(ANSWERS_FILE))
        return found

    def status(self) -> list[str]:
        """What `git status` says of the repository."""
        return git(self.root, "status", "--porcelain").splitlines()

    def state(self) -> dict[str, tuple[bytes, int]]:
        """Every file of the repository, git's own left out, and what the index and HEAD say."""
        found: dict[str, tuple[bytes, int]] = {}
        for path in sorted(self.root.rglob("*")):
            name = path.relative_to(self.root).as_posix()
            if name == ".git" or name.startswith(".git/") or (path.is_dir() and not path.is_symlink()):
                continue
            content = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
            found[name] = content, path.lstat().st_mode
        found[".git index"] = git(self.root, "ls-files", "--stage", "-t").encode(), 0
        found[".git HEAD"] = git(self.root, "rev-parse", "HEAD", check=False).encode(), 0
        return found


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Workshop:
    """An empty workshop, of a user without settings of their own."""
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(
        "[user]\n\tname = Ada\n\temail = ada@example.org\n[init]\n\tdefaultBranch = main\n[commit]\n\tgpgSign = false\n"
    )
    for name in list(os.environ):
        if name.startswith(("LABRIG_", "GIT_", "XDG_")) or name in {"CI", "CLAUDECODE", "AI_AGENT"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("COPIER_CACHE_DIR", str(home / "cache"))
    return Workshop(tmp_path, capfd)
