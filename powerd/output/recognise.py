"""Which format a model writes, told from its template."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from powerd.output import go_text
from powerd.output.calls.generic import generic
from powerd.output.calls.harmony import MARKERS, Harmony
from powerd.output.families import BY_NAME
from powerd.output.formats import Format, Tags, ToolFormat
from powerd.output.signs import ANSWER_SIGNS, FOREIGN, PARSERS, THINKING_SIGNS, TOOL_SIGNS

#: Variables by which a Jinja template lets thinking be switched off, where they are no one's attribute.
_SWITCH = re.compile(
    r"(?<![\w.])(?:enable_thinking|thinking|thinking_mode|thinking_option|thinking_budget|reasoning|"
    r"reasoning_effort|thinking_effort|reasoning_strength|skip_thinking)\b"
)
_ACTION = re.compile(r"\{[%{](.*?)[%}]\}", re.DOTALL)
_STRING = re.compile(r"'[^'\\]*(?:\\.[^'\\]*)*'|\"[^\"\\]*(?:\\.[^\"\\]*)*\"", re.DOTALL)
_TOOLS = re.compile(r"\btools\b")

_CHANNELS = ToolFormat("harmony", ("to=functions.",), Harmony)
_HARMONY = Format(tools=_CHANNELS, harmony=True, thought_markers=MARKERS, always_thinks=True)


@lru_cache(maxsize=256)
def recognise(template: str, syntax: Literal["jinja", "go"], parser: str = "", family: str = "") -> Format:
    """The format told by `parser` (a name of contract 8.2 in the manifest's config), else by the template's own text.

    `family`: the architecture, or the family that the manifest's config names. An unknown parser counts as none.
    """
    if parser == "harmony" or (not parser and _is_harmony(template, family)):
        return _HARMONY
    if parser in PARSERS:
        name, tags = PARSERS[parser]
        return _format(template, tags, BY_NAME[name] if name is not None else None, always=False)
    if syntax == "go":
        tags = go_text.thinking_tags(template)
        return _format(template, tags, _go_tools(template), always=not go_text.switches_thinking(template))
    tags = _jinja_tags(template)
    return _format(template, tags, _jinja_tools(template), always=not _switches(template))


def _is_harmony(template: str, family: str) -> bool:
    texts = ("<|start|>", "<|end|>") if family in ("gptoss", "gpt-oss") else ("<|start|>", "<|channel|>", "<|message|>")
    return _has(template, texts)


def _format(template: str, thinking: Tags | None, tools: ToolFormat | None, *, always: bool) -> Format:
    answer = next((tags for tags, shown in ANSWER_SIGNS if shown in template), None)
    markers = next((sign.markers for sign in THINKING_SIGNS if sign.tags == thinking), None)
    if markers is None:
        markers = (thinking.open, thinking.close) if thinking is not None else ()
    if answer is not None:
        markers += (answer.open, answer.close)
    return Format(
        thinking, tools, always_thinks=always and thinking is not None, answer=answer, thought_markers=markers
    )


def _jinja_tags(template: str) -> Tags | None:
    return next((sign.tags for sign in THINKING_SIGNS if _has(template, sign.shown)), None)


def _switches(template: str) -> bool:
    return any(_SWITCH.search(_STRING.sub("", found[1])) for found in _ACTION.finditer(template))


def _jinja_tools(template: str) -> ToolFormat | None:
    """The family whose signs are there; plain JSON for one that takes tools and shows no sign."""
    if any(_has(template, texts) for texts in FOREIGN):
        return None
    takes_tools = any(_TOOLS.search(found[1]) for found in _ACTION.finditer(template))
    return _by_signs(template) or (BY_NAME["json"] if takes_tools else None)


def _go_tools(template: str) -> ToolFormat | None:
    """The family whose signs are there, else what the template writes around calls."""
    texts = go_text.call_texts(template)
    if texts is None:
        return None
    known = _by_signs(template)
    if known is not None:
        return known
    begin, end = texts
    return generic(begin, end) if begin else BY_NAME["json"]


def _by_signs(template: str) -> ToolFormat | None:
    for name, shown in TOOL_SIGNS:
        if any(_has(template, texts) for texts in shown):
            return BY_NAME[name]
    return None


def _has(template: str, texts: Sequence[str]) -> bool:
    return all(text in template for text in texts)
