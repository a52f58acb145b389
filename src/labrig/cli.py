"""The command line: commands, options and help, no logic."""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .errors import LabrigError, StoppedError, UsageError

if TYPE_CHECKING:
    from .machine import Machine
    from .questions import Question
    from .render import Template
    from .report import Report
    from .source import Source

ABOUT = "Start a machine-learning research repository, and keep it up to date."

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout; nothing is asked.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]
Where = Annotated[
    str | None,
    typer.Option("--template", metavar="URL|PATH", help="Another template than labrig's own. [LABRIG_TEMPLATE]"),
]
Preset = Annotated[
    list[str] | None,
    typer.Option(
        "--preset",
        "-p",
        metavar="NAME|FILE|URL#NAME",
        help="Start from a preset, or from an organization's policy; may be repeated. [LABRIG_PRESET]",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="QUESTION=ANSWER", help="Answer one question; may be repeated."),
]
AnswersFile = Annotated[
    Path | None, typer.Option("--answers", metavar="FILE", help="Answers in YAML, or a .copier-answers.yml.")
]
Version = Annotated[
    str | None, typer.Option("--template-version", metavar="REF", help="A tag, branch or commit of the template.")
]


PolicyPlace = Annotated[
    str | None,
    typer.Option(
        "--policy",
        metavar="URL|PATH",
        envvar="LABRIG_POLICY",
        show_envvar=False,
        help="An organization's policy, instead of the one that the repository follows. [LABRIG_POLICY]",
    ),
]


class Program:
    """One run of labrig: what was typed, the template once it is open, and the voice.

    The options for the template and the voice are read here, because both are needed before Typer has understood the
    command line: the template for the options of its questions, the voice for errors.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = words
        self.resources = ExitStack()
        self.machine: Callable[[], Machine] | None = None
        self._template: tuple[Source, Template] | None = None

    def look_around(self) -> None:
        """Start to look at this machine: that waits for other programs, while the template is read here."""
        from concurrent.futures import ThreadPoolExecutor

        from .machine import detect

        pool = ThreadPoolExecutor(max_workers=1)
        self.machine = pool.submit(detect).result
        pool.shutdown(wait=False)

    @property
    def template(self) -> tuple[Source, Template]:
        """The template that the command line names, opened at the first look."""
        if self._template is None:
            from .render import Template
            from .source import open_template

            where, version = _option(self.words, "--template"), _option(self.words, "--template-version")
            source = self.resources.enter_context(open_template(where, version))
            self._template = source, Template(source.root)
        return self._template

    @cached_property
    def report(self) -> Report:
        """The voice, from the first word on: also for errors in the command line itself."""
        from .report import Report

        return Report(quiet=bool({"--quiet", "-q"} & set(self.words)), json="--json" in self.words)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run labrig; the exit code is 0 done, 1 failed, 2 wrong use, 3 a person is needed, 130 stopped."""
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    program = Program(words)
    try:
        with program.resources:
            return _run(program)
    except KeyboardInterrupt:
        error: LabrigError = StoppedError(f"Stopped. {program.report.state}")
    except LabrigError as failure:
        error = failure
    program.report.error(error)
    return error.exit_code


def _run(program: Program) -> int:
    completing = "_LABRIG_COMPLETE" in os.environ
    is_new = program.words[:1] == ["new"]
    asks = program.words[:1] in (["new"], ["adopt"])
    if is_new and not {"-h", "--help"} & set(program.words):
        program.look_around()
    app = application(program, with_questions=completing or asks)
    try:
        code = app(program.words, prog_name="labrig", standalone_mode=False)
    except typer.TyperException as error:
        message = re.sub(r" \(Possible options: (--[\w-]+).*\)$", r". Did you mean '\1'?", error.format_message())
        known = {command.name for command in app.registered_commands} | {group.name for group in app.registered_groups}
        words = [word for word in program.words[:1] if word in known]
        raise UsageError(message.rstrip("."), tip=" ".join(["labrig", *words, "--help"])) from error
    if code == 130:  # Typer's way to say that Ctrl-C was pressed
        raise KeyboardInterrupt
    return code if isinstance(code, int) else 0


