"""An organization's policy: a small git repository that says what its repositories answer, hold and must not do.

Its `policy.toml` holds defaults, locked answers, forbidden values, required rules, groups and waivers; presets lie
beside it, and a folder `template/`, laid out like the template's own, holds the organization's own layers.
"""

from __future__ import annotations

import datetime
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from .errors import (
    AnswerError,
    DecisionError,
    LockedAnswerError,
    PolicyError,
    RecordError,
    TemplateNotFoundError,
    TemplateUnreachableError,
    UnknownVersionError,
    did_you_mean,
)
from .git import Git
from .presets import POLICY, Preset, is_place, load
from .questionnaire import to_text
from .questions import SafeLoader
from .render import Answers, Layer, RenderedFile, Template
from .source import History, Source, git_url, open_history, recorded_url

if TYPE_CHECKING:
    from .repository import Repository

POLICY_FILE = ".labrig-policy.yml"  # in a repository: which policy it follows, and which state of it
LAYERS = "template"  # the folder of a policy that is rendered after the template
TABLES = ("about", "defaults", "locked", "forbidden", "rules", "groups", "waivers")
ORGANIZATION = "organization"


@dataclass(frozen=True)
class Level:
    """The answers of the organization, or of one group in it; those that are locked hold for everybody below."""

    name: str
    answers: Mapping[str, object] = field(default_factory=dict)
    locked: frozenset[str] = frozenset()
    repositories: tuple[str, ...] = ("*",)


@dataclass(frozen=True)
class Waiver:
    """What one repository, or several, need not keep to, until a day."""

    repositories: str
    rule: str  # of `labrig check`; "" where an answer is waived
    question: str
    path: str
    owner: str
    reason: str
    expires: datetime.date

    @property
    def subject(self) -> str:
        """What is waived."""
        return self.rule or self.question

    @property
    def sentence(self) -> str:
        """Why it does not hold any more, with who answers for it."""
        return f"the waiver of {self.subject} expired on {self.expires}; its owner is {self.owner} ({self.reason})"


@dataclass(frozen=True)
class Policy:
    """One state of a policy."""

    source: Source
    url: str  # under which others find it
    levels: tuple[Level, ...]  # the organization first, then its groups
    forbidden: Mapping[str, tuple[object, ...]]
    rules: tuple[str, ...]
    waivers: tuple[Waiver, ...]
    _layers: dict[Path, Layer] = field(default_factory=dict, compare=False)

    def layers(self, template: Template) -> Layer | None:
        """Its own files, read once for each version of the template; None where it has none."""
        if not (self.source.root / LAYERS).is_dir():
            return None
        if template.root not in self._layers:
            self._layers[template.root] = Layer(template, self.source.root, LAYERS)
        return self._layers[template.root]

    def standard(self, names: Sequence[str], preset: str = "", url: str = "") -> Standard:
        """What holds for one repository. names: how it may be called, such as `acme/vision-a` and `vision-a`."""
        today = datetime.datetime.now(tz=datetime.UTC).date()
        waivers = [waiver for waiver in self.waivers if _matches(names, waiver.repositories)]
        return Standard(
            self,
            tuple(level for level in self.levels if any(_matches(names, pattern) for pattern in level.repositories)),
            tuple(waiver for waiver in waivers if waiver.expires >= today),
            tuple(waiver for waiver in waivers if waiver.expires < today),
            preset,
            url if url and same_address(url, self.url) else self.url,
        )

    def require_valid(self, template: Template) -> None:
        """PolicyError when it speaks of what the template does not have, or contradicts itself."""
        places = [(level.name, level.answers) for level in self.levels]
        places += [("forbidden", self.forbidden), ("waivers", {w.question: None for w in self.waivers if w.question})]
        for place, names in places:
            for name in names:
                if name not in template.questions:
                    raise PolicyError(
                        f"the policy {self.url} speaks of '{name}', which is no question"
                        + did_you_mean(name, template.questions),
                        cause=f"it stands in its {_place(place)}",
                        tip="every question: labrig questions",
                    )
        for level in self.levels:
            for name, value in level.answers.items():
                self._require_possible(template, level, name, value)
        for name, values in self.forbidden.items():
            question = template.questions[name]
            if question.choices and {choice.value for choice in question.choices} <= set(
                _taken(self, question, values)
            ):
                raise PolicyError(
                    f"the policy {self.url} forbids every answer to {name}", cause="so nobody could answer it"
                )

    def _require_possible(self, template: Template, level: Level, name: str, value: object) -> None:
        question = template.questions[name]
        (taken,) = _taken(self, question, [value])
        values = [choice.value for choice in question.choices]
        wanted = taken if isinstance(taken, list) else [taken]
        if values and (wrong := [item for item in wanted if item not in values]):
            raise PolicyError(
                f"the policy {self.url} answers {name} with '{to_text(wrong[0])}', which is no choice"
                + did_you_mean(to_text(wrong[0]), map(to_text, values)),
                cause=f"it stands in its {_place(level.name)}",
            )
        if bad := [item for item in wanted if item in _taken(self, question, self.forbidden.get(name, ()))]:
            raise PolicyError(
                f"the policy {self.url} contradicts itself about {name}",
                cause=f"its {_place(level.name)} answers {to_text(bad[0])}, which it forbids",
            )


