"""Between Ollama's words and the neutral ones: durations, think, format, times, and every line of an answer."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from powerd.api.ask import Timing, packed
from powerd.api.ollama import translate
from powerd.api.ollama.schema import ChatRequest, GenerateRequest
from powerd.catalog.spec import Template
from powerd.errors import BadRequest, Busy, Unsupported
from powerd.protocol import Finished, Message, ToolCall

NOW = 1_787_306_400_100_000_000  # 2026-08-21T10:00:00.1Z
TIMING = Timing(NOW, 512_000_000, 31_000_000)
DONE = Finished(1, "stop", 14, 4, 9, 90_000_000, 380_000_000)


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


@pytest.mark.parametrize(("sent", "thinks"), [(None, None), (False, False), (True, True), ("low", True), ("max", True)])
def test_think_takes_booleans_and_levels(sent: Any, thinks: bool | None) -> None:
    assert translate.think(sent) is thinks
    assert ("thinking" in chat(think=sent).needs) is bool(thinks)


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
    assert chat(format=sent)


@pytest.mark.parametrize("sent", ["json", {"type": "object"}])
def test_a_format_is_refused_as_not_available(sent: Any) -> None:
    with pytest.raises(Unsupported, match="format") as caught:
        generate(format=sent)
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
        generate(top_logprobs=count)


def test_logprobs_are_refused_as_not_available() -> None:
    with pytest.raises(Unsupported, match="not available"):
        generate(logprobs=True)


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
    assert chat(tools=[{"type": "function"}]).needs == ("tools",)
    assert chat(messages=[{"role": "user", "images": ["AAAA"]}]).needs == ("vision",)
    assert generate(suffix="}").needs == ("insert",)
    assert generate(images=["AAAA"]).needs == ("vision",)
    assert chat(tools=[], messages=[{"role": "user", "images": []}]).needs == ()


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


# ---------------------------------------------------------------- times


@pytest.mark.parametrize(
    ("now", "text"),
    [
        (NOW, "2026-08-21T10:00:00.1Z"),
        (NOW - 100_000_000, "2026-08-21T10:00:00Z"),
        (NOW + 23, "2026-08-21T10:00:00.100000023Z"),
        (0, "1970-01-01T00:00:00Z"),
        (10**9 * 60 + 500, "1970-01-01T00:01:00.0000005Z"),
    ],
)
def test_created_at_is_utc_with_its_zeros_trimmed(now: int, text: str) -> None:
    assert translate.utc(now) == text


def test_other_times_carry_their_offset() -> None:
    west = timezone(timedelta(hours=-7))
    assert translate.local(datetime(2026, 8, 21, 10, 5, 0, 500000, west)) == "2026-08-21T10:05:00.5-07:00"
    assert translate.local(datetime(2026, 8, 21, 10, 5, 0, 0, west)) == "2026-08-21T10:05:00-07:00"
    assert translate.local(datetime(2026, 8, 21, 10, 5, 10, 0, UTC)) == "2026-08-21T10:05:10Z"
    assert translate.local(datetime(2026, 1, 1, tzinfo=UTC) + translate.FOR_EVER).startswith("2318-")


# ---------------------------------------------------------------- answers (contract A1)


def test_a_chat_stream_reads_as_the_contracts_example() -> None:
    frames = translate.ChatFrames("qwen3")
    assert frames.chunk("Hi", NOW) == (
        b'{"model":"qwen3","created_at":"2026-08-21T10:00:00.1Z","message":{"role":"assistant","content":"Hi"},"done":false}\n'
    )
    assert frames.last(DONE, TIMING) == (
        b'{"model":"qwen3","created_at":"2026-08-21T10:00:00.1Z","message":{"role":"assistant","content":""},"done":true,'
        b'"done_reason":"stop","total_duration":512000000,"load_duration":31000000,"prompt_eval_count":14,'
        b'"prompt_eval_duration":90000000,"eval_count":9,"eval_duration":380000000}\n'
    )


def test_a_generate_stream_has_response_and_context_before_the_figures() -> None:
    frames = translate.GenerateFrames("m")
    assert json.loads(frames.chunk("Hi", NOW)) == {
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
    for frames, field in ((translate.ChatFrames("m"), "message"), (translate.GenerateFrames("m"), "response")):
        whole, last = json.loads(frames.whole("Hi", DONE, TIMING)), json.loads(frames.last(DONE, TIMING))
        said = whole.pop(field)
        assert "Hi" in (said if isinstance(said, str) else said["content"])
        assert "Hi" not in str(last.pop(field))
        assert whole == last


def test_zeros_are_left_out() -> None:
    assert translate.figures(Finished(1, "stop"), Timing(NOW, 0, 0)) == {}


def test_a_repetition_stop_is_visible() -> None:
    last = json.loads(translate.ChatFrames("m").last(Finished(1, "repeat"), TIMING))
    assert (last["done"], last["done_reason"]) == (True, "repeat")


@pytest.mark.parametrize("text", ["", '"', "\\", "\n\t", "\x00", "é 💡", "<&>", "\u2028", "ع\u200f"])
def test_h07_every_text_survives_its_chunk(text: str) -> None:
    for model in ("m", 'we"ird\\'):
        frames = translate.ChatFrames(model)
        line = frames.chunk(text, NOW)
        assert line.count(b"\n") == 1
        assert json.loads(line)["message"]["content"] == text
        assert json.loads(line)["model"] == model


def test_a_failure_is_one_line_with_one_key() -> None:
    assert translate.ChatFrames("m").failed(Busy('no "place"')) == b'{"error":"no \\"place\\""}\n'


def test_loads_and_unloads_answer_one_object() -> None:
    assert json.loads(translate.empty_generate("m", "load", NOW)) == {
        "model": "m",
        "created_at": "2026-08-21T10:00:00.1Z",
        "response": "",
        "done": True,
        "done_reason": "load",
    }
    said = json.loads(translate.empty_chat("m", "unload", NOW))
    assert said["message"] == {"role": "assistant", "content": ""}
    assert said["done_reason"] == "unload"
