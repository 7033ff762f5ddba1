"""The template environment: what it has in common with transformers, and what a hostile template gets."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import jinja2.debug  # noqa: F401 - Jinja2 imports it at the first syntax error, which would read as a file being opened
import pytest

from powerd.prompt import jinja
from powerd.prompt.failed import TemplateFailed
from powerd.prompt.jinja import compiled, run, without_unknown_tags

NOW = datetime(2025, 7, 26, 9, 5, tzinfo=timezone(timedelta(hours=2), "CEST"))

_WATCHED = ("open", "os.", "subprocess.", "socket.", "ctypes.", "shutil.")
_listeners: list[list[str]] = []


def _hear(event: str, _: object) -> None:
    for heard in _listeners:
        if event.startswith(_WATCHED):
            heard.append(event)


sys.addaudithook(_hear)


@contextmanager
def untouched() -> Iterator[None]:
    """Nothing outside the interpreter is touched within."""
    heard: list[str] = []
    _listeners.append(heard)
    try:
        yield
    finally:
        _listeners.clear()
    assert heard == []


def out(template: str, **variables: object) -> str:
    return run(template, variables, NOW)


def refusal(template: str, **variables: object) -> TemplateFailed:
    with pytest.raises(TemplateFailed) as caught:
        out(template, **variables)
    return caught.value


def test_blocks_leave_no_blank_lines() -> None:
    assert out("a\n  {% if true %}\n  b\n  {% endif %}\nc") == "a\n  b\nc"


def test_break_and_continue_work_in_loops() -> None:
    body = "{% if i == 1 %}{% continue %}{% endif %}{% if i == 3 %}{% break %}{% endif %}{{ i }}"
    assert out("{% for i in range(9) %}" + body + "{% endfor %}") == "02"


def test_tojson_keeps_characters_and_takes_the_options_of_json_dumps() -> None:
    assert out("{{ x | tojson }}", x={"b": "é<'&", "a": 1}) == '{"b": "é<\'&", "a": 1}'
    assert out("{{ x | tojson(ensure_ascii=true) }}", x="é") == '"\\u00e9"'
    assert out("{{ x | tojson(indent=2, sort_keys=true) }}", x={"b": 1, "a": 2}) == '{\n  "a": 2,\n  "b": 1\n}'
    assert out("{{ x | tojson(separators=(',', ':')) }}", x={"a": [1, 2]}) == '{"a":[1,2]}'


def test_tojson_of_something_undefined_is_a_template_error() -> None:
    assert "not JSON serializable" in str(refusal("{{ nothing | tojson }}"))


def test_strftime_now_formats_the_time_it_was_given_and_is_not_kept_with_the_template() -> None:
    template = "{{ strftime_now('%d %b %Y %H:%M %Z') }}"
    assert run(template, {}, NOW) == "26 Jul 2025 09:05 CEST"
    assert run(template, {}, datetime(2026, 1, 2, tzinfo=UTC)) == "02 Jan 2026 00:00 UTC"


def test_generation_blocks_pass_through_with_their_own_scope() -> None:
    template = "{% set x = 'a' %}{% generation %}{{ x }}{% set x = 'b' %}{% endgeneration %}{{ x }}"
    assert out(template) == "aa"


def test_raise_exception_says_what_the_template_says_and_where() -> None:
    error = refusal("one\n{% if true %}\n{{ raise_exception('roles must alternate') }}\n{% endif %}")
    assert str(error) == "template error: roles must alternate (line 3)"


def test_an_unknown_tag_names_the_tag_and_the_line() -> None:
    assert str(refusal("a\n{% frobnicate %}")) == "template error: Encountered unknown tag 'frobnicate'. (line 2)"


def test_unknown_tags_can_be_left_out_with_what_they_do_to_white_space() -> None:
    template = "a {%- frob x='%' %} b {% endfrob -%} c\n  {% zap %}\nd{% generation %}e{% endgeneration %}"
    text, unknown = without_unknown_tags(template)
    assert unknown == ["frob", "zap"]
    assert out(text) == out(
        template.replace("frob x='%'", "if 1").replace("endfrob", "endif").replace("zap", "set x=1")
    )
    assert without_unknown_tags("{% if a %}{% endif %}") == ("{% if a %}{% endif %}", [])


@pytest.mark.parametrize("template", ["{% frob %}{% if %}", "{% frob", "".join(f"{{% tag{n} %}}" for n in range(9))])
def test_a_template_that_cannot_be_read_without_them_either_is_refused(template: str) -> None:
    with pytest.raises(TemplateFailed):
        without_unknown_tags(template)


def test_tojson_takes_what_map_makes() -> None:
    assert out("{{ [{'a': 1}] | map(attribute='a') | tojson }}") == "[1]"


@pytest.mark.parametrize(
    ("template", "line"),
    [
        ("{{ a.b.c }}", 1),
        ("\n\n{{ f() }}", 3),
        ("{% if %}", 1),
        ("\n{{ 1 / 0 }}", 2),
        ("{% macro m() %}\n{{ 'a' + 1 }}\n{% endmacro %}\n\n{{ m() }}", 2),
    ],
)
def test_every_fault_names_its_line(template: str, line: int) -> None:
    error = refusal(template)
    assert error.line == line
    assert str(error).endswith(f"(line {line})")


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.popen('id') }}",
        "{{ cycler.__init__.__globals__['os'].system('id') }}",
        "{{ '{0.__class__.__mro__}'|attr('format')(1) }}{{ raise_exception('reached') }}",
        "{{ ('{0.__cl' ~ 'ass__.__mro__}').format(1) }}",
        "{{ (''|attr('__class__')).__mro__ }}",
        "{{ ['{0.__class__}'.format] | map('call') | list }}",
        "{{ [1] | map(attribute='__class__.__mro__') | first | tojson }}",
        "{{ strftime_now.__self__.__class__.__base__ }}",
        "{{ raise_exception.__globals__.json }}",
        "{{ self._TemplateReference__context.environment.filters }}",
        "{{ namespace.__init__.__globals__.sys.modules }}",
        "{{ messages.clear() }}",
        "{{ messages[0].update({}) }}",
        "{{ messages[0].update({'a': 1}) }}",
        "{% include '/etc/passwd' %}",
        "{% include '/etc/passwd' ignore missing %}",
        "{% import 'os' as os %}",
        "{% from 'os' import system %}",
        "{% extends '/etc/passwd' %}",
    ],
)
def test_s41_escapes_from_the_sandbox_are_template_errors_and_touch_nothing(template: str) -> None:
    with untouched():
        error = refusal(template, messages=[{"role": "user"}])
    assert str(error).startswith("template error: ")


@pytest.mark.parametrize("template", ["{{ ''|attr('__class__') }}", "{% set f = '{0.__class__}'.format %}{{ f(1) }}"])
def test_s41_some_escapes_just_come_to_nothing(template: str) -> None:
    with untouched():
        assert out(template) == ""


def test_the_watch_over_the_sandbox_can_fail() -> None:
    with pytest.raises(AssertionError), untouched():
        Path(__file__).read_bytes()


def test_s41_the_sandbox_is_the_mended_one() -> None:
    version = tuple(int(part) for part in importlib.metadata.version("jinja2").split(".")[:3])
    assert version >= (3, 1, 6)


def test_a_template_may_put_into_its_lists_and_take_out_of_them() -> None:
    template = (
        "{% set ids = [] %}{% set _ = ids.append('a') %}{% set _ = ids.append('b') %}{{ ids.pop(0) }}{{ ids[0] }}"
    )
    assert out(template) == out(template) == "ab"


def test_nothing_that_is_said_to_be_safe_has_other_text_escaped() -> None:
    assert out("""{{ "'"|safe + {'a': '<'} | tojson }}""") == """'{"a": "<"}"""


