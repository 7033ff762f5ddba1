"""OpenAI's routes over real owners (contract sections 11.1, 11.2 and 11.4)."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tests.api.rig import Rig

HI = [{"role": "user", "content": "hi"}]


def error(rig: Rig, path: str, body: Any, status: int) -> dict[str, Any]:
    answer = rig.post(path, body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.json().keys() == {"error"}
    told: dict[str, Any] = answer.json()["error"]
    assert list(told) == ["message", "type", "param", "code"]
    return told


def test_models_are_listed_and_found_by_any_name(rig: Rig) -> None:
    listed = rig.get("/v1/models").json()
    assert listed["object"] == "list"
    demo = next(model for model in listed["data"] if model["id"] == "demo:latest")
    assert list(demo) == ["id", "object", "created", "owned_by"]
    assert (demo["object"], demo["owned_by"]) == ("model", "library")
    assert type(demo["created"]) is int
    assert rig.get("/v1/models/Demo").json() == {**demo, "id": "Demo"}
    assert rig.get("/v1/models/ns/tuned:v1").json()["owned_by"] == "ns"
    assert rig.get("/v1/models/nope").json()["error"] == {
        "message": "model 'nope' not found",
        "type": "not_found_error",
        "param": None,
        "code": None,
    }


def test_chat_answers_at_once_by_default(rig: Rig) -> None:
    answer = rig.post("/v1/chat/completions", {"model": "Demo", "messages": HI, "max_tokens": 3})
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert told["model"] == "Demo"
    assert told["choices"][0] == {
        "index": 0,
        "message": {"role": "assistant", "content": "0 1 2 "},
        "finish_reason": "length",
    }
    assert told["usage"]["completion_tokens"] == 3
    assert told["id"] != rig.post("/v1/chat/completions", {"model": "Demo", "messages": HI}).json()["id"]


def test_chat_streams_events_to_done(rig: Rig) -> None:
    body = {"model": "demo", "messages": HI, "max_tokens": 3, "stream": True, "stream_options": {"include_usage": True}}
    *chunks, finish, usage, done = rig.events("/v1/chat/completions", body)
    texts = [chunk["choices"][0]["delta"] for chunk in chunks if isinstance(chunk, dict)]
    assert "".join(delta["content"] for delta in texts) == "0 1 2 "
    assert [("role" in delta) for delta in texts] == [True] + [False] * (len(texts) - 1)
    assert isinstance(finish, dict)
    assert isinstance(usage, dict)
    assert finish["choices"][0]["finish_reason"] == "length"
    assert usage["usage"]["completion_tokens"] == 3
    assert done == "[DONE]"
    assert len({event["id"] for event in (*chunks, finish, usage) if isinstance(event, dict)}) == 1


def test_completions_go_through_the_template(rig: Rig) -> None:
    told = rig.post("/v1/completions", {"model": "demo", "prompt": "hi", "max_tokens": 2}).json()
    assert told["object"] == "text_completion"
    assert told["choices"] == [{"text": "0 1 ", "index": 0, "finish_reason": "length"}]
    events = rig.events("/v1/completions", {"model": "demo", "prompt": ["hi"], "max_tokens": 2, "stream": True})
    assert "".join(event["choices"][0]["text"] for event in events if isinstance(event, dict)) == "0 1 "
    assert events[-1] == "[DONE]"


def test_an_empty_prompt_loads(rig: Rig) -> None:
    for stream in (True, False):
        told = rig.post("/v1/completions", {"model": "demo", "stream": stream}).json()
        assert told["choices"][0]["finish_reason"] == "load"
        assert told["usage"]["total_tokens"] == 0


ASK = {"model": "demo", "messages": HI}
TOOL = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("chat/completions", {"messages": HI}, 400, "model"),
        ("chat/completions", {"model": "nope", "messages": HI}, 404, None),
        ("chat/completions", {"model": "demo"}, 400, "messages"),
        ("chat/completions", {"model": "demo", "messages": "x"}, 400, "messages"),
        ("chat/completions", {"model": "demo", "messages": [{"role": 5}]}, 400, "messages[0].role"),
        ("chat/completions", {**ASK, "temperature": "x"}, 400, "temperature"),
        ("chat/completions", {**ASK, "max_tokens": True}, 400, "max_tokens"),
        ("chat/completions", {**ASK, "model": "plain", "tools": [TOOL]}, 400, "tools"),
        ("chat/completions", {**ASK, "model": "plain", "reasoning_effort": "low"}, 400, "think"),
        ("chat/completions", {"model": "embed", "messages": HI}, 400, "model"),
        ("completions", {"model": "demo", "prompt": {"a": 1}}, 400, "prompt"),
        ("completions", {"model": "demo", "prompt": "x", "suffix": "y"}, 400, "suffix"),
    ],
)
def test_errors_have_openais_shape(rig: Rig, path: str, body: Any, status: int, param: str | None) -> None:
    for stream in (True, False):
        told = error(rig, f"/v1/{path}", {**body, "stream": stream}, status)
        kinds = {400: "invalid_request_error", 404: "not_found_error"}
        assert (told["type"], told["param"]) == (kinds[status], param)


def test_an_overflow_has_the_code_clients_act_on(rig: Rig) -> None:
    open_end = [*HI, {"role": "assistant", "content": "?fail=context_overflow"}]
    told = error(rig, "/v1/chat/completions", {"model": "demo", "messages": open_end, "stream": True}, 400)
    assert told["code"] == "context_length_exceeded"
    assert "exceeds the available context size" in told["message"]


def test_s20_a_remote_image_opens_no_socket(rig: Rig) -> None:
    opened: list[object] = []
    hook_on = True

    def audit(event: str, arguments: tuple[object, ...]) -> None:
        if hook_on and event in ("socket.connect", "socket.getaddrinfo", "open") and "x.example" in str(arguments):
            opened.append(arguments)

    sys.addaudithook(audit)
    for url, words in (("http://x.example/a.png", "use base64 encoded data"), ("file:///x.example", "invalid image")):
        part = {"type": "image_url", "image_url": {"url": url}}
        asked = {"model": "demo", "messages": [{"role": "user", "content": [part]}]}
        assert words in error(rig, "/v1/chat/completions", asked, 400)["message"]
    hook_on = False
    assert opened == []


def test_a_default_model_answers_where_none_was_named(rig: Rig) -> None:
    app = rig.app(default_model="demo")
    assert rig.ask("POST", "/v1/chat/completions", {"messages": HI}, app=app).json()["model"] == "demo"
