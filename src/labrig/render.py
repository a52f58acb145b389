"""Renders a template in memory exactly as `copier copy` renders it on disk, in a hundredth of the time."""

from __future__ import annotations

import re
import stat
import traceback
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined
from jinja2 import Template as JinjaTemplate
from jinja2 import TemplateError as JinjaError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from .errors import (
    AnswerError,
    ForbiddenChoiceError,
    MissingAnswerError,
    TemplateError,
    UnaskedQuestionError,
    UnknownQuestionError,
    did_you_mean,
)
from .questions import MISSING, Choice, Question, parse_bool, parse_yaml, read_configuration

SUFFIX = ".jinja"
ANSWERS_FILE = ".copier-answers.yml"
NAME = re.compile(r"\{\{ (\w+) \}\}")
ENVIRONMENT = {"undefined", "keep_trailing_newline", "trim_blocks", "lstrip_blocks"}


@dataclass(frozen=True)
class RenderedFile:
    """One file of a generated repository."""

    content: bytes
    executable: bool


@dataclass(frozen=True)
class Answers(Mapping[str, object]):
    """The value of every question of a template, hidden ones included."""

    values_by_name: Mapping[str, object]
    recorded: Mapping[str, object]  # those a person may give: what the answers file keeps
    folder_name: str

    def __getitem__(self, name: str) -> object:
        return self.values_by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_by_name)

    def __len__(self) -> int:
        return len(self.values_by_name)


@dataclass(frozen=True)
class Offer:
    """What can be answered to one question after the earlier answers: shown by the questionnaire."""

    question: Question
    applies: bool
    asked: bool
    default: object
    choices: tuple[tuple[str, object, str], ...]  # label, value, and the reason why it cannot be chosen, or ""


