"""The commands `labrig update`, `set` and `diff`: another version, or other answers, merged into a repository."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from . import environment, guard, keys, transaction
from .errors import (
    AnswerError,
    DecisionError,
    RecordError,
    TemplateError,
    TemplateNotFoundError,
    TemplateUnreachableError,
    UnknownQuestionError,
    UsageError,
    did_you_mean,
)
from .merge import Conflict, Entry, Merge, Store, is_binary, merge, open_store
from .migration import Migration, migrate
from .policy import Shelf, Standard, Standards
from .questionnaire import parse_settings, to_text, typed_answers, why_nobody_can_be_asked
from .record import MOST_FORMER, Record, find_version, parse_record, read_record
from .render import ANSWERS_FILE, Answers, RenderedFile, Template
from .report import GREEN, RED, YELLOW, Report
from .repository import Repository
from .source import History, Source, open_history
from .transaction import Change

MOST_DECISIONS = 100  # each answer may make another one impossible; more than this is a circle


@dataclass(frozen=True)
class Request:
    """The command line."""

    directory: Path = Path()
    command: str = "update"  # as it was typed, to be shown in what to do next
    settings: list[str] = field(default_factory=list)  # KEY=VALUE
    forget: list[str] = field(default_factory=list)
    to: str | None = None
    stated: str | None = None  # what --from says the repository was made of
    template: str | None = None
    policy: str | None = None  # instead of the one that the repository follows
    same_version: bool = False  # other answers only
    plan: bool = False
    yes: bool = False
    lock: bool = True
    test: bool = False


class Versions:
    """A template with its versions, each read once: for any number of repositories."""

    def __init__(self, history: History) -> None:
        self.history = history
        self._templates: dict[Path, Template] = {}

    def template(self, source: Source) -> Template:
        """The template of one version."""
        if source.root not in self._templates:
            self._templates[source.root] = Template(source.root)
        return self._templates[source.root]


@dataclass(frozen=True)
class Situation:
    """A repository, what it says it was made of, and the template that it was made of."""

    repository: Repository
    record: Record
    versions: Versions
    store: Store
    standards: Standards = field(default_factory=Standards)


@dataclass(frozen=True)
class Rendered:
    """One version of the template with one set of answers."""

    source: Source
    answers: Answers
    files: Mapping[str, RenderedFile]


@dataclass
class Proposal:
    """What an update would do. Nothing is changed yet."""

    record: Record
    old: Rendered
    new: Rendered
    migration: Migration
    merge: Merge
    change: Change
    remarks: list[str] = field(default_factory=list)

    @property
    def conflicts(self) -> list[Conflict]:
        """Where a person has to decide."""
        return self.merge.conflicts

    @property
    def answers_changed(self) -> dict[str, object]:
        """The answers that are new or have another value."""
        before = self.old.answers.recorded
        return {name: value for name, value in self.new.answers.recorded.items() if before.get(name) != value}


def update(request: Request, report: Report) -> int:
    """Merge a newer version, or other answers, into the repository. The exit code is 0 or, with conflicts, 3."""
    repository = Repository(request.directory)
    with transaction.alone(repository):
        repository.require_quiet()
        record = _record(repository, request)
        with (
            open_versions(record, request) as versions,
            open_standards(repository, request.policy) as found,
            repository_store(repository) as store,
        ):
            proposal = decide(Situation(repository, record, versions, store, found), request, report)
            if proposal is None:
                _report_nothing(request, record, report)
                return 0
            if request.plan:
                return _report_plan(proposal, report)
            before = None
            if request.test:
                before = environment.run_tests(repository.root, proposal.old.answers, report)
            transaction.apply(repository, store, proposal.change)
            report.state = f"The files are updated; the state before: {undo_command(repository, proposal.conflicts)}"
        locked = None
        if request.lock and not proposal.conflicts:
            locked = _refresh_lock(repository, proposal, report)
        worse = _compare_tests(repository, proposal, before, report) if before is not None else []
        _report_done(repository, proposal, request, report, locked=locked, worse=worse)
        return 3 if proposal.conflicts else 1 if worse else 0


def diff(request: Request, report: Report) -> int:
    """Show what an update would change, as `git diff` shows it; nothing is written."""
    return update(replace(request, plan=True), report)


@contextmanager
def open_versions(record: Record, request: Request) -> Iterator[Versions]:
    """The template of a repository, or the one that the user names instead."""
    where = request.template or record.where
    if where is not None and request.template is None and where.startswith((".", "~")):
        raise RecordError(
            f"{ANSWERS_FILE} gives the template as '{where}'",
            cause="a relative path says nothing without the folder that it starts from",
            tip="give the template: labrig update --template URL",
        )
    with ExitStack() as stack:
        try:
            history = stack.enter_context(open_history(where))
        except (TemplateNotFoundError, TemplateUnreachableError) as error:
            if request.template is None:
                error.tip = (
                    f"{error.tip or 'see whether it can be reached'}\nif it has moved: labrig update --template URL"
                )
            raise
        yield Versions(history)


@contextmanager
def open_standards(repository: Repository, where: str | None) -> Iterator[Standards]:
    """What the policy of a repository asked of it, and what it asks now; without a policy, nothing."""
    with Shelf() as shelf:
        yield shelf.standards(repository, where)[1]


@contextmanager
def repository_store(repository: Repository) -> Iterator[Store]:
    """A store for merges beside the repository's objects."""
    repository.fetch_missing()
    with open_store(repository.objects, repository.object_format) as store:
        yield store


