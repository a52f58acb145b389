"""What an editor is told to debug does start, by the debug adapter that the editors run."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from environments import PythonOf
from repositories import choices, resolve, write
from test_slurm import Repository, commit
from tools import uvx

ONE_TEST = ["tests/test_command_line.py", "-k", "baseline_is_trained", "-p", "no:cacheprovider"]
"""What is added to the debugged tests here: all of them would take minutes."""


class Adapter:
    """The adapter of debugpy, and an editor that talks to it as the Debug Adapter Protocol says."""

    def __init__(self, python: Path, folder: Path, environment: Mapping[str, str]) -> None:
        self.python = python
        self.folder = folder
        self.environment = {**environment}
        self.numbers = itertools.count(1)
        self.terminals: list[subprocess.Popen[str]] = []
        self.process = subprocess.Popen(
            uvx("debugpy", "debugpy-adapter"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def debug(self, configuration: Mapping[str, Any]) -> tuple[int, str]:
        """Start what a configuration says; its exit code, and what the terminal shows."""
        text = json.dumps(configuration).replace("${workspaceFolder}", str(self.folder))
        self.request("initialize", adapterID="debugpy", pathFormat="path", supportsRunInTerminalRequest=True)
        self.request("launch", **json.loads(text), python=[str(self.python)], env=self.environment)
        while message := self.receive():
            match message:
                case {"type": "event", "event": "initialized"}:
                    self.request("configurationDone")
                case {"type": "request", "command": "runInTerminal", "arguments": asked, "seq": number}:
                    self.terminals.append(self.terminal(asked))
                    body = {"processId": self.terminals[-1].pid}
                    self.send(type="response", request_seq=number, command="runInTerminal", success=True, body=body)
                case {"type": "response", "success": False, "message": reason}:
                    pytest.fail(f"the adapter refuses {configuration['name']}: {reason}")
                case {"type": "event", "event": "exited", "body": {"exitCode": code}}:
                    return int(code), "".join(terminal.communicate(timeout=60)[0] for terminal in self.terminals)
        pytest.fail(f"the adapter has ended before {configuration['name']} did")

    def terminal(self, asked: Mapping[str, Any]) -> subprocess.Popen[str]:
        """What an editor does in its terminal."""
        return subprocess.Popen(
            asked["args"],
            cwd=asked["cwd"],
            env={**os.environ, **{name: value for name, value in asked["env"].items() if value is not None}},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def request(self, command: str, **arguments: Any) -> None:
        self.send(type="request", command=command, arguments=arguments)

    def send(self, **message: Any) -> None:
        body = json.dumps({"seq": next(self.numbers), **message}).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        """The next message; nothing once the adapter has ended."""
        assert self.process.stdout is not None
        length = 0
        while line := self.process.stdout.readline().strip():
            if line.startswith(b"Content-Length:"):
                length = int(line.partition(b":")[2])
        return dict(json.loads(self.process.stdout.read(length))) if length else {}

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        for terminal in self.terminals:
            terminal.kill()


@pytest.mark.complete
@pytest.mark.parametrize("framework", choices("framework"))
def test_the_debugger_of_the_editor_starts_every_entry_point(
    framework: str, python_of: PythonOf, tmp_path: Path
) -> None:
    repository = Repository(tmp_path / "demo", python_of(framework), {})
    write(resolve({"framework": framework, "editor": "vscode"}), repository.folder)
    commit(repository)
    launch = json.loads((repository.folder / ".vscode" / "launch.json").read_text())
    said = {}
    for configuration in launch["configurations"]:
        more = {"Train baseline": ["--help"], "Test": ONE_TEST}.get(configuration["name"], [])
        asked = {**configuration, "args": [*configuration["args"], *more]}
        adapter = Adapter(repository.python, repository.folder, {"PYTHONPATH": str(repository.folder / "src")})
        try:
            code, said[configuration["name"]] = adapter.debug(asked)
        finally:
            adapter.close()
        assert code == 0, said[configuration["name"]]
    assert (repository.folder / "runs" / "debug" / "result.json").exists()
    assert "usage: python -m demo train baseline" in said["Train baseline"]
    assert "test_loss" in said["Evaluate debug"]
    assert "1 passed" in said["Test"]
