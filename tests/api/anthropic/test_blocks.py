"""From Anthropic's content blocks to messages: order, ids, and every way a block can be wrong."""

from __future__ import annotations

from typing import Any

import pytest

from powerd.api.anthropic.blocks import Conversation, conversation
from powerd.api.anthropic.schema import SentMessage
from powerd.errors import BadRequest
from powerd.protocol import Message, ToolCall

USE = {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}}
SOURCE = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
PICTURE = {"type": "image", "source": SOURCE}


def read(*sent: tuple[str, Any], system: Any = None) -> Conversation:
    return conversation(system, [SentMessage(role, content) for role, content in sent])


def messages(*sent: tuple[str, Any], system: Any = None) -> list[Message]:
    return read(*sent, system=system).messages


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words, "cache_control": {"type": "ephemeral"}}


def test_strings_and_text_blocks_say_the_same() -> None:
    assert messages(("user", "ab"), system="s") == [Message("system", "s"), Message("user", "ab")]
    assert messages(("user", [text("a"), text("b")]), system=[text("s")]) == messages(("user", "ab"), system="s")
    assert messages(("user", "")) == [Message("user", "")]
    assert messages(("user", [])) == [Message("user", "")]


def test_a_system_text_may_stand_among_the_messages() -> None:
    assert messages(("user", "a"), ("system", [text("s")])) == [Message("user", "a"), Message("system", "s")]


def test_the_line_for_anthropics_accounts_does_not_reach_the_model() -> None:
    system = [text("x-anthropic-billing-header: cc_version=1; cch=ab12;"), text("You are "), text("kind.")]
    assert messages(("user", "a"), system=system)[0] == Message("system", "You are kind.")


def test_results_come_before_the_text_and_have_their_tools_names() -> None:
    result = {"type": "tool_result", "tool_use_id": "c1", "content": [text("4"), text("2")], "is_error": False}
    unknown = {"type": "tool_result", "tool_use_id": "c9"}
    assert messages(("assistant", [text("hm"), USE]), ("user", [text("and?"), result, unknown])) == [
        Message("assistant", "hm", "", (ToolCall("f", {"a": 1}, "c1"),)),
        Message("tool", "42", tool_name="f", tool_call_id="c1"),
        Message("tool", "", tool_call_id="c9"),
        Message("user", "and?"),
    ]
    assert messages(("user", [{**unknown, "content": "42"}])) == [Message("tool", "42", tool_call_id="c9")]


def test_thoughts_go_back_in_and_what_nobody_can_read_is_left_out() -> None:
    blocks = [
        {"type": "thinking", "thinking": "hm", "signature": "x"},
        {"type": "redacted_thinking", "data": "x"},
        text("so"),
        {**USE, "input": None},
    ]
    assert messages(("assistant", blocks)) == [Message("assistant", "so", "hm", (ToolCall("f", {}, "c1"),))]


def test_a_search_of_another_server_divides_the_turn() -> None:
    blocks = [
        text("I look."),
        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "x"}},
        {
            "type": "web_search_tool_result",
            "tool_use_id": "s1",
            "content": [{"type": "web_search_result", "title": "X", "url": "https://x.example/"}, {"title": "Y"}, 5],
        },
        text("Found."),
    ]
    assert messages(("assistant", blocks)) == [
        Message("assistant", "I look.", "", (ToolCall("web_search", {"query": "x"}, "s1"),)),
        Message("tool", "X https://x.example/\nY", tool_name="web_search", tool_call_id="s1"),
        Message("assistant", "Found."),
    ]
    failed = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": {"error_code": "unavailable"}}
    assert messages(("assistant", [failed]))[1] == Message("tool", "", tool_call_id="s1")


def test_pictures_are_told_wherever_they_stand() -> None:
    assert not read(("user", "a")).pictures
    assert read(("user", [PICTURE])).pictures
    assert read(("user", [{"type": "tool_result", "tool_use_id": "c1", "content": [PICTURE]}])).pictures


@pytest.mark.parametrize("kind", ["url", "file", 5, None])
def test_s20_only_pictures_that_were_sent_are_taken(kind: Any) -> None:
    source = {"type": kind, "url": "http://x.example/a.png"}
    with pytest.raises(BadRequest, match="Only base64 images are supported") as caught:
        read(("user", [{"type": "image", "source": source}]))
    assert caught.value.param == "messages[0].content[0].source"


@pytest.mark.parametrize(
    ("role", "block", "place", "words"),
    [
        ("user", 5, "", "a content block is needed"),
        ("user", {"text": "x"}, "", "a content block is needed"),
        ("user", {"type": ["text"]}, "", "a content block is needed"),
        ("user", {"type": "text"}, ".text", "a string is needed"),
        ("user", {"type": "text", "text": 5}, ".text", "a string is needed"),
        ("user", {"type": "wizard"}, ".type", '"wizard" are not taken from the user'),
        ("user", {"type": "document"}, ".type", '"document" are not taken from the user'),
        ("user", USE, ".type", '"tool_use" are not taken from the user'),
        ("user", {"type": "tool_result"}, ".tool_use_id", "tool_result block missing required 'tool_use_id' field"),
        ("user", {"type": "tool_result", "tool_use_id": "c1", "content": 5}, ".content", "array of content blocks"),
        ("user", {"type": "tool_result", "tool_use_id": "c1", "content": [USE]}, ".content[0]", "text and images"),
        ("user", {"type": "image"}, ".source", "invalid image source type: none"),
        ("user", {"type": "image", "source": {"type": "base64"}}, ".source", "media_type"),
        ("user", {"type": "image", "source": {**SOURCE, "media_type": "x"}}, ".source", "image/webp"),
        ("user", {"type": "image", "source": {**SOURCE, "media_type": []}}, ".source", "image/webp"),
        ("user", {"type": "image", "source": {**SOURCE, "media_type": {}}}, ".source", "image/webp"),
        ("assistant", PICTURE, ".type", '"image" are not taken from the assistant'),
        ("assistant", {"type": "thinking"}, ".thinking", "a string is needed"),
        ("assistant", {**USE, "id": ""}, ".id", "tool_use block missing required 'id' field"),
        ("assistant", {**USE, "name": 5}, ".name", "tool_use block missing required 'name' field"),
        ("assistant", {**USE, "input": []}, ".input", "an object is needed"),
        ("assistant", {"type": "web_search_tool_result"}, ".tool_use_id", "missing required"),
        ("system", PICTURE, "", "consists of text blocks"),
    ],
)
def test_h15_a_bad_block_is_named_by_its_place(role: str, block: Any, place: str, words: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read(("user", "a"), (role, [text("b"), block]))
    assert caught.value.param == f"messages[1].content[1]{place}"
    assert words in caught.value.message


def test_h15_bad_messages_and_too_many_are_refused() -> None:
    for role, content, param in (
        ("wizard", "x", "messages[0].role"),
        ("user", None, "messages[0].content"),
        ("user", {"type": "text", "text": "x"}, "messages[0].content"),
    ):
        with pytest.raises(BadRequest) as caught:
            read((role, content))
        assert caught.value.param == param
    with pytest.raises(BadRequest, match="4096"):
        read(*[("user", "x")] * 4097)
