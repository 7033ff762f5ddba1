"""The format a template shows: real templates, the signs of those that are not kept here, and Ollama's parser names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from powerd.output.families import BY_NAME
from powerd.output.formats import Format, Tags
from powerd.output.grammars.call_forms import FORMS
from powerd.output.recognise import recognise
from powerd.output.signs import PARSERS, TOOL_SIGNS

TEMPLATES = Path(__file__).parents[1] / "prompt" / "templates"
THINK = Tags("<think>", "</think>")

#: Family, opening tag, and whether thinking cannot be switched off.
REAL = {
    "Apertus-8B-Instruct": ("apertus", "<|inner_prefix|>", False),
    "ByteDance-Seed-OSS": ("seed-oss", "<seed:think>", False),
    "GLM-4.6": ("glm", "<think>", False),
    "HuggingFaceTB-SmolLM3-3B": (None, "<think>", False),
    "MiniMax-M2": ("minimax-m2", "<think>", True),
    "Mistral-Small-3.2-24B-Instruct-2506": ("mistral", None, False),
    "Qwen-QwQ-32B": ("hermes", "<think>", False),
    "Qwen-Qwen2.5-7B-Instruct": ("hermes", None, False),
    "Qwen-Qwen3-0.6B": ("hermes", "<think>", False),
    "Qwen3-Coder": ("qwen3-coder", None, False),
    "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B": ("deepseek-r1", "<think>", False),
    "deepseek-ai-DeepSeek-V3.1": ("deepseek-v3.1", "<think>", False),
    "ibm-granite-granite-3.3-2B-Instruct": ("granite", "<think>", False),
    "ibm-granite-granite-4.0": ("hermes", None, False),
    "microsoft-Phi-3.5-mini-instruct": (None, None, False),
    "mistralai-Mistral-Nemo-Instruct-2407": ("mistral", None, False),
}


def told(format: Format) -> tuple[str | None, str | None, bool]:
    tools, thinking = format.tools, format.thinking
    return tools.name if tools else None, thinking.open if thinking else None, format.always_thinks


@pytest.mark.parametrize("name", REAL)
def test_real_jinja_templates(name: str) -> None:
    assert told(recognise((TEMPLATES / f"{name}.jinja").read_text(), "jinja")) == REAL[name]


def test_every_kept_template_is_told() -> None:
    kept = {path.stem for path in TEMPLATES.glob("*.jinja")}
    assert set(REAL) | {"openai-gpt-oss-120b"} <= kept


def test_gpt_oss_writes_in_channels() -> None:
    format = recognise((TEMPLATES / "openai-gpt-oss-120b.jinja").read_text(), "jinja")
    assert format.harmony
    assert "<|channel|>" in format.thought_markers


def test_gpt_oss_in_a_go_template_is_told_by_its_family() -> None:
    text = "{{ range .Messages }}<|start|>{{ .Role }}<|message|>{{ .Content }}<|end|>{{ end }}"
    assert recognise(text, "go", family="gptoss").harmony
    assert not recognise(text, "go", family="llama").harmony


@pytest.mark.parametrize(("family", "shown"), TOOL_SIGNS, ids=[family for family, _ in TOOL_SIGNS])
def test_each_sign_shows_its_family(family: str, shown: tuple[tuple[str, ...], ...]) -> None:
    for texts in shown:
        format = recognise("{% if tools %}" + " ".join(texts), "jinja")
        assert told(format)[0] == family


@pytest.mark.parametrize("sign", ["]<]minimax[>[<tool_call>", "<|open|> <|close|> <|end_of_msg|> <tool_call>"])
def test_a_format_nobody_reads_is_not_taken_for_another(sign: str) -> None:
    assert recognise("{% if tools %}" + sign, "jinja").tools is None


def test_a_template_that_only_lists_tools_gets_json() -> None:
    assert told(recognise("{% for t in tools %}{{ t | tojson }}{% endfor %}", "jinja"))[0] == "json"


def test_a_template_without_tools_gets_none() -> None:
    assert recognise("{% for m in messages %}{{ m.content }}{% endfor %} tools", "jinja") == Format()


def test_granite_puts_texts_around_its_answer() -> None:
    format = recognise((TEMPLATES / "ibm-granite-granite-3.3-2B-Instruct.jinja").read_text(), "jinja")
    assert format.answer == Tags("<response>", "</response>")


@pytest.mark.parametrize(
    ("template", "always"),
    [
        ("<think></think>{{ messages }}", True),
        ("<think></think>{% if enable_thinking %}{% endif %}", False),
        ("<think></think>{{ message.thinking }}", True),
        ("<think></think>{{ 'thinking' }}", True),
        ("<think></think>{% if reasoning_effort == 'none' %}{% endif %}", False),
    ],
)
def test_thinking_without_a_switch_cannot_be_switched_off(template: str, always: bool) -> None:
    assert recognise(template, "jinja").always_thinks is always


def test_tags_may_be_control_tokens() -> None:
    assert recognise("[THINK] [/THINK]", "jinja").thought_markers == ("[THINK]", "[/THINK]")
    assert recognise("<|channel>thought <channel|>", "jinja").thought_markers == ("<|channel>", "<channel|>")


@pytest.mark.parametrize("parser", PARSERS)
def test_parser_names_win_over_the_template(parser: str) -> None:
    family, tags = PARSERS[parser]
    format = recognise("[TOOL_CALLS] [THINK] [/THINK] {{ tools }}", "jinja", parser)
    assert format.tools == (BY_NAME[family] if family else None)
    assert format.thinking == tags


def test_the_parser_harmony() -> None:
    assert recognise("{{ .Messages }}", "go", "harmony").harmony


def test_an_unknown_parser_counts_as_none() -> None:
    assert told(recognise("<tool_call>{{ tools }}", "jinja", "brand-new"))[0] == "hermes"


QWEN3_GO = """{{- range $i, $_ := .Messages }}{{- if eq .Role "assistant" }}<|im_start|>assistant
{{ if (and $.IsThinkSet (and .Thinking (or $last (gt $i $lastUserIdx)))) -}}
<think>{{ .Thinking }}</think>
{{ end -}}
{{ if .Content }}{{ .Content }}
{{- else if .ToolCalls }}<tool_call>
{{ range .ToolCalls }}{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}}
{{ end }}</tool_call>
{{- end }}{{ end }}{{ end }}"""
LLAMA_GO = """{{ range .Messages }}<|start_header_id|>{{ .Role }}{{- if .ToolCalls }}