def decide(situation: Situation, request: Request, report: Report) -> Proposal | None:
    """What the update does, with the decisions of the user where some are needed; None when there is nothing to do."""
    settings, forget = list(request.settings), list(request.forget)
    for _ in range(MOST_DECISIONS):
        current = replace(request, settings=settings, forget=forget)
        try:
            return propose(situation, current)
        except DecisionError as error:
            if request.yes or report.json or why_nobody_can_be_asked():
                raise
            settings, forget = _ask(situation, current, error, report)
    raise UsageError("the answers exclude each other, whatever is answered")


def propose(situation: Situation, request: Request) -> Proposal | None:
    """What the update does without asking anybody: DecisionError when an answer has to be given anew."""
    repository, record, versions, store = situation.repository, situation.record, situation.versions, situation.store
    source, remarks = find_version(versions.history, record, request.stated)
    target = _target(versions.history, source, request)
    standard = situation.standards.new
    old = render_old(repository, versions, source, record, situation.standards.old)
    if request.stated is None:
        require_truth(repository, versions, record, old, situation.standards.old)
    template = versions.template(target)
    given = typed_answers(template, parse_settings(request.settings))
    for name in given:
        if name not in template.questions:
            raise UnknownQuestionError(
                name, f"there is no question '{name}'" + did_you_mean(name, template.questions), tip="labrig questions"
            )
    wishes: dict[str, object] = {}
    if standard is not None:
        standard.policy.require_valid(template)
        wishes = standard.wishes(template, old.answers.recorded)
        remarks += [waiver.sentence for waiver in standard.expired]
        given |= standard.corrections(template, old.answers.recorded, given)
    migration = _migrate(
        template, old, given, wishes, folder_name=repository.root.name, forgotten=frozenset(request.forget)
    )
    migration.require_decided(_command(request))
    if standard is not None:
        standard.require_allowed(template, migration.answers.recorded, _command(request))
    url = versions.history.url if request.template else record.url
    same_template = target.commit_hash == source.commit_hash and request.template is None and request.stated is None
    same_template = same_template and standard is None
    if same_template and migration.answers.recorded == old.answers.recorded:
        return None  # the tag may be called otherwise meanwhile
    new_files = render(template, migration.answers, url, target.commit, target.commit_hash, standard=standard)
    if ANSWERS_FILE not in new_files:
        raise TemplateError(
            f"version {target.commit} of the template does not record the answers",
            cause=f"it writes no {ANSWERS_FILE}, so it could not be updated from",
            tip="give another version: --to REF",
        )
    new = Rendered(target, migration.answers, new_files)
    if new_files == old.files:
        return None
    merged = _merge(repository, store, old, new)
    guard.require_no_loss(merged)
    decided = {*given, *request.forget, *migration.renamed, *migration.dropped, *migration.followed}
    guard.answers_kept(old.answers.recorded, parse_record(_text(new_files[ANSWERS_FILE])).answers, decided)
    change, notes = _change(repository, merged)
    if not change.files:
        return None
    return Proposal(record, old, new, migration, merged, change, [*remarks, *merged.notes, *notes])


