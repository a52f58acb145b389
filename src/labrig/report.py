"""What labrig says while it works, on standard error; standard output is for data."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class Report:
    """Plain lines, and a status line on a terminal while a step runs."""

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def warn(self, text: str) -> None:
        self.say(f"warning: {text}")

    def detail(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.say(f"  {line}")

    @contextmanager
    def step(self, label: str) -> Iterator[None]:
        terminal = sys.stderr.isatty()
        if terminal:
            print(f"{label} ...", end="", file=sys.stderr, flush=True)
        began = time.monotonic()
        try:
            yield
        finally:
            if terminal:
                print("\r\x1b[K", end="", file=sys.stderr, flush=True)
        self.say(f"{label}  {time.monotonic() - began:.1f} s")
