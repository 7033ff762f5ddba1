"""Reading calls in markup: a tag around each argument, and its value as plain text between.

`<tool_call><function=NAME><parameter=KEY>VALUE</parameter></function></tool_call>` and its relatives; and GLM's
`<tool_call>NAME<arg_key>KEY</arg_key><arg_value>VALUE</arg_value></tool_call>`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from powerd.output.calls.coercion import coerce, nested_or_scalar
from powerd.output.calls.scanner import NoCall, Scanner, Steps
from powerd.output.formats import Tools
from powerd.output.marks import marks
from powerd.protocol import ToolCall

_NAME = re.compile(r'[^<>"\n]*')
_CDATA = ("<![CDATA[", "]]>")


class Value(Enum):
    """What the text of a value is."""

    DECLARED = auto()  # of the type that the tool's schema declares
    TEXT = auto()
    JSON = auto()


@dataclass(frozen=True, slots=True)
class Tags:
    """The tags of a family. `…_head` and `…_tail` stand around a name; "" where there is none."""

    function_end: str
    key_head: str
    key_tails: Mapping[str, Value]
    value_end: str
    open: str = ""  # around functions
    close: str = ""
    function_head: str = ""
    function_tail: str = ""
    value_head: str = ""
    padded: bool = False  # one line break before and one after the value are the format's
    cdata: bool = False  # a value may stand in `<![CDATA[…]]>`


def functions(scanner: Scanner, tools: Tools, begin: str, *, tags: Tags) -> Steps[None]:
    """Functions up to the closing tag. A function's head begins a call where the opening tag is missing."""
    if begin != tags.function_head:
        yield from scanner.blanks()
        yield from scanner.word(tags.function_head)
    while True:
        name = (yield from scanner.run(_NAME)).strip()
        if name not in tools:
            raise NoCall
        yield from scanner.word(tags.function_tail)
        yield ToolCall(name, (yield from _arguments(scanner, tags, tools[name])))
        if (yield from scanner.closing(tags.close)):
            return
        if not (yield from scanner.maybe(tags.function_head)):
            return


def named(scanner: Scanner, tools: Tools, begin: str, *, tags: Tags) -> Steps[None]:
    """A name behind the opening tag, and arguments up to the closing one, which is `function_end`."""
    yield from scanner.blanks()
    name = (yield from scanner.run(_NAME)).strip()
    if name not in tools:
        raise NoCall
    yield ToolCall(name, (yield from _arguments(scanner, tags, tools[name])))


def _arguments(scanner: Scanner, tags: Tags, parameters: Mapping[str, Any]) -> Steps[dict[str, object]]:
    found: dict[str, object] = {}
    yield from scanner.blanks()
    while (yield from scanner.word(tags.key_head, tags.function_end)) == tags.key_head:
        key = (yield from scanner.run(_NAME)).strip()
        kind = tags.key_tails[(yield from scanner.word(*tags.key_tails))]
        if not key or key in found:
            raise NoCall
        text = yield from _text(scanner, tags)
        if kind is Value.DECLARED:
            found[key] = coerce(text, key, parameters)
        else:
            found[key] = nested_or_scalar(text) if kind is Value.JSON else text
    return found


def _text(scanner: Scanner, tags: Tags) -> Steps[str]:
    """Text up to the end tag that another argument or the function's end follows: earlier ones belong to the text."""
    if tags.value_head:
        yield from scanner.blanks()
        yield from scanner.word(tags.value_head)
    parts: list[str] = []
    while True:
        text, _ = yield from scanner.until(marks(tags.value_end))
        blanks = yield from scanner.blanks()
        parts.append(text)
        if (yield from scanner.at(tags.key_head, tags.function_end)):
            return _bare("".join(parts), tags)
        parts.append(tags.value_end + blanks)


def _bare(text: str, tags: Tags) -> str:
    """The value without what the format puts around it."""
    if tags.cdata and text.startswith(_CDATA[0]) and text.endswith(_CDATA[1]):
        return text[len(_CDATA[0]) : -len(_CDATA[1])]
    return text.removeprefix("\n").removesuffix("\n") if tags.padded else text
