"""The reader of a whole answer picks what the format and the request need."""

from __future__ import annotations

import pytest

from powerd.output.calls.harmony import Harmony
from powerd.output.families import FAMILIES
from powerd.output.formats import Format, Tags, ToolFormat
from powerd.output.reader import reader
from tests.output.corpus import read

TEXT = '<tool_call>{"name": "add", "arguments": {}}</tool_call>'


def test_without_a_format_all_is_content() -> None:
    assert read(reader(Format(), {"add": {}}, inside=False), [TEXT]) == (("content", TEXT),)


@pytest.mark.parametrize("tools", [None, {}])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_without_tools_calls_are_content(family: ToolFormat, tools: dict[str, dict[str, object]] | None) -> None:
    text = f"{family.begins[0]}{TEXT}"
    assert read(reader(Format(tools=family), tools, inside=False), [text]) == (("content", text),)


def test_channels_have_a_reader_of_their_own() -> None:
    assert isinstance(reader(Format(harmony=True), None, inside=False), Harmony)


@pytest.mark.parametrize("inside", [True, False])
def test_no_tag_is_content_wherever_it_begins(inside: bool) -> None:
    made = reader(Format(Tags("<think>", "</think>")), None, inside=inside)
    assert read(made, ["<think>a</think>b"]) == (("thought", "a"), ("content", "b"))
