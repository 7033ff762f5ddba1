"""Anthropic's routes over real owners: the envelope of every error, headers, counting, and hostile bodies."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import pytest

from powerd.api import stream
from tests.api.rig import Rig

HI = [{"role": "user", "content": "hi"}]
ASK = {"model": "demo", "max_tokens": 3, "messages": HI}
TOOL = {"name": "f", "input_schema": {"type": "object"}}
PATHS = ["/v1/messages", "/v1/messages/count_tokens"]


def told(answer: Any, status: int) -> dict[str, Any]:
    """The error of an answer, whose envelope is right."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/json")
    body = answer.json()
    assert list(body) == ["type", "error", "request_id"]
    assert body["type"] == "error"
    assert body["request_id"] == answer.headers["request-id"] == f"req_{answer.headers['x-request-id']}"
    assert list(body["error"]) == ["type", "message"]
    error: dict[str, Any] = body["error"]
    return error


def ends_with(orders: str) -> dict[str, Any]:
    """A request that the fake runner takes orders from."""
    return {**ASK, "max_tokens": 200, "messages": [*HI, {"role": "assistant", "content": orders}]}


def events(rig: Rig, body: dict[str, Any]) -> list[Any]:
    answer = rig.post("/v1/messages", {**body, "stream": True})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["request-id"].startswith("req_")
    blocks = answer.text.split("\n\n")
    assert blocks.pop() == ""
    return [json.loads(block.split("\ndata: ")[1]) for block in blocks]


# ---------------------------------------------------------------- answers


def test_an_answer_and_its_headers(rig: Rig) -> None:
    answer = rig.post(
        "/v1/messages?beta=true",
        {**ASK, "metadata": {"user_id": "u"}, "service_tier": "auto", "cache_control": {"type": "ephemeral"}},
        x_api_key="sk-ant-x",
        anthropic_version="2023-06-01",
        anthropic_beta="a-2025-01-01,b",
    )
    assert answer.status_code == 200
    assert re.fullmatch(r"req_[0-9a-f]{24}", answer.headers["request-id"])
    body = answer.json()
    assert re.fullmatch(r"msg_[0-9a-f]{24}", body["id"])
    assert body["content"] == [{"type": "text", "text": "0 1 2 "}]
    assert (body["stop_reason"], body["usage"]["output_tokens"]) == ("max_tokens", 3)


def test_a_stream_in_order(rig: Rig) -> None:
    kinds = [event["type"] for event in events(rig, ASK)]
    assert kinds[:3] == ["message_start", "ping", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(kinds[3:-3]) == {"content_block_delta"}


def test_a_quiet_stream_is_kept_alive(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "QUIET", 0.0)
    call = "%3Ctool_call%3E%7B%22name%22%3A%22f%22%2C%22arguments%22%3A%7B%7D%7D%3C/tool_call%3E"
    kinds = [event["type"] for event in events(rig, {**ends_with(f"?rate=200,say=Hi{call}"), "tools": [TOOL]})]
    second = kinds.index("content_block_start", 3)
    assert "ping" in kinds[3:second]
    assert kinds[-2:] == ["message_delta", "message_stop"]


def test_a_failure_in_mid_stream_is_told(rig: Rig) -> None:
    *_, last = events(rig, ends_with("?rate=50,crash-after=3"))
    assert last["type"] == "error"
    assert last["error"]["message"].startswith("runner: model runner has unexpectedly stopped")


def test_a_default_model_answers_where_none_was_named(rig: Rig) -> None:
    app = rig.app(default_model="demo")
    for path in PATHS:
        assert rig.ask("POST", path, {**ASK, "model": ""}, app=app).status_code == 200
    assert rig.ask("POST", "/v1/messages", {**ASK, "model": None}, app=app).json()["model"] == "demo"


def test_a_tool_that_was_left_out_is_told(rig: Rig) -> None:
    search = {"type": "web_search_20250305", "name": "web_search"}
    assert "x-powerd-tools" not in rig.post("/v1/messages", {**ASK, "tools": [TOOL]}).headers
    assert "web_search" in rig.post("/v1/messages", {**ASK, "tools": [TOOL, search]}).headers["x-powerd-tools"]


# ---------------------------------------------------------------- counting


def test_tokens_are_counted_without_an_answer(rig: Rig) -> None:
    def count(**more: Any) -> int:
        answer = rig.post("/v1/messages/count_tokens", {"model": "demo", "messages": HI, **more})
        assert answer.status_code == 200, answer.text
        assert answer.headers["request-id"].startswith("req_")
        assert list(answer.json()) == ["input_tokens"]
        tokens: int = answer.json()["input_tokens"]
        return tokens

    # the fake runner counts words
    assert 0 < count() < count(system="a b c d") < count(system="a b c d", tools=[TOOL])
    assert count(messages=[{"role": "user", "content": "w " * 90_000}]) > 90_000


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("body", "status", "kind", "words"),
    [
        (b"", 400, "invalid_request_error", "EOF"),
        (b"{", 400, "invalid_request_error", "invalid JSON"),
        (b"[]", 400, "invalid_request_error", "invalid JSON"),
        (b"[" * 5000, 400, "invalid_request_error", "nested deeper"),
        (b'{"a":' * 5000, 400, "invalid_request_error", "nested deeper"),
        (b'{"model":"demo","model":"x"}', 400, "invalid_request_error", "twice"),
        ({}, 400, "invalid_request_error", "model is required"),
        ({**ASK, "model": "nope"}, 404, "not_found_error", "model 'nope' not found"),
        ({**ASK, "model": "a b"}, 400, "invalid_request_error", "invalid model name"),
        ({**ASK, "model": 5}, 400, "invalid_request_error", "model: expected string"),
        ({**ASK, "model": "embed"}, 400, "invalid_request_error", '"embed" does not support chat'),
        ({**ASK, "messages": []}, 400, "invalid_request_error", "messages is required"),
        ({**ASK, "messages": "x"}, 400, "invalid_request_error", "messages: expected array"),
        ({**ASK, "messages": [5]}, 400, "invalid_request_error", "messages[0]: expected object"),
        ({**ASK, "messages": [{"content": "x"}]}, 400, "invalid_request_error", "role"),
        ({**ASK, "messages": [{"role": "user", "content": [{"type": "x"}]}]}, 400, "invalid_request_error", '"x"'),
        ({**ASK, "model": "plain", "tools": [TOOL]}, 400, "invalid_request_error", "does not support tools"),
        ({**ASK, "tools": "x"}, 400, "invalid_request_error", "tools: expected array"),
        ({**ASK, "tool_choice": "auto"}, 400, "invalid_request_error", "tool_choice: expected object"),
        ({**ASK, "thinking": True}, 400, "invalid_request_error", "thinking: expected object"),
        ({**ASK, "system": {"type": "text"}}, 400, "invalid_request_error", "system: "),
    ],
)
def test_every_error_is_in_the_envelope(rig: Rig, path: str, body: Any, status: int, kind: str, words: str) -> None:
    for streamed in (False, True):
        sent = {**body, "stream": streamed} if isinstance(body, dict) else body
        error = told(rig.post(path, sent), status)
        assert error["type"] == kind
        assert words in error["message"]


