"""Readers: from a node to the value a field takes, or a refusal that says what it takes instead. Pure.

Each reader also says what it takes as JSON Schema, so that the published schema cannot disagree with what is read.

A reader takes a node and the Reading it belongs to. It raises Wrong for a value it cannot take; readers of mappings and
lists note what is wrong inside and go on, so that nothing hides behind the first mistake. A file with any problem is
refused whole, so what such a reader returns then is never used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from powerd.catalog.loader import Block, Items, Node, Scalar
from powerd.catalog.problems import Problems, quote, unknown
from powerd.catalog.scalars import resolve
from powerd.catalog.spec import ALWAYS, Position
from powerd.digest import Digest
from powerd.names import ALIAS_PATTERN, Name
from powerd.quantities import DURATION, parse_duration


class Wrong(Exception):
    """A value that cannot be taken; `message` continues a sentence that begins with the field's name."""

    def __init__(self, at: Position, message: str) -> None:
        super().__init__(message)
        self.at = at
        self.message = message


@dataclass(frozen=True, slots=True)
class Reading:
    """What the readers of one file share, and the place they have come to."""

    directory: Path  # relative paths start here
    read_file: Callable[[Path], str]
    problems: Problems
    subject: str  # begins every message: "coder: template.file"
    files: dict[Path, str] = field(default_factory=dict)  # read so far

    def within(self, step: str) -> Reading:
        """The same reading, one step further in."""
        return Reading(self.directory, self.read_file, self.problems, f"{self.subject}{step}", self.files)

    def refuse(self, at: Position, message: str) -> None:
        """Note a problem with what is being read."""
        self.problems.add(at, f"{self.subject} {message}")

    def attempt(self, reader: Callable[[Node, Reading], Any], node: Node) -> Any:
        """What `reader` makes of `node`; REFUSED, and a problem noted, when it refuses."""
        try:
            return reader(node, self)
        except Wrong as wrong:
            self.refuse(wrong.at, wrong.message)
            return REFUSED


Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reader:
    """One kind of value: how it is read, and the same as JSON Schema (draft 2020-12)."""

    take: Callable[[Node, Reading], Any]  # raises Wrong
    schema: Schema

    def __call__(self, node: Node, reading: Reading) -> Any:
        """The value."""
        return self.take(node, reading)


def reads(schema: Schema) -> Callable[[Callable[[Node, Reading], Any]], Reader]:
    """Make a reader of a function."""
    return lambda take: Reader(take, schema)


#: Stands for a value that was refused; None is what `auto` comes to.
REFUSED: Final = object()


def found(node: Node) -> str:
    """What stands there instead, for the end of a refusal."""
    if isinstance(node, Block):
        return "not a mapping"
    if isinstance(node, Items):
        return "not a list"
    if node.value is None:
        return "but it has no value; write one or remove the line"
    return f"not {quote(node.text)}" if isinstance(node.value, str) else f"not {node.text}"


@reads({"type": "string", "minLength": 1})
def text(node: Node, reading: Reading) -> str:
    """Any text but none."""
    if not isinstance(node, Scalar) or not isinstance(node.value, str) or not node.value:
        hint = "; put it in quotes" if isinstance(node, Scalar) and node.value not in {None, ""} else ""
        raise Wrong(node.at, f"must be text, {found(node)}{hint}")
    return node.value


@reads({"type": "boolean"})
def flag(node: Node, reading: Reading) -> bool:
    """True or false."""
    if isinstance(node, Scalar) and isinstance(node.value, bool):
        return node.value
    raise Wrong(node.at, f"must be true or false, {found(node)}")


def choice(values: Mapping[str | bool, Any]) -> Reader:
    """A reader of one of these words or truth values, each standing for its value."""
    wanted = ", ".join(str(word).lower() for word in values)

    def read(node: Node, reading: Reading) -> Any:
        if isinstance(node, Scalar) and isinstance(node.value, str | bool) and node.value in values:
            return values[node.value]
        raise Wrong(node.at, f"must be one of {wanted}, {found(node)}")

    return Reader(read, {"enum": [*values]})


def words(*allowed: str) -> Reader:
    """A reader of one of these words."""
    return choice({word: word for word in allowed})


def whole_number(low: int, high: int, named: Mapping[str, Any] = MappingProxyType({})) -> Reader:
    """A reader of an integer within these bounds, or of a word that stands for a value."""
    wanted = f"{', '.join(named)}{' or ' if named else ''}a whole number from {low} to {high}"

    def read(node: Node, reading: Reading) -> Any:
        value = node.value if isinstance(node, Scalar) else None
        if isinstance(value, str) and value in named:
            return named[value]
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        raise Wrong(node.at, f"must be {wanted}, {found(node)}{_meant(node)}")

    bounds = {"type": "integer", "minimum": low, "maximum": high}
    return Reader(read, {"anyOf": [{"enum": [*named]}, bounds]} if named else bounds)


