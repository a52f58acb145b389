"""Takes the answers of one version of a template to another: no answer becomes another one without a person's word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from jinja2 import meta

from .errors import AnswerError, DecisionError, ForbiddenChoiceError, MissingAnswerError
from .questionnaire import to_text
from .render import Answers, Template


@dataclass(frozen=True)
class Open:
    """One answer that cannot be kept as it is."""

    question: str
    value: object  # what was answered; None where there was no such question
    reason: str
    removed: bool = False  # the question is not asked any more

    def word(self, command: str) -> str:
        """What decides it on the command line."""
        setting = f"{self.question}=..."
        return f"--forget {self.question}" if self.removed else setting if command == "set" else f"--set {setting}"


@dataclass
class Migration:
    """The answers in the new version, and what became of the old ones."""

    answers: Answers
    open: list[Open] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)  # from the old question
    added: dict[str, object] = field(default_factory=dict)  # new questions, answered by their defaults
    dropped: dict[str, object] = field(default_factory=dict)  # not asked any more after what was given anew
    followed: dict[str, object] = field(default_factory=dict)  # suggested once, and now what is suggested instead

    def require_decided(self, command: str) -> None:
        """DecisionError when an answer is still open."""
        if not self.open:
            return
        words = " ".join(dict.fromkeys(each.word(command.split()[1]) for each in self.open))
        raise DecisionError(
            [each.question for each in self.open],
            f"{'an answer has' if len(self.open) == 1 else f'{len(self.open)} answers have'} to be given anew",
            cause="\n".join(each.reason for each in self.open),
            tip=f"{command} {words}",
        )


def migrate(
    template: Template,
    old: Mapping[str, object],
    given: Mapping[str, object],
    *,
    folder_name: str,
    forgotten: frozenset[str] = frozenset(),
) -> Migration:
    """The answers `old` in another version of the template, with those `given` anew on top.

    AnswerError when one that is given anew cannot be taken.
    """
    missing: list[Open] = []
    supplied = dict(given)
    while True:
        try:
            answers = template.resolve(supplied, folder_name=folder_name, preferred=old)
            break
        except MissingAnswerError as error:
            # To see all that is open at once, go on as if it had been answered with anything that fits.
            question = template.questions[error.question]
            missing.append(Open(question.name, None, f"{question.name} is new and has no default: {question.help}"))
            supplied[question.name] = question.choices[0].value if question.choices else _anything(question.type)
    found = Migration(answers, missing)
    move = _Move(template, old, supplied, folder_name)
    for name, value in old.items():
        if name in given or name in forgotten:
            continue
        if name in answers.recorded:
            if _equal(answers.recorded[name], value):
                continue
            if given and move.was_suggested(name, value):
                found.followed[name] = answers.recorded[name]
            else:
                found.open.append(Open(name, value, move.why_not(name, value)))
        elif heir := move.heir(name, value, answers):
            found.renamed[name] = heir
        elif name not in template.questions:
            reason = f"{name} is no question any more; your answer was {to_text(value)}"
            found.open.append(Open(name, value, reason, removed=True))
        elif given:
            found.dropped[name] = value
        else:
            reason = f"{name} is not asked any more after the other answers; yours was {to_text(value)}"
            found.open.append(Open(name, value, reason, removed=True))
    taken = {*old, *given, *found.renamed.values(), *(each.question for each in found.open)}
    found.added = {name: value for name, value in answers.recorded.items() if name not in taken}
    return found


@dataclass(frozen=True)
class _Move:
    """The way of the old answers to the new version."""

    template: Template
    old: Mapping[str, object]
    given: Mapping[str, object]
    folder_name: str

    def heir(self, name: str, value: object, answers: Answers) -> str | None:
        """The new question that has taken over the answer of one that is gone, by its default."""
        if name in self.template.questions:
            return None
        for heir, answer in answers.recorded.items():
            default = self.template.questions[heir].default
            if heir in self.old or heir in self.given or not _equal(answer, value) or not isinstance(default, str):
                continue
            if name in meta.find_undeclared_variables(self.template.environment.parse(default)):
                return heir
        return None

    def was_suggested(self, name: str, value: object) -> bool:
        """Whether an answer that does not go with what was given anew had been suggested, and not chosen against it."""
        try:
            self.template.accept(name, value, self.given, folder_name=self.folder_name, preferred=self.old)
        except ForbiddenChoiceError:
            others = {other: answer for other, answer in self.old.items() if other != name}
            before = self.template.resolve({}, folder_name=self.folder_name, preferred=others)
            return _equal(before.get(name), value)
        except AnswerError:
            pass
        return False

    def why_not(self, name: str, value: object) -> str:
        """Why an answer cannot be kept."""
        try:
            self.template.accept(name, value, self.given, folder_name=self.folder_name, preferred=self.old)
        except AnswerError as error:
            return f"{error.message}" + (f" ({error.cause})" if error.cause else "")
        return f"{name} was {to_text(value)}, and would not be any more"


def _equal(left: object, right: object) -> bool:
    return type(left) is type(right) and left == right


def _anything(kind: str) -> object:
    return {"bool": False, "int": 0, "float": 0.0}.get(kind, "x")
