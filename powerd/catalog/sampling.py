"""The `parameters:` block: Ollama's sampling options under the names and ranges of powerd.options. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from powerd.catalog.loader import Block, Entry, Node, Scalar
from powerd.catalog.problems import quote, unknown
from powerd.catalog.values import Reading, Schema, Wrong, found, plain, reads
from powerd.errors import BadRequest
from powerd.options import GONE, MAX_STOP_BYTES, MAX_STOPS, RUNNER_FIELDS, SAMPLING_OPTIONS, Option, check


def _schema(option: Option) -> Schema:
    if option.kind is bool:
        return {"type": "boolean"}
    if option.kind is list:
        return {"type": "array", "maxItems": MAX_STOPS, "items": {"type": "string", "maxLength": MAX_STOP_BYTES}}
    kind = "integer" if option.kind is int else "number"
    return {"type": kind, "minimum": option.low, "maximum": option.high}


@reads(
    {
        "type": "object",
        "properties": {name: _schema(option) for name, option in SAMPLING_OPTIONS.items()},
        "additionalProperties": False,
    }
)
def parameters(node: Node, reading: Reading) -> Mapping[str, Any]:
    """The options that are written and good."""
    if not isinstance(node, Block):
        raise Wrong(node.at, f"must be a mapping of sampling options, {found(node)}")
    inner = reading.within(":")
    values: dict[str, Any] = {}
    for entry in node.entries:
        try:
            values |= _option(entry)
        except Wrong as wrong:
            inner.refuse(wrong.at, wrong.message)
    return values


def _option(entry: Entry) -> dict[str, Any]:
    name, node = entry.key, entry.node
    if name in RUNNER_FIELDS:
        raise Wrong(entry.at, f"{quote(name)} is a runner option, not a sampling option; {_advice(name)}")
    if name in GONE:
        raise Wrong(entry.at, f"{quote(name)} has no effect in powerd: {GONE[name]}; remove it")
    option = SAMPLING_OPTIONS.get(name)
    if option is None:
        raise Wrong(entry.at, unknown("option", name, tuple(SAMPLING_OPTIONS)))
    value = plain(node)
    if value is None:
        raise Wrong(node.at, f"option {quote(name)} has no value; write one or remove the line")
    if option.kind is int and isinstance(node, Scalar) and isinstance(value, float):
        raise Wrong(node.at, f"option {quote(name)} must be a whole number, not {node.text}")
    try:
        return check({name: value})
    except BadRequest as refusal:
        raise Wrong(node.at, refusal.message) from None


def _advice(name: str) -> str:
    field = RUNNER_FIELDS[name]
    return f"use the field {quote(field)}" if field is not None else "it has no effect in powerd: remove it"
