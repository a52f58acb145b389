"""Parses a generated file as its format, and holds it against the schema of what it is for."""

from __future__ import annotations

import ast
import json
import os
import re
import tomllib
from collections import Counter
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Any, ClassVar

import fastjsonschema
import nbformat
import yaml

os.environ["VALIDATE_PYPROJECT_NO_NETWORK"] = "1"
from validate_pyproject.api import Validator as PyprojectValidator

SCHEMAS = {
    ".github/workflows/": "github-workflows",
    ".gitlab-ci.yml": "gitlab-ci",
    "CITATION.cff": "citation-file-format",
}

"""Schemas that check-jsonschema carries, by the beginning of a path."""

TEXT = {"type": "string", "minLength": 1}
OWN_SCHEMAS: dict[str, dict[str, Any]] = {
    ".cursor/rules/agents.mdc": {
        "required": ["alwaysApply"],
        "additionalProperties": False,
        "properties": {"description": TEXT, "globs": TEXT, "alwaysApply": {"type": "boolean"}},
    },
    ".devcontainer/devcontainer.json": {
        "required": ["name", "build", "remoteUser"],
        "additionalProperties": False,
        "properties": {
            "name": TEXT,
            "build": {"required": ["dockerfile"], "additionalProperties": False, "properties": {"dockerfile": TEXT}},
            "hostRequirements": {
                "additionalProperties": False,
                "properties": {"gpu": {"enum": [True, False, "optional"]}},
            },
            "runArgs": {"type": "array", "items": {"type": "string", "pattern": "^--"}},
            "remoteUser": TEXT,
            "customizations": {
                "additionalProperties": False,
                "properties": {
                    "vscode": {
                        "additionalProperties": False,
                        "properties": {
                            "extensions": {
                                "type": "array",
                                "uniqueItems": True,
                                "items": {"pattern": r"^[a-z0-9-]+\.[a-z0-9-]+$"},
                            }
                        },
                    }
                },
            },
            "onCreateCommand": TEXT,
            "updateContentCommand": TEXT,
            "postCreateCommand": TEXT,
        },
    },
    ".vscode/extensions.json": {
        "required": ["recommendations"],
        "additionalProperties": False,
        "properties": {
            "recommendations": {"type": "array", "uniqueItems": True, "items": {"pattern": r"^[a-z0-9-]+\.[a-z0-9-]+$"}}
        },
    },
    ".vscode/launch.json": {
        "required": ["version", "configurations"],
        "additionalProperties": False,
        "properties": {
            "version": {"const": "0.2.0"},
            "configurations": {
                "type": "array",
                "items": {
                    "required": ["name", "type", "request", "module", "args", "cwd", "console"],
                    "additionalProperties": False,
                    "properties": {
                        "name": TEXT,
                        "type": {"const": "debugpy"},
                        "request": {"const": "launch"},
                        "module": TEXT,
                        "args": {"type": "array", "items": {"type": "string"}},
                        "cwd": {"const": "${workspaceFolder}"},
                        "console": {"enum": ["integratedTerminal", "internalConsole"]},
                        "subProcess": {"type": "boolean"},
                    },
                },
            },
        },
    },
    ".vscode/settings.json": {
        "additionalProperties": False,
        "patternProperties": {
            r"^\[[a-z]+\]$": {"type": "object", "propertyNames": {"pattern": r"^editor\.\w+$"}},
            r"^[a-z][a-z-]*(\.\w+)+$": {"type": ["string", "boolean", "number"]},
        },
    },
    ".vscode/tasks.json": {
        "required": ["version", "tasks"],
        "additionalProperties": False,
        "properties": {
            "version": {"const": "2.0.0"},
            "tasks": {
                "type": "array",
                "items": {
                    "required": ["label", "type", "command", "problemMatcher"],
                    "additionalProperties": False,
                    "properties": {
                        "label": TEXT,
                        "type": {"const": "shell"},
                        "command": TEXT,
                        "group": {
                            "anyOf": [
                                {"enum": ["build", "test"]},
                                {
                                    "type": "object",
                                    "required": ["kind", "isDefault"],
                                    "additionalProperties": False,
                                    "properties": {
                                        "kind": {"enum": ["build", "test"]},
                                        "isDefault": {"type": "boolean"},
                                    },
                                },
                            ]
                        },
                        "problemMatcher": {"type": "array", "maxItems": 0},
                    },
                },
            },
        },
    },
}
"""What Visual Studio Code reads: its own schemas are part of the program and its extensions.

Cursor reads it, too, and the rules, of which it says nothing where their beginning is wrong. What a dev container may
say is in a schema at containers.dev, of which this is the part that is used.
"""

