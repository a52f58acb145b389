"""The template is found where it was asked for, in the version that Copier would take, and every refusal says why."""

from __future__ import annotations

import http.server
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml
from copier._vcs import get_repo

from labrig.errors import (
    GitError,
    LabrigError,
    NotATemplateError,
    TemplateAddressError,
    TemplateMissingError,
    TemplateNotFoundError,
    TemplateUnreachableError,
    UnknownVersionError,
    UsageError,
)
from labrig.source import git_url, open_template, recorded_url

CHECKOUT = Path(__file__).resolve().parent.parent
ANSWERS = "template/{{ _copier_conf.answers_file }}.jinja"


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration and no cache of whoever runs the tests."""
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(
        "[user]\n\tname = Ada\n\temail = ada@example.org\n[init]\n\tdefaultBranch = main\n"
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("COPIER_CACHE_DIR", str(home / "cache"))
    monkeypatch.delenv("LABRIG_TEMPLATE", raising=False)


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A repository with releases, a pre-release, a tag that is no version, a branch, and a commit after them all."""
    root = tmp_path / "template"
    (root / "template").mkdir(parents=True)
    (root / "copier.yml").write_text("_subdirectory: template\nname: {type: str, default: moon}\n")
    (root / ANSWERS).write_text("{{ _copier_answers | to_nice_yaml }}")
    git(root, "init", "--quiet")
    for tag in ("v0.9.0", "v1.9.0", "v1.10.0", "v2.0.0rc1", "nightly"):
        (root / "template" / "version.txt").write_text(f"{tag}\n")
        git(root, "add", ".")
        git(root, "commit", "--quiet", "--message", tag)
        git(root, "tag", tag)
    git(root, "branch", "experiment", "v1.9.0")
    (root / "template" / "version.txt").write_text("unreleased\n")
    git(root, "commit", "--quiet", "--all", "--message", "Go on")
    return root


def git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def copier_records(where: str, tmp_path: Path, *options: str) -> dict[str, str]:
    """What plain `copier copy` writes into the answers file."""
    project = tmp_path / "project"
    command = [sys.executable, "-m", "copier", "copy", "--quiet", "--defaults", *options, where, str(project)]
    subprocess.run(command, check=True, capture_output=True)
    records = yaml.safe_load((project / ".copier-answers.yml").read_text())
    assert isinstance(records, dict)
    return records


def refused(where: str | None, version: str | None = None) -> LabrigError:
    with pytest.raises(LabrigError) as caught, open_template(where, version):
        pass
    return caught.value


# Which version


def test_a_path_gives_the_newest_release_as_copier_chooses_it(template: Path, tmp_path: Path) -> None:
    with open_template(str(template)) as source:
        assert (source.root / "template/version.txt").read_text() == "v1.10.0\n"
        assert source.commit_hash == git(template, "rev-parse", "v1.10.0")
        recorded = {"_src_path": source.url, "_commit": source.commit, "name": "moon"}
    assert recorded == copier_records(str(template), tmp_path)


@pytest.mark.parametrize("version", ["v0.9.0", "v2.0.0rc1", "experiment", "HEAD", "main", "nightly", "v1.10.0~1"])
def test_a_version_may_be_a_tag_a_branch_or_a_commit_as_with_copier(
    template: Path, tmp_path: Path, version: str
) -> None:
    with open_template(str(template), version) as source:
        assert source.commit_hash == git(template, "rev-parse", version)
        recorded = source.commit
    assert recorded == copier_records(str(template), tmp_path, "--vcs-ref", version)["_commit"]


def test_a_version_may_be_the_start_of_a_hash(template: Path) -> None:
    commit_hash = git(template, "rev-parse", "v1.9.0")
    with open_template(str(template), commit_hash[:10]) as source:
        assert (source.commit, source.commit_hash) == ("v1.9.0", commit_hash)


def test_a_repository_without_releases_gives_its_newest_commit(template: Path) -> None:
    git(template, "tag", "--delete", *git(template, "tag").splitlines())
    with open_template(str(template)) as source:
        assert source.commit == git(template, "rev-parse", "--short", "HEAD")
        assert (source.root / "template/version.txt").read_text() == "unreleased\n"


