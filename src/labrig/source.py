"""Where the template comes from: the bundle in the wheel, a checkout, a folder or a git repository."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from .errors import (
    GitError,
    NotATemplateError,
    TemplateAddressError,
    TemplateMissingError,
    TemplateNotFoundError,
    TemplateUnreachableError,
    UnknownVersionError,
    did_you_mean,
)

# What `git rev-parse --local-env-vars` lists, less the configuration: labrig may be run from a git hook.
REPOSITORY_VARIABLES = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_INDEX_FILE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
)
# Settings of the user's that would change what is checked out, run a program or ask a question.
SETTINGS = (
    "advice.detachedHead=false",
    "clone.rejectShallow=false",
    "core.autocrlf=false",
    "core.eol=lf",
    "core.fsmonitor=false",
    f"core.hooksPath={os.devnull}",
    "gc.auto=0",
)
SHORTCUTS = {"gh:": "https://github.com/", "gl:": "https://gitlab.com/"}
HOSTS_THAT_COPIER_KNOWS = ("https://github.com/", "https://gitlab.com/")


@dataclass(frozen=True)
class Source:
    """One version of the template, on the disk as long as `open_template` is open."""

    root: Path  # holds copier.yml
    url: str  # recorded as _src_path
    commit: str | None  # recorded as _commit: `git describe --tags --always`; None without git
    commit_hash: str | None


@dataclass(frozen=True)
class _Place:
    """Where a template was asked for, before git has looked at it."""

    location: str  # what git clones, or the folder itself
    url: str  # recorded, and shown in messages
    is_own: bool = False  # came with labrig: CLI and template are of one commit
    is_local: bool = False
    has_history: bool = True


@contextmanager
def open_template(where: str | None = None, version: str | None = None) -> Iterator[Source]:
    """Check out one version of the template into a temporary folder, which is removed at the end.

    where: a path, a git URL, `gh:owner/name` or `gl:owner/name`. None: $LABRIG_TEMPLATE, else the checkout that an
    editable install lies in, else the bundle in the wheel.
    version: a tag, a branch or a commit. None: what came with labrig; the newest release of another template; the
    working tree, where it has changes that are not committed.
    """
    place = _find(where)
    if version is not None:
        _refuse_options("version", version)
    if not place.has_history:
        root = Path(place.location)
        if version is not None:
            raise UnknownVersionError(
                f"the template has no version '{version}'",
                cause=f"{place.url} is a folder without git history: it has no versions",
                tip="leave --template-version out, or give the git repository that the folder is a copy of",
            )
        _check_is_template(root, place.url)
        yield Source(root, place.url, None, None)
        return
    with tempfile.TemporaryDirectory(prefix="labrig-template-", ignore_cleanup_errors=True) as folder:
        repository = _Repository(Path(folder), place)
        repository.clone()
        commit_hash = repository.check_out(version)
        _check_is_template(repository.root, place.url if version is None else f"{place.url} at {version}")
        yield Source(repository.root, place.url, repository.git("describe", "--tags", "--always"), commit_hash)


class History:
    """A template with all its versions, each checked out once, as long as `open_history` is open."""

    def __init__(self, repository: _Repository, *, is_template: bool = True) -> None:
        self._repository = repository
        self._is_template = is_template
        self._known: dict[str, Source] = {}
        self._commits: dict[str | None, str | None] = {}
        self._is_before: dict[tuple[str, str], bool] = {}

    @property
    def url(self) -> str:
        """What is recorded as _src_path."""
        return self._repository.place.url

    def newest(self) -> Source:
        """What `open_template` gives without a version."""
        if None not in self._commits:
            self._commits[None] = self._repository.choose(None)
        return self._source(self._commits[None] or "")

    def newest_after(self, source: Source) -> Source:
        """The newest version; `source` itself where that is newer, for example the tip of a branch."""
        newest = self.newest()
        if source.commit_hash and newest.commit_hash and self.is_before(newest.commit_hash, source.commit_hash):
            return source
        return newest

    def version(self, name: str) -> Source:
        """A tag, a branch or a commit. UnknownVersionError when there is none of this name."""
        _refuse_options("version", name)
        return self._source(name if name in self._known else self._repository.choose(name))

    def find(self, name: str) -> str | None:
        """The hash of a tag, a branch or a commit; None when there is none."""
        if name not in self._commits:
            try:
                self._commits[name] = self._repository.resolve(name)
            except UnknownVersionError:
                self._commits[name] = None
        return self._commits[name]

    def is_before(self, first: str, second: str) -> bool:
        """Whether the commit `first` is an ancestor of the commit `second`."""
        if (first, second) not in self._is_before:
            try:
                self._repository.git("merge-base", "--is-ancestor", first, second)
                self._is_before[first, second] = first != second
            except _FailedError:
                self._is_before[first, second] = False
        return self._is_before[first, second]

    def _source(self, commit: str) -> Source:
        if commit not in self._known:
            root = self._repository.export(commit)
            if self._is_template:
                _check_is_template(root, self.url)
            name = self._repository.git("describe", "--tags", "--always", commit)
            self._known[commit] = Source(root, self.url, name, commit)
        return self._known[commit]


@contextmanager
def open_history(where: str | None = None, *, is_template: bool = True) -> Iterator[History]:
    """Clone a template with all its versions into a temporary folder, which is removed at the end.

    where: what a repository records, or the user names; None is the template that came with labrig.
    is_template: False for a repository of something else, such as a policy.
    """
    place = _find_own() if where is None else _find(where)
    if not place.has_history:
        raise TemplateUnreachableError(
            f"the template at {place.url} has no versions",
            cause="it is a folder without git history, so the version that a repository was made of cannot be had",
            tip="give the git repository that the folder is a copy of: --template URL",
        )
    with tempfile.TemporaryDirectory(prefix="labrig-template-", ignore_cleanup_errors=True) as folder:
        repository = _Repository(Path(folder), place)
        repository.clone()
        yield History(repository, is_template=is_template)


def is_own(where: str) -> bool:
    """Whether the address that a repository records is that of the template which came with labrig."""
    checkout = _own_checkout()
    return where in {canonical_url(), git_url(canonical_url())} or (checkout is not None and where == str(checkout))


@contextmanager
def open_repository(where: str) -> Iterator[Path]:
    """Check out the newest state of a git repository that is no template, as `open_template` would."""
    with tempfile.TemporaryDirectory(prefix="labrig-repository-", ignore_cleanup_errors=True) as folder:
        repository = _Repository(Path(folder), _find(where))
        repository.clone()
        repository.check_out("HEAD")
        yield repository.root


def canonical_url() -> str:
    """The template's public address, from the metadata of the installed package."""
    from importlib.metadata import metadata  # noqa: PLC0415 - 20 ms, and only the bundle needs it

    links: dict[str, str] = dict(link.split(", ", 1) for link in metadata("labrig").get_all("Project-URL", []))
    return links["Repository"]


