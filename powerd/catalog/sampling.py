"""The `parameters:` block: Ollama's sampling options under the names and ranges of powerd.options. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from powerd.catalog.loader import Block, Entry, Node, Scalar
from powerd.catalog.problems import quote, unknown
from powerd.catalog.values import Reader, Reading, Wrong, found, plain
from powerd.errors import BadRequest
from powerd.options import RUNNER_FIELDS, SAMPLING_OPTIONS, check


def parameters(reserved: frozenset[str]) -> Reader:
    """A reader of the block; `reserved` are the fields that this version refuses, for the advice it gives."""

    def read(node: Node, reading: Reading) -> Mapping[str, Any]:
        if not isinstance(node, Block):
            raise Wrong(node.at, f"must be a mapping of sampling options, {found(node)}")
        inner = reading.within(":")
        values: dict[str, Any] = {}
        for entry in node.entries:
            try:
                values |= _option(entry, reserved)
            except Wrong as wrong:
                inner.refuse(wrong.at, wrong.message)
        return values

    return read


def _option(entry: Entry, reserved: frozenset[str]) -> dict[str, Any]:
    name, node = entry.key, entry.node
    if name in RUNNER_FIELDS:
        raise Wrong(entry.at, f"{quote(name)} is a runner option, not a sampling option; {_advice(name, reserved)}")
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


def _advice(name: str, reserved: frozenset[str]) -> str:
    field = RUNNER_FIELDS[name]
    if field is None:
        return "it has no effect in powerd: remove it"
    if field in reserved:
        return f"the field {quote(field)} is reserved for it and not available yet: remove it"
    return f"use the field {quote(field)}"
