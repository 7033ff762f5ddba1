"""The reader of a whole answer: thinking first, then calls and content."""

from __future__ import annotations

from functools import partial

from powerd.output.calls.harmony import Harmony
from powerd.output.formats import Format, Tools
from powerd.output.pieces import Reader
from powerd.output.thinking import Plain, ThinkingReader, Unwrapped


def reader(format: Format, tools: Tools | None, *, inside: bool, answering: bool = False) -> Reader:
    """A reader for one answer in this format.

    `tools`: the request's; without any, what looks like a call stays content. `inside`: the prompt has opened the
    thinking tag already, `answering`: it has begun the answer proper. Whether thinking was asked for makes no
    difference: tags never become content.
    """
    if format.harmony:
        return Harmony(tools, channel="analysis" if inside else "final" if answering else "")
    calls = partial(format.tools.reader, tools) if format.tools is not None and tools else None
    rest: Reader = calls() if calls is not None else Plain()
    if format.answer is not None:
        rest = Unwrapped(format.answer, rest)
    if format.thinking is None:
        return rest
    begins = format.tools.begins if format.tools is not None and not format.tools.first else ()
    return ThinkingReader(format.thinking, rest, inside=inside, begins=begins, trial=calls)
