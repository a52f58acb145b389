"""The command `labrig new`: from what the user answers to a repository on disk."""

from __future__ import annotations

import os
import re
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from . import presets, project, questionnaire
from .errors import AnswerError, LabrigError, NotInteractiveError, UsageError
from .render import Answers, RenderedFile, Template
from .report import GREEN, Report

if TYPE_CHECKING:
    from .source import Source


@dataclass(frozen=True)
class Request:
    """The command line of `labrig new`."""

    directory: str | None
    flags: Mapping[str, str] = field(default_factory=dict)
    settings: list[str] = field(default_factory=list)
    preset: list[str] = field(default_factory=list)
    answers_file: Path | None = None
    template: str | None = None
    template_version: str | None = None
    yes: bool = False
    advanced: bool = False
    dry_run: bool = False
    git: bool = True
    install: bool = False
    run: bool = False


def new(request: Request, source: Source, template: Template, report: Report) -> None:
    """Create the repository that `request` asks for, or say what stands against it."""
    started = time.monotonic()
    given = questionnaire.gather(
        template,
        preset=presets.combine(request.preset),
        answers_file=request.answers_file,
        environment=os.environ,
        settings=request.settings,
        flags=request.flags,
    )
    for sentence in questionnaire.unused_variables(template, os.environ):
        report.warn(sentence)
    interactive = not request.yes and not request.dry_run
    if interactive:
        _require_terminal(request, report)
    directory = request.directory or _directory_from_name(template, given, interactive=interactive)
    place = project.destination(Path(directory), source.root)
    for leftover in project.remove_leftovers(place.parent):
        report.warn(f"{leftover} may be left from a run that was interrupted", tip="remove it when no other run is going on")
    preferred = _preferred(template)
    answers = _resolve(template, given, place.path.name, preferred)
    if interactive:
        interview = questionnaire.Interview(
            template,
            given,
            folder_name=place.path.name,
            preferred=preferred,
            presets=presets.available() if not request.preset else [],
            report=report,
        )
        answers = interview.ask_all(advanced=request.advanced, choose_preset=not request.preset)
        started = time.monotonic()
    files = template.render(answers, src_path=source.url, commit=source.commit)
    if not request.dry_run:
        project.create(place, files, git=request.git)
    _conclude(request, directory, template, answers, files, preferred, report, time.monotonic() - started)
    if not request.dry_run and (request.install or request.run):
        _set_up(place.path, answers, report, run=request.run)


def _require_terminal(request: Request, report: Report) -> None:
    possible, reason = questionnaire.has_terminal()
    if possible and not report.json:
        return
    reason = reason or "with --json nobody is asked"
    command = ["labrig", "new", request.directory or "my-experiment", *_flags(request.flags), "--yes"]
    raise NotInteractiveError(
        "no question can be asked here, because " + reason,
        tip=f"take the defaults with: {shlex.join(command)}\nsee the questions with: labrig questions --json",
    )


def _directory_from_name(template: Template, given: questionnaire.Given, *, interactive: bool) -> str:
    """Without a directory, the repository goes to a folder that is named like the project."""
    name = given.answers.get("project_name")
    if name is None and interactive and "project_name" in template.questions:
        name = questionnaire.ask_name(template, given)
        given.add({"project_name": name}, "")
    if name is None:
        raise UsageError("no directory is given", tip="for example: labrig new my-experiment --yes")
    return str(template.accept("project_name", name, given.answers, folder_name=str(name)))


def _preferred(template: Template) -> dict[str, object]:
    """The answers that follow from this machine."""
    from . import machine

    found = machine.defaults(machine.detect())
    return {name: answer for name, answer in found.items() if name in template.questions}


def _resolve(
    template: Template, given: questionnaire.Given, folder_name: str, preferred: Mapping[str, object]
) -> Answers:
    try:
        return questionnaire.resolve(template, given, folder_name=folder_name, preferred=preferred)
    except AnswerError as error:
        if error.question == "project_name" and "project_name" not in given.answers:
            error.message = f"'{folder_name}' cannot be the name of a project"
            proposal = re.sub(r"[^a-z0-9]+", "-", folder_name.lower()).strip("-0123456789")[:39]
            error.tip = f"labrig new {proposal}" if len(proposal) > 1 else "labrig new my-experiment"
        raise


def _flags(answers: Mapping[str, object]) -> list[str]:
    return [
        word
        for name, answer in answers.items()
        for word in (f"--{name.replace('_', '-')}", questionnaire.to_text(answer))
    ]


def _command(
    request: Request, directory: str, template: Template, answers: Answers, preferred: Mapping[str, object]
) -> list[str]:
    """The command that creates the same repository without a question, with only what differs from the defaults."""
    environment = questionnaire.environment_answers(template, os.environ)
    needed = questionnaire.differences(template, answers, {}, preferred)
    needed |= questionnaire.differences(template, answers, environment, preferred) if environment else {}
    command = ["labrig", "new", directory, *_flags(needed)]
    if where := request.template or os.environ.get("LABRIG_TEMPLATE"):
        command += ["--template", where]
    if request.template_version:
        command += ["--template-version", request.template_version]
    return [*command, *([] if request.git else ["--no-git"]), "--yes"]


def _conclude(
    request: Request,
    directory: str,
    template: Template,
    answers: Answers,
    files: Mapping[str, RenderedFile],
    preferred: Mapping[str, object],
    report: Report,
    seconds: float,
) -> None:
    command = _command(request, directory, template, answers, preferred)
    steps = [f"cd {shlex.quote(directory)}"]
    if report.json:
        report.object(
            {
                "ok": True,
                "dry_run": request.dry_run,
                "directory": directory,
                "files": list(files),
                "answers": dict(answers.recorded),
                "next": steps,
                "command": command,
                "seconds": round(seconds, 2),
            }
        )
        return
    if request.dry_run:
        report.say(f"Would create {directory}/ with {len(files)} files:")
        for line in tree(files):
            report.data(line)
    else:
        report.say(f"{report.paint('Created', GREEN)} {directory}/  {len(files)} files, {seconds:.1f} s")
        report.say()
        report.heading("Next")
        for step in steps:
            report.say(f"  {step}")
    report.say()
    report.heading("Same again, without questions")
    report.say(f"  {shlex.join(command)}")


def tree(files: Mapping[str, RenderedFile]) -> list[str]:
    """The files as an indented list, each folder named once."""
    lines: list[str] = []
    shown: set[tuple[str, ...]] = set()
    for path in sorted(files, key=lambda path: [(part in "", part) for part in path.split("/")]):
        *folders, name = path.split("/")
        for depth in range(len(folders)):
            if (folder := tuple(folders[: depth + 1])) not in shown:
                shown.add(folder)
                lines.append(f"{'  ' * (depth + 1)}{folders[depth]}/")
        lines.append(f"{'  ' * (len(folders) + 1)}{name}{' *' if files[path].executable else ''}")
    return lines


def _set_up(directory: Path, answers: Answers, report: Report, *, run: bool) -> None:
    """Install the environment and, if asked, train the example; a failure keeps every file."""
    from . import environment

    try:
        environment.install(directory, answers, report)
        if run:
            environment.train(directory, answers, report)
    except KeyboardInterrupt:
        raise LabrigError(f"Stopped. The files in {directory} are complete.") from None
