"""Marks in a stream."""

from __future__ import annotations

import pytest

from powerd.output.marks import BLANK, marks, past


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", None),
        ("plain", None),
        ("a <b>", None),
        ("a <call> b", (2, "<call>")),
        ("a [x] <call>", (2, "[x]")),
        ("a <ca", (2, None)),
        ("a <", (2, None)),
        ("<ca<call>", (3, "<call>")),
        ("<ca<ca", (3, None)),
        ("<call", (0, None)),
    ],
)
def test_the_first_mark_whole_or_in_part_at_the_end(text: str, found: tuple[int, str | None] | None) -> None:
    assert marks("<call>", "[x]").search(text) == found


def test_marks_are_no_patterns() -> None:
    assert marks("a.c(").search("abc( a.c(") == (5, "a.c(")


def test_a_single_character_is_never_partial() -> None:
    assert marks("{").search("a{") == (1, "{")
    assert marks("{").search("a") is None


def test_searching_from_somewhere() -> None:
    assert marks("<a>").search("<a><a>", 1) == (3, "<a>")


def test_past() -> None:
    assert past(BLANK, "a \n b", 1) == 4
    assert past(BLANK, "ab", 1) == 1
