"""Every line of an answer in Ollama's words (contract A1, A2)."""

from __future__ import annotations

import json

import msgspec
import pytest

from powerd.api.answer import Output
from powerd.api.ask import Timing, packed
from powerd.api.ollama.frames import ChatFrames, GenerateFrames, empty_chat, empty_generate, figures
from powerd.errors import Busy
from powerd.output.pieces import Content, Piece, Thought
from powerd.protocol import Finished, Likely, Logprob, ToolCall

NOW = 1_787_306_400_100_000_000  # 2026-08-21T10:00:00.1Z
TIMING = Timing(NOW, 512_000_000, 31_000_000)
DONE = Finished(1, "stop", 14, 4, 9, 90_000_000, 380_000_000)
CALL = ToolCall("get_weather", {"city": "Paris"}, "call_k3x9a0qz")


def said(*pieces: str | Piece) -> Output:
    return Output([Content(piece) if isinstance(piece, str) else piece for piece in pieces])


def test_a_chat_stream_reads_as_the_contracts_example() -> None:
    frames = ChatFrames("qwen3")
    assert frames.chunk(said("Hi"), NOW) == (
        b'{"model":"qwen3","created_at":"2026-08-21T10:00:00.1Z","message":{"role":"assistant","content":"Hi"},"done":false}\n'
    )
    assert frames.last(DONE, TIMING) == (
        b'{"model":"qwen3","created_at":"2026-08-21T10:00:00.1Z","message":{"role":"assistant","content":""},"done":true,'
        b'"done_reason":"stop","total_duration":512000000,"load_duration":31000000,"prompt_eval_count":14,'
        b'"prompt_eval_duration":90000000,"eval_count":9,"eval_duration":380000000}\n'
    )


def test_a_generate_stream_has_response_and_context_before_the_figures() -> None:
    frames = GenerateFrames("m")
    assert json.loads(frames.chunk(said("Hi"), NOW)) == {
        "model": "m",
        "created_at": "2026-08-21T10:00:00.1Z",
        "response": "Hi",
        "done": False,
    }
    last = frames.last(msgspec.structs.replace(DONE, tokens=packed((1, 2), 9)), TIMING)
    assert list(json.loads(last)) == [
        *("model", "created_at", "response", "done", "done_reason", "context", "total_duration", "load_duration"),
        *("prompt_eval_count", "prompt_eval_duration", "eval_count", "eval_duration"),
    ]
    assert json.loads(last)["context"] == [1, 2]
    assert "context" not in json.loads(frames.last(DONE, TIMING))


def test_a_whole_answer_is_the_last_object_with_the_text() -> None:
    for frames, field in ((ChatFrames("m"), "message"), (GenerateFrames("m"), "response")):
        whole, last = json.loads(frames.whole(said("Hi"), DONE, TIMING)), json.loads(frames.last(DONE, TIMING))
        told = whole.pop(field)
        assert "Hi" in (told if isinstance(told, str) else told["content"])
        assert "Hi" not in str(last.pop(field))
        assert whole == last


def test_zeros_are_left_out() -> None:
    assert figures(Finished(1, "stop"), Timing(NOW, 0, 0)) == {}


def test_a_repetition_stop_is_visible() -> None:
    last = json.loads(ChatFrames("m").last(Finished(1, "repeat"), TIMING))
    assert (last["done"], last["done_reason"]) == (True, "repeat")


@pytest.mark.parametrize("text", ["", '"', "\\", "\n\t", "\x00", "é 💡", "<&>", "\u2028", "ع\u200f"])
def test_h07_every_text_survives_its_chunk(text: str) -> None:
    for model in ("m", 'we"ird\\'):
        frames = ChatFrames(model)
        line = frames.chunk(said(text), NOW)
        assert line.count(b"\n") == 1
        assert json.loads(line)["message"]["content"] == text
        assert json.loads(line)["model"] == model


def test_a_failure_is_one_line_with_one_key() -> None:
    assert ChatFrames("m").failed(Busy('no "place"')) == b'{"error":"no \\"place\\""}\n'


def test_loads_and_unloads_answer_one_object() -> None:
    assert json.loads(empty_generate("m", "load", NOW)) == {
        "model": "m",
        "created_at": "2026-08-21T10:00:00.1Z",
        "response": "",
        "done": True,
        "done_reason": "load",
    }
    said = json.loads(empty_chat("m", "unload", NOW))
    assert said["message"] == {"role": "assistant", "content": ""}
    assert said["done_reason"] == "unload"


# ---------------------------------------------------------------- thoughts, calls, probabilities


def test_thoughts_have_a_field_of_their_own_and_may_share_a_line_with_text() -> None:
    chat, generate = ChatFrames("m"), GenerateFrames("m")
    both = said(Thought("hm"), "Hi")
    assert json.loads(chat.chunk(said(Thought("hm")), NOW))["message"] == {
        "role": "assistant",
        "content": "",
        "thinking": "hm",
    }
    assert json.loads(chat.chunk(both, NOW))["message"] == {"role": "assistant", "content": "Hi", "thinking": "hm"}
    assert json.loads(generate.chunk(both, NOW))["thinking"] == "hm"
    assert json.loads(generate.whole(both, DONE, TIMING))["response"] == "Hi"


def test_a_call_is_one_line_with_its_arguments_as_an_object_and_its_number() -> None:
    chat = ChatFrames("m")
    first, second = (json.loads(chat.chunk(said(CALL), NOW))["message"] for _ in range(2))
    function = {"index": 0, "name": "get_weather", "arguments": {"city": "Paris"}}
    assert first == {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "call_k3x9a0qz", "function": function}],
    }
    assert second["tool_calls"][0]["function"]["index"] == 1
    assert json.loads(chat.last(DONE, TIMING))["done_reason"] == "stop"


def test_generate_tells_its_calls_in_the_last_object() -> None:
    generate = GenerateFrames("m")
    assert "tool_calls" not in json.loads(generate.chunk(said(CALL), NOW))
    last = json.loads(generate.last(DONE, TIMING))
    assert last["tool_calls"][0]["function"]["name"] == "get_weather"
    whole = json.loads(GenerateFrames("m").whole(said(CALL), DONE, TIMING))
    assert whole["tool_calls"] == last["tool_calls"]


def test_probabilities_come_with_their_bytes() -> None:
    euro = "€".encode()
    output = said("x")
    output.logprobs = [Logprob(b"x", -0.5, [Likely(b"x", -0.5), Likely(euro[:1], -2.0)])]
    told = json.loads(ChatFrames("m").chunk(output, NOW))["logprobs"]
    assert told == [
        {
            "token": "x",
            "logprob": -0.5,
            "bytes": [120],
            "top_logprobs": [
                {"token": "x", "logprob": -0.5, "bytes": [120]},
                {"token": "\ufffd", "logprob": -2.0, "bytes": [226]},
            ],
        }
    ]
