"""What becomes of the text beside calls, and when it comes."""

from __future__ import annotations

import pytest

from powerd.output.families import BY_NAME
from powerd.output.pieces import Content, Reader
from powerd.protocol import ToolCall
from tests.output.corpus import read

TOOLS = {"time": {"type": "object"}}


def reader(family: str = "glm") -> Reader:
    return BY_NAME[family].reader(TOOLS)


def test_text_streams_as_it_comes_but_for_blanks_a_call_may_follow() -> None:
    made = reader()
    assert made.feed("One") == [Content("One")]
    assert made.feed("\n") == []
    assert made.feed("two <") == [Content("\ntwo")]
    assert made.feed("b>") == [Content(" <b>")]
    assert made.end() == []


def test_a_call_comes_as_soon_as_it_is_complete() -> None:
    made = reader("qwen3-coder")
    assert made.feed("<tool_call>\n<function=time>\n</function") == []
    assert made.feed(">") == [ToolCall("time", {})]
    assert made.feed("\n</tool_call>") == []


def test_text_that_cannot_become_a_call_is_not_held() -> None:
    made = reader()
    assert made.feed("<tool_call>hack\n") == [Content("<tool_call>hack")]
    assert made.feed("more") == [Content("\nmore")]


@pytest.mark.parametrize("blanks", ["", " ", "\n\n\t"])
def test_blanks_beside_calls_are_dropped(blanks: str) -> None:
    call = "<tool_call>time</tool_call>"
    assert read(reader(), [f"a{blanks}{call}{blanks}{call}{blanks}"]) == (
        ("content", "a"),
        ("call time", "{}"),
        ("call time", "{}"),
    )


@pytest.mark.parametrize("family", ["lfm2", "gemma4", "functiongemma"])
def test_s55_values_nested_too_deep_are_text(family: str) -> None:
    opened = {"lfm2": "<|tool_call_start|>[time(a="}.get(family, BY_NAME[family].begins[0] + "call:time{a:")
    text = opened + "[" * 100_000
    assert read(reader(family), [text]) == (("content", text),)