@pytest.mark.parametrize("version", [None, "HEAD"])
def test_a_checkout_with_uncommitted_changes_gives_the_working_tree_and_stays_as_it_is(
    template: Path, version: str | None
) -> None:
    (template / ".gitignore").write_text("*.log\n")
    (template / "kept.log").write_text("tracked although ignored\n")
    git(template, "add", "--force", ".gitignore", "kept.log")
    git(template, "commit", "--quiet", "--message", "Ignore logs")
    (template / "template/version.txt").write_text("being edited\n")
    (template / "template/new.txt").write_text("not added yet\n")
    (template / "noise.log").write_text("ignored\n")
    (template / "staged.txt").write_text("staged\n")
    git(template, "add", "staged.txt")
    before = {path: path.read_bytes() for path in template.rglob("*") if path.is_file()}

    with open_template(str(template), version) as source:
        files = {path.name for path in source.root.rglob("*") if ".git" not in path.parts}
        assert {"version.txt", "new.txt", "kept.log", "staged.txt"} <= files
        assert "noise.log" not in files
        assert (source.root / "template/version.txt").read_text() == "being edited\n"
        assert source.commit is not None
        assert source.commit.startswith("nightly-3-g")  # two commits after the tag, and the one for the changes

    assert {path: path.read_bytes() for path in template.rglob("*") if path.is_file()} == before


def test_the_same_uncommitted_changes_have_the_same_hash_at_any_time(template: Path) -> None:
    (template / "template/version.txt").write_text("being edited\n")
    hashes = set()
    for _ in range(2):
        with open_template(str(template)) as source:
            hashes.add(source.commit_hash)
        time.sleep(1.1)  # git counts seconds
    assert len(hashes) == 1


def test_uncommitted_changes_do_not_get_into_a_version_that_was_asked_for(template: Path) -> None:
    (template / "template/version.txt").write_text("being edited\n")
    with open_template(str(template), "v1.9.0") as source:
        assert (source.root / "template/version.txt").read_text() == "v1.9.0\n"


# Where


def test_in_a_checkout_the_checkout_is_the_template() -> None:
    with open_template() as source:
        assert source.url == str(CHECKOUT)
        assert (source.root / "copier.yml").read_bytes() == (CHECKOUT / "copier.yml").read_bytes()


