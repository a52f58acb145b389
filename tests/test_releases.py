"""Repositories of every released version become what a fresh one is, by `labrig update` and by `copier update`."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from proof import SEED, Proof
from repositories import ROOT
from workshop import Workshop, git, put
from workshop import workshop as workshop  # noqa: PLC0414 - a fixture

from labrig.render import Template

RELEASES = ROOT / "tests" / "releases"
KEEP = "git archive --output {} HEAD copier.yml constraints.yml stack.yml questions shared template"
"""How the template of a release is kept; CONTRIBUTING.md says it."""

HEAD = "HEAD"  # as if it had been released: there is something to update from before the first release, too
FROM = [HEAD, *sorted(path.name.removesuffix(".tar.gz") for path in RELEASES.glob("v*.tar.gz"))]
MORE_ANSWERS = 6


@pytest.fixture
def released(request: pytest.FixtureRequest, workshop: Workshop, plain_template: Path) -> Workshop:
    """A template with a release, and the one of this checkout after it."""
    version: str = request.param
    archive = RELEASES / f"{version}.tar.gz"
    if version == HEAD:
        archive = workshop.folder / archive.name
        subprocess.run(KEEP.format(archive).split(), cwd=ROOT, check=True)
    workshop.template.mkdir()
    with tarfile.open(archive) as files:
        files.extractall(workshop.template, filter="data")
    git(workshop.template, "init", "--quiet")
    keep(workshop, "v1")
    for path in workshop.template.iterdir():
        if path.name != ".git":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(plain_template, workshop.template, dirs_exist_ok=True)
    if version == HEAD:  # which may be the same
        change(workshop.template / "template")
    keep(workshop, "v2")
    return workshop


def keep(workshop: Workshop, tag: str) -> None:
    git(workshop.template, "add", "--all", "--force")
    git(workshop.template, "commit", "--quiet", "--message", tag)
    git(workshop.template, "tag", tag)


def change(template: Path) -> None:
    """What a next version may do: change files of all kinds, add one, take one away."""
    for name, old, new in (
        ("pyproject.toml.jinja", 'version = "0.1.0"', 'version = "0.1.1"'),
        ("README.md.jinja", "## Cite\n", "## Cite it\n"),
        ("src/{{ package }}/stop.py", '"""', '"""Next: '),
        (".gitignore.jinja", "dist/\n", "dist/\nout/\n"),
    ):
        text = (template / name).read_text()
        assert old in text, name
        (template / name).write_text(text.replace(old, new, 1))
    put(template, {"NEXT.md": "# Next\n", "EXPERIMENTS.md.jinja": None})


def check(released: Workshop, answers: Mapping[str, object]) -> None:
    """An untouched repository of v1 equals a fresh one of v2 after either update."""
    released.generate(answers)
    fresh = released.render("v2", answers)
    done = released.copier()
    assert done.returncode == 0, done.stderr
    by_labrig = released.labrig("update", "--yes", "--no-lock")
    assert by_labrig.code == 0, by_labrig.err
    for root in (released.root, released.folder / "demo-copier"):
        listed = git(root, "ls-files", "--cached", "--others", "--exclude-standard").splitlines()
        assert {name: (root / name).read_bytes() for name in listed if (root / name).exists()} == fresh


@pytest.mark.parametrize("released", FROM, indirect=True)
@pytest.mark.parametrize(
    "answers",
    [{}, {"framework": "jax", "package_manager": "pip", "ci": "gitlab", "launchers": ["slurm"], "example": "text"}],
    ids=["suggested", "other"],
)
def test_an_untouched_repository_of_a_release_becomes_a_fresh_one(
    released: Workshop, answers: dict[str, object]
) -> None:
    check(released, answers)


@pytest.mark.complete
@pytest.mark.parametrize("released", FROM, indirect=True)
@pytest.mark.parametrize("number", range(MORE_ANSWERS))
def test_so_does_one_with_random_answers(released: Workshop, number: int) -> None:
    checkout = released.folder / "v1"
    git(released.template, "worktree", "add", "--quiet", "--detach", str(checkout), "v1")
    space = Proof(Template(checkout)).space
    point = next(itertools.islice(space.samples(SEED + 6), number, None))
    check(released, space.answers(point))


def test_every_release_is_kept() -> None:
    changelog = re.findall(r"^## \[(\d[^\]]*)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert sorted(f"v{version}" for version in changelog) == FROM[1:]


def test_the_command_that_keeps_a_release_is_the_documented_one() -> None:
    assert KEEP.format("tests/releases/v<version>.tar.gz") in (ROOT / "CONTRIBUTING.md").read_text()


def test_what_is_kept_is_what_the_template_reads(tmp_path: Path, plain_template: Path) -> None:
    """The archive renders by itself, so nothing that the template includes is left out of it."""
    kept = KEEP.partition("HEAD ")[2].split()
    for name in kept:
        source = plain_template / name
        shutil.copytree(source, tmp_path / name) if source.is_dir() else shutil.copy(source, tmp_path / name)
    template = Template(tmp_path)
    assert template.render(template.resolve({}, folder_name="demo"))
