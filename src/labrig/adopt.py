"""The command `labrig adopt`: a repository that was made by hand comes under the template, on a branch of its own."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from . import guard, inference, keys, presets, questionnaire, transaction
from .errors import AnswerError, DecisionError, NotInteractiveError, RepositoryError, TemplateError, UsageError
from .inference import GUESS, STATED, Files, Found
from .merge import Entry, Merge, Store, merge
from .questionnaire import Given, Questionnaire, to_text, why_nobody_can_be_asked
from .record import parse_record
from .render import ANSWERS_FILE, Answers, RenderedFile, Template
from .report import GREEN, RED, YELLOW, Report
from .repository import Repository
from .selection import CI, HOOKS, MANIFEST, Selection
from .source import Source, is_own
from .transaction import Change
from .update import diff_lines, render, repository_store

BRANCH = "labrig-adopt"
EXCLUDE = "exclude"  # the question whose answer keeps what is left to the user out of every later update
MOST_COMMITS = 1000  # that are asked for their author
WIDEST = 40  # signs of an answer in the table
# What brings the group of tools, where `uv run` does not by itself.
INSTALLS = {"pip": "pip install --group dev (pip 25.1 or newer)", "poetry": "poetry lock && poetry install"}
TOOLS = {"mypy", "poethepoet", "prek", "pyright", "pytest", "ruff", "ty"}  # of an environment file, which has no groups
ENVIRONMENT = "environment.yml"
STAND_IN = "my-experiment"  # for a name that is open, so that everything open is found at once


@dataclass(frozen=True)
class Request:
    """The command line."""

    directory: Path = Path()
    level: str = "tools"
    branch: str = BRANCH
    with_project: bool = False
    flags: Mapping[str, str] = field(default_factory=dict)
    settings: list[str] = field(default_factory=list)  # KEY=VALUE
    presets: list[str] = field(default_factory=list)
    answers_file: Path | None = None
    plan: bool = False
    yes: bool = False


@dataclass(frozen=True)
class Place:
    """The repository, and the template that it comes under."""

    repository: Repository
    store: Store
    files: Files
    source: Source
    template: Template
    request: Request


@dataclass
class Adoption:
    """What the branch would hold. Nothing of it is in the user's repository yet."""

    answers: Answers
    found: Mapping[str, Found]
    open: Mapping[str, str]  # the answers that only a person can give, each with the reason
    merge: Merge
    kept: Mapping[str, str]  # what is left to the user, as `exclude` names it, and why
    notes: list[str]

    @property
    def changes(self) -> dict[str, Entry]:
        """The files that the branch adds or changes; it deletes none."""
        return {path: entry for path, entry in self.merge.changes.items() if entry is not None}

    def is_new(self, path: str) -> bool:
        """Whether the user has no such file."""
        return path not in self.merge.ours


def adopt(request: Request, source: Source, template: Template, report: Report) -> int:
    """Put the template's files beside the user's, on a branch. The user's own branch, index and files stay as they are.

    DecisionError when an answer has to be given by a person.
    """
    repository = Repository(request.directory)
    _require_adoptable(repository, request, source, template)
    with repository_store(repository) as store:
        place = Place(repository, store, _read(repository, store), source, template, request)
        choices = {name: [choice.value for choice in each.choices] for name, each in template.questions.items()}
        found = inference.infer(place.files, choices)
        answers, found, open_ = _decide(place, found, report)
        adoption = _propose(place, answers, found, open_)
        commits = [] if request.plan else _write_branch(place, adoption)
        _report(place, adoption, commits, report)
    return 0


# Before


def _require_adoptable(repository: Repository, request: Request, source: Source, template: Template) -> None:
    if (content := repository.committed(ANSWERS_FILE)) is not None:
        record = parse_record(content.decode(errors="replace"))
        if is_own(record.url) or record.url == source.url:
            raise RepositoryError(f"{repository.root} is under this template already", tip="labrig update")
        raise RepositoryError(
            f"{repository.root} follows another template",
            cause=f"{ANSWERS_FILE} is of {record.url}",
            tip="to follow both, give that file another name, which Copier takes with --answers-file:\n"
            f"git mv {ANSWERS_FILE} .copier-answers.other.yml && git commit --message 'Rename the answers file'",
        )
    if EXCLUDE not in template.questions:
        raise TemplateError(
            f"the template at {source.url} cannot take over a repository",
            cause=f"it has no question '{EXCLUDE}', so nobody could record what stays the user's own",
            tip="leave --template out to take labrig's own",
        )
    if source.commit_hash is None:
        raise UsageError(
            f"the template at {source.url} has no versions",
            cause="it is a folder without git history, so the repository could never be updated from it",
            tip="give the git repository that the folder is a copy of: --template URL",
        )
    branch = request.branch
    if repository.git.attempt("check-ref-format", "--branch", branch).returncode:
        raise UsageError(f"'{branch}' cannot be the name of a branch", tip=f"leave --branch out: it is {BRANCH} then")
    if repository.git.attempt("rev-parse", "--verify", "--quiet", f"refs/heads/{branch}").returncode == 0:
        raise RepositoryError(
            f"there is a branch {branch} already",
            tip=f"if it is of no use any more: git branch -D {shlex.quote(branch)}\nor take another name: --branch",
        )


