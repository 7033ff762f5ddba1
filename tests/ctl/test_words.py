from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powerd.ctl import words

HOUR = 3600
DAY = 24 * HOUR


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 KB"),
        (1500, "1.5 KB"),
        (9_999, "10.0 KB"),
        (10_900, "10 KB"),
        (2_019_377_376, "2.0 GB"),
        (2_000_000_000, "2 GB"),
        (19_876_543_210, "19 GB"),
        (1_234_000_000_000, "1.2 TB"),
    ],
)
def test_sizes_are_decimal_and_whole_from_ten_up(count: int, text: str) -> None:
    assert words.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "Less than a second"),
        (1.9, "1 second"),
        (59.9, "59 seconds"),
        (60, "About a minute"),
        (119, "About a minute"),
        (120, "2 minutes"),
        (59 * 60 + 59, "59 minutes"),
        (HOUR, "About an hour"),
        (1.4 * HOUR, "About an hour"),
        (1.5 * HOUR, "2 hours"),
        (47.4 * HOUR, "47 hours"),
        (47.6 * HOUR, "2 days"),
        (13 * DAY, "13 days"),
        (14 * DAY, "2 weeks"),
        (59 * DAY, "8 weeks"),
        (60 * DAY, "2 months"),
        (729 * DAY, "24 months"),
        (730 * DAY, "2 years"),
        (3650 * DAY, "10 years"),
    ],
)
def test_spans_use_the_contracts_words(seconds: float, text: str) -> None:
    assert words.span(seconds) == text


def test_moments_are_told_from_now() -> None:
    assert words.ago(1000, 1000 + 2 * DAY) == "2 days ago"
    assert words.ago(1000 + 240, 1000) == "4 minutes from now"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:10Z", 10.0),
        ("1970-01-01T00:00:00.123456789Z", 0.123456),
        ("1970-01-01T02:00:00.5+02:00", 0.5),
    ],
)
def test_rfc3339_times_with_nanoseconds_and_offsets_are_read(text: str, seconds: float) -> None:
    assert words.moment(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "yesterday", "0001-99-01T00:00:00Z"])
def test_what_is_no_time_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        words.moment(text)


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0s"), (48, "48s"), (190, "3m10s"), (3720, "1h02m")])
def test_remaining_times_are_brief(seconds: float, text: str) -> None:
    assert words.brief(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0s"),
        (999, "999ns"),
        (1_500, "1.5µs"),
        (4_071_084, "4.071084ms"),
        (130_079_000, "130.079ms"),
        (4_648_158_584, "4.648158584s"),
        (62_500_000_000, "1m2.5s"),
        (3_600_000_000_000, "1h0m0s"),
    ],
)
def test_durations_read_as_go_prints_them(count: int, text: str) -> None:
    assert words.nanoseconds(count) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(12, "12"), (12_300, "12K"), (135_200_000, "135.20M"), (3_212_749_888, "3.2B"), (7 * 10**9, "7B")],
)
def test_parameter_counts(count: int, text: str) -> None:
    assert words.parameters(count) == text


@pytest.mark.parametrize(
    ("total", "gpu", "text"),
    [
        (100, 0, "100% CPU"),
        (0, 0, "100% CPU"),
        (100, 100, "100% GPU"),
        (100, 52, "48%/52% CPU/GPU"),
        (100, 200, "Unknown"),
    ],
)
def test_processor_tells_where_the_bytes_are(total: int, gpu: int, text: str) -> None:
    assert words.processor(total, gpu) == text


@given(st.text())
def test_no_text_can_steer_a_terminal(text: str) -> None:
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in words.plain(text))
    kept = words.harmless(text)
    assert not any((ord(each) < 32 and each not in "\n\t") or 127 <= ord(each) < 160 for each in kept)
    assert kept.count("\n") == text.count("\n")
