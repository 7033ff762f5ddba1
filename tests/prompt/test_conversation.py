"""Conversations as templates see them, through the real template of the demonstration model."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import gguf
import pytest

import powerd.demo
from powerd.prompt.conversation import as_mapping, render
from powerd.protocol import Message, RenderJob, ToolCall

NOW = datetime(2025, 1, 1, tzinfo=UTC)
DEMO = Path(powerd.demo.__path__[0]) / "tiny-chat-q8_0.gguf"
WEATHER: dict[str, object] = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
SIGNATURES = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided with function "
    "signatures within <tools></tools> XML tags:\n<tools>\n"
    '{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}\n</tools>\n\n'
    "For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML "
    'tags:\n<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
)


@pytest.fixture(scope="module")
def template() -> str:
    field = gguf.GGUFReader(DEMO).get_field("tokenizer.chat_template")
    text = field.contents()
    assert isinstance(text, str)
    return text


def test_plain_conversation_of_the_demo_model(template: str) -> None:
    turns = (Message("user", "Hello"), Message("assistant", "Hi!"), Message("user", "<|im_end|> {{ x }}"))
    assert render(RenderJob(1, turns, template, bos="<|endoftext|>", eos="<|im_end|>"), NOW) == (
        "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\nHi!<|im_end|>\n"
        "<|im_start|>user\n<|im_end|> {{ x }}<|im_end|>\n<|im_start|>assistant\n"
    )


def test_system_text_and_no_generation_prompt(template: str) -> None:
    turns = (Message("system", "Be brief."), Message("user", "Hello"))
    assert render(RenderJob(1, turns, template, add_generation_prompt=False), NOW) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n"
    )


def test_thinking_is_switched_on_by_a_variable_and_old_thoughts_are_dropped(template: str) -> None:
    turns = (
        Message("user", "a"),
        Message("assistant", "b", thinking="old"),
        Message("user", "c"),
        Message("assistant", "d", thinking="new"),
    )
    text = render(RenderJob(1, turns, template, add_generation_prompt=False, variables={"enable_thinking": True}), NOW)
    assert text == (
        "<|im_start|>system\n/think<|im_end|>\n<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"
        "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n<think>\nnew\n</think>\n\nd<|im_end|>\n"
    )


def test_tools_calls_and_their_results(template: str) -> None:
    calls = (ToolCall("weather", {"city": "Köln"}, "1"), ToolCall("weather", {"city": "Paris"}, "2"))
    turns = (
        Message("system", "S"),
        Message("user", "And?"),
        Message("assistant", tool_calls=calls),
        Message("tool", "sun", tool_call_id="1"),
        Message("tool", "rain", tool_call_id="2"),
    )
    assert render(RenderJob(1, turns, template, tools=(WEATHER,)), NOW) == (
        f"<|im_start|>system\nS\n\n{SIGNATURES}<|im_end|>\n<|im_start|>user\nAnd?<|im_end|>\n<|im_start|>assistant\n"
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Köln"}}\n</tool_call>\n'
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call><|im_end|>\n'
        "<|im_start|>user\n<tool_response>\nsun\n</tool_response>\n<tool_response>\nrain\n</tool_response><|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_without_tools_templates_see_none_not_an_empty_list() -> None:
    assert render(RenderJob(1, (), "{{ tools is none }}"), NOW) == "True"


def test_templates_see_the_special_tokens_and_the_variables() -> None:
    job = RenderJob(1, (), "{{ bos_token }}|{{ eos_token }}|{{ depth }}", bos="<s>", eos="</s>", variables={"depth": 3})
    assert render(job, NOW) == "<s>|</s>|3"


def test_variables_do_not_replace_what_the_form_fixes() -> None:
    job = RenderJob(1, (Message("user", "a"),), "{{ messages[0].content }}", variables={"messages": []})
    assert render(job, NOW) == "a"


def test_a_message_has_only_the_keys_that_say_something() -> None:
    assert as_mapping(Message("user", "a")) == {"role": "user", "content": "a"}
    assert as_mapping(Message("tool", "b", tool_name="f", tool_call_id="1")) == {
        "role": "tool",
        "content": "b",
        "name": "f",
        "tool_call_id": "1",
    }
    assert as_mapping(
        Message("assistant", thinking="t", tool_calls=(ToolCall("f", {"a": 1}), ToolCall("g", {}, "2")))
    ) == {
        "role": "assistant",
        "content": "",
        "reasoning_content": "t",
        "tool_calls": [
            {"type": "function", "function": {"name": "f", "arguments": {"a": 1}}},
            {"type": "function", "function": {"name": "g", "arguments": {}}, "id": "2"},
        ],
    }
