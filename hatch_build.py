"""The build hook that puts the template into the wheel and the sdist, as a git bundle with every released version."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.version import InvalidVersion, Version

# Variables with which git tells its hooks about the repository at hand; a build may run in one.
REPOSITORY_VARIABLES = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_COMMON_DIR",
    "GIT_PREFIX",
)
SNAPSHOT_NAME, SNAPSHOT_EMAIL = "labrig", "labrig@localhost"


class TemplateBundleHook(BuildHookInterface[Any]):
    """Adds `template.bundle` beside the package's modules; editable installs use the checkout itself."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the bundle from the checkout's history, or take the one that the sdist brought along."""
        if version == "editable":
            return
        root = Path(self.root)
        bundle = root / "src/labrig/template.bundle"
        if (root / ".git").exists():
            self.folder = tempfile.TemporaryDirectory(
                prefix="labrig-bundle-"
            )  # removed in any case, at the latest at exit
            bundle = make_bundle(root, self.metadata.version, Path(self.folder.name))
        elif not bundle.is_file():
            message = (
                f"{root} has no git history and no {bundle.relative_to(root)}, so there is no template to put into the "
                "package: build from a git clone, not from a downloaded archive of the source, or install from PyPI"
            )
            raise FileNotFoundError(message)
        package = "labrig" if self.target_name == "wheel" else "src/labrig"
        build_data["force_include"][str(bundle)] = f"{package}/template.bundle"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Remove the temporary repository."""
        if hasattr(self, "folder"):
            self.folder.cleanup()


def make_bundle(root: Path, version: str, folder: Path) -> Path:
    """Bundle the checkout's HEAD with all tags up to `version`, through a temporary repository in `folder`.

    Nothing is written to the checkout's own repository: no object, no ref, no index. Changes of tracked files that are
    not committed go in as a commit on top of HEAD.
    """
    store = folder / "store.git"
    create_repository(store)
    released = released_tags(root, Version(version))
    refs = ["HEAD:refs/heads/main", *(f"refs/tags/{tag}:refs/tags/{tag}" for tag in released)]
    git("fetch", "--quiet", "--no-tags", "--update-shallow", str(root), *refs, cwd=store)
    if git("rev-parse", "--is-shallow-repository", cwd=store) == "true":
        store = deepen_into_roots(store, folder / "roots.git")
    if git("status", "--porcelain", "--untracked-files=no", cwd=root):
        git("update-ref", "refs/heads/main", snapshot(root, store, folder / "index"), cwd=store)
    if f"v{version}" not in released:
        git("update-ref", f"refs/tags/v{version}", "refs/heads/main", cwd=store)
    # One thread and no deltas from the checkout's own packs: the same history gives the same bytes.
    git("-c", "pack.threads=1", "repack", "-adf", "--quiet", cwd=store)
    bundle = folder / "template.bundle"
    git("-c", "pack.threads=1", "bundle", "create", "--quiet", str(bundle), "HEAD", "--tags", cwd=store)
    return bundle


def create_repository(store: Path) -> None:
    """An empty bare repository whose HEAD is the branch main, whatever the user's configuration says."""
    git("init", "--quiet", "--bare", "--template=", str(store), cwd=store.parent)
    git("symbolic-ref", "HEAD", "refs/heads/main", cwd=store)


def released_tags(root: Path, newest: Version) -> list[str]:
    """The tags `v<version>` up to `newest`; an old release that is built again does not hold its successors."""

    def is_released(tag: str) -> bool:
        try:
            return Version(tag) <= newest
        except InvalidVersion:
            return False

    tags = git("for-each-ref", "--format=%(refname:strip=2)", "refs/tags/v*", cwd=root).splitlines()
    return [tag for tag in tags if is_released(tag)]


def deepen_into_roots(store: Path, roots: Path) -> Path:
    """A shallow history as a whole one: the commits at which it was cut become roots, with other hashes.

    A bundle of the shallow history itself could not be cloned.
    """
    create_repository(roots)
    git("fast-import", "--quiet", cwd=roots, stdin=git_bytes("fast-export", "--all", "--signed-tags=strip", cwd=store))
    return roots


def snapshot(root: Path, store: Path, index: Path) -> str:
    """The hash of a commit in `store` that holds the tracked files of the checkout as they are on the disk."""
    parent = git("rev-parse", "refs/heads/main", cwd=store)
    date = git("show", "--no-patch", "--format=%cd", "--date=raw", parent, cwd=store)
    elsewhere = {"GIT_INDEX_FILE": str(index), "GIT_OBJECT_DIRECTORY": str(store / "objects")}
    # An index without file times makes `git add` hash every file, so that all contents reach `store`.
    tracked = git_bytes("ls-files", "--stage", "-z", cwd=root)
    git("update-index", "-z", "--index-info", cwd=root, stdin=tracked, environment=elsewhere)
    git("add", "--update", ".", cwd=root, environment=elsewhere)
    tree = git("write-tree", cwd=root, environment=elsewhere)
    author = {
        f"GIT_{role}_{field}": value
        for role in ("AUTHOR", "COMMITTER")
        for field, value in (("NAME", SNAPSHOT_NAME), ("EMAIL", SNAPSHOT_EMAIL), ("DATE", date))
    }
    message = "Take in changes that are not committed"
    return git("commit-tree", tree, "-p", parent, "-m", message, cwd=store, environment=author)


def git(*arguments: str, cwd: Path, stdin: bytes = b"", environment: dict[str, str] | None = None) -> str:
    """The output of a git command, without the line end."""
    return git_bytes(*arguments, cwd=cwd, stdin=stdin, environment=environment).decode().strip()


def git_bytes(*arguments: str, cwd: Path, stdin: bytes = b"", environment: dict[str, str] | None = None) -> bytes:
    """The output of a git command; its own message, on stderr, explains a failure."""
    inherited = {name: value for name, value in os.environ.items() if name not in REPOSITORY_VARIABLES}
    inherited["GIT_OPTIONAL_LOCKS"] = "0"  # `git status` would otherwise refresh the checkout's index
    inherited["GIT_NO_LAZY_FETCH"] = "0"  # a clone without old contents, as pip makes it, may fetch them for the bundle
    command = ["git", "-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0", *arguments]
    return subprocess.run(
        command, cwd=cwd, input=stdin, env=inherited | (environment or {}), stdout=subprocess.PIPE, check=True
    ).stdout