def application(program: Program, *, with_questions: bool) -> typer.Typer:
    """The commands. With questions, `new` and `adopt` have an option for each, which costs reading the template."""
    app = typer.Typer(
        help=ABOUT,
        rich_markup_mode=None,  # plain help is there in half the time
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )

    @app.callback()
    def labrig(
        version: Annotated[
            bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
        ] = False,
    ) -> None:
        del version

    def new(
        flags: dict[str, str],
        directory: Annotated[
            str | None, typer.Argument(help="Where to create it. The name of the folder becomes the project's name.")
        ] = None,
        *,
        yes: Annotated[
            bool, typer.Option("--yes", "-y", help="Ask nothing: take the default of every other question.")
        ] = False,
        advanced: Annotated[bool, typer.Option("--advanced", help="Ask every question.")] = False,
        dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="List the files and write nothing.")] = False,
        install: Annotated[bool, typer.Option("--install", help="Then lock, install and test it.")] = False,
        run: Annotated[bool, typer.Option("--run", help="Then install it and train the example.")] = False,
        git: Annotated[bool, typer.Option("--git/--no-git", help="Make it a git repository, without a commit.")] = True,
        preset: Preset = None,
        set_: Settings = None,
        answers: AnswersFile = None,
        template: Where = None,
        template_version: Version = None,
        json: Json = False,
        quiet: Quiet = False,
    ) -> None:
        from .new import Request
        from .new import new as create

        del json, quiet
        request = Request(
            directory=directory,
            flags=flags,
            settings=set_ or [],
            presets=_presets_named(preset),
            answers_file=answers,
            template=template,
            template_version=template_version,
            yes=yes,
            advanced=advanced,
            dry_run=dry_run,
            git=git,
            install=install,
            run=run,
        )
        source, renderer = program.template
        create(request, source, renderer, program.machine, program.report)

    app.command("new", help="Create a repository. It asks at most 12 questions; with --yes none.")(
        _with_answers(new, program.template[1] if with_questions else None)
    )

    @app.command("questions", help="List every question, its choices and its default.")
    def questions(template: Where = None, template_version: Version = None, json: Json = False) -> None:
        from .questionnaire import list_questions

        del template, template_version, json
        list_questions(program.template[1], program.report)

    @app.command("doctor", help="Compare this machine with what a repository asks for, and name the remedy.")
    def doctor(
        directory: Annotated[
            Path | None, typer.Argument(help="A generated repository; without one, this machine and all accelerators.")
        ] = None,
        template: Where = None,
        template_version: Version = None,
        json: Json = False,
        quiet: Quiet = False,
    ) -> None:
        from .doctor import doctor as examine

        del template, template_version, json, quiet
        raise typer.Exit(examine(directory, program.template[0].root, program.report))

    _add_adoption(app, program, with_questions=with_questions)
    _add_updates(app, program)
    _add_looks(app, program)
    app.add_typer(_presets(program), name="presets", help="List, show and save presets: named sets of answers.")
    app.add_typer(_fleet(program), name="fleet", help="Many repositories: their states, trials, and rollouts in rings.")
    return app


