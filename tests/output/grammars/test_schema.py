from __future__ import annotations

import json
import time
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from powerd.errors import BadRequest
from powerd.output.formats import Format
from powerd.output.grammars import grammar
from powerd.output.grammars.schema import any_object, arguments, checked
from tests.output.matching import accepts, fault, written


def nested(depth: int) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        made = {"type": "object", "properties": {"a": made}}
    return made


def listed(depth: int) -> list[Any]:
    made: list[Any] = []
    for _ in range(depth):
        made = [made]
    return made


def definitions(**parts: Any) -> dict[str, Any]:
    return {"$defs": parts, "$ref": "#/$defs/a"}


HOSTILE: dict[str, tuple[object, str]] = {
    "deep": (nested(65), "nests deeper than 32"),
    "very deep": (nested(9000), "nests deeper than 32"),
    "deep value": ({"const": listed(9000)}, "nests deeper than 32"),
    "100,000 properties": ({"properties": {f"p{n}": {} for n in range(100_000)}}, "more than 2000 parts"),
    "a million values": ({"enum": list(range(10**6))}, "1 to 2000 values"),
    "a long value": ({"enum": ["x" * 10**6]}, "32 KiB"),
    "no values": ({"enum": []}, "1 to 2000 values"),
    "itself": ({"$ref": "#"}, "circle"),
    "two in a circle": (definitions(a={"$ref": "#/$defs/b"}, b={"$ref": "#/$defs/a"}), "circle"),
    "all of itself": (definitions(a={"allOf": [{"$ref": "#/$defs/a"}, {"type": "object"}]}), "circle"),
    "any of itself": (definitions(a={"anyOf": [{"$ref": "#/$defs/a"}, {"type": "null"}]}), "circle"),
    "requires itself": (
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        "no value that ends",
    ),
    "holds itself": ({"type": "array", "items": {"$ref": "#"}, "minItems": 1}, "no value that ends"),
    "allows nothing": ({"type": "object", "properties": {"a": False}, "required": ["a"]}, "no value that ends"),
    "many references": (
        definitions(**{chr(97 + n % 26) * (n // 26 + 1): {"items": {"$ref": f"#/$defs/{n}"}} for n in range(3000)}),
        "not in it",
    ),
    "a chain": (
        {
            "$defs": {f"d{n}": {"type": "array", "items": {"$ref": f"#/$defs/d{n + 1}"}} for n in range(3000)},
            "$ref": "#/$defs/d0",
        },
        "more than 256 definitions",
    ),
    "remote": ({"$ref": "https://example.org/schema.json"}, "only references within it"),
    "a file": ({"$ref": "file:///etc/passwd"}, "only references within it"),
    "nowhere": ({"$ref": "#/$defs/x"}, "not in it"),
    "least items": ({"type": "array", "minItems": 10**9}, "at most 1000"),
    "longest string": ({"type": "string", "maxLength": 10**9}, "at most 10000"),
    "a fraction of items": ({"type": "array", "minItems": 1.5}, "whole number"),
    "endless items": ({"type": "array", "minItems": float("inf")}, "whole number"),
    "crossed bounds": ({"type": "integer", "minimum": 5, "maximum": 3}, "allows no number"),
    "5,000 digits": ({"type": "integer", "minimum": 10**5000}, "allows no number"),
    "no step": ({"type": "number", "multipleOf": 0}, "multipleOf"),
    "tiny steps": ({"type": "number", "multipleOf": 1e-30}, "multipleOf"),
    "pattern": ({"type": "string", "pattern": "(a+)+$"}, "already repeats without limit"),
    "long pattern": ({"type": "string", "pattern": "(" * 5000}, "longer than 512 bytes"),
    "half a character": ({"const": "\ud800"}, "half of a character"),
    "not": ({"type": "object", "not": {}, "if": {}}, "not, if"),
    "unique": ({"type": "array", "uniqueItems": True}, "uniqueItems"),
    "unknown type": ({"type": "text"}, "unknown type 'text'"),
    "a list": ([{}], "must be an object, not a list"),
    "a text": ("{}", "must be an object, not a string"),
}


@pytest.mark.parametrize(("schema", "word"), HOSTILE.values(), ids=HOSTILE.keys())
def test_h17_hostile_schemas_are_refused_within_100_ms_with_their_reason(schema: object, word: str) -> None:
    begun = time.process_time()
    with pytest.raises(BadRequest, match=word) as refused:
        checked(schema)
    assert time.process_time() - begun < 0.1
    assert refused.value.param == "format"


@pytest.mark.parametrize(
    "schema",
    [
        {
            "$defs": {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(60)}
            | {"d60": {"type": "null"}}
        }
        | {"$ref": "#/$defs/d0"},
        {"type": "string", "pattern": "(a|b)*a(a|b){200}"},
        {"type": "array", "minItems": 1000, "items": {"type": "array", "minItems": 1000, "items": {"type": "null"}}},
    ],
    ids=["a fan of references", "many states", "a million items"],
)
def test_h17_what_is_large_only_when_multiplied_out_compiles_at_once(schema: dict[str, Any]) -> None:
    begun = time.process_time()
    assert fault(grammar.answer(checked(schema), Format()).grammar) == ""
    assert time.process_time() - begun < 0.1


TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "value": {"type": "integer"},
                "kids": {"type": "array", "items": {"$ref": "#/$defs/node"}, "maxItems": 2},
            },
            "required": ["value"],
        }
    },
    "$ref": "#/$defs/node",
}
GOOD: dict[str, dict[str, Any]] = {
    "flat": {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    },
    "optional": {"type": "object", "properties": {"a": {"type": "boolean"}, "b": {"type": "null"}}},
    "enum": {"enum": ["x", 1, None, True, {"a": [1.5]}, "ü"]},
    "const": {"properties": {"kind": {"const": "a/b"}}, "required": ["kind"]},
    "bounds": {"type": "array", "items": {"type": "integer", "minimum": -3, "exclusiveMaximum": 12}, "minItems": 2},
    "old bounds": {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "type": "number",
        "minimum": 1,
        "exclusiveMinimum": True,
        "maximum": 2,
    },
    "tuple": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False, "minItems": 2},
    "old tuple": {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "array",
        "items": [{"type": "null"}],
        "additionalItems": {"type": "boolean"},
    },
    "union": {"anyOf": [{"type": "string", "maxLength": 3}, {"type": ["integer", "null"]}]},
    "one of": {
        "oneOf": [
            {"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"]},
            {"type": "array", "maxItems": 1},
        ]
    },
    "tree": TREE,
    "own parts": {"type": "object", "properties": {"a": {"type": "boolean"}, "b": {"$ref": "#/properties/a"}}},
    "joined": {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]},
            {"type": "object", "properties": {"b": {"type": "integer"}}, "required": ["b"]},
        ]
    },
    "map": {"type": "object", "additionalProperties": {"type": "boolean"}, "maxProperties": 2},
    "pattern": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}/x$"},
    "formats": {
        "type": "array",
        "prefixItems": [{"type": "string", "format": "date"}, {"format": "uuid"}],
        "minItems": 2,
    },
    "steps": {"type": "number", "multipleOf": 0.25, "minimum": 0},
    "anything": {"type": "object", "properties": {"a": True, "b": {}}, "required": ["a", "b", "c"]},
    "described": {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "T",
        "type": "object",
        "properties": {"title": {"type": "string", "title": "Title", "default": "", "format": "path"}},
        "required": ["title"],
        "discriminator": {"propertyName": "x"},
    },
}


