"""Thinking, tools, schemas and probabilities by the official clients, on the bundled model and real llama.cpp."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from typing import Any, Literal

import httpx
import ollama
import openai
import pydantic
import pytest

from tests.wire.powerd_process import Powerd

MODELS = """models:
  demo: {source: 'builtin:demo'}
  quiet: {source: 'builtin:demo', think: false, parameters: {temperature: 0}}
  brief: {source: 'builtin:demo', parameters: {temperature: 0, thinking_budget: 3}}
"""
COLD = {"temperature": 0}
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
OTHER = {
    "type": "function",
    "function": {
        "name": "get_time",
        "description": "Get the current time in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture(scope="module")
def powerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Powerd]:
    with Powerd(tmp_path_factory.mktemp("powerd"), models=MODELS) as running:
        running.wait("Fits", "demo")
        yield running


@pytest.fixture(scope="module")
def native(powerd: Powerd) -> Iterator[Any]:
    with ollama.Client(host=powerd.url) as client:
        yield client


@pytest.fixture(scope="module")
def other(powerd: Powerd) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{powerd.url}/v1", api_key="x", max_retries=0) as client:
        yield client


def asks(content: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content}]


# ---------------------------------------------------------------- thinking


def test_a_model_thinks_unless_somebody_says_no(native: Any) -> None:
    question = asks("What is 17 + 25?")
    assert native.chat("demo", question, options=COLD).message.thinking
    assert native.chat("demo", question, options=COLD, think="high").message.thinking
    assert not native.chat("demo", question, options=COLD, think=False).message.thinking
    assert not native.chat("quiet", question).message.thinking
    assert native.chat("quiet", question, think=True).message.thinking
    generated = native.generate("demo", "What is 17 + 25?", options=COLD)
    assert generated.thinking
    assert "think" not in generated.response


def test_thoughts_stream_before_the_content(native: Any, other: Any) -> None:
    question = asks("What is 17 + 25?")
    kinds = [
        "thinking" if chunk.message.thinking else "content"
        for chunk in native.chat("demo", question, options=COLD, stream=True)
    ]
    assert kinds == sorted(kinds, reverse=True)
    deltas = [
        chunk.choices[0].delta
        for chunk in other.chat.completions.create(model="demo", messages=question, temperature=0, stream=True)
    ]
    reasoning = "".join(getattr(delta, "reasoning", None) or "" for delta in deltas)
    assert reasoning == native.chat("demo", question, options=COLD).message.thinking
    assert (
        other.chat.completions.create(model="demo", messages=question, reasoning_effort="none")
        .choices[0]
        .message.content
    )


def test_a_budget_closes_the_thoughts_and_the_answer_comes(native: Any, other: Any) -> None:
    long = native.chat("demo", asks("What is 17 + 25?"), options=COLD).message.thinking
    short = native.chat("brief", asks("What is 17 + 25?"))
    assert len(short.message.thinking) < len(long)
    assert short.message.content
    assert "think" not in short.message.content
    raw = other.chat.completions.create(
        model="demo", messages=asks("What is 17 + 25?"), temperature=0, extra_body={"thinking_budget": 3}
    )
    assert raw.choices[0].message.reasoning == short.message.thinking
    assert raw.choices[0].message.content == short.message.content


# ---------------------------------------------------------------- tools


def test_a_tool_round_trip_by_ollama(native: Any) -> None:
    messages: list[Any] = asks("What is the weather in Paris?")
    first = native.chat("quiet", messages, tools=[TOOL])
    (call,) = first.message.tool_calls
    assert (call.function.name, dict(call.function.arguments)) == ("get_weather", {"city": "Paris"})
    assert first.done_reason == "stop"
    messages += [
        first.message,
        {"role": "tool", "tool_name": "get_weather", "content": '{"temperature": 21, "sky": "sunny"}'},
    ]
    answer = native.chat("quiet", messages, tools=[TOOL])
    assert not answer.message.tool_calls
    assert answer.message.content


def test_a_tool_round_trip_by_openai(other: Any) -> None:
    messages: list[Any] = asks("What is the weather in Paris?")
    first = other.chat.completions.create(model="quiet", messages=messages, tools=[TOOL])
    assert first.choices[0].finish_reason == "tool_calls"
    (call,) = first.choices[0].message.tool_calls
    assert json.loads(call.function.arguments) == {"city": "Paris"}
    result = {"role": "tool", "tool_call_id": call.id, "content": '{"temperature": 21, "sky": "sunny"}'}
    messages += [first.choices[0].message, result]
    answer = other.chat.completions.create(model="quiet", messages=messages, tools=[TOOL])
    assert (answer.choices[0].finish_reason, answer.choices[0].message.tool_calls) == ("stop", None)
    assert answer.choices[0].message.content


def test_generate_takes_tools_and_tells_the_calls_last(powerd: Powerd) -> None:
    asked = {"model": "quiet", "prompt": "What is the weather in Paris?", "tools": [TOOL]}
    whole = powerd.post("/api/generate", {**asked, "stream": False}).json()
    assert whole["tool_calls"][0]["function"]["arguments"] == {"city": "Paris"}
    lines = [json.loads(line) for line in powerd.post("/api/generate", asked).text.splitlines()]
    assert lines[-1]["tool_calls"][0]["function"] == whole["tool_calls"][0]["function"]
    assert not any("tool_calls" in line for line in lines[:-1])


def test_the_choice_of_a_tool_is_obeyed(other: Any) -> None:
    def calls(content: str, **more: Any) -> list[str]:
        answer = other.chat.completions.create(
            model="quiet", messages=asks(content), tools=[TOOL, OTHER], temperature=0, **more
        )
        return [call.function.name for call in answer.choices[0].message.tool_calls or ()]

    assert calls("What is 2 + 3?", tool_choice="required")
    named: dict[str, Any] = {"type": "function", "function": {"name": "get_time"}}
    assert set(calls("What is the weather in Paris?", tool_choice=named)) == {"get_time"}
    assert calls("What is the weather in Paris?", tool_choice="none") == []
    two = "What's the weather in Oslo and Rome?"
    assert len(calls(two)) == 2
    assert len(calls(two, parallel_tool_calls=False)) == 1


# ---------------------------------------------------------------- JSON


class Person(pydantic.BaseModel):
    name: str = pydantic.Field(max_length=20)
    age: int
    kind: Literal["adult", "child"]


def test_the_openai_clients_own_parsing_gets_its_object(other: Any) -> None:
    for seed in range(5):
        answer = other.chat.completions.parse(
            model="demo", messages=asks("Tell me of Anna, who is 31."), response_format=Person, seed=seed
        )
        assert isinstance(answer.choices[0].message.parsed, Person)


def test_any_object_and_a_schema_without_a_conversation(native: Any) -> None:
    for seed in range(5):
        options = {"seed": seed, "temperature": 0.7}
        asked = "Make a JSON object with name Anna and age 31."
        assert isinstance(json.loads(native.generate("quiet", asked, format="json", options=options).response), dict)
        schema = Person.model_json_schema()
        raw = native.generate("demo", "Anna", raw=True, format=schema, options=options)
        Person.model_validate_json(raw.response)


HOSTILE: list[Any] = [
    {"$ref": "#"},
    {"$ref": "https://example.com/schema.json"},
    {"type": "string", "pattern": "(a+)+$" * 40},
    {"type": "array", "minItems": 10**9, "items": {"type": "string"}},
    {"enum": [f"value {number}" for number in range(100_000)]},
]


@pytest.mark.parametrize("schema", HOSTILE, ids=range(len(HOSTILE)))
def test_s46_a_hostile_schema_is_refused_and_others_are_served(powerd: Powerd, schema: Any) -> None:
    asked = {"model": "demo", "messages": asks("Hi"), "format": schema}
    begun = time.monotonic()
    answer = powerd.post("/api/chat", asked)
    took = time.monotonic() - begun
    assert answer.status_code == 400
    assert "format" in answer.json()["error"]
    assert took < 2
    assert powerd.post("/api/chat", {"model": "quiet", "messages": asks("Hi"), "stream": False}).is_success


# ---------------------------------------------------------------- probabilities


def test_probabilities_by_ollama(native: Any) -> None:
    whole = native.chat("quiet", asks("What is 2 + 3?"), logprobs=True, top_logprobs=3)
    told = whole.logprobs
    assert "".join(token.token for token in told).startswith(whole.message.content)
    assert len(told) == whole.eval_count - 1, "the token that ends an answer is none of it"
    for token in told:
        assert token.logprob <= 0
        best = [other.logprob for other in token.top_logprobs]
        assert len(best) == 3
        assert best == sorted(best, reverse=True)
        assert sum(map(math.exp, best)) <= 1 + 1e-3
        assert token.token == token.top_logprobs[0].token, "the coldest draw is the likeliest"
    streamed = [
        token
        for chunk in native.chat("quiet", asks("What is 2 + 3?"), logprobs=True, top_logprobs=3, stream=True)
        for token in chunk.logprobs or ()
    ]
    assert [token.token for token in streamed] == [token.token for token in told]


def test_temperature_does_not_touch_them(native: Any) -> None:
    cold, hot = (
        native.generate(
            "quiet", "What is 2 + 3?", logprobs=True, options={"temperature": heat, "seed": 1, "num_predict": 1}
        )
        for heat in (0, 0.2)
    )
    assert cold.logprobs[0].token == hot.logprobs[0].token
    assert cold.logprobs[0].logprob == pytest.approx(hot.logprobs[0].logprob, abs=1e-4)


def test_probabilities_by_openai(powerd: Powerd, other: Any) -> None:
    answer = other.chat.completions.create(
        model="quiet", messages=asks("What is 2 + 3?"), logprobs=True, top_logprobs=2, temperature=0
    )
    content = answer.choices[0].logprobs.content
    assert (
        bytes(byte for token in content for byte in token.bytes).decode().startswith(answer.choices[0].message.content)
    )
    assert all(len(token.top_logprobs) == 2 for token in content)
    text = other.completions.create(model="quiet", prompt="What is 2 + 3?", logprobs=2, temperature=0)
    told = text.choices[0].logprobs
    assert len(told.tokens) == len(told.token_logprobs) == len(told.text_offset) == len(told.top_logprobs)
    answer = httpx.post(
        f"{powerd.url}/v1/completions", json={"model": "quiet", "prompt": "x", "logprobs": 21}, timeout=10
    )
    assert answer.status_code == 400
