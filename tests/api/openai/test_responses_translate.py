"""From requests for responses to Asks: tools, choices, formats, what is repeated, and what is refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from powerd.api.ask import Ask
from powerd.api.openai.responses import translate
from powerd.api.openai.responses.schema import ResponsesRequest
from powerd.api.openai.responses.toolbox import Told, Toolbox
from powerd.api.strict import convert
from powerd.errors import BadRequest
from powerd.options import Options
from powerd.protocol import Sampling

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
F = {"type": "function", "name": "f", "description": "It.", "parameters": SCHEMA, "strict": True}
G = {"type": "function", "name": "g"}
SPACE = {"type": "namespace", "name": "ns", "description": "More.", "tools": [F, {"type": "custom", "name": "h"}]}
PATCH = {"type": "custom", "name": "patch", "format": {"type": "grammar", "syntax": "lark", "definition": "start: X"}}


def both(**body: Any) -> tuple[Ask, Toolbox]:
    return translate.response(convert(ResponsesRequest, {"model": "m", "input": "hi", **body}))


def ask(**body: Any) -> Ask:
    return both(**body)[0]


def refused(**body: Any) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        both(**body)
    return caught.value


# ---------------------------------------------------------------- what it becomes


def test_what_is_not_sent_is_left_to_the_model() -> None:
    plain = ask()
    assert (plain.options, plain.think, plain.tools, plain.format, plain.logprobs) == ({}, None, (), None, -1)
    assert (plain.truncate, plain.parallel_calls, plain.needs) == (None, True, ())


def test_what_is_sent_goes_by_ollamas_names() -> None:
    assert ask(temperature=0.5, top_p=1, max_output_tokens=7, thinking_budget=3).options == {
        "temperature": 0.5,
        "top_p": 1.0,
        "num_predict": 7,
        "thinking_budget": 3,
    }


@pytest.mark.parametrize(("effort", "think"), [("none", False), ("minimal", "low"), ("high", "high"), ("xhigh", "max")])
def test_efforts_are_those_of_chat_completions(effort: str, think: bool | str) -> None:
    asked = ask(reasoning={"effort": effort, "summary": "auto"})
    assert asked.think == think
    assert asked.needs == (("thinking",) if think else ())


@pytest.mark.parametrize(
    ("form", "wanted"),
    [
        (None, None),
        ({"type": "text"}, None),
        ({"type": "json_object"}, "json"),
        ({"type": "json_schema", "name": "x", "schema": {"type": "boolean"}, "strict": True}, {"type": "boolean"}),
    ],
)
def test_formats(form: Any, wanted: Any) -> None:
    assert ask(text={"format": form, "verbosity": "low"}).format == wanted


@pytest.mark.parametrize(("word", "truncate"), [("auto", True), ("disabled", False)])
def test_a_request_has_its_say_on_being_cut(word: str, truncate: bool) -> None:
    assert ask(truncation=word).truncate is truncate


def test_log_probabilities_are_told_where_they_are_asked_for() -> None:
    assert ask(include=["message.output_text.logprobs", "reasoning.encrypted_content"]).logprobs == 0
    assert ask(top_logprobs=3).logprobs == 3


# ---------------------------------------------------------------- tools


def test_functions_reach_the_template_as_those_of_chat_completions() -> None:
    asked, box = both(tools=[F, G])
    function = {"name": "f", "description": "It.", "parameters": SCHEMA, "strict": True}
    assert asked.tools == (
        {"type": "function", "function": function},
        {"type": "function", "function": {"name": "g"}},
    )
    assert asked.needs == ("tools",)
    assert box.told == {"f": Told("f"), "g": Told("g")}


def test_a_namespace_stands_before_the_name_and_comes_off_again() -> None:
    asked, box = both(tools=[SPACE, F])
    assert [tool["function"]["name"] for tool in asked.tools] == ["ns.f", "ns.h", "f"]
    assert box.told == {"ns.f": Told("f", "ns"), "ns.h": Told("h", "ns", custom=True), "f": Told("f")}


def test_a_tool_that_takes_text_is_a_function_of_one_string() -> None:
    asked, box = both(tools=[PATCH])
    function = asked.tools[0]["function"]
    assert function["parameters"] == {
        "type": "object",
        "properties": {"input": {"type": "string"}},
        "required": ["input"],
    }
    assert function["description"].endswith("\nstart: X")
    assert box.told["patch"].custom


@pytest.mark.parametrize("kind", ["web_search", "web_search_preview", "web_search_2025_08_26"])
def test_a_search_is_left_out_and_known_to_be(kind: str) -> None:
    asked, box = both(tools=[F, {"type": kind, "external_web_access": False}])
    assert len(asked.tools) == 1
    assert box.without_search
    assert not both(tools=[F])[1].without_search


@pytest.mark.parametrize(
    ("choice", "wanted", "left"),
    [
        (None, "auto", ["f", "g", "ns.f", "ns.h"]),
        ("auto", "auto", ["f", "g", "ns.f", "ns.h"]),
        ("required", "required", ["f", "g", "ns.f", "ns.h"]),
        ("none", "auto", []),
        ({"type": "function", "name": "g"}, "g", ["g"]),
        ({"type": "custom", "name": "h", "namespace": "ns"}, "ns.h", ["ns.h"]),
        ({"type": "allowed_tools", "mode": "required", "tools": [G]}, "required", ["g"]),
        ({"type": "allowed_tools", "tools": [F, G]}, "auto", ["f", "g"]),
    ],
)
def test_the_tool_choice_is_honoured(choice: Any, wanted: str, left: list[str]) -> None:
    asked = ask(tools=[F, G, SPACE], tool_choice=choice)
    assert asked.tool_choice == wanted
    assert [tool["function"]["name"] for tool in asked.tools] == left


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id", "powerd keeps no responses"),
        ({"conversation": {"id": "c"}}, "conversation", "send the whole conversation"),
        ({"prompt": {"id": "p"}}, "prompt", "as `instructions`"),
        ({"truncation": "middle"}, "truncation", '"auto" or "disabled"'),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort", 'invalid reasoning value: "huge"'),
        ({"reasoning": {"summary": "long"}}, "reasoning.summary", "must be"),
        ({"reasoning": {"effort": 5}}, "reasoning.effort", "string"),
        ({"max_output_tokens": 0}, "max_output_tokens", "at least 1"),
        ({"max_output_tokens": 2**70}, "max_output_tokens", ""),
        ({"temperature": -1}, "temperature", "must be between"),
        ({"top_p": -1}, "top_p", "must be between"),
        ({"top_logprobs": 21}, "top_logprobs", "between 0 and 20"),
        ({"metadata": {str(n): "x" for n in range(17)}}, "metadata", "at most 16"),
        ({"metadata": {"a": "x" * 513}}, "metadata[...]", "512"),
        ({"prompt_cache_key": "x" * 513}, "prompt_cache_key", "512"),
        ({"include": [5]}, "include[0]", "string"),
        ({"text": {"format": "json"}}, "text.format", '"json_schema"'),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format", "text.format.schema"),
        ({"text": {"format": {"type": "json_schema", "schema": {"not": {}}}}}, "text.format", "schema"),
        ({"tools": [5]}, "tools[0]", "tools[0].type"),
        ({"tools": [F, {"type": "file_search"}]}, "tools[1]", 'not "file_search"'),
        ({"tools": [F, F]}, "tools[1]", 'tools[1].name: "f" stands there twice'),
        ({"tools": [{"type": "function"}]}, "tools[0]", "tools[0].name"),
        ({"tools": [{"type": "function", "name": ["x"]}]}, "tools[0]", "tools[0].name"),
        ({"tools": [{**F, "parameters": 5}]}, "tools[0]", "tools[0].parameters"),
        ({"tools": [{**F, "name": "x" * 257}]}, "tools[0]", "tools[0].name"),
        ({"tools": [{"type": "custom", "name": "x", "description": 5}]}, "tools[0]", "tools[0].description"),
        ({"tools": [{"type": "namespace", "tools": []}]}, "tools[0]", "tools[0].name"),
        ({"tools": [{"type": "namespace", "name": "n"}]}, "tools[0]", "tools[0].tools"),
        ({"tools": [{**SPACE, "tools": [G, SPACE]}]}, "tools[0].tools[1]", 'not "namespace"'),
        ({"tools": [{"type": "function", "name": str(n)} for n in range(513)]}, "tools", "at most 512"),
        ({"tools": [F], "tool_choice": "sometimes"}, "tool_choice", '{"type": "function", "name": …}'),
        ({"tools": [F], "tool_choice": {"type": "web_search"}}, "tool_choice", "is taken"),
        ({"tools": [F], "tool_choice": {"type": "function", "name": "g"}}, "tool_choice", "none of the tools"),
        ({"tool_choice": "required"}, "tool_choice", "there are no tools"),
        ({"tools": [F], "tool_choice": {"type": "allowed_tools"}}, "tool_choice", "`tools` (an array)"),
        (
            {"tools": [F], "tool_choice": {"type": "allowed_tools", "mode": [], "tools": [F]}},
            "tool_choice",
            "`mode`",
        ),
        ({"tools": [F], "tool_choice": {"type": "allowed_tools", "tools": [G]}}, "tool_choice", "none of the tools"),
    ],
)
def test_h15_what_is_wrong_is_named(body: dict[str, Any], param: str, words: str) -> None:
    error = refused(**body)
    assert error.param == param
    assert words in error.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["function", "custom", "user"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["type", "role", "name", "content", "tools", "arguments", "call_id", "output", "mode", "text"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
KINDS = st.sampled_from(
    ["message", "reasoning", "function_call", "function_call_output", "custom_tool_call", "namespace", "allowed_tools"]
)
TYPED = st.builds(lambda kind, more: {**(more if isinstance(more, dict) else {"x": more}), "type": kind}, KINDS, JSON)
FIELD = JSON | TYPED | st.lists(TYPED, max_size=3)


@settings(max_examples=150, deadline=None)
@given(st.fixed_dictionaries({"input": FIELD, "tools": FIELD, "tool_choice": FIELD, "text": FIELD}))
def test_h15_no_request_breaks_the_reading_of_it(body: dict[str, Any]) -> None:
    body = {name: value for name, value in body.items() if value is not None}
    try:
        both(**body)
    except BadRequest as error:
        assert error.message


# ---------------------------------------------------------------- what is repeated


def test_the_answer_repeats_the_request_and_tells_what_holds() -> None:
    body = {
        "instructions": "Be brief.",
        "tools": [G, {"type": "web_search"}],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "text": {"format": {"type": "json_object"}, "verbosity": "low"},
        "reasoning": {"effort": "low"},
        "metadata": {"a": "b"},
        "background": True,
        "max_output_tokens": 5,
        "prompt_cache_key": "k",
    }
    request = convert(ResponsesRequest, {"model": "m", "input": "hi", **body})
    told = translate.repeated(request, ask(**body), Options(Sampling(temperature=0.25)))
    assert told == {
        "model": "m",
        "previous_response_id": None,
        **body,
        "tools": [
            {"type": "function", "name": "g", "description": None, "parameters": None, "strict": None},
            {"type": "web_search"},
        ],
        "truncation": "disabled",
        "top_p": 0.9,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "top_logprobs": 0,
        "temperature": 0.25,
        "reasoning": {"effort": "low", "summary": None},
        "max_tool_calls": None,
        "store": False,
        "service_tier": "default",
        "safety_identifier": None,
    }
    assert msgspec.json.encode(told)