@pytest.mark.parametrize("schema", GOOD.values(), ids=GOOD.keys())
def test_what_a_grammar_writes_is_valid_by_the_schema_it_was_made_of(schema: dict[str, Any]) -> None:
    text = grammar.answer(checked(schema), Format()).grammar
    for seed in range(6):
        jsonschema.validate(json.loads(written(text, seed)), schema)


def test_numbers_come_to_an_end() -> None:
    number, whole = (grammar.answer(checked({"type": kind}), Format()).grammar for kind in ("number", "integer"))
    assert accepts(whole, "-" + "9" * 18)
    assert not accepts(whole, "9" * 19)
    assert accepts(number, "123456789012345.0123456789")
    assert not accepts(number, "1." + "3" * 11)
    assert not accepts(number, "1" + "0" * 16)


def test_blanks_are_few_and_the_order_of_properties_is_kept() -> None:
    text = grammar.answer(checked(GOOD["flat"]), Format()).grammar
    assert accepts(text, '{"a": "x", "b": 1}')
    assert accepts(text, '{"a":"x","b":1}')
    assert not accepts(text, '{"a":  "x", "b": 1}')
    assert not accepts(text, '{"b": 1, "a": "x"}')
    assert not accepts(text, '{"a": "\\ud800", "b": 1}')


def test_an_object_with_named_properties_has_no_others_unless_it_says_so() -> None:
    named = {"type": "object", "properties": {"a": {"type": "null"}}}
    assert not accepts(grammar.answer(checked(named), Format()).grammar, '{"a": null, "b": 1}')
    open_one = named | {"additionalProperties": True}
    assert accepts(grammar.answer(checked(open_one), Format()).grammar, '{"a": null, "b": 1}')


def test_a_tools_schema_is_kept_as_far_as_it_can_be_and_else_is_any_object() -> None:
    unique = {"properties": {"a": {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}}}
    assert arguments(unique)["properties"]["a"]["items"]["type"] == "integer"
    assert arguments({"properties": {"a": {"$ref": "#/nowhere"}}}) == any_object()
    assert arguments({}) == any_object()


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
_KEYWORDS = st.sampled_from(
    [
        *("type", "properties", "required", "items", "prefixItems", "enum", "const", "anyOf", "oneOf", "allOf", "$ref"),
        *("minimum", "exclusiveMaximum", "multipleOf", "minItems", "maxLength", "pattern", "format", "$defs"),
        *("additionalProperties", "patternProperties", "minProperties"),
    ]
)
_SCHEMAS = st.recursive(
    st.dictionaries(_KEYWORDS, _VALUES | st.sampled_from(["object", "string", "#/$defs/a", "#"]), max_size=4),
    lambda inner: st.dictionaries(_KEYWORDS, inner | st.lists(inner, max_size=3), max_size=4),
    max_leaves=10,
)


@settings(deadline=None, max_examples=150)
@given(_SCHEMAS)
def test_any_schema_is_checked_or_refused_and_never_breaks_the_compiler(schema: dict[str, Any]) -> None:
    try:
        made = checked(schema)
    except BadRequest:
        return
    fault(grammar.answer(made, Format()).grammar)
