"""Every generated repository passes its own tests, linter and type checker.

Repositories whose code, tests and tool settings are byte-equal are one case: it is run once and stands for all of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hosts.conda_channel import PYTORCH
from hosts.pytorch_index import real_cpu_wheels
from hosts.tools import Tools
from repositories import STACK, TEMPLATE, choices, legal_combinations, resolve, write

pytestmark = pytest.mark.managers

# The tables of pyproject.toml that say how a repository is installed, not what its code or its checks do.
INSTALLATION = ("uv", "poetry", "poe")

CASES = [
    (framework, python, type_checker)
    for framework in choices("framework")
    for python in STACK["builds"][framework]["pypi"]["python"]
    for type_checker in choices("type_checker")
]


def answers_of(framework: str, python: str, type_checker: str) -> dict[str, object]:
    return {"framework": framework, "python": python, "type_checker": type_checker}


def runtime_digest(given: Mapping[str, object]) -> str:
    """The hash of all that a repository's own tests, linter and type checker look at."""
    digest = hashlib.sha256()
    for path, file in TEMPLATE.render(resolve(given)).items():
        content = file.content
        if path == "pyproject.toml":
            settings = tomllib.loads(content.decode())
            tables = {name: table for name, table in settings["tool"].items() if name not in INSTALLATION}
            content = json.dumps([settings["project"]["requires-python"], tables], sort_keys=True).encode()
        elif not path.startswith(("src/", "tests/")):
            continue
        digest.update(f"{path} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def test_the_cases_that_are_run_stand_for_every_combination() -> None:
    digests = {runtime_digest(answers_of(*case)): case for case in CASES}
    assert len(digests) == len(CASES), "two cases are the same"
    stands_for = Counter(digests.get(runtime_digest(combination)) for combination in legal_combinations())
    assert None not in stands_for, f"{stands_for[None]} combinations have runtime files that no case has"
    assert set(stands_for) == set(CASES)
    for case, count in sorted(stands_for.items(), key=str):
        print(f"{'-'.join(case or ())} stands for {count} combinations")


@pytest.fixture(scope="session")
def environment_of(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """The environment of a framework and a Python, made by uv from a generated repository, with both type checkers."""
    made: dict[tuple[str, str], Path] = {}

    def environment(framework: str, python: str) -> Path:
        if (framework, python) not in made:
            folder = tmp_path_factory.mktemp(f"{framework}-{python}") / "demo"
            write(resolve(answers_of(framework, python, "pyright")), folder)
            tools.run("uv sync --quiet --compile-bytecode --no-install-project", folder)
            tools.run(f"uv pip install --quiet 'mypy{STACK['requires']['mypy']['mypy']}'", folder)
            made[framework, python] = folder / ".venv"
        return made[framework, python]

    return environment


def why_not_run(framework: str, python: str) -> str | None:
    """Why code for this framework and Python cannot be run on this machine."""
    if shutil.which(f"python{python}") is None:
        return f"no Python {python} on this machine"
    if framework == "pytorch" and not real_cpu_wheels(PYTORCH, python):
        return f"pip's find-links name no folder with a wheel of torch {PYTORCH}+cpu for Python {python}"
    return None


def runnable(framework: str) -> str:
    """The newest Python that the framework runs on here."""
    pythons = STACK["builds"][framework]["pypi"]["python"]
    possible = [python for python in pythons if why_not_run(framework, python) is None]
    if not possible:
        pytest.skip(f"{framework}: {why_not_run(framework, pythons[0])}")
    return str(possible[-1])


def activated(environment: Path, tools: Tools) -> dict[str, str]:
    """The variables of a shell in which this environment is active."""
    path = os.pathsep.join([str(environment / "bin"), tools.environment["PATH"]])
    return {**tools.environment, "VIRTUAL_ENV": str(environment), "PATH": path}


@pytest.mark.parametrize(("framework", "python", "type_checker"), CASES)
def test_a_repository_passes_its_linter_and_its_type_checker(
    framework: str,
    python: str,
    type_checker: str,
    tools: Tools,
    environment_of: Callable[[str, str], Path],
    tmp_path: Path,
) -> None:
    folder = tmp_path / "demo"
    write(resolve(answers_of(framework, python, type_checker)), folder)
    # The checkers find the package in src/ by themselves, so any environment with the framework will do.
    active = activated(environment_of(framework, runnable(framework)), tools)
    tools.run("ruff check --no-cache", folder, active)
    tools.run("ruff format --no-cache --check", folder, active)
    if type_checker != "none":
        tools.run(type_checker, folder, active)


@pytest.mark.parametrize(("framework", "python"), sorted({case[:2] for case in CASES}))
def test_a_repository_passes_its_own_tests(
    framework: str, python: str, tools: Tools, environment_of: Callable[[str, str], Path], tmp_path: Path
) -> None:
    if reason := why_not_run(framework, python):
        pytest.skip(reason)
    folder = tmp_path / "demo"
    write(resolve(answers_of(framework, python, "none")), folder)
    active = activated(environment_of(framework, python), tools)
    tools.run("uv pip install --quiet --no-deps --editable .", folder, active)
    try:
        said = tools.run("pytest", folder, active)
    finally:  # the checkers must not see this package instead of theirs
        tools.run("uv pip uninstall --quiet demo", folder, active)
    passed = re.search(r"(\d+) passed", said)
    assert passed is not None, said
    assert "skipped" not in said, said
    print(f"{framework} on Python {python}: {said.splitlines()[-1].strip('= ')}")
