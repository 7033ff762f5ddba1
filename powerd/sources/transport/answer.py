"""What an HTTP answer means for a download of which some bytes may be here already. Pure."""

from __future__ import annotations

import email.utils
import http
import re
from collections.abc import Mapping
from dataclasses import dataclass

from powerd.errors import SourceFailed

_RETRIED = {408, 425, 429}
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", re.ASCII)
_LENGTH = re.compile(r"[0-9]{1,18}", re.ASCII)
_LONGEST_WAIT = 60.0


@dataclass(frozen=True, slots=True)
class Whole:
    """The body is all bytes from the first; `total` of them, where that is said."""

    total: int | None
    validator: str  # a strong ETag, to make sure that a later rest is of the same file; empty without one


@dataclass(frozen=True, slots=True)
class Rest:
    """The body is what is missing."""

    total: int | None


@dataclass(frozen=True, slots=True)
class Complete:
    """There was nothing missing."""


@dataclass(frozen=True, slots=True)
class Again:
    """Another try may do better, after `wait` seconds (None: as patience says), from the start if so said."""

    reason: str
    wait: float | None = None
    from_start: bool = False


Answer = Whole | Rest | Complete | Again


def judge(
    status: int, headers: Mapping[str, str], at: int, total: int | None, now: float, until: int | None = None
) -> Answer:
    """Judge a final answer to a request for the bytes from `at` on, of `total`.

    With `until`, those up to it (exclusive) were asked for, by range even from the first byte. `now` is seconds since
    the epoch, for dates in Retry-After. Raises SourceFailed for what no other try will mend.
    """
    again = busy(status, headers, now)
    if again is not None:
        return again
    encoding = headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise SourceFailed(f"unexpected Content-Encoding {encoding[:20]!r}")
    ranged = at > 0 or until is not None
    if status == 200:
        length, etag = headers.get("content-length", ""), headers.get("etag", "")
        return Whole(int(length) if _LENGTH.fullmatch(length) else None, etag if etag.startswith('"') else "")
    if status == 206 and ranged:
        return _rest(headers.get("content-range", ""), at, total, until)
    if status == 416 and ranged:
        return Complete() if at == total else Again("the server could not resume", 0.0, from_start=True)
    raise SourceFailed(phrase(status))


def busy(status: int, headers: Mapping[str, str], now: float) -> Again | None:
    """What a status says that will pass by itself; None for others. `now` is seconds since the epoch."""
    if status in _RETRIED or status >= 500:
        return Again(phrase(status), _retry_after(headers.get("retry-after", ""), now) if status == 429 else None)
    return None


def _rest(text: str, at: int, total: int | None, until: int | None) -> Rest | Again:
    match = _CONTENT_RANGE.fullmatch(text)
    said = None if match is None or match[3] == "*" else int(match[3])
    if match is None or int(match[1]) != at or (said is not None and total is not None and said != total):
        return Again("the server resumed at the wrong place", 0.0, from_start=True)
    if until is not None and int(match[2]) >= until:
        return Again("the server sent another range than was asked for", 0.0, from_start=True)
    return Rest(total if said is None else said)


def phrase(status: int) -> str:
    """A status in words, the server's own left out."""
    try:
        return f"the server answered {status} {http.HTTPStatus(status).phrase}"
    except ValueError:
        return f"the server answered {status}"


def _retry_after(text: str, now: float) -> float | None:
    """Seconds to wait, at most a minute; None where the header says nothing sensible."""
    if _LENGTH.fullmatch(text):
        return min(float(text), _LONGEST_WAIT)
    try:
        until = email.utils.parsedate_to_datetime(text).timestamp() - now
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(until, 0.0), _LONGEST_WAIT)
