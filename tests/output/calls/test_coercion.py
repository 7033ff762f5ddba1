"""Plain text becomes what the tool's schema declares."""

from __future__ import annotations

from typing import Any

import pytest

from powerd.output.calls.coercion import coerce, nested_or_scalar

INTEGER, NUMBER, STRING, BOOLEAN = ({"type": kind} for kind in ("integer", "number", "string", "boolean"))
ARRAY, OBJECT = {"type": "array"}, {"type": "object"}


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        (INTEGER, "7", 7),
        (INTEGER, " -7\n", -7),
        (INTEGER, "7.0", 7),
        (INTEGER, "7.5", "7.5"),
        (INTEGER, "9" * 5000, "9" * 5000),
        (INTEGER, "", ""),
        (NUMBER, "7", 7),
        (NUMBER, "7.50", 7.5),
        (NUMBER, "1e3", 1000.0),
        (NUMBER, "1e999", "1e999"),
        (NUMBER, "NaN", "NaN"),
        (BOOLEAN, "True", True),
        (BOOLEAN, "false", False),
        (BOOLEAN, "yes", "yes"),
        (STRING, "null", "null"),
        (STRING, " 7 ", " 7 "),
        (INTEGER, "null", None),
        ({"type": ["string", "null"]}, "null", None),
        ({"type": ["integer", "string"]}, "7", 7),
        ({"type": ["integer", "string"]}, "seven", "seven"),
        ({"type": ["boolean", "integer"]}, "1", 1),
        (ARRAY, "[1, {}]", [1, {}]),
        (ARRAY, "['a', None]", ["a", None]),
        (ARRAY, '{"a": 1}', '{"a": 1}'),
        (ARRAY, "[1, 2", "[1, 2"),
        (ARRAY, "[" * 5000 + "]" * 5000, "[" * 5000 + "]" * 5000),
        (OBJECT, '{"a": [true]}', {"a": [True]}),
        (OBJECT, '{"a": "\\ud800"}', '{"a": "\\ud800"}'),
        (OBJECT, "{'a': True}", {"a": True}),
        ({"anyOf": [INTEGER, {"type": "null"}]}, "3", 3),
        ({"$ref": "#/$defs/Day"}, "3", 3),
        ({"$ref": "#/$defs/Round"}, "3", "3"),
        ({"$ref": "#/$defs/missing"}, "3", "3"),
        ({"$ref": 5}, "3", "3"),
        ({"enum": [1, 2]}, "2", 2),
        ({"const": True}, "true", True),
        ({"properties": {}}, "{}", {}),
        ({"items": {}}, "[]", []),
        ({}, "3", "3"),
        ({"type": 5}, "3", "3"),
        (True, "3", "3"),
    ],
)
def test_values_by_declared_type(schema: object, text: str, value: object) -> None:
    parameters: dict[str, Any] = {
        "properties": {"x": schema},
        "$defs": {"Day": INTEGER, "Round": {"$ref": "#/$defs/Round"}},
    }
    found = coerce(text, "x", parameters)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("parameters", [{}, {"properties": None}, {"properties": []}, {"properties": {"y": INTEGER}}])
def test_an_argument_that_is_not_declared_stays_text(parameters: dict[str, Any]) -> None:
    assert coerce("3", "x", parameters) == "3"


@pytest.mark.parametrize(
    ("text", "value"), [("null", None), ("3", 3), ("[1]", [1]), ('"a"', "a"), ("true", True), ("x y", "x y"), ("", "")]
)
def test_a_json_value_or_the_text(text: str, value: object) -> None:
    assert nested_or_scalar(text) == value
