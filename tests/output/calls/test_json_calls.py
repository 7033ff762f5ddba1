"""Which call a JSON object is."""

from __future__ import annotations

from typing import Any

import pytest

from powerd.output.calls.json_calls import call_of, declared
from powerd.protocol import ToolCall

TOOLS: dict[str, dict[str, object]] = {"add": {}, "functions.odd": {}}


@pytest.mark.parametrize(
    ("read", "call"),
    [
        ({"name": "add", "arguments": {"a": 1}}, ToolCall("add", {"a": 1})),
        ({"arguments": {"a": 1}, "name": "add"}, ToolCall("add", {"a": 1})),
        ({"name": "add", "parameters": {"a": 1}}, ToolCall("add", {"a": 1})),
        ({"tool_name": "add", "parameters": {}, "tool_call_id": "0"}, ToolCall("add", {})),
        ({"name": "add", "arguments": {}, "id": "abc"}, ToolCall("add", {}, "abc")),
        ({"name": "add", "arguments": {}, "id": 7}, ToolCall("add", {})),
        ({"function": "add", "arguments": {}}, ToolCall("add", {})),
        ({"id": "x", "function": {"name": "add", "arguments": {}}}, ToolCall("add", {}, "x")),
        ({"name": "add", "arguments": '{"a": 1}'}, ToolCall("add", {"a": 1})),
        ({"name": "add", "arguments": ""}, ToolCall("add", {})),
        ({"name": "add", "arguments": None}, ToolCall("add", {})),
        ({"name": "add"}, ToolCall("add", {})),
        ({"name": " functions.add"}, ToolCall("add", {})),
        ({"add": {"a": 1}}, ToolCall("add", {"a": 1})),
        ({"add": None}, None),
        ({"name": "add", "arguments": [1]}, None),
        ({"name": "add", "arguments": "text"}, None),
        ({"name": "add", "arguments": 3}, None),
        ({"name": "launch", "arguments": {}}, None),
        ({"name": 3, "arguments": {}}, None),
        ({"arguments": {}}, None),
        ({}, None),
    ],
)
def test_objects(read: dict[str, Any], call: ToolCall | None) -> None:
    assert call_of(read, TOOLS) == call


def test_with_nothing_around_it_a_call_has_arguments() -> None:
    assert call_of({"name": "add"}, TOOLS, bare=True) is None
    assert call_of({"name": "add", "arguments": {}}, TOOLS, bare=True) == ToolCall("add", {})


def test_names() -> None:
    assert declared("add", TOOLS) == declared("functions.add ", TOOLS) == "add"
    assert declared("functions.odd", TOOLS) == "functions.odd"
    assert declared("odd", TOOLS) is None