def undo_command(repository: Repository, conflicts: Sequence[Conflict]) -> str:
    """What brings the state before an update back."""
    git = "git" if repository.root == Path.cwd() else f"git -C {shlex.quote(str(repository.root))}"
    if not repository.prefix:
        return f"{git} reset --hard" + (" --no-recurse-submodules" if ".gitmodules" in repository.files else "")
    # In a folder of a larger repository, the rest of which is left alone.
    restore = f"{git} restore --source=HEAD --staged --worktree ."
    new = [shlex.quote(conflict.path) for conflict in conflicts if conflict.path not in repository.files]
    return f"{git} rm --quiet --force -- {' '.join(new)} && {restore}" if new else restore


# Steps


def _record(repository: Repository, request: Request) -> Record:
    try:
        return read_record(repository)
    except RecordError:
        if request.template is None or request.stated is None or repository.committed(ANSWERS_FILE) is None:
            raise
        # The user says what the file does not: only the answers are read.
        text = (repository.committed(ANSWERS_FILE) or b"").decode(errors="replace")
        return parse_record(f"_src_path: {request.template}\n{text}")


def _target(history: History, source: Source, request: Request) -> Source:
    """The version to go to."""
    if request.same_version:
        return source
    if request.to is not None:
        return history.version(request.to)
    return history.newest_after(source)


def render(
    template: Template,
    answers: Answers,
    url: str,
    commit: str | None,
    commit_hash: str | None,
    *,
    standard: Standard | None = None,
) -> dict[str, RenderedFile]:
    """What the template gives, without the keys that are left to the user: `exclude` may hold FILE:KEY.

    What the layers of a policy write comes after it, in place of files of the same name.
    """
    files = template.render(answers, src_path=url, commit=commit, commit_hash=commit_hash)
    left: dict[str, list[str]] = {}
    for path, colon, key in (word.partition(":") for word in str(answers.get("exclude", "")).split()):
        if colon and path in files and keys.format_of(path) in keys.WRITERS:
            left.setdefault(path, []).append(key)
    for path, names in left.items():
        kind, text = keys.format_of(path) or "", files[path].content.decode()
        kept = keys.without(kind, text, names)
        if keys.parse(kind, kept):
            files[path] = replace(files[path], content=kept.encode())
        else:
            del files[path]
    if standard is not None:
        files |= standard.render(template, answers, src_path=url, commit=commit, commit_hash=commit_hash)
    return files


def render_old(
    repository: Repository, versions: Versions, source: Source, record: Record, standard: Standard | None = None
) -> Rendered:
    """What the template gave with the answers that are recorded."""
    template = versions.template(source)
    try:
        answers = template.resolve({}, folder_name=repository.root.name, preferred=record.answers)
    except AnswerError as error:
        raise RecordError(
            f"{ANSWERS_FILE} does not answer {error.question}",
            cause=f"version {source.commit} of the template needs it: {error.message}",
            tip="write the line back, or say which version fits the answers: labrig update --from VERSION",
        ) from error
    wrong = [
        name
        for name, value in record.answers.items()
        if name in template.questions and name in answers.recorded and not _means(template, name, value, answers)
    ]
    if wrong:
        name = wrong[0]
        raise RecordError(
            f"{ANSWERS_FILE} says {name}: {to_text(record.answers[name])}, which {source.commit} does not take",
            cause="the file was edited by hand, or it is of another version",
            tip=f"git log -p -- {ANSWERS_FILE} shows what it said before; or: labrig update --from VERSION",
        )
    files = render(template, answers, record.url, record.version, record.commit_hash, standard=standard)
    others = {name: value for name, value in record.answers.items() if name not in template.questions}
    answers = Answers(answers.values_by_name, {**answers.recorded, **others}, answers.folder_name)
    return Rendered(source, answers, files)


def _migrate(
    template: Template,
    old: Rendered,
    given: Mapping[str, object],
    wishes: dict[str, object],
    *,
    folder_name: str,
    forgotten: frozenset[str],
) -> Migration:
    """The answers in the new version. What the policy wishes is left out where it cannot be answered."""
    while True:
        answers = {**wishes, **given}
        try:
            return migrate(template, old.answers.recorded, answers, folder_name=folder_name, forgotten=forgotten)
        except AnswerError as error:
            if error.question in given or wishes.pop(error.question, None) is None:
                raise


def _means(template: Template, name: str, value: object, answers: Answers) -> bool:
    try:
        return template.questions[name].parse(value) == answers.recorded[name]
    except AnswerError:
        return False


