"""Text that comes in pieces, read by a grammar that is written as if all of it were there.

A grammar is a generator: it yields None where it needs more text, and a piece where it has read one. It raises `NoCall`
where the text is not what it reads. Everything here looks at each character a bounded number of times.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from typing import TypeVar

from powerd.output.marks import Marks
from powerd.output.pieces import Piece

T = TypeVar("T")
Steps = Generator[Piece | None, None, T]

_BLANKS = re.compile(r"\s*")


class NoCall(Exception):
    """The text is no call in this format; what was read of it is content."""


class Scanner:
    """The text that is not read yet, and what was read since the last `keep`."""

    __slots__ = ("_at", "_kept", "_text", "ended")

    def __init__(self) -> None:
        self._text = ""
        self._at = 0
        self._kept: list[str] | None = None
        self.ended = False

    def add(self, text: str) -> None:
        """More text."""
        self._text = self._text[self._at :] + text if self._at < len(self._text) else text
        self._at = 0

    @property
    def empty(self) -> bool:
        """Whether all that has come is read."""
        return self._at == len(self._text)

    def keep(self, before: str = "") -> None:
        """From here on what is read can be had again with `kept`, behind what was read `before`."""
        self._kept = [before]

    def kept(self) -> str:
        """What was read since `keep`, which ends with this."""
        kept, self._kept = self._kept or [], None
        return "".join(kept)

    def pass_to(self, wanted: Marks) -> tuple[str, str | None]:
        """Text up to the first of these marks, and the mark, both read; without one, all text that is none for sure."""
        found = wanted.search(self._text, self._at)
        if found is None:
            return self._take(len(self._text)), None
        start, mark = found
        if mark is None:
            return self._take(len(self._text) if self.ended else start), None
        before = self._take(start)
        self._take(start + len(mark))
        return before, mark

    def until(self, wanted: Marks) -> Steps[tuple[str, str]]:
        """Text up to one of these marks, and the mark, both read. Raises NoCall where none comes."""
        parts: list[str] = []
        while True:
            part, mark = self.pass_to(wanted)
            parts.append(part)
            if mark is not None:
                return "".join(parts), mark
            yield from self._more()

    def at(self, *words: str) -> Steps[str]:
        """The one of these words that comes next, not read; "" where something else comes, or nothing."""
        while True:
            for word in words:
                if self._text.startswith(word, self._at):
                    return word
            if self.ended or not self._may_begin(words):
                return ""
            yield None

    def maybe(self, *words: str) -> Steps[str]:
        """The same, read."""
        found = yield from self.at(*words)
        return self._take(self._at + len(found))

    def word(self, *words: str) -> Steps[str]:
        """The one of these words that comes next, read. Raises NoCall where something else comes."""
        found = yield from self.maybe(*words)
        if not found:
            raise NoCall
        return found

    def closing(self, word: str) -> Steps[bool]:
        """Reads blanks and a closing word, or what came of it before the text ended; "" is no word."""
        yield from self.blanks()
        if not word:
            return False
        if (yield from self.maybe(word)):
            return True
        if self.ended and self._may_begin((word,)):
            self._take(len(self._text))
        return False

    def run(self, pattern: re.Pattern[str]) -> Steps[str]:
        """The text that this pattern matches; it must match every part of what it matches, and the empty text."""
        parts: list[str] = []
        while True:
            found = pattern.match(self._text, self._at)
            parts.append(self._take(found.end() if found else self._at))
            if self._at < len(self._text) or self.ended:
                return "".join(parts)
            yield None

    def blanks(self) -> Steps[str]:
        """The blanks that come next."""
        return self.run(_BLANKS)

    def peek(self) -> Steps[str]:
        """The next character, not read; "" at the end."""
        while self.empty and not self.ended:
            yield None
        return self._text[self._at : self._at + 1]

    def _more(self) -> Steps[None]:
        if self.ended:
            raise NoCall
        yield None

    def _may_begin(self, words: tuple[str, ...]) -> bool:
        rest = self._text[self._at : self._at + max(map(len, words))]
        return any(word.startswith(rest) for word in words)

    def _take(self, end: int) -> str:
        taken = self._text[self._at : end]
        self._at = end
        if self._kept is not None and taken:
            self._kept.append(taken)
        return taken


class Stepping(ABC):
    """A reader that is written as one walk through the text, stopping wherever there is no more of it yet."""

    __slots__ = ("_scanner", "_steps")

    def __init__(self) -> None:
        self._scanner = Scanner()
        self._steps = self._read()

    @abstractmethod
    def _read(self) -> Steps[None]:
        """The walk; it begins with the first text."""

    def feed(self, text: str) -> Sequence[Piece]:
        """What more text tells."""
        self._scanner.add(text)
        return self._go_on()

    def end(self) -> Sequence[Piece]:
        """What was held back."""
        self._scanner.ended = True
        return self._go_on()

    def _go_on(self) -> Sequence[Piece]:
        out: list[Piece] = []
        for piece in self._steps:
            if piece is None:
                break
            out.append(piece)
        return out


def finished(grammar: Steps[T]) -> T:
    """What a grammar returns whose text is all there."""
    try:
        while True:
            next(grammar)
    except StopIteration as stop:
        found: T = stop.value
        return found
