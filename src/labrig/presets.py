"""Presets: named sets of answers, built in, one's own, or an organization's, who may lock some of them."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .errors import PresetError, TemplateNotFoundError, TemplateUnreachableError, did_you_mean
from .report import Report
from .source import SHORTCUTS, open_repository

DEFAULT_NAME = "default"  # of a preset in an organization's repository, when the reference ends without #NAME
POLICY = "policy.toml"  # makes a repository of presets a policy; no preset itself


@dataclass(frozen=True)
class Preset:
    """Answers, and the names of those that nobody may change."""

    name: str
    about: str = ""
    answers: Mapping[str, object] = field(default_factory=dict)
    locked: frozenset[str] = frozenset()
    kind: str = "the preset"

    @property
    def title(self) -> str:
        """How it is called in a message."""
        return f"{self.kind} {self.name}"

    def over(self, base: Preset) -> Preset:
        """This preset on top of `base`: its answers win, except over those that `base` locks."""
        for question in sorted(base.locked & set(self.answers)):
            if self.answers[question] != base.answers[question]:
                raise PresetError(
                    f"the preset {self.name} changes {question}",
                    cause=f"the preset {base.name} locks it to {base.answers[question]}",
                )
        return Preset(self.name, self.about, {**base.answers, **self.answers}, base.locked | self.locked)


BUILT_IN = (
    Preset("recommended", "what labrig would choose: the default of every question"),
    Preset("jax", "JAX with Flax NNX", {"framework": "jax"}),
    Preset("tpu", "JAX on Google TPUs", {"framework": "jax", "accelerator": "tpu"}),
    Preset(
        "minimal",
        "the code and its tests: no type checker, CI, hooks, editor or agent files",
        {"type_checker": "none", "ci": "none", "hooks": False, "editor": "none", "agents": False},
    ),
)


def own_folder() -> Path:
    """Where a user's own presets lie."""
    configured = os.environ.get("XDG_CONFIG_HOME")
    return (Path(configured) if configured else Path.home() / ".config") / "labrig" / "presets"


def available() -> list[Preset]:
    """The built-in presets, then one's own."""
    own = [_read(path, ()) for path in sorted(own_folder().glob("*.toml"))]
    return [*BUILT_IN, *own]


def load(reference: str) -> Preset:
    """The preset that `reference` names: NAME, FILE.toml, FOLDER#NAME or GIT-URL#NAME."""
    return _load(reference, beside=own_folder(), seen=())


def combine(references: Iterable[str]) -> Preset:
    """Several presets as one; later ones win, except over locked answers."""
    result = Preset("")
    for reference in references:
        result = load(reference).over(result)
    return result