def _read(repository: Repository, store: Store) -> Files:
    """The committed files, to be looked at."""
    regular = {path: entry for path, entry in repository.files.items() if entry.is_file}
    remote = repository.git.attempt("remote", "get-url", "origin").stdout.decode(errors="replace").strip()
    log = repository.git.run("log", "--no-merges", f"--max-count={MOST_COMMITS}", "--format=%aN\t%aE")
    authors = Counter(line for line in log.decode(errors="replace").splitlines() if "[bot]" not in line)
    name, _, address = authors.most_common(1)[0][0].partition("\t") if authors else ("", "", "")
    return Files(
        regular,
        lambda path: store.read(regular[path]),
        folder=repository.root.name,
        remote=remote,
        author=(name, address),
    )


# Answers


Decided = tuple[Answers, dict[str, Found], dict[str, str]]


def _decide(place: Place, found: dict[str, Found], report: Report) -> Decided:
    """All answers, where they come from, and those that only a person can give, each with the reason."""
    request, template = place.request, place.template
    given = questionnaire.gather(
        template,
        preset=presets.combine(request.presets),
        answers_file=request.answers_file,
        environment=os.environ,
        settings=request.settings,
        flags=request.flags,
    )
    wishes = {name: answer.value for name, answer in found.items()}
    questions = Questionnaire(template, given, str(wishes["project_name"]), lambda _: wishes)
    said = set(given.answers)
    open_: dict[str, str] = {}
    while True:
        try:
            answers = questions.resolve()
            break
        except AnswerError as error:
            if error.question in given.answers:
                raise
            open_[error.question] = f"{error.message}: {error.cause}"
            given.answers[error.question] = STAND_IN  # to see all that is open at once
    for name, answer in found.items():
        if name in said or name not in template.questions:
            continue
        if to_text(answers.recorded.get(name)) != to_text(answer.value):
            taken = ", ".join(to_text(value) for _, value, reason in questions.offer(name).choices if not reason)
            reason = f"{answer.source} says {to_text(answer.value)}, which cannot be taken"
            open_.setdefault(name, f"{name}: {reason}" + (f"; choose {taken}" if taken else ""))
        elif answer.confidence == GUESS:
            open_.setdefault(name, f"{name}: {answer.source}")
    if request.yes and open_ and not request.plan:
        raise _open_error(request, open_)
    if request.plan or request.yes:
        return answers, found | _given(questions.given, answers, said), open_
    if reason := why_nobody_can_be_asked() or ("with --json nobody is asked" if report.json else ""):
        raise NotInteractiveError(
            f"no question can be asked here: {reason}",
            tip=f"see what it would do with: {_command(request)} --plan\n"
            f"take what was found with: {_command(request)} --yes",
        )
    from .interview import Interview  # noqa: PLC0415 - with --yes nobody is asked

    for line in _table(answers, found | _given(questions.given, answers, said)):
        report.say(line)
    answers = Interview(questions, [], report).ask_open(open_)
    return answers, found | _given(questions.given, answers, set(questions.given.answers)), {}


def _given(given: Given, answers: Answers, said: set[str]) -> dict[str, Found]:
    """The answers that a person gave, as what was found."""
    return {
        name: Found(answers.recorded[name], given.origins.get(name) or "you", STATED)
        for name in said & answers.recorded.keys()
    }


def _command(request: Request) -> str:
    return "labrig adopt" + (f" {shlex.quote(str(request.directory))}" if request.directory != Path() else "")


def _open_error(request: Request, open_: Mapping[str, str]) -> DecisionError:
    flags = " ".join(f"--{name.replace('_', '-')} ..." for name in open_)
    return DecisionError(
        list(open_),
        f"{'an answer has' if len(open_) == 1 else f'{len(open_)} answers have'} to be given by you",
        cause="\n".join(open_.values()),
        tip=f"{_command(request)} --level {request.level} {flags} --yes",
    )


# Files


