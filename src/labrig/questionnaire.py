"""The questionnaire before anybody is asked: the levels of answers given in advance, and the list of questions."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from . import presets
from .errors import AnswerError, AnswersFileError, LockedAnswerError, UsageError, did_you_mean
from .presets import Preset

if TYPE_CHECKING:
    from .questions import Question
    from .render import Answers, Offer, Template
    from .report import Report

VARIABLE = "LABRIG_"
OTHER_VARIABLES = {"LABRIG_TEMPLATE", "LABRIG_PRESET", "LABRIG_POLICY"}
NOTHING = "none"  # how an empty list is typed
OF_ONE_PROJECT = {"project_name", "package", "description", "repository"}

Suggest = Callable[[Mapping[str, object]], Mapping[str, object]]  # better defaults, from the answers so far


@dataclass
class Given:
    """Answers that nobody needs to be asked for: each with the place it comes from, for messages."""

    answers: dict[str, object] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    locked: dict[str, object] = field(default_factory=dict)
    locked_by: dict[str, str] = field(default_factory=dict)

    def add(self, answers: Mapping[str, object], origin: str) -> None:
        """Put `answers` on top of what there is. `origin` is empty for the command line itself."""
        self.answers.update(answers)
        self.origins.update(dict.fromkeys(answers, origin))

    def lock(self, preset: Preset) -> None:
        """Hold the locked answers of `preset` against everything added later."""
        self.locked |= {name: preset.answers[name] for name in preset.locked}
        self.locked_by |= dict.fromkeys(preset.locked, preset.title)


def gather(
    template: Template,
    *,
    preset: Preset,
    levels: Iterable[Preset] = (),
    answers_file: Path | None,
    environment: Mapping[str, str],
    settings: Iterable[str],
    flags: Mapping[str, str],
) -> Given:
    """What was answered in advance; each level wins over those before it."""
    given = Given()
    for level in (preset, *levels):
        given.add({name: answer for name, answer in level.answers.items() if name not in given.locked}, level.title)
        given.lock(level)
    if answers_file is not None:
        given.add(read_answers(answers_file, template), str(answers_file))
    for name, answer in environment_answers(template, environment).items():
        given.add({name: answer}, VARIABLE + name.upper())
    given.add(typed_answers(template, {**parse_settings(settings), **flags}), "")
    return given


def environment_answers(template: Template, environment: Mapping[str, str]) -> dict[str, object]:
    """The answers in variables like LABRIG_FRAMEWORK."""
    texts = {
        name: environment[VARIABLE + name.upper()]
        for name in template.questions
        if VARIABLE + name.upper() in environment
    }
    return typed_answers(template, texts)


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


def typed_answers(template: Template, texts: Mapping[str, str]) -> dict[str, object]:
    """Answers as they are typed: a list is separated by commas, and `none` is the empty one."""
    answers: dict[str, object] = {}
    for name, text in texts.items():
        question = template.questions.get(name)
        many = question is not None and question.many
        items = [] if text.strip() == NOTHING else [item.strip() for item in text.split(",") if item.strip()]
        answers[name] = items if many else text
    return answers


def to_text(answer: object) -> str:
    """An answer as it is typed."""
    if isinstance(answer, bool):
        return "yes" if answer else "no"
    if isinstance(answer, list):
        return ",".join(to_text(item) for item in answer) or NOTHING
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


@dataclass
class Questionnaire:
    """All questions of a template, with what was answered so far; the machine suggests better defaults."""

    template: Template
    given: Given
    folder_name: str
    suggest: Suggest

    def resolve(self) -> Answers:
        """All answers; what cannot be taken is refused with the place that it comes from."""
        try:
            self.template.resolve(
                self.given.answers, folder_name=self.folder_name
            )  # suggestions follow from legal ones
            answers = self.template.resolve(
                self.given.answers, folder_name=self.folder_name, preferred=self._preferred()
            )
        except AnswerError as error:
            if origin := self.given.origins.get(error.question):
                error.message += f" ({origin})"
            raise
        for name, value in self.given.locked.items():
            if answers.get(name) != self.template.questions[name].parse(value):
                raise LockedAnswerError(
                    name,
                    f"{name} cannot be {to_text(answers.get(name))}",
                    cause=f"{self.given.locked_by[name]} locks it to {to_text(value)}",
                )
        return answers

    def offer(self, name: str) -> Offer:
        """What can be answered to the question `name`."""
        return self.template.offer(name, self.given.answers, folder_name=self.folder_name, preferred=self._preferred())

    def accept(self, name: str, answer: object) -> object:
        """`answer` in the form that the question takes; AnswerError when it cannot be taken."""
        return self.template.accept(
            name, answer, self.given.answers, folder_name=self.folder_name, preferred=self._preferred()
        )

    def needed(self, answers: Answers, base: Mapping[str, object]) -> dict[str, object]:
        """The few answers that, on top of `base`, lead to all of `answers`."""
        needed: dict[str, object] = {}
        while True:
            again = Questionnaire(self.template, Given({**base, **needed}), self.folder_name, self.suggest)
            try:
                reached = again.resolve()
            except AnswerError as error:
                needed[error.question] = answers[error.question]
                continue
            different = [name for name, answer in answers.recorded.items() if reached[name] != answer]
            if not different:
                return needed
            needed[different[0]] = answers[different[0]]

    def _preferred(self) -> dict[str, object]:
        suggested = self.suggest(self.given.answers)
        return {name: answer for name, answer in suggested.items() if name in self.template.questions}


def why_nobody_can_be_asked() -> str:
    """Why no question can be asked here, as the end of a sentence; "" when a person sits at a terminal."""
    for variable in ("CLAUDECODE", "CURSOR_AGENT", "GEMINI_CLI", "CODEX_SANDBOX", "AI_AGENT", "CI"):
        if os.environ.get(variable):
            return f"{variable} is set"
    return "" if sys.stdin.isatty() and sys.stdout.isatty() else "this is not an interactive terminal"


def list_questions(template: Template, report: Report) -> None:
    """Every question with its choices and its default: for a person, or as data for a program."""
    answers = template.resolve({"project_name": "my-experiment"}, folder_name="my-experiment").recorded
    if report.json:
        report.object({name: _describe(question, answers[name]) for name, question in template.questions.items()})
        return
    for name, question in template.questions.items():
        report.data(f"{name}: {question.help}")
        for choice in question.choices:
            answer = answers[name]
            mark = "*" if choice.value == answer or (isinstance(answer, list) and choice.value in answer) else " "
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


def save_preset(
    name: str, settings: Iterable[str], answers_file: Path | None, template: Template, report: Report
) -> None:
    """Keep answers as a preset of one's own; what belongs to one project is left out."""
    given = Given()
    if answers_file is not None:
        answers = read_answers(answers_file, template)
        given.add({key: answer for key, answer in answers.items() if key not in OF_ONE_PROJECT}, str(answers_file))
    given.add(typed_answers(template, parse_settings(settings)), "")
    resolved = Questionnaire(template, given, "my-experiment", lambda _: {}).resolve()
    path = presets.save(name, {key: resolved[key] for key in given.answers})
    if report.json:
        report.object({"ok": True, "preset": name, "file": str(path)})
    else:
        report.say(f"Saved {path}. Use it: labrig new my-experiment --preset {name}")
