"""YAML text to a tree of nodes that know where they stand: our own loader over PyYAML's event stream.

The language is YAML 1.2 with its core schema, less what a configuration file is better without: tags, %TAG
directives, further documents, keys that are not plain text. Anchors, aliases and the merge key `<<` are understood;
a cycle, or a tree that grows beyond its caps once aliases are followed, is refused. The stack is ours, so no depth of
nesting reaches Python's own limit, and nothing is constructed that was not counted first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn, Protocol

import yaml
from yaml import events

from powerd.catalog.problems import Problems, quote
from powerd.catalog.scalars import Plain, resolve
from powerd.catalog.spec import Position

#: Characters of text; the same limit holds for the file's bytes.
MAX_TEXT = 1024 * 1024
#: Collections inside each other, aliases followed.
MAX_DEPTH = 32
#: Nodes once every alias is written out: ten thousand models of a few fields each stay below it.
MAX_NODES = 200_000

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
#: YAML 1.2.2 section 5.1: the characters a stream may hold; a byte order mark may only begin it.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
#: libyaml compares every %TAG with all earlier ones: a file of nothing else would take a minute.
_DIRECTIVE = re.compile(r"^%TAG\b", re.MULTILINE)
#: What escapes inside double quotes can produce and neither a path nor UTF-8 can carry.
_UNFIT = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value; `text` is what was written, unquoted, `plain` says that it stood without quotes."""

    at: Position
    value: Plain
    text: str
    plain: bool


@dataclass(frozen=True, slots=True)
class Items:
    """A sequence."""

    at: Position
    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a mapping, as text, and its value; `at` is the key's position."""

    key: str
    at: Position
    node: Node


@dataclass(frozen=True, slots=True)
class Block:
    """A mapping: its own entries in order, then those it took over with `<<`. No key occurs twice."""

    at: Position
    entries: tuple[Entry, ...]


Node = Scalar | Items | Block


@dataclass(slots=True)
class Caps:
    """How much was read already; files that are read as one share it."""

    whose: str = "the file"
    characters: int = 0
    nodes: int = 0  # aliases followed

    @property
    def passed(self) -> bool:
        """Whether nothing more can be read."""
        return self.characters > MAX_TEXT or self.nodes > MAX_NODES


def load(text: str, file: str, problems: Problems, caps: Caps | None = None) -> Node | None:
    """The root of the one document in `text`; None when there is nothing but comments.

    What can be passed over (duplicate keys, tags) is added to `problems`; text that is not YAML, or passes a cap,
    ends the reading: raises CatalogError with everything found so far.
    """
    body = text.removeprefix("\ufeff")
    caps = caps or Caps()
    composer = _Composer(file, problems, caps)
    caps.characters += len(body)
    fault = _unreadable(body, file, caps)
    if fault is not None:
        composer.stop(*fault)
    return composer.compose(body)


def _unreadable(text: str, file: str, caps: Caps) -> tuple[Position, str] | None:
    """What keeps `text` from the parser, with its place."""
    if caps.passed:
        return Position(file, 1, 1), f"{caps.whose} may not be longer than {MAX_TEXT} characters"
    found = _FORBIDDEN.search(text)
    if found is not None:
        return _position(text, found.start(), file), f"character U+{ord(found[0]):04X} is not allowed in YAML"
    found = _DIRECTIVE.search(text)
    if found is not None:
        return _position(text, found.start(), file), "%TAG directives are not supported; remove the line"
    return None


def _position(text: str, offset: int, file: str) -> Position:
    before = re.split(r"\r\n|[\n\r\x85\u2028\u2029]", text[:offset])
    return Position(file, len(before), len(before[-1]) + 1)


class _Mark(Protocol):
    """PyYAML's marks, which have no type in common; both count from 0."""

    line: int
    column: int


def _at(file: str, mark: _Mark | None) -> Position:
    return Position(file, mark.line + 1, mark.column + 1) if mark else Position(file, 1, 1)


@dataclass(frozen=True, slots=True)
class _Anchored:
    """A finished node that aliases may name, with its measures once written out."""

    node: Node
    size: int
    height: int


@dataclass(slots=True)
class _Frame:
    """A collection being read; a mapping's nodes alternate between keys and values."""

    at: Position
    anchor: str | None
    is_mapping: bool
    counted: int  # nodes before this one
    nodes: list[Node] = field(default_factory=list)
    height: int = 1