@dataclass(frozen=True)
class Standard:
    """What one policy asks of one repository, today."""

    policy: Policy
    levels: tuple[Level, ...]
    waivers: tuple[Waiver, ...]
    expired: tuple[Waiver, ...]
    preset: str = ""
    url: str = ""  # of the policy, as the repository spells it
    files: set[str] = field(default_factory=set)  # that its layers wrote, once they are rendered

    @property
    def answers(self) -> dict[str, object]:
        """What is answered where nobody says otherwise."""
        return {name: value for level in self.levels for name, value in level.answers.items()}

    @property
    def presets(self) -> list[Preset]:
        """The levels as presets, for a new repository."""
        return [Preset(each.name, "", each.answers, each.locked & set(self.locked), "the") for each in self.levels]

    @property
    def locked(self) -> dict[str, tuple[object, str]]:
        """The answers that nobody may change, each with the level that says so; without those that are waived."""
        waived = {waiver.question for waiver in self.waivers}
        return {
            name: (level.answers[name], level.name)
            for level in reversed(self.levels)
            for name in sorted(level.locked - waived)
        }

    @property
    def forbidden(self) -> dict[str, tuple[object, ...]]:
        """The values that may not be answered; without those that are waived."""
        waived = {waiver.question for waiver in self.waivers}
        return {name: values for name, values in self.policy.forbidden.items() if name not in waived}

    def is_waived(self, rule: str, path: str) -> bool:
        """Whether a finding of `labrig check` is waived."""
        return any(waiver.rule == rule and fnmatchcase(path, waiver.path) for waiver in self.waivers)

    def deviations(self, template: Template, answers: Mapping[str, object]) -> Iterator[tuple[str, str]]:
        """The answers that the policy does not allow: the question, and a sentence."""
        for name, (value, level) in self.locked.items():
            if (
                name in answers
                and name in template.questions
                and answers[name] != template.questions[name].parse(value)
            ):
                yield name, f"{name} is {to_text(answers[name])}, and the {level} locks it to {to_text(value)}"
        for name, values in self.forbidden.items():
            if name in answers and name in template.questions:
                found = answers[name]
                items = found if isinstance(found, list) else [found]
                for item in items:
                    if item in _taken(self.policy, template.questions[name], values):
                        yield name, f"{name} is {to_text(item)}, which the {ORGANIZATION} forbids"

    def require_allowed(self, template: Template, answers: Mapping[str, object], command: str) -> None:
        """DecisionError when an answer may not be given: a person has to choose another one."""
        found = dict(self.deviations(template, answers))
        if found:
            words = " ".join(f"--set {name}=..." for name in found)
            raise DecisionError(
                list(found),
                f"the policy {self.url} does not allow {', '.join(found)}",
                cause="\n".join(found.values()),
                tip=f"{command} {words}; for a while, a waiver in its policy.toml",
            )

    def corrections(
        self, template: Template, answers: Mapping[str, object], given: Mapping[str, object]
    ) -> dict[str, object]:
        """The locked answers that a repository does not have so. LockedAnswerError when another one is asked for."""
        found: dict[str, object] = {}
        for name, (value, level) in self.locked.items():
            wanted = template.questions[name].parse(value)
            if name in given and template.questions[name].parse(given[name]) != wanted:
                raise LockedAnswerError(
                    name,
                    f"{name} cannot be {to_text(given[name])}",
                    cause=f"the {level} locks it to {to_text(value)}, in the policy {self.url}",
                    tip="an exception for a while is a waiver in its policy.toml, with owner, reason and expiry",
                )
            if answers.get(name, wanted) != wanted:
                found[name] = wanted
        return found

    def wishes(self, template: Template, answers: Mapping[str, object]) -> dict[str, object]:
        """The answers of the policy to questions that a repository has not answered yet."""
        return {
            name: value for name, value in self.answers.items() if name in template.questions and name not in answers
        }

    def level_of(self, name: str, value: object, template: Template, answers: Answers) -> str:
        """The level that decided an answer."""
        question = template.questions[name]
        if name in self.locked:
            return f"{self.locked[name][1]}, locked"
        for level in reversed(self.levels):
            if name in level.answers and question.parse(level.answers[name]) == value:
                return level.name
        preset = load(f"{self.policy.source.root}#{self.preset}").answers if self.preset else {}
        if name in preset and question.parse(preset[name]) == value:
            return f"preset {self.preset}"
        others = {other: answer for other, answer in answers.recorded.items() if other != name}
        offer = template.offer(name, others, folder_name=answers.folder_name)
        return "default" if offer.default == value else "repository"

    def render(self, template: Template, answers: Answers, **metadata: str | None) -> dict[str, RenderedFile]:
        """The organization's own files, and the one that says which policy the repository follows."""
        source = self.policy.source
        files: dict[str, RenderedFile] = {}
        if layers := self.policy.layers(template):
            files = layers.render(answers, **metadata)
            self.files.update(files)
        lines = ["# Written by labrig: the policy that this repository follows. `labrig update` keeps it up to date."]
        record = {"commit": source.commit_hash, "preset": self.preset or None, "url": self.url}
        lines += [f"{name}: {json.dumps(value)}" for name, value in record.items() if value is not None]
        files[POLICY_FILE] = RenderedFile("".join(f"{line}\n" for line in lines).encode(), False)
        return files


