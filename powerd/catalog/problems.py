"""Problems: everything wrong with a catalog's files, collected to be said at once, and the words to say it in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from difflib import get_close_matches

from powerd.catalog.spec import CatalogError, Position, Problem

#: More than this many problems are not listed; a file that wrong is mended in rounds.
MAX_PROBLEMS = 1000
_SHOWN = 60


class Problems:
    """The problems found so far; each is kept once, however many aliases lead to its place.

    They are told in the order of `files`, and within a file in its own order.
    """

    def __init__(self, files: Sequence[str] = ()) -> None:
        self._found: dict[Problem, None] = {}
        self._rank = {file: rank for rank, file in enumerate(files)}
        self._last: list[Problem] = []

    def add(self, at: Position, message: str) -> None:
        """Note one problem. Raises CatalogError when the list is full."""
        if len(self._found) == MAX_PROBLEMS:
            self._last = [Problem(at, f"more problems follow; only the first {MAX_PROBLEMS} are listed")]
            raise self.error()
        self._found[Problem(at, message)] = None

    def error(self) -> CatalogError:
        """Everything found."""
        return CatalogError([*sorted(self._found, key=self._place), *self._last])

    @property
    def full(self) -> bool:
        """Whether no further problem will be listed."""
        return bool(self._last)

    def settle(self) -> None:
        """Raise CatalogError if anything was found."""
        if self._found:
            raise self.error()

    def _place(self, problem: Problem) -> tuple[int, int, int]:
        return self._rank.get(problem.at.file, len(self._rank)), problem.at.line, problem.at.column


def quote(text: str) -> str:
    """`text` in quotes, short and on one line whatever it holds."""
    short = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
    return f'"{short}"' if short.isprintable() else json.dumps(short)


def nearest(key: str, known: Sequence[str]) -> str | None:
    """The known name that `key` was probably meant to be."""
    lower = key.lower()
    if len(lower) > _SHOWN:
        return None
    if len(lower) >= 3:
        extended = [name for name in known if name.startswith(lower)]
        if extended:
            return extended[0]
    return next(iter(get_close_matches(lower, known, n=1)), None)


def unknown(what: str, key: str, known: Sequence[str]) -> str:
    """The message for a `key` that is none of the known ones; `what` names its kind."""
    guess = nearest(key, known)
    hint = f"did you mean {quote(guess)}?" if guess else f"known here: {', '.join(known)}"
    return f"unknown {what} {quote(key)}; {hint}"