def _meant(node: Node) -> str:
    """How the whole number that was probably meant is written."""
    if not isinstance(node, Scalar):
        return ""
    if isinstance(node.value, float) and node.value.is_integer() and abs(node.value) < 2**53:
        return f"; write {int(node.value)}"
    if isinstance(node.value, str) and not node.plain and len(node.text) < 20 and isinstance(resolve(node.text), int):
        return "; in quotes it is text: remove them"
    return ""


@reads({"type": "number"})
def number(node: Node, reading: Reading) -> float:
    """A finite number."""
    value = node.value if isinstance(node, Scalar) else None
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise Wrong(node.at, f"must be a number, {found(node)}")


@reads(
    {
        "anyOf": [
            {"enum": ["always"]},
            {"type": "number", "minimum": 0},
            {"type": "string", "pattern": rf"^\s*{DURATION}\s*$(?!\n)"},
        ]
    }
)
def keep_alive(node: Node, reading: Reading) -> float:
    """Seconds: a duration, a plain number of seconds, or `always`."""
    value = node.value if isinstance(node, Scalar) else None
    if value == "always":
        return ALWAYS
    seconds = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str) and value:
        with suppress(ValueError):
            seconds = parse_duration(value)
    if not 0 <= seconds < math.inf:
        hint = '; write "always" to keep it loaded' if seconds < 0 or seconds == math.inf else ""
        raise Wrong(node.at, f"must be a duration such as 30s, 5m or 1h30m, seconds, 0 or always, {found(node)}{hint}")
    return seconds


@reads({"type": "string", "pattern": r"^sha256[:-][0-9a-fA-F]{64}$(?!\n)"})
def digest(node: Node, reading: Reading) -> Digest:
    """The SHA-256 of the weights."""
    try:
        return Digest.parse(node.value if isinstance(node, Scalar) else None)
    except ValueError:
        raise Wrong(node.at, "must be sha256: followed by 64 hexadecimal digits") from None


@reads({"type": "string", "pattern": r"\S"})
def source(node: Node, reading: Reading) -> str:
    """Where bytes come from, as written; a path is made absolute against the file's directory."""
    written = str(text(node, reading)).strip()
    if not written:
        raise Wrong(node.at, "must name where the weights come from, but it is blank")
    if written.startswith(("./", "../", "~/", "/")) or written in {".", "..", "~"}:
        return str(path(written, node.at, reading))
    return written


def path(written: str, at: Position, reading: Reading) -> Path:
    """`written` as an absolute path: `~/` is the user's home, the rest starts at the file's directory."""
    try:
        return reading.directory / Path(written).expanduser()
    except RuntimeError:
        raise Wrong(at, "begins with ~ and this user has no home directory; write the whole path") from None


@reads({"anyOf": [{"type": "string", "pattern": ALIAS_PATTERN}, {"type": ["number", "boolean"]}]})
def _alias(node: Node, reading: Reading) -> tuple[Name, Position]:
    if isinstance(node, Scalar) and node.value is not None and "://" not in node.text:
        with suppress(ValueError):
            name = Name.parse(node.text)
            if not name.is_declared:
                return name, node.at
    raise Wrong(node.at, f"must be a model name such as gpt-4o or team/coder:7b, {found(node)}")


def items(reader: Reader) -> Reader:
    """A reader of a list whose members `reader` takes; gives those that were taken."""

    def read(node: Node, reading: Reading) -> list[Any]:
        if not isinstance(node, Items):
            raise Wrong(node.at, f"must be a list, {found(node)}")
        taken = [reading.within(f"[{index}]").attempt(reader, item) for index, item in enumerate(node.nodes, 1)]
        return [value for value in taken if value is not REFUSED]

    return Reader(read, {"type": "array", "items": reader.schema})


_ALIASES = items(_alias)


@reads(_ALIASES.schema)
def aliases(node: Node, reading: Reading) -> tuple[tuple[Name, Position], ...]:
    """Further names, each with its place."""
    return tuple(_ALIASES(node, reading))


def mapping(readers: Mapping[str, Reader], required: tuple[str, ...] = ()) -> Reader:
    """A reader of a mapping with these keys; gives a dict of those that were there and taken."""

    def read(node: Node, reading: Reading) -> dict[str, Any]:
        if not isinstance(node, Block):
            raise Wrong(node.at, f"must be a mapping with {', '.join(readers)}, {found(node)}")
        values: dict[str, Any] = {}
        for entry in node.entries:
            reader = readers.get(entry.key)
            if reader is None:
                reading.within(":").refuse(entry.at, unknown("key", entry.key, tuple(readers)))
            else:
                values[entry.key] = reading.within(f".{entry.key}").attempt(reader, entry.node)
        for missing in (key for key in required if key not in values):
            reading.refuse(node.at, f"needs {quote(missing)}")
        return {key: value for key, value in values.items() if value is not REFUSED}

    properties = {key: reader.schema for key, reader in readers.items()}
    schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    return Reader(read, schema | {"required": [*required]} if required else schema)


def plain(node: Node) -> Any:
    """The node as Python's own types; its depth is bounded by the loader."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Items):
        return [plain(item) for item in node.nodes]
    return {entry.key: plain(entry.node) for entry in node.entries}
