"""The folder of one run, and the request that ends it early.

    runs/<name>/config.json      the resolved configuration; a folder never mixes two
    runs/<name>/code.json        one entry per start: command, commit and diff, lock files, packages, hardware
    runs/<name>/metrics.jsonl    one row per line, each with its step
    runs/<name>/checkpoints/     see checkpoint.py
    runs/<name>/result.json      the final metrics, once the run has come to its end
    runs/<name>/stop             made by hand: the run saves and ends for good

Whatever a crash could leave half-written and would be read again is written aside first and then renamed.
"""

import functools
import hashlib
import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .config import Config, differences
from .stop import hold_signals, release_signals, waiting_signals

FROZEN = "frozen.json"
"""In the root of code that was frozen for a launch: what git would say about it."""

LOCK_FILES = ("*.lock", "requirements/*.lock")


class RunError(Exception):
    """The run cannot go on as asked; the message says why, and what to do."""


class Run:
    """An open run folder. All processes of a run open it, and only the main one writes to it.

    Raises RunError if the folder holds a run with another configuration.
    """

    def __init__(self, config: Config, root: Path, *, is_main: bool) -> None:
        self.path = root / config.name
        self.checkpoints = self.path / "checkpoints"
        self._is_main = is_main
        self._started = time.monotonic()
        self._next_look = 0.0
        self._next_progress = 0.0
        self._erase = "\x1b[K" if is_main and sys.stdout.isatty() else ""
        refuse_another(config, self.path)
        if is_main:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            _write(self.path / "config.json", config.to_json())
        self._mask = hold_signals()

    @property
    def stop_requested(self) -> bool:
        """Whether a stop signal waits, or the folder has a file `stop`: the main process looks once a second."""
        if waiting_signals():
            return True
        if not self._is_main or time.monotonic() < self._next_look:
            return False
        self._next_look = time.monotonic() + 1
        return is_stopped_for_good(self.path)

    def begin(self, step: int, **circumstances: str) -> None:
        """Go on after `step`: forget the metrics that a killed process logged later, and note what starts now.

        The `circumstances` are what the code cannot know about itself, such as the hardware.
        """
        if not self._is_main:
            return
        rows = [row for row in read_rows(self.path / "metrics.jsonl") if 0 < step >= row["step"]]
        _write(self.path / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        self._started -= rows[-1]["seconds"] if rows else 0.0

        code = self.path / "code.json"
        starts: list[Any] = json.loads(code.read_text()) if code.exists() else []
        now = {"after_step": step, **circumstances, **provenance(Path(__file__).parent)}
        if step and starts and (changed := changes(starts[-1], now)):
            print(f"note: since the last start, {'; '.join(changed)}; the run may end otherwise for it", flush=True)
        _write(code, json.dumps([*starts, now], indent=2) + "\n")

    def log(self, step: int, **values: float) -> None:
        """Append one row to metrics.jsonl and print it. `seconds` counts the training time over all starts."""
        if not self._is_main:
            return
        row = {"step": step, "seconds": round(time.monotonic() - self._started, 3), **values}
        with (self.path / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{self._erase}{format_row(row)}", flush=True)

    def lowest(self, metric: str) -> float:
        """The lowest value of a metric after any step so far; infinite if there is none."""
        rows = read_rows(self.path / "metrics.jsonl")
        return min((row[metric] for row in rows if metric in row and row["step"] > 0), default=math.inf)

    def progress(self, step: int, total: int) -> None:
        """On a terminal, say below the rows how far the run is; the next row replaces it."""
        if self._erase and (now := time.monotonic()) >= self._next_progress:
            self._next_progress = now + 0.1
            print(f"{self._erase}step {step} of {total}, {step / total:.0%}", end="\r", flush=True)

    def end(self, metrics: dict[str, float] | None) -> None:
        """Say how the run ended (None: stopped on request) and give the stop signals their former meaning back."""
        release_signals(self._mask)
        if self._is_main and metrics is None:
            first = f"without {self.path / 'stop'}, " if is_stopped_for_good(self.path) else ""
            print(f"{self._erase}{self.path}: saved and stopped as asked; {first}the same command goes on", flush=True)
        elif self._is_main and metrics is not None:
            _write(self.path / "result.json", json.dumps(metrics) + "\n")
            print(f"{self._erase}{self.path}: {format_row(metrics)}", flush=True)


def refuse_another(config: Config, path: Path) -> None:
    """Raise RunError if the folder `path` holds a run with another configuration."""
    if not (path / "config.json").exists():
        return
    changed = differences(load_config(path), config)
    if changed:
        raise RunError(
            f"{path} holds a run with another configuration ({'; '.join(changed)}); "
            "choose another name, or delete that folder"
        )


def is_stopped_for_good(path: Path) -> bool:
    """Whether somebody has made the file `stop` in the folder of a run: then it is not to be started again."""
    return (path / "stop").exists()


def load_config(path: Path) -> Config:
    """The configuration of the run in the folder `path`. Raises RunError if there is none that this code can read."""
    saved = path / "config.json"
    if not saved.exists():
        raise RunError(f"{path} is not the folder of a run (it has no config.json); train one first")
    try:
        return Config.from_json(saved.read_text())
    except ValueError as error:
        raise RunError(
            f"{saved} does not fit this code: {error}; check out the commit in {path / 'code.json'}"
        ) from error


def due(step: int, every: int, total: int) -> bool:
    """Whether something that happens every `every` steps, and at the end, happens after step `step` of `total`."""
    return step % every == 0 or step == total


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics.jsonl, without a last one that a crash cut short."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def format_row(row: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in row.items())


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What is no longer as it was at an earlier start and can change what is computed, in words."""
    told = ("commit", "python", "hardware", "data")
    words = [f"{name} is {now.get(name)}, was {before.get(name)}" for name in told if now.get(name) != before.get(name)]
    if now["diff"] != before["diff"]:
        words.append("the uncommitted changes are others")
    old, new = before["packages"], now["packages"]
    versions = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
    return words + [f"{name} is {new.get(name, 'gone')}, was {old.get(name, 'absent')}" for name in sorted(versions)]


def provenance(folder: Path) -> dict[str, Any]:
    """What produces a result, as far as it can be known: the code around `folder` and all that it runs on."""
    frozen = folder.parents[1] / FROZEN
    if frozen.exists():
        root, code = frozen.parent, json.loads(frozen.read_text())
    else:
        root = Path(_git(folder, "rev-parse", "--show-toplevel") or folder)
        code = {
            "commit": _git(root, "rev-parse", "HEAD"),
            "diff": _git(root, "diff", "HEAD"),
            "untracked": _git(root, "ls-files", "--others", "--exclude-standard"),
        }
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": sys.orig_argv,
        **code,
        "locks": lock_hashes(root),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": platform.node(),
        "packages": packages(),
    }


@functools.cache  # a process keeps what it has imported, and to read it all takes a while
def packages() -> dict[str, str]:
    """Every installed package and its version."""
    from importlib import metadata  # only here, because the import takes longer than to see a mistake in a flag

    found = (package.metadata for package in metadata.distributions())
    return {package["Name"]: package["Version"] for package in found}


def lock_hashes(root: Path) -> dict[str, str]:
    """The lock files of the repository, each by the hash of its content."""
    locks = sorted(path for pattern in LOCK_FILES for path in root.glob(pattern))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in locks}


@contextmanager
def writing(path: Path) -> Generator[Path]:
    """A name beside `path` to write to. It becomes `path` in one step at the end; on an error nothing changes.

    Raises RunError if the system cannot write it.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())  # or a power failure could leave the new name on an empty file
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise RunError(
            f"{path} cannot be written ({error.strerror or error}), and what was saved before is whole; "
            "make room there, and the same command goes on"
        ) from error


def _write(path: Path, text: str) -> None:
    with writing(path) as partial:
        partial.write_text(text)


def _git(folder: Path, *arguments: str) -> str | None:
    """Output of a git command; None without git, or outside a repository."""
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip("\n") if done.returncode == 0 else None
