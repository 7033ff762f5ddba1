"""Conversations as Go templates see them: collated, turn by turn for legacy templates, with tools and thinking.

The expected texts are written by hand from the rules of the contract (section 7.2).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from powerd.jobs import RenderJob
from powerd.prompt.conversation import render
from powerd.prompt.failed import TemplateFailed
from powerd.prompt.turns import collated
from powerd.protocol import Message, ToolCall

NOW = datetime(2025, 1, 1, tzinfo=UTC)
S, U, A, V = Message("system", "Be brief."), Message("user", "a"), Message("assistant", "b"), Message("user", "c")

CHATML = """{{- range .Messages }}<|im_start|>{{ .Role }}
{{ .Content }}<|im_end|>
{{ end }}<|im_start|>assistant
"""
LEGACY_CHATML = """{{ if .System }}<|im_start|>system
{{ .System }}<|im_end|>
{{ end }}{{ if .Prompt }}<|im_start|>user
{{ .Prompt }}<|im_end|>
{{ end }}<|im_start|>assistant
{{ .Response }}<|im_end|>
"""
LLAMA2 = """[INST] <<SYS>>{{ .System }}<</SYS>>

{{ .Prompt }} [/INST]
"""
ALPACA = """{{ if .System }}{{ .System }}

{{ end }}{{ if .Prompt }}### Instruction:
{{ .Prompt }}

{{ end }}### Response:
{{ .Response }}

"""
GEMMA = """<start_of_turn>user
{{ if .System }}{{ .System }} {{ end }}{{ .Prompt }}<end_of_turn>
<start_of_turn>model
{{ .Response }}<end_of_turn>
"""
MISTRAL = """{{- range $index, $_ := .Messages }}
{{- if eq .Role "user" }}
{{- if and (eq (len (slice $.Messages $index)) 1) $.Tools }}[AVAILABLE_TOOLS] {{ json $.Tools }}[/AVAILABLE_TOOLS]
{{- end }}[INST] {{ if and (eq (len (slice $.Messages $index)) 1) $.System }}{{ $.System }}

