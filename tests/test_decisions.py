"""An update at a real terminal: what it asks, and that stopping it changes nothing."""

from __future__ import annotations

from test_interview import CTRL_C, DOWN, ENTER, Terminal
from workshop import QUESTIONS, Workshop
from workshop import workshop as workshop  # noqa: PLC0414 - a fixture

BACKSPACE = "\x7f"
FORMER = "licence: {type: str, help: Which licence?, default: MIT}\n"
TIGHTENED = """\
licence:
  type: str
  help: Which licence?
  default: MIT
  validator: "{% if licence not in ['MIT', 'BSD'] %}take MIT or BSD{% endif %}"
"""
CHOICES = "licence: {type: str, help: Which licence?, choices: [MIT, BSD], default: MIT}\n"


def tightened(workshop: Workshop, questions: str) -> None:
    workshop.release("v1", {"a.txt.jinja": "{{ licence }}\n"}, FORMER)
    workshop.release("v2", {"b.txt": "new\n"}, questions)
    workshop.generate({"licence": "Proprietary"})


def test_an_answer_that_is_not_taken_any_more_is_asked_for(workshop: Workshop) -> None:
    tightened(workshop, TIGHTENED)
    terminal = Terminal(workshop.root, "update", variables={})
    terminal.expect("take MIT or BSD")
    terminal.expect("Which licence?")
    terminal.press(*[BACKSPACE] * 3, "X", ENTER)
    terminal.expect("take MIT or BSD")
    terminal.press(BACKSPACE, "B", "S", "D", ENTER)
    assert terminal.end()[0] == 0
    assert workshop.read("a.txt") == "BSD\n"
    assert workshop.record()["licence"] == "BSD"


def test_a_choice_is_offered_among_those_that_are_left(workshop: Workshop) -> None:
    tightened(workshop, CHOICES)
    terminal = Terminal(workshop.root, "update", variables={})
    terminal.expect("Which licence?")
    terminal.press(DOWN, ENTER)
    assert terminal.end()[0] == 0
    assert workshop.read("a.txt") == "BSD\n"


def test_stopping_at_the_question_changes_nothing(workshop: Workshop) -> None:
    tightened(workshop, TIGHTENED)
    before = workshop.state()
    terminal = Terminal(workshop.root, "update", variables={})
    terminal.expect("Which licence?")
    terminal.press(CTRL_C)
    assert terminal.end()[0] == 130
    assert workshop.state() == before


def test_an_answer_without_a_question_is_given_up_only_when_a_person_says_so(workshop: Workshop) -> None:
    workshop.release("v1", {"a.txt.jinja": "{{ licence }}\n"}, FORMER)
    workshop.release("v2", {"a.txt.jinja": None, "a.txt": "none\n"}, QUESTIONS)
    workshop.generate({"licence": "BSD"})
    before = workshop.state()
    terminal = Terminal(workshop.root, "update", variables={})
    terminal.expect("your answer was BSD. Go on without it?")
    terminal.press("n")
    assert terminal.end()[0] == 3
    assert workshop.state() == before
    terminal = Terminal(workshop.root, "update", variables={})
    terminal.expect("Go on without it?")
    terminal.press("y")
    assert terminal.end()[0] == 0
    assert workshop.read("a.txt") == "none\n"
