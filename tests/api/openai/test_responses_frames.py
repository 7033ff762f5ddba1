"""Every event of a response, in order and numbered, and the object that they come to (contract section 11.5)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from powerd.api.answer import Output
from powerd.api.ask import Timing
from powerd.api.openai.responses.frames import ResponseFrames, usage
from powerd.api.openai.responses.toolbox import Told
from powerd.errors import ContextOverflow, RunnerDied
from powerd.output.pieces import Content, Piece, Thought
from powerd.protocol import Finished, Likely, Logprob, ToolCall

TIMING = Timing(9_500_000_000, 0, 0, 3)
DONE = Finished(1, "stop", 14, 9, 5)
CALL = ToolCall("f", {"city": "Paris"}, "call_1")
SUMMARY = {"type": "summary_text", "text": "hm"}


def frames(told: dict[str, Told] | None = None) -> ResponseFrames:
    return ResponseFrames({"model": "m"}, "7", 5, told)


def said(*pieces: str | Piece) -> Output:
    return Output([Content(piece) if isinstance(piece, str) else piece for piece in pieces])


def events(data: bytes) -> list[dict[str, Any]]:
    """The events' objects; each line is checked to be what it should be."""
    blocks = data.decode().split("\n\n")
    assert blocks.pop() == ""
    told = []
    for block in blocks:
        first, second = block.split("\n")
        told.append(json.loads(second.removeprefix("data: ")))
        assert first == "event: " + told[-1]["type"]
    return told


def stream(*outputs: Output, finished: Finished = DONE, told: dict[str, Told] | None = None) -> list[dict[str, Any]]:
    """All events of an answer; their numbers are checked."""
    making = frames(told)
    data = b"".join(making.chunk(output, 0) for output in outputs) + making.last(finished, TIMING)
    made = events(data)
    assert [event["sequence_number"] for event in made] == list(range(len(made)))
    return made


def names(told: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in told]


# ---------------------------------------------------------------- the events


