"""What can be said after a command, by tyro: a flag for every field of a dataclass, such as `--optim.steps 500`."""

import contextlib
import dataclasses
import difflib
import io
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from . import configs
from .config import Config, flatten

PROGRAM = f"python -m {__package__}"

EXAMPLE = "--optim.steps 500"
"""How one field is changed."""


def for_each(task: Callable[[Config], None], name: str, arguments: Sequence[str], command: str) -> None:
    """Call `task` with the run that is asked for."""
    task(configure(name, arguments, command))


def configure(name: str, arguments: Sequence[str], command: str) -> Config:
    """The run called `name`, changed by `arguments`. A mistake ends the program, in a sentence."""
    config: Config = parse(arguments, configs.load(name), f"{command} {name}", configs.expectation(name))
    return config


def setting(field: str, value: str) -> tuple[str, ...]:
    """The arguments that change a field: the inverse of `configure`."""
    return (f"--{field}", value)


def parse(arguments: Sequence[str], default: Any, command: str, description: str, *, again: bool = False) -> Any:
    """The dataclass `default` with the fields changed that `arguments` name. A mistake ends the program, in a sentence.

    With `again`, the flag of a tuple takes one item and may be given again; else it takes them all.
    """
    import tyro  # only here: the usage is there without it

    said = io.StringIO()  # tyro draws a frame around its errors
    try:
        with contextlib.redirect_stderr(said):
            found, unknown = tyro.cli(
                type(default),
                default=default,
                args=arguments,
                prog=f"{PROGRAM} {command}",
                description=description,
                return_unknown_args=True,
                config=(tyro.conf.UseAppendAction,) if again else (),
            )
    except SystemExit as stopped:
        if not stopped.code:
            raise  # --help
        _, sentence, *_ = re.split("[─-]{4,}", said.getvalue())  # between a title and a hint at --help
        refuse(re.sub(r"^Error parsing (\w+: )?", "", " ".join(sentence.strip("╮│╰ \n").replace("│", " ").split())))
    if unknown:
        flag, names = unknown[0].partition("=")[0], flatten(dataclasses.asdict(default))
        flags = [f"--{name.replace('_', '-')}" for name in names]
        close = difflib.get_close_matches(flag.replace("_", "-"), flags, n=1)
        refuse(f"there is no {flag}; {f'did you mean {close[0]}?' if close else f'see {PROGRAM} {command} --help'}")
    return found


def refuse(message: str) -> NoReturn:
    """End the program because of what the user has typed."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
