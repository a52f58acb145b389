"""What one generated file says that another one has to agree with: paths, commands, tasks, imports, packages, versions.

A fact is a kind and what it is about: `("path", "uv.lock")` is a path that is named, `("task", "lint")` a task that is
called, `("defines task", "lint")` one that there is.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatch
from functools import cache
from pathlib import PurePosixPath
from typing import Any

import yaml
from formats import UniqueKeys
from images import copied, definition, instructions
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from repositories import STACK
from shell import FENCE, WHOLE, Command, command, commands, scripts, tasks

Fact = tuple[str, ...]

PROGRAMS = {"jupyter": "jupyterlab", "poe": "poethepoet", "torchrun": "torch"}
"""The package of a program where it has another name."""

IMPORTS = {
    "hydra": ("hydra-core",),
    "matplotlib": ("matplotlib", "matplotlib-base"),
    "onnx": ("onnx", "onnxscript"),  # the second brings the first, and PyTorch imports it to export
    "torch": ("torch", "pytorch", "pytorch-cpu", "pytorch-gpu"),
    "sklearn": ("scikit-learn",),
    "tensorflow": ("tensorflow", "tensorflow-cpu"),
    "transformers": ("transformers", "accelerate"),  # its Trainer imports the second
}
"""The packages that bring an import, where they have another name: on conda-forge these are called so, too."""

SUFFIXES = "cff|cfg|json|lock|md|py|sh|toml|txt|ya?ml"
PATH = re.compile(rf"(?=[\w.-]*/|[\w.-]+\.(?:{SUFFIXES})$|\.[a-z])\.?\w[\w.-]*(?:/[\w.-]+)*/?")
ROOTS = ("${workspaceFolder}/", "$CI_PROJECT_DIR/")  # what editors and GitLab call the repository's folder
PYTHON = re.compile(
    r"python(?:[-_ ]?version)?[\"']?\s*(?:[:=]\s*)*[\"']?\s*(?:[>=~]=|\s)?\s*[\"']?(3\.\d+)", re.IGNORECASE
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
WRITES = re.compile(r"(?:> *|--output-file[ =])(\S+)")
FLAG = re.compile(r"--(?:data|model|optim)\.\w")  # of a run: `--optim.lr`
TRAINING = {"train", "smoke", "benchmark", "spawn"}  # the commands that are given changes of a run
CONFIGURATIONS = ("Config", "CompareConfig", "EvaluateConfig", "PredictConfig", "SampleConfig")
"""What `train` and the other commands are asked for, in config.py."""
WRITTEN_BY = {"uv lock": "uv.lock", "poetry update": "poetry.lock"}
OWN = "src/"
ANY = "its packages"  # from an index that is asked for every package
DEVELOPMENT = "dev"  # the group that is installed with each of the others, which are variants


@cache
def read(path: str, text: str) -> frozenset[Fact]:
    """Everything that a file says; that it is `unreadable`, if it is."""
    try:
        return frozenset(_facts(path, text))
    except (ValueError, SyntaxError, LookupError, TypeError, AttributeError, yaml.YAMLError) as error:
        return frozenset([("unreadable", f"{type(error).__name__}: {str(error)[:300]}")])


def _facts(path: str, text: str) -> Iterator[Fact]:
    yield from (("python", version) for version in PYTHON.findall(text))
    if FLAG.search(text):
        yield "spelling", "flag"
    for pattern, reader in READERS.items():
        if fnmatch(path, pattern):
            yield from reader(path, text)
    for script in scripts(path, text):
        for line in commands(script.text) if script.place != WHOLE else ():
            yield from _command(path, line)


# Words and commands


@cache
def paths(text: str) -> tuple[Fact, ...]:
    """The paths among the words of a text."""
    return tuple(_paths(text))


def _paths(text: str) -> Iterator[Fact]:
    for word in re.split(r"[\s\"'`,;()\[\]]+", text):
        for root in ROOTS:
            word = word.removeprefix(root)  # noqa: PLW2901 - the same word
        if PATH.fullmatch(word) and ".." not in word:
            yield "path", word


def _command(path: str, line: Command) -> Iterator[Fact]:
    """What a command needs: where it stands, the program with what it is started by, its arguments."""
    place = "task" if path == "pyproject.toml" else "machine" if path.endswith((".yml", ".yaml")) else "person"
    place = "commit" if path == ".pre-commit-config.yaml" else place
    yield "program", line.runner, line.program, place
    for word in line.words[1:]:
        yield from paths(word)
    if line.program == "poe" and line.words[1:]:
        yield "task", line.words[1]
    if line.words[:2] in {("conda", "activate"), ("conda", "create")}:
        yield "environment name", line.words[2 if line.words[1] == "activate" else line.words.index("--name") + 1]
    if "-m" in line.words[:-1]:
        module, *arguments = line.words[line.words.index("-m") + 1 :]
        yield "runs", module
        yield from _arguments(module, arguments)


def _arguments(module: str, arguments: list[str]) -> Iterator[Fact]:
    """What follows `python -m <package>`: a subcommand, a named run, options."""
    if arguments[:1] == ["launch"]:
        yield from _launch(module, arguments[1:])
        return
    names = list(_before_options(arguments))
    if names:
        yield "subcommand", module, names[0]
    if len(names) > 1 and "/" not in names[1]:
        yield "named run", module, names[1]
    for argument in arguments[len(names) :]:
        changes = names and names[0] in TRAINING and not argument.startswith("--help")
        if argument.startswith("--") and argument != "--help":
            yield "option", module, argument.removeprefix("--").partition("=")[0]
            if changes:
                yield "spelling", "flag"
        elif "=" in argument and changes:
            yield "option", module, argument.partition("=")[0].replace("_", "-")
            yield "spelling", "override"


def _launch(module: str, arguments: list[str]) -> Iterator[Fact]:
    """What follows `launch`: a verb; or options of an engine and, behind `--`, what follows `train`."""
    yield "subcommand", module, "launch"
    if arguments[:1] and not arguments[0].startswith("-"):
        yield "launch verb", module, arguments[0]
        return
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    engine = arguments[arguments.index("--on") + 1] if "--on" in arguments[:cut] else "machine"
    yield "engine", module, engine
    for argument in arguments[:cut]:
        if argument.startswith("--") and argument != "--help":
            yield "launch option", module, engine, argument.removeprefix("--").partition("=")[0]
    yield from _arguments(module, ["train", *arguments[cut + 1 :]])


def _before_options(arguments: Iterable[str]) -> Iterator[str]:
    for argument in arguments:
        if argument.startswith("-") or "=" in argument:
            return
        yield argument


# Formats


def _markdown(path: str, text: str) -> Iterator[Fact]:
    for heading in HEADING.findall(FENCE.sub("", text)):
        yield "defines anchor", f"{path}#{slug(heading)}"
    for target in LINK.findall(text):
        if "://" not in target:
            file, _, anchor = target.partition("#")
            if file:
                yield "path", file
            if anchor:
                yield "anchor", f"{file or path}#{anchor}"
    for language, block in FENCE.findall(text):
        if language == "text":
            yield from (("lists", listed) for listed in listing(block))
        elif language == "sh":
            yield from paths(re.sub(r" #.*", "", block))
    for words in re.findall(r"`([^`\n]+)`", re.sub(r"```(?:sh|text)\n.*?```", "", text, flags=re.DOTALL)):
        yield from paths(words)
        line = _typed(words)
        if line:
            yield from _command(path, line)


def slug(heading: str) -> str:
    """The anchor that GitHub and GitLab make of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def listing(block: str) -> Iterator[str]:
    """The paths in a list of files; those of a folder are indented below it."""
    folder = ""
    for line in block.splitlines():
        name, *words = line.split()
        if line.startswith(" "):
            yield folder + name
        elif words:
            yield name
        else:
            folder = name


