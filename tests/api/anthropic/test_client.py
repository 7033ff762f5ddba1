"""Anthropic's official client, unchanged, against a real powerd with the bundled model on real llama.cpp."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from tests.wire.powerd_process import Powerd

MODELS = """models:
  demo: {source: 'builtin:demo', parameters: {temperature: 0}}
  quiet: {source: 'builtin:demo', think: false, parameters: {temperature: 0}, aliases: [claude-sonnet-4]}
"""
TOOL = {
    "name": "get_weather",
    "description": "Get the current weather in a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
OTHER = {**TOOL, "name": "get_time", "description": "Get the current time in a city"}
WEATHER = "What is the weather in Paris?"


@pytest.fixture(scope="module")
def powerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Powerd]:
    with Powerd(tmp_path_factory.mktemp("powerd"), models=MODELS) as running:
        running.wait("Fits", "quiet")
        yield running


@pytest.fixture(scope="module")
def client(powerd: Powerd) -> Iterator[Any]:
    with anthropic.Anthropic(base_url=powerd.url, api_key="sk-ant-any", max_retries=0) as client:
        yield client


def asks(content: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content}]


def create(client: Any, content: Any, model: str = "quiet", **more: Any) -> Any:
    return client.messages.create(**{"model": model, "max_tokens": 200, "messages": asks(content), **more})


def test_a_chat_whole_and_streamed(client: Any) -> None:
    whole = create(client, "What is 2 + 3?", "claude-sonnet-4")
    assert [block.text for block in whole.content] == ["2 + 3 = 5."]
    assert "claude-sonnet-4:latest" in [model.id for model in client.models.list()]
    assert (whole.model, whole.stop_reason, whole.stop_sequence) == ("claude-sonnet-4", "end_turn", None)
    assert whole._request_id.startswith("req_")
    with client.messages.stream(model="quiet", max_tokens=200, messages=asks("What is 2 + 3?")) as stream:
        pieces = list(stream.text_stream)
        streamed = stream.get_final_message()
    assert "".join(pieces) == streamed.content[0].text == whole.content[0].text
    for usage in (whole.usage, streamed.usage):
        assert usage.input_tokens + usage.cache_read_input_tokens == 16
        assert usage.output_tokens == whole.usage.output_tokens


@pytest.mark.parametrize("model", ["quiet", "demo"])
def test_the_answer_is_the_same_in_every_dialect(client: Any, powerd: Powerd, model: str) -> None:
    messages = asks("What is 17 + 25?")
    told = powerd.post("/api/chat", {"model": model, "messages": messages, "stream": False}).json()
    other = powerd.post("/v1/chat/completions", {"model": model, "messages": messages}).json()["choices"][0]["message"]
    answer = create(client, "", model, messages=messages)
    assert answer.content[-1].text == told["message"]["content"] == other["content"]
    assert answer.usage.output_tokens == told["eval_count"]
    assert answer.usage.input_tokens + answer.usage.cache_read_input_tokens == told["prompt_eval_count"]
    thoughts = [block.thinking for block in answer.content if block.type == "thinking"]
    assert thoughts == [text for text in (told["message"].get("thinking"),) if text]


def test_an_answer_goes_on_from_its_beginning(client: Any) -> None:
    open_end = [*asks("What is 2 + 3?"), {"role": "assistant", "content": [{"type": "text", "text": "2 + 3 ="}]}]
    assert create(client, "", messages=open_end).content[0].text == " 5."


def test_a_stop_sequence_is_named(client: Any) -> None:
    question = "Count from 1 to 9."
    whole = create(client, question, stop_sequences=["zz", "5"])
    assert (whole.stop_reason, whole.stop_sequence) == ("stop_sequence", "5")
    assert whole.content[0].text.endswith("4, ")
    with client.messages.stream(model="quiet", max_tokens=200, messages=asks(question), stop_sequences=["5"]) as stream:
        assert stream.get_final_message().stop_sequence == "5"
    short = create(client, question, max_tokens=3)
    assert (short.stop_reason, short.usage.output_tokens) == ("max_tokens", 3)


def test_thinking_goes_out_and_comes_back(client: Any) -> None:
    question = "What is 17 + 25?"
    long = create(client, question, "demo", thinking={"type": "enabled", "budget_tokens": 1024})
    assert [block.type for block in long.content] == ["thinking", "text"]
    assert long.content[0].signature
    assert 0 < long.usage.output_tokens_details.thinking_tokens < long.usage.output_tokens
    short = create(client, question, "demo", thinking={"type": "enabled", "budget_tokens": 3})
    assert len(short.content[0].thinking) < len(long.content[0].thinking)
    assert [block.type for block in create(client, question, "quiet").content] == ["text"]
    assert [block.type for block in create(client, question, "demo", thinking={"type": "disabled"}).content] == ["text"]
    with client.messages.stream(model="demo", max_tokens=200, messages=asks(question)) as stream:
        kinds = [event.type for event in stream if event.type in ("thinking", "signature", "text")]
        thought, text = stream.get_final_message().content
    assert (thought, text.text) == (long.content[0], long.content[1].text)
    assert kinds == sorted(kinds, key=["thinking", "signature", "text"].index)
    turns = [*asks(question), {"role": "assistant", "content": long.content}, *asks("What is 2 + 3?")]
    assert create(client, "", "demo", messages=turns).content[-1].text


@pytest.mark.parametrize("streamed", [False, True])
def test_a_tool_round_trip(client: Any, streamed: bool) -> None:
    def turn(messages: list[Any]) -> Any:
        sent: dict[str, Any] = {"model": "quiet", "max_tokens": 200, "messages": messages, "tools": [TOOL]}
        if not streamed:
            return client.messages.create(**sent)
        with client.messages.stream(**sent) as stream:
            return stream.get_final_message()

    messages = asks(WEATHER)
    first = turn(messages)
    assert first.stop_reason == "tool_use"
    call = first.content[-1]
    assert (call.type, call.name, call.input) == ("tool_use", "get_weather", {"city": "Paris"})
    result = {"type": "tool_result", "tool_use_id": call.id, "content": '{"temperature": 21, "sky": "sunny"}'}
    messages += [{"role": "assistant", "content": first.content}, *asks([result])]
    last = turn(messages)
    assert last.stop_reason == "end_turn"
    assert "21" in last.content[0].text


def test_the_choice_of_a_tool_is_obeyed(client: Any) -> None:
    def calls(content: str, kind: str, **more: Any) -> list[str]:
        answer = create(client, content, tools=[TOOL, OTHER], tool_choice={"type": kind, **more})
        return [block.name for block in answer.content if block.type == "tool_use"]

    assert calls("What is 2 + 3?", "any")
    assert set(calls(WEATHER, "tool", name="get_time")) == {"get_time"}
    assert calls(WEATHER, "none") == []
    two = "What's the weather in Oslo and Rome?"
    assert len(calls(two, "auto")) == 2
    assert len(calls(two, "auto", disable_parallel_tool_use=True)) == 1


def test_an_answer_keeps_to_a_schema(client: Any) -> None:
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    config = {"format": {"type": "json_schema", "schema": schema}}
    answer = create(client, "Tell me of Anna, who is 31.", output_config=config)
    assert answer.content[0].text.startswith('{"age":')


def test_tokens_are_counted_as_they_are_when_asked(client: Any) -> None:
    asked: dict[str, Any] = {"messages": asks(WEATHER), "tools": [TOOL], "system": [{"type": "text", "text": "Be."}]}
    counted = client.messages.count_tokens(model="quiet", **asked)
    usage = client.messages.create(model="quiet", max_tokens=1, **asked).usage
    assert counted.input_tokens == usage.input_tokens + usage.cache_read_input_tokens


def test_errors_are_those_the_client_knows(client: Any) -> None:
    with pytest.raises(anthropic.NotFoundError) as missing:
        create(client, "x", "nope")
    body: Any = missing.value.body
    assert body["error"] == {"type": "not_found_error", "message": "model 'nope' not found"}
    assert body["request_id"] == missing.value.request_id
    with pytest.raises(anthropic.BadRequestError, match=r"prompt is too long: [0-9]+ tokens > 1024 maximum"):
        create(client, "word " * 3000)
    with pytest.raises(anthropic.BadRequestError, match="prompt is too long"):
        list(create(client, "word " * 3000, stream=True))
    with pytest.raises(anthropic.BadRequestError, match="max_tokens is required and must be positive"):
        create(client, "x", max_tokens=0)
