"""Story: the last things that happened to one deployment, to print when somebody asks why (pure)."""

from __future__ import annotations

from collections import deque

LINES = 64


class Story:
    """A bounded list of dated sentences."""

    def __init__(self) -> None:
        self._lines: deque[tuple[float, str]] = deque(maxlen=LINES)

    def tell(self, now: float, line: str) -> None:
        """Add a sentence, unless it repeats the last one."""
        if not self._lines or self._lines[-1][1] != line:
            self._lines.append((now, line))

    def lines(self, now: float) -> list[str]:
        """Oldest first, each with how many seconds ago it happened."""
        return [f"{now - at:9.3f} s ago  {line}" for at, line in self._lines]