class _Composer:
    """Turns the events of one document into nodes."""

    def __init__(self, file: str, problems: Problems, caps: Caps) -> None:
        self._file = file
        self._problems = problems
        self._stack: list[_Frame] = []
        self._anchors: dict[str, _Anchored] = {}
        self._caps = caps
        self._documents = 0
        self._root: Node | None = None

    def stop(self, at: Position, message: str) -> NoReturn:
        """End the reading here."""
        self._problems.add(at, message)
        raise self._problems.error()

    def compose(self, text: str) -> Node | None:
        for event in self._events(text):
            if isinstance(event, events.ScalarEvent):
                self._scalar(event)
            elif isinstance(event, events.CollectionStartEvent):
                self._open(event)
            elif isinstance(event, events.CollectionEndEvent):
                self._close()
            elif isinstance(event, events.AliasEvent):
                self._alias(event)
            elif isinstance(event, events.DocumentStartEvent):
                self._document(event)
        empty = isinstance(self._root, Scalar) and self._root.value is None
        return None if empty else self._root

    def _events(self, text: str) -> Iterator[events.Event]:
        try:
            yield from yaml.parse(text, Loader=_LOADER)
        except yaml.MarkedYAMLError as error:
            at = _at(self._file, error.problem_mark)
            self.stop(at, _syntax(error, text, at))
        except yaml.YAMLError as error:
            self.stop(Position(self._file, 1, 1), f"not valid YAML: {quote(str(error))}")

    def _at(self, event: events.Event) -> Position:
        return _at(self._file, event.start_mark)

    def _document(self, event: events.DocumentStartEvent) -> None:
        self._documents += 1
        if self._documents > 1:
            self.stop(self._at(event), "a second document begins here; the file must hold one: remove the `---`")

    def _scalar(self, event: events.ScalarEvent) -> None:
        at = self._at(event)
        self._grow(at, 1)
        self._refuse_tag(at, event.tag)
        plain = bool(event.implicit[0])
        value: Plain = event.value
        if _UNFIT.search(event.value):
            self.stop(at, "text may not hold the character NUL or half of a surrogate pair")
        if plain:
            try:
                value = resolve(event.value)
            except ValueError as error:
                self._problems.add(at, str(error))
        self._place(_Anchored(Scalar(at, value, event.value, plain), 1, 0), event.anchor)

    def _refuse_tag(self, at: Position, tag: str | None) -> None:
        if tag is not None:
            self._problems.add(at, f"the tag {quote(tag)} is not supported; values need no tags here: remove it")

    def _open(self, event: events.CollectionStartEvent) -> None:
        at = self._at(event)
        self._stack.append(_Frame(at, event.anchor, isinstance(event, events.MappingStartEvent), self._caps.nodes))
        self._grow(at, 1)
        self._check_depth(at, 0)
        self._refuse_tag(at, event.tag)
        if event.anchor is not None:
            self._anchors.pop(event.anchor, None)

    def _close(self) -> None:
        frame = self._stack.pop()
        node = self._block(frame) if frame.is_mapping else Items(frame.at, tuple(frame.nodes))
        self._place(_Anchored(node, self._caps.nodes - frame.counted, frame.height), frame.anchor)

    def _alias(self, event: events.AliasEvent) -> None:
        at = self._at(event)
        name = event.anchor or ""
        found = self._anchors.get(name)
        if found is None:
            inside = any(frame.anchor == name for frame in self._stack)
            reason = "stands inside what it repeats" if inside else "has no anchor of that name before it"
            self.stop(at, f"the alias {quote('*' + name)} {reason}")
        self._grow(at, found.size)
        self._check_depth(at, found.height)
        self._place(found, None)

    def _grow(self, at: Position, nodes: int) -> None:
        self._caps.nodes += nodes
        if self._caps.nodes > MAX_NODES:
            self.stop(at, f"{self._caps.whose} may not hold more than {MAX_NODES} values, aliases written out")

    def _check_depth(self, at: Position, height: int) -> None:
        if len(self._stack) + height > MAX_DEPTH:
            self.stop(at, f"values are nested more than {MAX_DEPTH} deep")

    def _place(self, done: _Anchored, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = done
        if not self._stack:
            self._root = done.node
            return
        frame = self._stack[-1]
        frame.nodes.append(done.node)
        frame.height = max(frame.height, done.height + 1)

    def _block(self, frame: _Frame) -> Block:
        seen: dict[str, Position] = {}
        own: list[Entry] = []
        taken: dict[str, Entry] = {}
        for key, node in zip(frame.nodes[::2], frame.nodes[1::2], strict=True):
            if not isinstance(key, Scalar):
                self._problems.add(key.at, "a key must be text, not a list or a mapping")
                continue
            if key.text in seen:
                first = seen[key.text]
                self._problems.add(key.at, f"duplicate key {quote(key.text)}: already at {first}; remove one of them")
                continue
            seen[key.text] = key.at
            if key.text == "<<" and key.plain:
                self._merge(node, taken)
            else:
                own.append(Entry(key.text, key.at, node))
        return Block(frame.at, (*own, *(entry for entry in taken.values() if entry.key not in seen)))

    def _merge(self, node: Node, taken: dict[str, Entry]) -> None:
        """Add the entries of the mapping, or of each mapping in the list; the first to name a key has it."""
        for source in node.nodes if isinstance(node, Items) else (node,):
            if isinstance(source, Block):
                for entry in source.entries:
                    taken.setdefault(entry.key, entry)
            else:
                self._problems.add(source.at, 'the merge key "<<" takes a mapping or a list of mappings')


def _syntax(error: yaml.MarkedYAMLError, text: str, at: Position) -> str:
    lines = text.splitlines()
    here = lines[at.line - 1][at.column - 1 : at.column] if at.line <= len(lines) else ""
    context = f" {error.context}" if error.context else ""
    begun = f" that begins in line {error.context_mark.line + 1}" if context and error.context_mark else ""
    hint = "; indent with spaces, not with tabs" if here == "\t" else ""
    return f"not valid YAML: {error.problem or 'it cannot be read'}{context}{begun}{hint}"
