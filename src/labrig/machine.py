"""What this machine has."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    """What was found."""

    author_name: str
    author_email: str


def detect() -> Machine:
    """Look around."""
    found = []
    for key in ("user.name", "user.email"):
        command = ["git", "config", "--get", key]
        found.append(subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip())
    return Machine(*found)


def defaults(machine: Machine) -> dict[str, object]:
    """The answers that follow from what was found."""
    found = {"author_name": machine.author_name, "author_email": machine.author_email}
    return {name: value for name, value in found.items() if value}