def require_truth(
    repository: Repository, versions: Versions, record: Record, now: Rendered, standard: Standard | None = None
) -> None:
    """RecordError when the files are those of an older answers file: a merge took it over, or somebody edited it."""
    if all(repository.files.get(path) == _entry(repository, file) for path, file in now.files.items()):
        return
    for content in repository.former(ANSWERS_FILE, MOST_FORMER):
        try:
            former = parse_record(content.decode(errors="replace"))
            if (former.version, former.answers) == (record.version, record.answers) or former.url != record.url:
                continue
            source, _ = find_version(versions.history, former, None)
            then = render_old(repository, versions, source, former, standard)
        except (RecordError, UsageError):
            continue  # that one was wrong as well
        differing = [
            path
            for path in now.files.keys() | then.files.keys()
            if path != ANSWERS_FILE and now.files.get(path) != then.files.get(path)
        ]
        fits_now, fits_then = (
            [path for path in differing if repository.files.get(path) == _entry(repository, each.files.get(path))]
            for each in (now, then)
        )
        if len(fits_then) > len(fits_now):
            raise _lie(record, former, sorted(fits_then), len(differing))


def _lie(record: Record, former: Record, fitting: list[str], differing: int) -> RecordError:
    examples = ", ".join(fitting[:3]) + (", ..." if len(fitting) > 3 else "")
    if former.version != record.version:
        return RecordError(
            f"{ANSWERS_FILE} says {record.version}, but the files are those of {former.version}",
            cause=f"{len(fitting)} of the {differing} files that differ between the two: {examples}; "
            "a merge may have taken the newer answers file and the older files",
            tip=f"labrig update --from {former.version}",
        )
    changed = [name for name in record.answers if former.answers.get(name) != record.answers[name]]
    now = " ".join(f"{name}={to_text(record.answers[name])}" for name in changed)
    then = " ".join(f"{name}={to_text(former.answers[name])}" for name in changed if name in former.answers)
    return RecordError(
        f"{ANSWERS_FILE} says {now}, but the files are those of {then}",
        cause=f"{len(fitting)} of the {differing} files that differ between the two: {examples}; "
        "the file was edited by hand",
        tip=f"write {then} back and commit; if you want the other answer: labrig set {shlex.quote(now)}",
    )


def _entry(repository: Repository, file: RenderedFile | None) -> Entry | None:
    if file is None:
        return None
    import hashlib  # noqa: PLC0415

    algorithm = hashlib.new(repository.object_format, usedforsecurity=False)
    algorithm.update(f"blob {len(file.content)}\0".encode() + file.content)
    return Entry("100755" if file.executable else "100644", algorithm.hexdigest())


def _merge(repository: Repository, store: Store, old: Rendered, new: Rendered) -> Merge:
    # The answers file is the record, not a text: the old one counts as it is, and only remarks are taken over.
    present = repository.committed(ANSWERS_FILE) or b""
    before = RenderedFile(present, repository.files[ANSWERS_FILE].mode == "100755")
    written = [files[ANSWERS_FILE] for files in (old.files, new.files) if ANSWERS_FILE in files]
    known = {line.strip() for file in written for line in _text(file).splitlines()}
    remarks = [line for line in present.decode(errors="replace").splitlines() if line.strip().startswith("#")]
    remarks = [line for line in remarks if line.strip() not in known]
    after = new.files[ANSWERS_FILE]
    kept = RenderedFile(after.content + "".join(f"{line}\n" for line in remarks).encode(), before.executable)
    names = f"template {old.source.commit}", "yours", f"template {new.source.commit}"
    return merge(
        store,
        repository.tree,
        {**old.files, ANSWERS_FILE: before},
        {**new.files, ANSWERS_FILE: kept},
        names=names,
    )


def _change(repository: Repository, merged: Merge) -> tuple[Change, list[str]]:
    """What is written where, and what has to be said about it."""
    files = merged.changes
    added = [path for path, entry in files.items() if entry is not None and path not in merged.ours]
    # What holds something of the user's, because the template renamed a file, is written and committed all the same.
    ignored = repository.ignored(path for path in added if merged.result[path] == merged.theirs.get(path))
    present = {path for path in ignored if repository.has(path)}
    files = {path: entry for path, entry in files.items() if path not in present}
    for conflict in merged.conflicts:
        files.setdefault(conflict.path, merged.result.get(conflict.path))
    notes = []
    for path in sorted({*merged.left_out, *present}):
        if repository.has(path):
            notes.append(f"{path} is left alone, because git does not have it; the template has changed it")
        else:
            notes.append(f"{path} stays deleted; the template has changed it")
    known = {entry.name: path for path, entry in merged.ours.items() if path not in merged.result}
    for path in added:
        entry = files.get(path)
        if entry is not None and path not in merged.theirs and entry.name in known:
            notes.append(f"{known[entry.name]} moved to {path}, as the template moved its folder")
    repository.require_room(files)
    stages = {conflict.path: conflict.stages for conflict in merged.conflicts}
    return Change(files, stages, frozenset(ignored - present)), notes


