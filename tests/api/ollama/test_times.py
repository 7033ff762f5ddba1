"""Times as Go writes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from powerd.api.ollama import times

NOW = 1_787_306_400_100_000_000  # 2026-08-21T10:00:00.1Z


@pytest.mark.parametrize(
    ("now", "text"),
    [
        (NOW, "2026-08-21T10:00:00.1Z"),
        (NOW - 100_000_000, "2026-08-21T10:00:00Z"),
        (NOW + 23, "2026-08-21T10:00:00.100000023Z"),
        (0, "1970-01-01T00:00:00Z"),
        (10**9 * 60 + 500, "1970-01-01T00:01:00.0000005Z"),
    ],
)
def test_created_at_is_utc_with_its_zeros_trimmed(now: int, text: str) -> None:
    assert times.utc(now) == text


def test_other_times_carry_their_offset() -> None:
    west = timezone(timedelta(hours=-7))
    assert times.local(datetime(2026, 8, 21, 10, 5, 0, 500000, west)) == "2026-08-21T10:05:00.5-07:00"
    assert times.local(datetime(2026, 8, 21, 10, 5, 0, 0, west)) == "2026-08-21T10:05:00-07:00"
    assert times.local(datetime(2026, 8, 21, 10, 5, 10, 0, UTC)) == "2026-08-21T10:05:10Z"
    assert times.local(datetime(2026, 1, 1, tzinfo=UTC) + times.FOR_EVER).startswith("2318-")
