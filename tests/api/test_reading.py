"""How an answer is held and read: what the runner is told of its form."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from powerd.api.ask import Ask
from powerd.api.reading import Manner, manner
from powerd.errors import Unsupported
from powerd.output.formats import Format, Tags, ToolFormat
from powerd.output.pieces import Content, Thought
from powerd.output.recognise import recognise
from powerd.protocol import Message, Thinking, ToolCall

HERMES = recognise(
    "{% if tools %}<tool_call></tool_call>{% endif %}{% if enable_thinking %}<think></think>{% endif %}", "jinja"
)
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
SCHEMA = {"type": "object"}
USER = (Message("user", "hi"),)


def offer(form: Format = HERMES, think: bool | None = None) -> Any:
    return SimpleNamespace(format=form, think=think, capabilities=("completion", "thinking", "tools"))


def made(
    prompt: str = "hi", messages: tuple[Message, ...] = USER, of: Any = None, budget: int = -1, **ask: Any
) -> Manner:
    return manner(Ask("m", **ask), of or offer(), prompt, messages, budget)


def test_a_model_that_thinks_is_read_so_and_the_runner_knows_where() -> None:
    held = made(budget=9)
    assert held.thinking == Thinking("<think>", "</think>", False, 9, "\n</think>\n\n")
    assert held.reader is not None
    assert held.reader.feed("<think>a</think>b") == [Thought("a"), Content("b")]


def test_a_prompt_that_opened_the_tag_begins_inside() -> None:
    held = made("...<think>\n")
    assert held.thinking is not None
    assert held.thinking.inside
    assert held.reader is not None
    assert held.reader.feed("a</think>b") == [Thought("a"), Content("b")]


def test_who_shall_not_think_is_not_waited_for() -> None:
    assert made(think=False).thinking is None
    assert made(of=offer(think=False)).thinking is None
    assert made(messages=(*USER, Message("assistant", "So"))).thinking is None


def test_raw_prompts_and_gaps_are_content_as_they_come() -> None:
    for held in (made(raw="x"), made(suffix="y")):
        assert held == Manner()
    held = made(raw="x", format="json")
    assert (held.reader, held.thinking, held.constraint is None) == (None, None, False)


def test_calls_are_read_only_where_tools_were_given() -> None:
    call = '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>'
    with_tools, without = made(tools=(TOOL,)).reader, made().reader
    assert with_tools is not None
    assert without is not None
    assert [*with_tools.feed(call), *with_tools.end()] == [ToolCall("f", {})]
    assert "".join(piece.text for piece in [*without.feed(call), *without.end()] if isinstance(piece, Content)) == call


def test_a_schema_holds_from_the_start_and_tools_when_they_begin() -> None:
    assert made().constraint is None
    schema, tools, both = made(format=SCHEMA), made(tools=(TOOL,)), made(format=SCHEMA, tools=(TOOL,))
    assert schema.constraint is not None
    assert tools.constraint is not None
    assert both.constraint is not None
    assert not schema.constraint.triggers
    assert tools.constraint.triggers == ("<tool_call>",)
    assert not both.constraint.triggers
    required = made(tools=(TOOL,), tool_choice="required").constraint
    assert required is not None
    assert not required.triggers


def test_control_tokens_the_reader_wants_are_asked_for() -> None:
    made_up = ToolFormat("made-up", ("[CALL]",), lambda tools: made().reader, markers=("[CALL]",))  # type: ignore[arg-type, return-value]
    form = Format(Tags("[T]", "[/T]"), made_up, thought_markers=("[T]", "[/T]"))
    assert made(of=offer(form)).markers == ("[T]", "[/T]")
    assert made(of=offer(form), tools=(TOOL,)).markers == ("[T]", "[/T]", "[CALL]")


def test_gpt_oss_thinks_in_a_channel_that_nothing_switches_off() -> None:
    form = recognise("<|start|>{{ role }}<|channel|>{{ channel }}<|message|>", "jinja")
    held = made(of=offer(form), think=False, budget=5)
    assert held.thinking == Thinking("<|channel|>analysis<|message|>", "<|end|>", False, 5, "<|end|>")
    assert "<|message|>" in held.markers
    assert held.reader is not None
    said = "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>Hi"
    assert [*held.reader.feed(said), *held.reader.end()] == [Thought("hm"), Content("Hi")]
    begun = made(messages=(*USER, Message("assistant", "So")), of=offer(form))
    assert begun.reader is not None
    assert begun.thinking is None
    assert [*begun.reader.feed("on"), *begun.reader.end()] == [Content("on")]


def test_a_call_cannot_be_required_where_calls_are_unknown() -> None:
    with pytest.raises(Unsupported, match="tool_choice"):
        made(of=offer(Format()), tools=(TOOL,), tool_choice="required")
