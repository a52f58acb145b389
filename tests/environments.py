"""Runs the tasks of generated repositories in environments that they share."""

from __future__ import annotations

import os
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from cases import MANIFEST, Case
from hosts.conda_channel import PYTORCH
from hosts.pytorch_index import real_cpu_wheels
from hosts.tools import Tools
from repositories import STACK, TEMPLATE, choices, resolve, write

RunCase = Callable[[Case], str]
PythonOf = Callable[..., Path]


def why_not_run(framework: object, python: object) -> str | None:
    """Why this machine cannot run code for a framework with a Python."""
    if python not in STACK["builds"][framework]["pypi"]["python"]:
        return f"there is no {framework} for Python {python}"
    if shutil.which(f"python{python}") is None:
        return f"no Python {python} on this machine"
    if framework == "pytorch" and not real_cpu_wheels(PYTORCH, str(python)):
        return f"pip's find-links name no folder with a wheel of torch {PYTORCH}+cpu for Python {python}"
    return None


def newest(framework: object) -> str | None:
    """The newest Python that the framework runs on here."""
    return next((one for one in reversed(choices("python")) if why_not_run(framework, one) is None), None)


@pytest.fixture(scope="session")
def environment_of(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case, str], Path]:
    """The environment of a case and a Python, made by uv from a generated repository, with every type checker.

    Cases whose repositories depend on the same packages share one.
    """
    made: dict[tuple[str, ...], Path] = {}
    checkers = [
        f"{name}{pin}" for one in choices("type_checker") for name, pin in STACK["requires"].get(one, {}).items()
    ]

    def environment(case: Case, python: str) -> Path:
        version, free_threaded = python.removesuffix("t"), python.endswith("t")
        given = {"python": version, "free_threaded": free_threaded, "package_manager": "uv", "accelerator": "cpu"}
        answers = resolve({**case.answers, **given})
        manifest = tomllib.loads(TEMPLATE.render(answers)[MANIFEST].content.decode())
        key = (python, *manifest["project"]["dependencies"], *manifest["dependency-groups"]["cpu"])
        if key not in made:
            folder = tmp_path_factory.mktemp("environment") / "demo"
            write(answers, folder)
            tools.run("uv sync --quiet --no-install-project", folder)
            tools.run(f"uv pip install --quiet {' '.join(map(repr, checkers))}", folder)
            # What training imports is compiled here: once, and while no test counts seconds.
            command = f".venv/bin/python -c 'import {answers['package']}.train'"
            tools.run(command, folder, {**tools.environment, "PYTHONPATH": str(folder / "src")})
            made[key] = folder / ".venv"
        return made[key]

    return environment


@pytest.fixture(scope="session")
def python_of(environment_of: Callable[[Case, str], Path]) -> PythonOf:
    """A Python that runs repositories of a framework, with other answers, as far as one does here."""

    def python(framework: str, **others: object) -> Path:
        version = newest(framework)
        if version is None:
            pytest.skip(str(why_not_run(framework, choices("python")[0])))
        return environment_of(usual(framework, **others), version) / "bin" / "python"

    return python


def usual(framework: object, **others: object) -> Case:
    """A case of the suggested answers with these, of no files."""
    answers = resolve({"framework": framework, **others})
    return Case("test", {name: answers[name] for name in TEMPLATE.questions}, {}, 0)


@pytest.fixture(scope="session")
def run_case(
    tools: Tools, environment_of: Callable[[Case, str], Path], tmp_path_factory: pytest.TempPathFactory
) -> RunCase:
    """Runs the commands of a case in a folder with its files alone, and gives what they say."""
    cache = tmp_path_factory.mktemp("mypy")  # what mypy found out about the framework holds for every case

    def run(case: Case) -> str:
        # A checker takes the version from its settings, so any environment with the framework will do for it.
        own = f"{case.answers['python']}{'t' if case.answers.get('free_threaded') else ''}"
        python = own if case.task == "test" else newest(case.answers["framework"])
        if reason := why_not_run(case.answers["framework"], python):
            pytest.skip(reason)
        has_packages = case.task != "lint"  # the linter looks at none
        environment = environment_of(case if has_packages else usual(case.answers["framework"]), str(python))
        folder = tmp_path_factory.mktemp(case.name)
        for path, content in case.files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        variables = {
            **tools.environment,
            "MYPY_CACHE_DIR": str(cache),
            "PATH": os.pathsep.join([str(environment / "bin"), tools.environment["PATH"]]),
            "VIRTUAL_ENV": str(environment),
            **({"PYTHONPATH": str(folder / "src")} if case.task == "test" else {}),
        }
        return "".join(tools.run(command, folder, variables) for command in case.commands)

    return run
