"""Sizes, times and counts as people read them, in Ollama's words (contract section 13). Pure."""

from __future__ import annotations

import re
from datetime import datetime

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_CONTROL_IN_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]+")
_MINUTE = 60
_HOUR = 3600


def size(count: int) -> str:
    """`count` bytes in decimal units: a whole number from 10 up, one decimal below."""
    for unit, factor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if count >= factor:
            value = count / factor
            return f"{int(value)} {unit}" if value >= 10 or count % factor == 0 else f"{value:.1f} {unit}"
    return f"{count} B"


def parameters(count: int) -> str:
    """A number of parameters: `3.2B`, `135.20M`, `12K`."""
    if count >= 10**9:
        return f"{count // 10**9}B" if count % 10**9 == 0 else f"{count / 10**9:.1f}B"
    if count >= 10**6:
        return f"{count / 10**6:.2f}M"
    return f"{count / 10**3:.0f}K" if count >= 10**3 else str(count)


def span(seconds: float) -> str:
    """A length of time in one rounded unit: `Less than a second`, `About an hour`, `3 weeks`."""
    whole = int(seconds)
    minutes = whole // _MINUTE
    hours = int(seconds / _HOUR + 0.5)
    if whole < 1:
        return "Less than a second"
    if whole < _MINUTE:
        return "1 second" if whole == 1 else f"{whole} seconds"
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    if hours == 1:
        return "About an hour"
    for unit, unit_hours, limit in (
        ("hours", 1, 48),
        ("days", 24, 24 * 14),
        ("weeks", 24 * 7, 24 * 60),
        ("months", 24 * 30, 24 * 365 * 2),
    ):
        if hours < limit:
            return f"{hours // unit_hours} {unit}"
    return f"{whole // _HOUR // 24 // 365} years"


def ago(then: float, now: float) -> str:
    """The moment `then` seen from `now`: `2 days ago`, `4 minutes from now`."""
    return f"{span(then - now)} from now" if then > now else f"{span(now - then)} ago"


def moment(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 time. Raises ValueError."""
    return datetime.fromisoformat(text).timestamp()


def brief(seconds: float) -> str:
    """A short remaining time: `48s`, `3m10s`, `1h02m`."""
    whole = int(seconds)
    if whole >= _HOUR:
        return f"{whole // _HOUR}h{whole % _HOUR // _MINUTE:02}m"
    return f"{whole // _MINUTE}m{whole % _MINUTE:02}s" if whole >= _MINUTE else f"{whole}s"


def nanoseconds(count: int) -> str:
    """A duration as Go prints it: `4.071084ms`, `1m2.5s`."""
    if count < 1000:
        return f"{count}ns" if count else "0s"
    for unit, factor in (("µs", 10**3), ("ms", 10**6)):
        if count < factor * 1000:
            return f"{_decimal(count, factor)}{unit}"
    hours, rest = divmod(count, _HOUR * 10**9)
    minutes, rest = divmod(rest, _MINUTE * 10**9)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{_decimal(rest, 10**9)}s"


def _decimal(count: int, factor: int) -> str:
    """`count / factor` exactly, without trailing zeros; `factor` is a power of ten."""
    whole, rest = divmod(count, factor)
    fraction = str(rest).zfill(len(str(factor)) - 1).rstrip("0")
    return f"{whole}.{fraction}" if fraction else str(whole)


def processor(total: int, on_gpu: int) -> str:
    """Where a runner's bytes are: `100% GPU`, `48%/52% CPU/GPU`."""
    if on_gpu == 0:
        return "100% CPU"
    if on_gpu == total:
        return "100% GPU"
    if on_gpu > total:
        return "Unknown"
    cpu = int((total - on_gpu) / total * 100 + 0.5)
    return f"{cpu}%/{100 - cpu}% CPU/GPU"


def plain(text: str) -> str:
    """`text` as one line that cannot steer a terminal: control characters become spaces."""
    return _CONTROL.sub(" ", text).strip()


def harmless(text: str) -> str:
    """`text` with its lines and tabs, without the other control characters."""
    return _CONTROL_IN_TEXT.sub("", text)
