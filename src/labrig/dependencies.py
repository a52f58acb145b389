"""Which names a piece of Jinja reads, through includes and imported macros; what cannot be told is refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, TemplateNotFound, TemplateSyntaxError, meta, nodes

from .errors import TemplateError

# Objects that change while they are used: a part that used one would depend on the parts before it.
STATEFUL = {"cycler", "joiner", "namespace"}

Reads = Mapping[str, str]  # a name to the place where it is read, as file:line
Definitions = Mapping[str, nodes.Node]


@dataclass(frozen=True)
class Parsed:
    """One file or text of the template."""

    place: str  # the file, or what the text is
    body: tuple[nodes.Node, ...]
    definitions: Definitions  # what its top level defines: macros, imports, variables

    def at(self, node: nodes.Node) -> str:
        """The place of a node, for error messages."""
        return f"{self.place}:{node.lineno}"


class Reader:
    """Reads the files of one template, each once."""

    def __init__(self, environment: Environment, root: Path) -> None:
        self.environment = environment
        self.root = root
        self._files: dict[str, Parsed | TemplateError] = {}
        self._reads: dict[tuple[str, str], Reads | None] = {}
        self._names: dict[
            int, tuple[nodes.Node, Mapping[str, int]]
        ] = {}  # by id: the node is kept, so its id stays its own

    def file(self, name: str, used_at: str) -> Parsed:
        """A file of the template, which is named in the line `used_at`."""
        if name not in self._files:
            try:
                text, _, _ = self.environment.loader.get_source(self.environment, name)  # type: ignore[union-attr]
                self._files[name] = self.text(text, name)
            except TemplateError as error:
                self._files[name] = error
            except TemplateNotFound:
                raise TemplateError(f"{used_at} names the file {name}, which does not exist") from None
        parsed = self._files[name]
        if isinstance(parsed, TemplateError):
            raise TemplateError(parsed.message, cause=parsed.cause)
        return parsed

    def text(self, text: str, place: str) -> Parsed:
        """A text of the template: of a file, a part of a path, or a field of a question."""
        try:
            tree = self.environment.parse(text, place)
        except TemplateSyntaxError as error:
            raise TemplateError(f"{place}:{error.lineno} is not Jinja", cause=error.message) from error
        definitions: dict[str, nodes.Node] = {}
        body: list[nodes.Node] = []
        for node in tree.body:
            names = list(_defined(node))
            for name, definition in names:
                if name in definitions:
                    raise TemplateError(f"{place}:{node.lineno} defines {name} a second time")
                definitions[name] = definition
            if not names:
                body.append(node)
        parsed = Parsed(place, tuple(body), definitions)
        self._check(parsed, tree)
        return parsed

    def reads(self, parsed: Parsed, piece: Sequence[nodes.Node] | None = None) -> Reads:
        """The answers and hidden values that a piece of the text reads, or all of it."""
        whole = parsed.body if piece is None else piece
        return self._free(parsed, [*self.prelude(parsed, whole), *whole])

    def prelude(self, parsed: Parsed, piece: Iterable[nodes.Node]) -> list[nodes.Node]:
        """The definitions that a piece of the text needs, in their order."""
        needed: set[str] = set()
        waiting = list(piece)
        while waiting:
            names = self._undeclared(waiting.pop()).keys() & parsed.definitions.keys()
            waiting += [parsed.definitions[name] for name in names - needed]
            needed |= names
        return [node for name, node in parsed.definitions.items() if name in needed]

    def own_names(self, parsed: Parsed) -> set[str]:
        """The names that a text reads itself, without what it includes or imports."""
        nodes_of_text = [*parsed.body, *parsed.definitions.values()]
        return {name for node in nodes_of_text for name in self._undeclared(node)} - parsed.definitions.keys()

    def _free(self, parsed: Parsed, piece: Sequence[nodes.Node]) -> Reads:
        found = {
            name: f"{parsed.place}:{line}"
            for node in piece
            for name, line in self._undeclared(node).items()
            if name not in parsed.definitions
        }
        for node in _find_all(piece, (nodes.Include, nodes.Import, nodes.FromImport)):
            name = _constant(node)
            found = {**self._of_reference(node, name, parsed), **found}
        return found

    def _undeclared(self, node: nodes.Node) -> Mapping[str, int]:
        """The names that a node reads and does not define itself, each with a line."""
        if id(node) not in self._names:
            tree = nodes.Template([node], lineno=1)
            tree.set_environment(self.environment)
            names = meta.find_undeclared_variables(tree)
            lines = {name.name: name.lineno for name in tree.find_all(nodes.Name)} if names else {}
            self._names[id(node)] = node, {name: lines.get(name, node.lineno) for name in names}
        return self._names[id(node)][1]

    def _of_reference(self, node: nodes.Node, name: str, parsed: Parsed) -> Reads:
        if isinstance(node, nodes.Include):
            found = self._once(name, "", parsed.at(node))
            hidden = found.keys() & parsed.definitions.keys()
        elif isinstance(node, nodes.FromImport):
            wanted = [item if isinstance(item, str) else item[0] for item in node.names]
            found = {key: at for macro in wanted for key, at in self._once(name, macro, parsed.at(node)).items()}
            hidden = set()
        else:
            found = self._once(name, "*", parsed.at(node))
            hidden = set()
        if hidden:
            raise TemplateError(
                f"{parsed.at(node)} includes {name}, which reads {min(hidden)} from the file around it",
                cause="a part is rendered by itself, so it has to define or import what it uses",
            )
        if found and not node.with_context:  # type: ignore[attr-defined]
            read, place = next(iter(found.items()))
            raise TemplateError(
                f"{parsed.at(node)} uses {name} without context, and {place} reads {read}",
                tip="write `with context`",
            )
        return found

    def _once(self, name: str, macro: str, used_at: str) -> Reads:
        """What a file reads: all of it (""), with every definition ("*"), or with one macro."""
        key = (name, macro)
        if key not in self._reads:
            self._reads[key] = None  # being read
            parsed = self.file(name, used_at)
            if macro and macro != "*" and macro not in parsed.definitions:
                del self._reads[key]
                raise TemplateError(f"{used_at} imports {macro}, which {name} does not define")
            definitions = {"": [], "*": list(parsed.definitions.values())}.get(macro) or [
                node for defined, node in parsed.definitions.items() if defined == macro
            ]
            variables = (
                [node for node in parsed.definitions.values() if not isinstance(node, nodes.Macro)] if macro else []
            )
            piece = list({id(node): node for node in [*parsed.body, *variables, *definitions]}.values())
            self._reads[key] = self.reads(parsed, piece)
        found = self._reads[key]
        if found is None:
            raise TemplateError(f"{used_at} leads back to {name}, which includes itself")
        return found

    def _check(self, parsed: Parsed, tree: nodes.Template) -> None:
        for node in tree.find_all((nodes.Extends, nodes.Block)):
            raise TemplateError(f"{parsed.at(node)} uses inheritance", tip="include a part instead")
        for node in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport)):
            if not _constant(node):
                raise TemplateError(
                    f"{parsed.at(node)} includes a file whose name is computed",
                    cause="which answers the text depends on could not be told",
                    tip="include each file by its name, under an `if`",
                )
        for called in tree.find_all(nodes.Filter):
            self._known("filter", called.name, self.environment.filters, parsed.at(called))
        for test in tree.find_all(nodes.Test):
            self._known("test", test.name, self.environment.tests, parsed.at(test))
        macros = {id(name) for macro in tree.find_all(nodes.Macro) for name in macro.find_all(nodes.Name)}
        for name in tree.find_all(nodes.Name):
            if name.name in STATEFUL and id(name) not in macros:
                raise TemplateError(
                    f"{parsed.at(name)} uses {name.name}", cause="one part of a text would depend on what others did"
                )

    @staticmethod
    def _known(kind: str, name: str, known: Mapping[str, object], place: str) -> None:
        if name not in known:
            raise TemplateError(
                f"{place} uses the {kind} {name}, which plain Jinja does not have",
                cause="a template may depend on the answers alone: not on the machine, the time or chance",
            )


def _defined(node: nodes.Node) -> Iterator[tuple[str, nodes.Node]]:
    """The names that a node of the top level defines, each with what defines it alone."""
    if isinstance(node, nodes.FromImport):
        for item in node.names:
            alone = nodes.FromImport(node.template, [item], node.with_context, lineno=node.lineno)
            yield (item if isinstance(item, str) else item[1]), alone
    elif isinstance(node, nodes.Import):
        yield node.target, node
    elif isinstance(node, nodes.Macro):
        yield node.name, node
    elif isinstance(node, nodes.Assign | nodes.AssignBlock):
        for name in node.target.find_all(nodes.Name) if not isinstance(node.target, nodes.Name) else [node.target]:
            yield name.name, node


def _constant(node: nodes.Node) -> str:
    """The file that an include or import names, or "" when that is computed."""
    name = node.template  # type: ignore[attr-defined]
    return name.value if isinstance(name, nodes.Const) and isinstance(name.value, str) else ""


def _find_all(piece: Iterable[nodes.Node], kinds: tuple[type[nodes.Node], ...]) -> Iterator[nodes.Node]:
    for node in piece:
        if isinstance(node, kinds):
            yield node
        yield from node.find_all(kinds)