def _propose(place: Place, answers: Answers, found: Mapping[str, Found], open_: Mapping[str, str]) -> Adoption:
    """Merge what is taken of the template into the repository: both come from nothing, and the user's stands."""
    repository, source, template, request = place.repository, place.source, place.template, place.request
    others = [path for path, entry in repository.files.items() if not entry.is_file]
    selection = Selection(place.files, others, request.level, request.with_project)
    rendered = template.render(answers)
    ignored = repository.ignored(path for path in rendered if path not in repository.files)
    kept: dict[str, str] = {}
    for name, reason in selection.left_to_user(answers, rendered, ignored):
        if not any(f"{name}/".startswith(f"{known}/") for known in kept):
            kept[name] = reason
    rewritten: set[str] = set()  # files that a longer list of the user's would change a line of
    while True:
        words = dict.fromkeys([*str(answers[EXCLUDE]).split(), *kept])
        answers = template.resolve({**answers.recorded, EXCLUDE: " ".join(words)}, folder_name=answers.folder_name)
        left = render(template, answers, source.url, source.commit, source.commit_hash)
        if kept.keys() & left.keys():
            raise TemplateError(
                f"the template at {source.url} cannot take over a repository",
                cause=f"its `_exclude` does not heed the answer to the question '{EXCLUDE}'",
                tip="leave --template out to take labrig's own",
            )
        taken: dict[str, RenderedFile] = {}
        standing: dict[str, str] = {}
        for path, file in left.items():
            taken[path], more = selection.taken(path, file, unite=path not in rewritten)
            standing |= more
        merged = merge(place.store, repository.tree, {}, taken)
        spoiled = {conflict.path: conflict.reason for conflict in merged.conflicts}
        spoiled |= dict.fromkeys(_rewritten(merged), "a line of yours would be written anew")
        unnameable = {name.partition(":")[0] for name in standing.keys() & kept.keys()}  # to leave the key did not help
        kept |= standing | dict.fromkeys(unnameable, "yours stands")
        kept |= {path: f"yours cannot be merged: {spoiled[path]}" for path in spoiled.keys() & rewritten}
        rewritten |= spoiled.keys()
        if not standing and not spoiled:
            break
    guard.require_no_loss(merged)
    repository.require_room(merged.changes)
    kept = {name: why for name, why in kept.items() if _concerns(name, rendered)}
    return Adoption(answers, found, open_, merged, kept, list(_remarks(place, answers, merged, selection, rendered)))


def _rewritten(merged: Merge) -> Iterator[str]:
    """The files of the user's that do not hold every line as it was."""
    for path, entry in merged.changes.items():
        if entry is not None and path in merged.ours:
            before, after = (Counter(merged.store.read(each).splitlines()) for each in (merged.ours[path], entry))
            if before - after:
                yield path


def _concerns(name: str, rendered: Mapping[str, RenderedFile]) -> bool:
    """Whether the template has something at a place now, and not only with other answers."""
    return any(f"{path}/".startswith(f"{name.partition(':')[0]}/") for path in rendered)


def _remarks(
    place: Place, answers: Answers, merged: Merge, selection: Selection, rendered: Mapping[str, RenderedFile]
) -> Iterator[str]:
    """What is left to do, or to know."""
    files, run = place.files, answers.get("run", "")
    if MANIFEST in merged.changes:
        for lock, command in (("uv.lock", "uv lock"), ("poetry.lock", "poetry lock")):
            if lock in files.paths:
                yield f"{lock} is of the {MANIFEST} before: on the branch, {command}"
            elif lock == "uv.lock" and merged.changes.keys() & set(CI):
                yield f"the CI wants {lock}: on the branch, {command}, and commit it"
        if ENVIRONMENT in rendered and ENVIRONMENT not in merged.changes:
            listed = keys.parse("yaml", rendered[ENVIRONMENT].content.decode())["dependencies"]
            missing = sorted(TOOLS & set(map(keys.item_name, listed)) - files.requirements.keys())
            if missing:
                yield f"add to your environment: {', '.join(missing)}"
        steps = [INSTALLS.get(str(answers.get("package_manager")), ""), f"{run}poe format", f"{run}poe check"]
        yield f"your code has not been through these tools: on the branch, {', then '.join(filter(None, steps))}"
    if HOOKS in merged.changes and HOOKS in files.paths:
        yield f"{HOOKS} has hooks of both now: where two do the same, drop one"
    if selection.takes_project and files.requirements:
        yield f"[project] does not list what {next(iter(files.requirements.values()))} asks for: add that to it"
    workflows = files.named(r"\.github/workflows/.*")
    for path in merged.changes:
        if workflows and path in CI:
            yield f"{path} runs beside {', '.join(workflows)}"
    words = ("status", "--porcelain", "--untracked-files=no", "--ignore-submodules=dirty", "--", ".")
    if changed := place.repository.git.run(*words).splitlines():
        yield f"what is not committed was not looked at: changes in {len(changed)} files"


# The branch


