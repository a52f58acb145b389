"""Every failure that a user can act on: what went wrong, why, and the next command."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class LabrigError(Exception):
    """One refusal or failure, shown as `error:`, `cause:` and `tip:`; never as a traceback.

    `kind` is a stable word for programs (`--json`); `exit_code` follows docs: 1 something failed or is off,
    2 wrong use and nothing written, 3 a conflict needs a person.
    """

    kind = "failed"
    exit_code = 1

    def __init__(self, message: str, *, cause: str | None = None, tip: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.cause = cause
        self.tip = tip


class StoppedError(LabrigError):
    """The user pressed Ctrl-C after the files were written."""

    kind = "stopped"
    exit_code = 130


class UsageError(LabrigError):
    """The command cannot be carried out as it was given; nothing was written."""

    kind = "usage"
    exit_code = 2


class UnknownOptionError(UsageError):
    """The command line holds an option or a word that the command does not have."""

    kind = "unknown_option"


class AnswerError(UsageError):
    """The answer to one question cannot be taken. `question` names it."""

    kind = "invalid_answer"

    def __init__(self, question: str, message: str, *, cause: str | None = None, tip: str | None = None) -> None:
        super().__init__(message, cause=cause, tip=tip)
        self.question = question


class UnknownQuestionError(AnswerError):
    """No question of the template has this name."""

    kind = "unknown_question"


class UnknownChoiceError(AnswerError):
    """The question has choices, and the answer is none of them."""

    kind = "unknown_choice"


class ForbiddenChoiceError(AnswerError):
    """The choice exists and does not go with the earlier answers; `cause` says why."""

    kind = "forbidden_choice"


class UnaskedQuestionError(AnswerError):
    """The earlier answers leave no room for this question."""

    kind = "unasked_question"


class MissingAnswerError(AnswerError):
    """The question has no default and was not answered."""

    kind = "missing_answer"


class AnswersFileError(UsageError):
    """A file of answers cannot be read."""

    kind = "answers_file"


class PresetError(UsageError):
    """A preset cannot be found or read."""

    kind = "preset"


class PolicyError(UsageError):
    """A policy cannot be read, contradicts itself, or speaks of what the template does not have."""

    kind = "policy"


class LockedAnswerError(AnswerError):
    """A preset or a policy fixes this answer for everybody who uses it."""

    kind = "locked_answer"


class DestinationError(UsageError):
    """The repository cannot be created in this place."""

    kind = "destination"


class NotInteractiveError(UsageError):
    """A question would have to be asked, and nobody can answer it here."""

    kind = "not_interactive"


class TemplateError(LabrigError):
    """The template itself is wrong, whatever the user answered."""

    kind = "template"


class TemplateMissingError(LabrigError):
    """This installation of labrig has no template of its own."""

    kind = "template_missing"


class TemplateUnreachableError(LabrigError):
    """git cannot read the repository: no network, no such repository, no permission."""

    kind = "template_unreachable"


class TemplateAddressError(UsageError):
    """The address or the version is nothing that could be handed to git."""

    kind = "template_address"


class TemplateNotFoundError(UsageError):
    """The template is a path, and there is nothing."""

    kind = "template_not_found"


class UnknownVersionError(UsageError):
    """The template has no such tag, branch or commit."""

    kind = "unknown_version"


class NotATemplateError(UsageError):
    """There is no copier.yml."""

    kind = "not_a_template"


class WriteError(LabrigError):
    """The file system refused; what was written has been removed again."""

    kind = "write"


class GitError(LabrigError):
    """Git is needed and missing, or failed."""

    kind = "git"


class RepositoryError(UsageError):
    """The repository is in a state in which it cannot be changed: nothing was written."""

    kind = "repository"


class BusyError(LabrigError):
    """Another program is changing the repository."""

    kind = "busy"


class RecordError(LabrigError):
    """The answers file does not say what the repository was made of: a person has to."""

    kind = "record"
    exit_code = 3


class DecisionError(LabrigError):
    """An answer cannot be kept as it is: a person has to give another one. `questions` names them."""

    kind = "decision"
    exit_code = 3

    def __init__(self, questions: list[str], message: str, *, cause: str | None = None, tip: str | None = None) -> None:
        super().__init__(message, cause=cause, tip=tip)
        self.questions = questions


class UnmergeableError(LabrigError):
    """The repository and the template cannot be merged in a way that a conflict in a file could show."""

    kind = "unmergeable"
    exit_code = 3


class LossError(LabrigError):
    """The merge would lose something of the user's; nothing was written."""

    kind = "loss"
    exit_code = 3


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """The end of a sentence that names the likely word, or nothing."""
    near = get_close_matches(word, list(words), n=1, cutoff=0.6)
    return f". Did you mean '{near[0]}'?" if near else ""