class Policies:
    """A policy with its states, each read once."""

    def __init__(self, history: History | Source, url: str = "") -> None:
        self._history = history
        self._url = url or history.url
        self._known: dict[Path, Policy] = {}

    @property
    def is_policy(self) -> bool:
        """Whether it is more than a repository of presets."""
        return (self._newest().root / POLICY).is_file()

    def newest(self) -> Policy:
        """The state that holds now: the tip of the default branch, or the folder as it is."""
        return self._read(self._newest())

    def version(self, name: str | None) -> Policy:
        """A tag, a branch or a commit."""
        if isinstance(self._history, Source) or name is None:
            return self.newest()
        return self._read(self._history.version(name))

    def _newest(self) -> Source:
        if isinstance(self._history, Source):
            return self._history
        return self._history.version(self._history.find("HEAD") or "HEAD")  # without what is not committed

    def _read(self, source: Source) -> Policy:
        if source.root not in self._known:
            self._known[source.root] = read_policy(source, self._url)
        return self._known[source.root]


@contextmanager
def open_policy(where: str) -> Iterator[Policies]:
    """A policy's repository, or a folder. PolicyError when it cannot be read."""
    place = Path(where).expanduser()
    if place.is_dir() and not (place / ".git").exists() and not (place / "HEAD").is_file():
        if (place / LAYERS).is_dir() and (place / POLICY).is_file():
            raise PolicyError(
                f"the policy {where} has no versions",
                cause="it is a folder without git history, so later nobody would know what its layers were",
                tip=f"cd {where} && git init && git add --all && git commit --message Start",
            )
        yield Policies(Source(place.resolve(), str(place.resolve()), None, None))
        return
    with ExitStack() as stack:
        try:
            history = stack.enter_context(open_history(where, is_template=False))
        except (TemplateUnreachableError, TemplateNotFoundError) as error:
            raise PolicyError(
                f"the policy {where} cannot be read", cause=error.cause, tip="a folder or a git URL: --policy URL"
            ) from None
        yield Policies(history, _origin(place))


def same_address(one: str, other: str) -> bool:
    """Whether two addresses lead to one repository, as far as can be seen: gh:acme/policy is one at github.com."""
    return one == other or _plain(one) == _plain(other)


def _plain(url: str) -> str:
    found = re.fullmatch(r"(?:ssh://)?git@([^:/]+)[:/](.+)", url)
    url = f"https://{found[1]}/{found[2]}" if found else git_url(url)
    return url.removesuffix("/").removesuffix(".git").lower()


