"""The input of a response as messages: what belongs to one turn of the assistant, and what is refused by its place."""

from __future__ import annotations

import time
from typing import Any

import pytest

from powerd.api.openai.responses import items
from powerd.errors import BadRequest
from powerd.protocol import Message, ToolCall


def read(*given: Any, instructions: str = "") -> tuple[Message, ...]:
    return items.read(list(given), instructions)[0]


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def said(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}


def thought(text: str) -> dict[str, Any]:
    return {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": text}


def call(name: str, call_id: str = "c1", **more: Any) -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": '{"a":1}', **more}


def result(text: Any, call_id: str = "c1") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": text}


# ---------------------------------------------------------------- what it becomes


def test_a_string_is_the_users_word() -> None:
    assert items.read("hi", "") == ((Message("user", "hi"),), False)
    assert items.read("hi", "Be brief.")[0] == (Message("system", "Be brief."), Message("user", "hi"))


def test_the_texts_before_the_conversation_are_one_and_later_ones_stay_where_they_are() -> None:
    before = [{"role": "developer", "content": "one"}, {"role": "system", "content": "two"}]
    assert read(*before, user("hi"), before[0], instructions="zero") == (
        Message("system", "zero\n\none\n\ntwo"),
        Message("user", "hi"),
        Message("system", "one"),
    )


def test_parts_of_a_message_are_one_text() -> None:
    parts = [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]
    assert read({"type": "message", "role": "user", "content": parts}) == (Message("user", "a\n\nb"),)
    told = [{"type": "output_text", "text": "a"}, {"type": "refusal", "refusal": "no"}]
    assert read({"role": "assistant", "content": told}) == (Message("assistant", "ano"),)


def test_a_turn_of_the_assistant_is_one_message_and_results_carry_the_names_of_their_calls() -> None:
    assert read(user("hi"), thought("hm"), said("So:"), call("f"), call("g", "c2"), result("1"), result("2", "c2")) == (
        Message("user", "hi"),
        Message("assistant", "So:", "hm", (ToolCall("f", {"a": 1}, "c1"), ToolCall("g", {"a": 1}, "c2"))),
        Message("tool", "1", tool_name="f", tool_call_id="c1"),
        Message("tool", "2", tool_name="g", tool_call_id="c2"),
    )


def test_text_after_a_call_stands_before_the_calls_result() -> None:
    assert read(call("f"), said("Wait."), result("1"))[0] == (
        Message("assistant", "Wait.", tool_calls=(ToolCall("f", {"a": 1}, "c1"),))
    )


def test_new_thoughts_begin_a_new_message() -> None:
    assert read(said("a"), thought("hm"), call("f")) == (
        Message("assistant", "a"),
        Message("assistant", "", "hm", (ToolCall("f", {"a": 1}, "c1"),)),
    )


def test_thoughts_that_led_to_nothing_are_kept() -> None:
    assert read(user("hi"), thought("h"), thought("m"), user("go on")) == (
        Message("user", "hi"),
        Message("assistant", "", "h\nm"),
        Message("user", "go on"),
    )


@pytest.mark.parametrize(
    "item",
    [
        {"summary": [{"type": "summary_text", "text": "hm"}]},
        {"summary": [], "content": [{"type": "reasoning_text", "text": "hm"}], "encrypted_content": None},
    ],
)
def test_thoughts_of_others_are_read_from_where_they_stand(item: dict[str, Any]) -> None:
    assert read({"type": "reasoning", **item}, said("a")) == (Message("assistant", "a", "hm"),)


def test_namespaces_and_tools_of_text_come_back_as_the_model_knows_them() -> None:
    text = {"type": "custom_tool_call", "call_id": "c2", "name": "patch", "input": "x\ny"}
    assert read(call("f", namespace="ns"), text, {**result("1", "c2"), "type": "custom_tool_call_output"}) == (
        Message("assistant", tool_calls=(ToolCall("ns.f", {"a": 1}, "c1"), ToolCall("patch", {"input": "x\ny"}, "c2"))),
        Message("tool", "1", tool_name="patch", tool_call_id="c2"),
    )


def test_a_result_may_come_in_parts() -> None:
    assert (
        read(result([{"type": "input_text", "text": "1"}, {"type": "input_text", "text": "2"}]))[0].content == "1\n\n2"
    )


def test_searches_are_passed_over() -> None:
    assert read({"type": "web_search_call", "id": "ws_1", "status": "completed"}, user("hi")) == (
        Message("user", "hi"),
    )


def test_images_are_told_of() -> None:
    part = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
    assert items.read([{"role": "user", "content": [part]}], "") == ((Message("user", ""),), True)
    assert items.read([result([part])], "")[1]


@pytest.mark.parametrize("url", ["http://10.0.0.1/x.png", "file:///etc/passwd", "data:image/png;base64,A", None])
def test_s20_images_are_never_fetched(url: str | None) -> None:
    with pytest.raises(BadRequest) as caught:
        read({"role": "user", "content": [{"type": "input_image", "image_url": url, "file_id": "f"}]})
    assert caught.value.param == "input[0].content[0]"


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("item", "param", "words"),
    [
        (5, "input[1]", "input[1]: an item is an object"),
        ({}, "input[1]", "input[1]: input item missing required 'type' field"),
        ({"type": "wizard"}, "input[1]", 'input[1]: unknown input item type: "wizard"'),
        ({"type": ["x"]}, "input[1]", "unknown input item type"),
        ({"type": "item_reference", "id": "msg_1"}, "input[1]", "send the items themselves"),
        ({"role": "wizard", "content": "x"}, "input[1].role", 'unknown role "wizard"'),
        ({"role": ["user"], "content": "x"}, "input[1].role", "unknown role"),
        ({"role": "user"}, "input[1].content", "a string or an array of parts is needed"),
        ({"role": "user", "content": [5]}, "input[1].content[0]", "invalid message format"),
        ({"role": "user", "content": [{"type": {}}]}, "input[1].content[0]", "invalid message format"),
        ({"role": "user", "content": [{"type": "input_text"}]}, "input[1].content[0].text", "a string is needed"),
        (
            {"role": "user", "content": [{"type": "input_file", "file_id": "f"}]},
            "input[1].content[0]",
            "file inputs are not currently supported",
        ),
        (call("f", arguments="[]"), "input[1].arguments", "invalid tool call arguments"),
        (call("f", arguments="{"), "input[1].arguments", "invalid JSON"),
        (call("f", arguments={}), "input[1].arguments", "a string is needed"),
        ({"type": "function_call", "call_id": "c"}, "input[1].name", "a string is needed"),
        ({"type": "function_call_output", "output": "x"}, "input[1].call_id", "a string is needed"),
        (result(None), "input[1].output", "a string or an array of parts is needed"),
        ({"type": "reasoning", "encrypted_content": 5}, "input[1].encrypted_content", "a string is needed"),
        ({"type": "reasoning", "summary": 5}, "input[1].summary", "a string or an array of parts is needed"),
        ({"type": "custom_tool_call", "name": "f"}, "input[1].input", "a string is needed"),
    ],
)
def test_h15_a_bad_item_is_named_by_its_place(item: Any, param: str, words: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read(user("hi"), item)
    assert caught.value.param == param
    assert words in caught.value.message
    assert caught.value.message.startswith("input[1]")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "input: a string or an array of items is needed"),
        (5, "input: a string or an array of items is needed"),
        ([], "[] is too short - 'input'"),
        ([user("x")] * 4097, "at most 4096 items"),
    ],
)
def test_an_input_of_nothing_or_of_too_much_is_refused(given: Any, words: str) -> None:
    with pytest.raises(BadRequest, match="input") as caught:
        items.read(given, "")
    assert words in caught.value.message


@pytest.mark.parametrize("item", [said("x" * 10_000), thought("x" * 10_000)], ids=["text", "thoughts"])
def test_h15_a_turn_of_thousands_of_items_is_put_together_once(item: Any) -> None:
    begun = time.process_time()
    (message,) = read(call("f"), *[item] * 3000) if item["type"] == "message" else read(*[item] * 3000)
    assert time.process_time() - begun < 2
    texts = message.content or message.thinking
    assert texts == "\n".join(["x" * 10_000] * 3000)


def test_texts_after_a_call_keep_their_order_around_further_calls() -> None:
    first, second = ToolCall("f", {"a": 1}, "c1"), ToolCall("g", {"a": 1}, "c2")
    assert read(said("a"), call("f"), said("b"), call("g", "c2"), said("c"), result("42"), said("d")) == (
        Message("assistant", "a\nb\nc", "", (first, second)),
        Message("tool", "42", tool_name="f", tool_call_id="c1"),
        Message("assistant", "d"),
    )
