"""What a request may not say never reaches a runner, and what is too deep is never written again."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from powerd.fleet import process
from powerd.protocol import encode
from tests.api.rig import Rig

HI = {"role": "user", "content": "hi"}
#: Fields by which engines were attacked, at the top and where options stand.
UNASKED = dict.fromkeys(
    (
        *("chat_parser", "chat_template", "chat_template_kwargs", "generation_prompt", "grammar", "grammar_lazy"),
        *("grammar_triggers", "preserved_tokens", "id_slot", "slot_id", "n_discard", "n_cache_reuse", "cache_prompt"),
        *("lora", "samplers", "json_schema", "parse_tool_calls", "reasoning_format", "model_path", "media_path"),
    ),
    "canary",
)
DEEP = '{"a":' * 100_000 + "1" + "}" * 100_000


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": [HI], "max_tokens": 2}),
        ("/v1/completions", {"prompt": "hi", "max_tokens": 2}),
        ("/v1/responses", {"input": "hi", "max_output_tokens": 16}),
        ("/v1/messages", {"messages": [HI], "max_tokens": 2}),
        ("/api/chat", {"messages": [HI], "options": {"num_predict": 2, **UNASKED}}),
        ("/api/generate", {"prompt": "hi", "options": {"num_predict": 2, **UNASKED}}),
    ],
)
def test_s45_what_no_client_may_say_reaches_no_runner(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, path: str, body: dict[str, Any]
) -> None:
    sent: list[bytes] = []

    def noted(frame: msgspec.Struct) -> bytes:
        sent.append(encode(frame))
        return sent[-1]

    monkeypatch.setattr(process, "encode", noted)
    answer = rig.post(path, {"model": "demo", **UNASKED, **body})
    assert answer.status_code == 200, answer.text
    assert any(b"num_predict" in frame for frame in sent)
    assert not any(b"canary" in frame for frame in sent)


def _openai(arguments: str) -> dict[str, Any]:
    call = {"id": "x", "type": "function", "function": {"name": "f", "arguments": arguments}}
    return {"messages": [HI, {"role": "assistant", "tool_calls": [call]}], "max_tokens": 2}


@pytest.mark.parametrize("arguments", [DEEP, "[" * 100_000], ids=["objects", "lists"])
def test_s55_calls_whose_arguments_are_too_deep_are_refused_before_they_are_written_again(
    rig: Rig, arguments: str
) -> None:
    call = {"type": "function_call", "call_id": "x", "name": "f", "arguments": arguments}
    for path, body in (("/v1/chat/completions", _openai(arguments)), ("/v1/responses", {"input": [HI, call]})):
        answer = rig.post(path, {"model": "demo", **body})
        assert answer.status_code == 400, answer.text
        assert "invalid JSON" in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/api/chat"])
def test_s55_bodies_that_are_too_deep_are_refused(rig: Rig, path: str) -> None:
    message = json.dumps({"model": "demo", "max_tokens": 2, "messages": [HI], "tools": ["DEEP"]})
    answer = rig.post(path, message.replace('"DEEP"', DEEP).encode())
    assert answer.status_code == 400, answer.text
    assert "invalid JSON" in answer.text


@pytest.mark.parametrize("filler", ["[]", "1"], ids=["containers", "values"])
def test_h06_the_arguments_of_many_calls_are_bounded_together(rig: Rig, filler: str) -> None:
    count = 600 if filler == "[]" else 6000
    text = '{"a":[' + ",".join([filler] * count) + "]}"
    spoken = {"id": "x", "type": "function", "function": {"name": "f", "arguments": text}}
    chat = {"messages": [HI, {"role": "assistant", "tool_calls": [spoken] * 100}]}
    told = {"type": "function_call", "call_id": "x", "name": "f", "arguments": text}
    for path, body in (("/v1/chat/completions", chat), ("/v1/responses", {"input": [HI, *[told] * 100]})):
        answer = rig.post(path, {"model": "demo", **body})
        assert answer.status_code == 400, answer.text
        assert "together" in answer.json()["error"]["message"]
        assert "arguments" in answer.json()["error"]["param"]
