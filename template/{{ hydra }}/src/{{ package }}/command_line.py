"""What can be said after a command: for a run, overrides of Hydra such as `optim.steps=500`; for all else, flags."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import difflib
import inspect
import itertools
import os
import re
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, get_args, get_origin, get_type_hints

from . import configs
from .config import Config, flatten
from .run import RunError

if TYPE_CHECKING:  # Hydra is imported where it is needed: it takes longer than to print the usage
    from hydra.core.override_parser.types import Override

PROGRAM = f"python -m {__package__}"

EXAMPLE = "optim.steps=500"
"""How one field is changed."""

MULTIRUN = ("-m", "--multirun")


def for_each(task: Callable[[Config], None], name: str, arguments: Sequence[str], command: str) -> None:
    """Let Hydra call `task` with the run that is asked for; with -m, with each of several.

    All of them are checked before the first one. One that fails does not keep the next from running.
    """
    words = [word for word in arguments if word not in MULTIRUN]
    several = len(words) < len(arguments)
    if several:
        words = points(name, words, command)
    else:
        configure(name, words, command)
    from .composition import run

    failures: list[Exception] = []
    here = os.getpid()

    def one(config: Config) -> None:
        if several:
            print(f"--- {config.name}", flush=True)
        try:
            task(config)
        except (RunError, FloatingPointError) as error:
            failures.append(error)
            if several:
                print(f"error: {error}", file=sys.stderr, flush=True)
            if os.getpid() != here:
                raise  # a launcher has started this process, and Hydra hands the failure on

    run(one, name, words, several=several)
    if failures and several:
        sys.exit(1)
    if failures:
        raise failures[0]


def configure(name: str, arguments: Sequence[str], command: str) -> Config:
    """The run called `name`, changed by `arguments`. A mistake ends the program, in a sentence."""
    if {"-h", "--help"} & {*arguments}:
        print(description(name, command))
        sys.exit()
    if {*MULTIRUN} & {*arguments}:
        refuse(f"-m is only for {PROGRAM} train; {PROGRAM} launch --help says how else to start several runs")
    overrides = read(arguments, name, command)
    for override in overrides:
        if override.is_sweep_override():
            refuse(f"{override.input_line} is several values; train -m trains a run for each, and quotes make it one")

    from hydra.errors import HydraException, MissingConfigException
    from omegaconf.errors import OmegaConfBaseException

    from .composition import compose

    try:
        return compose(name, arguments)
    except MissingConfigException as error:
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        refuse(f"there is no {group} named {choice}; {meant(choice, error.options or [], command, name)}")
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        refuse(sentence(error, overrides))


def points(name: str, words: Sequence[str], command: str) -> list[str]:
    """The overrides with which Hydra trains several runs, each under a name of its own. A mistake ends the program."""
    overrides = read(words, name, command)
    swept = [override for override in overrides if override.is_sweep_override()]
    fixed = [str(override.input_line) for override in overrides if override not in swept]
    base = configure(name, fixed, command).name
    if not all(override.is_discrete_sweep() for override in swept):
        return [*words]  # a sweeper other than Hydra's own decides the points, and their names
    names = []
    axes = [[(axis.get_key_element(), value) for value in axis.sweep_string_iterator()] for axis in swept]
    for chosen in itertools.product(*axes):
        changes = [f"{field}={value}" for field, value in chosen]
        names.append("-".join([base, *sorted(changes)]))  # as Hydra sorts them for override_dirname
        configure(name, [*fixed, *changes, *setting("name", names[-1])], command)
    if len({*names}) < len(names) or any(axis.key_or_group == "name" for axis in swept):
        refuse("this would give two runs one name; give each field but the name, and each value, once")
    others = ",".join(sorted({"name", *(override.key_or_group for override in overrides if override not in swept)}))
    (named,) = setting("name", base)
    return [
        *words,
        f"{named}-${{hydra:job.override_dirname}}" if swept else named,
        f"hydra.job.config.override_dirname={{item_sep: '-', exclude_keys: [{others}]}}",
        f"hydra.sweep.dir={setting('runs', f'runs/{base}-sweep')[0].partition('=')[2]}",  # of what Hydra notes itself
        "hydra.sweep.subdir=../${name}",
    ]


def setting(field: str, value: str) -> tuple[str, ...]:
    """The arguments that change a field: the inverse of `configure`."""
    escaped = re.sub(r"[\\()\[\]{}:=, \t]", r"\\\g<0>", value)
    return (f"{field}={escaped}",)


def parse(arguments: Sequence[str], default: Any, command: str, description: str, *, again: bool = False) -> Any:
    """The dataclass `default` with the fields changed that `arguments` name. A mistake ends the program, in a sentence.

    With `again`, the flag of a tuple takes one item and may be given again; else it takes them all.
    """
    types, notes = get_type_hints(type(default)), comments(type(default))
    parser = Parser(prog=f"{PROGRAM} {command}", description=description, allow_abbrev=False)
    flags = {name: f"--{name.replace('_', '-')}" for name in vars(default)}
    for name, value in vars(default).items():
        of = types[name]
        takes: dict[str, Any]
        if of is bool:
            takes = {"action": "store_true"}
        elif get_origin(of) is tuple:
            takes = {"action": "append", "metavar": "TEXT"} if again else {"nargs": "*", "metavar": "TEXT"}
        elif choices := get_args(of):
            takes = {"choices": choices}
        else:
            takes = {"type": of, "metavar": of.__name__.upper()}
        parser.add_argument(flags[name], default=value or None, help=notes[name].replace("%", "%%"), **takes)
    found, unknown = parser.parse_known_args(arguments)
    if unknown:
        flag = unknown[0].partition("=")[0]
        refuse(f"there is no {flag}; {meant(flag.replace('_', '-'), [*flags.values()], command)}")
    given = {name: value for name, value in vars(found).items() if value is not None}
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    try:
        return dataclasses.replace(default, **values)
    except ValueError as error:
        refuse(str(error))


class Parser(argparse.ArgumentParser):
    """One that says what is wrong in a sentence."""

    def error(self, message: str) -> NoReturn:
        refuse(message.removeprefix("argument "))


def refuse(message: str) -> NoReturn:
    """End the program because of what the user has typed."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


