"""Durations and sizes as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powerd.quantities import parse_duration, parse_size, show_bytes


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5m", 300),
        ("1h30m", 5400),
        ("500ms", 0.5),
        ("-1m", -60),
        ("0", 0),
        ("1.5h", 5400),
        ("2d", 172800),
        ("24h", 86400),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["10", "-1", "1.5"])
def test_a_number_without_a_unit_is_told_apart(text: str) -> None:
    with pytest.raises(ValueError, match="missing unit in duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["", "m", "5x", "5m x", "٥m", "1e3s", "--5m", "always"])
def test_nonsense_durations(text: str) -> None:
    with pytest.raises(ValueError, match="invalid duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("12GiB", 12 << 30), ("40GB", 40 * 10**9), ("1.5 MiB", 3 << 19), ("7b", 7)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "-1", "1XB", "1e9", "1 G i B"])
def test_nonsense_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="invalid size"):
        parse_size(text)


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_duration, parse_size):
        try:
            parse(text)
        except ValueError:
            continue


def test_bytes_for_people() -> None:
    assert [show_bytes(size) for size in (0, 1023, 1 << 20, 3 << 39)] == ["0 B", "1023 B", "1.0 MiB", "1.5 TiB"]
