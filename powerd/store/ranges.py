"""Which bytes of a file are here, as half-open ranges. Pure."""

from __future__ import annotations

import bisect
from collections.abc import Iterable

Span = tuple[int, int]


class Ranges:
    """A set of byte positions, kept as sorted spans that neither overlap nor touch."""

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        self._spans: list[Span] = []
        for start, end in spans:
            self.add(start, end)

    def add(self, start: int, end: int) -> None:
        """Put the bytes from `start` up to, not including, `end` in. Raises ValueError for what is no range."""
        if not 0 <= start <= end:
            raise ValueError("not a range")
        if start == end:
            return
        first = bisect.bisect_left(self._spans, start, key=lambda span: span[1])
        last = bisect.bisect_right(self._spans, end, key=lambda span: span[0])
        touched = self._spans[first:last]
        if touched:
            start, end = min(start, touched[0][0]), max(end, touched[-1][1])
        self._spans[first:last] = [(start, end)]

    @property
    def spans(self) -> tuple[Span, ...]:
        """The spans in order."""
        return tuple(self._spans)

    @property
    def total(self) -> int:
        """How many bytes are in."""
        return sum(end - start for start, end in self._spans)

    @property
    def prefix(self) -> int:
        """How many bytes there are from the first on without a gap."""
        return self._spans[0][1] if self._spans and self._spans[0][0] == 0 else 0

    def missing(self, size: int) -> list[Span]:
        """What a file of `size` bytes lacks, in order."""
        gaps, at = [], 0
        for start, end in self._spans:
            if min(start, size) > at:
                gaps.append((at, min(start, size)))
            at = end
        if at < size:
            gaps.append((at, size))
        return gaps
