"""The interview at a real terminal: a pseudo-terminal, with keys pressed as a person would."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import yaml

UP, DOWN, ENTER, CTRL_C = "\x1b[A", "\x1b[B", "\r", "\x03"
SECONDS = 30.0


class Terminal:
    """`labrig WORDS...` on a terminal of 200 columns, in an empty folder."""

    def __init__(self, folder: Path, *words: str, variables: Mapping[str, str]) -> None:
        self.master, follower = pty.openpty()
        environment = {
            **{name: value for name, value in os.environ.items() if name not in {"CI", "CLAUDECODE", "AI_AGENT"}},
            "HOME": str(folder),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "TERM": "xterm-256color",
            "COLUMNS": "200",
            "LINES": "60",
            "PROMPT_TOOLKIT_NO_CPR": "1",
            **variables,
        }
        subprocess.run(["stty", "cols", "200", "rows", "60"], stdin=follower, check=True)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "labrig", *words],
            cwd=folder,
            env=environment,
            stdin=follower,
            stdout=follower,
            stderr=follower,
            start_new_session=True,
        )
        os.close(follower)
        self.shown = ""
        self.coloured = False

    def expect(self, text: str) -> None:
        """Wait until `text` is on the screen, and forget everything up to it."""
        deadline = time.monotonic() + SECONDS
        while text not in self.shown:
            if time.monotonic() > deadline:
                raise AssertionError(f"{text!r} did not come; the screen showed:\n{self.shown}")
            if not self._read(0.2) and self.process.poll() is not None:
                raise AssertionError(f"{text!r} did not come before the end; the screen showed:\n{self.shown}")
        self.shown = self.shown.partition(text)[2]

    def press(self, *keys: str) -> None:
        for key in keys:
            time.sleep(0.05)  # as separate key strokes
            os.write(self.master, key.encode())

    def end(self) -> tuple[int, str]:
        """The exit code, and what was shown last."""
        while self._read(0.5) or self.process.poll() is None:
            pass
        os.close(self.master)
        return self.process.wait(), self.shown

    def _read(self, seconds: float) -> bool:
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self.master, 65536).decode(errors="replace")
        except OSError:  # the other side is closed
            return False
        self.coloured = self.coloured or "\x1b[1;31m" in data
        self.shown += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", data)
        return bool(data)


Start = Callable[..., Terminal]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Starts `labrig WORDS...` on a terminal; what still runs at the end of the test is ended."""
    terminals: list[Terminal] = []

    def start(*words: str, **variables: str) -> Terminal:
        terminals.append(Terminal(folder, *words, variables=variables))
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.process.kill()
        terminal.process.wait()


def answers(folder: Path, name: str) -> dict[str, object]:
    content: dict[str, object] = yaml.safe_load((folder / name / ".copier-answers.yml").read_text(encoding="utf-8"))
    return content


def test_enter_alone_creates_the_recommended_repository(folder: Path, start: Start) -> None:
    terminal = start("new", "demo")
    terminal.expect("what does it investigate?")
    terminal.press(ENTER)
    terminal.expect("Start from")
    terminal.press(ENTER)
    terminal.expect("Create it, with")
    terminal.press(ENTER)
    terminal.expect("Created")
    terminal.expect("Same again, without questions")
    code, _ = terminal.end()
    assert code == 0
    assert answers(folder, "demo")["framework"] == "pytorch"


def test_each_answer_can_be_chosen_and_changed_again_before_anything_is_written(folder: Path, start: Start) -> None:
    terminal = start("new")
    terminal.expect("What is the project called?")
    terminal.press("class", ENTER)
    terminal.expect("is a word or a module of Python itself")
    terminal.press(*["\x7f"] * 5, "grokking", ENTER)
    terminal.expect("what does it investigate?")
    terminal.press("When does it generalize?", ENTER)
    terminal.expect("Start from")
    terminal.press(DOWN, ENTER)
    terminal.expect("Under which licence?")
    terminal.press(ENTER)
    terminal.expect("Which framework?")
    terminal.press(DOWN, ENTER)
    terminal.expect("Which library for its training?")
    terminal.expect("loop is no library for JAX; choose nnx, equinox")
    terminal.press(DOWN, ENTER)
    terminal.expect("Which example?")
    terminal.press(ENTER)
    terminal.expect("Which package manager?")
    terminal.press(ENTER)
    terminal.expect("What will it run on?")
    terminal.expect("JAX from uv has no cu126 build")
    terminal.press(DOWN, ENTER)
    terminal.expect("Where will it be launched")
    terminal.press(" ", ENTER)  # marks the first
    for question in ("Where will its metrics be mirrored", "Which type checker?", "Which continuous integration?"):
        terminal.expect(question)
        terminal.press(ENTER)
    terminal.expect("All answers")
    assert list(folder.glob("grokking")) == []
    terminal.press(*[DOWN] * 7, ENTER)  # the framework: after name, package, description, author, e-mail, licence
    terminal.expect("Which framework?")
    terminal.press(UP, ENTER)  # PyTorch has neither Equinox nor a build for CUDA 12.9, so both are asked again
    terminal.expect("equinox is no library for PyTorch")
    terminal.expect("Which library for its training?")
    terminal.press(ENTER)
    terminal.expect("PyTorch from uv has no cu129 build")
    terminal.expect("What will it run on?")
    terminal.press(ENTER)
    terminal.expect("All answers")
    terminal.press(ENTER)
    terminal.expect("Created")
    code, _ = terminal.end()
    assert code == 0
    found = answers(folder, "grokking")
    assert (found["framework"], found["accelerator"]) == ("pytorch", "cpu")
    assert found["launchers"] == ["slurm"]
    assert found["description"] == "When does it generalize?"


def test_flags_are_not_asked_again_and_locked_answers_cannot_be_chosen(folder: Path, start: Start) -> None:
    (folder / "lab.toml").write_text('locked = ["license"]\n[answers]\nlicense = "none"\n', encoding="utf-8")
    flags = ["--description", "x", "--framework", "jax", "--library", "nnx", "--example", "text"]
    flags += ["--package-manager", "uv", "--accelerator", "cpu", "--python", "3.12"]
    flags += ["--ci", "none", "--launchers", "ray", "--trackers", "none"]
    terminal = start("new", "demo", "--preset", "lab.toml", *flags)
    terminal.expect("Which type checker?")
    terminal.press(ENTER)
    terminal.expect("All answers")
    terminal.expect("fixed by the preset lab")
    terminal.press(ENTER)
    terminal.expect("Created")
    assert terminal.end()[0] == 0
    assert answers(folder, "demo")["license"] == "none"


@pytest.mark.parametrize("presses", range(3))
def test_ctrl_c_at_a_question_stops_and_writes_nothing(presses: int, folder: Path, start: Start) -> None:
    terminal = start("new", "demo")
    for question in ("what does it investigate?", "Start from", "All answers")[:presses]:
        terminal.expect(question)
        terminal.press(ENTER)
    terminal.expect(("what does it investigate?", "Start from", "All answers")[presses])
    terminal.press(CTRL_C)
    terminal.expect("Stopped. Nothing was written.")
    assert terminal.end()[0] == 130
    assert not (folder / "demo").exists()


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_errors_are_coloured_on_a_terminal_that_wants_it(
    variables: dict[str, str], coloured: bool, start: Start
) -> None:
    terminal = start("new", "class", "--yes", **variables)
    terminal.expect("'class' cannot be the name of a project")
    assert terminal.end()[0] == 2
    assert terminal.coloured is coloured