def copier_environment() -> dict[str, str]:
    """Environment variables with which git takes the canonical URL from this installation, without a network.

    Plain `copier update` then works offline on a repository that labrig made; docs/decisions/0003 shows the command.
    """
    count = int(os.environ.get("GIT_CONFIG_COUNT", "0"))
    return {
        "GIT_CONFIG_COUNT": str(count + 1),
        f"GIT_CONFIG_KEY_{count}": f"url.{_find_own().location}.insteadOf",
        f"GIT_CONFIG_VALUE_{count}": git_url(canonical_url()),
    }


def _find(where: str | None) -> _Place:
    if where is None:
        where = os.environ.get("LABRIG_TEMPLATE") or None
    if where is None:
        return _find_own()
    _refuse_options("template", where)
    if re.match(r"(gh|gl):|git@|[a-z][a-z+]*://", where):
        return _Place(git_url(where), recorded_url(where))
    path = Path(os.path.abspath(Path(where).expanduser()))  # noqa: PTH100 - keeps symbolic links, removes `..`
    if path.is_dir():
        is_repository = (path / ".git").exists() or ((path / "HEAD").is_file() and (path / "objects").is_dir())
        return _Place(str(path), str(path), is_local=True, has_history=is_repository)
    if path.is_file():
        with path.open("rb") as file:
            if not re.match(rb"# v\d+ git bundle", file.readline(32)):
                raise NotATemplateError(
                    f"{path} is no template", cause="it is a file, but no git bundle", tip="give a folder or a git URL"
                )
        return _Place(str(path), str(path), is_local=True)
    if re.match(r"[\w.-]+@[\w.-]+:.+\.git$", where):  # git's short form of ssh://, as Copier takes it
        return _Place(where, where)
    is_github = re.fullmatch(r"[\w.-]+/[\w.-]+", where)
    raise TemplateNotFoundError(
        f"there is no template at '{where}'",
        cause=f"{path} does not exist",
        tip=f"for the repository on GitHub, write gh:{where}"
        if is_github
        else "give a folder, a git URL or gh:owner/name",
    )


