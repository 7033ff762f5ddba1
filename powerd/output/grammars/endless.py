"""Schemas that lead nowhere: references in a circle, and values that can never be finished. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from powerd.output.grammars.schema_values import Fault

Definitions = Mapping[str, Any]


def refuse(schema: Any, definitions: Definitions) -> None:
    """Raises Fault when `schema`, or a definition it uses, comes back to itself without any progress or has no end.

    A value has progressed when it is an item or a property; it has an end when not every way to write it needs another
    of its own kind inside.
    """
    for name in definitions:
        _refuse_circle(name, definitions)
    finite: set[str] = set()
    growing = True
    while growing:
        found = [
            name for name in reversed(list(definitions)) if name not in finite and _ends(definitions[name], finite)
        ]
        finite.update(found)
        growing = bool(found)
    if not _ends(schema, finite):
        raise Fault("has no value that ends: it requires itself inside of itself, or allows nothing")


def _refuse_circle(first: str, definitions: Definitions) -> None:
    waiting, seen = list(_here(definitions[first])), set()
    while waiting:
        name = waiting.pop()
        if name == first:
            raise Fault("refers to itself in a circle ($ref, allOf, anyOf) without any property or item between")
        if name not in seen:
            seen.add(name)
            waiting += _here(definitions.get(name, True))


def _here(schema: Any) -> Iterator[str]:
    """The definitions that speak of the same value as `schema`."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield schema["$ref"].removeprefix("#/$defs/")
        for keyword in ("allOf", "anyOf"):
            for part in schema.get(keyword, ()):
                yield from _here(part)


def _ends(schema: Any, finite: set[str]) -> bool:
    """Whether a value can be finished, given the definitions of which that is known."""
    if not isinstance(schema, dict):
        return bool(schema)
    if "$ref" in schema and not _known(schema["$ref"].removeprefix("#/$defs/"), finite):
        return False
    if "anyOf" in schema and not any(_ends(part, finite) for part in schema["anyOf"]):
        return False
    if not all(_ends(part, finite) for part in schema.get("allOf", ())):
        return False
    kind = schema.get("type")
    if kind == "object":
        parts = schema.get("properties", {})
        return all(_ends(parts.get(name, True), finite) for name in schema.get("required", ()))
    if kind == "array":
        least, first = schema.get("minItems", 0), schema.get("prefixItems", [])
        needed = [*first[:least], *([schema["items"]] if least > len(first) else [])]
        return all(_ends(part, finite) for part in needed)
    return True


def _known(name: str, finite: set[str]) -> bool:
    return name.startswith("any") or name in finite
