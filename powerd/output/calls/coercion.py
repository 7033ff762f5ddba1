"""Values that a model wrote as plain text, made what the tool's schema declares (contract 8.2)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from powerd.output.calls.extent import Extent
from powerd.output.calls.literals import PYTHON, literal

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_NAMES: dict[type, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    type(None): "null",
    list: "array",
    dict: "object",
}
#: How many `$ref` and `anyOf` deep a declaration is looked for.
_DEEP = 8


def coerce(text: str, name: str, parameters: Mapping[str, Any]) -> object:
    """The value of the argument `name`, tried as null, boolean, integer, number, array, object and string, in order.

    Without a declared type, and where the text is none of what is declared, it stays a string.
    """
    properties = parameters.get("properties")
    declared = properties.get(name) if isinstance(properties, Mapping) else None
    types = set(_types(declared, parameters, _DEEP))
    if not types or types == {"string"}:
        return text
    bare = text.strip()
    if bare.lower() == "null" or (bare == "None" and "null" in types):
        return None
    if "boolean" in types and bare.lower() in ("true", "false"):
        return bare.lower() == "true"
    if types & {"integer", "number"} and (number := _number(bare, whole="number" not in types)) is not None:
        return number
    for kind, opening in (("array", "["), ("object", "{")):
        if kind in types and bare.startswith(opening) and (found := nested(bare)) is not None:
            return found
    return text


def _number(text: str, *, whole: bool) -> int | float | None:
    if _INTEGER.fullmatch(text):
        return int(text)
    try:
        found = msgspec.json.decode(text, type=float)
    except msgspec.MsgspecError:
        return None
    if found.is_integer() and abs(found) < 2**53 and whole:
        return int(found)
    return None if whole else found


def nested_or_scalar(text: str) -> object:
    """The JSON value that a text says; the text where it says none."""
    bare = text.strip()
    found = nested(bare) if bare.startswith(("[", "{")) else literal(bare, PYTHON)
    return found if found is not None or bare == "null" else text


def nested(text: str) -> object:
    """The array or object that a text says, as JSON or as Python writes it; None where it says none."""
    extent = Extent()
    if extent.follow(text, 0) == len(text) and not extent.lacks:
        try:
            return msgspec.json.decode(text)
        except msgspec.MsgspecError:
            pass
    return literal(text, PYTHON)


def _types(schema: object, root: Mapping[str, Any], deep: int) -> Iterator[str]:
    """The types that a schema declares, by name."""
    if not isinstance(schema, Mapping) or not deep:
        return
    declared = schema.get("type")
    yield from (kind for kind in (declared if isinstance(declared, list) else [declared]) if isinstance(kind, str))
    for keyword in ("anyOf", "oneOf", "allOf"):
        branches = schema.get(keyword)
        for branch in branches if isinstance(branches, list) else ():
            yield from _types(branch, root, deep - 1)
    if "$ref" in schema:
        yield from _types(_referred(schema["$ref"], root), root, deep - 1)
    if declared is None:
        yield from _implied(schema)


def _implied(schema: Mapping[str, Any]) -> Iterator[str]:
    values = schema.get("enum")
    for value in [*(values if isinstance(values, list) else []), *([schema["const"]] if "const" in schema else [])]:
        yield _NAMES.get(type(value), "string")
    if "properties" in schema:
        yield "object"
    if "items" in schema:
        yield "array"


def _referred(reference: object, root: Mapping[str, Any]) -> object:
    found: object = root
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return None
    for step in reference[2:].split("/"):
        found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
    return found
