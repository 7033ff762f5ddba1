"""POST /v1/responses over real owners: what it answers, what it says it left out, and what it refuses."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from tests.api.rig import Rig

ASK = {"model": "demo", "input": "hi"}
TOOL = {"type": "function", "name": "f"}
IMAGE = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
PATH = "/v1/responses"


def events(rig: Rig, body: Any) -> list[dict[str, Any]]:
    answer = rig.post(PATH, {**body, "stream": True})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream")
    assert answer.headers["cache-control"] == "no-cache"
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines]


def ordered(order: str) -> list[dict[str, str]]:
    """An order for the fake runner, as an answer begun."""
    return [{"role": "user", "content": "hi"}, {"role": "assistant", "content": f"?{order}"}]


def test_it_answers_at_once_by_default(rig: Rig) -> None:
    answer = rig.post(PATH, {**ASK, "model": "Demo", "max_output_tokens": 3})
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert (told["model"], told["status"], told["max_output_tokens"]) == ("Demo", "incomplete", 3)
    assert told["output"][0]["content"][0]["text"] == "0 1 2 "
    assert told["usage"]["output_tokens"] == 3
    assert told["id"] != rig.post(PATH, ASK).json()["id"]


def test_it_streams_and_ends_without_done(rig: Rig) -> None:
    *_, last = told = events(rig, {**ASK, "max_output_tokens": 3})
    assert [event["sequence_number"] for event in told] == list(range(len(told)))
    assert "".join(event["delta"] for event in told if event["type"] == "response.output_text.delta") == "0 1 2 "
    assert last["type"] == "response.incomplete"


def test_the_declared_sampling_holds_and_is_told(rig: Rig) -> None:
    told = rig.post(PATH, {**ASK, "top_p": 0.5}).json()
    assert (told["temperature"], told["top_p"]) == (0.8, 0.5)


def test_tokens_of_thinking_are_counted_from_its_first_word_to_its_closing_tag(rig: Rig) -> None:
    body = {"model": "demo", "input": "?say=" + quote("<think>hmm</think>Hi", safe="")}  # a character a token
    told = rig.post(PATH, body).json()
    assert told["usage"]["output_tokens_details"]["reasoning_tokens"] == len("hmm</think>")
    assert told["output"][0]["summary"][0]["text"] == "hmm"


def test_a_call_comes_back_by_the_name_the_client_knows(rig: Rig) -> None:
    call = '<tool_call>\n{"name":"ns.f","arguments":{"a":1}}\n</tool_call>'
    space = {"type": "namespace", "name": "ns", "tools": [TOOL]}
    body = {"model": "demo", "input": ordered("say=" + quote(call, safe="")), "tools": [space]}
    item = next(item for item in rig.post(PATH, body).json()["output"] if item["type"] == "function_call")
    assert (item["name"], item["namespace"], item["arguments"]) == ("f", "ns", '{"a":1}')
    assert item["call_id"].startswith("call_")


def test_a_search_nobody_can_do_is_told_of_in_a_header(rig: Rig) -> None:
    assert "web_search" in rig.post(PATH, {**ASK, "tools": [{"type": "web_search"}]}).headers["x-powerd-tools"]
    assert "x-powerd-tools" not in rig.post(PATH, ASK).headers


def test_a_runner_that_fails_before_the_first_word_is_a_plain_error(rig: Rig) -> None:
    for stream in (True, False):
        answer = rig.post(PATH, {**ASK, "input": ordered("fail=context_overflow"), "stream": stream})
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "context_length_exceeded"


def test_x01_a_runner_that_dies_in_mid_stream_is_a_failed_response_and_nothing_follows(rig: Rig) -> None:
    rig.declare("fragile", context=104)  # its own runner: a crash makes the next load wait
    *_, last = events(rig, {"model": "fragile", "input": ordered("crash-after=3,tokens=9,rate=50")})
    rig.withdraw()
    assert last["type"] == "response.failed"
    assert last["response"]["error"]["message"].startswith("runner: ")
    assert last["response"]["output"][0]["status"] == "incomplete"


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"input": "hi"}, 400, "model"),
        ({**ASK, "model": "nope"}, 404, None),
        ({"model": "demo"}, 400, "input"),
        ({**ASK, "model": "embed"}, 400, "model"),
        ({**ASK, "model": "plain", "tools": [TOOL]}, 400, "tools"),
        ({**ASK, "model": "plain", "reasoning": {"effort": "low"}}, 400, "think"),
        ({**ASK, "input": [{"role": "user", "content": [IMAGE]}]}, 400, "images"),
        ({**ASK, "temperature": "x"}, 400, "temperature"),
        ({**ASK, "max_output_tokens": True}, 400, "max_output_tokens"),
        ({**ASK, "tools": 5}, 400, "tools"),
        ({**ASK, "text": "json"}, 400, "text"),
        ({**ASK, "include": "x"}, 400, "include"),
        ({**ASK, "previous_response_id": "resp_1"}, 400, "previous_response_id"),
        ({**ASK, "input": [{"type": "item_reference", "id": "x"}]}, 400, "input[0]"),
    ],
)
def test_errors_have_openais_shape(rig: Rig, body: Any, status: int, param: str | None) -> None:
    for stream in (True, False):
        answer = rig.post(PATH, {**body, "stream": stream})
        assert answer.status_code == status, answer.text
        told = answer.json()["error"]
        assert list(told) == ["message", "type", "param", "code"]
        assert told["type"] == {400: "invalid_request_error", 404: "not_found_error"}[status]
        assert told["param"] == param


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"model":"demo","input":' + b"[" * 100 + b"]" * 100 + b"}",
        b'{"model":"demo","input":"a","input":"b"}',
        b'{"model":"demo","input":NaN}',
        b'{"model":"demo","input":"\\ud800"}',
        b"\xff\xfe",
    ],
)
def test_h01_hostile_bodies_are_the_clients_mistake(rig: Rig, body: bytes) -> None:
    answer = rig.post(PATH, body)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
