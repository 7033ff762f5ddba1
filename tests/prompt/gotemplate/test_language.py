"""The language of Go's templates: what is written, what is refused and in which line, and that everything ends."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powerd.prompt import failed
from powerd.prompt.failed import TemplateFailed
from powerd.prompt.gotemplate.evaluate import execute
from powerd.prompt.gotemplate.parser import MAX_TEMPLATE, parse
from powerd.prompt.gotemplate.values import JsonList, JsonMap, Record

NOW = datetime(2025, 3, 1, 12, tzinfo=UTC)
DATA: dict[str, Any] = {
    "A": "a",
    "Empty": "",
    "Yes": True,
    "Two": 2,
    "Half": 0.5,
    "List": ["x", "y", "z"],
    "Map": {"k": "v", "b": 1},
    "None": [],
    "Args": JsonMap({"b": "<é>", "a": [1, 2.0, None]}),
    "Tools": JsonList([Record("T", {"Name": "n"}, {"name": "n"})]),
    "Rec": Record("T", {"Name": "n", "In": {"k": 3}}, {"name": "n"}),
}


def out(template: str) -> str:
    return execute(parse(template), DATA, NOW)


WRITTEN = {
    "": "",
    "plain } text": "plain } text",
    "{{ .A }}{{.A}}": "aa",
    "{{ . | len }}": "11",
    # white space and comments
    "a \n {{- .A -}} \n b": "aab",
    "a {{ .A -}}\n\n b": "a ab",
    "a {{- 3 }}": "a3",
    "a {{-3 }}": "a -3",
    "a{{/* gone }} */}}b": "ab",
    "a \n{{- /* gone */ -}} \n b": "ab",
    "{{ if\n  .Yes\n}}y{{ end }}": "y",
    # literals
    r'{{ "q\"\n\u00e9\x41\101" }}': 'q"\néAA',
    "{{ `raw \\n` }}": "raw \\n",
    "{{ 0x1F }} {{ 1_000 }} {{ 1.5 }} {{ 'a' }} {{ -7 }} {{ true }} {{ 1e3 }}": "31 1000 1.5 97 -7 true 1000",
    # conditions
    "{{ if .A }}1{{ else }}2{{ end }}": "1",
    "{{ if .Empty }}1{{ else if .Yes }}2{{ else }}3{{ end }}": "2",
    "{{ if .None }}1{{ else if .Missing }}2{{ else }}3{{ end }}": "3",
    "{{ with .Map }}{{ .k }}{{ $.A }}{{ else }}no{{ end }}": "va",
    "{{ with .None }}{{ . }}{{ else }}{{ .A }}{{ end }}": "a",
    "{{ with .None }}1{{ else with .A }}{{ . }}{{ end }}": "a",
    "{{ with $x := .A }}{{ $x }}{{ . }}{{ end }}": "aa",
    # loops
    "{{ range .List }}{{ . }},{{ end }}": "x,y,z,",
    "{{ range $i, $e := .List }}{{ $i }}{{ $e }}{{ end }}": "0x1y2z",
    "{{ range $e := .List }}{{ $e }}{{ end }}": "xyz",
    "{{ range $k, $v := .Map }}{{ $k }}={{ $v }};{{ end }}": "b=1;k=v;",
    "{{ range .None }}x{{ else }}none{{ end }}": "none",
    "{{ range .Missing }}x{{ end }}": "",
    "{{ range 3 }}{{ . }}{{ end }}": "012",
    '{{ range .List }}{{ if eq . "y" }}{{ continue }}{{ end }}{{ . }}{{ end }}': "xz",
    '{{ range .List }}{{ if eq . "y" }}{{ break }}{{ end }}{{ . }}{{ end }}': "x",
    "{{ range $i, $_ := .List }}{{ eq (len (slice $.List $i)) 1 }} {{ end }}": "false false true ",
    # variables
    "{{ $x := .A }}{{ $x }}{{ $x = .Two }}{{ $x }}": "a2",
    '{{ $x := "" }}{{ range .List }}{{ $x = . }}{{ end }}{{ $x }}': "z",
    "{{ $x := 1 }}{{ if true }}{{ $x := 2 }}{{ $x }}{{ end }}{{ $x }}": "21",
    "{{ $l := .List }}{{ index $l 1 }}{{ $.Map.k }}": "yv",
    # templates
    '{{ define "t" }}<{{ . }}{{ $ }}>{{ end }}{{ template "t" .A }}': "<aa>",
    '{{ block "b" .Map }}{{ .k }}{{ end }}': "v",
    # functions
    '{{ and .Yes "x" }} {{ and .Empty "x" }} {{ or .Empty "x" }} {{ or .A (index .List 9) }}': "x  x a",
    '{{ eq .A "b" "a" }} {{ ne 1 2 }} {{ lt 1 2 }} {{ le 2 2 }} {{ gt "b" "a" }} {{ ge 1 2 }}': (
        "true true true true true false"
    ),
    '{{ eq .Missing "x" }} {{ ne .Missing "x" }} {{ not .Missing }}': "false true true",
    '{{ len .List }} {{ len "é" }} {{ len .Map }}': "3 2 2",
    '{{ index .Map "k" }}{{ index .Map "gone" }} {{ index "ab" 1 }}': "v 98",
    '{{ slice .List 1 2 }} {{ slice "abc" 1 }}': "[y] bc",
    '{{ print 1 2 "a" "b" 3 }}|{{ println 1 "a" }}': "1 2ab3|1 a\n",
    '{{ printf "%s-%5d|%-4s|%04d|%q|%v|%.2f|%t|%%|%c" .A 3 "l" 7 "q" .List 0.5 true 65 }}': (
        'a-    3|l   |0007|"q"|[x y z]|0.50|true|%|A'
    ),
    '{{ printf "%d %s" "x" }}{{ printf "a" 1 }}': "%!d(string=x) %!s(MISSING)a%!(EXTRA int=1)",
    '{{ .A | printf "%s%s" "b" }}': "ba",
    "{{ html \"<a href='x'>&\" }}": "&lt;a href=&#39;x&#39;&gt;&amp;",
    '{{ js "\'<" }}{{ urlquery "a b&c" }}': "\\'\\u003Ca+b%26c",
    "{{ currentDate }} {{ yesterdayDate 1 }}": "2025-03-01 2025-02-28",
    "{{ json .Args }} {{ json .List }} {{ json .Missing }}": (
        '{"b":"\\u003cé\\u003e","a":[1,2,null]} ["x","y","z"] null'
    ),
    "{{ toTypeScriptType .A }}": "any",
    # values
    "{{ .Args }} {{ .Tools }} {{ .Rec }}": '{"b":"\\u003cé\\u003e","a":[1,2,null]} [{"name":"n"}] {"name":"n"}',
    "{{ .Map }} {{ .List }} {{ .Half }} {{ .Yes }} {{ nil | print }}": "map[b:1 k:v] [x y z] 0.5 true <nil>",
    "{{ .Rec.In.k }} {{ (index .Tools 0).Name }} {{ .Missing.Deep }}": "3 n ",
}

REFUSED = {
    "{{": "{{ of line 1 is not closed by }} (line 1)",
    "a\n{{ .A\n\n": "{{ of line 2 is not closed by }} (line 4)",
    "{{/* a": "the comment is not closed by */ (line 1)",
    "{{/* a */ b }}": "a comment must fill its action: }} must follow */ (line 1)",
    '{{ "a }}': 'the " is not closed (line 1)',
    r'{{ "\q" }}': "'\\\\q' is not an escape of Go (line 1)",
    "{{ .A & .B }}": "unexpected '&' in an action (line 1)",
    "{{ }}": "a value is missing in an action (line 1)",
    "{{ .A | }}": "a value is missing in an action (line 1)",
    '{{ .A | "x" }}': "only a function or a field can follow | (line 1)",
    "{{ if }}{{ end }}": "a value is missing in if (line 1)",
    "\n{{ if .A }}\n\n": "{{if}} is not closed by {{end}} (line 2)",
    "{{ range .List }}{{ else }}": "{{range}} is not closed by {{end}} (line 1)",
    "{{ end }}": "unexpected {{end}} (line 1)",
    "{{ else }}": "unexpected {{else}} (line 1)",
    "{{ break }}": "{{break}} outside {{range}} (line 1)",
    '{{ range .List }}{{ define "x" }}{{ end }}{{ end }}': "{{define}} inside another block (line 1)",
    "{{ define x }}": 'unexpected "x" in define: a name in quotes belongs here (line 1)',
    "{{ (.A }}": "( is not closed by ) (line 1)",
    "{{ .A ) }}": 'unexpected ")" in an action (line 1)',
    "a\n\n{{ trim .A }}": 'function "trim" not defined (line 3)',
    "{{ $x }}": 'undefined variable "$x" (line 1)',
    "{{ if true }}{{ $x := 1 }}{{ end }}{{ $x }}": 'undefined variable "$x" (line 1)',
    '{{ "a" "b" }}': "an action calls something that is no function (line 1)",
    "{{ .A .A }}": "arguments for something that is no function (line 1)",
    '\n{{ template "x" }}': 'template "x" not defined (line 2)',
    "\n{{ .Rec.Nope }}": "can't evaluate field Nope in type T (line 2)",
    "{{ .A.b }}": "can't evaluate field b in type string (line 1)",
    "{{ range .A }}{{ end }}": "range can't iterate over string (line 1)",
    "{{ index .List 3 }}": "index out of range: 3 (line 1)",
    "{{ slice .List 2 1 }}": "invalid slice index: 2 > 1 (line 1)",
    '{{ eq 1 "1" }}': "incompatible types for comparison: number and string (line 1)",
    "{{ lt .List 1 }}": "invalid types for comparison: number and slice (line 1)",
    "{{ len 3 }}": "len of type int (line 1)",
    "{{ len }}": "wrong number of arguments for len: 0 (line 1)",
    "{{ call .A }}": "call of something that is no function (line 1)",
}


@pytest.mark.parametrize("template", WRITTEN)
def test_what_a_template_writes(template: str) -> None:
    assert out(template) == WRITTEN[template]


@pytest.mark.parametrize("template", REFUSED)
def test_what_is_refused_and_in_which_line(template: str) -> None:
    with pytest.raises(TemplateFailed) as caught:
        out(template)
    assert str(caught.value) == f"template error: {REFUSED[template]}"


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ range 1000000000 }}{{ end }}", "takes more than 500000 steps"),
        ("{{ range 100000 }}{{ range 100000 }}{{ end }}{{ end }}", "takes more than 500000 steps"),
        ('{{ define "a" }}{{ template "a" }}{{ end }}{{ template "a" }}', "nests too deeply"),
        ('{{ $x := "aaaaaaaaaa" }}{{ range 64 }}{{ $x = print $x $x }}{{ end }}', "grows over the limit"),
        ('{{ printf "%1000000000d" 1 }}', "a width over the limit"),
        ("{{ if .A }}" * 60, "nest deeper than 50"),
        ("{{ " + "(" * 5000 + "}}", "nest deeper than 50"),
        ("".join(f"{{{{ $v{number} := 1 }}}}" for number in range(300)), "more than 200 variables"),
        (" " * (MAX_TEMPLATE + 1), "over the limit of 131072"),
    ],
)
def test_s42_hostile_templates_end(template: str, reason: str) -> None:
    with pytest.raises(TemplateFailed, match=reason):
        out(template)


def test_s42_output_ends_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failed, "MAX_OUTPUT", 100)
    assert len(out("{{ range 100 }}x{{ end }}")) == 100
    for template in ("{{ range 101 }}x{{ end }}", "{{ range 51 }}é{{ end }}"):
        with pytest.raises(TemplateFailed, match="grows over the limit of 100 bytes"):
            out(template)


WORDS = r"""{{ }} {{- -}} if range end else with .A .List . $ $x := ( ) | and eq print "a" ` ' 1 {{/* */}} define \ é"""
PIECES = st.sampled_from([*WORDS.split(), " ", "\n"])


@given(st.lists(PIECES, max_size=30).map("".join))
def test_any_text_is_a_template_or_refused_with_a_reason(text: str) -> None:
    try:
        assert isinstance(out(text), str)
    except TemplateFailed as error:
        assert str(error).startswith("template error: ")