def meant(word: str, known: Sequence[str], *command: str) -> str:
    """What to do about a word that is not one of those `known`."""
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]}?" if close else f"see {PROGRAM} {' '.join(command)} --help"


def read(arguments: Sequence[str], name: str, command: str) -> list[Override]:
    """The overrides, each of a field or group that there is. A mistake ends the program, in a sentence."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    from .composition import groups, kinds

    known = [*kinds(), *groups()]
    overrides = []
    for word in arguments:
        if word.startswith("-"):
            refuse(f"there is no {word}; {meant(word, MULTIRUN, command, name)}")
        try:
            override = OverridesParser.create().parse_override(word)
        except HydraException:
            override = None
        if override is None or not override.key_or_group:
            refuse(f"{word} is not FIELD=VALUE, such as {EXAMPLE}; quote a value with brackets, braces or quotes in it")
        field = override.key_or_group
        if field not in known and not field.startswith(("hydra.", "hydra/")):
            refuse(f"there is no {field}; {meant(field, known, command, name)}")
        if override.is_delete() or (field in groups() and override.value() is None):
            refuse(f"{word} leaves {field} out, and a run states it; give it another value instead")
        overrides.append(override)
    return overrides


def sentence(error: Exception, overrides: Sequence[Override]) -> str:
    """What is wrong with the value of a field, as the checks in config.py would say it."""
    from .composition import kinds

    cause = error.__cause__ or error
    field, said = getattr(cause, "full_key", None), str(cause).partition("\n")[0]
    values = [override.get_value_string() for override in overrides if override.key_or_group == field]
    if not field or not values or field not in kinds():
        return f"{field}: {said}" if field else said
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    of = kinds()[field]
    return f"{field} ({values[-1]}) must be {words.get(of) or ' or '.join(map(str, get_args(of)))}"


def description(name: str, command: str) -> str:
    """What --help says of a run: every field with its value, and what else there is."""
    run = configs.load(name)
    parts = [field for field, part in vars(run).items() if dataclasses.is_dataclass(part)]
    notes = {f"{part}.{name}": note for part in parts for name, note in comments(type(getattr(run, part))).items()}
    notes |= comments(Config)
    lines = [
        f"usage: {PROGRAM} {command} [{name}] [FIELD=VALUE ...]",
        f"\n{configs.expectation(name).strip()}",
        f"\nOf another run, one of {', '.join(configs.names())}, it can have the {' or '.join(parts)}: model=debug",
        "With train -m, a run is trained for each of several values: seed=0,1",
    ]
    for field, value in flatten(dataclasses.asdict(run)).items():
        lines.append(f"\n  {field}={value}\n{textwrap.indent(textwrap.fill(notes[field], 100), '      ')}")
    return "\n".join(lines)


def comments(kind: type[Any]) -> dict[str, str]:
    """What is written below each field of a dataclass, and of those that it extends."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__[:-1]):
        (definition,) = ast.parse(inspect.getsource(base)).body
        for field, below in itertools.pairwise(getattr(definition, "body", [])):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = " ".join(text.split())
                case _:
                    pass
    return found
