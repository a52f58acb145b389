"""The wheel carries the template as a git bundle with its history, and building it leaves no trace."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
from uv import find_uv_bin

CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A small checkout with this project's own build: releases, a later one, a tag that is none."""
    root = tmp_path / "checkout"
    for path in ("hatch_build.py", "pyproject.toml", "README.md", "src/labrig/__init__.py"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / path, root / path)
    (root / "copier.yml").write_text("_subdirectory: template\n")
    (root / "template").mkdir()
    git(root, "init", "--quiet", "--initial-branch=main")
    for tag in ("v0.1.0", "v0.2.0", "vision", "v3.0.0"):
        (root / "template/tag.txt").write_text(f"{tag}\n")
        git(root, "add", ".")
        git(root, "commit", "--quiet", "--message", tag)
        git(root, "tag", tag)
    set_version(root, "2.0.0")
    git(root, "commit", "--quiet", "--all", "--message", "Set the version to 2.0.0")
    return root


def git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    done = subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def set_version(root: Path, version: str) -> None:
    text = (root / "pyproject.toml").read_text()
    line = next(line for line in text.splitlines() if line.startswith("version = "))
    (root / "pyproject.toml").write_text(text.replace(line, f'version = "{version}"'))


def build(root: Path, *options: str, environment: dict[str, str] | None = None) -> Path:
    """The distribution that `uv build` makes, in a folder of its own beside the checkout."""
    folder = root.parent / f"dist-{len(list(root.parent.iterdir()))}"
    command = [find_uv_bin(), "build", *options, "--out-dir", str(folder), str(root)]
    done = subprocess.run(command, env=os.environ | (environment or {}), check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    return next(path for path in folder.iterdir() if path.suffix in {".whl", ".gz"})


def bundle_of(wheel: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract("labrig/template.bundle", wheel.parent))


def cloned(bundle: Path) -> Path:
    clone = bundle.parent / "clone"
    git(bundle.parent, "clone", "--quiet", str(bundle), str(clone))
    return clone


def contents(folder: Path) -> dict[str, bytes]:
    """Every file, git's own included; Python's cache of the build hook aside."""
    files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_the_wheel_holds_the_template_as_a_bundle_and_in_no_other_form(checkout: Path) -> None:
    with zipfile.ZipFile(build(checkout, "--wheel")) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == {"labrig/__init__.py", "labrig/template.bundle"}


def test_the_bundle_holds_the_true_history_with_every_release_up_to_its_own(checkout: Path) -> None:
    clone = cloned(bundle_of(build(checkout, "--wheel")))
    assert git(clone, "tag").split() == ["v0.1.0", "v0.2.0", "v2.0.0"]
    for tag in ("v0.1.0", "v0.2.0"):
        assert git(clone, "rev-parse", tag) == git(checkout, "rev-parse", tag)
    assert git(clone, "rev-parse", "HEAD", "v2.0.0") == "\n".join([git(checkout, "rev-parse", "HEAD")] * 2)
    assert git(clone, "log", "--format=%H") == git(checkout, "log", "--format=%H")


def test_a_release_that_is_tagged_keeps_its_tag(checkout: Path) -> None:
    git(checkout, "tag", "--annotate", "v2.0.0", "--message", "Release 2.0.0")
    clone = cloned(bundle_of(build(checkout, "--wheel")))
    assert git(clone, "rev-parse", "v2.0.0") == git(checkout, "rev-parse", "v2.0.0")
    (checkout / "template/tag.txt").write_text("after the release\n")
    git(checkout, "commit", "--quiet", "--all", "--message", "Go on")
    clone = cloned(bundle_of(build(checkout, "--wheel")))
    assert git(clone, "rev-parse", "v2.0.0") == git(checkout, "rev-parse", "v2.0.0")
    assert git(clone, "describe", "--tags") == git(checkout, "describe", "--tags")
    assert git(clone, "describe", "--tags").startswith("v2.0.0-1-g")


def test_the_release_of_another_branch_is_in_the_bundle_too(checkout: Path) -> None:
    git(checkout, "switch", "--quiet", "--create", "0.1", "v0.1.0")
    git(checkout, "commit", "--quiet", "--allow-empty", "--message", "Mend 0.1")
    git(checkout, "tag", "v0.1.1")
    git(checkout, "switch", "--quiet", "main")
    clone = cloned(bundle_of(build(checkout, "--wheel")))
    assert git(clone, "rev-parse", "v0.1.1") == git(checkout, "rev-parse", "v0.1.1")


def test_uncommitted_changes_of_tracked_files_go_in_and_untracked_files_do_not(checkout: Path) -> None:
    (checkout / "gone.txt").write_text("tracked\n")
    (checkout / "let-go.txt").write_text("tracked\n")
    (checkout / "template/run.sh").write_text("#!/bin/sh\n")
    git(checkout, "add", ".")
    git(checkout, "commit", "--quiet", "--message", "Add files")
    (checkout / "gone.txt").unlink()
    git(checkout, "rm", "--quiet", "--cached", "let-go.txt")
    (checkout / "template/run.sh").chmod(0o755)
    (checkout / "template/tag.txt").write_text("being edited\n")
    (checkout / "template/added.txt").write_text("added, not committed\n")
    git(checkout, "add", "template/added.txt")
    (checkout / "template/untracked.txt").write_text("nobody's business\n")
    before = contents(checkout)

    clone = cloned(bundle_of(build(checkout, "--wheel")))

    assert contents(checkout) == before  # no object, no ref, not even a refreshed index
    files = set(git(clone, "ls-files").splitlines())
    assert {"template/added.txt", "template/run.sh"} <= files
    assert not files & {"gone.txt", "let-go.txt", "template/untracked.txt"}
    assert (clone / "template/tag.txt").read_text() == "being edited\n"
    assert os.access(clone / "template/run.sh", os.X_OK)
    assert git(clone, "rev-parse", "HEAD~1") == git(checkout, "rev-parse", "HEAD")
    assert git(clone, "describe", "--tags") == "v2.0.0"


def test_building_a_clean_checkout_leaves_it_as_it_was(checkout: Path) -> None:
    before = contents(checkout)
    build(checkout, "--wheel")
    assert contents(checkout) == before


def test_building_leaves_nothing_in_the_temporary_folder(checkout: Path, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    build(checkout, "--wheel", environment={"TMPDIR": str(temporary)})
    (checkout / ".git/HEAD").unlink()
    with pytest.raises(RuntimeError, match="not a git repository"):
        build(checkout, "--wheel", environment={"TMPDIR": str(temporary)})
    assert not list(temporary.glob("labrig-*"))


def test_the_same_history_gives_the_same_bytes_however_it_is_packed(checkout: Path, tmp_path: Path) -> None:
    (checkout / "template/tag.txt").write_text("being edited\n")
    packed = tmp_path / "packed"
    git(tmp_path, "clone", "--quiet", f"file://{checkout}", str(packed))
    shutil.copy(checkout / "template/tag.txt", packed / "template/tag.txt")
    wheels = [build(root, "--wheel").read_bytes() for root in (checkout, packed, packed)]
    assert wheels[0] == wheels[1] == wheels[2]


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_a_shallow_clone_gives_a_bundle_too(checkout: Path, tmp_path: Path, depth: int) -> None:
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "--quiet", "--depth", str(depth), f"file://{checkout}", str(shallow))
    git(shallow, "fetch", "--quiet", "--depth", str(depth), "origin", "tag", "v0.2.0")
    (shallow / "template/tag.txt").write_text("being edited\n")
    clone = cloned(bundle_of(build(shallow, "--wheel")))
    assert {"v0.2.0", "v2.0.0"} <= set(git(clone, "tag").split())
    assert git(clone, "rev-parse", "v0.2.0^{tree}") == git(checkout, "rev-parse", "v0.2.0^{tree}")
    assert (clone / "template/tag.txt").read_text() == "being edited\n"
    assert git(clone, "describe", "--tags") == "v2.0.0"


def test_a_clone_without_the_old_contents_gives_a_whole_bundle(checkout: Path, tmp_path: Path) -> None:
    """As `pip install git+https://...` makes it."""
    git(checkout, "config", "uploadpack.allowFilter", "true")
    partial = tmp_path / "partial"
    git(tmp_path, "clone", "--quiet", "--filter=blob:none", f"file://{checkout}", str(partial))
    assert "?" in git(partial, "rev-list", "--objects", "--missing=print", "HEAD")
    clone = cloned(bundle_of(build(partial, "--wheel")))
    assert git(clone, "show", "v0.1.0:template/tag.txt") == "v0.1.0"


def test_a_linked_worktree_gives_its_own_commit(checkout: Path, tmp_path: Path) -> None:
    git(checkout, "worktree", "add", "--quiet", "-b", "other", str(tmp_path / "worktree"), "main")
    (tmp_path / "worktree/template/tag.txt").write_text("other\n")
    git(tmp_path / "worktree", "commit", "--quiet", "--all", "--message", "Change")
    clone = cloned(bundle_of(build(tmp_path / "worktree", "--wheel")))
    assert git(clone, "rev-parse", "HEAD") == git(tmp_path / "worktree", "rev-parse", "HEAD")


def test_a_build_within_a_git_hook_takes_the_right_repository(checkout: Path, tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "elsewhere")
    elsewhere = {"GIT_DIR": str(tmp_path / "elsewhere/.git"), "GIT_INDEX_FILE": str(tmp_path / "elsewhere/.git/index")}
    clone = cloned(bundle_of(build(checkout, "--wheel", environment=elsewhere)))
    assert git(clone, "rev-parse", "HEAD") == git(checkout, "rev-parse", "HEAD")


def test_the_sdist_brings_the_bundle_along_and_builds_without_git(checkout: Path, tmp_path: Path) -> None:
    (checkout / "untracked.txt").write_text("nobody's business\n")
    sdist = build(checkout, "--sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert not [path for path in contents(unpacked) if "untracked" in path or path.startswith("template/")]
    assert bundle_of(build(unpacked, "--wheel")).read_bytes() == bundle_of(build(checkout, "--wheel")).read_bytes()


def test_a_source_without_git_and_without_a_bundle_is_refused(checkout: Path) -> None:
    shutil.rmtree(checkout / ".git")
    with pytest.raises(RuntimeError, match="build from a git clone, not from a downloaded archive"):
        build(checkout, "--wheel")


def test_an_editable_installation_carries_no_bundle(checkout: Path, tmp_path: Path) -> None:
    target = tmp_path / "installed"
    command = [find_uv_bin(), "pip", "install", "--quiet", "--no-deps", "--target", str(target), "--editable"]
    subprocess.run([*command, str(checkout)], check=True)
    assert any(target.iterdir())
    assert not list(target.rglob("*.bundle"))
    assert not list(checkout.rglob("*.bundle"))
