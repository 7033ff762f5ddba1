"""Words kept whole while text arrives in pieces: what goes to a terminal of so many columns. Pure."""

from __future__ import annotations

import unicodedata

_MARGIN = 5  # columns left free at the right, as Ollama leaves them
_NARROWEST = 10


class Wrap:
    """Breaks lines between words. A word that turns out too long for its line is taken back and begins the next."""

    def __init__(self, columns: int) -> None:
        self._limit = columns - _MARGIN if columns >= _NARROWEST else 0
        self._column = 0
        self._word = ""

    def feed(self, text: str) -> str:
        """What to write for the next piece of text."""
        if not self._limit:
            return text
        return "".join(self._letter(letter) for letter in text)

    def _letter(self, letter: str) -> str:
        if letter == "\n":
            self._column, self._word = 0, ""
            return letter
        width = columns(letter)
        if self._column + width <= self._limit:
            self._column += width
            self._word = "" if letter.isspace() else self._word + letter
            return letter
        return self._broken(letter, width)

    def _broken(self, letter: str, width: int) -> str:
        if letter.isspace():
            self._column, self._word = 0, ""
            return "\n"
        word, self._word = self._word, self._word + letter
        back = columns(word)
        if not back or back >= self._column:  # nothing to take back, or the word alone fills the line
            self._word, self._column = letter, width
            return f"\n{letter}"
        self._column = back + width
        return f"\x1b[{back}D\x1b[K\n{word}{letter}"


def columns(text: str) -> int:
    """How many columns a terminal gives a text without control characters."""
    return sum(_width(letter) for letter in text)


def _width(letter: str) -> int:
    if unicodedata.combining(letter) or letter in "\u200b\u200d\ufe0f":
        return 0
    if letter == "\t":
        return 8
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1
