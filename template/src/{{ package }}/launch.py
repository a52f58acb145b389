"""Launch: freeze the code, write down what is launched, and give it to an engine.

    runs/<name>/launch.json     every launch of that name: command, code, locks, who, where, when, and its points
    runs/.code/<commit>/        the code that it runs

The run of each point has its own folder, as always. A sweep is called <name>-sweep, and has a folder beside its points.
"""

import dataclasses
import difflib
import getpass
import itertools
import json
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import engines, frozen
from .command_line import parse, setting
from .config import Config
from .engines import FINISHED, Engine, Launch, Point
from .run import RunError, load_config, lock_hashes, read_rows, refuse_another, writing

PROGRAM = f"python -m {__package__} launch"

Record = dict[str, Any]
NamedRun = Callable[[Sequence[str]], Config]


def launch(arguments: Sequence[str], named_run: NamedRun) -> int:
    """Do what `python -m PACKAGE launch ARGUMENTS` asks. Returns the exit code. Raises RunError."""
    verbs = {"status": status, "logs": logs, "stop": stop, "retry": retry}
    if len(arguments) == 2 and arguments[0] in verbs:
        return verbs[arguments[0]](find(arguments[1]))
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    return start(arguments[:cut], arguments[cut + 1 :], named_run)


def start(flags: Sequence[str], training: Sequence[str], named_run: NamedRun) -> int:
    """Launch the training that comes after `--`."""
    engine = engine_of(flags)
    options = parse(flags, engine.Options(), "launch", engine.Options.__doc__ or "", again=True)
    name = named_run(training).name
    points = grid(name, training, options.sweep)
    configs = [named_run(point.arguments) for point in points]
    code = frozen.freeze(Path.cwd(), keep=not options.dry_run)
    this = Launch(
        name=f"{name}-sweep" if options.sweep else name,
        root=code.root,
        code=code.folder,
        points=tuple(points),
        is_sweep=bool(options.sweep),
        options=options,
    )
    for config in configs:
        refuse_another(config, code.root / "runs" / config.name)
    refuse_two_at_once(this)
    engine.check(this)
    numbers = range(len(points))
    if options.dry_run:
        print(f"# code  {code}")
        print(f"# run   {this.folder}")
        for number, point in enumerate(points if options.sweep else []):
            print(f"# point {number}: {point.name}")
        for command in engine.commands(this, numbers):
            print(command)
        return 0
    record = {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": sys.orig_argv,
        "user": getpass.getuser(),
        "host": platform.node(),
        "code": {"commit": code.commit, "head": code.head, "changes": code.changes},
        "locks": lock_hashes(code.root),
        "runs": [str(command) for command in engine.commands(this, numbers)],
        "launch": {**dataclasses.asdict(this), "root": str(this.root), "code": str(this.code)},
        "receipts": [],
    }
    return submit(engine, this, list(numbers), record, code)


def submit(engine: Engine, this: Launch, numbers: Sequence[int], record: Record, code: frozen.Code | None) -> int:
    """Give these points to the engine. If it refuses, nothing is left behind."""
    unpacked = code is not None and frozen.unpack(code)
    folder = this.root / this.folder
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        (this.root / "runs" / this.points[number].name / "stop").unlink(missing_ok=True)

    def note(receipt: engines.Receipt) -> None:
        record["receipts"].append(receipt)
        write(this.root / this.folder, record)

    try:
        return engine.submit(this, numbers, note)
    except RunError:
        if is_new:
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()
        if code is not None and unpacked:
            frozen.discard(code)
        raise


def status(record: Record) -> int:
    """Say how each point is doing."""
    this, waiting = open_launch(record), states(record)
    width = max(len(point.name) for point in this.points)
    for number, point in enumerate(this.points):
        print(f"{point.name:{width}}  {progress(this.root / 'runs' / point.name, waiting.get(number))}")
    return 0


def progress(folder: Path, state: str | None) -> str:
    """How a run is doing; `state` is what its engine says as long as it waits or runs, or FINISHED."""
    rows = read_rows(folder / "metrics.jsonl")
    total = load_config(folder).optim.steps if (folder / "config.json").exists() else 0
    reached = f"step {rows[-1]['step']} of {total}" if rows else "no step here yet"
    if state == FINISHED:
        return "finished, elsewhere"
    if is_finished(folder):
        return f"finished, {reached}"
    if state:
        return f"{state}, {reached}"
    return f"{'stopped for good' if (folder / 'stop').exists() else 'ended early'}, {reached}"


def logs(record: Record) -> int:
    """Print what the points have said."""
    this, engine = open_launch(record), engine_of(["--on", record["launch"]["options"]["on"]])
    newest = {number: receipt for receipt in record["receipts"] for number in receipt["points"]}
    for number, point in enumerate(this.points):
        log = engine.log(this, newest[number], number)
        if log is None:
            raise RunError(f"{this.name} was launched on this machine, and printed to its terminal")
        print(f"==> {point.name}: {log} <==")
        print(log.read_text() if log.exists() else "(it has not started)")
    return 0


