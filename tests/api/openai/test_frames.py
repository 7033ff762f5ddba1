"""Every event of an answer in OpenAI's words (contract A3)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from powerd.api.answer import Output
from powerd.api.ask import Timing
from powerd.api.openai.frames import ChatFrames, CompletionFrames, usage
from powerd.errors import RunnerDied
from powerd.output.pieces import Content, Piece, Thought
from powerd.protocol import Finished, Likely, Logprob, ToolCall

TIMING = Timing(0, 0, 0)
DONE = Finished(1, "stop", 14, 0, 2)
CALL = ToolCall("f", {"city": "Paris"}, "call_1")


def said(*pieces: str | Piece) -> Output:
    return Output([Content(piece) if isinstance(piece, str) else piece for piece in pieces])


def events(data: bytes) -> list[Any]:
    blocks = data.decode().split("\n\n")
    assert blocks.pop() == ""
    return [
        text if text == "[DONE]" else json.loads(text) for text in (block.removeprefix("data: ") for block in blocks)
    ]


def test_a_chat_stream_reads_as_the_contracts_example() -> None:
    frames = ChatFrames("m", "412", 1787306400, include_usage=True)
    assert frames.chunk(said("Hi"), 0) == (
        b'data: {"id":"chatcmpl-412","object":"chat.completion.chunk","created":1787306400,"model":"m",'
        b'"system_fingerprint":"fp_ollama","choices":[{"index":0,"delta":{"role":"assistant","content":"Hi"},'
        b'"finish_reason":null}]}\n\n'
    )
    later = events(frames.chunk(said("!"), 0))[0]
    assert later["choices"] == [{"index": 0, "delta": {"content": "!"}, "finish_reason": None}]
    finish, usage, done = events(frames.last(DONE, TIMING))
    assert finish["choices"] == [{"index": 0, "delta": {}, "finish_reason": "stop"}]
    assert "usage" not in finish
    assert (usage["choices"], usage["usage"]) == ([], {"prompt_tokens": 14, "completion_tokens": 2, "total_tokens": 16})
    assert done == "[DONE]"


def test_an_answer_without_text_still_names_its_role() -> None:
    first, *_ = events(ChatFrames("m", "1", 0, include_usage=False).last(DONE, TIMING))
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}


def test_usage_is_sent_only_where_it_was_asked_for() -> None:
    frames = ChatFrames("m", "1", 0, include_usage=False)
    frames.chunk(said("x"), 0)
    assert len(events(frames.last(DONE, TIMING))) == 2


@pytest.mark.parametrize(("reason", "told"), [("stop", "stop"), ("length", "length"), ("repeat", "length")])
def test_finish_reasons_are_those_clients_know(reason: Any, told: str) -> None:
    whole = json.loads(ChatFrames("m", "1", 0, include_usage=False).whole(said("x"), Finished(1, reason), TIMING))
    assert whole["choices"][0]["finish_reason"] == told


def test_cached_tokens_are_told_when_there_are_any() -> None:
    assert "prompt_tokens_details" not in usage(DONE)
    assert usage(Finished(1, "stop", 14, 9, 2))["prompt_tokens_details"] == {"cached_tokens": 9}


def test_a_whole_chat_answer() -> None:
    whole = json.loads(ChatFrames("m", "7", 5, include_usage=False).whole(said("Hi"), DONE, TIMING))
    assert list(whole) == ["id", "object", "created", "model", "system_fingerprint", "choices", "usage"]
    assert (whole["id"], whole["object"], whole["created"]) == ("chatcmpl-7", "chat.completion", 5)
    assert whole["choices"] == [
        {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    ]


def test_a_completion_stream_has_zero_usage_until_the_last() -> None:
    frames = CompletionFrames("m", "7", 5, include_usage=True)
    zero = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    chunk = events(frames.chunk(said('a"b'), 0))[0]
    assert list(chunk) == ["id", "object", "created", "model", "system_fingerprint", "choices", "usage"]
    assert chunk["choices"] == [{"text": 'a"b', "index": 0, "finish_reason": None}]
    finish, usage, done = events(frames.last(DONE, TIMING))
    assert finish["choices"] == [{"text": "", "index": 0, "finish_reason": "stop"}]
    assert chunk["usage"] == finish["usage"] == zero
    assert (usage["choices"], usage["usage"]["total_tokens"], done) == ([], 16, "[DONE]")
    plain = CompletionFrames("m", "7", 5, include_usage=False)
    assert "usage" not in events(plain.chunk(said("x"), 0))[0]
    assert len(events(plain.last(DONE, TIMING))) == 2


def test_a_failure_in_mid_stream_is_an_error_event_without_done() -> None:
    for frames in (
        ChatFrames("m", "7", 5, include_usage=True),
        CompletionFrames("m", "7", 5, include_usage=True),
    ):
        (event,) = events(frames.failed(RunnerDied("killed")))
        assert event["error"]["type"] == "api_error"
        assert event["error"]["message"].startswith("runner:")


@pytest.mark.parametrize("text", ['"', "\\", "\n\n", "\r\n", "\x00", "é 💡", "data: x", "\u2028"])
def test_h07_every_text_survives_its_event(text: str) -> None:
    (chat_event,) = events(ChatFrames('m"', "7", 5, include_usage=False).chunk(said(text), 0))
    assert chat_event["choices"][0]["delta"]["content"] == text
    (event,) = events(CompletionFrames('m"', "7", 5, include_usage=True).chunk(said(text), 0))
    assert event["choices"][0]["text"] == text
    assert chat_event["model"] == event["model"] == 'm"'


# ---------------------------------------------------------------- thoughts, calls, probabilities


def deltas(data: bytes) -> list[Any]:
    return [event["choices"][0]["delta"] for event in events(data)]


def test_thoughts_have_an_event_of_their_own() -> None:
    chat = ChatFrames("m", "1", 0, include_usage=False)
    assert deltas(chat.chunk(said(Thought("hm")), 0)) == [{"role": "assistant", "content": "", "reasoning": "hm"}]
    assert deltas(chat.chunk(said(Thought("so"), "Hi"), 0)) == [{"reasoning": "so"}, {"content": "Hi"}]
    whole = json.loads(chat.whole(said(Thought("hm"), "Hi"), DONE, TIMING))
    assert whole["choices"][0]["message"] == {"role": "assistant", "content": "Hi", "reasoning": "hm"}


def test_a_call_arrives_whole_with_its_arguments_as_text() -> None:
    chat = ChatFrames("m", "1", 0, include_usage=False)
    function = {"name": "f", "arguments": '{"city":"Paris"}'}
    told = {"index": 0, "id": "call_1", "type": "function", "function": function}
    assert deltas(chat.chunk(said(CALL), 0)) == [{"role": "assistant", "content": "", "tool_calls": [told]}]
    assert deltas(chat.chunk(said(CALL), 0))[0]["tool_calls"][0]["index"] == 1
    assert events(chat.last(DONE, TIMING))[0]["choices"][0]["finish_reason"] == "tool_calls"
    whole = json.loads(ChatFrames("m", "1", 0, include_usage=False).whole(said(CALL), DONE, TIMING))
    assert whole["choices"][0]["finish_reason"] == "tool_calls"
    assert whole["choices"][0]["message"]["tool_calls"] == [told]


def test_an_answer_with_calls_that_was_cut_is_still_cut() -> None:
    chat = ChatFrames("m", "1", 0, include_usage=False)
    whole = json.loads(chat.whole(said(CALL), Finished(1, "length"), TIMING))
    assert whole["choices"][0]["finish_reason"] == "length"


def test_probabilities_are_those_of_the_content() -> None:
    token = Logprob(b"Hi", -0.5, [Likely(b"Hi", -0.5), Likely(b"\xe2", -2.0)])
    thought, spoken = said(Thought("hm")), said("Hi")
    thought.logprobs = spoken.logprobs = spoken.spoken = [token]
    chat = ChatFrames("m", "1", 0, include_usage=False)
    assert "logprobs" not in events(chat.chunk(thought, 0))[0]["choices"][0]
    told = events(chat.chunk(spoken, 0))[0]["choices"][0]["logprobs"]
    assert told["content"][0]["top_logprobs"][1] == {"token": "\ufffd", "logprob": -2.0, "bytes": [226]}
    assert json.loads(chat.whole(spoken, DONE, TIMING))["choices"][0]["logprobs"] == told


def test_a_completion_has_no_place_for_thoughts_and_tells_probabilities_in_lists() -> None:
    text = CompletionFrames("m", "7", 5, include_usage=False)
    assert text.chunk(said(Thought("hm")), 0) == b""
    for place in (0, 2):
        output = said("Hi")
        output.logprobs = output.spoken = [Logprob(b"Hi", -0.5, [Likely(b"Ho", -2.0)])]
        (event,) = events(text.chunk(output, 0))
        assert event["choices"][0]["logprobs"] == {
            "tokens": ["Hi"],
            "token_logprobs": [-0.5],
            "top_logprobs": [{"Ho": -2.0}],
            "text_offset": [place],
        }
