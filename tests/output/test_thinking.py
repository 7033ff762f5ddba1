"""Thinking apart from the answer; most of it is in the corpus."""

from __future__ import annotations

import pytest

from powerd.output.families import BY_NAME
from powerd.output.formats import Format, Tags
from powerd.output.pieces import Content, Thought
from powerd.output.reader import reader
from tests.output.corpus import read, ways

THINK = Tags("<think>", "</think>")
TOOLS: dict[str, dict[str, object]] = {"add": {}}
CALL = '{"name": "add", "arguments": {"a": 1}}'


def test_thinking_is_told_at_once() -> None:
    made = reader(Format(THINK), None, inside=True)
    assert list(made.feed("Hm")) == [Thought("Hm")]
    assert list(made.feed(" so </th")) == [Thought(" so ")]
    assert list(made.feed("ink>Yes")) == [Content("Yes")]


def test_a_tag_amid_a_line_of_thinking_holds_nothing_back() -> None:
    made = reader(Format(THINK, BY_NAME["hermes"]), TOOLS, inside=True)
    assert [piece for text in ("I use <tool_call>", " now") for piece in made.feed(text)] == [
        Thought("I use "),
        Thought("<tool_call>"),
        Thought(" now"),
    ]


def test_a_brace_amid_thinking_is_no_call() -> None:
    made = reader(Format(THINK, BY_NAME["json"]), TOOLS, inside=True)
    assert read(made, [CALL]) == (("thought", CALL),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>a</think><response>b</response>", (("thought", "a"), ("content", "b"))),
        ("<response>b</response>\n", (("content", "b\n"),)),
        ("b </resp", (("content", "b </resp"),)),
        ("<response>b<tool_call>" + CALL + "</response>", (("content", "b"), ("call add", '{"a": 1}'))),
    ],
)
def test_what_stands_around_the_answer_is_left_out(text: str, expected: tuple[tuple[str, str], ...]) -> None:
    format = Format(THINK, BY_NAME["granite"], answer=Tags("<response>", "</response>"))
    for way in ways(text):
        assert read(reader(format, TOOLS, inside=False), way) == expected, way
