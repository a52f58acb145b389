"""Measures, in one run: update and check against `copier update`, and adopt against `labrig new` and a git clone.

    uv run python benchmarks/update.py [--rounds 5] [--repositories 30]

What is compared takes turns, each time on a fresh copy of the same repository. Commands are whole processes: the time
on the clock, and that of the processor. In one process, each repository is measured by itself, and the first one bears
what all share. Processor times include those of child processes, such as git's.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from copier import Settings, run_update

from labrig.check import Checks
from labrig.record import read_record
from labrig.render import Template
from labrig.repository import Repository
from labrig.transaction import alone, apply
from labrig.update import Request, Situation, Versions, open_versions, propose, repository_store

CHECKOUT = Path(__file__).resolve().parent.parent
BY_HAND = {
    "pyproject.toml": '[project]\nname = "lens"\nversion = "1.4"\n\n[tool.black]\nline-length = 88\n',
    "src/lens/__init__.py": "import torch\n",
    **{f"src/lens/model_{number}.py": f"import torch\n\nwidth = {number}\n" for number in range(50)},
    "tests/test_lens.py": "def test_it():\n    assert True\n",
    "README.md": "# lens\n\nWe study how machines learn to see.\n",
    "uv.lock": "version = 1\n",
    ".gitignore": "*.ckpt\n",
}


def main() -> None:
    """Run all measurements and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repositories", type=int, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "gitconfig").write_text("[user]\n\tname = Ada\n\temail = ada@example.org\n")
        os.environ |= {"COPIER_CACHE_DIR": str(folder / "cache"), "GIT_CONFIG_GLOBAL": str(folder / "gitconfig")}
        template = make_template(folder)
        repositories = [
            make_repository(template, folder / f"r{number}", number) for number in range(options.repositories)
        ]
        commands("update", UPDATES, repositories[0], folder, options.rounds)
        words = ["--quiet", "--yes", "--template", str(template)]
        adoptions = {
            "labrig new": [[*python("labrig", "new", "made"), *words]],
            "git clone, git commit": [CLONE, COMMIT],
            "labrig adopt": [[*python("labrig", "adopt"), *words]],
        }
        commands("adoption", adoptions, make_by_hand(folder / "by-hand"), folder, options.rounds)
        many(repositories, folder)


def python(*words: str) -> list[str]:
    """A command line of this Python."""
    return [sys.executable, "-m", *words]


CLONE = ["git", "clone", "--quiet", ".", "clone"]
COMMIT = ["git", "-C", "clone", "commit", "--quiet", "--allow-empty", "--message", "Take it"]
UPDATES = {
    "copier update": [python("copier", "update", "--defaults", "--quiet")],
    "labrig update": [python("labrig", "update", "--yes", "--quiet", "--no-lock")],
    "labrig check": [python("labrig", "check", "--quiet", "--ignore", "LR001")],
}


# Repositories


def make_template(folder: Path) -> Path:
    """The template of this checkout with two versions."""
    template = folder / "template"
    subprocess.run(["git", "clone", "--quiet", str(CHECKOUT), str(template)], check=True)
    for tag in git(template, "tag").split():
        git(template, "tag", "--delete", tag)
    git(template, "tag", "v1.0.0")
    for path in ("template/EXPERIMENTS.md.jinja", "template/tools.toml.part"):
        with (template / path).open("a") as file:
            file.write("# More.\n")
    git(template, "commit", "--quiet", "--all", "--message", "More")
    git(template, "tag", "v1.1.0")
    return template


def make_repository(template: Path, root: Path, number: int) -> Path:
    """A repository of the first version, with an edit of the user's."""
    git(template, "checkout", "--quiet", "v1.0.0")
    renderer = Template(template)
    answers = {"project_name": f"demo-{number}", "framework": ["pytorch", "jax"][number % 2]}
    resolved = renderer.resolve(answers, folder_name=root.name)
    commit = git(template, "rev-parse", "v1.0.0^{commit}")
    files = renderer.render(resolved, src_path=str(template), commit="v1.0.0", commit_hash=commit)
    git(template, "checkout", "--quiet", "v1.1.0")
    for path, file in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(file.content)
        (root / path).chmod(0o755 if file.executable else 0o644)
    git(root.parent, "init", "--quiet", str(root))
    manifest = root / "pyproject.toml"
    manifest.write_text(manifest.read_text() + "\n[tool.mine]\nvalue = 1\n")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "Start")
    return root


