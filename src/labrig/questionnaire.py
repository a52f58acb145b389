"""The questionnaire: brings together what was answered in advance, and asks for the rest."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from .errors import AnswerError, AnswersFileError, ForbiddenChoiceError, LockedAnswerError, UsageError, did_you_mean
from . import presets
from .presets import Preset
from .report import BOLD

if TYPE_CHECKING:
    from .questions import Question
    from .render import Answers, Template
    from .report import Report

VARIABLE = "LABRIG_"
OTHER_VARIABLES = {"LABRIG_TEMPLATE", "LABRIG_PRESET"}
RECOMMENDED, EACH = "recommended", "each"
CREATE = "create"
OF_ONE_PROJECT = {"project_name", "package", "description", "repository"}


@dataclass
class Given:
    """Answers that nobody needs to be asked for: each with the place it comes from, for messages."""

    answers: dict[str, object] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    locked: Mapping[str, object] = field(default_factory=dict)
    locked_by: str = ""

    def add(self, answers: Mapping[str, object], origin: str) -> None:
        """Put `answers` on top of what there is. `origin` is empty for the command line itself."""
        self.answers.update(answers)
        self.origins.update(dict.fromkeys(answers, origin))

    def lock(self, preset: Preset) -> None:
        """Hold the locked answers of `preset` against everything added later."""
        self.locked = {name: preset.answers[name] for name in preset.locked}
        self.locked_by = preset.name


def gather(
    template: Template,
    *,
    preset: Preset,
    answers_file: Path | None,
    environment: Mapping[str, str],
    settings: Iterable[str],
    flags: Mapping[str, str],
) -> Given:
    """What was answered in advance; each level wins over those before it."""
    given = Given()
    given.add(preset.answers, f"the preset {preset.name}")
    given.lock(preset)
    if answers_file is not None:
        given.add(read_answers(answers_file, template), str(answers_file))
    for name, answer in environment_answers(template, environment).items():
        given.add({name: answer}, VARIABLE + name.upper())
    given.add(_from_texts(template, {**parse_settings(settings), **flags}), "")
    return given


def environment_answers(template: Template, environment: Mapping[str, str]) -> dict[str, object]:
    """The answers in variables like LABRIG_FRAMEWORK."""
    texts = {
        name: environment[VARIABLE + name.upper()] for name in template.questions if VARIABLE + name.upper() in environment
    }
    return _from_texts(template, texts)


def unused_variables(template: Template, environment: Mapping[str, str]) -> list[str]:
    """Variables that look like answers and answer no question, each as a sentence."""
    known = {VARIABLE + name.upper() for name in template.questions} | OTHER_VARIABLES
    return [
        f"{name} answers no question" + did_you_mean(name, known)
        for name in sorted(environment)
        if name.startswith(VARIABLE) and name not in known
    ]


def parse_settings(settings: Iterable[str]) -> dict[str, str]:
    """What `--set KEY=VALUE` holds."""
    texts: dict[str, str] = {}
    for setting in settings:
        name, separator, text = setting.partition("=")
        if not separator:
            raise UsageError(f"--set takes KEY=VALUE, not '{setting}'", tip="for example: --set framework=jax")
        texts[name.strip().replace("-", "_")] = text
    return texts


def _from_texts(template: Template, texts: Mapping[str, str]) -> dict[str, object]:
    """Answers as they are typed: a list is separated by commas."""
    answers: dict[str, object] = {}
    for name, text in texts.items():
        question = template.questions.get(name)
        many = question is not None and question.many
        answers[name] = [item.strip() for item in text.split(",") if item.strip()] if many else text
    return answers


def to_text(answer: object) -> str:
    """An answer as it is typed."""
    if isinstance(answer, bool):
        return "yes" if answer else "no"
    if isinstance(answer, list):
        return ",".join(to_text(item) for item in answer)
    return str(answer)


def read_answers(path: Path, template: Template) -> dict[str, object]:
    """The answers in a YAML file, or in the answers file of a generated repository (or its folder)."""
    if path.is_dir():
        path /= ".copier-answers.yml"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        cause = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        raise AnswersFileError(f"{path} cannot be read", cause=cause, tip="--answers takes a YAML file") from error
    if content is None:
        content = {}
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise AnswersFileError(f"{path} does not hold answers", cause="each line is 'question: answer'")
    answers = {name: answer for name, answer in content.items() if not name.startswith("_")}
    for name in answers:
        if name not in template.questions:
            raise AnswersFileError(
                f"{path} answers '{name}', which is no question" + did_you_mean(name, template.questions),
                tip="every question: labrig questions",
            )
    return answers


def resolve(template: Template, given: Given, *, folder_name: str, preferred: Mapping[str, object]) -> Answers:
    """All answers; what cannot be taken is refused with the place that it comes from."""
    try:
        answers = template.resolve(given.answers, folder_name=folder_name, preferred=preferred)
    except AnswerError as error:
        if origin := given.origins.get(error.question):
            error.message += f" ({origin})"
        raise
    for name, value in given.locked.items():
        if name in answers and answers[name] != template.questions[name].parse(value):
            raise LockedAnswerError(
                name,
                f"{name} cannot be {to_text(answers[name])}",
                cause=f"the preset {given.locked_by} locks it to {to_text(value)}",
            )
    return answers


def differences(
    template: Template, answers: Answers, base: Mapping[str, object], preferred: Mapping[str, object]
) -> dict[str, object]:
    """The few answers that, added to `base`, lead to all of `answers`."""
    needed: dict[str, object] = {}
    while True:
        try:
            reached = template.resolve({**base, **needed}, folder_name=answers.folder_name, preferred=preferred).recorded
        except AnswerError as error:
            needed[error.question] = answers[error.question]
            continue
        different = [name for name, answer in answers.recorded.items() if reached[name] != answer]
        if not different:
            return {name: needed[name] for name in answers.recorded if name in needed}
        needed[different[0]] = answers[different[0]]


class Interview:
    """Asks, one question after the other, then shows everything for review before anything is written."""

    def __init__(
        self,
        template: Template,
        given: Given,
        *,
        folder_name: str,
        preferred: Mapping[str, object],
        presets: list[Preset],
        report: Report,
    ) -> None:
        self.template = template
        self.given = given
        self.folder_name = folder_name
        self.preferred = preferred
        self.presets = presets
        self.report = report

    def ask_all(self, *, advanced: bool, choose_preset: bool) -> Answers:
        """Ask what is open, then review; the answers that the user wants created."""
        each = advanced
        for name in self.template.questions:
            if name in self.given.answers or not (advanced or self._is_asked(name)):
                continue
            question = self.template.questions[name]
            if question.choices and choose_preset and not each:
                if self._ask_start() != EACH:
                    break
                each = True
            self._ask(name)
        return self._review()

    def _is_asked(self, name: str) -> bool:
        return self.template.questions[name].ask is not False

    def _ask_start(self) -> str:
        """Whether to take the recommended answers, a preset's, or to choose each."""
        answers = self._resolve()
        summary = ", ".join(
            to_text(answers[name]) for name, question in self.template.questions.items() if question.choices
        )
        rows = [(f"The recommended answers ({summary})", RECOMMENDED), ("Choose each answer", EACH)]
        rows += [(f"{preset.name}: {preset.about}".rstrip(": "), preset.name) for preset in self.presets if preset.answers]
        chosen = str(_select("Start from", [(label, value, "") for label, value in rows], RECOMMENDED))
        for preset in self.presets:
            if preset.name == chosen:
                self.given.add(preset.answers, f"the preset {preset.name}")
                self.given.lock(preset)
        return chosen

    def _ask(self, name: str) -> None:
        offer = self.template.offer(
            name, self.given.answers, folder_name=self.folder_name, preferred=self.preferred
        )
        if not offer.applies:
            return
        default = self.given.answers.get(name, offer.default)
        self.given.add({name: self._prompt(offer.question, default, list(offer.choices))}, "")

    def _prompt(self, question: Question, default: object, choices: list[tuple[str, object, str]]) -> object:
        if question.many:
            return _checkbox(question.help, choices, default)
        if choices:
            return _select(question.help, choices, default)
        if question.type == "bool":
            return _confirm(question.help, bool(default))
        return _text(question.help, to_text(default) if isinstance(default, str | int | float) else "", self._check(question))

    def _check(self, question: Question) -> Any:
        """A function that says what is wrong with an answer while it is typed."""

        def check(text: str) -> str | bool:
            try:
                self.template.accept(
                    question.name, text, self.given.answers, folder_name=self.folder_name, preferred=self.preferred
                )
            except AnswerError as error:
                return error.cause or error.message
            return True

        return check

    def _resolve(self) -> Answers:
        """All answers; an answer that an earlier one has made impossible is asked for again."""
        while True:
            try:
                return resolve(
                    self.template, self.given, folder_name=self.folder_name, preferred=self.preferred
                )
            except ForbiddenChoiceError as error:
                self.report.say(f"{error.message}: {error.cause}")
                del self.given.answers[error.question]
                self._ask(error.question)

    def _review(self) -> Answers:
        """Show every answer; any of them can be changed before the repository is created."""
        while True:
            answers = self._resolve()
            count = len(self.template.render(answers))
            width = max(len(name) for name in answers.recorded)
            rows: list[tuple[str, object, str]] = [(f"Create it, with {count} files", CREATE, "")]
            rows += [
                (
                    f"{name:{width}}  {to_text(answer)}",
                    name,
                    f"fixed by the preset {self.given.locked_by}" if name in self.given.locked else "",
                )
                for name, answer in answers.recorded.items()
            ]
            chosen = str(_select("All answers (choose one to change it)", rows, CREATE))
            if chosen == CREATE:
                return answers
            self.given.answers.setdefault(chosen, answers[chosen])
            self._ask(chosen)