Directory = Annotated[Path, typer.Argument(help="The repository.", show_default=False)]
To = Annotated[str | None, typer.Option("--to", metavar="REF", help="A tag, branch or commit instead of the newest.")]
From = Annotated[
    str | None,
    typer.Option("--from", metavar="REF", help="The version it was made of, where .copier-answers.yml is wrong."),
]
Forget = Annotated[
    list[str] | None,
    typer.Option("--forget", metavar="QUESTION", help="Give up the answer to a question that is gone."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing; stop where a person has to decide.")]
Plan = Annotated[bool, typer.Option("--plan", "-n", help="Show the diff and write nothing.")]
Lock = Annotated[bool, typer.Option("--lock/--no-lock", help="Then refresh the lock, if the manifest has changed.")]
Tests = Annotated[bool, typer.Option("--test", help="Run the repository's tests before and after.")]


def _add_adoption(app: typer.Typer, program: Program, *, with_questions: bool) -> None:
    """The command that brings an existing repository under the template."""

    def adopt(
        flags: dict[str, str],
        directory: Directory = Path(),
        *,
        level: Annotated[
            Literal["answers", "tools", "full"],
            typer.Option("--level", help="How much to take: answers and CI, the tools, too, or all."),
        ] = "tools",
        branch: Annotated[str, typer.Option("--branch", help="The branch that is made.")] = "labrig-adopt",
        with_project: Annotated[
            bool, typer.Option("--with-project", help="Add [project] to pyproject.toml, beside a setup.py too.")
        ] = False,
        preset: Preset = None,
        set_: Settings = None,
        answers: AnswersFile = None,
        plan: Plan = False,
        yes: Yes = False,
        template: Where = None,
        template_version: Version = None,
        json: Json = False,
        quiet: Quiet = False,
    ) -> None:
        from .adopt import Request
        from .adopt import adopt as run

        del template, template_version, json, quiet
        request = Request(
            directory,
            level=level,
            branch=branch,
            with_project=with_project,
            flags=flags,
            settings=set_ or [],
            presets=_presets_named(preset),
            answers_file=answers,
            plan=plan,
            yes=yes,
        )
        source, renderer = program.template
        raise typer.Exit(run(request, source, renderer, program.report))

    app.command("adopt", help="Bring a repository that was made by hand under the template, on a branch.")(
        _with_answers(adopt, program.template[1] if with_questions else None)
    )


def _add_updates(app: typer.Typer, program: Program) -> None:
    """The commands that change a repository which is there already."""

    @app.command("update", help="Merge a newer version of the template into a repository.")
    def update(
        directory: Directory = Path(),
        to: To = None,
        stated: From = None,
        set_: Settings = None,
        forget: Forget = None,
        plan: Plan = False,
        yes: Yes = False,
        lock: Lock = True,
        test: Tests = False,
        policy: PolicyPlace = None,
        template: Where = None,
        json: Json = False,
        quiet: Quiet = False,
    ) -> None:
        from .update import Request
        from .update import update as run

        del json, quiet
        request = Request(
            directory,
            settings=set_ or [],
            forget=forget or [],
            to=to,
            stated=stated,
            policy=policy,
            template=template,
            plan=plan,
            yes=yes,
            lock=lock,
            test=test,
        )
        raise typer.Exit(run(request, program.report))

    @app.command("set", help="Give other answers to a repository, at the same version of the template.")
    def set_answers(
        settings: Annotated[list[str], typer.Argument(metavar="QUESTION=ANSWER...", help="The new answers.")],
        directory: Annotated[Path, typer.Option("--directory", "-C", help="The repository.")] = Path(),
        stated: From = None,
        forget: Forget = None,
        plan: Plan = False,
        yes: Yes = False,
        lock: Lock = True,
        test: Tests = False,
        policy: PolicyPlace = None,
        template: Where = None,
        json: Json = False,
        quiet: Quiet = False,
    ) -> None:
        from .update import Request
        from .update import update as run

        del json, quiet
        request = Request(
            directory,
            command="set",
            settings=settings,
            forget=forget or [],
            stated=stated,
            policy=policy,
            template=template,
            same_version=True,
            plan=plan,
            yes=yes,
            lock=lock,
            test=test,
        )
        raise typer.Exit(run(request, program.report))

    @app.command("diff", help="Show what a newer version, or other answers, would change.")
    def diff(
        settings: Annotated[
            list[str] | None, typer.Argument(metavar="QUESTION=ANSWER...", help="Other answers.")
        ] = None,
        directory: Annotated[Path, typer.Option("--directory", "-C", help="The repository.")] = Path(),
        to: To = None,
        stated: From = None,
        forget: Forget = None,
        policy: PolicyPlace = None,
        template: Where = None,
        json: Json = False,
    ) -> None:
        from .update import Request
        from .update import diff as run

        del json
        request = Request(
            directory,
            command="set" if settings and not to else "update",
            settings=settings or [],
            forget=forget or [],
            to=to,
            stated=stated,
            policy=policy,
            template=template,
            same_version=bool(settings) and not to,
        )
        raise typer.Exit(run(request, program.report))


def _add_looks(app: typer.Typer, program: Program) -> None:
    """The commands that only look at repositories."""

    @app.command("check", help="Say what is off in repositories: version, drift, records; exit 1 when something is.")
    def check(
        directories: Annotated[
            list[Path] | None, typer.Argument(metavar="DIR...", help="The repositories; without one, this folder.")
        ] = None,
        ignore: Annotated[
            list[str] | None, typer.Option("--ignore", metavar="RULE", help="Leave a rule out; may be repeated.")
        ] = None,
        sarif: Annotated[bool, typer.Option("--sarif", help="SARIF on stdout, for code hosts.")] = False,
        policy: PolicyPlace = None,
        json: Json = False,
        quiet: Quiet = False,
    ) -> None:
        from .check import check as run

        del json, quiet
        raise typer.Exit(run(directories or [], ignore or [], sarif=sarif, report=program.report, policy=policy))

    @app.command("why", help="Say which answer, layer and version wrote a line, or that it is yours.")
    def why(
        place: Annotated[str, typer.Argument(metavar="PATH[:LINE]", help="A file, or one line of it.")],
        json: Json = False,
    ) -> None:
        from .why import why as run

        del json
        raise typer.Exit(run(place, program.report))


def _presets(program: Program) -> typer.Typer:
    app = typer.Typer(rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]})

    @app.callback(invoke_without_command=True)
    def default(context: typer.Context) -> None:
        if context.invoked_subcommand is None:
            list_(json=False)

    @app.command("list", help="List the presets: built in, and your own.")
    def list_(json: Json = False) -> None:
        from .presets import list_presets

        del json
        list_presets(program.report)

    @app.command("show", help="Show the answers of a preset.")
    def show(
        name: Annotated[str, typer.Argument(metavar="NAME|FILE|URL#NAME", help="The preset.")], json: Json = False
    ) -> None:
        from .presets import show_preset

        del json
        show_preset(name, program.report)

    @app.command("save", help="Save answers as a preset of your own.")
    def save(
        name: Annotated[str, typer.Argument(help="Its name.")],
        settings: Annotated[list[str] | None, typer.Argument(metavar="QUESTION=ANSWER", help="The answers.")] = None,
        answers: Annotated[
            Path | None, typer.Option("--answers", metavar="FILE", help="Take the answers of a repository or a file.")
        ] = None,
        json: Json = False,
    ) -> None:
        from .questionnaire import save_preset

        del json
        save_preset(name, settings or [], answers, program.template[1], program.report)

    return app


