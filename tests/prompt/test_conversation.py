"""Conversations as templates see them, through the real template of the demonstration model."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import gguf
import pytest

import powerd.demo
from powerd.jobs import RenderJob
from powerd.prompt.conversation import render
from powerd.prompt.failed import TemplateFailed
from powerd.prompt.mapping import as_mapping
from powerd.protocol import Message, ToolCall

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
    text = render(RenderJob(1, turns, template, add_generation_prompt=False, think=True), NOW)
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


ROUND = (Message("user", "a"), Message("assistant", tool_calls=(ToolCall("f", {"k": "é"}),)))
SYSTEM = (Message("system", "S"), Message("user", "a"))
REFUSING = {
    "no tools at all": ("{% for tool in tools %}{% endfor %}done", ROUND, "done"),
    "arguments as text": (
        "{% for m in messages %}{% for c in m.tool_calls %}{{ 'x' + c.function.arguments }}{% endfor %}{% endfor %}",
        ROUND,
        'x{"k": "é"}',
    ),
    "no system message": (
        "{% for m in messages %}"
        "{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
        "{{ m.role }}:{{ m.content }}{% endfor %}",
        SYSTEM,
        "user:S\na",
    ),
    "tools by another name": ("{{ 'x' + functions }}", SYSTEM, "x"),
    "no calls": (
        "{% for m in messages %}"
        "{% if m.role != ('user', 'assistant')[loop.index0 % 2] %}{{ raise_exception('must alternate') }}{% endif %}"
        "{{ m.content }};{% endfor %}",
        (*ROUND, Message("tool", "x", tool_name="f"), Message("user", "b")),
        'a;{"tool_calls": [{"name": "f", "arguments": {"k": "é"}}]};'
        '{"tool_response": {"name": "f", "content": "x"}}\nb;',
    ),
}


@pytest.mark.parametrize("case", REFUSING)
def test_a_models_template_that_refuses_the_usual_form_gets_the_one_it_wants(case: str) -> None:
    template, messages, expected = REFUSING[case]
    assert render(RenderJob(1, messages, template, lenient=True), NOW) == expected
    with pytest.raises(TemplateFailed):
        render(RenderJob(1, messages, template), NOW)


def test_thoughts_have_another_name_in_templates_that_ask_for_it() -> None:
    calls = (ToolCall("f", {}),)
    turns = (
        Message("assistant", thinking="a", tool_calls=calls),
        Message("assistant", "b", thinking="b", tool_calls=calls),
    )
    template = "{% for message in messages %}{{ message.thinking }}{{ message.reasoning_content }} {% endfor %}"
    assert render(RenderJob(1, turns, template), NOW) == "aa b "
    assert as_mapping(turns[0]).get("thinking") is None


def test_thoughts_are_a_block_of_the_content_where_a_template_reads_them_there() -> None:
    template = "{% for b in messages[0].content %}{{ b['thinking'] }}{{ b.text }}|{% endfor %}"
    assert render(RenderJob(1, (Message("assistant", "b", thinking="a"),), template), NOW) == "a|b|"
    assert render(RenderJob(1, (Message("assistant", thinking="a"),), template), NOW) == "a|"


def test_results_stand_with_their_call_and_answer_where_a_template_reads_them_there() -> None:
    template = "{{ messages | tojson }}{{ messages[0]['x'] if false else message['tool_responses'] | default('') }}"
    calls = (ToolCall("f", {}), ToolCall("g", {}))
    turns = (
        Message("assistant", tool_calls=calls),
        Message("tool", '{"a": 1}'),
        Message("tool", "sun", tool_name="other"),
        Message("assistant", "Done."),
        Message("assistant", "More."),
    )
    text = render(RenderJob(1, turns, template, variables={"message": {}}), NOW)
    first, second = json.loads(text)
    results = [{"name": "f", "response": {"a": 1}}, {"name": "other", "response": "sun"}]
    assert (first["tool_responses"], first["content"], second["content"]) == (results, "Done.", "More.")


def test_the_date_goes_by_the_names_that_llama_knows() -> None:
    assert render(RenderJob(1, (), "{{ date_string }}|{{ datetime }}"), NOW) == "01 Jan 2025|Jan 01 2025"


def test_where_no_form_helps_the_first_refusal_counts() -> None:
    template = "{{ raise_exception(messages | length ~ ' messages') }}"
    with pytest.raises(TemplateFailed, match="2 messages"):
        render(RenderJob(1, SYSTEM, template, lenient=True), NOW)


def test_unknown_tags_of_a_models_template_are_left_out_and_told() -> None:
    notes: list[str] = []
    assert render(RenderJob(1, (), "{% frob %}a{% endfrob %}", lenient=True), NOW, notes.append) == "a"
    assert notes == ["tags nobody knows were left out: frob"]
    with pytest.raises(TemplateFailed, match="unknown tag 'frob'"):
        render(RenderJob(1, (), "{% frob %}a{% endfrob %}"), NOW)


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
