"""Beside calls: what is content of the text around them. Blanks before and after a call are dropped, and only those."""

from __future__ import annotations

from powerd.output.pieces import Content


class Beside:
    """Decides over the text between calls. What is held is dropped if a call follows, and content if none does."""

    __slots__ = ("_after", "_held")

    def __init__(self) -> None:
        self._after = False  # nothing but blanks since a call
        self._held: list[str] = []

    def say(self, text: str) -> Content | None:
        """What is content for certain once `text` has come: all but the blanks at its end."""
        if self._after:
            text = text.lstrip()
        if not text:
            return None
        self._after = False
        said = text.rstrip()
        content = self.spill(said) if said else None
        if len(said) < len(text):
            self._held.append(text[len(said) :])
        return content

    def hold(self, text: str) -> None:
        """`text` goes with the call that it may belong to."""
        self._held.append(text)

    def called(self) -> None:
        """There was a call."""
        self._held.clear()
        self._after = True

    def spill(self, text: str = "") -> Content | None:
        """What was held is content, and `text` after it."""
        said = "".join((*self._held, text)) if self._held else text
        self._held.clear()
        self._after = False
        return Content(said) if said else None