{{ end }}{{ .Content }}[/INST]
{{- else if eq .Role "assistant" }}
{{- if .Content }} {{ .Content }}</s>
{{- else if .ToolCalls }}[TOOL_CALLS] [
{{- range .ToolCalls }}{"name": "{{ .Function.Name }}", "arguments": {{ json .Function.Arguments }}}
{{- end }}]</s>
{{- end }}
{{- else if eq .Role "tool" }}[TOOL_RESULTS] {"content": {{ json .Content }}} [/TOOL_RESULTS]
{{- end }}
{{- end }}"""
THINKING = """{{- range $i, $_ := .Messages }}<|{{ .Role }}|>
{{- if and .Thinking (eq .Role "assistant") }}<think>{{ .Thinking }}</think>{{ end }}{{ .Content }}
{{- end }}<|assistant|>{{ if and $.IsThinkSet (not $.Think) }}<think></think>{{ end }}{{ $.ThinkLevel }}"""

PLAIN = {
    "chatml": (
        CHATML,
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"
        "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n",
    ),
    "legacy chatml": (
        LEGACY_CHATML,
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"
        "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n",
    ),
    "llama 2, which names no answer": (
        LLAMA2,
        "[INST] <<SYS>>Be brief.<</SYS>>\n\na [/INST]\nb[INST] <<SYS>><</SYS>>\n\nc [/INST]\n",
    ),
    "alpaca": (
        ALPACA,
        "Be brief.\n\n### Instruction:\na\n\n### Response:\nb\n\n### Instruction:\nc\n\n### Response:\n",
    ),
    "gemma": (
        GEMMA,
        "<start_of_turn>user\nBe brief. a<end_of_turn>\n<start_of_turn>model\nb<end_of_turn>\n"
        "<start_of_turn>user\nc<end_of_turn>\n<start_of_turn>model\n",
    ),
    "mistral": (MISTRAL, "[INST] a[/INST] b</s>[INST] Be brief.\n\nc[/INST]"),
}
WEATHER: dict[str, Any] = {
    "function": {
        "parameters": {
            "properties": {
                "city": {"description": "Where", "type": "string", "minLength": 1},
                "days": {"type": ["integer", "null"]},
                "unit": {"anyOf": [{"type": "string"}, {"type": "array"}], "enum": ["C", "F"]},
            },
            "required": ["city"],
            "type": "object",
            "additionalProperties": False,
        },
        "name": "weather",
        "description": "Tells <it>",
    },
    "type": "function",
}
WEATHER_JSON = (
    '{"type":"function","function":{"name":"weather","description":"Tells \\u003cit\\u003e","parameters":'
    '{"type":"object","required":["city"],"properties":{"city":{"type":"string","description":"Where"},'
    '"days":{"type":["integer","null"]},"unit":{"anyOf":[{"type":"string"},{"type":"array"}],"enum":["C","F"]}}}}}'
)


def out(template: str, *messages: Message, **fields: Any) -> str:
    return render(RenderJob(1, messages, template, syntax="go", **fields), NOW)


@pytest.mark.parametrize("case", PLAIN)
def test_a_conversation_with_a_system_text(case: str) -> None:
    template, expected = PLAIN[case]
    assert out(template, S, U, A, V) == expected


def test_the_system_text_is_all_system_messages_and_neighbours_are_joined() -> None:
    system, messages = collated(
        (S, U, V, Message("system", "And kind."), A, A, Message("tool", "1"), Message("tool", "2"))
    )
    assert system == "Be brief.\n\nAnd kind."
    assert [(message.role, message.content) for message in messages] == [
        ("system", "Be brief."),
        ("user", "a\n\nc"),
        ("system", "And kind."),
        ("assistant", "b\n\nb"),
        ("tool", "1"),
        ("tool", "2"),
    ]


def test_calls_of_joined_messages_are_all_kept() -> None:
    one, other = (Message("assistant", tool_calls=(ToolCall(name, {}),)) for name in "fg")
    (message,) = collated((one, other))[1]
    assert (message.content, [call.name for call in message.tool_calls]) == ("", ["f", "g"])


def test_a_legacy_template_is_cut_at_the_answer_of_the_last_turn_only() -> None:
    assert out("<{{ .Prompt }}>{{ .Response }}</s>{{ .System }}", U, A, V) == "<a>b</s><c>"
    assert out("<{{ .Prompt }}>{{ if .Prompt }}[{{ .Response }}]{{ end }}</s>", U) == "<a>["
    assert out("<{{ .Prompt }}>{{ .Response }}</s>", U, A) == "<a>b"


def test_a_system_text_between_turns_begins_a_new_one() -> None:
    assert out("({{ .System }}|{{ .Prompt }}|{{ .Response }})", U, S, V) == "(|a|)(Be brief.|c|"


def test_nothing_said_is_one_empty_turn() -> None:
    assert out("<{{ .Prompt }}>{{ .Response }}") == "<>"


def test_a_gap_is_filled_between_prompt_and_suffix() -> None:
    template = (
        "{{ if .Suffix }}<pre>{{ .Prompt }}<suf>{{ .Suffix }}<mid>{{ else }}{{ .Prompt }}{{ end }}{{ .Response }}"
    )
    assert out(template, S, U, suffix="z") == "<pre>a<suf>z<mid>"
    assert out(template, U) == "a"


def test_tools_calls_and_their_results() -> None:
    call = ToolCall("weather", {"city": "Köln", "days": 2}, "1")
    text = out(MISTRAL, U, Message("assistant", tool_calls=(call,)), Message("tool", 'sun "1"'), V, tools=(WEATHER,))
    assert text == (
        '[INST] a[/INST][TOOL_CALLS] [{"name": "weather", "arguments": {"city":"Köln","days":2}}]</s>'
        '[TOOL_RESULTS] {"content": "sun \\"1\\""} [/TOOL_RESULTS]'
        f"[AVAILABLE_TOOLS] [{WEATHER_JSON}][/AVAILABLE_TOOLS][INST] c[/INST]"
    )


def test_a_tool_prints_as_json_and_has_ollamas_fields() -> None:
    assert out("{{ range .Tools }}{{ . }}{{ end }}{{ .Messages | len }}", tools=(WEATHER,)) == WEATHER_JSON + "0"
    template = (
        "{{ .Messages | len }}{{ range .Tools }}{{ .Function.Name }}("
        "{{ range $k, $p := .Function.Parameters.Properties }}"
        "{{ $k }}: {{ toTypeScriptType $p }}/{{ $p.ToTypeScriptType }} {{ $p.Type }} {{ $p.Enum }};{{ end }})"
        "{{ .Function.Parameters.Required }}{{ end }}"
    )
    assert out(template, tools=(WEATHER,)) == (
        "0weather(city: string/string string [];days: number | null/number | null [integer null] [];"
        "unit: string | any[]/string | any[]  [C F];)[city]"
    )


@pytest.mark.parametrize("tool", [{}, {"function": 5}, {"function": {"parameters": {"properties": {"a": 1}}}}])
def test_h05_a_tool_of_any_shape_renders(tool: dict[str, object]) -> None:
    template = (
        "{{ len .Messages }}{{ range .Tools }}{{ range .Function.Parameters.Properties }}{{ .Type }}{{ end }}{{ end }}"
    )
    assert out(template, tools=(tool,)) == "0"


def test_arguments_are_ranged_over_by_key_and_calls_are_numbered() -> None:
    call = ToolCall("f", {"b": 1, "a": "x"}, "id1")
    template = (
        "{{ range .Messages }}{{ range .ToolCalls }}{{ .ID }} {{ .Function.Index }} "
        "{{ range $k, $v := .Function.Arguments }}{{ $k }}={{ $v }} {{ end }}{{ json . }}{{ end }}{{ end }}"
    )
    assert out(template, Message("assistant", tool_calls=(call,))) == (
        'id1 0 a=x b=1 {"id":"id1","function":{"index":0,"name":"f","arguments":{"b":1,"a":"x"}}}'
    )


def test_thinking_and_whether_it_is_wanted() -> None:
    turns = (U, Message("assistant", "b", thinking="t"), V)
    assert out(THINKING, *turns) == "<|user|>a<|assistant|><think>t</think>b<|user|>c<|assistant|>"
    for think, tail in ((None, ""), (False, "<think></think>"), (True, "medium"), ("high", "high"), ("max", "max")):
        assert out(THINKING, U, think=think) == f"<|user|>a<|assistant|>{tail}"


def test_template_syntax_in_a_message_is_text() -> None:
    assert out("{{ .Prompt }}", Message("user", "{{ .System }}")) == "{{ .System }}"


def test_a_fault_names_its_line() -> None:
    with pytest.raises(TemplateFailed, match=r"can't evaluate field Nope in type Message \(line 2\)"):
        out("{{ range .Messages }}\n{{ .Nope }}{{ end }}", U)