def _select(message: str, choices: list[tuple[str, object, str]], default: object) -> object:
    import questionary

    rows = [questionary.Choice(label, value=value, disabled=reason or None) for label, value, reason in choices]
    first = next((row for row in rows if row.value == default and not row.disabled), None)
    return _ask(questionary.select(message, rows, default=first, instruction=" "))


def _checkbox(message: str, choices: list[tuple[str, object, str]], default: object) -> object:
    import questionary

    chosen = default if isinstance(default, list) else []
    rows = [
        questionary.Choice(label, value=value, disabled=reason or None, checked=value in chosen)
        for label, value, reason in choices
    ]
    return _ask(questionary.checkbox(message, rows, instruction="(space marks, enter accepts)"))


def _confirm(message: str, default: bool) -> object:
    import questionary

    return _ask(questionary.confirm(message, default=default))


def _text(message: str, default: str, check: Any) -> object:
    import questionary

    return _ask(questionary.text(message, default=default, validate=check))


def _ask(question: Any) -> object:
    """The answer; Ctrl-C and the end of the input both stop the program."""
    try:
        return question.unsafe_ask()
    except EOFError:
        raise KeyboardInterrupt from None


def has_terminal() -> tuple[bool, str]:
    """Whether a person sits here who can be asked, and why not."""
    import sys

    agents = ("CLAUDECODE", "CURSOR_AGENT", "GEMINI_CLI", "CODEX_SANDBOX", "AI_AGENT", "CI")
    for variable in agents:
        if os.environ.get(variable):
            return False, f"{variable} is set"
    if not sys.stdin.isatty() or not sys.stderr.isatty():
        return False, "the input or the output is not a terminal"
    return True, ""


