"""POST /v1/responses by the official client, on the bundled model and real llama.cpp."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pydantic
import pytest

from tests.wire.powerd_process import Powerd

MODELS = """models:
  demo: {source: 'builtin:demo', parameters: {temperature: 0}}
  quiet: {source: 'builtin:demo', think: false, parameters: {temperature: 0}}
"""
TOOL = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the current weather in a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": True,
}
QUESTION = "What is the weather in Paris?"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with Powerd(tmp_path_factory.mktemp("powerd"), models=MODELS) as powerd:
        powerd.wait("Fits", "quiet")
        with openai.OpenAI(base_url=f"{powerd.url}/v1", api_key="x", max_retries=0) as client:
            yield client


def test_an_answer_with_its_thoughts_and_what_they_cost(client: Any) -> None:
    told = client.responses.create(model="demo", input="What is 17 + 25?", reasoning={"summary": "auto"})
    thought, spoken = told.output
    assert (told.status, thought.type, spoken.type) == ("completed", "reasoning", "message")
    assert "42" in told.output_text
    assert thought.encrypted_content == thought.summary[0].text
    details = told.usage.output_tokens_details
    assert 0 < details.reasoning_tokens < told.usage.output_tokens
    again = client.responses.create(model="demo", input="What is 17 + 25?", reasoning={"effort": "none"})
    assert [item.type for item in again.output] == ["message"]
    assert again.usage.output_tokens_details.reasoning_tokens == 0


def test_a_stream_comes_to_what_the_answer_at_once_is(client: Any) -> None:
    told = client.responses.create(model="demo", input="What is 17 + 25?")
    with client.responses.stream(model="demo", input="What is 17 + 25?") as stream:
        events = list(stream)
        streamed = stream.get_final_response()
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert (events[0].type, events[-1].type) == ("response.created", "response.completed")
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == streamed.output_text == told.output_text
    assert streamed.output[0].summary[0].text == told.output[0].summary[0].text
    assert streamed.usage.total_tokens == told.usage.total_tokens


@pytest.mark.parametrize("choice", ["required", {"type": "function", "name": "get_weather"}])
@pytest.mark.parametrize("streamed", [True, False])
def test_a_tool_is_called_and_its_result_read(client: Any, choice: Any, streamed: bool) -> None:
    asked = {"model": "quiet", "input": QUESTION, "tools": [TOOL], "tool_choice": choice}
    if streamed:
        with client.responses.stream(**asked) as stream:
            kinds = [event.type for event in stream]
            told = stream.get_final_response()
        assert "response.function_call_arguments.done" in kinds
    else:
        told = client.responses.create(**asked)
    call = next(item for item in told.output if item.type == "function_call")
    assert json.loads(call.arguments) == {"city": "Paris"}
    history = [
        {"role": "user", "content": QUESTION},
        *[item.to_dict() for item in told.output],
        {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"},
    ]
    answer = client.responses.create(model="quiet", input=history, tools=[TOOL])
    assert "sunny" in answer.output_text


def test_no_tool_is_called_where_none_may_be(client: Any) -> None:
    told = client.responses.create(
        model="quiet", input=QUESTION, tools=[TOOL], tool_choice="none", max_output_tokens=20
    )
    assert all(item.type == "message" for item in told.output)


class Person(pydantic.BaseModel):
    name: str
    age: int


def test_an_answer_keeps_to_a_schema(client: Any) -> None:
    told = client.responses.parse(model="quiet", input="Name a person.", text_format=Person)
    assert isinstance(told.output_parsed, Person)
    with client.responses.stream(model="quiet", input="Name a person.", text_format=Person) as stream:
        stream.until_done()
        assert stream.get_final_response().output_parsed == told.output_parsed
    form = {"format": {"type": "json_object"}}
    told = client.responses.create(model="quiet", input="Name a person as JSON.", text=form, max_output_tokens=200)
    assert told.status == "incomplete" or isinstance(json.loads(told.output_text), dict)


def test_an_answer_that_was_cut_says_so(client: Any) -> None:
    asked = {"model": "quiet", "input": "Tell me a story.", "max_output_tokens": 3}
    told = client.responses.create(**asked)
    assert (told.status, told.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    *_, last = client.responses.create(**asked, stream=True)
    assert last.type == "response.incomplete"
    assert last.response.output_text == told.output_text


def test_instructions_and_a_conversation_are_read(client: Any) -> None:
    thinking = client.responses.create(model="demo", input="What is 17 + 25?")
    history = [
        {"role": "user", "content": "What is 17 + 25?"},
        *[item.to_dict() for item in thinking.output],
        {"role": "user", "content": "What is 1 + 2?"},
    ]
    told = client.responses.create(model="demo", input=history, instructions="You are a careful assistant.")
    assert told.usage.input_tokens > thinking.usage.total_tokens - 60
    assert "3" in told.output_text


def test_probabilities_are_told(client: Any) -> None:
    told = client.responses.create(
        model="quiet", input="Hi", include=["message.output_text.logprobs"], top_logprobs=2, max_output_tokens=2
    )
    content = told.output[0].content[0]
    assert "".join(token.token for token in content.logprobs) == content.text
    assert all(len(token.top_logprobs) == 2 for token in content.logprobs)


def test_errors_are_those_the_client_knows(client: Any) -> None:
    with pytest.raises(openai.NotFoundError, match="model 'nope' not found"):
        client.responses.create(model="nope", input="hi")
    several: list[dict[str, Any]] = [
        {"previous_response_id": "resp_1"},
        {"input": []},
        {"tools": [{"type": "file_search"}]},
    ]
    for wrong in several:
        with pytest.raises(openai.BadRequestError) as caught:
            client.responses.create(**{"model": "quiet", "input": "hi", **wrong})
        assert caught.value.type == "invalid_request_error"
    with pytest.raises(openai.BadRequestError, match="exceeds the available context size") as caught:
        client.responses.create(model="quiet", input="word " * 20_000, stream=True)
    assert caught.value.code == "context_length_exceeded"
    cut = client.responses.with_raw_response.create(
        model="quiet", input="word " * 20_000, truncation="auto", max_output_tokens=1
    )
    assert "x-powerd-truncated" in cut.headers
