"""The command `labrig check`: what is off in a repository, each thing with its identifier, its reason and its fix."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from . import keys
from .errors import LabrigError, RecordError, UsageError, did_you_mean
from .migration import migrate
from .policy import POLICY_FILE, Following, Shelf, Standard, Standards
from .record import Record, find_version, read_record
from .render import ANSWERS_FILE, Template
from .report import RED, Report
from .repository import Repository
from .source import Source
from .update import Rendered, Request, Versions, open_versions, render_old, require_truth


@dataclass(frozen=True)
class Rule:
    """One thing that can be off."""

    name: str
    about: str


RULES = {
    "LR001": Rule("behind", "There is a newer version of the template."),
    "LR002": Rule("record", "The answers file does not say what the repository was made of."),
    "LR003": Rule("drift", "A value or a line that the template sets is another one, or gone."),
    "LR004": Rule("missing", "A file of the template is gone."),
    "LR005": Rule("markers", "A file holds conflict markers."),
    "LR006": Rule("invalid", "A file is not valid in its format."),
    "LR007": Rule("interrupted", "An update was stopped half way."),
    "LR008": Rule("answers", "The newest version of the template cannot take an answer as it is."),
    "LR009": Rule("policy", "The repository is not as its organization's policy asks."),
    "LR010": Rule("waiver", "An exception from the policy has expired."),
}

# What a repository is there for: the template starts these files, and what becomes of them is the user's affair.
OWN_SUFFIXES = {".py", ".ipynb", ".md", ".rst", ".txt", ".cff", ".lock", ""}
MANAGED_NAMES = {"Dockerfile", "Makefile", ".python-version"}


@dataclass(frozen=True)
class Finding:
    """One thing that is off."""

    rule: str
    path: str
    line: int
    message: str
    fix: str


@dataclass(frozen=True)
class Result:
    """What was found in one repository."""

    directory: str
    version: str | None
    newest: str | None
    findings: tuple[Finding, ...]


def check(
    directories: Sequence[Path], ignored: Sequence[str], *, sarif: bool, report: Report, policy: str | None = None
) -> int:
    """Look at repositories; the exit code is 1 when something is off. policy: instead of those that they follow."""
    unknown = [rule for rule in ignored if rule not in RULES]
    if unknown:
        raise UsageError(f"there is no rule {unknown[0]}" + did_you_mean(unknown[0], RULES), tip=", ".join(RULES))
    with Checks(policy) as checks:
        if len(directories) > 1:
            results = [checks.look_or_say(directory, ignored) for directory in directories]
        else:
            results = [checks.look(directory, ignored) for directory in directories or [Path()]]
    found = any(result.findings for result in results)
    if sarif:
        report.object(_sarif(results))
    elif report.json:
        report.object({"ok": not found, "repositories": [asdict(result) for result in results]})
    else:
        for result in results:
            _say(result, report)
    return 1 if found else 0


class Checks:
    """Checks of many repositories: each template and each policy is opened once."""

    def __init__(self, policy: str | None = None) -> None:
        self._policy = policy
        self._stack = ExitStack()
        self._versions: dict[str | None, Versions] = {}
        self._shelf = self._stack.enter_context(Shelf())

    def __enter__(self) -> Checks:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def look_or_say(self, directory: Path, ignored: Sequence[str]) -> Result:
        """What is off in one of many: that it cannot be looked at is a finding, too."""
        try:
            return self.look(directory, ignored)
        except LabrigError as error:
            finding = _finding("LR002", _sentence(error), (error.tip or "").replace("\n", "; "))
            return Result(str(directory), None, None, () if "LR002" in ignored else (finding,))

    def look(self, directory: Path, ignored: Sequence[str] = ()) -> Result:
        """What is off in one repository."""
        return self.examine(Repository(directory), str(directory), ignored)

    def examine(self, repository: Repository, name: str, ignored: Sequence[str] = ()) -> Result:
        """The same for a repository that is open; `name` is shown."""
        version = newest = None
        findings: list[Finding] = []
        required: tuple[str, ...] = ()
        standard = None
        if repository.is_interrupted:
            findings.append(_finding("LR007", "an update was stopped half way", "labrig update undoes it first"))
        try:
            record = read_record(repository)
            version = record.version
            versions = self.open(record)
            source, _ = find_version(versions.history, record, None)
            target = versions.history.newest_after(source)
            newest = target.commit
            following, found = self.standards(repository)
            standard = found.new
            if standard is not None:
                required = standard.policy.rules
                standard.policy.require_valid(versions.template(target))
            rendered = render_old(repository, versions, source, record, found.old)
            findings += _behind(record, source, target)
            if standard is not None:
                findings += _policy(following, standard, versions.template(source), rendered)
            findings += _files(repository, rendered, found.old.files if found.old else frozenset())
            require_truth(repository, versions, record, rendered, found.old)
            if target.commit_hash != source.commit_hash:
                findings += _answers(repository, versions, target, rendered)
        except RecordError as error:
            findings.append(_finding("LR002", _sentence(error), (error.tip or "").replace("\n", "; ")))
        kept = [finding for finding in findings if finding.rule not in ignored or finding.rule in required]
        if standard is not None:
            kept = [finding for finding in kept if not standard.is_waived(finding.rule, finding.path)]
        return Result(name, version, newest, tuple(sorted(kept, key=lambda f: (f.rule, f.path, f.line))))

    def standards(self, repository: Repository) -> tuple[Following | None, Standards]:
        """The policy that a repository says it follows, and what it asks."""
        return self._shelf.standards(repository, self._policy)

    def open(self, record: Record) -> Versions:
        """The template of a repository, opened at the first look."""
        if record.where not in self._versions:
            self._versions[record.where] = self._stack.enter_context(open_versions(record, Request()))
        return self._versions[record.where]


def _finding(rule: str, message: str, fix: str) -> Finding:
    return Finding(rule, ANSWERS_FILE, 1, message, fix)


def _sentence(error: LabrigError) -> str:
    return error.message + (f": {error.cause}" if error.cause else "")


def _behind(record: Record, source: Source, target: Source) -> Iterator[Finding]:
    if target.commit_hash != source.commit_hash:
        yield _finding("LR001", f"{target.commit} is out; this is {record.version}", "labrig update")


def _answers(repository: Repository, versions: Versions, target: Source, rendered: Rendered) -> Iterator[Finding]:
    migration = migrate(versions.template(target), rendered.answers.recorded, {}, folder_name=repository.root.name)
    for each in migration.open:
        yield _finding("LR008", each.reason, f"labrig update {each.word('update')}")


def _policy(
    following: Following | None, standard: Standard, template: Template, rendered: Rendered
) -> Iterator[Finding]:
    source = standard.policy.source
    if following is None:
        yield Finding(
            "LR009", POLICY_FILE, 1, f"it does not follow the policy {standard.url}", "labrig update --policy URL"
        )
    elif following.url != standard.url:
        message = f"it follows {following.url}, and not the policy {standard.url}"
        yield Finding("LR009", POLICY_FILE, 1, message, "labrig update --policy URL")
    elif following.commit != source.commit_hash:
        message = f"the policy is at {source.commit} now; this follows {str(following.commit)[:12]}"
        yield Finding("LR001", POLICY_FILE, 1, message, "labrig update")
    for _, sentence in standard.deviations(template, rendered.answers.recorded):
        yield _finding("LR009", sentence, "labrig update, or a waiver in the policy")
    for waiver in standard.expired:
        yield _finding("LR010", waiver.sentence, f"ask {waiver.owner}: keep to the policy, or give it a new day there")


def _files(repository: Repository, rendered: Rendered, theirs: Collection[str]) -> Iterator[Finding]:
    """What is off in the files of the template. theirs: those of the policy's layers, which are all kept."""
    for path in repository.files:
        if path in rendered.files and path != ANSWERS_FILE:
            content = repository.read(path)
            for number, line in enumerate((content or b"").split(b"\n"), 1):
                if line.startswith((b"<<<<<<< ", b">>>>>>> ")):
                    yield Finding("LR005", path, number, "a conflict marker is left", "decide, and remove the markers")
                    break
    for path, file in rendered.files.items():
        if path == ANSWERS_FILE:
            continue
        content = repository.read(path)
        if content is None:
            if (is_managed(path) or path in theirs) and not repository.ignored([path]):
                fix = f"git log --diff-filter=D -- {path} shows who deleted it; if it is not wanted: --ignore LR004"
                yield Finding("LR004", path, 1, "the template has this file, and it is gone here", fix)
        elif (is_managed(path) or path in theirs) and content != file.content and path != POLICY_FILE:
            yield from _drift(path, file.content, content)


