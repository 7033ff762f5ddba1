"""Calls as Python writes them: `[weather(city="Paris"), time()]`."""

from __future__ import annotations

import re
from functools import partial

from powerd.output.calls.literals import PYTHON, value
from powerd.output.calls.scanner import NoCall, Scanner, Steps
from powerd.output.calls.steps import Calls
from powerd.output.formats import ToolFormat, Tools
from powerd.protocol import ToolCall

_NAME = re.compile(r"[^\s,:()\[\]{}<>\"'=]*")
_OBJECTS = ({"name", "arguments"}, {"name", "parameters"})


def _list(scanner: Scanner, tools: Tools, begin: str, *, closing: str) -> Steps[None]:
    """Calls between brackets, of which the first is the beginning itself where that is one."""
    if begin != "[":
        yield from scanner.blanks()
        yield from scanner.word("[")
    found: list[ToolCall] = []
    mark = ","
    while mark == ",":
        yield from scanner.blanks()
        found.append((yield from _call(scanner, tools)))
        yield from scanner.blanks()
        mark = yield from scanner.word(",", "]")
    yield from found
    yield from scanner.closing(closing)


def _call(scanner: Scanner, tools: Tools) -> Steps[ToolCall]:
    if (yield from scanner.peek()) == "{":
        return _from_object((yield from value(scanner, PYTHON)), tools)
    name = yield from scanner.run(_NAME)
    if name not in tools:
        raise NoCall
    yield from scanner.word("(")
    return ToolCall(name, (yield from _arguments(scanner)))


def _arguments(scanner: Scanner) -> Steps[dict[str, object]]:
    found: dict[str, object] = {}
    while True:
        yield from scanner.blanks()
        if (yield from scanner.maybe(")")):
            return found
        key = yield from scanner.run(_NAME)
        if not key or key in found:
            raise NoCall
        yield from scanner.blanks()
        yield from scanner.word("=")
        found[key] = yield from value(scanner, PYTHON)
        yield from scanner.blanks()
        if (yield from scanner.word(",", ")")) == ")":
            return found


def _from_object(written: object, tools: Tools) -> ToolCall:
    """The same call written as JSON, which LFM2 also does."""
    if not isinstance(written, dict) or set(written) not in _OBJECTS:
        raise NoCall
    name, arguments = written["name"], written.get("arguments", written.get("parameters"))
    if not isinstance(name, str) or name not in tools or not isinstance(arguments, dict):
        raise NoCall
    return ToolCall(name, arguments)


def _format(name: str, begin: str, end: str, *, first: tuple[str, ...] = ()) -> ToolFormat:
    def reader(tools: Tools) -> Calls:
        return Calls((begin,), partial(_list, closing=end), tools, first=first)

    return ToolFormat(name, (begin, *first), reader, first=bool(first), markers=(begin, end))


LFM2 = _format("lfm2", "<|tool_call_start|>", "<|tool_call_end|>")
#: Llama 3.2 and 4 as Meta's prompt format for lists of functions asks for; the tags are Llama 4's.
PYTHONIC = _format("pythonic", "<|python_start|>", "<|python_end|>", first=("[",))
PYTHONIC_FAMILIES = (LFM2, PYTHONIC)