def _find_own() -> _Place:
    package = Path(__file__).resolve().parent
    checkout = _own_checkout()
    if checkout is not None:
        return _Place(
            str(checkout), str(checkout), is_own=True, is_local=True, has_history=(checkout / ".git").exists()
        )
    bundle = package / "template.bundle"
    if not bundle.is_file():
        raise TemplateMissingError(
            "labrig has lost its template",
            cause=f"{bundle} does not exist",
            tip="install labrig again, or give the template with --template",
        )
    return _Place(str(bundle), canonical_url(), is_own=True)


def _own_checkout() -> Path | None:
    """The checkout that an editable install lies in."""
    package = Path(__file__).resolve().parent
    checkout = package.parent.parent
    return checkout if package.parent.name == "src" and (checkout / "copier.yml").is_file() else None


def _refuse_options(name: str, value: str) -> None:
    """Refuse what git could take for an option, and what no command line can carry."""
    if not value or value.startswith("-") or not value.isprintable():
        raise TemplateAddressError(
            f"the {name} cannot be {value!r}",
            cause="it is empty, starts with '-' or holds a character that cannot be printed",
            tip="write ./ before a folder whose name starts with '-'" if name == "template" else None,
        )


def git_url(where: str) -> str:
    """The address that git understands: what Copier's `get_repo` makes of it."""
    for shortcut, host in SHORTCUTS.items():
        if where.startswith(shortcut):
            where = host + where.removeprefix(shortcut).lstrip("/")
    where = where.removeprefix("git+")
    if where.startswith(HOSTS_THAT_COPIER_KNOWS) and not where.endswith(".git"):
        where = f"{where}.git"
    return where


def recorded_url(where: str) -> str:
    """The address for the answers file: without a password, and in a form that Copier knows as a git URL."""
    if where.startswith((*SHORTCUTS, "git@")):
        return where
    parts = urlsplit(where)
    if parts.scheme.endswith(("http", "https")):
        where = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    elif parts.password:
        where = urlunsplit(parts._replace(netloc=f"{parts.username}@{parts.netloc.rpartition('@')[2]}"))
    if where.endswith(".git") or where.startswith((*HOSTS_THAT_COPIER_KNOWS, "git://", "git+")):
        return where
    return f"git+{where}"


def _check_is_template(root: Path, shown: str) -> None:
    if not any((root / name).is_file() for name in ("copier.yml", "copier.yaml")):
        raise NotATemplateError(
            f"{shown} is no template",
            cause="it has no copier.yml",
            tip="give the folder or the repository that holds copier.yml; leave --template out for labrig's own",
        )


