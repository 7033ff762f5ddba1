"""Texts around thinking and calls in Go templates (contract 8.1 and 8.2)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from powerd.output.formats import Tags
from powerd.output.go_text import call_texts, switches_thinking, thinking_tags


@pytest.mark.parametrize(
    ("template", "tags"),
    [
        ("{{ range .Messages }}<think>{{ .Thinking }}</think>{{ end }}", ("<think>", "</think>")),
        (
            "{{ range $i, $m := .Messages }}{{ if .Thinking }}\n <a>\n{{ $m.Thinking }}\n</a>\n{{ end }}{{ end }}",
            ("<a>", "</a>"),
        ),
        ("{{ range .Messages }}<|im_start|>assistant\n[A]{{ .Thinking }}[/A]x{{ end }}", ("[A]", "[/A]")),
        ("{{ range .Messages }}Thought:\n{{ .Thinking }}\nAnswer:\n{{ end }}", ("Thought:", "Answer:")),
        ("<think>{{ .Thinking }}</think>", None),
        ("{{ range .Messages }}{{ end }}<think>{{ .Thinking }}</think>", None),
        ("{{ range .Messages }}{{ range .Other }}<think>{{ .Thinking }}</think>{{ end }}{{ end }}", None),
        ("{{ range .Messages }}{{ .Thinking }}</think>{{ end }}", None),
        ("{{ range .Messages }}<think>{{ if .Thinking }}</think>{{ end }}{{ end }}", None),
        ("{{/* {{ .Thinking }} */}}{{ range .Messages }}{{ .Content }}{{ end }}", None),
    ],
)
def test_thinking_tags(template: str, tags: tuple[str, str] | None) -> None:
    assert thinking_tags(template) == (Tags(*tags) if tags else None)


NAME, ARGUMENTS = "{{ .Function.Name }}", "{{ .Function.Arguments }}"


@pytest.mark.parametrize(
    ("template", "texts"),
    [
        (f'{{{{ range .ToolCalls }}}}<c>\n{{"name": "{NAME}", "a": {ARGUMENTS}}}\n</c>{{{{ end }}}}', ("<c>", "</c>")),
        (
            "{{ if .Content }}{{ .Content }}\n{{ else if .ToolCalls }}<c>\n"
            f'{{{{ range .ToolCalls }}}}{{"name": "{NAME}", "a": {ARGUMENTS}}}\n{{{{ end }}}}</c>{{{{ end }}}}',
            ("<c>", "</c>"),
        ),
        (f'{{{{ if .ToolCalls }}}}[C] [{{{{ range .ToolCalls }}}}{{"name": "{NAME}"}}{{{{ end }}}}]', ("[C]", "")),
        (f'{{{{ range .ToolCalls }}}}{{"name": "{NAME}", "a": {ARGUMENTS}}}{{{{ end }}}}', ("", "")),
        (f'{{{{ range .ToolCalls }}}}[{{"name": "{NAME}"}}]{{{{ end }}}}', ("", "")),
        (f"{{{{ range .ToolCalls }}}}CALL @{NAME} {ARGUMENTS}</c>{{{{ end }}}}", ("CALL @", "</c>")),
        ("{{ if .ToolCalls }}Calls: {{ .ToolCalls }}{{ end }}", ("Calls:", "")),
        ("{{ range .Messages }}{{ .Content }}{{ end }}", None),
    ],
)
def test_call_texts(template: str, texts: tuple[str, str] | None) -> None:
    assert call_texts(template) == texts


def test_a_switch_is_an_action() -> None:
    assert switches_thinking("{{ if and $.IsThinkSet $.Think }}")
    assert switches_thinking("{{ .ThinkLevel }}")
    assert not switches_thinking("{{ .Thinking }} .Think")


PARTS = ("{{ ", " }}", "{{- ", " -}}", "{{/*", "*/}}", "range ", "if ", "end", "else", "<a>", "\n", "{", '"')
FIELDS = (".Messages", ".ToolCalls", ".Thinking", ".Function.Arguments")


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(st.lists(st.sampled_from(PARTS + FIELDS), max_size=40).map("".join))
def test_any_text_is_read_without_an_exception(template: str) -> None:
    thinking_tags(template)
    call_texts(template)
