"""Train and evaluate:

    python -m PACKAGE train [RUN] [--optim.lr 3e-4 ...]    train a named run (baseline unless given), or resume it
    python -m PACKAGE evaluate runs/NAME                   evaluate the newest checkpoint of a run

`train [RUN] --help` lists the fields that can be changed.
"""

import difflib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import tyro

from . import configs
from .config import Config
from .run import RunError, format_row

PROGRAM = f"python -m {__package__}"

STOPPED_EXIT_CODE = 75
"""Saved on request before the end: start me again. (EX_TEMPFAIL of sysexits.h; launchers requeue on it.)"""


def main(arguments: Sequence[str]) -> None:
    """Run one command. What the user typed is checked in full before the framework is imported: that takes seconds."""
    # Read by OpenMP, under PyTorch and others: a thread without work sleeps. Spinning, on a machine that is busy with
    # something else too, makes small steps many times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        match arguments:
            case ["train", *rest]:
                train(parse(rest))
            case ["evaluate", folder] if not folder.startswith("-"):
                evaluate(Path(folder))
            case ["-h" | "--help"] | ["evaluate", "-h" | "--help"]:
                print(usage())
            case _:
                refuse(f"no such command: {' '.join(arguments) or '(none)'}\n\n{usage()}")
    except (RunError, FloatingPointError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; the same command resumes from the newest checkpoint")


def parse(arguments: Sequence[str]) -> Config:
    """The named run that `arguments` begin with, or else the baseline, changed by the flags that follow."""
    named = bool(arguments) and not arguments[0].startswith("-")
    name, flags = (arguments[0], arguments[1:]) if named else ("baseline", arguments)
    if name not in configs.names():
        close = difflib.get_close_matches(name, configs.names(), n=1)
        meant = f"did you mean {close[0]}?" if close else f"there are {', '.join(configs.names())}"
        refuse(f"there is no run named {name}; {meant}")
    default = configs.load(name)
    return tyro.cli(
        Config, default=default, args=flags, prog=f"{PROGRAM} train {name}", description=configs.expectation(name)
    )


def train(config: Config) -> None:
    from .train import train  # imports the framework

    if train(config, Path("runs")) is None:
        sys.exit(STOPPED_EXIT_CODE)


def evaluate(path: Path) -> None:
    from .evaluate import evaluate_run  # imports the framework

    print(format_row(evaluate_run(path)))


def usage() -> str:
    return (__doc__ or "").replace("PACKAGE", str(__package__))


def refuse(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main(sys.argv[1:])