def _write_branch(place: Place, adoption: Adoption) -> list[str]:
    """Commit what is new, what is merged, and the answers, one after the other; the names of the commits."""
    repository, git = place.repository, place.repository.git
    changes = adoption.changes
    transaction.import_objects(repository, place.store, Change(changes))
    new = [path for path in changes if adoption.is_new(path) and path != ANSWERS_FILE]
    steps = {
        "Add files of the template": new,
        "Take settings of the template over": [path for path in changes if not adoption.is_new(path)],
        "Record the answers that the template was given": [ANSWERS_FILE],
    }
    commits = [repository.head]
    with tempfile.TemporaryDirectory(prefix="labrig-adopt-") as folder:
        here = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        git.run("read-tree", repository.head, variables=here)
        for title, paths in steps.items():
            lines = [
                f"{changes[path].mode} {changes[path].name} 0\t".encode() + os.fsencode(repository.prefix + path)
                for path in paths
            ]
            if not lines:
                continue
            git.run("update-index", "-z", "--index-info", stdin=b"\0".join([*lines, b""]), variables=here)
            tree = git.run("write-tree", variables=here).decode().strip()
            body = _described(adoption) if ANSWERS_FILE in paths else ""
            message = f"{title}\n\n{body}".strip() + "\n"
            made = git.run("commit-tree", tree, "-p", commits[-1], "-F", "-", stdin=message.encode())
            commits.append(made.decode().strip())
    git.run("update-ref", f"refs/heads/{place.request.branch}", commits[-1], "0" * len(commits[-1]))
    return commits[1:]


def _described(adoption: Adoption) -> str:
    """The report, for the message of the last commit."""
    blocks = ["\n".join(_table(adoption.answers, adoption.found))]
    if adoption.kept:
        blocks.append("Left as it is:\n" + "\n".join(_left(adoption.kept)))
    return "\n\n".join(blocks)


# What is said


def _table(answers: Answers, found: Mapping[str, Found]) -> list[str]:
    """Every answer with its source and how far that can be trusted."""
    rows = []
    for name, answer in answers.recorded.items():
        if name == EXCLUDE:
            continue
        origin = found.get(name)
        taken = origin is not None and to_text(origin.value) == to_text(answer)
        source = f"{origin.confidence}: {origin.source}" if origin and taken else "the default"
        rows.append((name, to_text(answer) or "(empty)", source))
    rows = [(name, text if len(text) <= WIDEST else f"{text[: WIDEST - 3]}...", source) for name, text, source in rows]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return [f"{name:{widths[0]}}  {text:{widths[1]}}  {source}" for name, text, source in rows]


def _left(kept: Mapping[str, str]) -> list[str]:
    """What is left to the user, with each reason once."""
    names: dict[str, list[str]] = {}
    for name, why in kept.items():
        names.setdefault(why, []).append(name)
    return [f"{', '.join(each)}: {why}" for why, each in names.items()]


def _report(place: Place, adoption: Adoption, commits: list[str], report: Report) -> None:
    request = place.request
    git = "git" if place.repository.root == Path.cwd() else f"git -C {shlex.quote(str(place.repository.root))}"
    branch = shlex.quote(request.branch)
    steps = [f"{git} diff HEAD...{branch}", f"{git} merge {branch}", f"{git} branch -D {branch}"]
    if report.json:
        report.object(
            {
                "ok": True,
                "plan": request.plan,
                "branch": None if request.plan else request.branch,
                "commits": commits,
                "answers": dict(adoption.answers.recorded),
                "found": {name: asdict(each) for name, each in adoption.found.items()},
                "open": dict(adoption.open),
                "files": {path: "added" if adoption.is_new(path) else "changed" for path in adoption.changes},
                "left": dict(adoption.kept),
                "notes": adoption.notes,
                "next": [] if request.plan else steps,
            }
        )
        return
    if request.plan:
        for line in diff_lines(adoption.merge, adoption.changes):
            report.data(line)
    report.heading("Answers")
    for line in _table(adoption.answers, adoption.found):
        report.say(f"  {line}")
    added = sum(map(adoption.is_new, adoption.changes))
    report.heading(f"{added} files added, {len(adoption.changes) - added} changed, no line of yours removed")
    for path in adoption.changes:
        report.say(f"  {'A' if adoption.is_new(path) else 'M'} {path}")
    for line in _left(adoption.kept):
        report.say(f"  {report.paint('left', YELLOW)} {line}")
    for line in adoption.notes:
        report.say(f"  {report.paint('note', YELLOW)} {line}")
    for line in adoption.open.values():
        report.say(f"  {report.paint('open', RED)} {line}")
    if request.plan:
        report.say("Nothing was written.")
        return
    report.say(report.paint(f"{len(commits)} commits on the branch {request.branch}; yours is as it was.", GREEN))
    report.say()
    report.heading("Next")
    width = max(map(len, steps))
    for step, why in zip(steps, ("look at it", "take it", "or drop it"), strict=True):
        report.say(f"  {step:{width}}  # {why}")
