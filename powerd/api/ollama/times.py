"""Times as Go writes them (pure)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

#: The longest duration Go can hold; "for ever" is shown as an expiry this far away (contract section 1.9).
FOR_EVER = timedelta(microseconds=(2**63 - 1) // 1000)


def utc(now: int) -> str:
    """RFC 3339 in UTC with the zeros of the fraction trimmed; `now` in nanoseconds since the epoch."""
    seconds, fraction = divmod(now, 10**9)
    return f"{_second(seconds)}.{fraction:09d}".rstrip("0").rstrip(".") + "Z"


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    """The part of a time that all the tokens of one second share."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def local(moment: datetime) -> str:
    """RFC 3339 with the moment's own offset and the zeros of the fraction trimmed."""
    text = moment.isoformat(timespec="microseconds")
    head, offset = text[:26], text[26:]
    return head.rstrip("0").rstrip(".") + ("Z" if offset == "+00:00" else offset)