def make_by_hand(root: Path) -> Path:
    """A repository that was never made of a template."""
    for path, content in BY_HAND.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)
    git(root.parent, "init", "--quiet", str(root))
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "Start")
    return root


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


# One repository


def commands(title: str, programs: Mapping[str, list[list[str]]], start: Path, folder: Path, rounds: int) -> None:
    """Run whole commands, each on a copy of the repository `start`, and print what they took."""
    clock: dict[str, list[float]] = {name: [] for name in programs}
    processor: dict[str, list[float]] = {name: [] for name in programs}
    for turn in range(rounds + 1):
        for name, steps in programs.items():
            copy = folder / "copy"
            shutil.copytree(start, copy)
            began, before = time.perf_counter(), used()
            for step in steps:
                subprocess.run(step, cwd=copy, check=True, capture_output=True)
            if turn:  # the first round fills the caches
                clock[name].append(time.perf_counter() - began)
                processor[name].append(used() - before)
            verify(name, copy)
            shutil.rmtree(copy)
    show(f"{title}, on the clock", clock, statistics.median)
    show(f"{title}, processor time", processor, statistics.median)


def verify(name: str, copy: Path) -> None:
    """Nothing is measured that did not do its work."""
    if name.endswith("update"):
        assert "More." in (copy / "EXPERIMENTS.md").read_text()
        assert "[tool.mine]" in (copy / "pyproject.toml").read_text()
    if name == "labrig adopt":
        assert "[tool.ruff]" in git(copy, "show", "labrig-adopt:pyproject.toml")


# Many repositories


def many(repositories: list[Path], folder: Path) -> None:
    """In one process, all three on each repository."""
    seconds: dict[str, list[float]] = {"copier.run_update": [], "labrig, update": [], "labrig, check": []}
    with ExitStack() as stack:
        versions: list[Versions] = []
        checks = stack.enter_context(Checks())

        def labrig_update(copy: Path) -> None:
            if not versions:
                versions.append(stack.enter_context(open_versions(read_record(Repository(copy)), REQUEST)))
            repository = Repository(copy)
            with alone(repository), repository_store(repository) as store:
                repository.require_quiet()
                proposal = propose(Situation(repository, read_record(repository), versions[0], store), REQUEST)
                assert proposal is not None
                apply(repository, store, proposal.change)

        def labrig_check(copy: Path) -> None:
            assert [finding.rule for finding in checks.look(copy).findings] == ["LR001"]

        runs = (copier_update, labrig_update, labrig_check)
        for repository in repositories:
            for measured, run in zip(seconds.values(), runs, strict=True):
                copy = Path(shutil.copytree(repository, folder / "copies" / repository.name))
                before = used()
                run(copy)
                measured.append(used() - before)
                if run is not labrig_check:
                    verify("update", copy)
                shutil.rmtree(folder / "copies")
    show(f"{len(repositories)} repositories in one process, processor time", seconds, statistics.mean)


REQUEST = Request(yes=True)


def copier_update(copy: Path) -> None:
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        run_update(copy, defaults=True, overwrite=True, quiet=True, settings=Settings())


def show(title: str, seconds: Mapping[str, list[float]], middle: Callable[[list[float]], float]) -> None:
    """Print a table; the ratio is that to the first line, of the medians or of the means."""
    first = middle(next(iter(seconds.values())))
    print(f"{title}\n{'milliseconds':34}{'min':>8}{'median':>8}{'max':>8}{'mean':>8}   ratio of {middle.__name__}s")
    for name, measured in seconds.items():
        columns = [1000 * of(measured) for of in (min, statistics.median, max, statistics.mean)]
        print(f"  {name:32}{''.join(f'{column:8.0f}' for column in columns)}{middle(measured) / first:8.2f}")
    print(flush=True)


def used() -> float:
    """Processor seconds of this process and of its children that have ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    main()
