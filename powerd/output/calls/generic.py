"""Calls of models whose family is not known: JSON behind whatever text their Go template puts before it."""

from __future__ import annotations

import re
from functools import lru_cache

from powerd.output.calls.json_calls import JsonCalls, JsonForm
from powerd.output.formats import ToolFormat, Tools


@lru_cache(maxsize=64)
def generic(begin: str, end: str) -> ToolFormat:
    """The format of calls between these texts, `end` being "" where there is none (contract 8.2).

    Name and arguments are in one object, or the name of a declared tool stands somewhere before its arguments.
    """

    def reader(tools: Tools) -> JsonCalls:
        return JsonCalls(_form(begin, end, tuple(tools)), tools)

    return ToolFormat("generic", (begin,), reader, markers=(begin, end) if end else (begin,))


@lru_cache(maxsize=64)
def _form(begin: str, end: str, names: tuple[str, ...]) -> JsonForm:
    named = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    head = rf"{re.escape(begin)}(?:[^{{]*?(?<![\w.-])(?P<name>{named})(?![\w.-])[^{{]*|[^{{]*)"
    return JsonForm((begin,), re.compile(head), tuple(filter(None, (end, "```"))))