def ask_name(template: Template, given: Given) -> str:
    """The name of the project, asked first when no directory is given."""
    question = template.questions["project_name"]

    def check(text: str) -> str | bool:
        try:
            template.accept("project_name", text, given.answers, folder_name=text)
        except AnswerError as error:
            return error.cause or error.message
        return not Path(text).exists() or f"{text} exists already"

    return str(_text(question.help, "", check))


def list_questions(template: Template, report: Report) -> None:
    """Every question with its choices and its default: for a person, or as data for a program."""
    answers = template.resolve({"project_name": "my-experiment"}, folder_name="my-experiment").recorded
    if report.json:
        report.object({name: _describe(question, answers[name]) for name, question in template.questions.items()})
        return
    for name, question in template.questions.items():
        report.data(f"{report.paint(name, BOLD)}  {question.help}")
        for choice in question.choices:
            mark = "*" if choice.value == answers[name] else " "
            report.data(f"  {mark} {to_text(choice.value):14} {choice.label}")
        if not question.choices:
            report.data(f"  * {to_text(answers[name]) or '(empty)'}")


def _describe(question: Question, default: object) -> dict[str, object]:
    return {
        "help": question.help,
        "type": question.type,
        "many": question.many,
        "asked": question.ask is not False,
        "default": default,
        "choices": [{"value": choice.value, "label": choice.label} for choice in question.choices],
        "option": "--" + question.name.replace("_", "-"),
        "variable": VARIABLE + question.name.upper(),
    }


def save_preset(name: str, settings: Iterable[str], answers_file: Path | None, template: Template, report: Report) -> None:
    """Keep answers as a preset of one's own; what belongs to one project is left out."""
    given = Given()
    if answers_file is not None:
        answers = read_answers(answers_file, template)
        given.add({key: answer for key, answer in answers.items() if key not in OF_ONE_PROJECT}, str(answers_file))
    given.add(_from_texts(template, parse_settings(settings)), "")
    resolved = resolve(template, given, folder_name="my-experiment", preferred={})
    path = presets.save(name, {key: resolved[key] for key in given.answers})
    if report.json:
        report.object({"ok": True, "preset": name, "file": str(path)})
    else:
        report.say(f"Saved {path}. Use it: labrig new my-experiment --preset {name}")