def test_the_environment_variable_replaces_the_own_template_and_an_argument_replaces_both(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    shutil.copytree(template, other)
    monkeypatch.setenv("LABRIG_TEMPLATE", str(template))
    with open_template() as source:
        assert source.url == str(template)
    with open_template(str(other)) as source:
        assert source.url == str(other)
    monkeypatch.setenv("LABRIG_TEMPLATE", "")
    with open_template() as source:
        assert source.url == str(CHECKOUT)


def test_a_relative_path_is_recorded_in_full_so_that_updates_work_from_anywhere(
    template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(template / "template")
    with open_template("..") as source:
        assert source.url == str(template)
    monkeypatch.setenv("HOME", str(template.parent))
    with open_template("~/template") as source:
        assert source.url == str(template)


def test_a_folder_without_git_is_taken_as_it_is(template: Path, tmp_path: Path) -> None:
    shutil.rmtree(template / ".git")
    with open_template(str(template)) as source:
        assert (source.root, source.commit, source.commit_hash) == (template, None, None)
    assert "_commit" not in copier_records(str(template), tmp_path)
    error = refused(str(template), "v1.9.0")
    assert isinstance(error, UnknownVersionError)
    assert error.cause == f"{template} is a folder without git history: it has no versions"


@pytest.mark.parametrize("kind", ["bare", "shallow", "worktree", "bundle", "url"])
def test_every_form_of_a_repository_can_be_the_template(template: Path, tmp_path: Path, kind: str) -> None:
    place = tmp_path / f"{kind}.git"
    if kind == "bare":
        git(tmp_path, "clone", "--quiet", "--bare", str(template), str(place))
    elif kind == "shallow":
        options = ["--quiet", "--depth", "1", "--branch", "v1.10.0"]
        git(tmp_path, "clone", *options, f"file://{template}", str(place))
    elif kind == "worktree":
        git(template, "worktree", "add", "--quiet", str(place), "experiment")
    elif kind == "bundle":
        git(template, "bundle", "create", "--quiet", str(place), "HEAD", "--tags")
    where = f"file://{template}" if kind == "url" else str(place)
    with open_template(where) as source:
        assert (source.root / "template/version.txt").read_text() == "v1.10.0\n"
        assert (source.commit, source.commit_hash) == ("v1.10.0", git(template, "rev-parse", "v1.10.0"))
        assert source.url == (f"git+file://{template}" if kind == "url" else str(place))


def test_a_template_may_have_submodules(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "protocol.file.allow")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "always")
    part = tmp_path / "part"
    shutil.copytree(template, part)
    git(template, "submodule", "--quiet", "add", f"file://{part}", "template/part")
    git(template, "commit", "--quiet", "--message", "Add a submodule")
    with open_template(f"file://{template}", "main") as source:
        assert (source.root / "template/part/copier.yml").is_file()


@pytest.mark.parametrize(
    ("where", "cloned", "recorded"),
    [
        ("gh:ada/moon", "https://github.com/ada/moon.git", "gh:ada/moon"),
        ("gl:/ada/group/moon.git", "https://gitlab.com/ada/group/moon.git", "gl:/ada/group/moon.git"),
        ("https://github.com/ada/moon", "https://github.com/ada/moon.git", "https://github.com/ada/moon"),
        ("git@github.com:ada/moon", "git@github.com:ada/moon", "git@github.com:ada/moon"),
        ("ssh://git@host/moon", "ssh://git@host/moon", "git+ssh://git@host/moon"),
        ("https://example.org/moon", "https://example.org/moon", "git+https://example.org/moon"),
        ("git+https://example.org/moon", "https://example.org/moon", "git+https://example.org/moon"),
        ("https://example.org/moon.git", "https://example.org/moon.git", "https://example.org/moon.git"),
    ],
)
def test_an_address_is_recorded_in_a_form_that_copier_reads_alike(where: str, cloned: str, recorded: str) -> None:
    assert (git_url(where), recorded_url(where)) == (cloned, recorded)
    assert get_repo(recorded) == cloned


@pytest.mark.parametrize(
    ("where", "recorded"),
    [
        ("https://ada:secret@example.org/moon.git", "https://example.org/moon.git"),
        ("https://secret@github.com/ada/moon", "https://github.com/ada/moon"),
        ("git+https://ada:secret@example.org/moon", "git+https://example.org/moon"),
        ("ssh://ada:secret@example.org:22/moon.git", "ssh://ada@example.org:22/moon.git"),
    ],
)
def test_a_password_is_never_recorded(where: str, recorded: str) -> None:
    assert recorded_url(where) == recorded


# Refusals


def test_without_git_the_error_says_what_to_install(template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    error = refused(str(template))
    assert isinstance(error, GitError)
    assert (error.message, error.cause, error.exit_code) == (
        "labrig needs git",
        "there is no program 'git' on PATH",
        1,
    )


def test_an_unreachable_address_is_reported_with_the_reason_and_without_the_password() -> None:
    error = refused("https://ada:secret@127.0.0.1:1/moon.git")
    assert isinstance(error, TemplateUnreachableError)
    assert error.message == "the template at https://127.0.0.1:1/moon.git cannot be read"
    assert "Failed to connect" in str(error.cause)
    assert str(error.tip).endswith("git ls-remote https://127.0.0.1:1/moon.git")
    assert "secret" not in f"{error.message} {error.cause} {error.tip}"


def test_a_repository_that_wants_a_password_is_refused_without_a_question(monkeypatch: pytest.MonkeyPatch) -> None:
    class WantsPassword(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="private"')
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.HTTPServer(("127.0.0.1", 0), WantsPassword) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        error = refused(f"http://127.0.0.1:{server.server_port}/moon.git")
        server.shutdown()
    assert isinstance(error, TemplateUnreachableError)
    assert "terminal prompts disabled" in str(error.cause)


def test_an_unknown_version_is_refused_with_the_closest_one(template: Path) -> None:
    error = refused(str(template), "1.10.0")
    assert isinstance(error, UnknownVersionError)
    assert isinstance(error, UsageError)
    assert error.message == "the template has no version '1.10.0'. Did you mean 'v1.10.0'?"
    assert error.cause == f"{template} has no tag, branch or commit of that name; its newest release is v1.10.0"
    assert error.tip == "leave --template-version out to take the default"
    assert refused(str(template), "experimant").message.endswith("Did you mean 'experiment'?")
    assert "Did you mean" not in refused(str(template), "0" * 40).message


def test_what_is_no_template_is_refused(template: Path, tmp_path: Path) -> None:
    git(template, "rm", "--quiet", "copier.yml")
    git(template, "commit", "--quiet", "--message", "Lose the questions")
    error = refused(str(template), "main")
    assert isinstance(error, NotATemplateError)
    assert (error.message, error.cause) == (f"{template} at main is no template", "it has no copier.yml")
    (tmp_path / "empty").mkdir()
    assert isinstance(refused(str(tmp_path / "empty")), NotATemplateError)
    (tmp_path / "file").write_text("text")
    assert refused(str(tmp_path / "file")).cause == "it is a file, but no git bundle"


def test_a_path_that_does_not_exist_is_refused_with_a_hint_at_github(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    error = refused("ada/moon")
    assert isinstance(error, TemplateNotFoundError)
    assert error.cause == f"{tmp_path}/ada/moon does not exist"
    assert error.tip == "for the repository on GitHub, write gh:ada/moon"


@pytest.mark.parametrize("value", ["", "-x", "--upload-pack=touch reached", "a\nb", "a\0b", "\x1b[2J"])
def test_what_git_could_take_for_an_option_is_refused(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert isinstance(refused(value), TemplateAddressError)
    assert isinstance(refused(str(template), value), TemplateAddressError)
    assert not Path("reached").exists()


@pytest.mark.parametrize(
    "where", ["ext::touch reached", "git+ext::touch reached .git", "ssh://-oProxyCommand=touch/x.git"]
)
def test_an_address_cannot_run_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    git(tmp_path, "config", "--global", "protocol.ext.allow", "always")
    monkeypatch.chdir(tmp_path)
    refused(where)
    assert not Path("reached").exists()


def test_an_installation_that_lost_its_template_says_so(tmp_path: Path) -> None:
    shutil.copytree(CHECKOUT / "src/labrig", tmp_path / "labrig", ignore=shutil.ignore_patterns("__pycache__"))
    script = (
        "import labrig.source as s\ntry: s.open_template().__enter__()\nexcept s.TemplateMissingError as e: print(e)"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, check=True, capture_output=True, text=True)
    assert done.stdout == "labrig has lost its template\n"
    assert TemplateMissingError.exit_code == 1


# What must not get in the way


def test_the_settings_and_hooks_of_the_user_do_not_get_in_the_way(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = git(template, "rev-parse", "HEAD")
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "--quiet", "--depth", "1", f"file://{template}", str(shallow))
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for name in ("post-checkout", "pre-commit", "reference-transaction", "post-index-change"):
        (hooks / name).write_text("#!/bin/sh\ntouch " + str(tmp_path / "reached") + "\nexit 1\n")
        (hooks / name).chmod(0o755)
    shutil.copytree(hooks, tmp_path / "skeleton/hooks")
    git(template, "config", "core.hooksPath", str(hooks))
    for key, value in {
        "core.hooksPath": str(hooks),
        "init.templateDir": str(tmp_path / "skeleton"),
        "core.autocrlf": "true",
        "core.eol": "crlf",
        "commit.gpgSign": "true",
        "tag.gpgSign": "true",
        "clone.defaultRemoteName": "upstream",
        "clone.rejectShallow": "true",
        "color.ui": "always",
        "column.ui": "always",
        "submodule.recurse": "true",
        "transfer.fsckObjects": "true",
        "safe.bareRepository": "explicit",
        "user.useConfigOnly": "true",
    }.items():
        git(tmp_path, "config", "--global", key, value)
    git(tmp_path, "config", "--global", "--unset", "user.email")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "nowhere/index"))
    with open_template(str(template), "experiment") as source:
        assert (source.root / "template/version.txt").read_bytes() == b"v1.9.0\n"
    (template / "template/version.txt").write_text("being edited\n")
    with open_template(str(template)) as source:
        assert (source.root / "template/version.txt").read_bytes() == b"being edited\n"
    with open_template(str(shallow), "HEAD") as source:
        assert source.commit_hash == newest
    assert not (tmp_path / "reached").exists()


def test_a_mirror_in_the_settings_of_the_user_is_used_for_an_address(template: Path, tmp_path: Path) -> None:
    git(tmp_path, "config", "--global", f"url.{template}.insteadOf", "https://github.com/ada/moon.git")
    with open_template("gh:ada/moon", "v1.9.0") as source:
        assert (source.url, source.commit) == ("gh:ada/moon", "v1.9.0")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def test_nothing_is_left_behind(template: Path, temporary: Path) -> None:
    with open_template(str(template)):
        assert list(temporary.iterdir())
    assert isinstance(refused(str(template), "v9"), UnknownVersionError)
    with pytest.raises(KeyboardInterrupt), open_template(str(template)):
        raise KeyboardInterrupt
    assert not list(temporary.iterdir())
