"""Copier itself, rendering into memory: the reference that labrig's renderer is compared with.

It is Copier's own `Worker`; only where it would repeat work or touch the disk is it replaced: the template is read and
its Jinja texts are compiled once for all renders, and files are collected instead of written.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import jinja2
from copier._jinja_ext import SandboxedEnvironment
from copier._main import Worker
from copier._settings import SettingsModel
from copier._template import Template
from copier._user_data import CAST_STR_TO_NATIVE

from labrig.render import Answers, RenderedFile

# The catalogue is parsed from the same text in every render.
CAST_STR_TO_NATIVE["yaml"] = lru_cache(CAST_STR_TO_NATIVE["yaml"])  # type: ignore[index]


class Reference:
    """One template on disk (a plain folder, without git), as Copier sees it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.template = Template(url=str(root))
        self.environment: SandboxedEnvironment | None = None

    def copy(
        self, answers: Mapping[str, object], folder_name: str
    ) -> tuple[dict[str, RenderedFile], set[str], dict[str, Any]]:
        """What `copier copy --defaults` makes of `answers`: the files, the folders, and the value of every question."""
        worker = MemoryWorker(
            src_path=str(self.root),
            dst_path=Path("/nonexistent") / folder_name,
            data=dict(answers),
            defaults=True,
            quiet=True,
            settings=SettingsModel(),
        )
        worker.__dict__["reference"] = self
        worker.__dict__["files"] = {}
        worker.__dict__["folders"] = set()
        worker.run_copy()
        values = {name: worker.answers.combined[name] for name in self.template.questions_data}
        return worker.__dict__["files"], worker.__dict__["folders"], values


class MemoryWorker(Worker):
    """A Copier worker for one render."""

    @cached_property
    def template(self) -> Template:
        """The template, read once."""
        reference: Reference = self.__dict__["reference"]
        return reference.template

    @cached_property
    def jinja_env(self) -> SandboxedEnvironment:
        """Copier's own environment, which then compiles each text once."""
        reference: Reference = self.__dict__["reference"]
        if reference.environment is None:
            environment: Any = super().jinja_env
            environment.auto_reload = False
            compiled: dict[str, jinja2.Template] = {}
            compile_text = environment.from_string

            def from_string(source: object) -> jinja2.Template:
                if not isinstance(source, str):
                    raise TypeError(source)  # which Copier takes for: not a template
                if source not in compiled:
                    compiled[source] = compile_text(source)
                return compiled[source]

            environment.from_string = from_string
            reference.environment = environment
        return reference.environment

    @cached_property
    def answers_relpath(self) -> Path:
        """Copier renders this constant for every path part."""
        return Path(".copier-answers.yml")

    def _render_file(self, src_relpath: Path, dst_relpath: Path, extra_context: dict[str, Any] | None = None) -> None:
        source = self.template.local_abspath / src_relpath
        if src_relpath.name.endswith(self.template.templates_suffix):
            text = self.jinja_env.get_template(src_relpath.as_posix())
            content = text.render(**self._render_context(), **(extra_context or {})).encode()
        else:
            content = source.read_bytes()
        executable = bool(source.stat().st_mode & 0o100)
        self.__dict__["files"][dst_relpath.as_posix()] = RenderedFile(content, executable)

    def _render_folder(self, dst_relpath: Path) -> None:
        self.__dict__["folders"].add(dst_relpath.as_posix())


def differences(ours: dict[str, RenderedFile], theirs: dict[str, RenderedFile]) -> list[str]:
    """The paths that two renders do not have in common, in name, bytes or mode."""
    return [path for path in sorted(ours.keys() | theirs.keys()) if ours.get(path) != theirs.get(path)]


def differing_values(ours: Answers, theirs: Mapping[str, Any]) -> list[str]:
    """The questions, hidden ones included, that got another value or another type of value."""
    return [
        name
        for name in sorted(set(ours) | set(theirs))
        if name not in ours
        or name not in theirs
        or (type(ours[name]), ours[name]) != (type(theirs[name]), theirs[name])
    ]
