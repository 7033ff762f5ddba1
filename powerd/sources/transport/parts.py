"""Parts: how a file is cut for fetching in parallel, and what to ask a server for one. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_SMALLEST = 8 << 20
_LARGEST = 64 << 20
_MANY = 64


@dataclass(slots=True)
class Part:
    """Bytes still to come: from `at` up to `end` (exclusive; None: to the end of a file of unknown length)."""

    at: int
    end: int | None

    @property
    def done(self) -> bool:
        """Whether nothing is missing."""
        return self.end is not None and self.at >= self.end

    def ranged(self, total: int | None) -> bool:
        """Whether it has to be asked for by range, in a file of `total` bytes."""
        return self.at > 0 or (self.end is not None and self.end != total)

    def headers(self, total: int | None, validator: str) -> dict[str, str]:
        """The request headers that ask for it, and with `validator` (a strong ETag) for that version of the file."""
        if not self.ranged(total):
            return {}
        last = "" if self.end is None or self.end == total else self.end - 1
        return {"Range": f"bytes={self.at}-{last}"} | ({"If-Range": validator} if validator else {})


def part_size(total: int) -> int:
    """Bytes of one part of a file of `total`.

    Large enough that asking costs little, and small enough that the first ones, which are hashed while the rest is on
    its way, are soon complete.
    """
    return min(_LARGEST, max(_SMALLEST, total // _MANY))


def cut(gaps: Iterable[tuple[int, int]], size: int) -> list[Part]:
    """The gaps, in pieces of at most `size` bytes."""
    return [Part(at, min(at + size, end)) for start, end in gaps for at in range(start, end, size)]
