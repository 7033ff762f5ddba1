"""From Anthropic's requests to Asks: sampling, thinking, tools, formats, and the fields that errors name."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from powerd.api.anthropic import translate
from powerd.api.anthropic.schema import CountRequest, MessagesRequest
from powerd.api.ask import Ask
from powerd.errors import BadRequest
from powerd.protocol import Message

HI = [{"role": "user", "content": "hi"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"name": "f", "description": "does f", "input_schema": SCHEMA}
OTHER = {"type": "custom", "name": "g", "input_schema": {}, "cache_control": {"type": "ephemeral"}}


def ask(**body: Any) -> Ask:
    sent = {"model": "m", "max_tokens": 5, "messages": HI, **body}
    return translate.messages(msgspec.convert(sent, MessagesRequest))


def refused(**body: Any) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        ask(**body)
    return caught.value


# ---------------------------------------------------------------- what is asked


def test_only_the_limit_of_tokens_is_needed() -> None:
    assert ask() == Ask("m", messages=(Message("user", "hi"),), options={"num_predict": 5})


def test_what_is_sent_goes_by_ollamas_names() -> None:
    sent: dict[str, Any] = {"temperature": 0.5, "top_p": 0.6, "top_k": 7, "stop_sequences": ["a", "b"]}
    thinking = {"type": "enabled", "budget_tokens": 2048}
    assert ask(**sent, thinking=thinking).options == {
        "num_predict": 5,
        "temperature": 0.5,
        "top_p": 0.6,
        "top_k": 7,
        "stop": ("a", "b"),
        "thinking_budget": 2048,
    }
    assert "stop" not in ask(stop_sequences=[]).options


def test_a_count_needs_no_limit() -> None:
    counted = translate.count(msgspec.convert({"model": "m", "messages": HI, "system": "s"}, CountRequest))
    assert counted.messages == (Message("system", "s"), Message("user", "hi"))
    assert counted.options == {}


def test_fields_judged_in_ollamas_order() -> None:
    assert refused(model="", max_tokens=None, messages=[]).message == "model is required"
    assert refused(max_tokens=None, messages=[]).message == "max_tokens is required and must be positive"
    assert refused(max_tokens=0).param == "max_tokens"
    assert refused(messages=[]).message == "messages is required"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"max_tokens": 2**40}, "max_tokens"),
        ({"temperature": -1}, "temperature"),
        ({"top_p": 2}, "top_p"),
        ({"top_k": -2}, "top_k"),
        ({"stop_sequences": ["x" * 300]}, "stop_sequences"),
        ({"stop_sequences": ["x"] * 65}, "stop_sequences"),
        ({"thinking": {"type": "enabled", "budget_tokens": 0}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "enabled", "budget_tokens": 2**40}}, "thinking.budget_tokens"),
        ({"output_config": {"effort": "none"}}, "output_config.effort"),
        ({"system": 5}, "system"),
        ({"system": [{"type": "image"}]}, "system[0]"),
    ],
)
def test_a_bad_field_is_named_in_anthropics_words(body: dict[str, Any], param: str) -> None:
    error = refused(**body)
    assert error.param == param
    assert param in error.message


# ---------------------------------------------------------------- thinking


@pytest.mark.parametrize(
    ("body", "think"),
    [
        ({}, None),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, True),
        ({"thinking": {"type": "disabled"}}, False),
        ({"thinking": {"type": "adaptive"}}, None),
        ({"thinking": {"type": "between_tools"}, "output_config": {"effort": "low"}}, "low"),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "low"}}, False),
        ({"output_config": {"effort": "medium"}}, "medium"),
        ({"output_config": {"effort": "xhigh"}}, "high"),
        ({"output_config": {"effort": "max"}}, "max"),
        ({"output_config": {}}, None),
    ],
)
def test_thinking_is_asked_for_and_never_needed(body: dict[str, Any], think: bool | str | None) -> None:
    asked = ask(**body)
    assert asked.think == think
    assert asked.needs == ()


# ---------------------------------------------------------------- tools


def test_tools_reach_the_model_in_the_form_templates_know() -> None:
    asked = ask(tools=[TOOL, OTHER])
    assert asked.tools == (
        {"type": "function", "function": {"name": "f", "description": "does f", "parameters": SCHEMA}},
        {"type": "function", "function": {"name": "g", "parameters": {}}},
    )
    assert asked.needs == ("tools",)
    assert (asked.tool_choice, asked.parallel_calls) == ("auto", True)


@pytest.mark.parametrize(
    ("choice", "asked", "names", "parallel"),
    [
        ({"type": "auto"}, "auto", ["f", "g"], True),
        ({"type": "auto", "disable_parallel_tool_use": True}, "auto", ["f", "g"], False),
        ({"type": "any"}, "required", ["f", "g"], True),
        ({"type": "tool", "name": "g", "disable_parallel_tool_use": True}, "g", ["g"], False),
        ({"type": "none"}, "auto", [], True),
    ],
)
def test_the_choice_of_a_tool(choice: dict[str, Any], asked: str, names: list[str], parallel: bool) -> None:
    got = ask(tools=[TOOL, OTHER], tool_choice=choice)
    assert (got.tool_choice, got.parallel_calls) == (asked, parallel)
    assert [tool["function"]["name"] for tool in got.tools] == names
    assert got.needs == (("tools",) if names else ())


@pytest.mark.parametrize(
    ("tools", "words"),
    [
        ([5], "tools[0]: an object is needed"),
        ([{"name": "f"}], 'invalid input_schema for tool "f"'),
        ([{"name": "f", "input_schema": []}], 'invalid input_schema for tool "f"'),
        ([{"input_schema": {}}], "tools[0].name: a name of 1 to 256 characters"),
        ([{**TOOL, "name": "x" * 300}], "tools[0].name: a name of 1 to 256 characters"),
        ([TOOL, TOOL], 'tools[1].name: "f" stands there twice'),
        ([{**TOOL, "description": 5}], "tools[0].description: a string is needed"),
        ([{"type": "bash_20250124", "name": "bash"}], '"bash_20250124" is a tool of Anthropic\'s'),
        ([{"type": "web_search_20250305", "name": "web_search"}], "web_search is not there"),
        ([{**TOOL, "name": f"f{number}"} for number in range(513)], "at most 512 tools"),
    ],
)
def test_a_bad_tool_is_named_by_its_index(tools: list[Any], words: str) -> None:
    assert words in refused(tools=tools).message


def test_a_web_search_is_left_out_among_others_and_can_be_told() -> None:
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 5}
    assert ask(tools=[search, TOOL]).tools == ask(tools=[TOOL]).tools
    assert (
        "none of the tools" in refused(tools=[search, TOOL], tool_choice={"type": "tool", "name": "web_search"}).message
    )
    for tools, told in (([search, TOOL], True), ([TOOL], False), ([{**TOOL, "type": "web_search_x"}], False)):
        assert translate.searches(msgspec.convert({"tools": tools}, CountRequest)) is told


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"type": "wizard"}, '{"type": "auto"}'),
        ({"type": "tool"}, '{"type": "auto"}'),
        ({"type": "tool", "name": "h"}, '"h" is none of the tools'),
    ],
)
def test_a_bad_choice_is_refused(choice: dict[str, Any], words: str) -> None:
    error = refused(tools=[TOOL], tool_choice=choice)
    assert error.param == "tool_choice"
    assert words in error.message
    assert "there are no tools" in refused(tool_choice={"type": "any"}).message


# ---------------------------------------------------------------- formats


def test_the_answers_schema_in_both_its_places() -> None:
    wanted = {"type": "json_schema", "schema": SCHEMA}
    told = ask(output_config={"format": wanted}).format
    assert isinstance(told, dict)
    assert told["required"] == ["city"]
    assert ask(output_format=wanted).format == told
    assert ask(output_config={"effort": "low"}).format is None


@pytest.mark.parametrize(
    "value", [5, {}, {"type": "json"}, {"type": "json_schema"}, {"type": "json_schema", "schema": 1}]
)
def test_a_bad_format_names_its_place(value: Any) -> None:
    assert refused(output_config={"format": value}).message.startswith("output_config.format: ")
    assert refused(output_format=value).message.startswith("output_format: ")
    endless = {"type": "json_schema", "schema": {"$ref": "https://x.example/s"}}
    assert refused(output_config={"format": endless}).param == "output_config.format"


def test_the_estimate_is_a_quarter_of_the_characters() -> None:
    assert translate.estimate(ask(messages=[{"role": "user", "content": "x" * 400}])) == 100
    assert translate.estimate(ask(tools=[TOOL])) > 20
