"""Reading calls that a grammar recognises: markup, Python's and other notations."""

from __future__ import annotations

from collections.abc import Callable

from powerd.output.calls.beside import Beside
from powerd.output.calls.scanner import NoCall, Scanner, Stepping, Steps
from powerd.output.formats import Tools
from powerd.output.marks import marks

#: Reads what follows the text that begins a call; yields the calls.
Grammar = Callable[[Scanner, Tools, str], Steps[None]]


class Calls(Stepping):
    """Reads text into content and calls.

    Blanks before and after calls are dropped, and only those. What the grammar does not read is content, all of it.
    """

    __slots__ = ("_begins", "_beside", "_first", "_grammar", "_tools")

    def __init__(self, begins: tuple[str, ...], grammar: Grammar, tools: Tools, *, first: tuple[str, ...] = ()) -> None:
        """`first`: texts that begin a call only as the first text of the answer."""
        self._begins = marks(*begins)
        self._first = first
        self._grammar = grammar
        self._tools = tools
        self._beside = Beside()
        super().__init__()

    def _read(self) -> Steps[None]:
        scanner = self._scanner
        if self._first:
            yield from self._read_first()
        while True:
            before, begin = scanner.pass_to(self._begins)
            if content := self._beside.say(before):
                yield content
            if begin is not None:
                yield from self._call(begin)
            elif scanner.ended:
                break
            else:
                yield None
        if rest := self._beside.spill():
            yield rest

    def _read_first(self) -> Steps[None]:
        self._beside.hold((yield from self._scanner.blanks()))
        begin = yield from self._scanner.maybe(*self._first)
        if begin:
            yield from self._call(begin)

    def _call(self, begin: str) -> Steps[None]:
        """What the grammar reads; where it cannot go on, what it has read since the last call is content."""
        self._scanner.keep(begin)
        try:
            for piece in self._grammar(self._scanner, self._tools, begin):
                if piece is not None:
                    self._beside.called()
                    self._scanner.keep()
                yield piece
        except NoCall:
            if content := self._beside.say(self._scanner.kept()):
                yield content
        else:
            self._scanner.kept()
