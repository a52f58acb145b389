"""What a repository says that it was made of: the template, its version, and the answers in .copier-answers.yml."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from .errors import RecordError, RepositoryError
from .questions import SafeLoader
from .render import ANSWERS_FILE
from .source import History, Source, is_own

if TYPE_CHECKING:
    from .repository import Repository

MOST_FORMER = 3  # older answers files that are compared with the files


@dataclass(frozen=True)
class Record:
    """One answers file."""

    url: str
    version: str | None  # _commit: what `git describe` said
    commit_hash: str | None  # which commit that was; not recorded by templates that do not ask for it
    answers: Mapping[str, object]

    @property
    def where(self) -> str | None:
        """What `open_history` takes: None for the template that came with labrig."""
        return None if is_own(self.url) else self.url


def read_record(repository: Repository) -> Record:
    """The answers file of HEAD. Every way in which it can be wrong has its sentence and its way out."""
    content = repository.committed(ANSWERS_FILE)
    if content is None:
        raise _missing(repository)
    text = content.decode(errors="replace")
    if re.search(r"^(<{7} |={7}$|>{7} )", text, re.MULTILINE):
        raise RecordError(
            f"{ANSWERS_FILE} holds conflict markers",
            cause="a merge was committed before its conflict was resolved, so it says two things at once",
            tip=f"take the side that fits your files: git log --oneline -- {ANSWERS_FILE}\n"
            f"then: git checkout COMMIT -- {ANSWERS_FILE} && git commit",
        )
    return parse_record(text)


def parse_record(text: str) -> Record:
    """What the text of an answers file says."""
    try:
        content = yaml.load(text, Loader=SafeLoader)  # noqa: S506 - it is a safe loader
    except yaml.YAMLError as error:
        raise RecordError(
            f"{ANSWERS_FILE} is not YAML",
            cause=" ".join(str(error).split()),
            tip=f"bring the last good one back: git log --oneline -- {ANSWERS_FILE}",
        ) from None
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise RecordError(f"{ANSWERS_FILE} does not hold answers", cause="each line is 'question: answer'")
    url, version, commit_hash = (content.get(name) for name in ("_src_path", "_commit", "_commit_hash"))
    if not isinstance(url, str) or not url:
        raise RecordError(
            f"{ANSWERS_FILE} does not say which template this repository was made of",
            cause="the line _src_path is missing",
            tip="say it: labrig update --template URL --from VERSION",
        )
    answers = {name: value for name, value in content.items() if not name.startswith("_")}
    return Record(url, None if version is None else str(version), str(commit_hash) if commit_hash else None, answers)


def find_version(history: History, record: Record, stated: str | None) -> tuple[Source, list[str]]:
    """The version that the repository was made of, with remarks about what is strange.

    `stated` is what the user says it is (--from), where the record is wrong. RecordError when it cannot be found.
    """
    if stated is not None:
        return history.version(stated), []
    if record.version is None:
        raise RecordError(
            f"{ANSWERS_FILE} does not say which version of the template this repository was made of",
            cause="the line _commit is missing: it was made of a folder without git history",
            tip="say it: labrig update --from VERSION",
        )
    tagged = history.find(record.version)
    if record.commit_hash is None:
        if tagged is None:
            raise _gone(history, record)
        return history.version(tagged), []
    if history.find(record.commit_hash) is None:
        if tagged is None:
            raise _gone(history, record)
        raise RecordError(
            f"{record.version} of the template is not what it was: the tag was moved",
            cause=f"this repository was made of commit {record.commit_hash[:12]}, which {history.url} has no longer; "
            f"the tag is at {tagged[:12]}",
            tip="if both hold the same, or nothing nearer is there: "
            f"labrig update --from {record.version}\nelse give the version that is nearest: --from VERSION",
        )
    remarks = []
    if tagged is not None and tagged != record.commit_hash:
        remarks.append(f"the tag {record.version} of the template was moved; the commit that is recorded counts")
    return history.version(record.commit_hash), remarks


def _gone(history: History, record: Record) -> RecordError:
    if record.where is None:
        return RecordError(
            f"this repository was made by a newer labrig, with version {record.version} of the template",
            cause="this one has no such version",
            tip="pip install --upgrade labrig",
        )
    return RecordError(
        f"{history.url} has no version '{record.version}'",
        cause="the tag was deleted, or this is another template than the one that the repository was made of",
        tip="give the version that is nearest to it: labrig update --from VERSION\n"
        "or the template, if it has moved: labrig update --template URL",
    )


def _missing(repository: Repository) -> RepositoryError | RecordError:
    if (repository.root / ANSWERS_FILE).exists():
        return RepositoryError(
            f"{ANSWERS_FILE} is not committed",
            cause="an update is merged with what is committed",
            tip=f"git add --force {ANSWERS_FILE} && git commit",
        )
    commit = repository.last_with(ANSWERS_FILE)
    if commit is None:
        return RepositoryError(
            f"{repository.root} was not made of a template",
            cause=f"it has no {ANSWERS_FILE}, and never had one",
            tip="give the folder of a repository that labrig or Copier made\n"
            "or bring this one under the template: labrig adopt",
        )
    return RecordError(
        f"{ANSWERS_FILE} was deleted",
        cause="without it nobody knows the version and the answers that this repository was made of",
        tip=f"bring it back: git checkout {commit}~ -- {ANSWERS_FILE} && git commit",
    )