Fleet = Annotated[
    str,
    typer.Argument(metavar="WHERE", help="A list of addresses, a folder, gh:OWNER or gl:GROUP.", show_default=False),
]
Include = Annotated[
    list[str] | None, typer.Option("--include", metavar="PATTERN", help="Only these names; may be repeated.")
]
Exclude = Annotated[list[str] | None, typer.Option("--exclude", metavar="PATTERN", help="Not these names.")]
Topics = Annotated[list[str] | None, typer.Option("--topic", metavar="TOPIC", help="Only those with such a topic.")]
Shard = Annotated[str, typer.Option("--shard", metavar="I/N", help="One part of N, for a matrix of CI jobs.")]
LedgerFile = Annotated[
    Path | None, typer.Option("--ledger", metavar="FILE", help="What was seen and done. [labrig-fleet.sqlite]")
]
Cache = Annotated[Path | None, typer.Option("--cache", metavar="FOLDER", help="Where mirrors are kept.")]
Fetch = Annotated[bool, typer.Option("--fetch/--no-fetch", help="Bring the mirrors up to date first.")]
ExecutorName = Annotated[
    str | None,
    typer.Option("--executor", metavar="MODULE:FUNCTION", help="Work on an executor of concurrent.futures."),
]
Jobs = Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Processes. [one for each core]")]
Ignore = Annotated[list[str] | None, typer.Option("--ignore", metavar="RULE", help="Leave a rule of check out.")]
Spacing = Annotated[float, typer.Option("--spacing", min=0, metavar="SECONDS", help="Between writes to a host.")]


