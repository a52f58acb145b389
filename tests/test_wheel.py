"""An installed labrig works without a network, and plain Copier can take over what it made."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from uv import find_uv_bin

CHECKOUT = Path(__file__).resolve().parent.parent
CANONICAL_URL = "https://github.com/labrig/labrig"
# The command of docs/decisions/0003-bundle-in-the-wheel.md.
COPIER_OFFLINE = (
    "import os, sys, labrig.source as s; "
    "os.execvpe('copier', ['copier', *sys.argv[1:]], os.environ | s.copier_environment())"
)


@dataclass(frozen=True)
class Releases:
    """A clone of this project, a release that was built before it was tagged, and the next one."""

    clone: Path
    first: Path
    second: Path


@pytest.fixture(scope="module", autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A user without configuration and without a cache of templates; the package caches stay."""
    home = tmp_path_factory.mktemp("home")
    (home / ".gitconfig").write_text(
        "[user]\n\tname = Ada\n\temail = ada@example.org\n[init]\n\tdefaultBranch = main\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        for name in ("LABRIG_TEMPLATE", "PYTHONPATH", "VIRTUAL_ENV", "GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"):
            patch.delenv(name, raising=False)
        patch.setenv("COPIER_CACHE_DIR", str(home / "copier"))
        patch.setenv("COPIER_SETTINGS_PATH", str(home / "settings.yml"))
        patch.setenv("GIT_CONFIG_GLOBAL", str(home / ".gitconfig"))
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        yield


@pytest.fixture(scope="module")
def offline() -> list[str]:
    """The start of a command that has no network: a network namespace of its own, else proxies that do not answer."""
    unshare = shutil.which("unshare")
    if unshare and subprocess.run([unshare, "-n", "true"], check=False, capture_output=True).returncode == 0:
        return ["unshare", "-n"]
    return ["env", *(f"{name}=http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "all_proxy", "ALL_PROXY"))]


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Releases:
    folder = tmp_path_factory.mktemp("releases")
    clone = folder / "labrig"

    def git(*arguments: str) -> None:
        run(["git", *arguments], clone)

    run(["git", "clone", "--quiet", str(CHECKOUT), str(clone)], folder)
    changes = subprocess.run(["git", "diff", "--binary", "HEAD"], cwd=CHECKOUT, check=True, capture_output=True).stdout
    if changes:
        subprocess.run(["git", "apply", "--index"], cwd=clone, input=changes, check=True)
    set_version(clone, "90.0.0")
    git("commit", "--quiet", "--all", "--message", "Release 90.0.0")
    first = build(clone, folder / "first")
    git("tag", "v90.0.0")
    set_version(clone, "91.0.0")
    with (clone / "template/README.md.jinja").open("a") as readme:
        readme.write("\nA line of the next release.\n")
    git("commit", "--quiet", "--all", "--message", "Release 91.0.0")
    git("tag", "v91.0.0")
    return Releases(clone, first, build(clone, folder / "second"))


def set_version(root: Path, version: str) -> None:
    text = (root / "pyproject.toml").read_text()
    line = next(line for line in text.splitlines() if line.startswith("version = "))
    (root / "pyproject.toml").write_text(text.replace(line, f'version = "{version}"'))


def build(root: Path, folder: Path) -> Path:
    command = [find_uv_bin(), "build", "--quiet", "--wheel", "--out-dir", str(folder), str(root)]
    run(command, root)
    return next(folder.glob("*.whl"))


def recorded(project: Path) -> dict[str, object]:
    answers = yaml.safe_load((project / ".copier-answers.yml").read_text())
    assert isinstance(answers, dict)
    return answers


def run(command: list[str], cwd: Path) -> None:
    done = subprocess.run(command, cwd=cwd, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def commit_all(project: Path) -> None:
    if not (project / ".git").exists():
        run(["git", "init", "--quiet"], project)
    run(["git", "add", "."], project)
    run(["git", "commit", "--quiet", "--allow-empty", "--message", "Work"], project)


def edit_and_update(project: Path, update: list[str]) -> str:
    """The README after the user has written into it and taken the next release."""
    readme = project / "README.md"
    assert "next release" not in readme.read_text()
    readme.write_text(f"A line of the user's.\n\n{readme.read_text()}")
    commit_all(project)
    run(update, project)
    return readme.read_text()


@dataclass(frozen=True)
class Environment:
    """An environment that holds nothing but labrig."""

    python: Path
    install: list[str]  # the start of a command that installs into it


@pytest.fixture
def environment(installation: str, releases: Releases, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Made as users make it: by uv from the wheel, or by pip from a clean clone."""
    folder = tmp_path_factory.mktemp("installed")
    python = folder / "environment/bin/python"
    if installation == "wheel":
        run([find_uv_bin(), "venv", "--quiet", "--python", sys.executable, "environment"], folder)
        made = Environment(python, [find_uv_bin(), "pip", "install", "--quiet", "--python", str(python)])
        run([*made.install, str(releases.first)], folder)
    else:
        command = ["git", "-c", "advice.detachedHead=false", "clone", "--quiet", "--branch", "v90.0.0"]
        run([*command, str(releases.clone), "clone"], folder)
        run([sys.executable, "-m", "venv", "environment"], folder)
        made = Environment(python, [str(python), "-m", "pip", "install", "--quiet", "--no-compile"])
        run([*made.install, "./clone"], folder)
    return made


@pytest.mark.parametrize("installation", ["wheel", pytest.param("clone", marks=pytest.mark.complete)])
def test_a_new_repository_needs_no_network_and_plain_copier_updates_it_from_the_next_bundle(
    environment: Environment,
    releases: Releases,
    offline: list[str],
    tmp_path: Path,
) -> None:
    run([*offline, str(environment.python.with_name("labrig")), "new", "moon", "--yes"], tmp_path)
    project = tmp_path / "moon"
    assert (recorded(project)["_src_path"], recorded(project)["_commit"]) == (CANONICAL_URL, "v90.0.0")

    alone = subprocess.run([*offline, "copier", "check-update"], cwd=project, check=False, capture_output=True)
    assert alone.returncode != 0, "the network is not cut: plain Copier reached the public address"

    run([*environment.install, "--no-deps", str(releases.second)], tmp_path)
    update = [*offline, str(environment.python), "-c", COPIER_OFFLINE, "update", "--defaults"]
    readme = edit_and_update(project, update)

    assert readme.startswith("A line of the user's.\n")
    assert readme.endswith("A line of the next release.\n")
    assert (recorded(project)["_src_path"], recorded(project)["_commit"]) == (CANONICAL_URL, "v91.0.0")


@pytest.mark.complete
@pytest.mark.parametrize("form", ["path", "url"])
def test_plain_copier_copies_and_updates_from_a_repository(form: str, releases: Releases, tmp_path: Path) -> None:
    where = str(releases.clone) if form == "path" else f"git+file://{releases.clone}"
    project = tmp_path / "moon"
    copy = ["copier", "copy", "--defaults", "--vcs-ref", "v90.0.0", where, str(project)]
    run(copy, tmp_path)
    assert (recorded(project)["_src_path"], recorded(project)["_commit"]) == (where, "v90.0.0")

    readme = edit_and_update(project, ["copier", "update", "--defaults"])

    assert readme.startswith("A line of the user's.\n")
    assert readme.endswith("A line of the next release.\n")
    assert (recorded(project)["_src_path"], recorded(project)["_commit"]) == (where, "v91.0.0")


def test_the_command_for_plain_copier_is_the_documented_one() -> None:
    assert COPIER_OFFLINE in (CHECKOUT / "docs/decisions/0003-bundle-in-the-wheel.md").read_text()
