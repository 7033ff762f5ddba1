"""{think on, off, unset} x {stream} x {tools} x {schema} with the official clients on the bundled model.

Every answer to a schema is valid JSON of that schema, no content shows a tag, and a stream says what the whole says.
Requests go one after the other, so that both runs of a seed compute in the same batches.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import jsonschema
import ollama
import openai
import pytest

from tests.wire.powerd_process import Powerd

SEEDS = 20
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "The city"}},
    "required": ["city"],
}
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather in a city",
        "parameters": PARAMETERS,
    },
}
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 40}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
QUESTIONS = {
    (False, False): "What is 7 + 5?",
    (False, True): "Make a JSON object with name Anna and age 31.",
    (True, False): "What is the weather in Paris?",
    (True, True): "What is the weather in Paris?",
}
TAGS = ("<think>", "</think>", "<tool_call>", "</tool_call>", "<|im_end|>", "<|im_start|>")
MATRIX = [
    (think, tools, schema) for think in (True, False, None) for tools in (False, True) for schema in (False, True)
]


@dataclass
class Said:
    content: str = ""
    thinking: str = ""
    calls: list[tuple[str, Any]] = field(default_factory=list)
    reason: str = ""


@pytest.fixture(scope="module")
def powerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Powerd]:
    with Powerd(tmp_path_factory.mktemp("powerd"), models="models:\n  demo: {source: 'builtin:demo'}\n") as running:
        running.wait("Fits", "demo")
        yield running


# Clients are Any: their overloads want `stream` as a literal.


def by_ollama(client: Any, seed: int, *, think: Any, tools: bool, schema: bool, stream: bool) -> Said:
    answer: Any = client.chat(
        "demo",
        [{"role": "user", "content": QUESTIONS[tools, schema]}],
        tools=[TOOL] if tools else None,
        format=SCHEMA if schema else None,
        think=think,
        stream=stream,
        options={"seed": seed, "temperature": 0.7},
    )
    said = Said()
    for chunk in answer if stream else [answer]:
        said.content += chunk.message.content or ""
        said.thinking += chunk.message.thinking or ""
        said.calls += [(call.function.name, dict(call.function.arguments)) for call in chunk.message.tool_calls or ()]
        said.reason = chunk.done_reason or ""
    return said


def by_openai(client: Any, seed: int, *, think: Any, tools: bool, schema: bool, stream: bool) -> Said:
    wanted: dict[str, Any] = {"messages": [{"role": "user", "content": QUESTIONS[tools, schema]}]}
    if tools:
        wanted["tools"] = [TOOL]
    if schema:
        wanted["response_format"] = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}}
    if think is not None:
        wanted["reasoning_effort"] = "medium" if think else "none"
    answer = client.chat.completions.create(model="demo", seed=seed, temperature=0.7, stream=stream, **wanted)
    said = Said()
    for chunk in answer if stream else [answer]:
        choice = chunk.choices[0]
        told = choice.delta if stream else choice.message
        said.content += told.content or ""
        said.thinking += getattr(told, "reasoning", None) or ""
        said.calls += [(call.function.name, json.loads(call.function.arguments)) for call in told.tool_calls or ()]
        said.reason = choice.finish_reason or ""
    return said


def judge(said: Said, *, think: Any, tools: bool, schema: bool) -> None:
    assert not any(tag in said.content for tag in TAGS), said
    assert said.reason in ("stop", "tool_calls"), said
    assert think is not False or not said.thinking, said
    assert tools or not said.calls, said
    for name, arguments in said.calls:
        assert name == "get_weather"
        jsonschema.validate(arguments, PARAMETERS)
    if schema and not said.calls:
        jsonschema.validate(json.loads(said.content), SCHEMA)


@pytest.mark.parametrize(("think", "tools", "schema"), MATRIX)
def test_every_answer_is_what_was_asked_streamed_or_not_by_ollama(
    powerd: Powerd, think: bool | None, tools: bool, schema: bool
) -> None:
    thoughts = calls = 0
    with ollama.Client(host=powerd.url) as client:
        for seed in range(SEEDS):
            whole = by_ollama(client, seed, think=think, tools=tools, schema=schema, stream=False)
            streamed = by_ollama(client, seed, think=think, tools=tools, schema=schema, stream=True)
            assert streamed == whole
            judge(whole, think=think, tools=tools, schema=schema)
            thoughts += bool(whole.thinking)
            calls += bool(whole.calls)
    assert think is False or thoughts, "a model that thinks never did"
    assert not tools or calls, "a model that calls tools never did"


@pytest.mark.parametrize(("think", "tools", "schema"), MATRIX)
def test_every_answer_is_what_was_asked_streamed_or_not_by_openai(
    powerd: Powerd, think: bool | None, tools: bool, schema: bool
) -> None:
    with openai.OpenAI(base_url=f"{powerd.url}/v1", api_key="x", max_retries=0) as client:
        for seed in range(SEEDS // 4):
            whole = by_openai(client, seed, think=think, tools=tools, schema=schema, stream=False)
            streamed = by_openai(client, seed, think=think, tools=tools, schema=schema, stream=True)
            assert streamed == whole
            judge(whole, think=think, tools=tools, schema=schema)
