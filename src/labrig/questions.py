"""The settings and the questions of a template, as its copier.yml states them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from .errors import AnswerError, TemplateError, UnknownChoiceError, did_you_mean

SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster where libyaml is there
BaseLoader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)

TYPES = ("str", "bool", "int", "float", "yaml", "json")
SETTINGS = {"_subdirectory", "_exclude", "_envops"}
# These change what Copier says or does around an existing project, never what a template renders to.
SETTINGS_WITHOUT_EFFECT = {
    "_min_copier_version",
    "_skip_if_exists",
    "_message_before_copy",
    "_message_after_copy",
    "_message_before_update",
    "_message_after_update",
}
FIELDS = {"type", "help", "choices", "multiselect", "default", "validator", "when", "ask", "placeholder"}

MISSING = object()


@dataclass(frozen=True)
class Choice:
    """One value that a question offers. Every text may be a Jinja template."""

    label: str
    value: object
    validator: str = ""


@dataclass(frozen=True)
class Question:
    """One question, or a hidden value that is computed from earlier answers. Every text may be a Jinja template."""

    name: str
    type: str
    help: str
    default: object
    choices: tuple[Choice, ...]
    many: bool
    validator: str
    when: bool | str
    ask: bool | str

    @property
    def hidden(self) -> bool:
        """Nobody may answer it: it is computed."""
        return self.when is False

    def parse(self, answer: object) -> object:
        """The answer in the question's type, as Copier casts it. For a question of many, a list."""
        if not self.many:
            return self._cast(answer)
        if isinstance(answer, str):
            answer = parse_yaml(answer, BaseLoader)  # items stay texts until each is cast
        if not isinstance(answer, list | tuple):
            raise AnswerError(self.name, f"{self.name} takes a list, not {answer!r}")
        return [self._cast(item) for item in answer]

    def _cast(self, answer: object) -> object:
        try:
            return _cast(self.type, answer)
        except ValueError as error:
            message = f"{self.name} cannot be {_show(answer)}"
            raise AnswerError(self.name, message, cause=str(error) or f"it takes a value of type {self.type}") from None

    def unknown(self, answer: object, values: list[object]) -> UnknownChoiceError:
        """The error for an answer that is none of the choices, which are `values`."""
        words = [_word(value) for value in values]
        return UnknownChoiceError(
            self.name,
            f"{self.name} cannot be {_show(answer)}" + did_you_mean(_word(answer), words),
            cause=f"it takes one of: {', '.join(words)}",
        )


def _word(value: object) -> str:
    """A value as it is written on a command line."""
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _show(value: object) -> str:
    return f"'{value}'" if isinstance(value, str) and value.isprintable() else repr(value)


def _cast(kind: str, answer: object) -> object:
    """`answer` as `kind`; ValueError when it is not one."""
    if kind in {"yaml", "json"}:
        if not isinstance(answer, str):
            return answer
        try:
            return parse_yaml(answer, SafeLoader) if kind == "yaml" else json.loads(answer)
        except (yaml.YAMLError, ValueError) as error:
            raise ValueError(f"it is not {kind.upper()}: {str(error).splitlines()[0]}") from None
    if kind == "bool":
        return parse_bool(answer)
    if kind == "str":
        if isinstance(answer, str):
            if not _is_unicode(answer):
                raise ValueError("it is not Unicode text")
            return answer
        if isinstance(answer, int | float):
            return str(answer)
        raise ValueError("it takes text")
    if not isinstance(answer, str | int | float):
        raise ValueError("it takes a number")  # noqa: TRY004 - a user's mistake
    try:
        return int(answer) if kind == "int" else float(answer)
    except (ValueError, OverflowError):
        raise ValueError("it takes a whole number" if kind == "int" else "it takes a number") from None


def parse_bool(answer: object) -> bool:
    """Yes or no, in any of the usual spellings. Copier takes every other word for yes; here it is an error."""
    word = str(answer).strip().lower()
    if word in {"y", "yes", "t", "true", "on", "1"}:
        return True
    if word in {"", "n", "no", "f", "false", "off", "0", "~", "null", "none"}:
        return False
    raise ValueError("it takes yes or no")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@lru_cache(maxsize=4096)
