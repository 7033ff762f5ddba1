from __future__ import annotations

import json

import pytest

from powerd.output.families import BY_NAME
from powerd.output.formats import Format, Tags, Tools
from powerd.output.grammars import grammar
from powerd.output.grammars.call_forms import FORMS
from powerd.output.reader import reader
from powerd.protocol import ToolCall
from tests.output.matching import accepts, matcher, written

TOOLS: Tools = {
    "get_weather": {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 8}, "days": {"type": "integer"}},
        "required": ["city"],
    },
    "now": {"type": "object", "properties": {}},
}
WEATHER = '{"city": "Rome", "days": 3}'


def shape(family: str) -> Format:
    return Format(tools=BY_NAME[family]) if family in BY_NAME else Format(harmony=True)


def read(format: Format, text: str) -> list[ToolCall]:
    """The calls in `text`, and nothing beside them."""
    made = reader(format, TOOLS, inside=False)
    pieces = [*made.feed(text), *made.end()]
    assert all(isinstance(piece, ToolCall) for piece in pieces), (text, pieces)
    return [piece for piece in pieces if isinstance(piece, ToolCall)]


CALLS = {
    "hermes": f'<tool_call>\n{{"name": "get_weather", "arguments": {WEATHER}}}\n</tool_call>\n'
    '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>',
    "llama3": f'{{"name": "get_weather", "parameters": {WEATHER}}}',
    "mistral": f'[TOOL_CALLS][{{"name": "get_weather", "arguments": {WEATHER}, "id": "abcdefghi"}}, '
    '{"name": "now", "arguments": {}}]',
    "deepseek-r1": "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n"
    f"{WEATHER}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
    "deepseek-v3.1": f"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{WEATHER}<｜tool▁call▁end｜>"
    "<｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
    "command-r7b": '<|START_ACTION|>[\n {"tool_call_id": "0", "tool_name": "get_weather", "parameters": '
    f"{WEATHER}}}\n]<|END_ACTION|>",
    "apertus": f'<|tools_prefix|>[{{"get_weather": {WEATHER}}}, {{"now": {{}}}}]<|tools_suffix|>',
    "kimi-k2": "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>"
    f"{WEATHER}<|tool_call_end|><|tool_calls_section_end|>",
    "harmony": f"<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{WEATHER}",
}


@pytest.mark.parametrize("family", CALLS)
def test_a_familys_own_way_to_call_is_what_its_grammar_wants(family: str) -> None:
    constraint = grammar.calls(shape(family), TOOLS, "required")
    assert constraint is not None
    assert constraint.triggers == ()
    assert accepts(constraint.grammar, CALLS[family])
    assert not accepts(constraint.grammar, CALLS[family].replace("city", "town"))
    assert not accepts(constraint.grammar, CALLS[family].replace("get_weather", "get_whether"))


@pytest.mark.parametrize("family", sorted(FORMS))
def test_whatever_a_grammar_of_calls_writes_is_read_as_calls(family: str) -> None:
    format = shape(family)
    constraint = grammar.calls(format, TOOLS, "required")
    assert constraint is not None
    for seed in range(3):
        calls = read(format, written(constraint.grammar, seed))
        assert calls
        assert {call.name for call in calls} <= set(TOOLS)
        assert all(set(call.arguments) <= {"city", "days"} for call in calls)


@pytest.mark.parametrize("family", sorted(FORMS))
def test_every_trigger_begins_its_grammar(family: str) -> None:
    constraint = grammar.calls(shape(family), TOOLS)
    assert constraint is not None
    assert constraint.triggers
    for trigger in constraint.triggers:
        assert trigger
        assert grammar_goes_on_after(constraint.grammar, trigger), trigger


def grammar_goes_on_after(text: str, trigger: str) -> bool:
    data = list(trigger.encode())
    return matcher(text).try_consume_tokens(data) == len(data)


def test_forms_are_those_of_formats_that_exist() -> None:
    assert set(FORMS) <= set(BY_NAME) | {"harmony"}


def test_one_tool_can_be_asked_for_and_one_call() -> None:
    hermes = shape("hermes")
    one = grammar.calls(hermes, TOOLS, "now")
    assert one is not None
    call = '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'
    assert accepts(one.grammar, call)
    assert not accepts(one.grammar, CALLS["hermes"])
    single = grammar.calls(hermes, TOOLS, "required", parallel=False)
    assert single is not None
    assert accepts(single.grammar, call)
    assert not accepts(single.grammar, f"{call}\n{call}")
    auto = grammar.calls(hermes, TOOLS, parallel=False)
    assert auto is not None
    assert auto.once


def test_nothing_is_said_where_nothing_can_be() -> None:
    assert grammar.calls(Format(), TOOLS) is None
    assert grammar.calls(shape("hermes"), {}) is None


def test_a_call_must_be_json_but_a_family_that_writes_no_json_is_only_made_to_begin() -> None:
    others = [family for family in BY_NAME.values() if family.name not in FORMS and family.begins]
    for family in others:
        assert grammar.calls(Format(tools=family), TOOLS) is None
        required = grammar.calls(Format(tools=family), TOOLS, "required")
        assert required is not None
        assert accepts(required.grammar, family.begins[0] + " and what follows")
        assert not accepts(required.grammar, "Hello")


def test_calls_or_an_answer() -> None:
    text = grammar.both({"type": "null"}, shape("hermes"), TOOLS).grammar
    assert accepts(text, "null")
    assert accepts(text, CALLS["hermes"])
    assert not accepts(text, "Hello")
    assert not accepts(grammar.both({"type": "null"}, shape("hermes"), TOOLS, "required").grammar, "null")
    assert accepts(grammar.both({"type": "null"}, Format(), TOOLS).grammar, "null")


def test_any_json_object_is_the_answer_without_a_schema() -> None:
    text = grammar.answer(None, Format()).grammar
    assert accepts(text, '\n{"a": [1, 2.5, {"b": null}], "ü": "\\n"}')
    assert not accepts(text, "[]")
    for seed in range(10):
        assert isinstance(json.loads(written(text, seed)), dict)


def test_an_answer_may_stand_in_its_own_tags_or_channel() -> None:
    tagged = grammar.answer({"type": "null"}, Format(answer=Tags("<answer>", "</answer>"))).grammar
    assert accepts(tagged, "<answer>\nnull\n</answer>")
    assert accepts(tagged, "null")
    harmony = grammar.answer({"type": "null"}, Format(harmony=True)).grammar
    assert accepts(harmony, "<|channel|>final<|message|>null")
    assert accepts(harmony, "<|start|>assistant<|channel|>final <|constrain|>json<|message|>null")


def test_many_large_tools_still_fit_a_frame() -> None:
    large = {"type": "object", "properties": {f"property_{n}": {"type": "string"} for n in range(60)}}
    constraint = grammar.calls(shape("hermes"), {f"tool_{n}": large | {"title": str(n)} for n in range(128)})
    different = {
        f"tool_{n}": {"properties": {f"property_{n}_{m}": {"type": "string"} for m in range(60)}} for n in range(128)
    }
    for made in (constraint, grammar.calls(shape("hermes"), different)):
        assert made is not None
        assert len(made.grammar.encode()) < 100_000
        assert accepts(made.grammar, '<tool_call>\n{"name": "tool_7", "arguments": {}}\n</tool_call>')
