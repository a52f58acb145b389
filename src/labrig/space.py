"""The combinations of answers that a template allows: listed for a few questions, counted and completed for all."""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from operator import itemgetter
from typing import Any

from .dependencies import Parsed, Reader, Reads
from .errors import AnswerError, TemplateError
from .questions import MISSING, Question
from .render import ANSWERS_FILE, Template

# What a question that takes any text is tried with, as far as its validator agrees. The first is the usual one.
TEXTS = (
    "my-experiment",
    "",
    "a \"quoted\" 'text' with \\ and \\n",
    "{{ framework }} {% raw %} {# ${{ x }} $(id) `id` %PATH%",
    "my_experiment",
    "Grüße, 研究 🧪",
    "- key: [value] # comment | > & * ! @",
    "null",
    "1.10",
    "A.b-c_1",
    "ab",
    "x" * 39,
    "x" * 300,
    "ada@example.org",
    "https://example.org/ada/my-experiment",
)
NUMBERS = {"int": (1, 0, -1, 2, 1000), "float": (1.0, 0.0, -1.0, 0.5, 1e-9)}
FOLDER_NAME = TEXTS[0]  # where the repository would be created: it suggests the project's name

UNASKED = -1  # the earlier answers leave no room for the question
OPEN = -2  # not decided
Point = tuple[int, ...]  # for each question in their order: the number of its value in `domains`, UNASKED or OPEN

MOST_CHOICES_OF_MANY = 8
CONSTANTS = {"_copier_conf"}


