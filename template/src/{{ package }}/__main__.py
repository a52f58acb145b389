"""Train, evaluate and try out:

    python -m PACKAGE train [RUN] [CHANGE ...]             train a named run (baseline unless given), or resume it
    python -m PACKAGE smoke [CHANGE ...]                   train the run `debug` from nothing, and keep nothing
    python -m PACKAGE evaluate runs/NAME [--best]          evaluate the newest checkpoint of a run, or the best one
    python -m PACKAGE sample runs/NAME [--prompt ...]      let the best checkpoint of a run go on from a prompt
    python -m PACKAGE compare runs/NAME ... [--plot FILE]  hold runs against each other: a table, and their curves
    python -m PACKAGE benchmark [RUN] [...]                time the steps of a named run
    python -m PACKAGE spawn N train ...                    train or benchmark in N processes here, one per device
    python -m PACKAGE launch [OPTIONS] -- [RUN] [...]      freeze the code, then train; or a whole sweep
    python -m PACKAGE launch status|logs|stop|retry NAME   look after what was launched

`train [RUN] --help`, `evaluate --help`, `sample --help` and `compare --help` list what can be changed, as with EXAMPLE.
"""

import difflib
import itertools
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import configs
from .command_line import EXAMPLE, configure, for_each, parse, refuse
from .config import CompareConfig, Config, EvaluateConfig
from .run import RunError, format_row, is_stopped_for_good, load_config
from .stop import STOPPED_EXIT_CODE, signals_held


def main(arguments: Sequence[str]) -> None:
    """Run one command. What the user typed is checked in full before the framework is imported: that takes seconds."""
    # Read by OpenMP, under PyTorch and others: a thread without work sleeps. Spinning, on a machine that is busy with
    # something else too, makes small steps many times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        match arguments:
            case ["train", *rest]:
                for_each(train, *split(rest), "train")
            case ["smoke", *changes]:
                smoke(configure("debug", changes, "smoke"))
            case ["evaluate", folder, *flags]:
                evaluate(folder, flags)
            case ["sample", folder, *flags]:
                sample(folder, flags)
            case ["compare", *rest]:
                compare(rest)
            case ["benchmark", *rest]:
                benchmark(named_run(rest, "benchmark"))
            case ["spawn", count, ("train" | "benchmark") as command, *rest] if count.isdecimal() and int(count) > 0:
                spawn(int(count), command, rest)
            case ["launch", *rest]:
                launch(rest)
            case ["-h" | "--help"]:
                print(usage())
            case _:
                refuse(f"no such command: {' '.join(arguments) or '(none)'}\n\n{usage()}")
    except (RunError, FloatingPointError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; the same command resumes from the newest checkpoint")


def named_run(arguments: Sequence[str], command: str = "train") -> Config:
    """The run that is asked for: a named one, or else the baseline, with the changes that follow."""
    return configure(*split(arguments), command)


def split(arguments: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The name of the run that `arguments` begin with, or else the baseline's, and the changes that follow."""
    named = bool(arguments) and not arguments[0].startswith("-") and "=" not in arguments[0]
    name, changes = (arguments[0], arguments[1:]) if named else ("baseline", arguments)
    if name not in configs.names():
        close = difflib.get_close_matches(name, configs.names(), n=1)
        meant = f"did you mean {close[0]}?" if close else f"there are {', '.join(configs.names())}"
        refuse(f"there is no run named {name}; {meant}")
    return name, changes


def train(config: Config) -> None:
    with signals_held():  # first: the import of the framework starts threads
        from .train import train

        metrics = train(config, Path("runs"))
    if metrics is None and not is_stopped_for_good(Path("runs") / config.name):
        sys.exit(STOPPED_EXIT_CODE)


def smoke(config: Config) -> None:
    with signals_held(), tempfile.TemporaryDirectory() as folder:
        from .train import train

        metrics = train(config, Path(folder))
    if metrics is None:
        sys.exit(STOPPED_EXIT_CODE)


def evaluate(folder: str, flags: Sequence[str]) -> None:
    path, asked = existing_run("evaluate", folder, flags, EvaluateConfig(), "Measure a run on the test split.")

    from .evaluate import evaluate_run  # imports the framework

    print(format_row(evaluate_run(path, best=asked.best)))


def sample(folder: str, flags: Sequence[str]) -> None:
    from .data import SAMPLE

    path, asked = existing_run("sample", folder, flags, SAMPLE, "Let the best checkpoint of a run go on from a prompt.")

    from .sample import sample_run  # imports the framework

    print(sample_run(path, asked))


def compare(arguments: Sequence[str]) -> None:
    from .compare import compare_runs

    folders = list(itertools.takewhile(lambda argument: not argument.startswith("-"), arguments))
    asked = parse(arguments[len(folders) :], CompareConfig(), "compare runs/NAME ...", "Hold runs against each other.")
    print(compare_runs([Path(folder) for folder in folders], asked))


def benchmark(config: Config) -> None:
    with signals_held():
        from .benchmark import benchmark  # imports the framework

        figures = benchmark(config)
    if figures:
        print(format_row(figures))


def existing_run(command: str, folder: str, flags: Sequence[str], default: Any, description: str) -> tuple[Path, Any]:
    """The folder of a run and what is asked of it."""
    if folder.startswith("-"):  # a flag, such as --help, in place of the folder
        flags = [folder, *flags]
    asked = parse(flags, default, f"{command} runs/NAME", description)
    load_config(Path(folder))  # raises RunError if it is none
    return Path(folder), asked


def spawn(count: int, command: str, arguments: Sequence[str]) -> None:
    from .processes import run

    named_run(arguments, command)
    if code := run([sys.executable, "-m", str(__package__), command, *arguments], count):
        sys.exit(code)


def launch(arguments: Sequence[str]) -> None:
    from .launch import launch

    if code := launch(arguments, named_run):
        sys.exit(code)


def usage() -> str:
    return (__doc__ or "").replace("PACKAGE", str(__package__)).replace("EXAMPLE", EXAMPLE)


if __name__ == "__main__":
    main(sys.argv[1:])
