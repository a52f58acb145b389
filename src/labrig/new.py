"""The command `labrig new`: from what the user answers to a repository on disk."""

from __future__ import annotations

import os
import re
import shlex
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from . import policy, presets, project, questionnaire
from .environment import commands, install, plan, train, training
from .errors import AnswerError, NotInteractiveError, UsageError
from .machine import defaults
from .questionnaire import Given, Questionnaire, Suggest
from .render import ANSWERS_FILE, Answers, RenderedFile, Template
from .report import GREEN, Report
from .update import render

if TYPE_CHECKING:
    from .machine import Machine
    from .policy import Standard
    from .presets import Preset
    from .source import Source


@dataclass(frozen=True)
class Request:
    """The command line of `labrig new`."""

    directory: str | None
    flags: Mapping[str, str] = field(default_factory=dict)
    settings: list[str] = field(default_factory=list)
    presets: list[str] = field(default_factory=list)
    answers_file: Path | None = None
    template: str | None = None
    template_version: str | None = None
    yes: bool = False
    advanced: bool = False
    dry_run: bool = False
    git: bool = True
    install: bool = False
    run: bool = False

    @property
    def interactive(self) -> bool:
        """Whether questions are to be asked."""
        return not self.yes and not self.dry_run


@dataclass(frozen=True)
class Outcome:
    """What was created, or with --dry-run would be."""

    directory: str
    answers: Answers
    files: Mapping[str, RenderedFile]
    command: list[str]  # does the same again, without questions

    def next_steps(self, request: Request) -> list[str]:
        """The commands that the user types next: those of the generated README that have not been run."""
        steps = [f"cd {shlex.quote(self.directory)}"]
        if {"accelerator", "package", "package_manager"} <= self.answers.keys():
            variant = str(self.answers["accelerator"])
            steps += [] if request.install or request.run else commands(plan(self.answers, variant))
            steps += [] if request.run else [str(training(self.answers, variant))]
        return steps


def new(
    request: Request, source: Source, template: Template, machine: Callable[[], Machine] | None, report: Report
) -> None:
    """Create the repository that `request` asks for, or say what stands against it.

    `machine` says what this machine has, and may have to wait for that; without it the template's defaults stand.
    """
    preset = presets.combine(request.presets)
    with policy.policy_among(request.presets) as found:
        standard = None
        if found is not None:
            policies, name = found
            names = [Path(request.directory or ".").resolve().name]
            standard = policies.newest().standard(names, name)
            standard.policy.require_valid(template)
            for waiver in standard.expired:
                report.warn(waiver.sentence)
        _new(request, source, template, machine, report, preset=preset, standard=standard)


def _new(
    request: Request,
    source: Source,
    template: Template,
    machine: Callable[[], Machine] | None,
    report: Report,
    *,
    preset: Preset,
    standard: Standard | None,
) -> None:
    started = time.monotonic()
    given = questionnaire.gather(
        template,
        preset=preset,
        levels=standard.presets if standard else (),
        answers_file=request.answers_file,
        environment=os.environ,
        settings=request.settings,
        flags=request.flags,
    )
    for sentence in questionnaire.unused_variables(template, os.environ):
        report.warn(sentence)
    if request.interactive:
        _require_terminal(request, report)
    directory = request.directory or _directory_from_name(template, given, interactive=request.interactive)
    place = project.destination(Path(directory), template_roots=[source.root, Path(source.url)])
    for leftover in project.remove_leftovers(place.parent):
        report.warn(f"{leftover} may be left from a run that was killed", cause="remove it when no other run goes on")
    questions = Questionnaire(template, given, place.path.name, _suggestions(template, machine))
    answers = _resolve(questions)
    if request.interactive:
        from .interview import Interview

        choices = [] if request.presets else presets.available()
        answers = Interview(questions, choices, report).ask_all(advanced=request.advanced)
        started = time.monotonic()
    if standard is not None:
        standard.require_allowed(template, answers.recorded, "labrig new")
    files = render(template, answers, source.url, source.commit, source.commit_hash, standard=standard)
    outcome = Outcome(directory, answers, files, _command(request, directory, questions, answers))
    complete = f"The files in {directory} are complete."
    try:
        if request.dry_run:
            _report_plan(outcome, report)
        else:
            project.create(place, files, git=request.git)
            report.state = complete
            _report_files(outcome, report, time.monotonic() - started)
            if request.install or request.run:
                install(place.path, answers, report)
            if request.run:
                train(place.path, answers, report)
        _report_end(outcome, request, report, time.monotonic() - started)
    except KeyboardInterrupt:
        if not request.dry_run and (place.path / ANSWERS_FILE).exists():
            report.state = complete
        raise


