"""What images are made of: the instructions of a Dockerfile, the sections of Apptainer's, what .dockerignore leaves."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

HEADER = {"Bootstrap", "From"}
SECTIONS = {"files", "post", "environment"}


@dataclass(frozen=True)
class Instruction:
    """One instruction: `RUN`, and what is run."""

    name: str
    value: str

    @property
    def words(self) -> list[str]:
        """The words of the value, without options; those of a JSON array where it is one."""
        if self.value.startswith("["):
            return [str(word) for word in json.loads(self.value)]
        return [word for word in shlex.split(self.value) if not word.startswith("--")]

    @property
    def command(self) -> str:
        """What RUN gives to the shell."""
        return re.sub(r"^(--\S+\s+)+", "", self.value)


def instructions(dockerfile: str) -> list[Instruction]:
    """The instructions of a Dockerfile, in order. Raises ValueError at a line that is none."""
    found = []
    text = re.sub(r"^\s*#.*\n", "", dockerfile, flags=re.MULTILINE).replace("\\\n", " ")
    for line in filter(str.strip, text.splitlines()):
        name, _, value = line.partition(" ")
        if not name.isupper():
            raise ValueError(f"{line!r} is no instruction")
        found.append(Instruction(name, " ".join(value.split()) if name != "RUN" else value.strip()))
    return found


def lets_through(patterns: str, path: str) -> bool:
    """Whether a .dockerignore leaves a path in what is sent to Docker: the last pattern that fits decides."""
    kept = True
    for line in patterns.splitlines():
        pattern = line.strip()
        if pattern and not pattern.startswith("#") and _fits(pattern.removeprefix("!"), path):
            kept = pattern.startswith("!")
    return kept


def _fits(pattern: str, path: str) -> bool:
    """Whether a pattern is that of the path, or of a folder that it is in; `*` stops at a slash, `**/` is any depth."""
    parts = path.split("/")
    if pattern.startswith("**/"):
        return any(fnmatch(part, pattern[3:]) for part in parts)
    asked = pattern.rstrip("/").split("/")
    return len(asked) <= len(parts) and all(map(fnmatch, parts, asked))


@dataclass(frozen=True)
class Definition:
    """A definition file of Apptainer."""

    header: dict[str, str]
    sections: dict[str, str]

    @property
    def files(self) -> Iterator[tuple[str, str]]:
        """What is copied, and where it goes."""
        for line in self.sections.get("files", "").splitlines():
            if line.strip():
                source, target = line.split()
                yield source, target


def definition(text: str) -> Definition:
    """The parts of a definition file. Raises ValueError where it is none."""
    head, *sections = re.split(r"^%", text, flags=re.MULTILINE)
    lines = [line for line in head.splitlines() if line and not line.startswith("#")]
    header = {key: value.strip() for key, _, value in (line.partition(": ") for line in lines)}
    if [*header] != ["Bootstrap", "From"]:
        raise ValueError(f"its header has {', '.join(header)} instead of Bootstrap and From")
    if re.search(r":[^/@]+@", header["From"]):
        raise ValueError(f"{header['From']} has a tag and a digest, which Apptainer does not take together")
    found: dict[str, str] = {}
    for section in sections:
        name, _, body = section.partition("\n")
        if name not in SECTIONS or name in found:
            raise ValueError(f"%{name} is no section, or is there twice")
        found[name] = body
    if unset := {"files", "post"} - found.keys():
        raise ValueError(f"it has no %{min(unset)}")
    return Definition(header, found)


def copied(steps: Sequence[Instruction]) -> Iterator[str]:
    """What a Dockerfile takes from the repository."""
    for step in steps:
        if step.name == "COPY" and not step.value.startswith("--from="):
            yield from step.words[:-1]
