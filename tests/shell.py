"""The commands in a generated file: for a person to type, for CI, for a hook or as a task."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml
from formats import UniqueKeys
from images import definition
from repositories import STACK

RUNNERS = sorted({tuple(run.split()) for run in STACK["run"].values() if run})
"""What a command starts with where the environment is not activated."""

ASSIGNMENT = re.compile(r"[A-Z][A-Z0-9_]*=.*")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


WHOLE = "the file"
"""The place of a script that is a program in the shell's language, not commands line by line."""


@dataclass(frozen=True)
class Script:
    """Lines of shell, and where they stand."""

    place: str
    text: str


@dataclass(frozen=True)
class Command:
    """One command in words, without assignments before it."""

    runner: str  # "uv run ", or nothing
    words: tuple[str, ...]

    @property
    def program(self) -> str:
        return self.words[0]


def scripts(path: str, text: str) -> Iterator[Script]:
    """The shell in a file."""
    if path.endswith(".md"):
        blocks = enumerate(FENCE.findall(text), 1)
        yield from (Script(f"block {number}", block) for number, (language, block) in blocks if language == "sh")
    elif path.startswith(".github/workflows/"):
        for job in _jobs(_yaml(text).get("jobs", {})):
            runs = [step["run"] for step in job["steps"] if "run" in step]
            yield from (Script(f"step {run}", f"{run}\n") for run in runs)
    elif path == ".gitlab-ci.yml":
        for job in _jobs(_yaml(text)):
            keys = [key for key in ("before_script", "script", "after_script") if key in job]
            yield from (Script(key, "".join(f"{line}\n" for line in job[key])) for key in keys)
    elif path == ".pre-commit-config.yaml":
        hooks = [hook for repository in _yaml(text)["repos"] for hook in repository["hooks"]]
        yield from (
            Script(f"hook {hook['id']}", f"{hook['entry']}\n") for hook in hooks if hook["language"] == "system"
        )
    elif path.startswith("launch/skypilot/"):
        task = _yaml(text)
        yield from (Script(WHOLE, task[key]) for key in ("setup", "run"))
    elif path == "apptainer.def":
        sections = definition(text).sections
        yield from (Script(WHOLE, sections[name]) for name in ("post", "environment"))
    elif path == ".devcontainer/devcontainer.json":
        lines = [value for key, value in json.loads(text).items() if key.endswith("Command")]
        yield Script(WHOLE, "".join(f"{line}\n" for line in lines))
    elif path.endswith((".sh", ".sbatch")):
        yield Script(WHOLE, text)
    elif path == "pyproject.toml":
        yield from (Script(f"task {task}", f"{command}\n") for task, command in tasks(tomllib.loads(text)))


def tasks(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The tasks of poe, each with the commands that it runs."""
    for name, task in manifest.get("tool", {}).get("poe", {}).get("tasks", {}).items():
        steps = [task] if isinstance(task, str) or "sequence" not in task else task["sequence"]
        for step in steps:
            if isinstance(step, str):
                yield name, f"poe {step}" if step is not task else step
            elif "interpreter" not in step:  # else it is no shell
                yield from ((name, step[key]) for key in ("cmd", "shell") if key in step)


@cache
def commands(script: str) -> tuple[Command, ...]:
    """The commands of a script, line by line."""
    found = []
    for line in script.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words and ASSIGNMENT.fullmatch(words[0]):
            words.pop(0)
        if words:
            found.append(command(words))
    return tuple(found)


def command(words: list[str]) -> Command:
    """These words as a command, behind `uv run` or the like."""
    for runner in RUNNERS:
        if tuple(words[: len(runner)]) == runner and len(words) > len(runner):
            return Command(" ".join(runner) + " ", tuple(words[len(runner) :]))
    return Command("", tuple(words))


def _yaml(text: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load(text, Loader=UniqueKeys)  # noqa: S506 - a safe loader
    return loaded


def _jobs(pipeline: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The jobs of a pipeline, among other keys."""
    yield from (value for value in pipeline.values() if isinstance(value, dict))