def _fleet(program: Program) -> typer.Typer:
    app = typer.Typer(
        rich_markup_mode=None, no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]}
    )

    def add_scan(name: str, about: str, *, strict: bool) -> None:
        @app.command(name, help=about)
        def scan(
            where: Fleet,
            include: Include = None,
            exclude: Exclude = None,
            topic: Topics = None,
            shard: Shard = "1/1",
            ignore: Ignore = None,
            policy: PolicyPlace = None,
            ledger: LedgerFile = None,
            cache: Cache = None,
            fetch: Fetch = True,
            executor: ExecutorName = None,
            jobs: Jobs = None,
            json: Json = False,
            quiet: Quiet = False,
        ) -> None:
            from .fleet.command import Request, run_scan

            del json, quiet
            request = Request(
                where, include or [], exclude or [], topic or [], shard, policy, ledger, cache, fetch, executor, jobs,
                ignore or [],
            )  # fmt: skip
            raise typer.Exit(run_scan(request, program.report, strict=strict))

    add_scan("scan", "Say the state of every repository; exit 1 when one is broken.", strict=False)
    add_scan("check", "Say all that is off in every repository; exit 1 when something is.", strict=True)

    @app.command("simulate", help="Try a version of the template, or a policy, on all of them; nothing is written.")
    def simulate(
        where: Fleet,
        to: To = None,
        template: Where = None,
        budget: Annotated[
            str, typer.Option("--budget", metavar="N|N%", help="So many may need a person; else exit 1.")
        ] = "0",
        locks: Annotated[bool, typer.Option("--locks", help="Resolve the locks, too, whose manifest changes.")] = False,
        include: Include = None,
        exclude: Exclude = None,
        topic: Topics = None,
        shard: Shard = "1/1",
        policy: PolicyPlace = None,
        ledger: LedgerFile = None,
        cache: Cache = None,
        fetch: Fetch = True,
        executor: ExecutorName = None,
        jobs: Jobs = None,
        json: Json = False,
        quiet: Quiet = False,
    ) -> None:
        from .fleet.command import Request, run_simulate
        from .fleet.simulation import Target

        del json, quiet
        request = Request(
            where, include or [], exclude or [], topic or [], shard, policy, ledger, cache, fetch, executor, jobs
        )
        raise typer.Exit(run_simulate(request, Target(to, template, locks=locks), budget, program.report))

    _add_rollouts(app, program)

    @app.command("report", help="Show what the ledger holds: a table, --json, or one page with --html.")
    def report(
        html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write one page.")] = None,
        ledger: LedgerFile = None,
        json: Json = False,
        quiet: Quiet = False,
    ) -> None:
        from .fleet.command import Request, run_report

        del json, quiet
        raise typer.Exit(run_report(Request(ledger=ledger), html, program.report))

    @app.command("log", help="Show what a campaign did in one repository.")
    def log(
        campaign: Annotated[str, typer.Argument(help="Its name.")],
        repository: Annotated[str, typer.Argument(help="The repository's name.")],
        ledger: LedgerFile = None,
    ) -> None:
        from .fleet.command import Request, run_log

        raise typer.Exit(run_log(Request(ledger=ledger), campaign, repository, program.report))

    return app


