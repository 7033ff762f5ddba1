"""gpt-oss's channels: messages `<|start|>HEADER<|message|>BODY<|end|>`, of which the prompt writes the first start.

Channel `analysis` is thinking; a recipient (`to=functions.NAME`) makes a message a call; all else is content
(contract 8.3). The header is `ROLE to=RECIPIENT<|channel|>NAME to=RECIPIENT <|constrain|>TYPE`, each part optional.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from powerd.output.calls.extent import decode_whole
from powerd.output.calls.scanner import NoCall, Stepping, Steps
from powerd.output.formats import Tools
from powerd.output.marks import marks
from powerd.output.pieces import Content, Piece, Thought
from powerd.protocol import ToolCall

#: Texts of the format that are control tokens of the vocabulary. `<|call|>` and `<|return|>` end the answer.
MARKERS = ("<|start|>", "<|channel|>", "<|constrain|>", "<|message|>", "<|end|>")

_MESSAGE, _CHANNEL, _CONSTRAIN, _START, _TO = "<|message|>", "<|channel|>", "<|constrain|>", "<|start|>", "to="
_PARTS = (_MESSAGE, _CHANNEL, _CONSTRAIN, _TO)
_STARTED = _START + "assistant"
_ENDS = marks("<|end|>", "<|call|>", "<|return|>", _STARTED)
_WORD = re.compile(r"[\w.:/-]*")
_SEPARATORS = re.compile(r"[ .-]")
_FOREIGN = re.compile(r"\W")
#: Names of the model's own tools, which it knows as they are.
_OWN = frozenset(("browser.open", "browser.search", "browser.find", "python"))


@dataclass(slots=True)
class _Header:
    channel: str = ""
    recipient: str = ""

    def piece(self, text: str) -> Piece:
        """The text of such a message, where it is no call."""
        return Thought(text) if self.channel == "analysis" else Content(text)


class Harmony(Stepping):
    """Reads a whole answer: thoughts, content and calls.

    A call is read when its message is complete. What is no call of a tool of the request, or whose arguments are no
    JSON object, comes back as text of its channel; a header that is none as content.
    """

    __slots__ = ("_begun", "_names")

    def __init__(self, tools: Tools | None, *, channel: str = "") -> None:
        """`channel`: the one whose message the prompt has opened already."""
        self._names = {written: name for name, written in written_names(tools or ()).items()}
        self._begun = _Header(channel)
        super().__init__()

    def _read(self) -> Steps[None]:
        """One message after the other."""
        self._scanner.keep()
        header = self._begun
        if not header.channel:
            header = yield from self._next(header, _STARTED)
        while True:
            end = yield from self._body(header)
            if not end:
                return
            self._scanner.keep(end)
            header = yield from self._next(header, end)

    def _next(self, before: _Header, end: str) -> Steps[_Header]:
        """The next message's header. Where none follows, the model only spoke of the end: its message goes on."""
        try:
            if end != _STARTED:
                yield from self._start()
            header = yield from self._header()
        except NoCall:
            return (yield from self._no_header(before))
        self._scanner.kept()
        return header

    def _start(self) -> Steps[None]:
        """The start and the role that may stand before a header; at least a channel must follow without them."""
        yield from self._scanner.blanks()
        if (yield from self._scanner.maybe(_START)):
            yield from self._scanner.run(_WORD)
        elif not (yield from self._scanner.at(_CHANNEL)):
            raise NoCall

    def _header(self) -> Steps[_Header]:
        """The parts of a header up to its end."""
        found = _Header()
        while True:
            yield from self._scanner.blanks()
            mark = yield from self._scanner.maybe(*_PARTS)
            if mark == _MESSAGE:
                return found
            word = yield from self._scanner.run(_WORD)
            if mark == _CHANNEL:
                found.channel = word
            elif mark == _TO:
                found.recipient = word
            elif not mark and not (found.channel and word):  # behind the channel stands the body's type
                raise NoCall

    def _no_header(self, before: _Header) -> Steps[_Header]:
        """What was read is text of the message before, unless it is a header that the end of the answer cut off."""
        kept = self._scanner.kept()
        cut_off = self._scanner.ended and self._scanner.empty and "<|" in kept
        if kept and not cut_off:
            yield before.piece(kept)
        return _Header(before.channel)

    def _body(self, header: _Header) -> Steps[str]:
        """Passes a message on, and returns the mark that ended it; "" at the end of the answer."""
        name = self._names.get(header.recipient.removeprefix("functions."))
        parts: list[str] = []
        while True:
            text, end = self._scanner.pass_to(_ENDS)
            if name is not None:
                parts.append(text)
            elif text:
                yield header.piece(text)
            if end is not None or self._scanner.ended:
                break
            yield None
        if name is not None:
            yield from _called(name, "".join(parts), header)
        return end or ""


def _called(name: str, text: str, header: _Header) -> Steps[None]:
    arguments = decode_whole(text) if text.strip() else {}
    if arguments is not None:
        yield ToolCall(name, arguments)
    else:
        yield header.piece(text)


def written_names(names: Iterable[str]) -> dict[str, str]:
    """The name by which the prompt tells each tool, as gpt-oss was trained to write them; each is unique."""
    found: dict[str, str] = {}
    for name in names:
        if name not in found:
            found[name] = _unique(_written(name), set(found.values()))
    return found


def _written(name: str) -> str:
    if name in _OWN:
        return name
    written = _FOREIGN.sub("", _SEPARATORS.sub("_", name)) or "unnamed"
    return "_" + written if written[0].isdigit() else written


def _unique(name: str, taken: set[str]) -> str:
    if name not in taken:
        return name
    return next(numbered for count in range(2, len(taken) + 3) if (numbered := f"{name}_{count}") not in taken)
