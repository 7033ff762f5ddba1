"""Between OpenAI's words and the neutral ones: messages, sampling, errors' fields, and every event of an answer."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from powerd.api.ask import Timing
from powerd.api.openai import translate
from powerd.api.openai.schema import ChatRequest, CompletionRequest
from powerd.errors import BadRequest, RunnerDied, Unsupported
from powerd.protocol import Finished, Message, ToolCall

HI = [{"role": "user", "content": "hi"}]
TIMING = Timing(0, 0, 0)
DONE = Finished(1, "stop", 14, 0, 2)


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
            "messages[1].tool_calls",
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
    assert "invalid JSON" in refused(messages=[{"role": "assistant", "tool_calls": [call]}]).message


def test_no_messages_and_too_many_are_refused() -> None:
    assert refused(messages=[]).message == "[] is too short - 'messages'"
    assert "4096" in refused(messages=HI * 4097).message


@pytest.mark.parametrize(
    "url",
    [
        *("http://10.0.0.1/x.png", "https://ok.example/x", "file:///etc/passwd", "gopher://x", "//127.0.0.1"),
        *("http://ok.example\\@127.0.0.1/", "http://ok#@127.0.0.1", "data:text/html;base64,AAAA"),
    ],
)
@pytest.mark.parametrize("wrap", [True, False])
def test_s20_images_are_needs_of_the_model_and_never_fetched(url: str, wrap: bool) -> None:
    part = {"type": "image_url", "image_url": {"url": url} if wrap else url}
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


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
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
        ({"n": 2}, "n"),
        ({"n": 0}, "n"),
        ({"n": 2**70}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
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
        ({"reasoning_effort": "low"}, True),
        ({"reasoning": {"effort": "xhigh"}}, True),
        ({"reasoning": {}}, None),
    ],
)
def test_effort_is_thinking(body: dict[str, Any], thinks: bool | None) -> None:
    ask = chat(**body)
    assert ask.think is thinks
    assert ask.needs == (("thinking",) if thinks else ())


def test_tools_are_needs_of_the_model() -> None:
    assert chat(tools=[{"type": "function"}]).needs == ("tools",)
    assert chat(functions=[{}]).needs == ("tools",)


# ---------------------------------------------------------------- completions


def test_a_completion_is_one_user_message() -> None:
    ask = completion(max_tokens=4, suffix="}")
    assert (ask.messages, ask.options, ask.needs, ask.raw) == (
        (Message("user", "p"),),
        {"num_predict": 4},
        ("insert",),
        None,
    )
    assert completion(prompt=["p"]).messages == (Message("user", "p"),)


@pytest.mark.parametrize("prompt", [[], ["a", "b"], [1, 2], [[1]]])
def test_several_prompts_and_token_ids_are_refused(prompt: Any) -> None:
    with pytest.raises(BadRequest, match="prompt"):
        completion(prompt=prompt)


@pytest.mark.parametrize("body", [{"logprobs": 1}, {"logprobs": 0}, {"echo": True}, {"best_of": 2}, {"n": 2}])
def test_what_is_not_there_yet_is_refused_by_name(body: dict[str, Any]) -> None:
    with pytest.raises(Unsupported, match=f"{next(iter(body))}.*not available") as caught:
        completion(**body)
    assert caught.value.param == next(iter(body))


# ---------------------------------------------------------------- answers (contract A3)


def events(data: bytes) -> list[Any]:
    blocks = data.decode().split("\n\n")
    assert blocks.pop() == ""
    return [
        text if text == "[DONE]" else json.loads(text) for text in (block.removeprefix("data: ") for block in blocks)
    ]


def test_a_chat_stream_reads_as_the_contracts_example() -> None:
    frames = translate.ChatFrames("m", "412", 1787306400, include_usage=True)
    assert frames.chunk("Hi", 0) == (
        b'data: {"id":"chatcmpl-412","object":"chat.completion.chunk","created":1787306400,"model":"m",'
        b'"system_fingerprint":"fp_ollama","choices":[{"index":0,"delta":{"role":"assistant","content":"Hi"},'
        b'"finish_reason":null}]}\n\n'
    )
    later = events(frames.chunk("!", 0))[0]
    assert later["choices"] == [{"index": 0, "delta": {"content": "!"}, "finish_reason": None}]
    finish, usage, done = events(frames.last(DONE, TIMING))
    assert finish["choices"] == [{"index": 0, "delta": {}, "finish_reason": "stop"}]
    assert "usage" not in finish
    assert (usage["choices"], usage["usage"]) == ([], {"prompt_tokens": 14, "completion_tokens": 2, "total_tokens": 16})
    assert done == "[DONE]"


def test_an_answer_without_text_still_names_its_role() -> None:
    first, *_ = events(translate.ChatFrames("m", "1", 0, include_usage=False).last(DONE, TIMING))
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}


def test_usage_is_sent_only_where_it_was_asked_for() -> None:
    frames = translate.ChatFrames("m", "1", 0, include_usage=False)
    frames.chunk("x", 0)
    assert len(events(frames.last(DONE, TIMING))) == 2


@pytest.mark.parametrize(("reason", "told"), [("stop", "stop"), ("length", "length"), ("repeat", "length")])
def test_finish_reasons_are_those_clients_know(reason: Any, told: str) -> None:
    whole = json.loads(translate.ChatFrames("m", "1", 0, include_usage=False).whole("x", Finished(1, reason), TIMING))
    assert whole["choices"][0]["finish_reason"] == told


def test_cached_tokens_are_told_when_there_are_any() -> None:
    assert "prompt_tokens_details" not in translate.usage(DONE)
    assert translate.usage(Finished(1, "stop", 14, 9, 2))["prompt_tokens_details"] == {"cached_tokens": 9}


def test_a_whole_chat_answer() -> None:
    whole = json.loads(translate.ChatFrames("m", "7", 5, include_usage=False).whole("Hi", DONE, TIMING))
    assert list(whole) == ["id", "object", "created", "model", "system_fingerprint", "choices", "usage"]
    assert (whole["id"], whole["object"], whole["created"]) == ("chatcmpl-7", "chat.completion", 5)
    assert whole["choices"] == [
        {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    ]


def test_a_completion_stream_has_zero_usage_until_the_last() -> None:
    frames = translate.CompletionFrames("m", "7", 5, include_usage=True)
    zero = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    chunk = events(frames.chunk('a"b', 0))[0]
    assert list(chunk) == ["id", "object", "created", "model", "system_fingerprint", "choices", "usage"]
    assert chunk["choices"] == [{"text": 'a"b', "index": 0, "finish_reason": None}]
    finish, usage, done = events(frames.last(DONE, TIMING))
    assert finish["choices"] == [{"text": "", "index": 0, "finish_reason": "stop"}]
    assert chunk["usage"] == finish["usage"] == zero
    assert (usage["choices"], usage["usage"]["total_tokens"], done) == ([], 16, "[DONE]")
    plain = translate.CompletionFrames("m", "7", 5, include_usage=False)
    assert "usage" not in events(plain.chunk("x", 0))[0]
    assert len(events(plain.last(DONE, TIMING))) == 2


def test_a_failure_in_mid_stream_is_an_error_event_without_done() -> None:
    for frames in (
        translate.ChatFrames("m", "7", 5, include_usage=True),
        translate.CompletionFrames("m", "7", 5, include_usage=True),
    ):
        (event,) = events(frames.failed(RunnerDied("killed")))
        assert event["error"]["type"] == "api_error"
        assert event["error"]["message"].startswith("runner:")


@pytest.mark.parametrize("text", ["", '"', "\\", "\n\n", "\r\n", "\x00", "é 💡", "data: x", "\u2028"])
def test_h07_every_text_survives_its_event(text: str) -> None:
    (chat_event,) = events(translate.ChatFrames('m"', "7", 5, include_usage=False).chunk(text, 0))
    assert chat_event["choices"][0]["delta"]["content"] == text
    (event,) = events(translate.CompletionFrames('m"', "7", 5, include_usage=True).chunk(text, 0))
    assert event["choices"][0]["text"] == text
    assert chat_event["model"] == event["model"] == 'm"'
