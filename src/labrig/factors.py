"""Every file of every combination of answers, from pieces that are each rendered over the few answers they read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

from jinja2 import Template as JinjaTemplate
from jinja2 import TemplateError as JinjaError
from jinja2 import nodes

from .dependencies import Parsed, Reader, Reads
from .errors import TemplateError
from .render import RenderedFile, Source, Template, template_error
from .space import CONSTANTS, Point, Space

MOST_COMBINATIONS_OF_A_PIECE = 100_000
Wrap = Callable[[Sequence[nodes.Node]], list[nodes.Node]]  # puts nodes back into the `if`s that they stood in


@dataclass
class Piece:
    """Compiled Jinja and the names that it reads: rendered once for each distinct reading."""

    space: Space
    place: str
    names: tuple[str, ...]
    compiled: JinjaTemplate
    record: str | None = None  # the question whose line of the answers file this is
    known: dict[tuple[int, ...], str] = field(default_factory=dict)

    @property
    def axes(self) -> frozenset[str]:
        return self.space.axes_of(self.names)

    def text(self, point: Point) -> str:
        recorded = self._recorded(point)
        key = (len(recorded), *[self.space.token(name, point) for name in self.names])
        if key not in self.known:
            context = self.space.context(self.names, point)
            if self.record is not None:
                context["_copier_answers"] = recorded
            try:
                self.known[key] = self.compiled.render(context)
            except (JinjaError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
                raise template_error(error, self.place, self.space.template.root) from error
        return self.known[key]

    def _recorded(self, point: Point) -> dict[str, object]:
        """The recorded answers without all others: an answer is recorded when its question is asked."""
        name = self.record
        if name is None:
            return {}
        if name in self.space.constants:
            return {name: self.space.constants[name]}
        return {name: self.space.value(name, point)} if self.space.is_asked(name, point) else {}


@dataclass
class Part:
    """A stretch of one file: what stands there in each combination of the few answers that it depends on."""

    file: File
    place: str
    gates: tuple[Piece, ...]  # where one of them renders to nothing the part is left out
    piece: Piece | TemplateError

    @cached_property
    def axes(self) -> tuple[str, ...]:
        """The questions whose answers decide this text, in their order."""
        pieces = [*self.gates, *([self.piece] if isinstance(self.piece, Piece) else [])]
        return self.file.space.ordered(self.file.path_axes.union(*(piece.axes for piece in pieces)))

    @cached_property
    def _key(self) -> Callable[[Point], Point]:
        return self.file.space.getter(self.axes)

    @cached_property
    def _known(self) -> dict[Point, str]:
        return {}

    def text(self, point: Point) -> str:
        """The text in the combination `point`; nothing where the part or the whole file is left out."""
        key = self._key(point)
        if key not in self._known:
            try:
                self._known[key] = self._text(point)
            except TemplateError as error:
                raise self.file.space.shown(error, self.axes, self._text, point) from error
        return self._known[key]

    def _text(self, point: Point) -> str:
        if self.file.path(point) is None or not all(gate.text(point) for gate in self.gates):
            return ""
        if isinstance(self.piece, TemplateError):
            raise self.piece
        return self.piece.text(point)

    @cached_property
    def variants(self) -> dict[str, list[Point]]:
        """Every text that can stand here, with the combinations of `axes` that it stands for."""
        if self.file.space.size(self.axes) > MOST_COMBINATIONS_OF_A_PIECE:
            raise TemplateError(
                f"{self.place} depends on too many answers at once: {', '.join(self.axes)}",
                tip="split it into parts that each depend on a few",
            )
        found: dict[str, list[Point]] = {}
        for point in self.file.space.points(self.axes):
            if self.file.path(point) is not None:
                found.setdefault(self.text(point), []).append(point)
        return found

    def look(self) -> None:
        """Render every text that can stand here."""
        len(self.variants)


@dataclass(frozen=True)
class Nest:
    """What stands around a stretch of a file while it is split."""

    gates: tuple[Piece, ...] = ()  # the conditions of the including files
    wrap: Wrap = list  # those of this file
    files: tuple[str, ...] = ()  # the including files
    outer: frozenset[str] = frozenset()  # the names that they define


class File:
    """One file of the template: where it goes, and what it holds, in every combination of answers."""

    def __init__(self, space: Space, reader: Reader, source: Source) -> None:
        self.space = space
        self.source = source
        self.name = source.name
        self._reader = reader
        self._path_pieces = [self._path_piece(part) if "{" in part else part for part in source.parts]
        pieces = [piece for piece in self._path_pieces if isinstance(piece, Piece)]
        self.path_axes: frozenset[str] = frozenset().union(*(piece.axes for piece in pieces))
        self._path_key = space.getter(self.path_axes)
        self._paths: dict[Point, str | None] = {}
        self.parts: list[Part] = []
        self.verbatim: bytes | None = None
        if source.templated:
            self.parts = list(self._split_file(source.name, source.name, Nest()))
        else:
            self.verbatim = (space.template.root / source.name).read_bytes()

    @cached_property
    def axes(self) -> tuple[str, ...]:
        """The questions whose answers decide this file, in their order."""
        return self.space.ordered(self.path_axes.union(*(part.axes for part in self.parts)))

    def path(self, point: Point) -> str | None:
        """Where the file goes; None where it is left out."""
        key = self._path_key(point)
        if key not in self._paths:
            try:
                self._paths[key] = self._path(point)
            except TemplateError as error:
                raise self.space.shown(error, self.path_axes, self._path, point) from error
        return self._paths[key]

    def _path(self, point: Point) -> str | None:
        rendered: dict[str, str] = {}
        for part, piece in zip(self.source.parts, self._path_pieces, strict=True):
            rendered[part] = piece if isinstance(piece, str) else piece.text(point)
            if not rendered[part]:
                return None
        return self.space.template.path(self.source, rendered)

    def paths(self) -> dict[str, list[Point]]:
        """Every path that the file can have, with the combinations of answers that give it."""
        found: dict[str, list[Point]] = {}
        for point in self.space.points(self.path_axes):
            path = self.path(point)
            if path is not None:
                found.setdefault(path, []).append(point)
        return found

    def content(self, point: Point) -> bytes:
        """What the file holds in the combination `point`."""
        return "".join([part.text(point) for part in self.parts]).encode() if self.verbatim is None else self.verbatim

    # Splitting

    def _path_piece(self, text: str) -> Piece:
        parsed = self._reader.text(text, f"the path {self.source.name}")
        return self._piece(parsed, list(parsed.body))

    def _split_file(self, name: str, used_at: str, around: Nest) -> Iterator[Part]:
        """The parts of the file, or of one that it includes."""
        try:
            parsed = self._included(name, used_at, around)
        except TemplateError as error:
            yield Part(self, used_at, around.gates, error)
        else:
            outer = around.outer | parsed.definitions.keys()
            yield from self._split(parsed, parsed.body, replace(around, files=(*around.files, name), outer=outer))

    def _included(self, name: str, used_at: str, around: Nest) -> Parsed:
        parsed = self._reader.file(name, used_at)
        if name in around.files:
            raise TemplateError(f"{used_at} leads back to {name}, which includes itself")
        if borrowed := around.outer & self._reader.own_names(parsed):
            raise TemplateError(
                f"{used_at} includes {name}, which reads {min(borrowed)} from the file around it",
                cause="a part is rendered by itself, so it has to define or import what it uses",
            )
        if shadowed := parsed.definitions.keys() & self.space.template.all_questions.keys():
            answer = min(shadowed)
            raise TemplateError(f"{parsed.at(parsed.definitions[answer])} defines {answer}, which is a question")
        return parsed

    def _split(self, parsed: Parsed, body: Sequence[nodes.Node], around: Nest) -> Iterator[Part]:
        """The text of a list of nodes is the text of each, one after the other."""
        for node in body:
            try:
                yield from self._split_node(parsed, node, around)
            except TemplateError as error:
                yield Part(self, parsed.at(node), self._gates(parsed, around), error)

    def _split_node(self, parsed: Parsed, node: nodes.Node, around: Nest) -> Iterator[Part]:
        if isinstance(node, nodes.If):
            for branch, narrow in _branches(node):
                yield from self._split(parsed, branch, replace(around, wrap=_inside(around.wrap, narrow)))
        elif isinstance(node, nodes.Include) and node.with_context and not node.ignore_missing:
            name = node.template.value  # type: ignore[attr-defined]
            inner = replace(around, gates=self._gates(parsed, around), wrap=list)
            yield from self._split_file(name, parsed.at(node), inner)
        elif isinstance(node, nodes.Assign | nodes.AssignBlock | nodes.Macro | nodes.Import | nodes.FromImport):
            raise TemplateError(
                f"{parsed.at(node)} defines a name in a branch",
                cause="the text after it would depend on the condition without naming it",
                tip="define it at the top of the file, for every case",
            )
        elif _loops_over_answers(node):
            for name in sorted([*self.space.names, *self._recorded_constants()], key=str.lower):
                yield Part(self, parsed.at(node), around.gates, self._piece(parsed, around.wrap([node]), record=name))
        else:
            yield Part(self, parsed.at(node), around.gates, self._piece(parsed, around.wrap([node])))

    def _gates(self, parsed: Parsed, around: Nest) -> tuple[Piece, ...]:
        """What decides whether the text in these `if`s is reached."""
        if around.wrap is list:
            return around.gates
        try:
            return (
                *around.gates,
                self._piece(parsed, around.wrap([nodes.Output([nodes.TemplateData("on")], lineno=1)])),
            )
        except TemplateError:
            return around.gates  # the condition itself is wrong: it is reported where it stands

    def _recorded_constants(self) -> list[str]:
        return [name for name in self.space.constants if name not in CONSTANTS]

    def _piece(self, parsed: Parsed, body: list[nodes.Node], record: str | None = None) -> Piece:
        reads = self._known_names(self._reader.reads(parsed, body), record)
        tree = nodes.Template([*self._reader.prelude(parsed, body), *body], lineno=1)
        tree.set_environment(self._reader.environment)
        environment = self._reader.environment
        filename = str(self.space.template.root / parsed.place)
        compiled = JinjaTemplate.from_code(
            environment, environment.compile(tree, parsed.place, filename), environment.globals
        )
        return Piece(self.space, parsed.place, tuple(sorted(reads)), compiled, record)

    def _known_names(self, reads: Reads, record: str | None) -> set[str]:
        questions = self.space.template.all_questions
        for name, place in reads.items():
            if name in questions or name in self.space.constants or (name == "_copier_answers" and record is not None):
                continue
            if name == "_copier_answers":
                cause = "what depends on every answer cannot be proven"
                raise TemplateError(
                    f"{place} reads {name}", cause=cause, tip="only `for key, value in _copier_answers | dictsort` may"
                )
            raise TemplateError(f"{place} reads {name}, which is no question")
        own = {record} if record in questions else set()
        return {name for name in reads if name in questions} | {name for name in own if name is not None}


class Factors:
    """A template, taken apart so that every combination of answers can be looked at."""

    def __init__(self, template: Template, *, constants: Mapping[str, Any] | None = None) -> None:
        """`constants` is what a run of the generator adds to the answers: `_src_path`, `_commit`."""
        self.template = template
        self.reader = Reader(template.environment, template.root)
        self.space = Space(template, self.reader)
        self.space.constants.update(constants or {})
        self.files = tuple(File(self.space, self.reader, source) for source in template.sources)

    def render(self, point: Point) -> dict[str, RenderedFile]:
        """Every file of one combination, put together from its parts: what `Template.render` gives."""
        files: dict[str, RenderedFile] = {}
        for file in self.files:
            path = file.path(point)
            if path is None:
                continue
            if path in files:
                raise TemplateError(f"two files write {path}", cause=f"the second is {file.name}")
            files[path] = RenderedFile(file.content(point), file.source.executable)
        return dict(sorted(files.items()))

    def problems(self) -> list[TemplateError]:
        """Everything that keeps a combination of answers from being rendered, each shown with the smallest one."""
        found: dict[str, TemplateError] = {}
        looks: list[Callable[[], object]] = [partial(self.space.look, name) for name in self.template.all_questions]
        looks += [look for file in self.files for look in (file.paths, *(part.look for part in file.parts))]
        for look in looks:
            try:
                look()
            except TemplateError as error:
                found.setdefault(f"{error.message} {error.cause}", error)
        return list(found.values())


def _branches(node: nodes.If) -> Iterator[tuple[Sequence[nodes.Node], Wrap]]:
    """Each branch of an `if`, and the way to put a part of it back: into the same `if` with all else left out."""
    tests = [node, *node.elif_]
    for number, branch in enumerate(tests):

        def narrow(inner: Sequence[nodes.Node], number: int = number) -> list[nodes.Node]:
            kept = [
                nodes.If(other.test, list(inner) if index == number else [], [], [], lineno=other.lineno)
                for index, other in enumerate(tests[: number + 1])
            ]
            return [nodes.If(kept[0].test, kept[0].body, kept[1:], [], lineno=node.lineno)]

        yield branch.body, narrow

    def otherwise(inner: Sequence[nodes.Node]) -> list[nodes.Node]:
        empty = [nodes.If(other.test, [], [], [], lineno=other.lineno) for other in tests]
        return [nodes.If(empty[0].test, [], empty[1:], list(inner), lineno=node.lineno)]

    yield node.else_, otherwise


def _inside(outer: Wrap, inner: Wrap) -> Wrap:
    return lambda body: outer(inner(body))


def _loops_over_answers(node: nodes.Node) -> bool:
    """Whether this is `{% for key, value in _copier_answers | dictsort %}`: each turn depends on one answer."""
    if (
        not isinstance(node, nodes.For)
        or node.test
        or node.else_
        or node.recursive
        or not isinstance(node.iter, nodes.Filter)
    ):
        return False
    sorting, target = node.iter, node.target
    plain = sorting.name == "dictsort" and not sorting.args and not sorting.kwargs
    over_answers = isinstance(sorting.node, nodes.Name) and sorting.node.name == "_copier_answers"
    names = {name.name for item in node.body for name in item.find_all(nodes.Name)}
    return plain and over_answers and isinstance(target, nodes.Tuple) and not names & {"loop", "_copier_answers"}