{{- range .ToolCalls }}{"name": "{{ .Function.Name }}", "parameters": {{ .Function.Arguments }}}{{ end }}
{{- end }}{{ end }}"""
CALL_GO = "{{ if .ToolCalls }}CALL {{ range .ToolCalls }}{{ .Function.Name }}{{ end }}{{ end }}"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (QWEN3_GO, ("hermes", "<think>", False)),
        (LLAMA_GO, ("llama3", None, False)),
        ('{{ range .ToolCalls }}{"name": "{{ .Function.Name }}"}{{ end }}', ("json", None, False)),
        (CALL_GO, ("generic", None, False)),
        ("{{ range .Messages }}{{ .Content }}{{ end }} <tool_call>", (None, None, False)),
        ("{{ range .Messages }}<t>{{ .Thinking }}</t>{{ end }}", (None, "<t>", True)),
    ],
)
def test_go_templates(template: str, expected: tuple[str | None, str | None, bool]) -> None:
    assert told(recognise(template, "go")) == expected


def test_the_docs_list_every_family_and_whose_arguments_are_held() -> None:
    page = (Path(__file__).parents[2] / "powerd" / "docs" / "answers.md").read_text()
    rows = re.findall(r"^\| ([\w.-]+) \|.*\| (\*?) ?\|$", page.split("| name | written", 1)[1], re.MULTILINE)
    assert {name: held == "*" for name, held in rows} == {name: name in FORMS for name in (*BY_NAME, "harmony")}
