"""Several choices of one request: each whole, told by its number, and none is left running."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from powerd.api.ask import Ask
from powerd.api.openai.choices import apart
from powerd.api.openai.schema import ChatMessage, ChatRequest, CompletionRequest
from powerd.api.openai.translate import MAX_CHOICES, chat, completion
from powerd.errors import BadRequest, Unsupported
from tests.api.rig import Client, Rig

CHAT = {"model": "demo", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}
TEXT = {"model": "demo", "prompt": "hi", "max_tokens": 3}


def busy(rig: Rig) -> int:
    async def count() -> int:
        return sum(view.requests + view.queued for view in rig.fleet.views())

    return rig.run(count())


def test_each_choice_is_whole_and_the_prompt_counts_once(rig: Rig) -> None:
    one = rig.post("/v1/chat/completions", CHAT).json()
    told = rig.post("/v1/chat/completions", {**CHAT, "n": 3}).json()
    assert told["object"] == "chat.completion"
    assert told["choices"] == [{**one["choices"][0], "index": index} for index in range(3)]
    assert told["usage"]["prompt_tokens"] == one["usage"]["prompt_tokens"]
    assert told["usage"]["completion_tokens"] == 3 * one["usage"]["completion_tokens"]
    texts = rig.post("/v1/completions", {**TEXT, "n": 2}).json()["choices"]
    assert texts == [{"text": "0 1 2 ", "index": index, "finish_reason": "length"} for index in range(2)]


@pytest.mark.parametrize(("path", "body"), [("chat/completions", CHAT), ("completions", TEXT)])
def test_streamed_choices_come_by_their_numbers_and_end_together(rig: Rig, path: str, body: Any) -> None:
    asked = {**body, "n": 3, "stream": True, "stream_options": {"include_usage": True}}
    *events, usage, done = rig.events(f"/v1/{path}", asked)
    assert done == "[DONE]"
    assert isinstance(usage, dict)
    assert (usage["choices"], usage["usage"]["completion_tokens"]) == ([], 9)
    texts, ends, roles = ["", "", ""], [], []
    for event in events:
        assert isinstance(event, dict)
        (choice,) = event["choices"]
        delta = choice.get("delta", choice)
        texts[choice["index"]] += delta.get("content", "") or delta.get("text", "")
        ends += [choice["index"]] if choice["finish_reason"] else []
        roles += [choice["index"]] if "role" in delta else []
    assert texts == ["0 1 2 "] * 3
    assert sorted(ends) == [0, 1, 2]
    assert sorted(roles) == ([0, 1, 2] if path.startswith("chat") else [])


def test_more_choices_than_places_take_turns(rig: Rig) -> None:
    rig.declare("narrow", parallel=1)
    try:
        told = rig.post("/v1/chat/completions", {**CHAT, "model": "narrow", "n": 4}).json()
        assert [choice["index"] for choice in told["choices"]] == [0, 1, 2, 3]
    finally:
        rig.withdraw()


def test_a_failure_of_one_ends_all_with_its_status(rig: Rig) -> None:
    body = {"model": "demo", "prompt": "x", "n": 2, "logprobs": 1, "max_tokens": 2000}
    answer = rig.post("/v1/completions", {**body, "stop": "x" * 300})
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert busy(rig) == 0


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_ends_every_choice(rig: Rig, stream: bool) -> None:
    async def main() -> None:
        body = json.dumps({**CHAT, "n": 3, "stream": stream, "max_tokens": 100_000}).encode()
        client = Client(rig.tcp, "/v1/chat/completions", [body])
        talk = asyncio.create_task(client.talk())
        while sum(view.requests + view.queued for view in rig.fleet.views()) < 3 or (stream and not client.sent):
            await asyncio.sleep(0.001)
        assert not talk.done()
        client.gone.set()
        await talk
        assert client.status == (200 if stream else 0)

    rig.run(main(), 10)
    deadline = time.monotonic() + 5
    while busy(rig) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert busy(rig) == 0


def test_a_seed_counts_up_so_that_choices_differ() -> None:
    assert [ask.options["seed"] for ask in apart(Ask("m", options={"seed": 7}), 3)] == [7, 8, 9]
    assert [ask.options["seed"] for ask in apart(Ask("m", options={"seed": (1 << 63) - 1}), 2)] == [(1 << 63) - 1, 0]
    assert apart(Ask("m", options={"seed": -1}), 2) == [Ask("m", options={"seed": -1})] * 2
    assert apart(Ask("m"), 2) == [Ask("m")] * 2
    assert [ask.options["seed"] for ask in apart(Ask("m"), 2, 3)] == [3, 4]
    assert [ask.options["seed"] for ask in apart(Ask("m", options={"seed": 7}), 2, 3)] == [7, 8]


@pytest.mark.parametrize("n", [0, -1, MAX_CHOICES + 1, 10**9])
def test_choices_are_bounded(n: int) -> None:
    with pytest.raises(BadRequest, match="from 1 to 16") as refused:
        chat(ChatRequest(model="m", messages=[ChatMessage("user", "x")], n=n))
    assert refused.value.param == "n"


def test_the_best_of_more_than_are_told_is_not_chosen() -> None:
    completion(CompletionRequest(model="m", prompt="x", n=2, best_of=2))
    with pytest.raises(Unsupported, match="best_of"):
        completion(CompletionRequest(model="m", prompt="x", n=2, best_of=3))