def test_thoughts_and_text_are_told_from_their_opening_to_their_end() -> None:
    told = stream(said(Thought("h")), said(Thought("m"), "Hi"), said("!"))
    assert names(told) == [
        *("created", "in_progress"),
        *("output_item.added", "reasoning_summary_part.added"),
        *("reasoning_summary_text.delta", "reasoning_summary_text.delta"),
        *("reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done"),
        *("output_item.added", "content_part.added", "output_text.delta", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done"),
        "completed",
    ]
    added, part, first = told[2:5]
    assert added["item"] == {"id": "rs_7_0", "type": "reasoning", "status": "in_progress", "summary": []}
    assert part["part"] == {"type": "summary_text", "text": ""}
    assert first == {
        "type": "response.reasoning_summary_text.delta",
        "sequence_number": 4,
        "item_id": "rs_7_0",
        "output_index": 0,
        "summary_index": 0,
        "delta": "h",
    }
    assert told[6]["text"] == "hm"
    assert told[7]["part"] == SUMMARY
    thought, spoken = told[8]["item"], told[15]["item"]
    assert thought == {
        "id": "rs_7_0",
        "type": "reasoning",
        "status": "completed",
        "summary": [SUMMARY],
        "encrypted_content": "hm",
    }
    text = {"type": "output_text", "text": "Hi!", "annotations": [], "logprobs": []}
    about = {"id": "msg_7_1", "type": "message", "role": "assistant"}
    assert told[9]["item"] == {**about, "status": "in_progress", "content": []}
    assert told[11]["delta"] == "Hi"
    assert (told[13]["text"], told[14]["part"]) == ("Hi!", text)
    assert spoken == {**about, "status": "completed", "content": [text]}
    assert told[-1]["response"]["output"] == [thought, spoken]


def test_a_call_is_told_whole_and_text_after_it_is_not_lost() -> None:
    told = stream(said("So:", CALL, "Wait."))
    assert names(told)[7:] == [
        *("output_item.done", "output_item.added"),
        *("function_call_arguments.delta", "function_call_arguments.done", "output_item.done"),
        *("output_item.added", "content_part.added", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done"),
        "completed",
    ]
    item = {
        "id": "fc_7_1",
        "type": "function_call",
        "status": "completed",
        "call_id": "call_1",
        "name": "f",
        "arguments": '{"city":"Paris"}',
    }
    assert told[8]["item"] == {**item, "status": "in_progress", "arguments": ""}
    assert told[9]["delta"] == told[10]["arguments"] == item["arguments"]
    assert told[11]["item"] == item
    kinds = [each["type"] for each in told[-1]["response"]["output"]]
    assert kinds == ["message", "function_call", "message"]
    assert [event["output_index"] for event in told if event["type"] == "response.output_item.done"] == [0, 1, 2]


def test_a_function_in_a_namespace_is_told_in_two_words() -> None:
    call = ToolCall("ns.f", {}, "call_1")
    *_, last = stream(said(call), told={"ns.f": Told("f", "ns")})
    item = last["response"]["output"][0]
    assert (item["name"], item["namespace"]) == ("f", "ns")


@pytest.mark.parametrize(("arguments", "text"), [({"input": "a\nb"}, "a\nb"), ({"x": 1}, '{"x":1}')])
def test_a_tool_that_takes_text_is_called_with_text(arguments: dict[str, Any], text: str) -> None:
    told = stream(said(ToolCall("patch", arguments, "call_1")), told={"patch": Told("patch", custom=True)})
    assert names(told)[2:6] == [
        *("output_item.added", "custom_tool_call_input.delta", "custom_tool_call_input.done", "output_item.done")
    ]
    assert told[-1]["response"]["output"] == [
        {
            "id": "ctc_7_0",
            "type": "custom_tool_call",
            "status": "completed",
            "call_id": "call_1",
            "name": "patch",
            "input": text,
        }
    ]


def test_an_answer_of_nothing_is_a_message_without_text() -> None:
    told = stream()
    assert names(told)[:2] == ["created", "in_progress"]
    (item,) = told[-1]["response"]["output"]
    assert item["content"][0]["text"] == ""


def test_probabilities_go_with_their_text() -> None:
    token = Logprob(b"Hi", -0.5, [Likely(b"Ho", -2.0)])
    spoken = said("Hi")
    spoken.logprobs = spoken.spoken = [token]
    told = stream(said(Thought("hm")), spoken)
    delta = next(event for event in told if event["type"] == "response.output_text.delta")
    assert delta["logprobs"] == [
        {
            "token": "Hi",
            "logprob": -0.5,
            "bytes": [72, 105],
            "top_logprobs": [{"token": "Ho", "logprob": -2.0, "bytes": [72, 111]}],
        }
    ]
    assert told[-1]["response"]["output"][1]["content"][0]["logprobs"] == delta["logprobs"]


@pytest.mark.parametrize("text", ['"', "\\", "\n\n", "\r\n", "\x00", "é 💡", "data: x", "\u2028"])
def test_h07_every_text_survives_its_event(text: str) -> None:
    assert stream(said(text))[4]["delta"] == text


# ---------------------------------------------------------------- how it ends


def test_the_response_tells_when_it_was_made_and_what_it_cost() -> None:
    created, running, *_, last = stream(said("Hi"))
    opening = {
        "id": "resp_7",
        "object": "response",
        "created_at": 5,
        "completed_at": None,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "model": "m",
        "output": [],
        "usage": None,
    }
    assert created["response"] == running["response"] == opening
    whole = last["response"]
    assert whole == {
        **opening,
        "completed_at": 9,
        "status": "completed",
        "output": whole["output"],
        "usage": usage(DONE, 3),
    }
    assert whole["usage"] == {
        "input_tokens": 14,
        "input_tokens_details": {"cached_tokens": 9, "cache_write_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 19,
    }


@pytest.mark.parametrize("reason", ["length", "repeat"])
@pytest.mark.parametrize("piece", ["Hi", Thought("hm")])
def test_an_answer_that_was_cut_does_not_look_complete(reason: Any, piece: str | Piece) -> None:
    last = stream(said(piece), finished=Finished(1, reason))[-1]
    assert last["type"] == "response.incomplete"
    whole = last["response"]
    assert (whole["status"], whole["completed_at"]) == ("incomplete", None)
    assert whole["incomplete_details"] == {"reason": "max_output_tokens"}
    assert [item["status"] for item in whole["output"]] == ["incomplete"]


def test_a_failure_in_mid_stream_is_a_failed_response_with_what_there_was() -> None:
    making = frames()
    begun = events(making.chunk(said("Hi"), 0))
    (last,) = events(making.failed(RunnerDied("killed")))
    assert (last["type"], last["sequence_number"]) == ("response.failed", len(begun))
    response = last["response"]
    assert response["status"] == "failed"
    assert response["error"]["code"] == "server_error"
    assert response["error"]["message"].startswith("runner:")
    assert [(item["status"], item["content"][0]["text"]) for item in response["output"]] == [("incomplete", "Hi")]
    (other,) = events(frames().failed(ContextOverflow(9, 5, "here")))
    assert other["response"]["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize("finished", [DONE, Finished(1, "length", 14, 9, 5)])
def test_the_answer_at_once_is_the_object_that_a_stream_ends_with(finished: Finished) -> None:
    pieces = (Thought("hm"), "So:", CALL, "Wait.")
    streamed = stream(*(said(piece) for piece in pieces), finished=finished)[-1]["response"]
    assert json.loads(frames().whole(said(*pieces), finished, TIMING)) == streamed