def is_managed(path: str) -> bool:
    """Whether a file is the template's to keep: settings and automation, no code, no prose, no lock."""
    name = PurePosixPath(path).name
    if name in MANAGED_NAMES or keys.format_of(path) == "ignore":
        return True
    return PurePosixPath(name).suffix not in OWN_SUFFIXES


def _drift(path: str, template: bytes, content: bytes) -> Iterator[Finding]:
    """What the template sets and the file does not have so. What the user added never counts."""
    kind = keys.format_of(path)
    texts = [each.decode(errors="replace") for each in (template, content)]
    if kind in keys.WRITERS:
        try:
            wanted = keys.parse(kind, texts[0])
        except keys.UnreadableError:
            kind = None  # with comments where the format has none: compared by lines
    if kind in keys.WRITERS:
        try:
            found = keys.parse(kind, texts[1])
        except keys.UnreadableError as error:
            stated = re.search(r"\bline (\d+)", str(error))
            fix = "correct it, or bring it back from git"
            yield Finding("LR006", path, int(stated[1]) if stated else 1, f"it is not valid: {error}", fix)
            return
        yield from _value_drift(path, texts[1], Counter(keys.leaves(wanted)), Counter(keys.leaves(found)))
        return
    lines = [Counter(line.rstrip() for line in text.splitlines()) for text in texts]
    for line in lines[0] - lines[1]:
        if line.strip() and not line.lstrip().startswith(("#", "//")):
            yield Finding("LR003", path, 1, f"a line of the template is gone: {line.strip()[:80]}", _KEEP)


