from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powerd.output.grammars.pattern import fault


@pytest.mark.parametrize(
    "pattern",
    [
        "^[A-Z]{2}-[0-9]{3}$",
        r"^\d+(\.\d{1,2})?$",
        r"^(?:[a-z]+ ?)+$",
        r"^(?P<year>\d{4})-(?<month>\d\d)$",
        r"[]a-z]+|[^]]",
        r"\{a{2,}?\}",
        "(?i)yes|no",
        r"\p{L}+",
        "",
    ],
)
def test_ordinary_patterns_pass(pattern: str) -> None:
    assert fault(pattern) == ""


@pytest.mark.parametrize(
    ("pattern", "word"),
    [
        ("(" * 5000, "longer than 512 bytes"),
        ("(" * 200 + "a" + ")" * 200, "deeper than 32"),
        ("(?<=x)*", "looks behind"),
        ("(?<!x)y", "looks behind"),
        ("(?=x)y", "looks ahead"),
        ("(?!x)y", "looks ahead"),
        (r"(a)\1", "refers back"),
        (r"(?P<x>a)(?P=x)", "refers back"),
        (r"(?<x>a)\k<x>", "refers back"),
        ("(a+)+$", "already repeats without limit"),
        ("(?:a*)*", "already repeats without limit"),
        ("a{1,1000000}", "more than 1000 times"),
        ("((a{1,100}){1,100}){1,100}", "more than 1000 times"),
        ("(?>a)", "cannot be matched"),
        ("*a", "repeats nothing"),
        ("a**", "repeats nothing"),
        ("(a", "not closed"),
        ("a)", "not opened"),
        ("[a", "not closed"),
        ("a\\", "lone backslash"),
    ],
)
def test_h17_patterns_that_cost_too_much_or_cannot_be_matched_are_named(pattern: str, word: str) -> None:
    assert word in fault(pattern)


@given(st.text(alphabet="()[]{}*+?|\\^$.,ab09:=!<>P-", max_size=80))
def test_no_pattern_makes_the_check_fail(pattern: str) -> None:
    fault(pattern)


def test_the_check_is_fast() -> None:
    begun = time.process_time()
    for pattern in ("(" * 512, "a{1,9}" * 85, "[" * 512, "(a|b)*" * 80):
        fault(pattern)
    assert time.process_time() - begun < 0.05
