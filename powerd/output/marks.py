"""Finding a format's texts in a stream whose end may hold only the beginning of one."""

from __future__ import annotations

import re
from functools import lru_cache

BLANK = re.compile(r"\s*")


def past(pattern: re.Pattern[str], text: str, start: int) -> int:
    """The position behind what matches at `start`; `start` where nothing does."""
    found = pattern.match(text, start)
    return start if found is None else found.end()


class Marks:
    """The first of some texts, whole, or at the very end in part. None of the texts may begin another."""

    __slots__ = ("_pattern", "texts")

    def __init__(self, texts: tuple[str, ...]) -> None:
        self.texts = texts
        whole = "|".join(map(re.escape, texts))
        parts = "|".join(map(_part, texts))
        self._pattern = re.compile(rf"({whole})|(?:{parts})\Z")

    def search(self, text: str, start: int = 0) -> tuple[int, str | None] | None:
        """Where the first one begins, and which; None instead of which where `text` ends before that is certain."""
        found = self._pattern.search(text, start)
        return None if found is None else (found.start(), found[1])


@lru_cache(maxsize=64)
def marks(*texts: str) -> Marks:
    """The marks for these texts."""
    return Marks(texts)


def _part(text: str) -> str:
    """A pattern for every beginning of the text but the whole: `a(?:b(?:c)?)?` for "abcd"."""
    *others, last = map(re.escape, text[:-1] or text)
    pattern = last
    for character in reversed(others):
        pattern = f"{character}(?:{pattern})?"
    return pattern
