"""What Go would say of a value: whether it is true, its fields, its text, its JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from powerd.prompt.failed import TemplateFailed

#: None, a truth value, a number, a text, a list, a mapping with text keys, or a Record.
Value = Any

_HTML = re.compile("[<>&\u2028\u2029]")


class Record:
    """A Go struct: fields by name, all others an error, and `plain`, the JSON it stands for and prints as."""

    __slots__ = ("fields", "kind", "plain")

    def __init__(self, kind: str, fields: Mapping[str, Value], plain: Value) -> None:
        self.kind = kind
        self.fields = fields
        self.plain = plain


class JsonList(list[Value]):
    """A list that prints as JSON."""


class JsonMap(dict[str, Value]):
    """A mapping that prints as JSON in its own order."""


def truth(value: Value) -> bool:
    """Whether Go's templates take the value for true: neither zero nor empty. A struct always is."""
    return True if isinstance(value, Record) else bool(value)


def field(value: Value, name: str) -> Value:
    """`value.name`; what a mapping lacks is nil. Raises TemplateFailed."""
    if isinstance(value, Record):
        if name not in value.fields:
            raise TemplateFailed(f"can't evaluate field {name[:80]} in type {value.kind}")
        return value.fields[name]
    if isinstance(value, Mapping):
        return value.get(name)
    if value is None:
        return None
    raise TemplateFailed(f"can't evaluate field {name[:80]} in type {kind(value)}")


def kind(value: Value) -> str:
    """The Go type, for error texts."""
    if isinstance(value, Record):
        return value.kind
    if isinstance(value, Mapping):
        return "map"
    names = {bool: "bool", int: "int", float: "float64", str: "string", type(None): "nil"}
    return names.get(type(value), "slice")


def items(value: Value) -> Iterator[tuple[Value, Value]]:
    """What `range` goes through: keys or positions, and elements. Mappings go by key. Raises TemplateFailed."""
    if isinstance(value, Mapping):
        yield from sorted(value.items(), key=lambda pair: str(pair[0]))
    elif isinstance(value, list | tuple):
        yield from enumerate(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield from ((number, number) for number in range(value))
    elif value is not None:
        raise TemplateFailed(f"range can't iterate over {kind(value)}")


def shown(value: Value) -> str:
    """The value's text, as `{{ }}` writes it. What is not there writes nothing."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, Record | JsonList | JsonMap):
        return as_json(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{key}:{_nested(each)}" for key, each in items(value)) + "]"
    if isinstance(value, list | tuple):
        return "[" + " ".join(map(_nested, value)) + "]"
    return str(value)


def _nested(value: Value) -> str:
    return "<nil>" if value is None else shown(value)


def _float(value: float) -> str:
    """As `%v`: the shortest digits, an exponent below 1e-4 and from 1e21 on."""
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if math.isnan(value):
        return "NaN"
    if value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    return repr(value)


def as_json(value: Value) -> str:
    """Compact JSON as Go's encoder writes it, with `<`, `>` and `&` escaped. Raises TemplateFailed."""
    try:
        text = json.dumps(plain(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TemplateFailed(f"json: {error}") from None
    return _HTML.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def plain(value: Value) -> Value:
    """The value as the json module takes it: structs as what they stand for, Go maps by key, whole floats as such."""
    if isinstance(value, Record):
        return value.plain
    if isinstance(value, JsonMap):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in items(value)}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(each) for each in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return int(value)
    return value