class _Repository:
    """A temporary clone of a template."""

    def __init__(self, folder: Path, place: _Place) -> None:
        self.root = folder / "template"
        self.place = place
        inherited = {name: value for name, value in os.environ.items() if name not in REPOSITORY_VARIABLES}
        self.environment = inherited | {
            "GIT_OPTIONAL_LOCKS": "0",  # `git status` would otherwise refresh the index of the user's checkout
            "GIT_TERMINAL_PROMPT": "0",
            "GCM_INTERACTIVE": "never",
            "LC_ALL": "C",  # git's reasons are shown beside English sentences
        }
        if place.is_own and not place.is_local:  # a bundle: the user's configuration has nothing to say about it
            self.environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_COUNT": "0"}

    def clone(self) -> None:
        """Fetch the history, without a checkout."""
        options = ["--quiet", "--no-checkout", "--template=", "--origin", "origin"]
        if self.place.is_local:
            options.append("--shared")
        try:
            self.git("clone", *options, "--", self.place.location, str(self.root), cwd=self.root.parent)
        except _FailedError as error:
            raise TemplateUnreachableError(
                f"the template at {self.place.url} cannot be read",
                cause=error.reason.replace(self.place.location, self.place.url),
                tip="check the address, the network and your access with: "
                f"git ls-remote {self.place.url.removeprefix('git+')}",
            ) from None

    def check_out(self, version: str | None) -> str:
        """Check out the version, and return its hash."""
        commit = self.choose(version)
        try:
            self.git("checkout", "--quiet", "--force", "--detach", commit)
            if (self.root / ".gitmodules").is_file():
                self.git("submodule", "--quiet", "update", "--checkout", "--init", "--recursive", "--force")
        except _FailedError as error:
            raise TemplateUnreachableError(
                f"the template at {self.place.url} cannot be checked out", cause=error.reason
            ) from None
        return commit

    def choose(self, version: str | None) -> str:
        """The hash of the version, or of the one that is taken without any."""
        commit = None
        if version in {None, "HEAD"} and self.place.is_local and Path(self.place.location, ".git").exists():
            commit = self._uncommitted()
        if commit is None:
            if version is None:
                version = "HEAD" if self.place.is_own else self._newest_release()
            commit = self.resolve(version)
        return commit

    def export(self, commit: str) -> Path:
        """A folder of its own with the files of a commit."""
        folder = self.root.parent / commit
        try:
            self.git("worktree", "add", "--quiet", "--force", "--detach", str(folder), commit)
            if (folder / ".gitmodules").is_file():
                self.git("submodule", "--quiet", "update", "--checkout", "--init", "--recursive", "--force", cwd=folder)
        except _FailedError as error:
            raise TemplateUnreachableError(
                f"the template at {self.place.url} cannot be checked out", cause=error.reason
            ) from None
        return folder

    def resolve(self, version: str) -> str:
        """The hash of a tag, a branch or a commit."""
        names = (version, f"refs/remotes/origin/{version}")
        found = self.git(
            "cat-file", "--batch-check=%(objectname)", stdin="".join(f"{name}^{{commit}}\n" for name in names)
        )
        for line in found.splitlines():
            if re.fullmatch(r"[0-9a-f]{40,64}", line):
                return line
        refs = self.git("for-each-ref", "--format=%(refname:strip=2)", "refs/tags", "refs/remotes/origin")
        names_found = [ref.removeprefix("origin/") for ref in refs.splitlines() if ref != "origin/HEAD"]
        raise UnknownVersionError(
            f"the template has no version '{version}'{did_you_mean(version, names_found)}",
            cause=f"{self.place.url} has no tag, branch or commit of that name; its newest release is "
            f"{self._newest_release()}",
            tip="leave --template-version out to take the default",
        )

    def _newest_release(self) -> str:
        """The tag that Copier takes by default: the highest of PEP 440 that is no pre-release, else HEAD."""
        from packaging.version import InvalidVersion, Version  # noqa: PLC0415 - the bundle does without

        releases: dict[Version, str] = {}
        for tag in self.git("for-each-ref", "--format=%(refname:strip=2)", "refs/tags").splitlines():
            try:
                release = Version(tag)
            except InvalidVersion:
                continue
            if not release.is_prerelease:
                releases.setdefault(release, tag)
        return releases[max(releases)] if releases else "HEAD"

    def _uncommitted(self) -> str | None:
        """The hash of a commit that holds the working tree as it is, ignored files aside; None when it is clean."""
        tree = Path(self.place.location)
        if not self.git("status", "--porcelain", cwd=tree):
            return None
        # The index and the new objects are the clone's: the user's repository is only read.
        here = {
            "GIT_INDEX_FILE": str(self.root / ".git/index"),
            "GIT_OBJECT_DIRECTORY": str(self.root / ".git/objects"),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(tree / self.git("rev-parse", "--git-path", "objects", cwd=tree)),
        }
        self.git("read-tree", "HEAD", cwd=tree, environment=here)
        self.git("add", "--all", ".", cwd=tree, environment=here)
        content = self.git("write-tree", cwd=tree, environment=here)
        date = self.git("log", "-1", "--format=%cI", "HEAD")  # the same tree has the same hash, at any time
        author = {
            f"GIT_{role}_{field}": value
            for role in ("AUTHOR", "COMMITTER")
            for field, value in (("NAME", "labrig"), ("EMAIL", "labrig@localhost"), ("DATE", date))
        }
        return self.git(
            "commit-tree", content, "-p", "HEAD", "-m", "Changes that are not committed", environment=author
        )

    def git(
        self, *arguments: str, cwd: Path | None = None, stdin: str = "", environment: Mapping[str, str] | None = None
    ) -> str:
        """The output of a git command, which can neither ask the user nor run the user's hooks."""
        settings = [word for setting in SETTINGS for word in ("-c", setting)]
        try:
            done = subprocess.run(
                ["git", *settings, *arguments],
                cwd=cwd or self.root,
                env=self.environment | dict(environment or {}),
                input=stdin,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                check=False,
                start_new_session=True,  # without a terminal, ssh cannot ask for a passphrase either
            )
        except FileNotFoundError:
            raise GitError(
                "labrig needs git",
                cause="there is no program 'git' on PATH",
                tip="install it (https://git-scm.com/downloads), then run the command again",
            ) from None
        if done.returncode != 0:
            raise _FailedError(done.stderr)
        return done.stdout.strip()


class _FailedError(Exception):
    """A git command failed; `reason` is what it said."""

    def __init__(self, stderr: str) -> None:
        said = [line for line in stderr.splitlines() if line and not line.startswith(("warning:", "hint:"))]
        first_fatal = next((number for number, line in enumerate(said) if line.startswith("fatal:")), len(said))
        self.reason = " ".join(line.removeprefix("fatal: ") for line in said[: first_fatal + 1])
        super().__init__(self.reason)