@cache
def _known() -> set[str]:
    """The programs that words between backquotes are taken for a command of."""
    packages = {canonicalize_name(Requirement(name).name) for layer in STACK["requires"].values() for name in layer}
    return {*packages, *PROGRAMS, *STACK["run"], "git", "python"}


@cache
def _typed(words: str) -> Command | None:
    """Words between backquotes, if they are a command."""
    try:
        line = command(shlex.split(words))
    except (ValueError, IndexError):
        return None
    return line if line.program in _known() and (line.runner or len(line.words) > 1) else None


def _python(path: str, text: str) -> Iterator[Fact]:
    name = PurePosixPath(path)
    folders = name.parts[1:-1] if path.startswith(OWN) else ()
    module = ".".join(folders if name.stem == "__init__" else (*folders, name.stem))
    package = folders if path.startswith(OWN) else ()
    tree = ast.parse(text)
    yield "defines module", module
    yield from (("defines name", module, defined) for defined in _definitions(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (("import", alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            source = ".".join([*base, *([node.module] if node.module else [])])
            yield "import", source
            yield from (("import name", source, alias.name) for alias in node.names)
    if name.name == "__main__.py":
        cases = (pattern for node in ast.walk(tree) if isinstance(node, ast.Match) for pattern in node.cases)
        for case in cases:
            yield from (("defines subcommand", package[-1], word) for word in _first_words(case.pattern))
    if path.startswith(OWN) and name.parent.name == "engines":
        engine = "" if name.stem == "__init__" else name.stem
        yield from (("defines launch option", package[0], engine, option) for option in _options(tree, "Options"))
    if name.name == "launch.py":
        tables = (node for node in ast.walk(tree) if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict))
        verbs = (table.value.keys for table in tables if _is(table, "verbs"))  # type: ignore[attr-defined]
        yield from (("defines launch verb", package[-1], ast.literal_eval(key)) for keys in verbs for key in keys)
    if name.name == "command_line.py":
        examples = (node.value for node in tree.body if isinstance(node, ast.Assign) and _is(node, "EXAMPLE"))
        yield from (("defines spelling", "flag" if ast.literal_eval(one)[0] == "-" else "override") for one in examples)
    if name.name == "config.py":
        for kind in CONFIGURATIONS:
            yield from (("defines option", package[-1], option) for option in _options(tree, kind))


def _is(node: ast.Assign, name: str) -> bool:
    return ast.unparse(node.targets[0]) == name


def _definitions(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        for inner in ast.walk(node) if not isinstance(node, ast.FunctionDef | ast.ClassDef) else ():
            if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                yield inner.id
            elif isinstance(inner, ast.alias):
                yield inner.asname or inner.name


def _first_words(pattern: ast.pattern) -> Iterator[str]:
    """The words that the first element of a matched list may be."""
    for sequence in ast.walk(pattern):
        if isinstance(sequence, ast.MatchSequence) and sequence.patterns:
            for value in ast.walk(sequence.patterns[0]):
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    yield value.value


def _options(tree: ast.Module, name: str) -> Iterator[str]:
    """The options that a dataclass stands for: one per field, those of nested classes behind a dot."""
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    for field in classes[name].body if name in classes else ():
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            option = field.target.id.replace("_", "-")
            kind = ast.unparse(field.annotation)
            yield option
            yield from (f"{option}.{inner}" for inner in _options(tree, kind))


def _manifest(path: str, text: str) -> Iterator[Fact]:
    manifest = tomllib.loads(text)
    project, tool = manifest["project"], manifest.get("tool", {})
    yield "distribution", project["name"]
    if version := re.search(r">=(3\.\d+),<3\.\d+", project["requires-python"]):
        yield "requires python", version[1]
    groups = {**manifest.get("dependency-groups", {}), **project.get("optional-dependencies", {})}
    yield from (("requires", path, name) for name in names(project["dependencies"]))
    for group, requirements in groups.items():
        yield from (("requires", f"{path} {group}", name) for name in names(requirements))
    if DEVELOPMENT in groups:  # without it, another file says what to install
        yield from (("installs", f"{path} {group}") for group in ({*groups} - {DEVELOPMENT} or {DEVELOPMENT}))
    yield from (("defines task", task) for task in tool.get("poe", {}).get("tasks", {}))
    for task, line in tasks(manifest):
        yield from (("writes", written) for written in WRITES.findall(line))
        yield from (("writes", WRITTEN_BY[words]) for words in WRITTEN_BY if line.startswith(f"{words} "))
        if task == "check":
            yield "checks", line.removeprefix("poe ")
    yield from _settings(tool)
    yield "path", project["readme"]
    yield from _sources(tool)


def _settings(tool: Mapping[str, Any]) -> Iterator[Fact]:
    """The paths in the settings of tools."""
    settings = (
        tool.get("ruff", {}).get("src", []),
        [key.split("*")[0] for key in tool.get("ruff", {}).get("lint", {}).get("per-file-ignores", {})],
        tool.get("pytest", {}).get("ini_options", {}).get("testpaths", []),
        tool.get("pyright", {}).get("include", []),
        tool.get("mypy", {}).get("files", []),
        tool.get("ty", {}).get("src", {}).get("include", []),
        [f"{item['from']}/{item['include']}" for item in tool.get("poetry", {}).get("packages", [])],
    )
    yield from (("path", path) for found in settings for path in found)


def _sources(tool: Mapping[str, Any]) -> Iterator[Fact]:
    """From which index each package of each variant is taken."""
    urls: dict[str, str] = {index["name"]: index["url"] for index in tool.get("uv", {}).get("index", [])}
    for name, sources in tool.get("uv", {}).get("sources", {}).items():
        for source in [sources] if isinstance(sources, dict) else sources:
            yield (
                "index",
                source.get("group", ""),
                name,
                urls.get(source["index"], f"{source['index']}, which is not there"),
            )
    urls = {index["name"]: index["url"] for index in tool.get("poetry", {}).get("source", [])}
    for name, sources in tool.get("poetry", {}).get("dependencies", {}).items():
        for source in [sources] if isinstance(sources, dict) else sources:
            variants = re.findall(r"extra == '(\w+)'", source.get("markers", ""))
            yield (
                "index",
                variants[0] if variants else "",
                name,
                urls.get(source["source"], f"{source['source']}, which is not there"),
            )


def names(requirements: Iterable[str]) -> Iterator[str]:
    """The names of the packages that are required."""
    yield from map(_name, requirements)


@cache
def _name(requirement: str) -> str:
    return canonicalize_name(Requirement(requirement).name)


def _conda(path: str, text: str) -> Iterator[Fact]:
    environment = _yaml(text)
    yield "installs", path
    yield "defines environment name", environment["name"]
    for requirement in environment["dependencies"]:
        if isinstance(requirement, str):
            yield "requires", path, canonicalize_name(re.split(r"[=<>! ]", requirement)[0])


def _pip(path: str, text: str) -> Iterator[Fact]:
    variant = PurePosixPath(path).stem
    for option, value in re.findall(r"^(-r|--extra-index-url) (\S+)$", text, re.MULTILINE):
        if option == "-r":
            yield "path", str(PurePosixPath(path).with_name(value))
        else:
            yield "index", variant, ANY, value


def _pipeline(_: str, text: str) -> Iterator[Fact]:
    yield from (("pins", value.strip()) for value in re.findall(r"\b(?:uses|image): (.*)", text))
    yield from (("tests", task) for task in re.findall(r"\bpoe (\w+)", text))
    for value in _scalars(_yaml(text)):
        if "\n" not in value and " " not in value:
            yield from paths(value)


def _renovate(_: str, text: str) -> Iterator[Fact]:
    for rule in json.loads(text)["packageRules"]:
        for name in rule.get("matchFileNames", []):
            yield "path", name
            if not rule["enabled"]:
                yield "left alone", name


def _editor(_: str, text: str) -> Iterator[Fact]:
    data = json.loads(text)
    for configuration in data.get("configurations", []):
        yield from _started(configuration)
    for task in data.get("tasks", []):
        yield from _anywhere(task["command"])
    yield from (("recommends", name) for name in data.get("recommendations", []))
    for value in _scalars(data):
        if value.startswith(ROOTS):
            yield from paths(value)
    languages = [value for value in data.values() if isinstance(value, dict)]
    formatters = [value["editor.defaultFormatter"] for value in languages if "editor.defaultFormatter" in value]
    yield from (("extension", name) for name in formatters)


def _started(configuration: Mapping[str, Any]) -> Iterator[Fact]:
    """What the debugger starts: a module of the package, or of one that the environment has."""
    yield "extension", f"ms-python.{configuration['type']}"
    module = configuration["module"]
    if module in _known():
        yield "program", "", module, "task"
    else:
        yield "runs", module
        yield from _arguments(module, configuration["args"])


def _anywhere(text: str) -> Iterator[Fact]:
    """A command that starts without an active environment: a task of poe, behind what reaches it in this one."""
    start, _, task = text.partition("poe ")
    yield "task", task
    yield "reaches the environment", start
    yield "offers task", task
    yield from paths(start)
    words = start.split()
    if "--name" in words:
        yield "environment name", words[words.index("--name") + 1]


def _dockerfile(_: str, text: str) -> Iterator[Fact]:
    steps = instructions(text)
    yield from (("pins", step.value.partition(" AS ")[0]) for step in steps if step.name == "FROM")
    for path in copied(steps):
        yield "copies", path
        if path != OWN.removesuffix("/"):  # which every repository has
            yield "path", path
    started = [word for name in ("ENTRYPOINT", "CMD") for step in steps if step.name == name for word in step.words]
    if started:
        yield "runs", started[started.index("-m") + 1]
        yield from _arguments(started[started.index("-m") + 1], started[started.index("-m") + 2 :])


def _dockerignore(_: str, text: str) -> Iterator[Fact]:
    yield from (("lets through", line[1:]) for line in text.splitlines() if line.startswith("!"))


def _definition(_: str, text: str) -> Iterator[Fact]:
    read = definition(text)
    yield "pins", read.header["From"]
    yield from (("path", source) for source, _ in read.files)


def _container(path: str, text: str) -> Iterator[Fact]:
    data = json.loads(text)
    yield "path", str(PurePosixPath(path).with_name(data["build"]["dockerfile"]))
    yield from (("recommends for the container", name) for name in _extensions(data))
    yield from (("path", word) for key, value in data.items() if key.endswith("Command") for _, word in paths(value))


def _extensions(container: Mapping[str, Any]) -> list[str]:
    found: list[str] = container.get("customizations", {}).get("vscode", {}).get("extensions", [])
    return found


def _rule(_: str, text: str) -> Iterator[Fact]:
    """The files that a rule of Cursor hands on."""
    yield from (("path", name) for name in re.findall(r"^@(\S+)$", text, re.MULTILINE))


def _ignored(_: str, text: str) -> Iterator[Fact]:
    yield from (("ignores", line) for line in text.splitlines() if line and not line.startswith("#"))


def _python_version(_: str, text: str) -> Iterator[Fact]:
    yield "python", text.strip().removesuffix("t")  # without the global lock


def _scalars(data: Any) -> Iterator[str]:
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict | list):
        for value in data.values() if isinstance(data, dict) else data:
            yield from _scalars(value)


def _yaml(text: str) -> Any:
    return yaml.load(text, Loader=UniqueKeys)  # noqa: S506 - a safe loader


READERS: Mapping[str, Callable[[str, str], Iterable[Fact]]] = {
    "*.md": _markdown,
    "*.py": _python,
    "pyproject.toml": _manifest,
    "environment*.yml": _conda,
    "requirements/*.txt": _pip,
    ".github/workflows/*": _pipeline,
    ".gitlab-ci.yml": _pipeline,
    ".git*/renovate.json": _renovate,
    "*Dockerfile": _dockerfile,
    ".cursor/rules/*.mdc": _rule,
    ".devcontainer/devcontainer.json": _container,
    ".dockerignore": _dockerignore,
    "apptainer.def": _definition,
    ".vscode/*": _editor,
    ".gitignore": _ignored,
    ".python-version": _python_version,
}
"""By the path of a file."""