def stop(record: Record) -> int:
    """End the points for good: what runs saves first."""
    this, waiting = open_launch(record), states(record)
    engine = engine_of(["--on", record["launch"]["options"]["on"]])
    for number, state in waiting.items():
        folder = this.root / "runs" / this.points[number].name
        if state != FINISHED and not is_finished(folder):
            folder.mkdir(exist_ok=True)
            (folder / "stop").touch()
    for receipt in record["receipts"]:
        engine.stop(receipt)
    print(f"{this.name}: what waits is withdrawn, and what runs ends after its next step, once it has saved")
    return 0


def retry(record: Record) -> int:
    """Start the points again that have ended early, with the code that was frozen for them."""
    this, waiting = open_launch(record), states(record)
    again = [
        number
        for number, point in enumerate(this.points)
        if number not in waiting and not is_finished(this.root / "runs" / point.name)
    ]
    if not again:
        print(f"{this.name}: every point is finished, waits or runs")
        return 0
    if not (this.root / this.code).exists():
        raise RunError(f"{this.root / this.code} is gone, the code of {this.name}; launch it anew")
    print(f"{this.name}: again {', '.join(this.points[number].name for number in again)}", flush=True)
    return submit(engine_of(["--on", this.options.on]), this, again, record, None)


def is_finished(folder: Path) -> bool:
    return (folder / "result.json").exists()


def grid(name: str, training: Sequence[str], sweep: Sequence[str]) -> list[Point]:
    """Every combination of the values of `sweep`, as runs with names of their own; without one, the training itself."""
    if not sweep:
        return [Point(name=name, arguments=tuple(training))]
    axes: list[list[tuple[str, str]]] = []
    for axis in sweep:
        field, equals, values = axis.partition("=")
        listed = values.split(",")
        if not (field and equals and all(listed)):
            raise RunError(f"--sweep {axis} is not FIELD=VALUE,VALUE...; for example --sweep seed=0,1")
        if len(set(listed)) < len(listed) or field in [known[0][0] for known in axes] or field == "name":
            raise RunError(f"--sweep {axis} would give two runs one name; give each field, and each value, once")
        axes.append([(field, value) for value in listed])
    points = []
    for chosen in itertools.product(*axes):
        words = [word for field, value in chosen for word in setting(field, value)]
        named = "-".join([name, *(f"{field}={value}" for field, value in chosen)])
        points.append(Point(name=named, arguments=(*training, *words, *setting("name", named))))
    return points


def engine_of(flags: Sequence[str]) -> Engine:
    """The engine that the flags ask for, before its other options are known."""
    words = [word for flag in flags for word in flag.split("=", 1)]
    name = words[words.index("--on") + 1] if "--on" in words[:-1] else "machine"
    if name not in engines.names():
        close = difflib.get_close_matches(name, engines.names(), n=1)
        meant = f"did you mean {close[0]}?" if close else f"there are {', '.join(engines.names())}"
        raise RunError(f"there is no engine {name}; {meant}")
    return engines.load(name)


def refuse_two_at_once(this: Launch) -> None:
    """Raise RunError if a launch of this name still waits or runs: two would write to the same folders."""
    path = this.root / this.folder / "launch.json"
    known = states(json.loads(path.read_text())[-1]) if path.exists() else {}
    if waiting := [state for state in known.values() if state != FINISHED]:
        raise RunError(
            f"{this.name} is launched already ({waiting[0]}); "
            f"choose another name, or stop it: {PROGRAM} stop {this.name}"
        )


def states(record: Record) -> dict[int, str]:
    """The points that wait or run, and those that have finished elsewhere."""
    engine = engine_of(["--on", record["launch"]["options"]["on"]])
    return {number: state for receipt in record["receipts"] for number, state in engine.states(receipt).items()}


def find(name: str) -> Record:
    """The newest launch of this name."""
    path = Path("runs") / name / "launch.json"
    if not path.exists():
        known = sorted(file.parent.name for file in Path("runs").glob("*/launch.json"))
        raise RunError(f"nothing was launched as {name}; there is {', '.join(known) or 'nothing'}")
    record: Record = json.loads(path.read_text())[-1]
    return record


def open_launch(record: Record) -> Launch:
    kept = record["launch"]
    options = engine_of(["--on", kept["options"]["on"]]).Options
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in kept["options"].items()
    }
    return Launch(
        name=kept["name"],
        root=Path(kept["root"]),
        code=Path(kept["code"]),
        points=tuple(Point(name=point["name"], arguments=tuple(point["arguments"])) for point in kept["points"]),
        is_sweep=kept["is_sweep"],
        options=options(**values),
    )


def write(folder: Path, record: Record) -> None:
    """Put the record after those of earlier launches of the name, or in the place of its own former state."""
    path = folder / "launch.json"
    records: list[Record] = json.loads(path.read_text()) if path.exists() else []
    if records and records[-1]["started"] == record["started"]:
        records.pop()
    with writing(path) as partial:
        partial.write_text(json.dumps([*records, record], indent=2) + "\n")
