"""Text: whole characters, hidden stop strings, and the same result however the bytes are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from powerd.runner.text import Text

ALPHABET = st.sampled_from("ab<|>é漢😀 ")


def told(pieces: list[bytes], stops: tuple[str, ...] = ()) -> tuple[str, str]:
    text = Text(stops)
    shown = ""
    for piece in pieces:
        shown += text.feed(piece)
        if text.stopped_by:
            break
    return shown + text.flush(), text.stopped_by


def cut(data: bytes, places: set[int]) -> list[bytes]:
    edges = [0, *sorted(place for place in places if place < len(data)), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def test_a_character_cut_in_two_is_held_back_until_it_is_whole() -> None:
    text = Text()
    assert [text.feed(piece) for piece in (b"a\xf0\x9f", b"\x98", b"\x80b")] == ["a", "", "😀b"]


def test_bytes_that_are_no_character_become_the_replacement_character() -> None:
    assert told([b"a\xff", b"b"]) == ("a\ufffdb", "")


def test_an_unfinished_character_at_the_end_becomes_one_replacement_character() -> None:
    assert told([b"a\xf0\x9f\x98"]) == ("a\ufffd", "")


def test_a_stop_string_across_tokens_is_never_shown_and_what_stands_before_it_is() -> None:
    text = Text(("<|end|>",))
    assert [text.feed(piece) for piece in (b"hello <", b"|en", b"d|", b"> more")] == ["hello ", "", "", ""]
    assert text.stopped_by == "<|end|>"
    assert text.flush() == ""


def test_a_false_start_of_a_stop_string_is_shown_as_soon_as_it_is_one() -> None:
    text = Text(("<|end|>",))
    assert [text.feed(piece) for piece in (b"1 <", b" 2 <", b"|", b"x")] == ["1 ", "< 2 ", "", "<|x"]


def test_held_text_is_shown_when_the_answer_ends() -> None:
    assert told([b"a <|en"], ("<|end|>",)) == ("a <|en", "")


def test_the_stop_string_complete_first_wins() -> None:
    assert told([b"xabcd"], ("abcd", "b")) == ("xa", "b")


def test_of_two_that_end_together_the_longer_wins() -> None:
    assert told([b"xabc"], ("bc", "abc")) == ("x", "abc")


def test_an_empty_stop_string_stops_nothing() -> None:
    assert told([b"abc"], ("",)) == ("abc", "")


@settings(deadline=None)
@given(
    st.text(ALPHABET, max_size=30),
    st.lists(st.text(ALPHABET, min_size=1, max_size=5), max_size=4).map(tuple),
    st.sets(st.integers(1, 60)),
)
def test_the_result_does_not_depend_on_how_the_text_was_cut(
    whole: str, stops: tuple[str, ...], places: set[int]
) -> None:
    data = whole.encode()
    shown, stop = told(cut(data, places), stops)
    assert (shown, stop) == told([data], stops)
    assert not any(other in shown for other in stops)
    assert whole.startswith(shown + stop)
    assert stop or shown == whole


@settings(deadline=None)
@given(st.binary(max_size=40), st.sets(st.integers(1, 40)))
def test_any_bytes_come_out_as_python_would_decode_them(data: bytes, places: set[int]) -> None:
    assert told(cut(data, places))[0] == data.decode(errors="replace")


@pytest.mark.parametrize("stops", [tuple("a" * 255 + chr(98 + i) for i in range(20))])
def test_hostile_stop_strings_cost_no_more_than_their_length(stops: tuple[str, ...]) -> None:
    assert told([b"a"] * 2000, stops) == ("a" * 2000, "")
