"""The interview: asks the open questions, then shows every answer for review before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import questionary

from .errors import AnswerError, ForbiddenChoiceError
from .presets import Preset
from .questionnaire import Given, Questionnaire, to_text
from .questions import Question
from .render import Answers, Template
from .report import Report

RECOMMENDED, EACH, CREATE = "recommended", "each", "create"
PROJECT = "project_name"  # never asked here: the folder has that name already

Row = tuple[str, object, str]  # a label, the value, and why it cannot be chosen, or ""
Check = Callable[[str], str | bool]  # what is wrong with a text while it is typed, or True


class Interview:
    """Asks, one question after the other, then shows everything for review before anything is written."""

    def __init__(self, questionnaire: Questionnaire, presets: list[Preset], report: Report) -> None:
        self.questionnaire = questionnaire
        self.template = questionnaire.template
        self.given = questionnaire.given
        self.presets = presets
        self.report = report

    def ask_all(self, *, advanced: bool) -> Answers:
        """Ask what is open, then review; the answers that the user wants created."""
        each = advanced or not self.presets
        for name in self.template.questions:
            if name in self.given.answers or name == PROJECT or not self._is_asked(name, advanced=advanced):
                continue
            question = self.template.questions[name]
            if question.choices and not each:
                if self._ask_start() != EACH:
                    break
                each = True
            self._ask(name)
        return self._review(lambda answers: f"Create it, with {len(self.template.render(answers))} files")

    def ask_open(self, names: Iterable[str]) -> Answers:
        """Ask some questions, then review; the answers that the user wants to go on with."""
        for name in names:
            self._ask(name)
        return self._review(lambda _: "Go on with these answers")

    def _is_asked(self, name: str, *, advanced: bool) -> bool:
        """Whether the template would ask; of what it never asks, an advanced user is asked, too."""
        if self.template.questions[name].ask is False:
            return advanced
        return self.questionnaire.offer(name).asked

    def _ask_start(self) -> str:
        """Whether to take the recommended answers, a preset's, or to choose each."""
        answers = self._resolve()
        summary = ", ".join(
            to_text(answers[name]) for name, question in self.template.questions.items() if question.choices
        )
        rows = [(f"The recommended answers ({summary})", RECOMMENDED), ("Choose each answer", EACH)]
        rows += [
            (f"{preset.name}: {preset.about}".rstrip(": "), preset.name) for preset in self.presets if preset.answers
        ]
        chosen = str(_select("Start from", [(label, value, "") for label, value in rows], RECOMMENDED))
        for preset in self.presets:
            if preset.name == chosen:
                self.given.add(preset.answers, preset.title)
                self.given.lock(preset)
        return chosen

    def _ask(self, name: str) -> None:
        offer = self.questionnaire.offer(name)
        if not offer.applies:
            return
        default = self.given.answers.get(name, offer.default)
        self.given.add({name: self.prompt(offer.question, default, list(offer.choices))}, "")

    def prompt(self, question: Question, default: object, choices: list[Row]) -> object:
        """What the user answers to one question."""
        if question.many:
            return _checkbox(question.help, choices, default)
        if choices:
            return _select(question.help, choices, default)
        if question.type == "bool":
            return _confirm(question.help, bool(default))
        return _text(
            question.help, to_text(default) if isinstance(default, str | int | float) else "", self._check(question)
        )

    def _check(self, question: Question) -> Check:
        """A function that says what is wrong with an answer while it is typed."""

        def check(text: str) -> str | bool:
            try:
                self.questionnaire.accept(question.name, text)
            except AnswerError as error:
                return error.cause or error.message
            return True

        return check

    def _resolve(self) -> Answers:
        """All answers; an answer that an earlier one has made impossible is asked for again."""
        while True:
            try:
                return self.questionnaire.resolve()
            except ForbiddenChoiceError as error:
                self.report.say(f"{error.message}: {error.cause}")
                del self.given.answers[error.question]
                if self._is_asked(error.question, advanced=True):
                    self._ask(error.question)

    def _review(self, label: Callable[[Answers], str]) -> Answers:
        """Show every answer; any of them can be changed. `label` is what ends the review."""
        while True:
            answers = self._resolve()
            width = max(len(name) for name in answers.recorded)
            rows: list[Row] = [(label(answers), CREATE, "")]
            rows += [
                (
                    f"{name:{width}}  {to_text(answer)}",
                    name,
                    f"fixed by {self.given.locked_by[name]}" if name in self.given.locked else "",
                )
                for name, answer in answers.recorded.items()
            ]
            chosen = str(_select("All answers (choose one to change it)", rows, CREATE))
            if chosen == CREATE:
                return answers
            self.given.answers.setdefault(chosen, answers[chosen])
            self._ask(chosen)


def ask_again(
    template: Template,
    name: str,
    given: dict[str, object],
    *,
    folder_name: str,
    preferred: dict[str, object],
    report: Report,
) -> object:
    """A new answer to one question, after the answers `given` and those that are `preferred`."""
    questions = Questionnaire(template, Given(given), folder_name, lambda _: preferred)
    offer = questions.offer(name)
    return Interview(questions, [], report).prompt(offer.question, offer.default, list(offer.choices))


def confirm(message: str) -> bool:
    """Yes or no; no is the default."""
    return bool(_confirm(message, False))


def ask_name(template: Template, given: Given) -> str:
    """The name of the project, asked first when no directory is given."""
    question = template.questions[PROJECT]

    def check(text: str) -> str | bool:
        try:
            template.accept(PROJECT, text, given.answers, folder_name=text)
        except AnswerError as error:
            return error.cause or error.message
        return not Path(text).exists() or f"{text} exists already"

    return str(_text(question.help, "", check))


def _select(message: str, choices: list[Row], default: object) -> object:
    rows = [questionary.Choice(label, value=value, disabled=reason or None) for label, value, reason in choices]
    first = next((row for row in rows if row.value == default and not row.disabled), None)
    return _ask(questionary.select(message, rows, default=first, instruction=" "))


def _checkbox(message: str, choices: list[Row], default: object) -> object:
    chosen = default if isinstance(default, list) else []
    rows = [
        questionary.Choice(label, value=value, disabled=reason or None, checked=value in chosen)
        for label, value, reason in choices
    ]
    return _ask(questionary.checkbox(message, rows, instruction="(space marks, enter accepts)"))


def _confirm(message: str, default: bool) -> object:
    return _ask(questionary.confirm(message, default=default))


def _text(message: str, default: str, check: Check) -> object:
    return _ask(questionary.text(message, default=default, validate=check))


def _ask(question: Any) -> object:
    """The answer; Ctrl-C and the end of the input both stop the program."""
    try:
        return question.unsafe_ask()
    except EOFError:
        raise KeyboardInterrupt from None
