"""Templates: inline or from a file, Jinja or Go."""

from __future__ import annotations

import pytest

from powerd.catalog.spec import Template
from powerd.catalog.template import syntax_of
from tests.catalog.reading import catalog, entry, model, refused

CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
GO = "{{- if .System }}<|system|>{{ .System }}{{ end }}{{ range .Messages }}{{ .Content }}{{ end }}"


@pytest.mark.parametrize(
    "text",
    [
        CHATML,
        "{{ messages[0].content }}",
        "{{ messages[0]['content'] if messages else '' }}",
        "{{- bos_token }}{{ raise_exception('no') }}",
        "{# {{ .Prompt }} #}",
        "{{ template }} {{ range(3) }} {{ end_token }} {{ not x }}",
        "{{ template if template else 'x' }}",
        "no action at all",
        "{ { .x } }",
        "{{ 'a' }}",
    ],
)
def test_jinja_is_told_from_go(text: str) -> None:
    assert syntax_of(text) == "jinja"


@pytest.mark.parametrize(
    "text",
    [
        GO,
        "{{ .Prompt }}",
        "{{-.Prompt-}}",
        "{{- range $i, $_ := .Messages }}x{{ end }}",
        "{{ $x }}",
        "{{/* a comment */}}",
        "{{ json .Tools }}",
        "{{ (index .Messages 0).Content }}",
        "x{{ end }}",
        "{{- else }}",
        '{{ template "x" . }}',
        "{{ if eq 1 1 }}",
    ],
)
def test_go_is_told_from_jinja(text: str) -> None:
    assert syntax_of(text) == "go"


def test_a_template_may_stand_inline() -> None:
    assert model("template: |\n  {% if a %}b{% endif %}").template == Template("{% if a %}b{% endif %}\n", "jinja")


def test_an_explicit_syntax_wins() -> None:
    assert model("template: {text: 'plain', syntax: go}").template == Template("plain", "go")
    assert model("template: {text: '{{ end }}', syntax: jinja}").template == Template("{{ end }}", "jinja")


@pytest.mark.parametrize("written", ["prompts/a.jinja", "./prompts/a.jinja", "/etc/power/prompts/a.jinja"])
def test_a_template_file_is_read_from_the_files_directory(written: str) -> None:
    files = {"/etc/power/prompts/a.jinja": CHATML}
    read = catalog(entry(f"source: x\ntemplate: {{file: {written}}}"), files)
    assert read.models["m"].template == Template(CHATML, "jinja")
    assert [str(path) for path in read.files] == ["/etc/power/prompts/a.jinja"]


def test_a_file_two_models_name_is_read_once() -> None:
    asked: list[str] = []

    class Files(dict[str, str]):
        def __getitem__(self, path: str) -> str:
            asked.append(path)
            return super().__getitem__(path)

    text = entry("source: x\ntemplate: &t {file: a}") + "  n: {source: y, template: *t}\n"
    assert len(catalog(text, Files({"/etc/power/a": "hi"})).models) == 2
    assert asked == ["/etc/power/a"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("template: {file: gone}", "5:22: m: template.file cannot be read: /etc/power/gone: No such file or directory"),
        ("template: {file: empty}", "m: template.file cannot be used: /etc/power/empty is empty"),
        (
            "template: {file: nul}",
            "m: template.file cannot be used: /etc/power/nul is longer than 1048576 characters or",
        ),
        (
            "template: {file: long}",
            "m: template.file cannot be used: /etc/power/long is longer than 1048576 characters",
        ),
        (
            "template: '{% if a %}'",
            "m: template cannot be used: template error: Unexpected end of template. Jinja was looking for the "
            "following tags: 'elif' or 'else' or 'endif'. The innermost block that needs to be "
            "closed is 'if'. (line 1)",
        ),
        (
            "template: {text: 'x {{ .Prompt | nope }}', syntax: go}",
            'm: template cannot be used: template error: function "nope" not defined (line 1)',
        ),
        ("template: {file: 5}", "m: template.file must be the path of a file, not 5"),
        ("template: {file: }", "m: template.file must be the path of a file, but it has no value"),
        ("template: {}", 'm: template must hold either "file" or "text"'),
        ("template: {syntax: go}", 'm: template must hold either "file" or "text"'),
        ("template: {file: a, text: b}", 'm: template must hold either "file" or "text"'),
        ("template: {text: a, syntax: mustache}", 'm: template.syntax must be one of jinja, go, not "mustache"'),
        ("template: {text: a, syntx: go}", 'm: template: unknown key "syntx"; did you mean "syntax"?'),
        ("template: [a]", "m: template must be a mapping with file, text, syntax, not a list"),
        ("template: 5", "m: template must be text, not 5"),
        ("template:", "m: template must be text, but it has no value"),
    ],
)
def test_a_template_that_cannot_be_had_is_refused(line: str, message: str) -> None:
    files = {"/etc/power/a": "x", "/etc/power/empty": "", "/etc/power/nul": "\0", "/etc/power/long": "x" * (2**20 + 1)}
    (refusal,) = refused(line, files)
    assert message in refusal


def test_a_template_file_that_is_not_text_is_refused() -> None:
    class Binary(dict[str, str]):
        def __getitem__(self, path: str) -> str:
            raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")

    (refusal,) = refused("template: {file: a}", Binary({"/etc/power/a": ""}))
    assert 'cannot be read: "/etc/power/a" is not a UTF-8 text file' in refusal
