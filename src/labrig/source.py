"""Where the template comes from."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CANONICAL_URL = "https://github.com/labrig/labrig"


@dataclass(frozen=True)
class Source:
    """A checked-out template, and what a generated repository records about it."""

    root: Path
    url: str
    commit: str | None
    commit_hash: str | None


@contextmanager
def open_template(where: str | None, version: str | None = None) -> Iterator[Source]:
    """The template at `where`; by default the checkout that this package lies in."""
    where = where or os.environ.get("LABRIG_TEMPLATE")
    root = Path(where) if where else Path(__file__).parents[2]
    git = ["git", "-C", str(root)]
    described = subprocess.run([*git, "describe", "--tags", "--always"], capture_output=True, text=True, check=False)
    hashed = subprocess.run([*git, "rev-parse", version or "HEAD"], capture_output=True, text=True, check=False)
    yield Source(root, where or CANONICAL_URL, described.stdout.strip() or None, hashed.stdout.strip() or None)
