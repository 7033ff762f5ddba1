"""YAML 1.2's core schema."""

from __future__ import annotations

import math

import pytest

from powerd.catalog.scalars import Plain, resolve


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("NULL", None),
        ("nULL", "nULL"),
        ("true", True),
        ("False", False),
        ("tRUE", "tRUE"),
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("No", "No"),
        ("y", "y"),
        ("0", 0),
        ("-12", -12),
        ("+7", 7),
        ("017", 17),
        ("0o17", 15),
        ("0o8", "0o8"),
        ("-0o17", "-0o17"),
        ("0x1F", 31),
        ("0xg", "0xg"),
        ("0b11", "0b11"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("1e3", 1000.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("-1.5E-1", -0.15),
        (".", "."),
        ("-", "-"),
        ("1.2.3", "1.2.3"),
        ("2024-01-01", "2024-01-01"),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("inf", "inf"),
        ("nan", "nan"),
        ("٣", "٣"),
        ("1٣", "1٣"),
    ],
)
def test_y04_an_unquoted_scalar_means_what_yaml_1_2_says(text: str, value: Plain) -> None:
    got = resolve(text)
    assert got == value
    assert type(got) is type(value)


def test_y04_not_a_number_is_a_float() -> None:
    got = resolve(".nan")
    assert isinstance(got, float)
    assert math.isnan(got)


@pytest.mark.parametrize("text", ["9" * 65, "0x" + "f" * 5000, "1" * 100 + ".5"])
def test_a_number_nobody_can_mean_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a number of"):
        resolve(text)
