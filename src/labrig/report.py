"""What labrig says: data on stdout, talk on stderr, colours only where they are wanted."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from .errors import LabrigError, StoppedError

BOLD, RED, GREEN, YELLOW, GREY = "1", "1;31", "32", "33", "90"
FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class Report:
    """The one voice of a command. With `json` it says one object on stdout; with `quiet` only errors and data."""

    def __init__(self, *, quiet: bool = False, json: bool = False) -> None:
        self.quiet = quiet or json
        self.json = json
        self.state = "Nothing was written."  # said when the user stops the command
        self.terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self.coloured = self.terminal and not os.environ.get("NO_COLOR")

    def data(self, text: str) -> None:
        """A line that another program may read."""
        print(text)

    def object(self, value: Mapping[str, object]) -> None:
        """The one object of `--json`."""
        print(json.dumps(value, ensure_ascii=False, indent=1))

    def say(self, text: str = "") -> None:
        """A line for a person."""
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)

    def heading(self, text: str) -> None:
        """A line that opens a block."""
        self.say(self.paint(text, BOLD))

    def warn(self, message: str, *, cause: str | None = None, tip: str | None = None) -> None:
        """Something went on that a person should know about."""
        if not self.quiet:
            self._block(self.paint("warning", YELLOW), message, cause, tip)

    def error(self, error: LabrigError) -> None:
        """Why the command ends here: for a person, or with `json` for a program."""
        if self.json:
            fields = {"kind": error.kind, "message": error.message, "cause": error.cause, "tip": error.tip}
            if question := getattr(error, "question", None):
                fields["question"] = question
            self.object({"ok": False, "error": fields})
        elif isinstance(error, StoppedError):
            print(f"\n{error.message}", file=sys.stderr, flush=True)
        else:
            self._block(self.paint("error", RED), error.message, error.cause, error.tip)

    def detail(self, lines: Iterable[str]) -> None:
        """What another program said, set off from our own words."""
        for line in lines:
            self.say(self.paint("  " + _printable(line), GREY))

    def paint(self, text: str, colour: str) -> str:
        """`text` in a colour, where colours are wanted."""
        return f"\033[{colour}m{text}\033[0m" if self.coloured else text

    @contextmanager
    def step(self, label: str) -> Iterator[None]:
        """Shows that `label` is going on, and how long it took."""
        started = time.monotonic()
        if self.quiet:
            yield
            return
        if not self.terminal:
            self.say(f"{label} ...")
            yield
            return
        done = threading.Event()
        spinner = threading.Thread(target=self._spin, args=(label, done, started), daemon=True)
        spinner.start()
        mark = self.paint("✗", RED)
        try:
            yield
            mark = self.paint("✓", GREEN)
        finally:
            done.set()
            spinner.join()
            self.say(f"\r\033[K{mark} {label}  {time.monotonic() - started:.0f} s")

    def _spin(self, label: str, done: threading.Event, started: float) -> None:
        turn = 0
        while not done.wait(0.1):
            seconds = time.monotonic() - started
            print(f"\r\033[K{FRAMES[turn % len(FRAMES)]} {label}  {seconds:.0f} s", end="", file=sys.stderr, flush=True)
            turn += 1

    def _block(self, word: str, message: str, cause: str | None, tip: str | None) -> None:
        lines = [f"{word}: {_printable(message)}"]
        for name, text in (("cause", cause), ("tip", tip)):
            if text:
                first, *others = _printable(text).splitlines()
                lines += [f"  {name}: {first}", *(" " * (len(name) + 4) + line for line in others)]
        print("\n".join(lines), file=sys.stderr, flush=True)


def _printable(text: str) -> str:
    """`text` with what could act on a terminal shown instead of sent."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)
