"""From Ollama's requests to Asks: durations, think, format, messages."""

from __future__ import annotations

import json
import math
from functools import partial
from typing import Any

import msgspec
import pytest

from powerd.api.ollama import translate
from powerd.api.ollama.schema import ChatRequest, GenerateRequest
from powerd.catalog.spec import Template
from powerd.errors import BadRequest
from powerd.protocol import Message, ToolCall


def chat(**body: Any) -> Any:
    return translate.chat(msgspec.convert({"model": "m", **body}, ChatRequest))


def generate(**body: Any) -> Any:
    return translate.generate(msgspec.convert({"model": "m", "prompt": "p", **body}, GenerateRequest))


# ---------------------------------------------------------------- keep_alive (H12, contract 1.4 and 10)


@pytest.mark.parametrize(
    ("sent", "seconds"),
    [
        *(
            (None, None),
            (0, 0.0),
            (300, 300.0),
            (1.5, 1.5),
            ("5m", 300.0),
            ("1h30m", 5400.0),
            ("0", 0.0),
            ("500ms", 0.5),
        ),
        *((-1, math.inf), (-0.5, math.inf), ("-1m", math.inf), ("-1s", math.inf), (10**300, math.inf), ("9e9", None)),
    ],
)
def test_h12_keep_alive_takes_seconds_and_durations(sent: Any, seconds: float | None) -> None:
    if sent == "9e9":
        with pytest.raises(BadRequest):
            translate.keep_alive(sent)
    else:
        assert translate.keep_alive(sent) == seconds


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        ("10", 'time: missing unit in duration "10"'),
        ("-1", 'time: missing unit in duration "-1"'),
        ("", 'time: invalid duration ""'),
        ("9e99h", 'time: invalid duration "9e99h"'),
        ("5 minutes", 'time: invalid duration "5 minutes"'),
        (True, "keep_alive: Unsupported type: 'bool'"),
        ([5], "keep_alive: Unsupported type: '[]interface {}'"),
        ({}, "keep_alive: Unsupported type: 'map[string]interface {}'"),
    ],
)
def test_h12_a_bad_keep_alive_has_gos_text(sent: Any, text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        translate.keep_alive(sent)
    assert caught.value.message == text
    assert caught.value.param == "keep_alive"


# ---------------------------------------------------------------- think, format, logprobs


@pytest.mark.parametrize("sent", [None, False, True, "low", "max"])
def test_think_takes_booleans_and_levels(sent: Any) -> None:
    assert chat(think=sent).think is sent
    assert ("thinking" in generate(think=sent).needs) is bool(sent)


def test_a_bad_think_has_ollamas_text() -> None:
    choices = '"high", "medium", "low", "max", true, or false'
    with pytest.raises(BadRequest) as caught:
        translate.think("x")
    assert caught.value.message == f'invalid think value: "x" (must be {choices})'
    wrong: list[Any] = [1, 0, [], {}]
    for value in wrong:
        with pytest.raises(BadRequest) as caught:
            translate.think(value)
        assert caught.value.message == f"think must be a boolean or string ({choices})"


@pytest.mark.parametrize("sent", [None, ""])
def test_no_format_is_no_format(sent: Any) -> None:
    assert chat(format=sent).format is None


def test_a_format_is_any_object_or_a_schema() -> None:
    schema = {"type": "object", "properties": {"b": {"type": "string"}, "a": {"type": "integer"}}}
    assert generate(format="json").format == "json"
    assert list(chat(format=schema).format["properties"]) == ["b", "a"]


def test_a_schema_that_cannot_be_held_is_refused_before_anything_is_done() -> None:
    with pytest.raises(BadRequest) as caught:
        chat(format={"$ref": "#/$defs/none"})
    assert caught.value.param == "format"


@pytest.mark.parametrize("sent", ["yaml", 5, True, ["json"]])
def test_a_bad_format_has_ollamas_text(sent: Any) -> None:
    with pytest.raises(BadRequest) as caught:
        chat(format=sent)
    assert type(caught.value) is BadRequest
    text = f'invalid format: {json.dumps(sent)}; expected "json" or a valid JSON Schema object'
    assert caught.value.message == text


@pytest.mark.parametrize("count", [-1, 21, 10**6])
def test_top_logprobs_has_its_range(count: int) -> None:
    with pytest.raises(BadRequest, match="top_logprobs must be between 0 and 20"):
        translate.check_first(ChatRequest(top_logprobs=count))


def test_logprobs_say_how_many_alternatives() -> None:
    assert [generate(**body).logprobs for body in ({}, {"logprobs": True}, {"logprobs": True, "top_logprobs": 3})] == [
        *(-1, 0, 3)
    ]
    assert generate(top_logprobs=3).logprobs == -1


def test_ollamas_routes_cut_unless_the_request_says_otherwise() -> None:
    silent, loud = chat(), generate(truncate=False, shift=True)
    assert (silent.cuts, silent.truncate, silent.shift) == (True, None, None)
    assert (loud.cuts, loud.truncate, loud.shift) == (True, False, True)


def test_a_template_is_told_apart_by_its_syntax() -> None:
    assert generate(template="{{ .Prompt }}").template == Template("{{ .Prompt }}", "go")
    assert generate(template="{{ messages[0].content }}").template == Template("{{ messages[0].content }}", "jinja")
    assert generate().template is None


# ---------------------------------------------------------------- messages


def test_a_message_keeps_everything_a_template_may_want() -> None:
    call = {"id": "c1", "function": {"name": "f", "arguments": {"a": 1}}}
    ask = chat(
        messages=[
            {"role": "USER", "content": "hi"},
            {"role": "assistant", "content": None, "thinking": "hm", "tool_calls": [call]},
            {"role": "tool", "content": "42", "tool_name": "f", "tool_call_id": "c1"},
            {"role": "weird", "content": "x"},
        ]
    )
    assert ask.messages == (
        Message("user", "hi"),
        Message("assistant", "", "hm", (ToolCall("f", {"a": 1}, "c1"),)),
        Message("tool", "42", tool_name="f", tool_call_id="c1"),
        Message("weird", "x"),
    )


def test_h15_a_conversation_has_a_limit() -> None:
    message = {"role": "user", "content": "x"}
    assert len(chat(messages=[message] * 4096).messages) == 4096
    with pytest.raises(BadRequest, match=r"messages\[4096\]"):
        chat(messages=[message] * 4097)


def test_what_a_request_needs_of_the_model() -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    assert chat(tools=[tool]).needs == generate(tools=[tool]).needs == ("tools",)
    assert chat(messages=[{"role": "user", "images": ["AAAA"]}]).needs == ("vision",)
    assert generate(suffix="}").needs == ("insert",)
    assert generate(images=["AAAA"]).needs == ("vision",)
    assert chat(tools=[], messages=[{"role": "user", "images": []}]).needs == ()


@pytest.mark.parametrize(
    ("text", "byte"),
    [("x", 1), ("AA-A", 2), ("data:image/png;base64,AAAA", 4), ("AAA", 3), ("A===", 1), ("AA=", 3), ("AAAA=", 4)],
)
def test_an_image_that_is_no_base64_is_refused_at_its_first_wrong_byte(text: str, byte: int) -> None:
    for ask in (partial(generate, images=["", text]), partial(chat, messages=[{"images": ["AAAA", text]}])):
        with pytest.raises(BadRequest) as caught:
            ask()
        assert caught.value.message == f"illegal base64 data at input byte {byte}"
        assert str(caught.value.param).endswith("images[1]")


@pytest.mark.parametrize("text", ["", "AA==", "AAA=", "AAAA", "+/+/", "AA\r\n=="])
def test_padded_base64_is_an_image(text: str) -> None:
    assert generate(images=[text]).needs == ("vision",)


def test_generate_is_a_conversation_of_one() -> None:
    ask = generate(system="s", context=[1, 2])
    assert (ask.messages, ask.system, ask.prefix, ask.with_stored) == ((Message("user", "p"),), "s", (1, 2), False)
    assert (ask.raw, ask.want_tokens, ask.verb) == (None, True, "generate")


def test_raw_is_the_prompt_itself() -> None:
    ask = generate(raw=True)
    assert (ask.raw, ask.want_tokens) == ("p", False)
    for body in ({"template": "x"}, {"system": "x"}, {"context": [1]}):
        with pytest.raises(BadRequest, match="raw mode does not support template, system, or context"):
            generate(raw=True, **body)
