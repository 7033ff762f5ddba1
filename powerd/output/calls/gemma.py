"""Gemma's calls: `<|tool_call>call:weather{city:<|"|>Paris<|"|>}<tool_call|>`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial

from powerd.output.calls.literals import Notation, entries
from powerd.output.calls.scanner import NoCall, Scanner, Steps
from powerd.output.calls.steps import Calls
from powerd.output.formats import ToolFormat, Tools
from powerd.protocol import ToolCall

_NAME = re.compile(r"[^\s,:()\[\]{}<>\"'=]*")


@dataclass(frozen=True, slots=True)
class _Dialect:
    open: str
    close: str
    notation: Notation


def _call(scanner: Scanner, tools: Tools, begin: str, *, dialect: _Dialect) -> Steps[None]:
    yield from scanner.blanks()
    yield from scanner.word("call:")
    name = yield from scanner.run(_NAME)
    if name not in tools:
        raise NoCall
    yield from scanner.word("{")
    yield ToolCall(name, (yield from entries(scanner, dialect.notation)))
    yield from scanner.closing(dialect.close)


def _format(name: str, dialect: _Dialect) -> ToolFormat:
    def reader(tools: Tools) -> Calls:
        return Calls((dialect.open,), partial(_call, dialect=dialect), tools)

    return ToolFormat(name, (dialect.open,), reader, markers=(dialect.open, dialect.close, dialect.notation.quote))


GEMMA4 = _format("gemma4", _Dialect("<|tool_call>", "<tool_call|>", Notation('<|"|>', bare_keys=True)))
FUNCTIONGEMMA = _format(
    "functiongemma",
    _Dialect("<start_function_call>", "<end_function_call>", Notation("<escape>", bare_keys=True)),
)
GEMMA_FAMILIES = (GEMMA4, FUNCTIONGEMMA)
