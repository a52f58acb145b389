"""The instructions of images run in their order, in a bare folder: neither Docker nor Apptainer is in the proof."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import rattler
from environments import why_not_run
from hosts import conda
from hosts.conda_channel import PYTHON, PYTORCH
from hosts.tools import POETRY, Tools
from images import definition, instructions, lets_through
from locks import lock_commands
from repositories import TEMPLATE, choices, resolve, write

PLACES = ("app", "poetry", "root", "opt/conda/pkgs")
"""Folders of an image that the instructions name; here each is in a folder of the test."""


DOCKER = {"Dockerfile", ".dockerignore"}
APPTAINER = {"apptainer.def", ".gitignore"}
DEVELOPMENT = {".devcontainer/Dockerfile", ".devcontainer/devcontainer.json"}


class Image:
    """A bare folder in which instructions run as in an image, except that this machine is around it."""

    def __init__(self, root: Path, context: Path, tools: Tools, environment: dict[str, str]) -> None:
        self.root = root
        self.context = context
        self.tools = tools
        self.environment = environment
        self.folder = root
        self.records: list[rattler.RepoDataRecord] = []

    def here(self, text: str) -> str:
        """The same text, with the places of the image in the folder."""
        return re.sub(rf"(?<![\w.$}}])/({'|'.join(PLACES)})(?=[/\s:\"]|$)", rf"{self.root}/\1", text)

    def change_to(self, folder: str) -> None:
        self.folder = Path(self.here(folder))
        self.folder.mkdir(parents=True, exist_ok=True)

    def copy(self, source: Path, target: str) -> None:
        """A file goes into a folder that is there or ends in a slash; of a folder, what is in it goes."""
        place = self.folder / self.here(target)
        if source.is_dir():
            shutil.copytree(source, place, symlinks=True, dirs_exist_ok=True)
        else:
            place = place / source.name if target.endswith("/") or place.is_dir() else place
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, place)

    def run(self, command: str) -> str:
        if re.match(r"\s*(/opt/conda/bin/)?conda ", command):
            return self.conda(*map(shlex.split, map(self.here, command.strip().splitlines())))
        said = self.tools.run(f"sh -euc {shlex.quote(self.here(command))}", self.folder, self.environment)
        if "pip install" in command and "poetry==" in command and "POETRY_PYPI_MIRROR_URL" in self.environment:
            self.tools.run(f"{self.root}/poetry/bin/pip install --quiet {POETRY[1]}", self.folder, self.environment)
        return said

    def conda(self, *lines: list[str]) -> str:
        """What conda does, whose program may not be here: it installs what a lock lists."""
        for line in lines:
            assert line[1] in {"create", "clean"}
            if line[1] == "create":
                prefix, lock = (line[line.index(option) + 1] for option in ("--prefix", "--file"))
                listed = (self.folder / lock).read_text().splitlines()
                assert listed == ["@EXPLICIT", *(str(record.url) for record in self.records)]
                asyncio.run(rattler.install(self.records, target_prefix=prefix, show_progress=False))
        return ""

    def set(self, name: str, value: str) -> None:
        expanded = self.here(value).replace("$PATH", self.environment["PATH"])
        self.environment[name] = re.sub(r"\$\{PYTHONPATH:-(\w+)\}", r"\1", expanded)


@pytest.fixture
def image(request: pytest.FixtureRequest, tools: Tools, tmp_path: Path) -> Image:
    """The base image, with a Python of its own, and the repository with its lock."""
    if reason := why_not_run("pytorch", PYTHON):
        pytest.skip(reason)
    folder, root = tmp_path / "demo", tmp_path / "image"
    root.mkdir()
    given = {"package_manager": request.param, "python": PYTHON, "containers": ["docker", "apptainer"]}
    write(resolve({**given, "framework": "pytorch"}), folder)
    (folder / "runs").mkdir()
    tools.run(f"uv venv --quiet --seed --python {PYTHON} {root / 'python'}", root)
    path = os.pathsep.join([str(root / "python" / "bin"), tools.environment["PATH"]])
    found = Image(root, folder, tools, {**tools.environment, "PATH": path})
    if request.param == "conda":
        channels = request.getfixturevalue("channels")
        found.records = conda.solve(conda.EnvironmentFile.read(folder / "environment.yml"), channels)
        listed = ["@EXPLICIT", *(str(record.url) for record in found.records)]
        (folder / "environment.lock").write_text("".join(f"{line}\n" for line in listed))
    else:
        for command in lock_commands(folder):
            tools.run(command, folder)
    return found


def test_containers_add_files_and_change_no_code() -> None:
    def files(containers: list[str]) -> dict[str, bytes]:
        given = {"containers": containers, "ci": "none"}
        found = {path: file.content for path, file in TEMPLATE.render(resolve(given)).items()}
        return {path: text for path, text in found.items() if path not in {"README.md", ".copier-answers.yml"}}

    plain = files([])
    for containers in choices("containers"):
        added = files(containers).items() - plain.items()
        expected = set().union(
            *({"docker": DOCKER, "apptainer": APPTAINER}.get(one, DEVELOPMENT) for one in containers)
        )
        assert {path for path, _ in added} == expected
        assert plain.items() - files(containers).items() <= {(".gitignore", plain[".gitignore"])}


@pytest.mark.parametrize("accelerator", ["cpu", "cu130", "rocm"])
@pytest.mark.parametrize("manager", ["uv", "pip", "poetry"])
def test_the_images_hold_the_build_for_the_accelerator(manager: str, accelerator: str) -> None:
    given = {"package_manager": manager, "accelerator": accelerator, "containers": choices("containers")[-1]}
    files = {path: file.content.decode() for path, file in TEMPLATE.render(resolve(given)).items()}
    for path in ("Dockerfile", "apptainer.def", ".devcontainer/devcontainer.json"):
        expected = {"uv": "uv sync", "pip": f"requirements/{accelerator}.txt", "poetry": f"--extras {accelerator}"}
        assert expected[manager] in files[path], path
    assert ("gpu" in files[".devcontainer/devcontainer.json"]) == (accelerator == "cu130")


def managers(usual: Sequence[str]) -> list[Any]:
    """Every package manager; CI builds images with the usual ones, and a release with the others."""
    return [
        pytest.param(one, marks=pytest.mark.complete if one in usual else pytest.mark.release)
        for one in choices("package_manager")
    ]


@pytest.mark.parametrize("image", managers(("uv",)), indirect=True)
def test_the_image_of_docker_is_built_from_the_lock_and_trains(image: Image) -> None:
    patterns = (image.context / ".dockerignore").read_text()
    started: list[str] = []
    for step in instructions((image.context / "Dockerfile").read_text()):
        if step.name == "FROM" and image.folder != image.root:  # the next stage: another /app, the former one aside
            (image.root / "app").rename(image.root / "packages")
        if step.name == "WORKDIR":
            image.change_to(step.value)
        if step.name == "COPY" and step.value.startswith("--from=packages "):
            source, target = step.words
            image.copy(Path(source.replace("/app", str(image.root / "packages"), 1)), target)
        elif step.name == "COPY":
            *sources, target = step.words
            for source in sources:
                assert lets_through(patterns, source)
                image.copy(image.context / source, target)
        if step.name == "RUN":
            image.run(step.command)
        if step.name == "ARG":
            image.set("COMMIT", "0123abc")
        if step.name == "ENV":
            for name, value in (word.split("=", 1) for word in step.words):
                image.set(name, value)
        if step.name == "ENTRYPOINT":
            started = step.words
        if step.name == "USER":
            assert step.value == "1000:1000"
    said = image.run(shlex.join([*started, "train", "debug"]))
    app = image.root / "app"
    assert (app / "runs" / "debug" / "result.json").exists(), said
    (start,) = json.loads((app / "runs" / "debug" / "code.json").read_text())
    assert start["commit"] == "0123abc"
    assert start["packages"]["torch"].startswith(PYTORCH)
    assert sorted(path.name for path in app.iterdir()) == [".venv", "frozen.json", "runs", "src"]


@pytest.mark.parametrize("image", managers(("pip",)), indirect=True)
def test_the_image_of_apptainer_has_the_packages_and_runs_the_code_beside_it(image: Image) -> None:
    context = image.context
    read = definition((context / "apptainer.def").read_text())
    for source, target in read.files:
        image.copy(context / source, target)
    image.run(read.sections["post"])
    for name, value in re.findall(r"export (\w+)=(.*)", read.sections["environment"]):
        image.set(name, value)
    image.folder = context
    image.run("python -m demo train debug")
    assert (context / "runs" / "debug" / "result.json").exists()
