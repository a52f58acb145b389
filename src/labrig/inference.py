"""What a repository that was made by hand says of itself. Its files are parsed, and its code is never run."""

from __future__ import annotations

import ast
import configparser
import json
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

import yaml
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from .questions import SafeLoader

STATED, LIKELY, GUESS = "stated", "likely", "guess"  # a guess is never taken without a person's word

FRAMEWORKS = {
    "pytorch": {"torch", "torchvision", "lightning", "pytorch_lightning", "pytorch-lightning", "transformers", "timm"},
    "jax": {"jax", "jaxlib", "flax", "optax", "equinox", "haiku", "dm-haiku", "orbax"},
    "tensorflow": {"tensorflow", "tensorflow-cpu", "tensorflow_datasets", "tensorflow-datasets", "keras"},
    "sklearn": {"sklearn", "scikit-learn", "xgboost", "lightgbm", "catboost", "imblearn", "imbalanced-learn"},
}
LIBRARIES = {
    "equinox": {"equinox"},
    "lightning": {"lightning", "pytorch_lightning"},
    "nnx": {"flax"},
    "transformers": {"transformers"},
}
LICENCES = {
    "mit": r"\bMIT\b|Permission is hereby granted, free of charge",
    "apache-2.0": r"\bApache\b",
    "bsd-3-clause": r"\bBSD.3\b|Neither the name of",
}
HISTORY = "most commits are theirs"
NO_PACKAGES = {"benchmarks", "docs", "examples", "experiments", "notebooks", "scripts", "test", "tests", "tools"}
ENVIRONMENT = r"(?:conda[-_]?)?env(?:ironment)?[^/]*\.ya?ml"
REQUIREMENTS = r"requirements[^/]*\.txt|requirements/[^/]*\.txt"
MOST_CODE = 2000  # files that are parsed for their imports
LARGEST_CODE = 1_000_000  # bytes


@dataclass(frozen=True)
class Found:
    """One answer that the repository gives, the place that gives it, and how far it can be trusted."""

    value: object
    source: str
    confidence: str


class Files:
    """The committed files of a repository, by what they say.

    paths: of regular files. read: the content of one. remote: the address of its origin, or "".
    author: who made most of its commits, name and address, or "".
    """

    def __init__(
        self,
        paths: Iterable[str],
        read: Callable[[str], bytes],
        *,
        folder: str,
        remote: str,
        author: tuple[str, str] = ("", ""),
    ) -> None:
        self.paths = dict.fromkeys(sorted(paths))
        self._read = read
        self.folder = folder
        self.remote = remote
        self.author = author

    def text(self, path: str) -> str:
        """The text of a file; nothing when it is not there."""
        if path not in self.paths:
            return ""
        return self._read(path).decode("utf-8-sig", errors="replace").replace("\r\n", "\n")

    def toml(self, path: str) -> dict[str, Any]:
        """What a TOML file says; nothing when it is not valid."""
        try:
            return tomllib.loads(self.text(path))
        except tomllib.TOMLDecodeError:
            return {}

    def named(self, pattern: str) -> list[str]:
        """The files whose whole path fits a regular expression, in any case."""
        return [path for path in self.paths if re.fullmatch(pattern, path, re.IGNORECASE)]

    @cached_property
    def packages(self) -> list[str]:
        """The folders of its Python packages, the largest first: `src/name` or `name`."""
        code = Counter[str]()
        for path in self.named(r"(?:src/)?\w+/(?:.+/)?\w+\.py"):
            folder = "/".join(path.split("/")[: 2 if path.startswith("src/") and path.count("/") > 1 else 1])
            code[folder] += 1
        inside = [folder for folder in code if folder.startswith("src/") or f"{folder}/__init__.py" in self.paths]
        return sorted(
            (folder for folder in inside if folder.split("/")[-1] not in NO_PACKAGES), key=lambda name: -code[name]
        )

    @cached_property
    def has_tests(self) -> bool:
        """Whether pytest would find something."""
        return bool(self.named(r"(?:.*/)?(?:test_[^/]*|[^/]*_test)\.py"))

    @cached_property
    def imports(self) -> Mapping[str, list[str]]:
        """The files that import each module."""
        found: dict[str, list[str]] = {}
        for path in self.named(r".*\.(?:py|ipynb)")[:MOST_CODE]:
            for name in _imports(path, self.text(path)):
                found.setdefault(name, []).append(path)
        return found

    @cached_property
    def manifests(self) -> list[tuple[str, dict[str, Any]]]:
        """What its manifests say under one set of names, each with its place; the most binding one first."""
        return [(place, says) for place, says in _manifests(self) if any(says.values())]

    @cached_property
    def requirements(self) -> dict[str, str]:
        """The names of the packages that it asks for, in any form, each with the place that does."""
        found: dict[str, str] = {}
        texts = [(place, line) for place, says in self.manifests for line in says.get("dependencies") or ()]
        texts += [(path, line) for path in self.named(REQUIREMENTS) for line in self.text(path).splitlines()]
        for place, line in texts:
            if name := re.match(r"\s*([A-Za-z0-9][\w.-]*)", str(line)):
                found.setdefault(name[1].lower(), place)
        return found

    def find(self, name: str) -> tuple[Any, str] | None:
        """The value of the first manifest that has one, and its place."""
        return next(((says[name], place) for place, says in self.manifests if says.get(name)), None)