def _ask(situation: Situation, request: Request, error: DecisionError, report: Report) -> tuple[list[str], list[str]]:
    """Ask for the first open answer; returns what is set and what is forgotten with it."""
    from .interview import ask_again, confirm  # noqa: PLC0415 - most updates ask nothing

    versions, record = situation.versions, situation.record
    source, _ = find_version(versions.history, record, request.stated)
    template = versions.template(_target(versions.history, source, request))
    name = error.questions[0]
    reason = next((line for line in (error.cause or "").splitlines() if name in line), error.message)
    if name not in template.questions or f"--forget {name}" in (error.tip or ""):
        if not confirm(f"{reason}. Go on without it?"):
            raise error
        return request.settings, [*request.forget, name]
    report.say(reason)
    given = typed_answers(template, parse_settings(request.settings))
    preferred = {key: value for key, value in record.answers.items() if key != name}
    folder_name = situation.repository.root.name
    answer = ask_again(template, name, given, folder_name=folder_name, preferred=preferred, report=report)
    return [*request.settings, f"{name}={to_text(answer)}"], request.forget


def _command(request: Request) -> str:
    words = ["labrig", request.command]
    if request.command == "set":
        words += [shlex.quote(setting) for setting in request.settings]
    for name, value in (("--to", request.to), ("--from", request.stated), ("--template", request.template)):
        words += [name, value] if value else []
    return " ".join(words)


def _text(file: RenderedFile) -> str:
    return file.content.decode(errors="replace")


# Afterwards


def _refresh_lock(repository: Repository, proposal: Proposal, report: Report) -> str | None:
    """Bring the lock up to date when the manifest has changed: `locked`, `failed`, or None when there was no need."""
    known = environment.lock_step(proposal.new.answers)
    if known is None:
        return None
    step, manifest, lock = known
    if manifest not in proposal.change.files or not (repository.root / lock).is_file():
        return None
    if step.activated and not (repository.root / ".venv").is_dir():
        report.warn(f"{lock} is of the manifest before", tip=f"in the activated environment: {step}")
        return "failed"
    try:
        environment.run_step(step, repository.root, report)
    except environment.CommandError as error:
        report.warn(f"{lock} is of the manifest before", cause=error.message, tip=str(step))
        return "failed"
    changed = [path for path in repository.files if path.endswith(".lock")]
    repository.git.run("add", "--", *changed) if changed else None
    return "locked"


def _compare_tests(repository: Repository, proposal: Proposal, before: Mapping[str, bool], report: Report) -> list[str]:
    """The tests that passed before and do not any more."""
    after = environment.run_tests(repository.root, proposal.new.answers, report)
    worse = [name for name, passed in before.items() if passed and not after.get(name, True)]
    worse += [name for name, passed in after.items() if not passed and name not in before]
    report.say(
        f"Tests: {sum(before.values())} of {len(before)} passed before, {sum(after.values())} of {len(after)} now"
    )
    for name in worse:
        report.say(f"  {report.paint('worse', RED)} {name}")
    return worse


def _report_nothing(request: Request, record: Record, report: Report) -> None:
    if report.json:
        report.object({"ok": True, "changed": False, "version": record.version})
    elif request.same_version:
        report.say("Nothing to change: these are the answers already.")
    else:
        report.say(f"Up to date with {record.version}.")


def _report_plan(proposal: Proposal, report: Report) -> int:
    if report.json:
        report.object({**_described(proposal), "plan": True})
    else:
        for line in diff_lines(proposal.merge, proposal.change.files):
            report.data(line)
        _report_lists(proposal, report)
        report.say("Nothing was written.")
    return 3 if proposal.conflicts else 0


