"""A prompt that does not fit, over the real daemon and llama.cpp: cut and told, or refused with the figures (H16)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import ollama
import openai
import pytest

from tests.wire.powerd_process import Powerd

CONTEXT = 192
MODELS = f"""models:
  small: {{source: 'builtin:demo', context: {CONTEXT}, think: false}}
  cutting: {{source: 'builtin:demo', context: {CONTEXT}, think: false, overflow: truncate}}
  shifting: {{source: 'builtin:demo', context: {CONTEXT}, think: false, overflow: shift}}
  strict: {{source: 'builtin:demo', context: {CONTEXT}, think: false, overflow: reject}}
"""
SYSTEM = {"role": "system", "content": "You are Bob."}
OLD = [
    {"role": role, "content": f"Number {turn}: apples, pears and plums are fruit."}
    for turn in range(20)
    for role in ("user", "assistant")
]
LAST = {"role": "user", "content": "What is 2 + 3?"}
LONG = " ".join(f"word{number}" for number in range(200))
COLD = {"temperature": 0, "num_predict": 20}


@pytest.fixture(scope="module")
def powerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Powerd]:
    with Powerd(tmp_path_factory.mktemp("powerd"), models=MODELS) as running:
        running.wait("Fits", "small")
        yield running


def chat(powerd: Powerd, model: str, messages: list[Any], **more: Any) -> httpx.Response:
    body = {"model": model, "messages": messages, "stream": False, "options": COLD, **more}
    return httpx.post(f"{powerd.url}/api/chat", json=body, timeout=60)


def cuts(powerd: Powerd, model: str, kind: str) -> float:
    text = httpx.get(f"{powerd.url}/metrics", timeout=10).text
    found = re.search(rf'power_cuts_total\{{kind="{kind}",model="{model}"\}} (\S+)', text)
    return float(found[1]) if found else 0.0


def test_ollamas_routes_leave_out_the_oldest_messages_and_say_so(powerd: Powerd) -> None:
    before = cuts(powerd, "small:latest", "messages")
    answer = chat(powerd, "small", [SYSTEM, *OLD, LAST])
    assert answer.status_code == 200
    assert "5" in answer.json()["message"]["content"]
    told = answer.headers["x-powerd-truncated"]
    found = re.fullmatch(
        rf"(\d+) of 42 messages left out: (\d+) tokens were sent and {CONTEXT} are available, "
        r"from `context:` of small in models\.yaml",
        told,
    )
    assert found is not None, told
    assert int(found[2]) > 600
    assert cuts(powerd, "small:latest", "messages") == before + 1
    assert "a prompt was cut" in powerd.log()
    kept = [SYSTEM, *OLD[int(found[1]) :], LAST]
    same = chat(powerd, "small", kept)
    assert "x-powerd-truncated" not in same.headers
    assert same.json()["message"] == answer.json()["message"]
    one_more = chat(powerd, "small", [SYSTEM, *OLD[int(found[1]) - 1 :], LAST])
    assert one_more.headers["x-powerd-truncated"].startswith("1 of"), "as few as it takes"


def test_a_stream_tells_it_in_its_head(powerd: Powerd) -> None:
    answer = chat(powerd, "small", [SYSTEM, *OLD, LAST], stream=True)
    assert "of 42 messages left out" in answer.headers["x-powerd-truncated"]


def test_the_last_message_is_kept_even_alone_and_loses_its_middle(powerd: Powerd) -> None:
    before = cuts(powerd, "small:latest", "tokens")
    answer = chat(powerd, "small", [*OLD, {"role": "user", "content": LONG}])
    assert answer.status_code == 200
    told = answer.headers["x-powerd-truncated"]
    assert re.search(rf"the prompt was cut from \d+ to \d+ tokens: {CONTEXT} are available", told), told
    assert answer.json()["prompt_eval_count"] < CONTEXT
    assert cuts(powerd, "small:latest", "tokens") == before + 1


@pytest.mark.parametrize(
    ("more", "model"), [({"truncate": False}, "small"), ({}, "strict"), ({"shift": False}, "small")]
)
def test_who_forbids_it_is_told_the_figures(powerd: Powerd, more: dict[str, Any], model: str) -> None:
    messages = [{"role": "user", "content": LONG}]
    answer = chat(powerd, model, messages, **more)
    assert answer.status_code == 400
    text = answer.json()["error"]
    assert re.search(rf"request \(\d+ tokens\) exceeds the available context size \({CONTEXT} tokens\)", text), text
    assert f"`context:` of {model} in models.yaml" in text


def test_openais_route_refuses_unless_the_model_is_declared_to_cut(powerd: Powerd) -> None:
    messages: list[Any] = [SYSTEM, *OLD, LAST]
    with openai.OpenAI(base_url=f"{powerd.url}/v1", api_key="x", max_retries=0) as client:
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(model="small", messages=messages)
        assert caught.value.code == "context_length_exceeded"
        raw = client.chat.completions.with_raw_response.create(model="cutting", messages=messages, temperature=0)
        assert "messages left out" in raw.headers["x-powerd-truncated"]
        assert "5" in (raw.parse().choices[0].message.content or "")


def test_a_context_that_fills_up_is_shifted_where_that_is_allowed(powerd: Powerd) -> None:
    with ollama.Client(host=powerd.url) as client:
        options = {"temperature": 0, "num_predict": 400, "repeat_penalty": 1.3}
        question = "Count from 1 to 200."
        went_on = client.generate("small", question, options=options)
        cut = client.generate("strict", question, options=options)
    assert went_on.eval_count is not None
    assert cut.eval_count is not None
    assert went_on.eval_count > CONTEXT > cut.eval_count
    assert cut.done_reason == "length"
    assert cuts(powerd, "small:latest", "shift") == 1
    assert "the context was shifted" in powerd.log()