def infer(files: Files, offered: Mapping[str, list[object]]) -> dict[str, Found]:
    """The answers that a repository gives, by question. Values are as found: the template may not take them.

    offered: the choices of each question.
    """
    found = {
        "project_name": _name(files),
        "package": _package(files),
        "description": _description(files),
        "author_name": _author(files),
        "author_email": _address_of_author(files),
        "license": _licence(files),
        "framework": _framework(files),
        "library": _library(files),
        "package_manager": _manager(files),
        "accelerator": _accelerator(files),
        "python": _python(files, [str(version) for version in offered.get("python", [])]),
        "launchers": _launchers(files),
        "trackers": _trackers(files),
        "config": _config(files),
        "type_checker": _type_checker(files),
        "ci": _ci(files),
        "repository": _address(files),
        "editor": _there(files, {"vscode": r"\.vscode/.*", "cursor": r"\.cursor.*"}, "none"),
        "hooks": _there(files, {True: r"\.pre-commit-config\.yaml"}),
        "agents": _there(files, {True: r"AGENTS\.md|CLAUDE\.md"}),
    }
    return {
        question: Found(_printable(answer.value), _printable(answer.source), answer.confidence)
        for question, answer in found.items()
        if answer is not None
    }


def _printable(value: Any) -> Any:
    """A text without what would act on a terminal."""
    return "".join(filter(str.isprintable, value)) if isinstance(value, str) else value


# One question each


def _first(files: Files, name: str) -> Found | None:
    known = files.find(name)
    return Found(" ".join(str(known[0]).split()), known[1], STATED) if known else None


def _name(files: Files) -> Found:
    known = _first(files, "project_name")
    if known is None:
        remote = PurePosixPath(files.remote).name.removesuffix(".git")
        known = Found(remote or files.folder, "remote origin" if remote else "the folder's name", LIKELY)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", str(known.value)).strip("-._")
    return Found(name, known.source, known.confidence if name == known.value else LIKELY)


def _package(files: Files) -> Found | None:
    names = [folder.split("/")[-1] for folder in files.packages if folder != "src"]
    if not names:
        return None
    project = str(_name(files).value).lower().replace("-", "_")
    name = next((name for name in names if name.lower() == project), names[0])
    sure = len(names) == 1 or name.lower() == project
    folder = next(folder for folder in files.packages if folder.split("/")[-1] == name)
    return Found(name.lower(), f"{folder}/", STATED if sure and name == name.lower() else LIKELY)


def _description(files: Files) -> Found | None:
    if known := _first(files, "description"):
        return known
    for path in files.named(r"README(?:\.\w+)?"):
        for paragraph in re.split(r"\n\s*\n", files.text(path)):
            line = re.sub(r"!?\[([^\]]*)\]\([^)]*\)|[*_`]|<[^>]+>", r"\1", " ".join(paragraph.split()))
            if line[:1].isalpha() and len(line.split()) >= 4 and len(line) <= 200:
                return Found(line, path, LIKELY)
    return None


def _author(files: Files) -> Found | None:
    if known := _first(files, "author_name"):
        return known
    for path in _licence_files(files):
        if holder := re.search(r"Copyright (?:\(c\)|©)?[\d\s,-]+(.+)", files.text(path)):
            return Found(holder[1].strip().rstrip("."), path, LIKELY)
    return Found(files.author[0], HISTORY, LIKELY) if files.author[0] else None


