"""What is sent to GitHub, and read of its answers, is what GitHub's own OpenAPI description says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from email.message import Message
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from hosts.cache import built
from hosts.code_host import Asked
from jsonschema import Draft7Validator
from test_campaign import Group
from test_campaign import group as group  # noqa: PLC0414 - a fixture
from test_campaign import original as original  # noqa: PLC0414 - a fixture
from workshop import workshop as workshop  # noqa: PLC0414 - a fixture

from labrig.fleet.host import Client, GitHub, Opened
from labrig.fleet.inventory import Member

PACKAGE = "@octokit/openapi@23.0.2"  # of api.github.com
FILE = "api.github.com.json"
OPERATIONS = {
    ("GET", "/orgs/{org}/repos"),
    ("GET", "/repos/{owner}/{repo}/commits/{ref}/check-runs"),
    ("GET", "/repos/{owner}/{repo}/commits/{ref}/status"),
    ("GET", "/repos/{owner}/{repo}/pulls"),
    ("PATCH", "/repos/{owner}/{repo}/pulls/{pull_number}"),
    ("POST", "/repos/{owner}/{repo}/pulls"),
}
pytestmark = pytest.mark.complete


@dataclass(frozen=True)
class Description:
    """An OpenAPI description."""

    content: dict[str, Any]

    @cached_property
    def paths(self) -> list[tuple[re.Pattern[str], str]]:
        return [
            (re.compile(re.sub(r"\\\{\w+\\\}", "([^/]+)", re.escape(path)) + "$"), path)
            for path in self.content["paths"]
        ]

    def operation(self, method: str, path: str) -> tuple[str, dict[str, Any]] | None:
        """The path as the description has it, and what it says of the method."""
        for pattern, name in self.paths:
            if pattern.match(path) and method.lower() in self.content["paths"][name]:
                return name, self.content["paths"][name][method.lower()]
        return None

    def resolved(self, value: Any) -> Any:
        """A value with every reference replaced by what it leads to, in the words of JSON Schema."""
        if isinstance(value, list):
            return [self.resolved(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "$ref" in value:
            target: Any = self.content
            for part in value["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            return self.resolved(target)
        found = {key: self.resolved(item) for key, item in value.items()}
        if found.pop("nullable", False) and "type" in found:
            found["type"] = [found["type"], "null"]
        return found

    def problems(self, asked: Asked) -> list[str]:
        """What is wrong with a request."""
        path = asked.path.removeprefix("/api/v3")
        known = self.operation(asked.method, path)
        if known is None:
            return [f"there is no {asked.method} {path}"]
        _, operation = known
        parameters = {each["name"]: each for each in self.resolved(operation.get("parameters", []))}
        found = [f"{path} has no parameter {name}" for name in asked.query if name not in parameters]
        for name, text in asked.query.items():
            if name in parameters:
                schema = parameters[name]["schema"]
                value = int(text) if schema.get("type") == "integer" and text.isdigit() else text
                found += [error.message for error in Draft7Validator(schema).iter_errors(value)]
        body = operation.get("requestBody")
        if asked.body is not None and body is None:
            found.append(f"{asked.method} {path} takes no body")
        elif body is not None:
            schema = self.resolved(body["content"]["application/json"]["schema"])
            found += [error.message for error in Draft7Validator(schema).iter_errors(asked.body)]
            found += [f"{path} has no field {name}" for name in asked.body or {} if name not in schema["properties"]]
        return found

    def example(self, method: str, path: str) -> Any:
        """What GitHub's description says that the host answers."""
        known = self.operation(method, path)
        assert known is not None, path
        answer = next(value for status, value in known[1]["responses"].items() if status.startswith("2"))
        examples = self.resolved(answer["content"]["application/json"]["examples"])
        return next(iter(examples.values()))["value"]


@pytest.fixture(scope="session")
def description() -> Description:
    """GitHub's own, from the package that it is published in."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm, which has GitHub's description, is not installed")

    def fetch(folder: Path) -> None:
        subprocess.run([npm, "pack", "--silent", PACKAGE], cwd=folder, check=True, capture_output=True)
        (archive,) = folder.glob("*.tgz")
        subprocess.run(
            ["tar", "-xzf", archive.name, "--strip-components=2", f"package/generated/{FILE}"], cwd=folder, check=True
        )
        archive.unlink()

    return Description(json.loads((built("openapi", fetch, [PACKAGE]) / FILE).read_text()))


def test_every_request_is_one_that_github_describes(group: Group, description: Description) -> None:
    group.update("--rings", "100%", "--drafts")
    group.merge("a")
    assert group.run("revert", "update-v2", "--spacing", "0").code == 0
    asked = [each for each in group.host.asked if each.path.startswith("/api/v3/")]
    assert [problem for each in asked for problem in description.problems(each)] == []
    used = {(each.method, (description.operation(each.method, each.path[7:]) or ("", {}))[0]) for each in asked}
    assert used == OPERATIONS


@pytest.mark.parametrize(
    "asked",
    [
        Asked("POST", "/api/v3/repos/a/b/pulls", {}, {"title": 1, "head": "x", "base": "main"}, 0),
        Asked("POST", "/api/v3/repos/a/b/pulls", {}, {"title": "x", "head": "x"}, 0),
        Asked("POST", "/api/v3/repos/a/b/pulls", {}, {"title": "x", "head": "x", "base": "main", "text": ""}, 0),
        Asked("GET", "/api/v3/repos/a/b/pulls", {"state": "everything"}, None, 0),
        Asked("GET", "/api/v3/repos/a/b/pulls", {"branch": "x"}, None, 0),
        Asked("GET", "/api/v3/repositories/a/b/pulls", {}, None, 0),
        Asked("PUT", "/api/v3/repos/a/b/pulls", {}, {}, 0),
    ],
)
def test_a_wrong_request_would_be_found(asked: Asked, description: Description) -> None:
    assert description.problems(asked)


class Examples(Client):
    """A host that answers with the examples of its description."""

    description: Description

    def _send(self, method: str, address: str, content: bytes | None) -> tuple[Any, Message]:
        del content
        path = address.partition("?")[0].removeprefix(self.base)
        return self.description.example(method, path), Message()


def test_the_answers_that_github_describes_are_understood(description: Description) -> None:
    client = Examples("https://api.github.com", {}, "")
    client.description = description
    host, member = GitHub(client), Member("octocat/Hello-World", "", "github")
    (found,) = host.members("octocat")
    assert (found.name, found.url, found.archived) == (
        "octocat/Hello-World",
        "https://github.com/octocat/Hello-World.git",
        False,
    )
    opened = host.find(member, "new-topic")
    assert opened is not None
    assert opened.number == 1347
    created = host.create(member, "new-topic", "main", "Title", "Text", draft=False)
    assert created == Opened(1347, "https://github.com/octocat/Hello-World/pull/1347", "merged")
    host.close(member, 1347)
    assert set(host.results(member, "6dcb09b5b57875f334f61aebed695e2e4193db5e").values()) <= {
        "passed",
        "failed",
        "running",
    }