def parse_yaml(text: str, loader: Any = SafeLoader) -> object:
    """Parsed once per text: the catalogue is the same in every render. Templates cannot change what they are given."""
    return yaml.load(text, Loader=loader)  # noqa: S506 - only the two safe loaders above come here


def read_configuration(root: Path) -> tuple[dict[str, Any], dict[str, Question]]:
    """The settings and the questions of the template in `root`, both in the order they are written."""
    path = root / "copier.yml"
    settings: dict[str, Any] = {}
    questions: dict[str, Question] = {}
    for document in _documents(path, root):
        for name, value in document.items():
            if name in settings or name in questions:
                raise TemplateError(f"{path} defines {name} twice")
            if not name.startswith("_"):
                questions[name] = _question(name, value)
            elif name in SETTINGS:
                settings[name] = value
            elif name not in SETTINGS_WITHOUT_EFFECT:
                raise TemplateError(
                    f"{path} has the setting {name}, which labrig does not run",
                    cause="tasks, migrations and extensions are code of the template on the user's machine",
                    tip="a template like this can be used with Copier itself: copier copy --trust",
                )
    return settings, questions


def _documents(path: Path, root: Path) -> Iterator[dict[str, Any]]:
    """Every mapping in a YAML file of several documents, where a document may be `!include FILE`."""

    class Loader(SafeLoader):  # type: ignore[misc]
        """A loader of its own, so that `!include` stays here."""

    def include(loader: Any, node: yaml.Node) -> list[dict[str, Any]]:
        name = str(loader.construct_scalar(node))
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or any(c in name for c in "*?["):
            raise TemplateError(f"{path} includes {name}, which is not the path of one file in the template")
        return list(_documents(root / name, root))

    Loader.add_constructor("!include", include)
    try:
        if not path.resolve().is_relative_to(root.resolve()):
            raise TemplateError(f"{path} leads out of the template")
        text = path.read_text(encoding="utf-8")
        documents = list(yaml.load_all(text, Loader=Loader))
    except FileNotFoundError as error:
        raise TemplateError(f"there is no file {path}", tip="a template has a copier.yml in its root") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise TemplateError(f"{path} cannot be read", cause=str(error)) from error
    for document in documents:
        for mapping in document if isinstance(document, list) else [document]:
            if mapping is None:
                continue
            if not isinstance(mapping, dict) or not all(isinstance(name, str) for name in mapping):
                raise TemplateError(f"{path} holds something else than settings and questions")
            yield mapping


def _question(name: str, value: object) -> Question:
    fields: Mapping[str, Any] = value if isinstance(value, dict) else {"default": value}
    if unknown := sorted(set(fields) - FIELDS):
        raise TemplateError(f"the question {name} has the field {unknown[0]}, which labrig does not know")
    default = fields.get("default", MISSING)
    kind = fields.get("type") or (type(default).__name__ if type(default).__name__ in TYPES else "yaml")
    if kind not in TYPES:
        raise TemplateError(f"the question {name} has the type {kind}, which labrig does not know")
    choices = fields.get("choices") or ()
    if isinstance(choices, str):
        raise TemplateError(f"the choices of the question {name} are a Jinja template; write them out")
    pairs = choices.items() if isinstance(choices, dict) else [c if isinstance(c, list) else (c, c) for c in choices]
    return Question(
        name=name,
        type=kind,
        help=str(fields.get("help", "")),
        default=default,
        choices=tuple(_choice(name, label, choice) for label, choice in pairs),
        many=bool(fields.get("multiselect", False)),
        validator=str(fields.get("validator", "")),
        when=fields.get("when", True),
        ask=fields.get("ask", True),
    )


def _choice(name: str, label: object, choice: object) -> Choice:
    if not isinstance(choice, dict):
        return Choice(str(label), choice)
    if set(choice) - {"value", "validator"} or "value" not in choice:
        raise TemplateError(f"the choice '{label}' of the question {name} needs a value, and may have a validator")
    return Choice(str(label), choice["value"], str(choice.get("validator", "")))
