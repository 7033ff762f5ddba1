"""OpenAI's routes: every error text of the contract's section 11, and what the official client makes of answers."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest

from tests.api.rig import Rig

HI = [{"role": "user", "content": "hi"}]
CHAT = {"model": "demo", "messages": HI}
TEXT = {"model": "demo", "prompt": "hi"}
EMBED = {"model": "embed", "input": "x"}
FULL = "registry.ollama.ai/library"
EFFORTS = '"minimal", "low", "medium", "high", "xhigh", "ultra", "max", or "none"'


def says(*parts: Any, role: str = "user") -> dict[str, Any]:
    return {"model": "demo", "messages": [{"role": role, "content": list(parts)}]}


def picture(url: object) -> dict[str, object]:
    return {"type": "image_url", "image_url": {"url": url}}


#: Route, body, status, and words of the message.
ROWS: list[tuple[str, Any, int, str]] = [
    ("chat/completions", {"messages": HI}, 400, "model is required"),
    ("chat/completions", {**CHAT, "model": "nope"}, 404, "model 'nope' not found"),
    ("chat/completions", {**CHAT, "model": "a b"}, 400, "invalid model name"),
    ("chat/completions", {**CHAT, "messages": []}, 400, "[] is too short - 'messages'"),
    ("chat/completions", {**CHAT, "reasoning_effort": "x"}, 400, f'invalid reasoning value: "x" (must be {EFFORTS})'),
    (
        "chat/completions",
        {**CHAT, "reasoning": {"effort": "?"}},
        400,
        f'invalid reasoning value: "?" (must be {EFFORTS})',
    ),
    (
        "chat/completions",
        {**CHAT, "model": "plain", "reasoning_effort": "low"},
        400,
        '"plain" does not support thinking',
    ),
    ("chat/completions", {**CHAT, "model": "embed"}, 400, '"embed" does not support chat'),
    ("chat/completions", {**CHAT, "stop": 5}, 400, "invalid type for 'stop' field: "),
    ("chat/completions", {**CHAT, "top_logprobs": 21}, 400, "top_logprobs must be between 0 and 20"),
    ("chat/completions", {**CHAT, "messages": [{"role": "user"}]}, 400, "invalid message content type: <nil>"),
    ("chat/completions", {**CHAT, "messages": [{"role": "user", "content": 5}]}, 400, "invalid message content type: "),
    ("chat/completions", says({"type": "video"}), 400, "invalid message format"),
    (
        "chat/completions",
        says(picture("https://x.example/a.png")),
        400,
        "image URLs are not currently supported, please ",
    ),
    ("chat/completions", says(picture("data:image/gif;base64,AAAA")), 400, "invalid image input"),
    ("chat/completions", says(picture("data:image/png;base64,A")), 400, "invalid image input"),
    ("chat/completions", says(picture(5)), 400, "invalid message format"),
    ("chat/completions", says(picture("data:;base64,AAAA")), 400, f"{FULL}/demo:latest does not support vision"),
    (
        "chat/completions",
        {**CHAT, "messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "[]"}}]}]},
        400,
        "invalid tool call arguments",
    ),
    ("completions", {"prompt": "x"}, 400, "model is required"),
    ("completions", {**TEXT, "model": "nope"}, 404, "model 'nope' not found"),
    ("completions", {**TEXT, "stop": [5]}, 400, "invalid type for 'stop' field: "),
    ("completions", {**TEXT, "suffix": "y"}, 400, f"{FULL}/demo:latest does not support insert"),
    ("embeddings", {"model": "nope", "input": "x"}, 404, 'model "nope" not found, try pulling it first'),
    ("embeddings", {**EMBED, "input": None}, 400, "invalid input"),
    ("embeddings", {**EMBED, "input": []}, 400, "invalid input"),
    ("embeddings", {**EMBED, "input": [1, 2]}, 400, "invalid input type"),
    (
        "embeddings",
        {**EMBED, "encoding_format": "hex"},
        400,
        "Invalid value for 'encoding_format' = hex. Supported values: ['float', 'base64'].",
    ),
]


@pytest.mark.parametrize(("path", "body", "status", "words"), ROWS)
def test_each_mistake_has_its_status_and_text(rig: Rig, path: str, body: Any, status: int, words: str) -> None:
    answer = rig.post(f"/v1/{path}", body)
    assert answer.status_code == status, answer.text
    told = answer.json()["error"]
    assert words in told["message"]
    assert told["type"] == {400: "invalid_request_error", 404: "not_found_error"}[status]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("chat/completions", {**CHAT, "n": 17}, "n"),
        ("chat/completions", {**CHAT, "functions": [{}]}, "functions"),
        ("completions", {**TEXT, "best_of": 2}, "best_of"),
        ("completions", {**TEXT, "echo": True}, "echo"),
    ],
)
def test_what_would_be_answered_otherwise_than_asked_is_refused_by_name(
    rig: Rig, path: str, body: Any, field: str
) -> None:
    told = rig.post(f"/v1/{path}", body).json()["error"]
    assert (told["type"], told["param"]) == ("invalid_request_error", field)


def test_openais_client_raises_what_it_was_told_of_a_sound(real: httpx.Client) -> None:
    with openai.OpenAI(base_url=f"{real.base_url}/v1", api_key="x", max_retries=0) as client:
        with pytest.raises(openai.BadRequestError, match="demo:latest does not support audio"):
            client.audio.transcriptions.create(model="demo", file=("a.wav", b"RIFF....WAVE"))
        with pytest.raises(openai.NotFoundError, match="model 'nope' not found"):
            client.audio.transcriptions.create(model="nope", file=("a.wav", b"RIFF....WAVE"))


def test_openais_client_gets_the_choices_it_asks_for(real: httpx.Client) -> None:
    said = [{"role": "user", "content": "Tell me about a cow."}]
    asked: Any = {"model": "demo", "messages": said, "n": 3, "max_tokens": 8, "temperature": 50, "top_p": 1}
    asked["reasoning_effort"] = "none"
    streamed = ["", "", ""]
    with openai.OpenAI(base_url=f"{real.base_url}/v1", api_key="x", max_retries=0) as client:
        whole = client.chat.completions.create(**asked)
        for event in client.chat.completions.create(**asked, stream=True):
            for choice in event.choices:
                streamed[choice.index] += choice.delta.content or ""
    assert [choice.index for choice in whole.choices] == [0, 1, 2]
    for texts in (streamed, [choice.message.content for choice in whole.choices]):
        assert all(texts)
        assert len(set(texts)) > 1
