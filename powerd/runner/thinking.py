"""Where an answer thinks, told from its bytes, and when it has thought long enough. Pure."""

from __future__ import annotations

from powerd.protocol import Thinking

#: A character is at most this many bytes, so a budget never waits longer than that for one to end.
_CHARACTER = 4


class Thoughts:
    """Follows the tags. `inside` is whether the answer is thinking, `over` that it never will again.

    What opens thinking must be the first text that is not blank; a control token that opens it (`anywhere`) may come
    at any place and more than once, for prose cannot hold one.
    """

    __slots__ = ("_anywhere", "_close", "_open", "_tail", "inside", "over")

    def __init__(self, thinking: Thinking, *, anywhere: bool = False) -> None:
        self._open, self._close = thinking.open.encode(), thinking.close.encode()
        self._anywhere = anywhere
        self._tail = b""  # bytes that may be the beginning of a tag
        self.inside = thinking.inside
        self.over = not self._close or not (self._open or thinking.inside)

    def feed(self, piece: bytes) -> None:
        """The answer goes on with `piece`."""
        text = self._tail + piece
        while not self.over:
            tag, at = self._sought(text)
            if at < 0:
                return
            self.inside = not self.inside
            text = text[at + len(tag) :]
            if not self.inside:
                self.end()
        self._tail = b""

    def end(self) -> None:
        """Thinking ends here, whatever the bytes that follow say."""
        self.inside, self._tail = False, b""
        self.over = not (self._anywhere and self._open)

    def _sought(self, text: bytes) -> tuple[bytes, int]:
        """The tag that comes next and where it begins; -1 = not yet, and what may become one is kept."""
        if self.inside or self._anywhere:
            tag = self._close if self.inside else self._open
            at = text.find(tag)
            self._tail = text[len(text) - min(len(text), len(tag) - 1) :] if at < 0 else b""
            return tag, at
        self._tail = text.lstrip()
        if self._tail.startswith(self._open):
            return self._open, len(text) - len(self._tail)
        self.over = not self._open.startswith(self._tail)
        return self._open, -1


class Budget:
    """Counts tokens of thinking, and says when it must be ended."""

    __slots__ = ("_last", "_left", "thoughts")

    def __init__(self, thinking: Thinking, *, anywhere: bool = False) -> None:
        self.thoughts = Thoughts(thinking, anywhere=anywhere)
        self._left = thinking.budget
        self._last = b""

    @property
    def spent(self) -> bool:
        """Whether thinking must be ended here; not in the middle of a character, if that can be had."""
        if not self.thoughts.inside or self._left > 0:
            return False
        return self._left <= -_CHARACTER or not _unfinished(self._last)

    def feed(self, piece: bytes) -> None:
        """The answer goes on with a token that stands for `piece`."""
        was_inside = self.thoughts.inside
        self.thoughts.feed(piece)
        self._last = (self._last + piece)[-_CHARACTER:]
        self._left -= was_inside and self.thoughts.inside


def _unfinished(data: bytes) -> bool:
    """Whether UTF-8 `data` ends inside a character."""
    for back, byte in enumerate(reversed(data), 1):
        if byte & 0xC0 != 0x80:
            needed = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
            return needed > back
    return False