def _origin(folder: Path) -> str:
    """Where a checkout of a policy came from: that is what others can reach; "" for one that came from nowhere."""
    if not (folder / ".git").exists():
        return ""
    found = Git(folder).attempt("remote", "get-url", "origin").stdout.decode(errors="replace").strip()
    return recorded_url(found) if found and not Path(found).is_absolute() else ""


@contextmanager
def policy_among(references: Sequence[str]) -> Iterator[tuple[Policies, str] | None]:
    """The policy among the presets that are named, with the name of its preset; None when none is one."""
    with ExitStack() as stack:
        for reference in references:
            place, _, name = reference.partition("#")
            if is_place(place) and not place.endswith(".toml"):
                policies = stack.enter_context(open_policy(place))
                if policies.is_policy:
                    yield policies, name
                    return
        yield None


@dataclass(frozen=True)
class Following:
    """What a repository says about the policy that it follows."""

    url: str
    commit: str | None
    preset: str


def read_following(repository: Repository) -> Following | None:
    """The record of the policy in HEAD; None when the repository follows none."""
    content = repository.committed(POLICY_FILE)
    if content is None:
        return None
    try:
        found = yaml.load(content.decode(errors="replace"), Loader=SafeLoader)  # noqa: S506 - it is a safe loader
    except yaml.YAMLError:
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("url"), str):
        raise RecordError(
            f"{POLICY_FILE} does not say which policy this repository follows",
            cause="it holds 'url: ...', and for the state that was taken 'commit: ...'",
            tip=f"bring the last good one back: git log --oneline -- {POLICY_FILE}",
        )
    commit = found.get("commit")
    return Following(found["url"], str(commit) if commit else None, str(found.get("preset") or ""))


@dataclass(frozen=True)
class Standards:
    """The standard that a repository was made by, and the one that holds now."""

    old: Standard | None = None
    new: Standard | None = None


