"""Every event of an answer in Anthropic's words, byte by byte where the contract gives them (example A5)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from powerd.api.answer import Output
from powerd.api.anthropic.frames import ERROR_TYPES, PING, MessageFrames, error_body, usage
from powerd.api.ask import Timing
from powerd.api.status import Refusal
from powerd.errors import BadRequest, Busy, ContextOverflow, LoadFailed, NotFound, RunnerDied
from powerd.output.pieces import Content, Piece, Thought
from powerd.protocol import Finished, Logprob, ToolCall

TIMING = Timing(0, 0, 0)
DONE = Finished(1, "stop", prompt_tokens=31, output_tokens=18)
CALL = ToolCall("get_weather", {"city": "Paris"}, "call_k3x9a0qz")


def frames(*stops: str) -> MessageFrames:
    return MessageFrames("m", "7", "req_9", stops, 25)


def said(*pieces: str | Piece) -> Output:
    return Output([Content(piece) if isinstance(piece, str) else piece for piece in pieces])


def events(data: bytes) -> list[Any]:
    """The data of the events, whose names are those of their types."""
    blocks = data.decode().split("\n\n")
    assert blocks.pop() == ""
    told = []
    for block in blocks:
        name, body = block.split("\n")
        told.append(json.loads(body.removeprefix("data: ")))
        assert name == f"event: {told[-1]['type']}"
    return told


# ---------------------------------------------------------------- streams


def test_a_stream_reads_as_the_contracts_example() -> None:
    stream = frames()
    told = stream.chunk(said("Checking"), 0) + stream.chunk(said(CALL), 0) + stream.last(DONE, TIMING)
    assert told.decode() == (
        "event: message_start\n"
        'data: {"type":"message_start","message":{"id":"msg_7","type":"message","role":"assistant","model":"m",'
        '"content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":25,'
        '"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0}}}\n\n'
        'event: ping\ndata: {"type":"ping"}\n\n'
        "event: content_block_start\n"
        'data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\n\n'
        "event: content_block_delta\n"
        'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Checking"}}\n\n'
        "event: content_block_stop\n"
        'data: {"type":"content_block_stop","index":0}\n\n'
        "event: content_block_start\n"
        'data: {"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"call_k3x9a0qz",'
        '"name":"get_weather","input":{}}}\n\n'
        "event: content_block_delta\n"
        'data: {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta",'
        '"partial_json":"{\\"city\\":\\"Paris\\"}"}}\n\n'
        "event: content_block_stop\n"
        'data: {"type":"content_block_stop","index":1}\n\n'
        "event: message_delta\n"
        'data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},'
        '"usage":{"input_tokens":31,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":18}}\n\n'
        "event: message_stop\n"
        'data: {"type":"message_stop"}\n\n'
    )


def test_text_of_one_kind_stays_in_one_block() -> None:
    stream = frames()
    stream.chunk(said("a"), 0)
    (later,) = events(stream.chunk(said("b"), 0))
    assert later == {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "b"}}


def test_thoughts_have_signed_blocks_also_after_text() -> None:
    stream = frames()
    told = events(stream.chunk(said(Thought("hm"), "a", Thought("oh"), CALL, CALL), 0))
    assert [(event["type"], event.get("index")) for event in told[2:]] == [
        *(("content_block_start", 0), ("content_block_delta", 0), ("content_block_delta", 0)),
        *(("content_block_stop", 0), ("content_block_start", 1), ("content_block_delta", 1), ("content_block_stop", 1)),
        *(("content_block_start", 2), ("content_block_delta", 2), ("content_block_delta", 2)),
        *(("content_block_stop", 2), ("content_block_start", 3), ("content_block_delta", 3), ("content_block_stop", 3)),
        *(("content_block_start", 4), ("content_block_delta", 4)),
    ]
    assert told[2]["content_block"] == {"type": "thinking", "thinking": "", "signature": ""}
    assert told[3]["delta"] == {"type": "thinking_delta", "thinking": "hm"}
    assert told[4]["delta"] == {"type": "signature_delta", "signature": "unsigned"}
    assert [event["type"] for event in events(stream.last(DONE, TIMING))] == [
        *("content_block_stop", "message_delta", "message_stop"),
    ]


def test_probabilities_alone_say_nothing() -> None:
    stream = frames()
    assert stream.chunk(Output(logprobs=[Logprob(b"x", -1.0)]), 0) == b""


def test_an_answer_without_text_has_all_its_events_but_no_block() -> None:
    start, ping, delta, stop = events(frames().last(DONE, TIMING))
    assert start["message"]["content"] == []
    assert ping == {"type": "ping"}
    assert delta["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert stop == {"type": "message_stop"}
    assert events(PING) == [ping]


def test_a_failure_in_mid_stream_is_an_event() -> None:
    stream = frames()
    stream.chunk(said("a"), 0)
    (told,) = events(stream.failed(RunnerDied("signal 11")))
    assert told["error"] == {
        "type": "api_error",
        "message": "runner: model runner has unexpectedly stopped: signal 11",
    }
    assert told["request_id"] == "req_9"


# ---------------------------------------------------------------- the whole


def test_a_whole_answer_holds_its_blocks_in_order() -> None:
    whole = json.loads(frames().whole(said(Thought("hm"), "Hi", CALL), DONE, Timing(0, 0, 0, 4)))
    assert list(whole) == ["id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "usage"]
    assert (whole["id"], whole["type"], whole["role"], whole["model"]) == ("msg_7", "message", "assistant", "m")
    assert whole["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": "unsigned"},
        {"type": "text", "text": "Hi"},
        {"type": "tool_use", "id": "call_k3x9a0qz", "name": "get_weather", "input": {"city": "Paris"}},
    ]
    assert (whole["stop_reason"], whole["stop_sequence"]) == ("tool_use", None)
    assert whole["usage"]["output_tokens_details"] == {"thinking_tokens": 4}


def test_an_empty_answer_has_no_blocks_and_no_null() -> None:
    assert json.loads(frames().whole(said(), DONE, TIMING))["content"] == []


@pytest.mark.parametrize(
    ("finished", "reason", "sequence"),
    [
        (Finished(1, "stop"), "end_turn", None),
        (Finished(1, "stop", stop_text="###"), "stop_sequence", "###"),
        (Finished(1, "stop", stop_text="<own>"), "end_turn", None),
        (Finished(1, "length"), "max_tokens", None),
        (Finished(1, "repeat"), "max_tokens", None),
    ],
)
def test_why_an_answer_ended(finished: Finished, reason: str, sequence: str | None) -> None:
    whole = json.loads(frames("", "$$$", "###").whole(said("x"), finished, TIMING))
    streamed = events(frames("", "$$$", "###").last(finished, TIMING))[-2]["delta"]
    assert (whole["stop_reason"], whole["stop_sequence"]) == (reason, sequence)
    assert streamed == {"stop_reason": reason, "stop_sequence": sequence}


def test_input_from_the_cache_is_counted_apart_and_the_sum_is_the_prompt() -> None:
    assert usage(Finished(1, "stop", 14, 9, 2)) == {
        "input_tokens": 5,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 9,
        "output_tokens": 2,
    }


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (BadRequest("no"), "invalid_request_error"),
        (NotFound("no"), "not_found_error"),
        (Busy("no"), "overloaded_error"),
        (LoadFailed("no"), "api_error"),
        (Refusal(401, "no"), "authentication_error"),
        (Refusal(415, "no"), "invalid_request_error"),
        (Refusal(429, "no"), "rate_limit_error"),
        (Refusal(502, "no"), "api_error"),
    ],
)
def test_errors_have_anthropics_types(error: Any, kind: str) -> None:
    told = json.loads(error_body(error))
    assert told == {"type": "error", "error": {"type": kind, "message": error.message}}
    assert json.loads(error_body(error, "req_1"))["request_id"] == "req_1"
    assert set(ERROR_TYPES) == {401, 403, 404, 413, 429, 503, 504, 529}


def test_a_prompt_that_is_too_long_is_said_in_the_words_clients_look_for() -> None:
    told = json.loads(error_body(ContextOverflow(10, 4, "the file")))["error"]
    assert told["message"].startswith("prompt is too long: 10 tokens > 4 maximum; ")
    assert told["message"].count("the file") == 1