def test_what_http_refuses_is_in_the_envelope_too(rig: Rig) -> None:
    for path in (*PATHS, "/v1/messages/batches"):
        assert told(rig.post(path, {"a": "x" * 10}, content_encoding="br"), 404 if "batches" in path else 415)
    for path in PATHS:
        assert told(rig.get(path), 405)["type"] == "invalid_request_error"
        large = rig.ask("POST", path, ASK, app=rig.app(inference_body=20))
        assert told(large, 413)["type"] == "request_too_large"
        assert told(rig.post(path, ASK, host="evil.example"), 403)["type"] == "permission_error"
    rig.stopping = True
    try:
        answer = rig.post("/v1/messages", ASK)
        assert told(answer, 503)["type"] == "overloaded_error"
        assert int(answer.headers["retry-after"]) >= 1
    finally:
        rig.stopping = False


def test_a_prompt_that_is_too_long_is_refused_not_cut(rig: Rig) -> None:
    error = told(rig.post("/v1/messages", ends_with("?fail=context_overflow")), 400)
    assert error["message"].startswith("prompt is too long: ")


def test_a_model_that_cannot_think_answers_without(rig: Rig) -> None:
    body = {**ASK, "model": "plain", "thinking": {"type": "enabled", "budget_tokens": 1024}}
    assert rig.post("/v1/messages", body).json()["content"] == [{"type": "text", "text": "0 1 2 "}]


def test_a_browser_may_send_anthropics_headers(rig: Rig) -> None:
    answer = rig.ask("OPTIONS", "/v1/messages", origin="http://localhost:3000")
    assert answer.status_code == 204
    allowed = {name.lower() for name in answer.headers["access-control-allow-headers"].split(",")}
    assert {"x-api-key", "anthropic-version", "anthropic-beta", "anthropic-dangerous-direct-browser-access"} <= allowed


def test_s20_a_remote_image_opens_no_socket(rig: Rig) -> None:
    opened: list[object] = []
    watching = True

    def audit(event: str, arguments: tuple[object, ...]) -> None:
        if watching and event in ("socket.connect", "socket.getaddrinfo", "open") and "x.example" in str(arguments):
            opened.append(arguments)

    sys.addaudithook(audit)
    for url in ("http://x.example/a.png", "file:///x.example"):
        block = {"type": "image", "source": {"type": "url", "url": url}}
        body = {**ASK, "messages": [{"role": "user", "content": [block]}]}
        assert "Only base64 images are supported" in told(rig.post("/v1/messages", body), 400)["message"]
    watching = False
    assert opened == []
    block = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    body = {**ASK, "messages": [{"role": "user", "content": [block]}]}
    assert (
        told(rig.post("/v1/messages", body), 400)["message"]
        == "registry.ollama.ai/library/demo:latest does not support vision"
    )