class Shelf:
    """Policies by their addresses, each opened once, for any number of repositories."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._known: dict[str, Policies] = {}

    def __enter__(self) -> Shelf:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def open(self, where: str) -> Policies:
        """The policy at an address."""
        if where not in self._known:
            self._known[where] = self._stack.enter_context(open_policy(where))
        return self._known[where]

    def standards(self, repository: Repository, where: str | None) -> tuple[Following | None, Standards]:
        """What a repository says that it follows, and what that asks. where: of a policy that counts instead."""
        following = read_following(repository)
        where = where or (following.url if following else None)
        if where is None:
            return following, Standards()
        policies, names = self.open(where), repository.names
        if following is None:
            return None, Standards(None, policies.newest().standard(names))
        new = policies.newest().standard(names, following.preset, following.url)
        if same_address(following.url, new.url):
            former = policies
        else:  # it moves from one policy to another
            former, new = self.open(following.url), policies.newest().standard(names)
        try:
            return following, Standards(
                former.version(following.commit).standard(names, following.preset, following.url), new
            )
        except UnknownVersionError:
            commit = str(following.commit)[:12]
            raise RecordError(
                f"{POLICY_FILE} says commit {commit}, which the policy {following.url} does not have",
                cause="its history was rewritten, or the file was edited by hand",
                tip=f"write the commit there that is nearest to it: git log in {following.url}",
            ) from None


# Reading


def read_policy(source: Source, url: str) -> Policy:
    """What `policy.toml` says. PolicyError for everything that is wrong by itself, whatever the template."""
    path = source.root / POLICY
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        cause = error.strerror if isinstance(error, OSError) else str(error)
        raise PolicyError(f"the policy {url} cannot be read", cause=f"{POLICY}: {cause}") from error
    if unknown := sorted(set(content) - set(TABLES)):
        raise PolicyError(
            f"the policy {url} holds '{unknown[0]}'" + did_you_mean(unknown[0], TABLES),
            cause=f"it takes: {', '.join(TABLES)}",
        )
    reader = _Reader(url)
    organization = reader.level(ORGANIZATION, content)
    groups = [reader.group(name, table, organization) for name, table in reader.table(content, "groups").items()]
    forbidden = {name: tuple(reader.list(values, name)) for name, values in reader.table(content, "forbidden").items()}
    rules = tuple(map(str, reader.list(content.get("rules", []), "rules")))
    waivers = tuple(reader.waiver(table) for table in reader.list(content.get("waivers", []), "waivers"))
    from .check import RULES  # noqa: PLC0415 - which reads policies, too

    for rule in [*rules, *(waiver.rule for waiver in waivers if waiver.rule)]:
        if rule not in RULES:
            raise PolicyError(
                f"the policy {url} names the rule {rule}" + did_you_mean(rule, RULES), cause=", ".join(RULES)
            )
    return Policy(source, url, (organization, *groups), forbidden, rules, waivers)


class _Reader:
    """Reads the tables of one policy."""

    def __init__(self, url: str) -> None:
        self.url = url

    def table(self, content: Mapping[str, Any], name: str) -> dict[str, Any]:
        found = content.get(name, {})
        if not isinstance(found, dict):
            raise PolicyError(f"the policy {self.url} is malformed", cause=f"{name} is a table")
        return found

    def list(self, value: object, name: str) -> list[Any]:
        if not isinstance(value, list):
            raise PolicyError(f"the policy {self.url} is malformed", cause=f"{name} is a list")
        return value

    def level(self, name: str, content: Mapping[str, Any]) -> Level:
        answers = self.table(content, "defaults")
        locked = frozenset(map(str, self.list(content.get("locked", []), "locked")))
        if missing := sorted(locked - set(answers)):
            raise PolicyError(
                f"the policy {self.url} locks {missing[0]} and does not answer it",
                cause=f"the locked names of the {name} are not in its defaults",
                tip=f"add to its defaults: {missing[0]} = ...",
            )
        return Level(name, answers, locked)

    def group(self, name: str, table: object, organization: Level) -> Level:
        if not isinstance(table, dict) or set(table) - {"defaults", "locked", "repositories"}:
            raise PolicyError(
                f"the group {name} of the policy {self.url} is malformed",
                cause="it takes: repositories, locked, and the table defaults",
            )
        level = self.level(f"group {name}", table)
        for question in sorted(organization.locked & set(level.answers)):
            if level.answers[question] != organization.answers[question]:
                raise PolicyError(
                    f"the policy {self.url} contradicts itself about {question}",
                    cause=f"the {level.name} answers {to_text(level.answers[question])}, and the {ORGANIZATION} locks "
                    f"it to {to_text(organization.answers[question])}",
                )
        patterns = tuple(map(str, self.list(table.get("repositories", []), "repositories")))
        return Level(level.name, level.answers, level.locked, patterns)

    def waiver(self, table: object) -> Waiver:
        fields = {"repository", "rule", "question", "path", "owner", "reason", "expires"}
        if not isinstance(table, dict) or set(table) - fields or bool(table.get("rule")) is bool(table.get("question")):
            raise PolicyError(
                f"a waiver of the policy {self.url} is malformed",
                cause="it takes: repository, rule or question, path, owner, reason, expires",
            )
        subject = table.get("rule") or table.get("question")
        for name, example in (("repository", '"vision-*"'), ("owner", '"ada@example.org"'), ("reason", '"..."')):
            if not isinstance(table.get(name), str) or not table[name].strip():
                raise PolicyError(
                    f"the waiver of {subject} in the policy {self.url} has no {name}", tip=f"add: {name} = {example}"
                )
        expires = table.get("expires")
        if not isinstance(expires, datetime.date) or isinstance(expires, datetime.datetime):
            raise PolicyError(
                f"the waiver of {subject} in the policy {self.url} has no expiry",
                cause="an exception that never ends is a change of the policy",
                tip="add the last day, a TOML date: expires = 2027-01-31",
            )
        return Waiver(
            table["repository"],
            str(table.get("rule", "")),
            str(table.get("question", "")),
            str(table.get("path", "*")),
            table["owner"],
            table["reason"],
            expires,
        )


def _taken(policy: Policy, question: Any, values: Sequence[object]) -> list[Any]:
    """Values as the question takes them; for a question of many, forbidden values are single items."""
    taken: list[Any] = []
    for value in values:
        try:
            if question.many and not isinstance(value, list):
                taken.append(question.parse([value])[0])
            else:
                taken.append(question.parse(value))
        except AnswerError as error:
            raise PolicyError(f"the policy {policy.url}: {error.message}", cause=error.cause) from None
    return taken


def _matches(names: Sequence[str], pattern: str) -> bool:
    return any(fnmatchcase(name, pattern) for name in names)


def _place(level: str) -> str:
    return {ORGANIZATION: "[defaults]", "forbidden": "[forbidden]", "waivers": "[[waivers]]"}.get(
        level, f"[{level.replace('group ', 'groups.')}.defaults]"
    )