PARSED = {".cff", ".ipynb", ".json", ".mdc", ".py", ".toml", ".yaml", ".yml"}


class Checker:
    """Checks each distinct content once, and counts what it did."""

    def __init__(self) -> None:
        self.checks: Counter[str] = Counter()
        self._known: dict[tuple[str, bytes], str] = {}

    def problem(self, path: str, content: bytes) -> str:
        """What is wrong with a file, or nothing."""
        name = PurePosixPath(path).name
        key = (path if name in {".gitlab-ci.yml", "pyproject.toml"} else name, content)
        if key not in self._known:
            self._known[key] = self._check(path, content)
        return self._known[key]

    def _check(self, path: str, content: bytes) -> str:
        try:
            text = content.decode()
            data = self._parse(PurePosixPath(path), text)
            if path == "pyproject.toml":
                self.checks["validate-pyproject"] += 1
                _pyproject()(data)
            if path in OWN_SCHEMAS:
                self.checks[f"JSON schema {path}"] += 1
                _compiled(path)(data)
            for beginning, schema in SCHEMAS.items():
                if path.startswith(beginning):
                    self.checks[f"JSON schema {schema}"] += 1
                    _schema(schema)(data)
        except (
            ValueError,
            SyntaxError,
            yaml.YAMLError,
            fastjsonschema.JsonSchemaException,
            nbformat.ValidationError,
        ) as error:
            return f"{type(error).__name__}: {str(error)[:500]}"
        return ""

    def _parse(self, path: PurePosixPath, text: str) -> Any:
        if path.suffix == ".toml":
            self.checks["tomllib"] += 1
            return tomllib.loads(text)
        if path.suffix in {".yml", ".yaml", ".cff"}:
            self.checks["yaml"] += 1
            return yaml.load(text, Loader=UniqueKeys)  # noqa: S506 - a safe loader
        if path.suffix in {".ipynb", ".json"}:
            self.checks["json"] += 1
            data = json.loads(text, object_pairs_hook=_unique)
            if path.suffix == ".ipynb":
                self.checks["nbformat"] += 1
                nbformat.validate(data)
            return data
        if path.suffix == ".py":
            self.checks["compile"] += 1
            return ast.parse(text)
        if path.suffix == ".mdc":
            self.checks["rule of Cursor"] += 1
            _, beginning, _ = text.split("---\n", 2)
            return yaml.load(beginning, Loader=UniqueKeys)  # noqa: S506 - a safe loader
        self.checks["UTF-8 text"] += 1
        return text


class UniqueKeys(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML 1.2, in which `on` and a date are texts, and a key is given once."""

    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] not in {"bool", "timestamp"}]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if doubled := [key for key, amount in Counter(map(str, keys)).items() if amount > 1]:
            raise yaml.constructor.ConstructorError(None, None, f"the key {doubled[0]} is given twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)  # type: ignore[no-any-return]


UniqueKeys.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("true|false"), list("tf"))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if doubled := [key for key, amount in Counter(key for key, _ in pairs).items() if amount > 1]:
        raise ValueError(f"the key {doubled[0]} is given twice")
    return dict(pairs)


@cache
def _pyproject() -> PyprojectValidator:
    return PyprojectValidator()


@cache
def _compiled(path: str) -> Callable[[Any], Any]:
    validate: Callable[[Any], Any] = fastjsonschema.compile(OWN_SCHEMAS[path], use_default=False)
    return validate


@cache
def _schema(name: str) -> Callable[[Any], Any]:
    text = files("check_jsonschema").joinpath(f"builtin_schemas/vendor/{name}.json").read_text(encoding="utf-8")
    validate: Callable[[Any], Any] = fastjsonschema.compile(json.loads(text), use_default=False)
    return validate