def _add_rollouts(app: typer.Typer, program: Program) -> None:
    """The commands that open requests."""

    @app.command("update", help="Roll a version out in rings: one branch and one request for each repository.")
    def update(
        where: Fleet,
        to: To = None,
        template: Where = None,
        rings: Annotated[
            str, typer.Option("--rings", metavar="N|N%|TOPIC|PATTERN,...", help="Who comes first, second, ...")
        ] = "1,5%,25%,100%",
        campaign: Annotated[str | None, typer.Option("--campaign", metavar="NAME", help="What it is called.")] = None,
        failures: Annotated[int, typer.Option("--failures", min=0, help="So many new CI failures do not halt it.")] = 0,
        most_open: Annotated[int, typer.Option("--most-open", min=0, help="So many requests are open at once.")] = 0,
        wait: Annotated[float, typer.Option("--wait", min=0, metavar="MINUTES", help="For CI results.")] = 0,
        lock: Annotated[bool, typer.Option("--lock/--no-lock", help="Make locks anew whose manifest changes.")] = True,
        drafts: Annotated[bool, typer.Option("--drafts", help="Open drafts with conflict markers, too.")] = False,
        failed: Annotated[bool, typer.Option("--failed", help="Try those again that failed.")] = False,
        spacing: Spacing = 1.0,
        include: Include = None,
        exclude: Exclude = None,
        topic: Topics = None,
        shard: Shard = "1/1",
        policy: PolicyPlace = None,
        ledger: LedgerFile = None,
        cache: Cache = None,
        json: Json = False,
        quiet: Quiet = False,
    ) -> None:
        from .fleet.campaign import Rollout
        from .fleet.command import Request, run_update
        from .fleet.simulation import Target

        del json, quiet
        request = Request(where, include or [], exclude or [], topic or [], shard, policy, ledger, cache)
        rollout = Rollout(
            request.options,
            Target(to, template),
            lock=lock,
            drafts=drafts,
            most_failures=failures,
            most_open=most_open,
            wait_seconds=60 * wait,
            spacing_seconds=spacing,
            failed_only=failed,
        )
        raise typer.Exit(run_update(request, rollout, rings, campaign, program.report))

    @app.command("revert", help="Close what is open of a campaign, and propose the reverse of what was merged.")
    def revert(
        campaign: Annotated[str, typer.Argument(help="Its name.")],
        spacing: Spacing = 1.0,
        ledger: LedgerFile = None,
        cache: Cache = None,
        json: Json = False,
        quiet: Quiet = False,
    ) -> None:
        from .fleet.campaign import Rollout
        from .fleet.command import Request, run_revert
        from .fleet.simulation import Target

        del json, quiet
        request = Request(ledger=ledger, cache=cache)
        rollout = Rollout(request.options, Target(), spacing_seconds=spacing)
        raise typer.Exit(run_revert(request, rollout, campaign, program.report))


def _with_answers(command: Callable[..., None], template: Template | None) -> Callable[..., None]:
    """`command` with an option for every question of `template`; it gets them together, as `flags`."""
    parameters = [
        parameter
        for parameter in inspect.signature(command, eval_str=True).parameters.values()
        if parameter.name != "flags"
    ]
    prefix = "answer_"
    for question in template.questions.values() if template else ():
        values = _values(question)
        option = typer.Option(
            "--" + question.name.replace("_", "-"),
            metavar="|".join(values) or "TEXT",
            help=question.help,
            autocompletion=_completion(values),
        )
        annotation = Annotated[str | None, option]
        parameters.append(
            inspect.Parameter(
                prefix + question.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
            )
        )

    def run(**options: Any) -> None:
        flags = {name.removeprefix(prefix): options.pop(name) for name in list(options) if name.startswith(prefix)}
        command({name: text for name, text in flags.items() if text is not None}, **options)

    described: Any = run  # Typer reads a command's options from its signature
    described.__signature__ = inspect.Signature(parameters)
    described.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _presets_named(typed: list[str] | None) -> list[str]:
    """The presets on the command line, or the one in LABRIG_PRESET."""
    return typed or [name for name in [os.environ.get("LABRIG_PRESET")] if name]


def _values(question: Question) -> list[str]:
    if question.type == "bool":
        return ["yes", "no"]
    return [str(choice.value) for choice in question.choices]


def _completion(values: list[str]) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        return [value for value in values if value.startswith(incomplete)]

    return complete


def _option(words: Sequence[str], name: str) -> str | None:
    """The value of an option that is needed before the command line can be understood."""
    for position, word in enumerate(words):
        if word == name and position + 1 < len(words):
            return words[position + 1]
        if word.startswith(name + "="):
            return word.removeprefix(name + "=")
    return None


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"labrig {version('labrig')}")
        raise typer.Exit