def _require_terminal(request: Request, report: Report) -> None:
    reason = questionnaire.why_nobody_can_be_asked() or ("with --json nobody is asked" if report.json else "")
    if reason:
        command = ["labrig", "new", request.directory or "my-experiment", *_options(request.flags), "--yes"]
        raise NotInteractiveError(
            f"no question can be asked here: {reason}",
            tip=f"take the defaults with: {shlex.join(command)}\nsee the questions with: labrig questions --json",
        )


def _directory_from_name(template: Template, given: Given, *, interactive: bool) -> str:
    """Without a directory, the repository goes to a folder that is named like the project."""
    name = given.answers.get("project_name")
    if name is None and interactive and "project_name" in template.questions:
        from .interview import ask_name

        name = ask_name(template, given)
        given.add({"project_name": name}, "")
    if name is None:
        raise UsageError("no directory is given", tip="for example: labrig new my-experiment --yes")
    return str(template.accept("project_name", name, given.answers, folder_name=str(name)))


def _suggestions(template: Template, machine: Callable[[], Machine] | None) -> Suggest:
    """What this machine suggests, for a template whose catalogue says what is built for it."""
    if machine is None or not {"builds", "drivers"} <= template.catalogue.keys():
        return lambda _: {}
    return lambda answers: defaults(machine(), answers, template.catalogue)


def _resolve(questions: Questionnaire) -> Answers:
    try:
        return questions.resolve()
    except AnswerError as error:
        if error.question == "project_name" and "project_name" not in questions.given.answers:
            folder = questions.folder_name
            error.message = f"'{folder}' cannot be the name of a project"
            proposal = re.sub(r"[^a-z0-9]+", "-", folder.lower()).strip("-0123456789")[:28]
            if proposal == folder.lower():  # well formed, so another package has the name
                proposal = f"{proposal}-experiment"
            error.tip = f"labrig new {proposal if len(proposal) > 1 else 'my-experiment'}"
        raise


def _options(answers: Mapping[str, object]) -> list[str]:
    return [
        word
        for name, answer in answers.items()
        for word in (f"--{name.replace('_', '-')}", questionnaire.to_text(answer))
    ]


def _command(request: Request, directory: str, questions: Questionnaire, answers: Answers) -> list[str]:
    """The command that creates the same repository without a question, with only what differs from the defaults."""
    variables = questionnaire.environment_answers(questions.template, os.environ)
    needed = questions.needed(answers, {})
    # On another machine, too: what this one has was an answer. Only the author is whoever runs it.
    elsewhere = replace(questions, suggest=lambda _: {}).needed(answers, {})
    needed |= {name: answer for name, answer in elsewhere.items() if not name.startswith("author_")}
    if variables:
        needed |= questions.needed(answers, variables)
    command = [
        "labrig",
        "new",
        directory,
        *_options({name: needed[name] for name in answers.recorded if name in needed}),
    ]
    if where := request.template or os.environ.get("LABRIG_TEMPLATE"):
        command += ["--template", where]
    if request.template_version:
        command += ["--template-version", request.template_version]
    switches = {"--no-git": not request.git, "--yes": True, "--install": request.install, "--run": request.run}
    return [*command, *(switch for switch, wanted in switches.items() if wanted)]


def _report_plan(outcome: Outcome, report: Report) -> None:
    report.say(f"Would create {outcome.directory} with {len(outcome.files)} files:")
    if not report.json:
        for line in tree(outcome.files):
            report.data(line)


def _report_files(outcome: Outcome, report: Report, seconds: float) -> None:
    created = report.paint("Created", GREEN)
    report.say(f"{created} {outcome.directory}  {len(outcome.files)} files, {seconds:.1f} s")


def _report_end(outcome: Outcome, request: Request, report: Report, seconds: float) -> None:
    steps = outcome.next_steps(request)
    if report.json:
        fields = {
            "ok": True,
            "dry_run": request.dry_run,
            "directory": outcome.directory,
            "files": list(outcome.files),
            "answers": dict(outcome.answers.recorded),
            "next": steps,
            "command": outcome.command,
            "seconds": round(seconds, 2),
        }
        report.object(fields)
        return
    if not request.dry_run:
        report.say()
        report.heading("Next")
        for step in steps:
            report.say(f"  {step}")
    report.say()
    report.heading("Same again, without questions")
    report.say(f"  {shlex.join(outcome.command)}")


def tree(files: Mapping[str, RenderedFile]) -> list[str]:
    """The files as an indented list, each folder named once; `*` marks what can be run."""
    lines: list[str] = []
    shown: set[tuple[str, ...]] = set()
    for path in sorted(files, key=lambda path: path.split("/")):
        *folders, name = path.split("/")
        for depth, folder in enumerate(folders):
            if (parents := tuple(folders[: depth + 1])) not in shown:
                shown.add(parents)
                lines.append(f"{'  ' * depth}{folder}/")
        lines.append(f"{'  ' * len(folders)}{name}{'*' if files[path].executable else ''}")
    return lines