def diff_lines(merge: Merge, files: Mapping[str, Entry | None]) -> Iterator[str]:
    """What becomes of the user's files, as `git diff` shows it. None deletes."""
    import difflib  # noqa: PLC0415

    store = merge.store
    for path, entry in files.items():
        before = merge.ours.get(path)
        contents = [store.read(each) if each is not None and each.mode != "160000" else b"" for each in (before, entry)]
        if before is not None and entry is not None and before.mode != entry.mode:
            yield f"{path}: mode {before.mode} to {entry.mode}"
        if any(is_binary(content) for content in contents):
            yield f"{path}: binary files differ"
            continue
        texts = [content.decode(errors="replace").split("\n") for content in contents]
        yield from difflib.unified_diff(
            texts[0] if before else [],
            texts[1] if entry else [],
            f"a/{path}" if before else "/dev/null",
            f"b/{path}" if entry else "/dev/null",
            lineterm="",
        )


def _report_done(
    repository: Repository,
    proposal: Proposal,
    request: Request,
    report: Report,
    *,
    locked: str | None,
    worse: list[str],
) -> None:
    undo = undo_command(repository, proposal.conflicts)
    if report.json:
        report.object({**_described(proposal), "plan": False, "lock": locked, "worse_tests": worse, "undo": undo})
        return
    _report_lists(proposal, report)
    report.say()
    report.heading("Next")
    if proposal.conflicts:
        report.say("  decide at each place, then: git add FILE ... && git commit")
    else:
        commit = f"git commit --message {shlex.quote(_message(proposal, request))}"
        width = max(len(commit), len(undo))
        report.say(f"  {'git diff --cached':{width}}  # look at it")
        report.say(f"  {commit:{width}}  # take it")
        undo = f"{undo:{width}}"
    report.say(f"  {undo}  # or go back to the state before")


def _message(proposal: Proposal, request: Request) -> str:
    if request.same_version:
        return "Set " + ", ".join(f"{name}={to_text(value)}" for name, value in proposal.answers_changed.items())
    return f"Update the template to {proposal.new.source.commit}"


def _report_lists(proposal: Proposal, report: Report) -> None:
    old, new = proposal.old.source.commit, proposal.new.source.commit
    head = f"{old} to {new}" if old != new else f"{new}, other answers"
    report.heading(f"{head}: {_counted(proposal)}")
    for path, entry in proposal.change.files.items():
        letter = "D" if entry is None else "M" if path in proposal.merge.ours else "A"
        report.say(f"  {letter} {path}")
    for name, heir in proposal.migration.renamed.items():
        report.say(f"  the question {name} is called {heir} now")
    for name, value in proposal.migration.added.items():
        report.say(f"  new question {name}: {to_text(value) or '(empty)'}   (another answer: labrig set {name}=...)")
    for name, value in proposal.migration.dropped.items():
        report.say(f"  {name} is not asked any more; it was {to_text(value)}")
    for name, value in proposal.migration.followed.items():
        report.say(f"  {name} follows: {to_text(value)}   (another answer: labrig set {name}=...)")
    for remark in proposal.remarks:
        report.say(f"  {report.paint('note', YELLOW)} {remark}")
    for conflict in proposal.conflicts:
        report.say(f"{report.paint('conflict', RED)} {conflict.path}: {conflict.reason}")
        for place in conflict.places:
            report.say(f"  {conflict.path}:{place.line}")
            report.detail([f"yours:    {line}" for line in place.ours.split("\n")])
            report.detail([f"template: {line}" for line in place.theirs.split("\n")])
    if not proposal.conflicts:
        report.say(report.paint("Merged without a conflict.", GREEN))


def _counted(proposal: Proposal) -> str:
    files = proposal.change.files
    deleted = sum(entry is None for entry in files.values())
    added = sum(entry is not None and path not in proposal.merge.ours for path, entry in files.items())
    return f"{len(files) - deleted - added} files changed, {added} added, {deleted} deleted"


def _described(proposal: Proposal) -> dict[str, object]:
    return {
        "ok": not proposal.conflicts,
        "changed": True,
        "from": proposal.old.source.commit,
        "to": proposal.new.source.commit,
        "answers": dict(proposal.new.answers.recorded),
        "files": {
            path: "deleted" if entry is None else "changed" if path in proposal.merge.ours else "added"
            for path, entry in proposal.change.files.items()
        },
        "conflicts": [
            {
                "path": conflict.path,
                "reason": conflict.reason,
                "places": [
                    {"line": place.line, "yours": place.ours, "template": place.theirs} for place in conflict.places
                ],
            }
            for conflict in proposal.conflicts
        ],
        "notes": proposal.remarks,
    }