def test_s42_ranges_over_the_sandbox_limit_are_refused() -> None:
    assert "Range too big" in str(refusal("{% for i in range(10**9) %}x{% endfor %}"))


def test_s42_recursion_is_a_template_error() -> None:
    assert str(refusal("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}")).startswith("template error: ")
    assert (
        str(refusal("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}")) == "template error: the template nests too deeply"
    )


def test_s42_output_ends_at_the_limit_in_characters_and_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jinja, "MAX_OUTPUT", 1000)
    assert len(out("{% for i in range(1000) %}x{% endfor %}")) == 1000
    for template in ("{% for i in range(1001) %}x{% endfor %}", "{{ x * 501 }}"):
        assert str(refusal(template, x="é")) == "template error: the text grows over the limit of 1000 bytes"


def test_a_template_over_the_size_limit_is_refused_unread() -> None:
    assert "over the limit of 4194304" in str(refusal(" " * (4 * 1024 * 1024 + 1)))


def test_errors_stay_short_and_can_be_written_as_utf_8() -> None:
    error = str(refusal("{{ raise_exception('\\ud800' ~ 'x' * 100000) }}"))
    assert len(error) < 600
    assert error.encode()


def test_half_a_surrogate_pair_is_refused() -> None:
    assert str(refusal("{{ '\\ud800' }}")) == "template error: the text holds half of a surrogate pair"


def test_templates_are_compiled_once() -> None:
    assert compiled("{{ a }} once") is compiled("{{ a }} once")


def test_running_out_of_memory_is_a_template_error_that_lets_go_of_compiled_templates() -> None:
    class Greedy:
        def __str__(self) -> str:
            raise MemoryError

    before = compiled("{{ a }} kept")
    assert str(refusal("{{ x }}", x=Greedy())) == "template error: the template needs more memory than it may have"
    assert compiled("{{ a }} kept") is not before


def test_our_own_functions_win_over_variables_of_the_same_name() -> None:
    assert out("{{ strftime_now('%Y') }}", strftime_now="mine") == "2025"
