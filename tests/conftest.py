"""What several test files share: the template, with its legal combinations of choices as stack.yml states them."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hosts.tools import Tools
from hosts.tools import tools as open_tools

from labrig.render import Template

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def stack() -> dict[str, Any]:
    """The catalogue."""
    content: dict[str, Any] = yaml.safe_load((ROOT / "stack.yml").read_text(encoding="utf-8"))
    return content


@pytest.fixture(scope="session")
def template() -> Template:
    """The template of this checkout."""
    return Template(ROOT)


@pytest.fixture(scope="session")
def plain_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template of this checkout as a plain folder, without git: every file that git does not ignore."""
    folder = tmp_path_factory.mktemp("template")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in listed.rstrip("\0").split("\0"):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def legal_combinations(stack: dict[str, Any], template: Template) -> Iterator[dict[str, object]]:
    """Every combination of the six questions that depend on each other, which stack.yml says can be made."""
    values = {name: [choice.value for choice in question.choices] for name, question in template.questions.items()}
    for framework, package_manager in itertools.product(values["framework"], values["package_manager"]):
        builds = stack["builds"][framework]["conda" if package_manager == "conda" else "pypi"]
        for accelerator, python, type_checker, ci in itertools.product(
            builds["accelerators"], builds["python"], values["type_checker"], values["ci"]
        ):
            yield {
                "framework": framework,
                "package_manager": package_manager,
                "accelerator": accelerator,
                "python": python,
                "type_checker": type_checker,
                "ci": ci,
            }


@pytest.fixture(scope="session")
def interpreters() -> list[str]:
    """Every Python that starts here: each a path."""
    found = []
    for minor in range(11, 15):
        for folder in os.environ["PATH"].split(os.pathsep):
            candidate = Path(folder) / f"python3.{minor}"
            if (
                candidate.exists()
                and subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0
            ):
                found.append(str(candidate))
                break
    assert found
    return found


@pytest.fixture(scope="session")
def tools() -> Iterator[Tools]:
    """The package managers, with hosts that this machine may not reach answered on the loopback interface."""
    with open_tools() as opened:
        yield opened