def save(name: str, answers: Mapping[str, object]) -> Path:
    """Keep `answers` as one's own preset `name`, in place of an older one of that name."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise PresetError(f"'{name}' cannot be the name of a preset", cause="letters, digits, '-' and '_' only")
    if name in {preset.name for preset in BUILT_IN}:
        raise PresetError(f"the preset {name} is built in", tip="choose another name")
    path = own_folder() / f"{name}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.part")
    temporary.write_text(to_toml(answers), encoding="utf-8")
    temporary.replace(path)
    return path


def to_toml(answers: Mapping[str, object]) -> str:
    """A preset file. A JSON value of the types that answers have is a TOML value too."""
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in answers.items()]
    return "\n".join(["[answers]", *lines, ""])


def _load(reference: str, *, beside: Path, seen: tuple[str, ...]) -> Preset:
    if reference in seen:
        raise PresetError(f"the preset {reference} extends itself", cause=" -> ".join([*seen, reference]))
    seen = (*seen, reference)
    named = {preset.name: preset for preset in BUILT_IN}
    own = beside / f"{reference}.toml"
    place, _, name = reference.partition("#")
    if reference in named:
        return named[reference]
    if re.fullmatch(r"[\w-]+", reference) and own.is_file():
        return _read(own, seen)
    if place.endswith(".toml") and not name:
        return _read(Path(place).expanduser(), seen)
    if _is_url(place):
        try:
            with open_repository(place) as folder:
                return _from_folder(folder, name or DEFAULT_NAME, reference, seen)
        except (TemplateUnreachableError, TemplateNotFoundError) as error:
            raise PresetError(f"the presets in {place} cannot be read", cause=error.cause) from None
    if name or Path(place).expanduser().is_dir():
        folder = Path(place).expanduser()
        if not folder.is_dir():
            raise PresetError(f"there is no folder {place}")
        return _from_folder(folder, name or DEFAULT_NAME, reference, seen)
    names = [*named, *sorted(path.stem for path in beside.glob("*.toml"))]
    raise PresetError(
        f"there is no preset '{reference}'" + did_you_mean(reference, names),
        cause=f"presets: {', '.join(names)}",
        tip="a file, a folder or a git repository: --preset FILE.toml, --preset URL#NAME",
    )


def _from_folder(folder: Path, name: str, reference: str, seen: tuple[str, ...]) -> Preset:
    path = folder / f"{name}.toml"
    if name == DEFAULT_NAME and not path.exists() and (folder / POLICY).is_file():
        return Preset(name)  # a policy need not have presets
    if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
        names = sorted(file.stem for file in folder.glob("*.toml") if file.name != POLICY)
        raise PresetError(
            f"there is no preset '{name}' in {reference.partition('#')[0]}" + did_you_mean(name, names),
            cause=f"it holds: {', '.join(names)}" if names else "it holds no *.toml",
        )
    return _read(path, seen)


def _read(path: Path, seen: tuple[str, ...]) -> Preset:
    """The preset in a TOML file, with what it extends."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PresetError(f"the preset {path} cannot be read", cause=str(error)) from error
    if unknown := sorted(set(content) - {"about", "extends", "locked", "answers"}):
        raise PresetError(
            f"the preset {path} holds '{unknown[0]}'",
            cause="it takes: about, extends, locked, and the table [answers]",
        )
    answers, locked = content.get("answers", {}), content.get("locked", [])
    if not isinstance(answers, dict) or not isinstance(locked, list) or not all(isinstance(n, str) for n in locked):
        raise PresetError(f"the preset {path} is malformed", cause="answers is a table, locked a list of names in it")
    preset = Preset(path.stem, str(content.get("about", "")), answers, frozenset(locked))
    if "extends" in content:
        preset = preset.over(_load(str(content["extends"]), beside=path.parent, seen=seen))
    if missing := sorted(preset.locked - set(preset.answers)):
        raise PresetError(f"the preset {path} locks {missing[0]} and does not answer it")
    return preset


def is_place(place: str) -> bool:
    """Whether a reference leads to a folder or a git repository, which may hold a policy."""
    return _is_url(place) or Path(place).expanduser().is_dir()


def _is_url(place: str) -> bool:
    return "://" in place or place.endswith(".git") or place.startswith((*SHORTCUTS, "git@"))


def list_presets(report: Report) -> None:
    """Every preset by its name."""
    if report.json:
        report.object({preset.name: _describe(preset) for preset in available()})
        return
    for preset in available():
        answers = " ".join(f"{name}={answer}" for name, answer in preset.answers.items())
        report.data(f"{preset.name:14} {preset.about or answers}")


def show_preset(reference: str, report: Report) -> None:
    """The answers of one preset, with those that it takes over from others."""
    preset = load(reference)
    if report.json:
        report.object(_describe(preset))
        return
    if preset.locked:
        report.data(f"locked = {json.dumps(sorted(preset.locked))}")
    report.data(to_toml(preset.answers).rstrip())


def _describe(preset: Preset) -> dict[str, object]:
    return {"about": preset.about, "answers": dict(preset.answers), "locked": sorted(preset.locked)}