class Space:
    """The answers to the questions of one template."""

    def __init__(self, template: Template, reader: Reader) -> None:
        self.template = template
        self.reader = reader
        self.constants: dict[str, Any] = {"_copier_conf": {"answers_file": ANSWERS_FILE, "vcs_ref_hash": None}}
        self.names = tuple(template.questions)
        self._position = {name: number for number, name in enumerate(self.names)}
        self._parsed: dict[tuple[str, str], Parsed] = {}
        self._axes: dict[str, frozenset[str]] = {}
        self._limits: dict[str, Reads] = {}
        self._values: dict[str, dict[Point, tuple[object, int]]] = {name: {} for name in template.all_questions}
        self._tokens: dict[str, int] = {}
        self._options: dict[str, dict[Point, tuple[int, ...]]] = {name: {} for name in self.names}
        self._usual: dict[str, dict[Point, int]] = {name: {} for name in self.names}
        self._points: dict[tuple[str, ...], tuple[Point, ...]] = {}
        self._unneeded: dict[tuple[str, ...], list[list[int]]] = {}
        self._explaining = False
        if hidden := sorted(set(template.all_questions) & set(reader.environment.globals)):
            raise TemplateError(
                f"{self.place(hidden[0])}: the question {hidden[0]} has the name of a function of Jinja",
                cause="whether a text reads the answer or the function could not be told",
            )
        self.domains = {name: tuple(self._domain(template.questions[name])) for name in self.names}
        self.start: Point = (OPEN,) * len(self.names)
        self._getters: dict[str, Callable[[Sequence[int]], Point]] = {}
        for name in template.all_questions:
            self._getters[name] = self.getter(self.axes_of([name]))
        self._limit_getters = {name: self.getter(self.axes_of(self.limits(name)) - {name}) for name in self.names}
        self._usual_getters = {
            name: self.getter(self.axes_of(self._suggestion_reads(name)) - {name}) for name in self.names
        }

    # What depends on what

    def place(self, name: str) -> str:
        """Where a question is written, as file:line."""
        return self._places.get(name, "copier.yml")

    @cached_property
    def _places(self) -> dict[str, str]:
        root = self.template.root
        text = (root / "copier.yml").read_text(encoding="utf-8")
        found: dict[str, str] = {}
        for file in ["copier.yml", *re.findall(r"^!include (\S+)", text, re.MULTILINE)]:
            for number, line in enumerate((root / file).read_text(encoding="utf-8").splitlines(), 1):
                if name := re.match(r"(\w+)\s*:", line):
                    found.setdefault(name[1], f"{file}:{number}")
        return found

    def is_text(self, name: str) -> bool:
        """Whether the question takes any text or number, so that its values here are samples."""
        question = self.template.questions[name]
        return not question.choices and question.type != "bool"

    def is_asked(self, name: str, point: Point) -> bool:
        """Whether the other answers leave room for the question."""
        return point[self._position[name]] >= 0

    def axes_of(self, names: Iterable[str]) -> frozenset[str]:
        """The questions whose answers decide the values of these names."""
        found: frozenset[str] = frozenset()
        for name in names:
            if name not in self.template.all_questions:
                continue
            if name not in self._axes:
                self._axes[name] = frozenset()  # what a question reads comes before it
                own = frozenset() if self.template.all_questions[name].hidden else frozenset([name])
                self._axes[name] = own | self.axes_of(self.value_reads(name))
            found |= self._axes[name]
        return found

    def ordered(self, axes: Iterable[str]) -> tuple[str, ...]:
        """The same questions, in the order they are asked."""
        return tuple(sorted(axes, key=self._position.__getitem__))

    def value_reads(self, name: str) -> Reads:
        """What the value of a question depends on, beside its own answer."""
        question = self.template.all_questions[name]
        fields: dict[str, object] = {"when": question.when}
        if question.when is not True:
            fields["default"] = question.default
            fields |= self._choice_fields(question)
        return self._field_reads(question, fields)

    def limits(self, name: str) -> Reads:
        """What decides whether a question is asked, and which answers it takes."""
        if name not in self._limits:
            question = self.template.all_questions[name]
            fields = {"when": question.when, "validator": question.validator, **self._choice_fields(question)}
            reads = self._field_reads(question, fields)
            self._limits[name] = {key: place for key, place in reads.items() if key != name}
        return self._limits[name]

    def _suggestion_reads(self, name: str) -> Reads:
        question = self.template.all_questions[name]
        found = self._field_reads(question, {"default": question.default}, former=True)
        return {**found, **self.limits(name)}

    @staticmethod
    def _choice_fields(question: Question) -> dict[str, object]:
        return {f"choice {choice.label}": choice.validator for choice in question.choices}

    def _field_reads(self, question: Question, fields: Mapping[str, object], *, former: bool = False) -> Reads:
        found: dict[str, str] = {}
        for field, value in fields.items():
            for text in _texts(value):
                found |= self.reader.reads(self._parse(question.name, field, text))
        earlier = list(itertools.takewhile(lambda other: other != question.name, self.template.all_questions))
        allowed = {*earlier, question.name, *CONSTANTS, *({"_folder_name"} if former else ())}
        for key, place in found.items():
            later = key in self.template.all_questions
            # A question that was renamed takes over the answer to its former name: {{ former | default(...) }}.
            if key not in allowed and (later or not former):
                raise TemplateError(
                    f"{place} reads {key}{', which is asked later' if later else ''}",
                    cause=f"the question {question.name} may read the questions before it",
                )
        return found

    def _parse(self, name: str, field: str, text: str) -> Parsed:
        if (name, text) not in self._parsed:
            self._parsed[name, text] = self.reader.text(text, f"{self.place(name)}, the question {name}, {field}")
        return self._parsed[name, text]

    # Values

    def _domain(self, question: Question) -> Iterator[object]:
        if question.type == "bool":
            yield from (False, True)
        elif question.choices:
            values = [choice.value for choice in question.choices]
            if any(isinstance(value, str) and "{" in value for value in values):
                raise TemplateError(
                    f"{self.place(question.name)}: a choice of the question {question.name} is computed"
                )
            if not question.many:
                yield from (question.parse(value) for value in values)
            elif len(values) > MOST_CHOICES_OF_MANY:
                raise TemplateError(
                    f"{self.place(question.name)}: {len(values)} choices of {question.name} can be combined",
                    cause=f"at most {MOST_CHOICES_OF_MANY} can be proven in every combination",
                )
            else:
                for size in range(len(values) + 1):
                    yield from (question.parse(list(some)) for some in itertools.combinations(values, size))
        else:
            samples: Sequence[object] = NUMBERS.get(question.type, TEXTS)
            if question.type in {"yaml", "json"}:
                samples = ()
            default = question.default
            plain = default if default is not MISSING and not any("{" in text for text in _texts(default)) else MISSING
            yield from dict.fromkeys([*samples, *([] if plain is MISSING else [question.parse(plain)])])

    def getter(self, axes: Iterable[str]) -> Callable[[Sequence[int]], Point]:
        """A function that takes the numbers of these questions out of a point."""
        positions = sorted(self._position[name] for name in axes)
        if not positions:
            return lambda _: ()
        if len(positions) == 1:
            only = positions[0]
            return lambda point: (point[only],)
        return itemgetter(*positions)

    def value(self, name: str, point: Sequence[int]) -> object:
        """What a question or a hidden value is worth; MISSING when it is worth nothing."""
        return self._evaluate(name, point)[0]

    def token(self, name: str, point: Sequence[int]) -> int:
        """A number that is the same for equal values."""
        return self._evaluate(name, point)[1]

    def _evaluate(self, name: str, point: Sequence[int]) -> tuple[object, int]:
        known = self._values[name]
        key = self._getters[name](point)
        if key not in known:
            question = self.template.all_questions[name]
            index = UNASKED if question.hidden else point[self._position[name]]
            if index == OPEN:
                raise ValueError(f"{name} is not decided")
            value = self._computed(question, point) if index == UNASKED else self.domains[name][index]
            text = f"{type(value).__name__} {value!r}"
            known[key] = value, self._tokens.setdefault(text, len(self._tokens))
        return known[key]

    def _computed(self, question: Question, point: Sequence[int]) -> object:
        try:
            return self.template.computed(question, self.context(self.value_reads(question.name), point))
        except TemplateError as error:
            message = f"{self.place(question.name)}: {error.message}"
            failing = TemplateError(message, cause=error.cause, tip=error.tip)
            raise self.shown(
                failing, self.axes_of([question.name]), lambda other: self._computed(question, other), point
            ) from error

    def context(self, names: Iterable[str], point: Sequence[int]) -> dict[str, Any]:
        """What Jinja is given to read these names."""
        context = dict(self.constants)
        for name in names:
            if name in self._values:
                value = self.value(name, point)
                if value is not MISSING:
                    context[name] = value
        return context

    # Legal combinations

    def options(self, name: str, point: Sequence[int]) -> tuple[int, ...]:
        """The numbers of the values that a question takes after the answers of `point`."""
        known = self._options[name]
        key = self._limit_getters[name](point)
        if key not in known:
            try:
                known[key] = tuple(self._legal_options(self.template.questions[name], point))
            except TemplateError as error:
                answers = self._words(self.axes_of(self.limits(name)) - {name}, point)
                raise TemplateError(
                    f"{self.place(name)}: {error.message}", cause=error.cause, tip=f"it shows with {answers}"
                ) from error
        return known[key]

    def _legal_options(self, question: Question, point: Sequence[int]) -> Iterator[int]:
        context = self.context(self.limits(question.name), point)
        if not self.template.applies(question, context):
            yield UNASKED
            return
        taken = 0
        for index, value in enumerate(self.domains[question.name]):
            try:
                self.template.take(question, value, dict(context))
            except AnswerError:
                continue
            yield index
            taken += 1
        if not taken:
            raise TemplateError(
                f"the question {question.name} has no answer left", cause="its validators refuse every choice"
            )

    def points(self, axes: Iterable[str]) -> tuple[Point, ...]:
        """Every legal combination of the answers to some questions; the others stay open.

        Legal is what can be completed. A question is limited by questions before it and never left without an answer
        (`options` refuses that), so it is enough to respect the limits of these questions and of those that limit them.
        """
        wanted = self.ordered(axes)
        if wanted not in self._points:
            self._points[wanted] = self.legal(wanted, {})
        return self._points[wanted]

    def legal(self, axes: Iterable[str], among: Mapping[str, Container[int]]) -> tuple[Point, ...]:
        """The same with some of the answers alone, by question: the numbers of their values."""
        wanted = self.ordered(axes)
        closed = self.closure(wanted)
        kept = {self._position[name] for name in wanted}
        points = [self.start]
        for name, forgotten in zip(closed, self._forgotten(closed), strict=True):
            position = self._position[name]
            points = [
                (*point[:position], index, *point[position + 1 :])
                for point in points
                for index in self.options(name, point)
                if name not in among or index in among[name]
            ]
            if dropped := [number for number in forgotten if number not in kept]:
                points = list(dict.fromkeys(_opened(point, dropped) for point in points))
        return tuple(points)

    def closure(self, axes: Iterable[str]) -> tuple[str, ...]:
        """The questions with those that limit them, in their order."""
        found: set[str] = set()
        waiting = set(axes)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting |= self.axes_of(self.limits(name)) | self.axes_of([name])
        return self.ordered(found)

    def size(self, axes: Iterable[str]) -> int:
        """How many combinations of answers these questions and those that limit them have."""
        return self._amounts(self.closure(axes), {}, ()).total()

    def count(self, point: Point | None = None) -> int:
        """How many combinations of all answers agree with `point`. A text counts once, whatever it says."""
        fixed = zip(self.names, self.start if point is None else point, strict=True)
        return self.counts((), {name: {index} for name, index in fixed if index != OPEN}).total()

    def counts(self, axes: Iterable[str], among: Mapping[str, Container[int]]) -> Counter[Point]:
        """How many combinations of all answers each legal one of these questions stands for.

        Only some of the answers are taken, by question: the numbers of their values. A text counts once.
        """
        return self._amounts(self.names, among, [name for name in self.names if self.is_text(name)], axes)

    def _amounts(
        self, names: Sequence[str], among: Mapping[str, Container[int]], once: Sequence[str], axes: Iterable[str] = ()
    ) -> Counter[Point]:
        """Counts question by question, and forgets an answer as soon as no later question is limited by it."""
        kept = {self._position[name] for name in axes}
        states: Counter[Point] = Counter([self.start])
        for name, unneeded in zip(names, self._forgotten(tuple(names)), strict=True):
            number = self._position[name]
            forgotten = [position for position in unneeded if position not in kept]
            following: Counter[Point] = Counter()
            for state, amount in states.items():
                options = [index for index in self.options(name, state) if name not in among or index in among[name]]
                left = list(_opened(state, forgotten))
                for index in options[:1] if name in once else options:
                    left[number] = OPEN if number in forgotten else index
                    following[tuple(left)] += amount
            states = following
        return states

    def _forgotten(self, names: tuple[str, ...]) -> list[list[int]]:
        """The positions of the answers that limit no later question, for each of these questions."""
        if names not in self._unneeded:
            limits = [self.axes_of(self.limits(name)) for name in names]
            self._unneeded[names] = [
                [self._position[axis] for axis in names[:step] if axis not in frozenset().union(*limits[step:])]
                for step in range(1, len(names) + 1)
            ]
        return self._unneeded[names]

    def complete(self, point: Point | None = None, chance: random.Random | None = None) -> Point | None:
        """A legal combination of all answers that agrees with `point`: the usual answers, or random ones."""
        state = list(self.start if point is None else point)
        return tuple(state) if self._complete(state, 0, chance) is None else None

    def _complete(self, state: list[int], number: int, chance: random.Random | None) -> frozenset[str] | None:
        """Decides every open answer from `number` on. If that cannot be done: the questions that are in the way."""
        if number == len(state):
            return None
        name = self.names[number]
        options = self.options(name, state)
        if state[number] != OPEN:
            fits = state[number] in options
            return self._complete(state, number + 1, chance) if fits else self.axes_of(self.limits(name))
        first = int(chance.random() * len(options)) if chance else options.index(self.usual(name, state))
        blamed = self.axes_of(self.limits(name))
        for index in (*options[first:], *options[:first]):
            state[number] = index
            found = self._complete(state, number + 1, chance)
            if found is None:
                return None
            blamed |= found
            if name not in found:
                break  # no other answer here would help
        state[number] = OPEN
        return blamed

    def usual(self, name: str, point: Sequence[int]) -> int:
        """The number of the value that a question suggests; of its first one where its suggestion has no number."""
        known = self._usual[name]
        key = self._usual_getters[name](point)
        if key not in known:
            options = self.options(name, point)
            question = self.template.questions[name]
            known[key] = options[0]
            if options != (UNASKED,):
                context = {**self.context(self._suggestion_reads(name), point), "_folder_name": FOLDER_NAME}
                try:
                    value = self.template.suggested(question, context)
                except AnswerError:
                    value = MISSING  # `look` reports it
                values = self.domains[name]
                known[key] = next((index for index in options if values[index] == value), options[0])
        return known[key]

    def look(self, name: str) -> None:
        """Compute a hidden value, and take what a question suggests, after all answers that it can come after.

        Raises TemplateError where that fails, or where the question refuses what it suggests. The name of a folder is a
        wish, and may be refused.
        """
        reads = self._suggestion_reads(name)
        if name not in self.template.questions:
            for point in self.points(self.axes_of([name])):
                self.value(name, point)
        elif "_folder_name" not in reads:
            axes = self.axes_of(reads) - {name}
            for point in self.points(axes):
                try:
                    self._take_suggestion(name, point)
                except TemplateError as error:
                    raise self.shown(error, axes, lambda other: self._take_suggestion(name, other), point) from error

    def _take_suggestion(self, name: str, point: Point) -> None:
        if self.options(name, point) == (UNASKED,):
            return
        question = self.template.questions[name]
        try:
            self.template.suggested(question, self.context(self._suggestion_reads(name), point))
        except AnswerError as error:
            raise TemplateError(
                f"{self.place(name)}: the question {name} refuses its own default", cause=error.cause or error.message
            ) from error

    # For people

    def given(self, point: Point) -> dict[str, object]:
        """The answers that somebody has to give to get to `point`: those that are not suggested anyway."""
        return {
            name: self.domains[name][index]
            for number, (name, index) in enumerate(zip(self.names, point, strict=True))
            if index >= 0 and index != self.usual(name, (*point[:number], *self.start[number:]))
        }

    def answers(self, point: Point) -> dict[str, object]:
        """The answers that `point` decides."""
        return {name: self.domains[name][index] for name, index in zip(self.names, point, strict=True) if index >= 0}

    def shown(
        self, error: TemplateError, axes: Iterable[str], attempt: Callable[[Point], object], point: Sequence[int]
    ) -> TemplateError:
        """The error with the smallest combination that shows it: the fewest answers that are not suggested anyway."""
        if self._explaining or (error.tip or "").startswith("it shows"):
            return error
        self._explaining = True
        failing = [tuple(point)]
        try:
            for other in self.points(axes):
                try:
                    attempt(other)
                except TemplateError as found:
                    if found.cause == error.cause:
                        failing.append(other)
            given = min((self._shortest(other) for other in failing), key=len)
        except TemplateError:
            given = self.answers(tuple(point))  # the error keeps the questions themselves from being answered
        finally:
            self._explaining = False
        words = " ".join(
            f"{name}={value!r}" if isinstance(value, str) and not value.isalnum() else f"{name}={value}"
            for name, value in given.items()
        )
        return TemplateError(error.message, cause=error.cause, tip=f"it shows with {words or 'the suggested answers'}")

    def _shortest(self, point: Point) -> dict[str, object]:
        full = self.complete(point)
        return self.given(full) if full else self.answers(point)

    def _words(self, axes: Iterable[str], point: Sequence[int]) -> str:
        return " ".join(f"{name}={self.value(name, point)}" for name in self.ordered(axes)) or "any answers"

    @cached_property
    def total(self) -> int:
        """How many combinations of all answers there are; a text counts once."""
        return self.count()

    def samples(self, seed: int) -> Iterator[Point]:
        """Random combinations of all answers, without end."""
        chance = random.Random(seed)  # noqa: S311 - nothing secret
        while True:
            point = self.complete(chance=chance)
            if point is None:
                raise TemplateError("no combination of answers is allowed")
            yield point


def _opened(point: Point, positions: Iterable[int]) -> Point:
    found = list(point)
    for position in positions:
        found[position] = OPEN
    return tuple(found)


def _texts(value: object) -> Iterator[str]:
    """The texts in a field of a question that are templates."""
    if isinstance(value, str):
        if "{" in value:
            yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
