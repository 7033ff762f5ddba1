from __future__ import annotations

import re

import pytest

from powerd.ctl.wrap import Wrap, columns


def seen(text: str) -> list[str]:
    """What a terminal shows of text that takes its end back and goes on in the next line."""
    lines = [""]
    for piece in re.split(r"(\x1b\[\d+D\x1b\[K|\n)", text):
        back = re.match(r"\x1b\[(\d+)D", piece)
        if back:
            kept, gone = lines[-1], int(back[1])
            while gone > 0:
                gone -= columns(kept[-1])
                kept = kept[:-1]
            lines[-1] = kept
        elif piece == "\n":
            lines.append("")
        else:
            lines[-1] += piece
    return lines


@pytest.mark.parametrize("size", [1, 3, 100])
def test_words_begin_the_next_line_whole(size: int) -> None:
    text = "the quick brown fox jumps over the lazy dog\nand goes home"
    wrap = Wrap(25)
    lines = seen("".join(wrap.feed(text[at : at + size]) for at in range(0, len(text), size)))
    assert [line.rstrip() for line in lines] == ["the quick brown fox", "jumps over the lazy", "dog", "and goes home"]


def test_a_word_longer_than_the_line_is_broken() -> None:
    assert seen(Wrap(15).feed("x" * 25)) == ["x" * 10, "x" * 10, "x" * 5]


def test_wide_characters_take_two_columns() -> None:
    lines = seen(Wrap(15).feed("漢字漢字漢字漢字"))
    assert lines == ["漢字漢字漢", "字漢字"]
    assert columns("e\u0301") == 1


def test_a_very_narrow_terminal_is_left_alone() -> None:
    assert Wrap(8).feed("some long words here") == "some long words here"
