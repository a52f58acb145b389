"""The folder of one run, and the signal that ends it early.

    runs/<name>/config.json      the resolved configuration; a folder never mixes two
    runs/<name>/code.json        one entry per start: command, commit and diff, lock files, packages, hardware
    runs/<name>/metrics.jsonl    one row per line, each with its step
    runs/<name>/checkpoints/     see checkpoint.py

Whatever a crash could leave half-written and would be read again is written aside first and then renamed.
"""

import hashlib
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from .config import Config, differences

STOP_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)]
"""What schedulers send some time before they kill. (Windows has no SIGUSR1.)"""

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
        self.stop_requested = False
        self._is_main = is_main
        self._started = time.monotonic()
        self._check_same(config)
        if is_main:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            _write(self.path / "config.json", config.to_json())
        self._handlers = {number: signal.signal(number, self._request_stop) for number in STOP_SIGNALS}

    def begin(self, step: int, hardware: str) -> None:
        """Go on after `step`: forget the metrics that a killed process logged later, and note what starts now."""
        if not self._is_main:
            return
        rows = [row for row in read_rows(self.path / "metrics.jsonl") if 0 < step >= row["step"]]
        _write(self.path / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        self._started -= rows[-1]["seconds"] if rows else 0.0

        code = self.path / "code.json"
        starts: list[Any] = json.loads(code.read_text()) if code.exists() else []
        starts.append({"after_step": step, "hardware": hardware, **provenance(Path(__file__).parent)})
        _write(code, json.dumps(starts, indent=2) + "\n")

    def log(self, step: int, **values: float) -> None:
        """Append one row to metrics.jsonl and print it. `seconds` counts the training time over all starts."""
        if not self._is_main:
            return
        row = {"step": step, "seconds": round(time.monotonic() - self._started, 3), **values}
        with (self.path / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(format_row(row), flush=True)

    def end(self, metrics: dict[str, float] | None) -> None:
        """Say how the run ended (None: stopped on request) and give the stop signals their former meaning back."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if self._is_main and metrics is None:
            print(f"{self.path}: saved and stopped as asked; the same command goes on from there", flush=True)
        elif self._is_main and metrics is not None:
            print(f"{self.path}: {format_row(metrics)}", flush=True)

    def _request_stop(self, *_: object) -> None:
        self.stop_requested = True

    def _check_same(self, config: Config) -> None:
        saved = self.path / "config.json"
        if not saved.exists():
            return
        changed = differences(load_config(self.path), config)
        if changed:
            raise RunError(
                f"{self.path} holds a run with another configuration ({'; '.join(changed)}); "
                "choose another --name, or delete that folder"
            )


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


def provenance(folder: Path) -> dict[str, Any]:
    """What produces a result, as far as it can be known: the code around `folder` and all that it runs on."""
    root = Path(_git(folder, "rev-parse", "--show-toplevel") or folder)
    locks = sorted(path for pattern in LOCK_FILES for path in root.glob(pattern))
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": sys.orig_argv,
        "commit": _git(root, "rev-parse", "HEAD"),
        "diff": _git(root, "diff", "HEAD"),
        "untracked": _git(root, "ls-files", "--others", "--exclude-standard"),
        "locks": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in locks},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": platform.node(),
        "packages": {package.name: package.version for package in metadata.distributions()},
    }


@contextmanager
def writing(path: Path) -> Generator[Path]:
    """A name beside `path` to write to. It becomes `path` in one step at the end; on an error nothing changes."""
    partial = path.with_name(f"{path.name}.partial")
    yield partial
    with partial.open("rb+") as file:
        os.fsync(file.fileno())  # or a power failure could leave the new name on an empty file
    partial.replace(path)


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
