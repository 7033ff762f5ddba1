"""Where a JSON object ends, and what is forgiven in it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from powerd.output.calls.extent import MAX_DEPTH, Extent, decode, decode_whole

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def ends(text: str, size: int) -> int | None:
    """Where the object ends when the text comes in chunks of this size."""
    extent = Extent()
    for start in range(0, len(text), size):
        end = extent.follow(text[start : start + size], 0)
        if end is not None:
            return start + end
    return None


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(st.dictionaries(st.text(), VALUES, max_size=4), st.sampled_from([None, 2]), st.integers(1, 9), st.text())
def test_any_object_ends_where_it_ends(made: dict[str, Any], indent: int | None, size: int, rest: str) -> None:
    text = json.dumps(made, indent=indent, ensure_ascii=False)
    assert ends(text + rest, size) == len(text)
    assert decode(text) == made


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize(
    ("text", "end"),
    [('{"a": 1', None), ('{"a": "}', None), ('{"a": "\\"}"} x', 12), ('{"a": "\\\\"}', 11), ('{"a": [1}', None)],
)
def test_ends(text: str, end: int | None, size: int) -> None:
    assert ends(text, size) == end


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_a_bracket_of_markup_outside_of_strings_is_the_end(size: int) -> None:
    assert ends('{"a": "<" }</call>', size) == 11
    assert ends('{"a": {"b": 1} </call>', size) == 15


def test_s55_too_deep_is_the_end() -> None:
    extent = Extent()
    assert extent.follow('{"a":' + "[" * MAX_DEPTH, 0) == 5 + MAX_DEPTH - 1
    assert decode('{"a":' + "[" * (MAX_DEPTH - 1), extent.lacks) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": "x\ny"}', {"a": "x\ny"}),
        ('{"a": "it\\\'s"}', {"a": "it's"}),
        ('{"a": "\\d+\\n"}', {"a": "\\d+\n"}),
        ('{"a": [1, 2,], }', {"a": [1, 2]}),
        ('{"a": True, "b": [False, None]}', {"a": True, "b": [False, None]}),
        ('{"a": "True, ] None,}"}', {"a": "True, ] None,}"}),
        ('{{"a": 1}}', {"a": 1}),
        ("{'a': 1}", None),
        ("{a: 1}", None),
        ('{"a": NaN}', None),
        ('{"a": 1e999}', None),
        ('{"a": "\\ud800"}', None),
        ('{"a": "\ud800"}', None),
        ("[1]", None),
        ("", None),
    ],
)
def test_what_is_forgiven(text: str, expected: dict[str, object] | None) -> None:
    assert decode(text) == expected


@pytest.mark.parametrize(
    ("text", "lacks", "expected"),
    [
        ('{"n": "f", "a": {"b": 1}\n', "}", {"n": "f", "a": {"b": 1}}),
        ('{"n": "f", "a": 1', "}", None),
        ('{"a": {"b": 1', "}}", None),
        ('{"a": [{"b": 1}', "]}", None),
    ],
)
def test_only_the_last_brace_may_be_missing(text: str, lacks: str, expected: dict[str, object] | None) -> None:
    assert decode(text, lacks) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [(' {"a": 1} ', {"a": 1}), ('{"a": 1} x', None), ("x", None), ("", None), ('{"a": ' + "[" * 9999, None)],
)
def test_a_whole_text(text: str, expected: dict[str, object] | None) -> None:
    assert decode_whole(text) == expected
