"""Token bytes -> deliverable text: characters are never split, stop strings never shown. Pure.

A token is a run of bytes that may begin or end inside a UTF-8 character; bytes that can never become one turn into
U+FFFD. Of several stop strings the one that is complete first wins (at the same place the longest), so the result
does not depend on how the text was cut into tokens.
"""

from __future__ import annotations

import codecs

_utf8 = codecs.getincrementaldecoder("utf-8")


class Text:
    """The text of one answer as it grows. `stopped_by` is the stop string that matched, or empty."""

    __slots__ = ("_decode", "_held", "_stops", "stopped_by")

    def __init__(self, stops: tuple[str, ...] = ()) -> None:
        self._decode = _utf8("replace").decode
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.stopped_by = ""

    def feed(self, piece: bytes) -> str:
        """The text that may be shown after `piece`; nothing once a stop string has matched."""
        text = self._decode(piece)
        return self._judge(text) if self._stops else text

    def flush(self) -> str:
        """What was held back, at the end of the answer; an unfinished character becomes U+FFFD."""
        text = self._decode(b"", True)
        if self._stops:
            text = self._judge(text) + self._held
            self._held = ""
        return text

    def _judge(self, text: str) -> str:
        if self.stopped_by:
            return ""
        text = self._held + text
        found = _first_complete(text, self._stops)
        if found is not None:
            start, self.stopped_by = found
            self._held = ""
            return text[:start]
        keep = len(text) - _possible_start(text, self._stops)
        self._held = text[keep:]
        return text[:keep]


def _first_complete(text: str, stops: tuple[str, ...]) -> tuple[int, str] | None:
    """Where the stop string that ends first begins, and which it is."""
    best: tuple[int, int, str] | None = None
    for stop in stops:
        start = text.find(stop)
        if start >= 0:
            match = (start + len(stop), start, stop)
            best = match if best is None or match < best else best
    return None if best is None else best[1:]


def _possible_start(text: str, stops: tuple[str, ...]) -> int:
    """How many characters at the end of `text` may yet grow into a stop string."""
    longest = 0
    for stop in stops:
        start = text.find(stop[0], max(0, len(text) - len(stop) + 1))
        while start >= 0:
            if stop.startswith(text[start:]):
                longest = max(longest, len(text) - start)
                break
            start = text.find(stop[0], start + 1)
    return longest
