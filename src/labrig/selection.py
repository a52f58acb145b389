"""What of the template an existing repository takes, and what is left to its user, each with the reason."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from packaging.utils import canonicalize_name

from . import keys
from .inference import Files
from .render import ANSWERS_FILE, Answers, RenderedFile

MANIFEST = "pyproject.toml"
CI = (".github/workflows/ci.yml", ".gitlab-ci.yml")
# The example, and what speaks of its commands.
EXAMPLE = (
    ".cursor",
    ".devcontainer",
    ".dockerignore",
    ".vscode/launch.json",
    ".vscode/tasks.json",
    "AGENTS.md",
    "CLAUDE.md",
    "Dockerfile",
    "EXPERIMENTS.md",
    "README.md",
    "apptainer.def",
    "launch",
    "notebooks",
    "src",
    "tests",
)
# What installs the packages that [project] lists, or says who moves them.
INSTALLATION = (
    ".github/renovate.json",
    ".gitlab/renovate.json",
    ".python-version",
    "environment-cpu.yml",
    "environment-gpu.yml",
    "environment.yml",
    "poetry.toml",
    "requirements",
)
HOOKS = ".pre-commit-config.yaml"
MERGED = {MANIFEST, HOOKS, ".gitignore", ".vscode/extensions.json", ".vscode/settings.json"}
TOOLS = "dependency-groups.dev"
UNITED = {TOOLS, "recommendations", "repos"}  # lists that take what the user's own does not name
OTHER_NAMES = {
    ".github/renovate.json": r"(?:\.github/)?renovate\.json5?|\.renovaterc(?:\.json5?)?",
    "LICENSE": r"(?:LICEN[CS]E|COPYING)[^/]*",
    "README.md": r"README[^/]*",
}
# Settings that stand in a file of their own: a table in pyproject.toml would silence that file, or do nothing.
OTHER_SETTINGS = {
    "tool.mypy": r"\.?mypy\.ini",
    "tool.pyright": r"pyrightconfig\.json",
    "tool.ruff": r"\.?ruff\.toml",
    "tool.ty": r"ty\.toml",
}
CODE_FOLDERS = ("tool.ruff.src", "tool.pyright.include", "tool.mypy.files", "tool.ty.src")


@dataclass(frozen=True)
class Selection:
    """How much of the template a repository takes.

    files: the user's. others: the paths of links and submodules.
    level: `answers` (with the CI), `tools` or `full`.
    with_project: [project] is wanted even beside a setup.py.
    """

    files: Files
    others: Collection[str]
    level: str
    with_project: bool

    @cached_property
    def manifest(self) -> Mapping[str, Any]:
        """What the user's pyproject.toml says."""
        return self.files.toml(MANIFEST)

    @property
    def is_setuptools(self) -> bool:
        """Whether setuptools builds it from Python or from setup.cfg."""
        return bool(self.files.named(r"setup\.(?:py|cfg)"))

    @property
    def has_project(self) -> bool:
        """Whether pyproject.toml describes a package already."""
        return _has(self.manifest, "project") or _has(self.manifest, "tool.poetry")

    @property
    def has_code(self) -> bool:
        """Whether there is a package, or something where the template's would be."""
        return bool(self.files.packages) or any(path.startswith("src/") for path in self.files.paths)

    @property
    def takes_example(self) -> bool:
        """Whether the template's package, its tests and its texts come, too."""
        return self.level == "full" and not self.has_code

    @property
    def takes_project(self) -> bool:
        """Whether [project] and what belongs to it comes: that changes how the repository is installed."""
        return not self.has_project and (self.with_project or (self.takes_example and not self.is_setuptools))

    def left_to_user(
        self, answers: Answers, rendered: Mapping[str, RenderedFile], ignored: Collection[str]
    ) -> Iterator[tuple[str, str]]:
        """What the template leaves alone: files, folders, and keys as FILE:KEY, each with the reason.

        ignored: the paths that git is told to ignore.
        """
        manifest = rendered[MANIFEST].content.decode() if MANIFEST in rendered else ""
        says = keys.parse("toml", manifest)
        yield from self._example_left()
        for path in rendered:
            if reason := self._why_not(path, ignored):
                yield path, reason
        for key, reason in [*self._project_left(answers, says), *self._settings_left(says)]:
            if _has(says, key):
                yield f"{MANIFEST}:{key}", reason
        if not self.takes_project:
            yield from dict.fromkeys(INSTALLATION, self._installed).items()
            chosen = answers.get("package_manager"), answers.get("accelerator")
            if chosen != ("uv", "cpu") or "project" not in self.manifest:
                yield from dict.fromkeys(CI, "it installs what the template's own [project] lists").items()
        if self.level == "answers":
            names = [path for path in rendered if not path.startswith((".github/", *CI, MANIFEST, ANSWERS_FILE))]
            yield from dict.fromkeys(names, "--level answers leaves it out").items()

    @property
    def _installed(self) -> str:
        """Why nothing is taken that says how the repository is installed."""
        if self.has_project:
            return f"how it is installed stands in your {MANIFEST}"
        return "how it is installed is yours; --with-project adds [project]"

    def _example_left(self) -> Iterator[tuple[str, str]]:
        if not self.takes_example:
            reason = "you have code already" if self.has_code else "--level full adds it"
            for name in EXAMPLE:
                yield name, self._why_not(name, ()) or f"it goes with the example, and {reason}"
        elif self.files.has_tests:
            yield "tests", "there are tests already"

    def _project_left(self, answers: Answers, says: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """The keys of the template's manifest that say how the repository is installed."""
        if self.takes_project:
            return
        groups = [f"dependency-groups.{name}" for name in says.get("dependency-groups", {}) if name != "dev"]
        tables = [name for name in says if name not in {"tool", "dependency-groups"}]
        pip = ["tool.poe.tasks.lock"] if answers.get("package_manager") == "pip" else []
        yield from dict.fromkeys([*tables, *groups, "tool.uv", "tool.poetry", *pip], self._installed).items()

    def _settings_left(self, says: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """The settings of tools in the template's manifest that would do harm here."""
        if not self.takes_example or self.files.has_tests:
            yield "tool.pytest", "it would change which of your tests run, and how"
        for key, pattern in OTHER_SETTINGS.items():
            settings = self.files.named(pattern)
            if key == "tool.mypy" and "[mypy" in self.files.text("setup.cfg"):
                settings.append("setup.cfg")
            if settings:
                yield key, f"you have {settings[0]}"
        if not self.takes_example and not any(path.startswith("src/") for path in self.files.paths):
            yield from dict.fromkeys(CODE_FOLDERS, "your code is not in src").items()
        if self.level == "answers":
            for tool in says.get("tool", {}).keys() - {"poe"}:
                yield f"tool.{tool}", "--level answers leaves it out"

    def _why_not(self, path: str, ignored: Collection[str]) -> str:
        """Why a file of the template cannot be taken; "" when it can."""
        for place in (PurePosixPath(path), *PurePosixPath(path).parents):
            other = self._known.get(place.as_posix().casefold())
            if other == path and path in MERGED and path in self.files.paths:
                problem = self._unreadable(path)
                return f"yours cannot be merged: {problem}" if problem else ""
            if other:
                return "yours stands" if other == path else f"you have {other}"
        if any(each.startswith(f"{path.casefold()}/") for each in self._known):
            return "you have a folder of this name"
        if path in OTHER_NAMES and (others := self.files.named(OTHER_NAMES[path])):
            return f"you have {others[0]}"
        return "git is told to ignore it" if path in ignored else ""

    @cached_property
    def _known(self) -> Mapping[str, str]:
        """Everything that the user has, by its path as file systems read it that ignore case."""
        return {path.casefold(): path for path in (*self.files.paths, *self.others)}

    def _unreadable(self, path: str) -> str:
        kind, text = keys.format_of(path) or "", self.files.text(path)
        if kind not in keys.WRITERS:
            return ""
        try:
            if text.strip():
                keys.parse(kind, text)
        except keys.UnreadableError as error:
            return str(error)
        return "it is not UTF-8" if "\ufffd" in text else ""

    def taken(self, path: str, file: RenderedFile, *, unite: bool) -> tuple[RenderedFile, dict[str, str]]:
        """What is taken of a file, and as FILE:KEY what is not, because the user has something else there.

        unite: whether lists of the user's may get more items.
        """
        kind = keys.format_of(path) or ""
        if path not in MERGED or kind not in keys.WRITERS:
            return file, {}
        text, mine = file.content.decode(), self.files.text(path)
        theirs, ours = keys.parse(kind, text), keys.parse(kind, mine) if mine.strip() else {}
        addition = _Addition(UNITED if unite else set(), self.asked if path == MANIFEST else {}, kind == "jsonc")
        wanted = addition.of(theirs, ours)
        if not keys.same(wanted, theirs):
            file = RenderedFile(keys.WRITERS[kind](text, "", theirs, wanted).encode(), file.executable)
        return file, {f"{path}:{key}": reason for key, reason in addition.standing.items()}

    @cached_property
    def asked(self) -> Mapping[str, str]:
        """The packages that the user's manifest asks for outside the group of tools, each with the place that does.

        Two requirements of one package may exclude each other, and then nothing could be locked.
        """
        project, tool = (_inner(self.manifest, name) for name in ("project", "tool"))
        poetry = _inner(tool, "poetry")
        places: dict[str, Any] = {"project.dependencies": project.get("dependencies")}
        for place, groups in (
            ("project.optional-dependencies", _inner(project, "optional-dependencies")),
            ("dependency-groups", _inner(self.manifest, "dependency-groups")),
            ("tool.pdm.dev-dependencies", _inner(tool, "pdm", "dev-dependencies")),
        ):
            places |= {f"{place}.{name}": group for name, group in groups.items() if f"{place}.{name}" != TOOLS}
        places["tool.uv.dev-dependencies"] = _inner(tool, "uv").get("dev-dependencies")
        for name in ("dependencies", "dev-dependencies"):
            places[f"tool.poetry.{name}"] = list(_inner(poetry, name))
        for name in _inner(poetry, "group"):
            places[f"tool.poetry.group.{name}.dependencies"] = list(_inner(poetry, "group", name, "dependencies"))
        return {
            canonicalize_name(package[0]): f"it is in your {place}"
            for place, items in places.items()
            for item in (items if isinstance(items, list) else [])
            if (package := re.match(r"[A-Za-z0-9._-]+", str(item)))
        }


def _has(content: Any, key: str) -> bool:
    for name in key.split("."):
        if not isinstance(content, dict) or name not in content:
            return False
        content = content[name]
    return True


def _inner(content: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """An inner table; an empty one where there is none."""
    for name in names:
        inner = content.get(name)
        content = inner if isinstance(inner, dict) else {}
    return dict(content)


@dataclass
class _Addition:
    """What a file of the template says that the user's does not speak of.

    united: the lists that may get more items. asked: packages that the user asks for elsewhere, and where.
    first: whether new items come first in a list, so that no line of the user's gets a comma.
    """

    united: Collection[str]
    asked: Mapping[str, str]
    first: bool
    standing: dict[str, str] = field(default_factory=dict)  # what is not taken, as `exclude` names it, and why

    def of(self, theirs: dict[str, Any], ours: Mapping[str, Any], path: str = "") -> dict[str, Any]:
        """The template's values without those that the user's file speaks of."""
        wanted: dict[str, Any] = {}
        for key, value in theirs.items():
            inner, mine = keys.name_of(path, key), ours.get(key, keys.MISSING)
            if isinstance(value, dict) and (mine is keys.MISSING or isinstance(mine, dict)):
                rest = self.of(value, {} if mine is keys.MISSING else mine, inner)
                if rest or not value:
                    wanted[key] = rest
            elif inner in UNITED and (mine is keys.MISSING or isinstance(mine, list)):
                if items := self._items(value, None if mine is keys.MISSING else mine, inner):
                    wanted[key] = items
            elif mine is keys.MISSING:
                wanted[key] = value
            elif not keys.same(mine, value):
                self.standing[inner] = "yours stands"
        return wanted

    def _items(self, theirs: list[Any], mine: list[Any] | None, path: str) -> list[Any]:
        """The items of the template's that the user does not name. None: the user has no such list."""
        named = {keys.item_name(item): item for item in mine or []}
        others: list[Any] = []
        for item in theirs:
            name = keys.item_name(item)
            asked = self.asked.get(name, "") if path == TOOLS else ""
            if name not in named and not asked:
                others.append(item)
            elif asked or not keys.same(named[name], item):
                self.standing[keys.name_of(path, item)] = asked or "yours stands"
        if not others or mine is None:
            return others
        if path not in self.united:
            self.standing[path] = f"yours stands, without {', '.join(map(keys.item_name, others))}"
            return []
        if self.first:
            return [*others, *mine[:1]]
        # Of mappings the order matters: the user's come first.
        return [*(item for item in mine if isinstance(item, dict)), *others]