class Template:
    """A template on disk, read once; it renders any number of answers."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        settings, self._all_questions = read_configuration(self.root)
        self.questions = {name: question for name, question in self._all_questions.items() if not question.hidden}
        self._folder = self.root / _subdirectory(settings)
        patterns = [str(pattern) for pattern in settings.get("_exclude", [])]
        self._excluded = [_name_pattern(pattern) for pattern in patterns if "{" not in pattern]
        self._excluded_by_answers = [pattern for pattern in patterns if "{" in pattern]
        self._environment = _environment(self.root, settings.get("_envops", {}))
        self._compiled: dict[str, JinjaTemplate] = {}

    @cached_property
    def catalogue(self) -> Mapping[str, Any]:
        """What stack.yml in the root holds; nothing when the template has none."""
        path = self.root / "stack.yml"
        content = parse_yaml(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return content if isinstance(content, dict) else {}

    # One question and one file at a time, for factors.py

    @property
    def all_questions(self) -> Mapping[str, Question]:
        """Every question in the order it is asked, with the hidden values between them."""
        return self._all_questions

    @property
    def environment(self) -> Environment:
        """What compiles every text of the template."""
        return self._environment

    def applies(self, question: Question, context: dict[str, Any]) -> bool:
        """Whether the question is asked after the answers in `context`."""
        return self._holds(question, "when", context)

    def take(self, question: Question, answer: object, context: dict[str, Any]) -> object:
        """`answer` as the question takes it after the answers in `context`; AnswerError when it cannot be taken."""
        return self._accept(question, answer, context)

    def suggested(self, question: Question, context: dict[str, Any]) -> object:
        """What the question is answered with when nobody answers it, or MISSING; AnswerError when it refuses that."""
        return self._default(question, context, {}, applies=True)

    def computed(self, question: Question, context: dict[str, Any]) -> object:
        """What a question that nobody is asked is worth after the answers in `context`, or MISSING."""
        return self._default(question, context, {}, applies=False)

    def path(self, source: Source, rendered: dict[str, str]) -> str | None:
        """Where the file goes when the parts of its path render so; None when it is left out."""
        return self._path(source, {}, rendered)

    # Answers

    def resolve(
        self, given: Mapping[str, object], *, folder_name: str, preferred: Mapping[str, object] | None = None
    ) -> Answers:
        """Every answer that follows from those `given`, as `copier copy --defaults --data ...` takes them.

        `preferred` are better defaults (what this machine has, or what an older version recorded): each is taken where
        it can be, and left out where it cannot. An answer that is `given` and cannot be taken is an error.
        """
        for name in given:
            if name not in self.questions:
                raise UnknownQuestionError(
                    name,
                    f"there is no question '{name}'" + did_you_mean(name, self.questions),
                    tip="every question: labrig questions",
                )
        context = self._start(folder_name, preferred or {})
        values: dict[str, object] = {}
        recorded: dict[str, object] = {}
        for question in self._all_questions.values():
            name = question.name
            applies = self._holds(question, "when", context)
            if not applies and name in given:
                raise UnaskedQuestionError(name, f"{name} cannot be answered after the other answers")
            if name in given:
                value = self._accept(question, given[name], context)
            else:
                value = self._default(question, context, preferred or {}, applies=applies)
                if value is MISSING and applies and self._holds(question, "ask", context):
                    raise MissingAnswerError(name, f"{name} has no default, so it must be answered")
            if value is MISSING:
                continue
            context[name] = values[name] = value
            if applies:
                recorded[name] = value
        return Answers(values, recorded, folder_name)

    def offer(
        self,
        name: str,
        given: Mapping[str, object],
        *,
        folder_name: str,
        preferred: Mapping[str, object] | None = None,
    ) -> Offer:
        """What the question `name` can be answered with, after those of `given` that come before it."""
        question = self.questions[name]
        context = self._before(question, given, folder_name, preferred or {})
        applies = self._holds(question, "when", context)
        try:
            default = self._default(question, context, preferred or {}, applies=applies)
        except AnswerError:
            default = MISSING  # for example the name of this folder cannot be the project's name
        asked = applies and self._holds(question, "ask", context)
        return Offer(question, applies, asked, default, tuple(self._choices(question, context)))

    def why_not(self, name: str, value: object, given: Mapping[str, object], *, folder_name: str) -> str:
        """Why `value` cannot answer the question `name` after the earlier answers, as a sentence; "" when it can."""
        offer = self.offer(name, given, folder_name=folder_name)
        return next((reason for _, choice, reason in offer.choices if choice == value), "")

    def accept(
        self,
        name: str,
        answer: object,
        given: Mapping[str, object],
        *,
        folder_name: str,
        preferred: Mapping[str, object] | None = None,
    ) -> object:
        """`answer` as the question `name` takes it after the earlier answers; AnswerError when it cannot be taken."""
        question = self.questions[name]
        return self._accept(question, answer, self._before(question, given, folder_name, preferred or {}))

    def _before(
        self, last: Question, given: Mapping[str, object], folder_name: str, preferred: Mapping[str, object]
    ) -> dict[str, Any]:
        """The context of the question `last`."""
        context = self._start(folder_name, preferred)
        for question in self._all_questions.values():
            if question is last:
                break
            applies = self._holds(question, "when", context)
            if applies and question.name in given:
                value = self._accept(question, given[question.name], context)
            else:
                value = self._default(question, context, preferred, applies=applies)
            if value is not MISSING:
                context[question.name] = value
        return context

    def _start(self, folder_name: str, preferred: Mapping[str, object]) -> dict[str, Any]:
        """The context of the first question. Preferred names that are no questions stay visible to renamed ones."""
        former = {name: value for name, value in preferred.items() if name not in self._all_questions}
        return {
            **former,
            "_folder_name": folder_name,
            "_copier_conf": {"answers_file": ANSWERS_FILE, "vcs_ref_hash": None},
        }

    def _holds(self, question: Question, field: str, context: Mapping[str, Any]) -> bool:
        condition = getattr(question, field)
        if isinstance(condition, bool):
            return condition
        try:
            return parse_bool(self._text(condition, context, f"`{field}` of the question {question.name}"))
        except ValueError as error:
            raise TemplateError(f"`{field}` of the question {question.name} is not yes or no: {error}") from error

    def _default(
        self, question: Question, context: dict[str, Any], preferred: Mapping[str, object], *, applies: bool
    ) -> object:
        """What the question is answered with when nobody answers it; MISSING when there is nothing."""
        if applies and question.name in preferred:
            try:
                return self._accept(question, preferred[question.name], context)
            except AnswerError:
                pass  # `preferred` is a wish: the template's own default follows
        if question.default is MISSING:
            return MISSING
        value = self._value(question.default, context, f"the default of the question {question.name}")
        if applies:
            return self._accept(question, value, context)
        try:
            return self._among_choices(question, question.parse(value), context)
        except AnswerError as error:
            raise TemplateError(f"the hidden value {question.name} is wrong", cause=error.message) from error

    def _accept(self, question: Question, answer: object, context: dict[str, Any]) -> object:
        value = self._among_choices(question, question.parse(answer), context)
        if question.validator:
            where = f"the validator of the question {question.name}"
            reason = self._text(question.validator, {**context, question.name: value}, where).strip()
            if reason:
                raise AnswerError(question.name, f"{question.name} cannot be {value!r}", cause=reason)
        return value

    def _among_choices(self, question: Question, value: object, context: dict[str, Any]) -> object:
        """`value` when the choices hold it; many of them in the order of the choices, as Copier puts them."""
        if not question.choices:
            return value
        wanted = value if isinstance(value, list) else [value]
        offered = [(choice, self._choice_value(question, choice, context)) for choice in question.choices]
        for item in wanted:
            matching = [choice for choice, choice_value in offered if choice_value == item]
            if not matching:
                raise question.unknown(item, [choice_value for _, choice_value in offered])
            reasons = [self._reason(question, choice, context) for choice in matching]
            if all(reasons):
                raise ForbiddenChoiceError(question.name, f"{question.name} cannot be '{item}' here", cause=reasons[0])
        if not question.many:
            return value
        return [choice_value for _, choice_value in offered if choice_value in wanted]

    def _choices(self, question: Question, context: dict[str, Any]) -> Iterator[tuple[str, object, str]]:
        for choice in question.choices:
            label = self._text(choice.label, context, f"a choice of the question {question.name}")
            yield label, self._choice_value(question, choice, context), self._reason(question, choice, context)

    def _choice_value(self, question: Question, choice: Choice, context: dict[str, Any]) -> object:
        value = self._value(choice.value, context, f"a choice of the question {question.name}")
        return question.parse([value])[0] if question.many else question.parse(value)  # type: ignore[index]

    def _reason(self, question: Question, choice: Choice, context: dict[str, Any]) -> str:
        return self._text(choice.validator, context, f"a choice of the question {question.name}")

    # Files

    def render(
        self,
        answers: Answers,
        *,
        src_path: str | None = None,
        commit: str | None = None,
        commit_hash: str | None = None,
    ) -> dict[str, RenderedFile]:
        """Every file of the repository, by its path in it."""
        metadata = {"_commit": commit, "_src_path": src_path}
        metadata = {name: value for name, value in metadata.items() if value is not None}
        context = {
            **metadata,
            **answers.values_by_name,
            "_copier_answers": {**metadata, **answers.recorded},
            "_copier_conf": {"answers_file": ANSWERS_FILE, "vcs_ref_hash": commit_hash},
            "_folder_name": answers.folder_name,
        }
        try:
            return self._render(context)
        except TemplateError as error:
            error.tip = "the answers were: " + " ".join(f"{name}={value}" for name, value in answers.recorded.items())
            raise

    def _render(self, context: dict[str, Any]) -> dict[str, RenderedFile]:
        files: dict[str, RenderedFile] = {}
        owners: dict[str, str] = {}
        parts: dict[str, str] = {}
        excluded = tuple(self._excluded_paths(context))
        for source in self.sources:
            path = self._path(source, context, parts)
            if path is None or f"{path}/".startswith(excluded):
                continue
            if path in files:
                raise TemplateError(f"{owners[path]} and {source.name} both write {path}")
            owners[path] = source.name
            files[path] = RenderedFile(self._content(source, context), source.executable)
        return dict(sorted(files.items()))

    @cached_property
    def sources(self) -> list[Source]:
        """Every file of the template that may be rendered, in the order of their names."""
        sources: list[Source] = []
        for path in sorted(self._walk(self._folder)):
            mode = path.lstat().st_mode
            name = path.relative_to(self.root).as_posix()
            if not stat.S_ISREG(mode):
                raise TemplateError(f"{name} is not a regular file", cause="a link could lead out of the template")
            parts = path.relative_to(self._folder).parts
            if parts[-1].endswith(SUFFIX):
                source = Source(name, (*parts[:-1], parts[-1].removesuffix(SUFFIX)), True, bool(mode & 0o100))
            elif path.with_name(path.name + SUFFIX).exists():
                continue  # Copier renders the sibling with the suffix instead
            else:
                source = Source(name, parts, False, bool(mode & 0o100))
            sources.append(source)
        return sources

    def _walk(self, folder: Path) -> Iterator[Path]:
        for path in folder.iterdir():
            if self._is_excluded(path.name.removesuffix(SUFFIX)):
                continue
            if path.is_dir() and not path.is_symlink():
                yield from self._walk(path)
            else:
                yield path

    def _is_excluded(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self._excluded)

    def _excluded_paths(self, context: dict[str, Any]) -> Iterator[str]:
        """The files and folders that the answers leave out, each with a slash at its end."""
        for pattern in self._excluded_by_answers:
            for line in self._text(pattern, context, "`_exclude`").split("\n"):
                if re.fullmatch(r"/[\w./:-]+", line, re.ASCII):
                    yield f"{line[1:]}/"
                elif line:
                    raise TemplateError(f"copier.yml excludes '{line}', and labrig knows paths from the root only")

    def _path(self, source: Source, context: dict[str, Any], rendered: dict[str, str]) -> str | None:
        """Where the file goes, or None when one of its folders is off. `rendered` remembers parts of other paths."""
        parts: list[str] = []
        for part in source.parts:
            if part not in rendered:
                rendered[part] = self._text(part, context, f"the path {source.name}")
            if not rendered[part]:
                return None
            parts += [piece for piece in rendered[part].split("/") if piece != "."]
            if rendered[part].startswith("/"):
                raise TemplateError(f"{source.name} would be written to the absolute path {rendered[part]}")
        path = "/".join(parts)
        if any(self._is_excluded(part) for part in parts):
            return None
        if reason := why_unsafe(path):
            raise TemplateError(f"{source.name} would be written to '{path}', which {reason}")
        if parts[-1] == ANSWERS_FILE and len(parts) > 1:
            raise TemplateError(f"{source.name} would be written to {path}: the answers file belongs in the root")
        if not source.templated and self._has_template(path):
            raise TemplateError(f"{source.name} is left out by Copier, because there is {path}{SUFFIX} in the root")
        return path

    def _has_template(self, path: str) -> bool:
        """Copier leaves out a file when the root of the template holds a template of the same name."""
        known = self._templates_in_root
        if path not in known:
            known[path] = (self.root / (path + SUFFIX)).exists()
        return known[path]

    @cached_property
    def _templates_in_root(self) -> dict[str, bool]:
        return {}

    def _content(self, source: Source, context: dict[str, Any]) -> bytes:
        if not source.templated:
            return self._read(source.name)
        try:
            return self._environment.get_template(source.name).render(context).encode()
        except (JinjaError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
            raise template_error(error, source.name, self.root) from error

    def _read(self, name: str) -> bytes:
        known = self._verbatim
        if name not in known:
            known[name] = (self.root / name).read_bytes()
        return known[name]

    @cached_property
    def _verbatim(self) -> dict[str, bytes]:
        return {}

    # Jinja

    def _value(self, value: object, context: Mapping[str, Any], where: str) -> object:
        """Texts are templates, in lists too; everything else stands for itself."""
        if isinstance(value, list):
            return [self._value(item, context, where) for item in value]
        return self._text(value, context, where) if isinstance(value, str) else value

    def _text(self, text: str, context: Mapping[str, Any], where: str) -> str:
        if "{" not in text:
            return text
        if (name := NAME.fullmatch(text)) and name[1] in context:  # most folders of a template: no need to compile
            return str(context[name[1]])
        try:
            if text not in self._compiled:
                self._compiled[text] = self._environment.from_string(text)
            return self._compiled[text].render(context)
        except (JinjaError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
            raise template_error(error, where, self.root) from error


class Layer(Template):
    """An organization's own folder, laid out like a template's: rendered with the template's answers and includes.

    No answer leaves out a file of it.
    """

    def __init__(self, template: Template, root: Path, folder: str) -> None:
        self.root = root.resolve()
        self.questions = template.questions
        self._all_questions = template._all_questions
        self._folder = self.root / folder
        self._excluded = template._excluded
        self._excluded_by_answers = []
        loaders = [_Loader(self.root), _Loader(template.root)]
        self._environment = template._environment.overlay(loader=ChoiceLoader(loaders))
        self._compiled = {}


@dataclass(frozen=True)
class Source:
    """One file of the template."""

    name: str  # from the root of the template
    parts: tuple[str, ...]  # of the path that it is written to, each a Jinja template
    templated: bool
    executable: bool


class _Loader(FileSystemLoader):
    """Finds includes in the template and nowhere else, whatever links it holds."""

    def get_source(self, environment: Environment, template: str) -> Any:
        source = super().get_source(environment, template)
        if not Path(source[1]).resolve().is_relative_to(self.searchpath[0]):
            raise TemplateError(f"{template} leads out of the template")
        return source


def _environment(root: Path, settings: Mapping[str, Any]) -> Environment:
    if unknown := sorted(set(settings) - ENVIRONMENT):
        raise TemplateError(f"copier.yml has the setting {unknown[0]} in _envops, which labrig does not know")
    if settings.get("undefined") != "jinja2.StrictUndefined":
        raise TemplateError(
            "copier.yml does not ask for strict names",
            cause="without them a misspelt name renders to nothing",
            tip="in copier.yml: _envops: {undefined: jinja2.StrictUndefined}",
        )
    environment = ImmutableSandboxedEnvironment(
        loader=_Loader(root),
        undefined=StrictUndefined,
        keep_trailing_newline=bool(settings.get("keep_trailing_newline", True)),
        trim_blocks=bool(settings.get("trim_blocks", False)),
        lstrip_blocks=bool(settings.get("lstrip_blocks", False)),
        auto_reload=False,
        cache_size=-1,
    )
    del environment.filters["random"], environment.globals["lipsum"]  # the same answers give the same files
    return environment


def _subdirectory(settings: Mapping[str, Any]) -> str:
    name = str(settings.get("_subdirectory", ""))
    if not name or "{" in name or name.startswith("/") or ".." in PurePosixPath(name).parts:
        raise TemplateError(
            f"copier.yml has the _subdirectory '{name}'",
            cause="the files of a template stand in a folder of their own, so that its tests and its history stay out",
            tip="in copier.yml: _subdirectory: template",
        )
    return name


def _name_pattern(pattern: str) -> str:
    """An entry of `_exclude` as a pattern for one name; of what .gitignore can say, only that is supported."""
    name = pattern.removeprefix("**/")
    if not name or any(character in name for character in "/[]\\!#"):
        raise TemplateError(f"copier.yml excludes '{pattern}', and labrig knows patterns for single names only")
    return name


def why_unsafe(path: str) -> str:
    """Why a generated repository must not have this path, as the end of a sentence; "" when it may."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts:
        return "lies outside the repository"
    for part in parts:
        if "\\" in part or any(unicodedata.category(character) == "Cc" for character in part):
            return "holds a backslash or a control character"
        # File systems that ignore case, Unicode forms, invisible characters or trailing dots would write into .git.
        visible = "".join(character for character in part if unicodedata.category(character) != "Cf")
        folded = unicodedata.normalize("NFKC", visible).casefold().rstrip(". ").strip()
        if folded in {".git", "git~1"}:
            return "is git's own folder"
    return ""


def template_error(error: Exception, where: str, root: Path) -> TemplateError:
    """What is wrong in the template, at the line of its own file."""
    line = getattr(error, "lineno", None)
    name = getattr(error, "filename", None) or getattr(error, "name", None)
    if line is None:
        for frame in traceback.extract_tb(error.__traceback__):
            if frame.filename == "<template>" or Path(frame.filename).is_relative_to(root):
                line, name = frame.lineno, frame.filename
    if isinstance(name, str) and Path(name).is_relative_to(root):
        where = f"{Path(name).relative_to(root).as_posix()}:{line}"
    elif line is not None:
        where = f"{where}, line {line}"
    return TemplateError(f"{where} could not be rendered", cause=f"{type(error).__name__}: {error}")