_KEEP = "bring it back, or keep your own: --ignore LR003"


def _value_drift(path: str, text: str, wanted: Counter[str], found: Counter[str]) -> Iterator[Finding]:
    present = {leaf.partition(" = ")[0]: leaf.partition(" = ")[2] for leaf in found}
    for leaf in wanted - found:
        key, _, value = leaf.partition(" = ")
        shown = value.partition(" ")[2] or value
        if key in present and not key.endswith("[]"):
            other = present[key].partition(" ")[2] or present[key]
            message = f"{key} is {other}, and {shown} in the template"
        elif key.endswith("[]"):
            message = f"{key.removesuffix('[]')} does not hold {shown}"
        else:
            message = f"{key} is gone; it is {shown} in the template"
        yield Finding("LR003", path, _line_of(text, key), message, _KEEP)


def _line_of(text: str, key: str) -> int:
    """The line where the last word of a key stands, 1 where it does not."""
    word = re.escape(key.rstrip("[]").split(".")[-1].strip("[]"))
    pattern = re.compile(rf"(^|[\s\"'.\[])\"?{word}\"?\s*[=:\]]")
    return next((number for number, line in enumerate(text.splitlines(), 1) if pattern.search(line)), 1)


# Reports


def _say(result: Result, report: Report) -> None:
    for finding in result.findings:
        place = f"{PurePosixPath(result.directory) / finding.path}:{finding.line}"
        rule = f"{finding.rule} {RULES[finding.rule].name}"
        report.data(f"{place}: {report.paint(rule, RED)}: {finding.message}")
        report.data(f"  fix: {finding.fix}")
    if not result.findings:
        report.say(f"{result.directory}: nothing is off ({result.version})")


def _sarif(results: Sequence[Result]) -> Mapping[str, object]:
    """SARIF 2.1.0, which code hosts show beside the lines."""
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "labrig",
                        "rules": [
                            {"id": number, "name": rule.name, "shortDescription": {"text": rule.about}}
                            for number, rule in RULES.items()
                        ],
                    }
                },
                "results": [
                    {
                        "ruleId": finding.rule,
                        "level": "warning" if finding.rule in {"LR001", "LR003", "LR004"} else "error",
                        "message": {"text": f"{finding.message}. Fix: {finding.fix}"},
                        "locations": [
                            {
                                "physicalLocation": {
                                    "artifactLocation": {
                                        "uri": (PurePosixPath(result.directory) / finding.path).as_posix()
                                    },
                                    "region": {"startLine": finding.line},
                                }
                            }
                        ],
                    }
                    for result in results
                    for finding in result.findings
                ],
            }
        ],
    }