def _address_of_author(files: Files) -> Found | None:
    if known := _first(files, "author_email"):
        return known
    author, (name, address) = _author(files), files.author
    is_public = re.fullmatch(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", address, re.ASCII) and "noreply" not in address
    return Found(address, HISTORY, LIKELY) if author and author.value == name and is_public else None


def _licence_files(files: Files) -> list[str]:
    return files.named(r"(?:LICEN[CS]E|COPYING)(?:\.\w+)?")


def _licence(files: Files) -> Found:
    texts = [(path, files.text(path)[:4000]) for path in _licence_files(files)]
    known = files.find("license")
    texts += [(known[1], str(known[0]))] if known else []
    for place, text in texts:
        name = next((name for name, pattern in LICENCES.items() if re.search(pattern, text)), None)
        # The template writes no other licence: the repository keeps its own.
        return Found(name or "none", place, STATED)
    return Found("none", "no licence file", LIKELY)


def _framework(files: Files) -> Found:
    importing = {
        framework: sorted({path for name in names for path in files.imports.get(name, ())})
        for framework, names in FRAMEWORKS.items()
    }
    if any(importing[framework] for framework in importing if framework != "sklearn"):
        del importing["sklearn"]  # beside a network it splits and measures
    most, other, *_ = sorted(importing, key=lambda framework: -len(importing[framework]))
    if importing[most]:
        source = f"imported in {importing[most][0]}"
        source += f" and {len(importing[most]) - 1} more" if importing[most][1:] else ""
        if not importing[other]:
            return Found(most, source, STATED)
        return Found(most, f"{source}; {other} in {importing[other][0]}", GUESS)
    for framework, names in FRAMEWORKS.items():
        for name in sorted(names & files.requirements.keys()):
            return Found(framework, files.requirements[name], LIKELY)
    return Found("pytorch", "nothing imports PyTorch, JAX, TensorFlow or scikit-learn", GUESS)


def _library(files: Files) -> Found | None:
    """The library of the framework that is imported most."""
    framework = _framework(files).value
    importing = {
        library: sorted({path for name in names for path in files.imports.get(name, ())})
        for library, names in LIBRARIES.items()
        if names & FRAMEWORKS[str(framework)]
    }
    most = max(importing, key=lambda library: len(importing[library]), default=None)
    if not most or not importing[most]:
        return None
    # Many take their models from Transformers and train them with something else.
    return Found(most, f"imported in {importing[most][0]}", GUESS if most == "transformers" else LIKELY)


def _manager(files: Files) -> Found | None:
    tools = _table(files.toml("pyproject.toml"), "tool")
    locks = {"uv": "uv.lock", "poetry": "poetry.lock", "conda": "conda-lock.yml"}
    locked = {manager: lock for manager, lock in locks.items() if lock in files.paths}
    if locked:
        return Found(next(iter(locked)), ", ".join(locked.values()), STATED if len(locked) == 1 else GUESS)
    for manager in ("uv", "poetry"):
        if manager in tools:
            return Found(manager, f"pyproject.toml: tool.{manager}", STATED)
    if environments := files.named(ENVIRONMENT):
        others = files.named(REQUIREMENTS)
        return Found("conda", ", ".join([*environments[:1], *others[:1]]), LIKELY if others else STATED)
    if plain := files.named(REQUIREMENTS + r"|setup\.(?:py|cfg)"):
        return Found("pip", plain[0], LIKELY)
    return Found("uv", "pyproject.toml: project", LIKELY) if "pyproject.toml" in files.paths else None


def _accelerator(files: Files) -> Found | None:
    for path in files.named(r"(?:[^/]*\.(?:toml|txt|ya?ml|cfg)|setup\.py|Dockerfile|requirements/.*)"):
        text = files.text(path)
        if build := re.search(r"(?:whl/|\+)(cu\d{3}|rocm)", text):
            return Found(build[1], path, STATED)
        if cuda := re.search(r"(?:pytorch-cuda|cudatoolkit|cuda-version)\s*=+\s*(\d+)\.(\d+)", text):
            return Found(f"cu{cuda[1]}{cuda[2]}", path, STATED)
        if jax := re.search(r"jax\[(?:cuda(\d\d)|(tpu))", text):
            return Found(jax[2] or f"cu{jax[1]}", path, STATED)
        if re.search(r"tensorflow\[and-cuda\]", text):
            return Found("cu129", path, LIKELY)  # CUDA 12, whose newest libraries it takes
    return None


def _python(files: Files, offered: list[str]) -> Found | None:
    if version := re.match(r"\s*(?:cpython-)?(3\.\d+)", files.text(".python-version")):
        return Found(version[1], ".python-version", STATED)
    known = files.find("requires_python")
    if known is None:
        return None
    text, place = str(known[0]), known[1]
    if exact := re.fullmatch(r"={1,2}\s*(3\.\d+)[.\d*]*", text):
        return Found(exact[1], place, STATED)
    try:
        allowed = SpecifierSet(re.sub(r"\^(\d+)(\.\S+)?", r">=\1\2,<4", text))
    except InvalidSpecifier:
        return Found(text, place, GUESS)
    fitting = [version for version in offered if f"{version}.0" in allowed or f"{version}.99" in allowed]
    if not fitting:
        return Found(text, place, GUESS)
    return Found("3.12" if "3.12" in fitting else fitting[-1], f"{place}: {text}", LIKELY)


def _launchers(files: Files) -> Found | None:
    jobs = files.named(r".*\.(?:sbatch|slurm)")
    jobs += [path for path in files.named(r".*\.sh") if re.search(r"^#SBATCH", files.text(path), re.MULTILINE)]
    return _used({"slurm": jobs, "ray": files.imports.get("ray", [])})


def _trackers(files: Files) -> Found | None:
    places = {name: files.imports.get(name, []) for name in ("tensorboard", "wandb", "mlflow", "trackio")}
    # What writes for TensorBoard is often a part of the framework, and only asked for.
    asked_for = [files.requirements[name] for name in ("tensorboard", "tensorboardx") if name in files.requirements]
    written = [*places["tensorboard"], *files.imports.get("tensorboardX", []), *asked_for]
    return _used({**places, "tensorboard": written})


def _config(files: Files) -> Found | None:
    for name in ("hydra", "tyro"):
        if paths := files.imports.get(name):
            return Found(name, f"imported in {paths[0]}", LIKELY)
    return None


def _type_checker(files: Files) -> Found:
    tools = _table(files.toml("pyproject.toml"), "tool")
    for checker, pattern in {"pyright": r"pyrightconfig\.json", "mypy": r"\.?mypy\.ini", "ty": r"ty\.toml"}.items():
        if checker in tools or files.named(pattern):
            return Found(checker, (files.named(pattern) or [f"pyproject.toml: tool.{checker}"])[0], STATED)
    for path in files.named(r"setup\.cfg|tox\.ini|\.pre-commit-config\.yaml"):
        for checker in ("pyright", "mypy", "ty"):
            if re.search(rf"\b{checker}\b", files.text(path)):
                return Found(checker, path, LIKELY)
    return Found("none", "no settings of a type checker", LIKELY)


def _ci(files: Files) -> Found | None:
    known = _there(files, {"github": r"\.github/workflows/.*", "gitlab": r"\.gitlab-ci\.yml"})
    for host in ("github", "gitlab"):
        if known is None and re.search(rf"[/@.]{host}\.", "/" + files.remote):
            return Found(host, "remote origin", STATED)
    return known


def _address(files: Files) -> Found | None:
    """The web address of the remote, without a user's name or password."""
    known = re.match(r"(?:(?:https?|ssh|git)://)?(?:[^@/]*@)?([\w.-]+\.\w+)(?::\d+)?[:/]([\w./~-]+)", files.remote)
    if known is None:
        return None
    return Found(f"https://{known[1]}/{known[2].removesuffix('.git')}", "remote origin", STATED)


def _used(places: Mapping[str, list[str]]) -> Found | None:
    """Those of many that some place speaks of."""
    used = [name for name, paths in places.items() if paths]
    return Found(used, ", ".join(places[name][0] for name in used), LIKELY) if used else None


def _there(files: Files, patterns: Mapping[Any, str], otherwise: object = None) -> Found | None:
    """The answer whose files are there."""
    for value, pattern in patterns.items():
        if paths := files.named(pattern):
            return Found(value, paths[0], STATED)
    return None if otherwise is None else Found(otherwise, "no such files", LIKELY)


# Files


def _imports(path: str, text: str) -> set[str]:
    """The top modules that a file of Python or a notebook imports."""
    if len(text) > LARGEST_CODE:
        return set()
    if path.endswith(".ipynb"):
        try:
            cells = json.loads(text).get("cells", [])
            text = "\n".join("".join(cell["source"]) for cell in cells if cell.get("cell_type") == "code")
        except (ValueError, AttributeError, KeyError, TypeError):
            return set()
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # Python 2, or a notebook's own commands
        return set(re.findall(r"^\s*(?:import|from)\s+(\w+)", text, re.MULTILINE))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    return {name.partition(".")[0] for name in names}


def _manifests(files: Files) -> Iterator[tuple[str, dict[str, Any]]]:
    manifest = files.toml("pyproject.toml")
    project, poetry = _table(manifest, "project"), _table(manifest, "tool", "poetry")
    yield "pyproject.toml", _described(project, python="requires-python", people=project.get("authors"))
    about = {**poetry, "python": _table(poetry, "dependencies").get("python")}
    yield "pyproject.toml", _described(about, python="python", people=poetry.get("authors"))
    yield "setup.cfg", _setup_cfg(files.text("setup.cfg"))
    yield "setup.py", _setup_py(files.text("setup.py"))
    for path in files.named(ENVIRONMENT):
        listed = _mapping(files.text(path)).get("dependencies")
        listed = listed if isinstance(listed, list) else []
        plain = [item for item in listed if isinstance(item, str)]
        pip = [str(text) for item in listed if isinstance(item, dict) for text in item.get("pip") or []]
        python = next((text for item in plain if (text := re.sub(r"^python\s*(?=[=<>~])", "", item)) != item), None)
        yield path, {"requires_python": python, "dependencies": [*plain, *pip]}
    citation = _mapping(files.text("CITATION.cff"))
    yield "CITATION.cff", _described({"license": citation.get("license")}, people=citation.get("authors"))
    for path in files.named(r"\.cruft\.json|\.copier-answers[\w.-]*\.ya?ml"):
        says = _mapping(files.text(path))
        says = _table(says, "context", "cookiecutter") or says
        author = {
            "name": says.get("author_name") or says.get("full_name"),
            "email": says.get("author_email") or says.get("email"),
        }
        yield path, _described({**says, "name": says.get("project_slug") or says.get("project_name")}, people=[author])


def _described(says: Mapping[str, Any], *, people: object = None, python: str = "") -> dict[str, Any]:
    """What one manifest says, under the names of the questions. What has another form is left out."""
    licence, dependencies = says.get("license"), says.get("dependencies")
    texts = {
        "project_name": says.get("name"),
        "description": says.get("description"),
        **_person(people[0] if isinstance(people, list) and people else None),
        "license": licence.get("text") if isinstance(licence, dict) else licence,
        "requires_python": says.get(python),
    }
    found: dict[str, Any] = {name: text for name, text in texts.items() if isinstance(text, str)}
    return {**found, "dependencies": list(dependencies) if isinstance(dependencies, list | dict) else []}


def _person(person: object) -> dict[str, object]:
    """The name and the address of `{name = ..., email = ...}` or `Ada Lovelace <ada@example.org>`."""
    if isinstance(person, dict):
        parts = [str(person[part]) for part in ("given-names", "family-names") if person.get(part)]
        return {"author_name": " ".join(parts) or person.get("name"), "author_email": person.get("email")}
    name, _, address = str(person or "").partition("<")
    return {"author_name": name.strip(), "author_email": address.strip(" >")}


def _table(content: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """An inner table; an empty one where there is none."""
    for name in names:
        inner = content.get(name)
        content = inner if isinstance(inner, dict) else {}
    return dict(content)


def _setup_cfg(text: str) -> dict[str, Any]:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(text)
    except configparser.Error:
        return {}
    says = dict(parser["metadata"]) if parser.has_section("metadata") else {}
    options = dict(parser["options"]) if parser.has_section("options") else {}
    return _setup({**says, **options, "install_requires": options.get("install_requires", "").split("\n")})


def _setup(says: Mapping[str, Any]) -> dict[str, Any]:
    """What setuptools is told, whichever way."""
    author = {"name": says.get("author"), "email": says.get("author_email")}
    about = {**says, "dependencies": says.get("install_requires")}
    return _described(about, python="python_requires", people=[author])


def _setup_py(text: str) -> dict[str, Any]:
    """The arguments of `setup(...)` that are literals, or names of literals; what is computed is left open."""
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    known: dict[str, Any] = {}

    def value(node: ast.expr) -> Any:
        try:
            return known.get(node.id) if isinstance(node, ast.Name) else ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return None

    for node in nodes:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            known[node.targets[0].id] = value(node.value)
    says: dict[str, Any] = {}
    for node in nodes:
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "setup":
            says |= {each.arg: value(each.value) for each in node.keywords if each.arg}
    return _setup(says)


def _mapping(text: str) -> dict[str, Any]:
    """What a YAML or JSON file says; nothing when it is no mapping."""
    try:
        content = yaml.load(text, Loader=SafeLoader)  # noqa: S506 - it is a safe loader
    except (yaml.YAMLError, RecursionError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
