"""From OpenAI's requests to Asks: messages, sampling, tools, formats, and the fields that errors name."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from powerd.api.openai import translate
from powerd.api.openai.schema import ChatRequest, CompletionRequest
from powerd.errors import BadRequest, Unsupported
from powerd.protocol import Message, ToolCall

HI = [{"role": "user", "content": "hi"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def chat(**body: Any) -> Any:
    return translate.chat(msgspec.convert({"model": "m", "messages": HI, **body}, ChatRequest))


def completion(**body: Any) -> Any:
    return translate.completion(msgspec.convert({"model": "m", "prompt": "p", **body}, CompletionRequest))


def refused(**body: Any) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        chat(**body)
    return caught.value


# ---------------------------------------------------------------- messages


def test_text_parts_become_one_message() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": ""}, {"type": "text", "text": "b"}]
    assert chat(messages=[{"role": "user", "content": parts}]).messages == (Message("user", "a\n\nb"),)


def test_the_developer_is_the_system() -> None:
    assert chat(messages=[{"role": "developer", "content": "x"}]).messages == (Message("system", "x"),)


def test_tool_calls_carry_their_arguments_as_objects_and_results_their_names() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    ask = chat(
        messages=[
            {"role": "assistant", "content": None, "reasoning": "hm", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "42"},
            {"role": "tool", "tool_call_id": "c2", "name": "g", "content": "43"},
        ]
    )
    assert ask.messages == (
        Message("assistant", "", "hm", (ToolCall("f", {"a": 1}, "c1"),)),
        Message("tool", "42", tool_name="f", tool_call_id="c1"),
        Message("tool", "43", tool_name="g", tool_call_id="c2"),
    )


@pytest.mark.parametrize(
    ("message", "place", "words"),
    [
        ({"role": "wizard", "content": "x"}, "messages[1].role", 'unknown role "wizard"'),
        ({"role": "user"}, "messages[1].content", "invalid message content type: <nil>"),
        ({"role": "user", "content": 5}, "messages[1].content", "invalid message content type: int"),
        ({"role": "user", "content": [["x"]]}, "messages[1].content[0]", "invalid message format"),
        ({"role": "user", "content": [{"type": "file"}]}, "messages[1].content[0]", "invalid message format"),
        (
            {"role": "user", "content": [{"type": "text", "text": 5}]},
            "messages[1].content[0]",
            "invalid message format",
        ),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "[]"}}]},
            "messages[1].tool_calls[0].function.arguments",
            "invalid tool call arguments",
        ),
    ],
)
def test_h15_a_bad_message_is_named_by_its_index(message: dict[str, Any], place: str, words: str) -> None:
    error = refused(messages=[*HI, message])
    assert error.param == place
    assert error.message == f"{place}: {words}" if ":" not in words else words in error.message


def test_h15_arguments_that_are_no_json_are_a_bad_request() -> None:
    call = {"function": {"name": "f", "arguments": "{"}}
    error = refused(messages=[{"role": "assistant", "tool_calls": [call]}])
    assert error.param == "messages[0].tool_calls[0].function.arguments"
    assert error.message.startswith(f"{error.param}: invalid JSON")


def test_no_messages_and_too_many_are_refused() -> None:
    assert refused(messages=[]).message == "[] is too short - 'messages'"
    assert "4096" in refused(messages=HI * 4097).message


@pytest.mark.parametrize(
    "url",
    [
        *("http://10.0.0.1/x.png", "https://ok.example/x", "file:///etc/passwd", "gopher://x", "//127.0.0.1"),
        *("http://ok.example\\@127.0.0.1/", "http://ok#@127.0.0.1", "data:text/html;base64,AAAA"),
        *("data:image/png;base64,A", "data:image/png,AAAA", "data:image/gif;base64,AAAA", "", None, 5),
    ],
)
@pytest.mark.parametrize("wrap", [True, False])
def test_s20_an_image_is_data_and_never_fetched(url: object, wrap: bool) -> None:
    part = {"type": "image_url", "image_url": {"url": url} if wrap else url}
    message = refused(messages=[{"role": "user", "content": [part]}]).message
    words = "use base64 encoded data" if str(url).startswith("http") else "invalid image input"
    assert message.startswith("messages[0].content[0]: ")
    assert (words if isinstance(url, str) else "invalid message format") in message


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": "data:image/png;base64,AAAA"},
        {"type": "image_url", "image_url": {"url": "data:;base64,AAAA", "detail": "low"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    ],
)
def test_pictures_and_sounds_are_needs_of_the_model(part: dict[str, object]) -> None:
    assert chat(messages=[{"role": "user", "content": [part]}]).needs == ("vision",)


# ---------------------------------------------------------------- sampling


def test_what_is_not_sent_is_left_to_the_model() -> None:
    assert chat().options == {}
    assert chat(temperature=None, top_p=None, stop=None).options == {}


def test_what_is_sent_goes_by_ollamas_names() -> None:
    ask = chat(
        temperature=0.5,
        top_p=0.6,
        seed=7,
        frequency_penalty=1,
        presence_penalty=-1,
        stop="x",
        max_tokens=5,
        logit_bias={"3": -100},
    )
    assert ask.options == {
        "temperature": 0.5,
        "top_p": 0.6,
        "seed": 7,
        "frequency_penalty": 1.0,
        "presence_penalty": -1.0,
        "stop": ("x",),
        "num_predict": 5,
    }
    assert ask.logit_bias == {3: -100.0}


def test_max_completion_tokens_is_honoured() -> None:
    assert chat(max_completion_tokens=3).options == {"num_predict": 3}
    assert chat(max_completion_tokens=3, max_tokens=9).options == {"num_predict": 3}
    assert chat(max_tokens=-1).options == {"num_predict": -1}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -3}, "max_tokens"),
        ({"max_tokens": 2**40}, "max_tokens"),
        ({"temperature": -1}, "temperature"),
        ({"top_p": 1.5}, "top_p"),
        ({"seed": 2**70}, "seed"),
        ({"presence_penalty": 1000}, "presence_penalty"),
        ({"stop": 5}, "stop"),
        ({"stop": [5]}, "stop"),
        ({"stop": ["x"] * 65}, "stop"),
        ({"logit_bias": {"x": 1}}, "logit_bias"),
        ({"logit_bias": {"-1": 1}}, "logit_bias"),
        ({"logit_bias": {"1": 101}}, "logit_bias"),
        ({"logit_bias": {str(n): 1 for n in range(2000)}}, "logit_bias"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"n": 17}, "n"),
        ({"n": 0}, "n"),
        ({"n": 2**70}, "n"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": []}}}, "response_format"),
        ({"tools": [{"type": "function"}]}, "tools[0]"),
        ({"tools": [TOOL, TOOL]}, "tools[1]"),
        ({"functions": [{}]}, "functions"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": "maybe", "tools": [TOOL]}, "tool_choice"),
        ({"tool_choice": {"function": {"name": "g"}}, "tools": [TOOL]}, "tool_choice"),
        ({"thinking_budget": -2}, "thinking_budget"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"response_format": 5}, "response_format"),
        ({"reasoning_effort": "extreme"}, "reasoning_effort"),
    ],
)
def test_s49_a_bad_value_names_its_field(body: dict[str, Any], param: str) -> None:
    assert refused(**body).param == param


@pytest.mark.parametrize(
    "body", [{"response_format": {"type": "text"}}, {"tool_choice": "none"}, {"tools": []}, {"user": "x"}]
)
def test_what_asks_for_nothing_is_fine(body: dict[str, Any]) -> None:
    assert chat(**body).needs == ()


@pytest.mark.parametrize(
    ("body", "thinks"),
    [
        ({"reasoning_effort": "none"}, False),
        ({"reasoning_effort": "minimal"}, "low"),
        ({"reasoning_effort": "medium"}, "medium"),
        ({"reasoning": {"effort": "xhigh"}}, "max"),
        ({"reasoning": {}}, None),
    ],
)
def test_effort_is_thinking(body: dict[str, Any], thinks: bool | str | None) -> None:
    ask = chat(**body)
    assert ask.think == thinks
    assert ask.needs == (("thinking",) if thinks else ())


def test_tools_are_needs_of_the_model() -> None:
    ask = chat(tools=[TOOL], parallel_tool_calls=False)
    assert (ask.needs, ask.tools, ask.tool_choice, ask.parallel_calls) == (("tools",), (TOOL,), "auto", False)


def test_the_choice_of_a_tool_is_honoured() -> None:
    other = {"type": "function", "function": {"name": "g"}}
    assert chat(tools=[TOOL], tool_choice="none").tools == ()
    assert chat(tools=[TOOL], tool_choice="required").tool_choice == "required"
    named = chat(tools=[TOOL, other], tool_choice={"type": "function", "function": {"name": "g"}})
    assert (named.tool_choice, named.tools) == ("g", (other,))


def test_a_format_is_any_object_or_a_schema() -> None:
    schema = {"type": "object", "properties": {"b": {"type": "string"}, "a": {"type": "integer"}}}
    wrapped = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert chat(response_format={"type": "json_object"}).format == "json"
    assert list(chat(response_format=wrapped).format["properties"]) == ["b", "a"]


def test_logprobs_say_how_many_alternatives() -> None:
    assert [chat(**body).logprobs for body in ({}, {"logprobs": True}, {"logprobs": True, "top_logprobs": 3})] == [
        *(-1, 0, 3)
    ]


def test_this_api_does_not_cut() -> None:
    assert not chat().cuts


# ---------------------------------------------------------------- completions


def test_a_completion_is_one_user_message() -> None:
    ask = completion(max_tokens=4, suffix="}", logprobs=2)
    assert (ask.messages, ask.options, ask.needs, ask.raw) == (
        (Message("user", "p"),),
        {"num_predict": 4},
        ("insert",),
        None,
    )
    assert (ask.think, ask.suffix, ask.logprobs) == (False, "}", 2)
    assert completion(prompt=["p"]).messages == (Message("user", "p"),)


@pytest.mark.parametrize("prompt", [[], ["a", "b"], [1, 2], [[1]]])
def test_several_prompts_and_token_ids_are_refused(prompt: Any) -> None:
    with pytest.raises(BadRequest, match="prompt"):
        completion(prompt=prompt)


@pytest.mark.parametrize("body", [{"echo": True}, {"best_of": 2}])
def test_what_is_not_there_yet_is_refused_by_name(body: dict[str, Any]) -> None:
    with pytest.raises(Unsupported, match=f"{next(iter(body))}.*not available") as caught:
        completion(**body)
    assert caught.value.param == next(iter(body))
