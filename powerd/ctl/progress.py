"""Progress of a transfer as text: a bar for a terminal, a line every tenth for a log. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from powerd.ctl import words
from powerd.ctl.terminal import Style

_WINDOW = 5.0  # seconds the rate is taken over
_WIDEST = 50
_NARROWEST = 5
_GAUGE = 20
_EIGHTHS = " ▏▎▍▌▋▊▉"


class Meter:
    """The rate of one transfer over the last seconds; bytes that were there before it began do not count."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def feed(self, completed: int, now: float) -> None:
        """Note how far it is."""
        self._samples.append((now, completed))
        while len(self._samples) > 2 and now - self._samples[1][0] >= _WINDOW:
            self._samples.popleft()

    @property
    def rate(self) -> float:
        """Bytes a second; 0 while it cannot be told."""
        if len(self._samples) < 2:
            return 0.0
        (began, first), (ended, last) = self._samples[0], self._samples[-1]
        return max(0.0, (last - first) / (ended - began)) if ended > began else 0.0


def bar(label: str, completed: int, total: int, rate: float, style: Style) -> str:
    """One line: label, per cent, bar, bytes, rate and time left. Without a width there is no bar."""
    if total <= 0:
        return f"{label} {words.size(completed)}{_speed(rate)}"
    completed = min(completed, total)
    left = f"{label} {completed * 100 // total:3}% "
    if completed == total:
        right = words.size(total)
    else:
        remaining = f" {words.brief((total - completed) / rate)}" if rate >= 1 else ""
        right = f"{words.size(completed)}/{words.size(total)}{_speed(rate)}{remaining}"
    room = min(_WIDEST, (style.width or 0) - len(left) - len(right) - 4)
    if room < _NARROWEST:
        return left + right
    return f"{left}▕{_filled(completed, total, room)}▏ {right}"


def gauge(fraction: float, style: Style) -> str:
    """How full something is, as a short bar; "" where there is no terminal."""
    part = min(max(fraction, 0.0), 1.0)
    return f"▕{_filled(round(part * 1000), 1000, _GAUGE)}▏ " if style.width else ""


def _speed(rate: float) -> str:
    return f" {words.size(int(rate))}/s" if rate >= 1 else ""


def _filled(completed: int, total: int, room: int) -> str:
    whole, eighths = divmod(completed * room * 8 // total, 8)
    return ("█" * whole + (_EIGHTHS[eighths] if whole < room else "")).ljust(room)


class Bars:
    """A pull on a terminal: every step keeps its line, transfers as bars."""

    def __init__(self, style: Style) -> None:
        self._style = style
        self._meters: dict[str, Meter] = {}
        self._lines: dict[str, str] = {}

    def feed(self, step: Mapping[str, Any], now: float) -> None:
        """Take one progress object of `/api/pull`."""
        status, digest, total, completed = read(step)
        if digest:
            meter = self._meters.setdefault(digest, Meter())
            meter.feed(completed, now)
            self._lines[digest] = bar(f"{status}:", completed, total, meter.rate, self._style)
        else:
            self._lines[status] = status

    @property
    def lines(self) -> list[str]:
        """What the terminal should show; no line wraps, or the next redraw would miss its place."""
        return [line[: self._style.width] for line in self._lines.values()]


class Log:
    """A pull in a log or pipe: each step once, a transfer again at every full tenth."""

    def __init__(self) -> None:
        self._said: set[tuple[str, int]] = set()

    def feed(self, step: Mapping[str, Any]) -> str | None:
        """The line to print for one progress object of `/api/pull`, if it says something new."""
        status, digest, total, completed = read(step)
        tenth = completed * 10 // total if digest and total > 0 else 0
        if (status, tenth) in self._said:
            return None
        self._said.add((status, tenth))
        return bar(f"{status}:", completed, total, 0.0, Style()) if digest else status


def read(step: Mapping[str, Any]) -> tuple[str, str, int, int]:
    """Status, digest ("" = not a transfer), total and completed bytes of a progress object."""
    digest, total, completed = step.get("digest"), step.get("total"), step.get("completed")
    return (
        words.plain(str(step.get("status", ""))),
        digest if isinstance(digest, str) else "",
        total if isinstance(total, int) else 0,
        completed if isinstance(completed, int) else 0,
    )
