"""Arrival times of streamed tokens, and the figures made of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class Stream:
    """One answer as it arrived: `marks` are (seconds, tokens so far)."""

    def __init__(self, sent: float) -> None:
        self.sent = sent
        self.tokens = 0
        self.marks: list[tuple[float, int]] = []

    def add(self, now: float, tokens: int) -> None:
        """`tokens` more arrived at `now`."""
        self.tokens += tokens
        self.marks.append((now, self.tokens))

    @property
    def first(self) -> float:
        """Seconds from the request to its first token."""
        return self.marks[0][0] - self.sent

    @property
    def gaps(self) -> list[float]:
        """Seconds between arrivals."""
        return [later[0] - earlier[0] for earlier, later in zip(self.marks, self.marks[1:], strict=False)]

    def between(self, start: float, end: float) -> int:
        """Tokens that arrived after `start` and up to `end`."""
        return sum(
            later[1] - earlier[1]
            for earlier, later in zip(self.marks, self.marks[1:], strict=False)
            if start < later[0] <= end
        )


def rate(streams: Sequence[Stream]) -> float:
    """Tokens per second of all together, while all of them were generating."""
    start = max(stream.marks[0][0] for stream in streams)
    end = min(stream.marks[-1][0] for stream in streams)
    return sum(stream.between(start, end) for stream in streams) / (end - start)


def quantile(values: Iterable[float], part: float) -> float:
    """The value that `part` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def milliseconds(streams: Sequence[Stream]) -> dict[str, float]:
    """The gaps of all streams: usual, 99th percentile, worst."""
    gaps = [gap for stream in streams for gap in stream.gaps]
    parts = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {f"gap_ms_{name}": round(1e3 * quantile(gaps, part), 2) for name, part in parts.items()}
