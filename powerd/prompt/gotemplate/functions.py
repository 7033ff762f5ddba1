"""The functions a Go template may call, but for `and` and `or`, which the evaluator keeps lazy."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from urllib.parse import quote_plus

from powerd.prompt.failed import TemplateFailed
from powerd.prompt.gotemplate.printf import printf
from powerd.prompt.gotemplate.values import Record, Value, as_json, kind, shown, truth

Arguments = Sequence[Value]

#: How many arguments a function takes, at least and at most; absent = any number.
_COUNTS = {
    **dict.fromkeys(("not", "len", "json", "toTypeScriptType"), (1, 1)),
    **dict.fromkeys(("ne", "lt", "le", "gt", "ge"), (2, 2)),
    "eq": (2, None),
    "index": (1, None),
    "slice": (1, 4),
    "printf": (1, None),
}
_TYPESCRIPT = {
    "integer": "number",
    "number": "number",
    "string": "string",
    "boolean": "boolean",
    "array": "any[]",
    "object": "Record<string, any>",
    "null": "null",
}


def call(name: str, arguments: Arguments, now: datetime) -> Value:
    """What the function makes of its arguments; `now` is what dates are told from. Raises TemplateFailed."""
    least, most = _COUNTS.get(name, (0, None))
    if len(arguments) < least or (most is not None and len(arguments) > most):
        raise TemplateFailed(f"wrong number of arguments for {name}: {len(arguments)}")
    if name in ("currentDate", "yesterdayDate"):
        return (now - timedelta(days=name == "yesterdayDate")).strftime("%Y-%m-%d")
    return _FUNCTIONS[name](arguments)


# ---------------------------------------------------------------- comparing


def _family(value: Value) -> str:
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, int | float) else kind(value)


def _equal(one: Value, other: Value) -> bool:
    if one is None or other is None:
        return one is other
    first, second = _family(one), _family(other)
    for family in (first, second):
        if family not in ("bool", "number", "string"):
            raise TemplateFailed(f"non-comparable type {family}")
    if first != second:
        raise TemplateFailed(f"incompatible types for comparison: {first} and {second}")
    return bool(one == other)


def _eq(arguments: Arguments) -> bool:
    first, *others = arguments
    return any(_equal(first, other) for other in others)


def _less(arguments: Arguments) -> bool:
    one, other = arguments
    families = {_family(one), _family(other)}
    if families not in ({"number"}, {"string"}):
        raise TemplateFailed(f"invalid types for comparison: {' and '.join(sorted(families))}")
    return bool(one < other)


# ---------------------------------------------------------------- looking into values


def _len(arguments: Arguments) -> int:
    (value,) = arguments
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, list | tuple | Mapping):
        return len(value)
    raise TemplateFailed(f"len of type {kind(value)}")


def _index(arguments: Arguments) -> Value:
    value, *keys = arguments
    for key in keys:
        if isinstance(value, Mapping):
            value = value.get(key) if isinstance(key, str) else None
        elif isinstance(value, str | list | tuple):
            units = value.encode() if isinstance(value, str) else value
            value = units[_position(key, len(units) - 1, "index")]
        else:
            raise TemplateFailed(f"can't index item of type {kind(value)}")
    return value


def _slice(arguments: Arguments) -> Value:
    value, *bounds = arguments
    if not isinstance(value, str | list | tuple):
        raise TemplateFailed(f"can't slice item of type {kind(value)}")
    units = value.encode() if isinstance(value, str) else value
    places = [_position(bound, len(units), "slice") for bound in bounds]
    if any(low > high for low, high in pairwise(places)):
        raise TemplateFailed(f"invalid slice index: {places[0]} > {places[1]}")
    low, high, *_ = [*places, *(0, len(units))[len(places) :]]
    if isinstance(value, str):
        return value.encode()[low:high].decode("utf-8", "replace")
    return type(value)(value[low:high])


def _position(key: Value, most: int, what: str) -> int:
    if not isinstance(key, int) or isinstance(key, bool):
        raise TemplateFailed(f"{what}: a {kind(key)} is not a position")
    if not 0 <= key <= most:
        raise TemplateFailed(f"{what} out of range: {key}")
    return key


# ---------------------------------------------------------------- writing


def _print(arguments: Arguments) -> str:
    """Spaces stand between two arguments of which neither is a text."""
    text = ""
    for number, value in enumerate(arguments):
        if number and not isinstance(value, str) and not isinstance(arguments[number - 1], str):
            text += " "
        text += _written(value)
    return text


def _written(value: Value) -> str:
    return "<nil>" if value is None else shown(value)


def _html(arguments: Arguments) -> str:
    return html.escape(_print(arguments)).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")


_JS = {"\\": "\\\\", "'": "\\'", '"': '\\"', **{each: f"\\u{ord(each):04X}" for each in "<>&="}}


def _js(arguments: Arguments) -> str:
    return "".join(_JS.get(each) or (f"\\u{ord(each):04X}" if ord(each) < 32 else each) for each in _print(arguments))


def typescript(arguments: Arguments) -> str:
    """The TypeScript type of a tool's property."""
    (value,) = arguments
    if not isinstance(value, Record) or not isinstance(value.plain, Mapping):
        return "any"
    return _typescript(value.plain)


def _typescript(schema: Mapping[str, Value]) -> str:
    choices = schema.get("anyOf")
    if isinstance(choices, list) and choices:
        names = [_typescript(each) if isinstance(each, Mapping) else "any" for each in choices]
    else:
        written = schema.get("type")
        names = [_TYPESCRIPT.get(str(each), "any") for each in (written if isinstance(written, list) else [written])]
    return " | ".join(dict.fromkeys(names)) or "any"


def _no_call(arguments: Arguments) -> Value:
    raise TemplateFailed("call of something that is no function")


_FUNCTIONS: Mapping[str, Callable[[Arguments], Value]] = {
    "not": lambda arguments: not truth(arguments[0]),
    "eq": _eq,
    "ne": lambda arguments: not _equal(*arguments),
    "lt": _less,
    "le": lambda arguments: not _less(tuple(reversed(arguments))),
    "gt": lambda arguments: _less(tuple(reversed(arguments))),
    "ge": lambda arguments: not _less(arguments),
    "len": _len,
    "index": _index,
    "slice": _slice,
    "print": _print,
    "printf": lambda arguments: printf(arguments[0], arguments[1:]),
    "println": lambda arguments: " ".join(map(_written, arguments)) + "\n",
    "html": _html,
    "js": _js,
    "urlquery": lambda arguments: quote_plus(_print(arguments), safe=""),
    "call": _no_call,
    "json": lambda arguments: as_json(arguments[0]),
    "toTypeScriptType": typescript,
}
