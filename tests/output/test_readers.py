"""What holds for every reader and any text: no exception, the same pieces for every cut, nothing lost."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.output.corpus import CORPUS, Case, Expected, fragments, read

EXAMPLES = settings(max_examples=40, deadline=None, derandomize=True, database=None)
STEMS = sorted(CORPUS)
#: What channels, recipients and types are called is no text of the answer.
HEADERS = re.compile(r"(?:<\|(?:start|channel|constrain)\|>|to=)[^<]*")


@st.composite
def written(draw: st.DrawFn, cases: list[Case]) -> tuple[str, list[str]]:
    """A random mixture of a format's own words, whole and broken answers, and odd text; and the words strewn into it.

    Each strewn word is unique and made of letters, so that it can be found again wherever it ends up.
    """
    texts = [case.text for case in cases]
    whole = st.sampled_from(texts)
    broken = st.tuples(whole, st.integers(0, 400)).map(lambda drawn: drawn[0][: drawn[1]])
    mark = st.sampled_from(fragments(texts))
    part = st.one_of(mark, mark, mark, whole, broken, st.text(max_size=6), st.just(" "), st.just("\n"), st.none())
    parts = draw(st.lists(part, max_size=24))
    words = [f"zq{chr(97 + index)}qz" if part is None else "" for index, part in enumerate(parts)]
    text = "".join(word or part or "" for word, part in zip(words, parts, strict=True))
    return text, [word for word in words if word]


def cut(text: str, places: set[int]) -> list[str]:
    edges = sorted({0, len(text)} | {place for place in places if place < len(text)})
    return [text[start:end] for start, end in pairwise(edges)]


def all_of(pieces: Expected) -> str:
    return " ".join(kind + text for kind, text in pieces)


@pytest.mark.parametrize("stem", STEMS)
def test_every_cut_gives_the_same_pieces_and_nothing_is_lost(stem: str) -> None:
    """No word is lost; and where nothing was a call or a thought, the content is the text, character by character."""
    cases = CORPUS[stem]
    tagged = cases[0].format.harmony or cases[0].format.thinking is not None

    @EXAMPLES
    @given(st.sampled_from(cases), written(cases), st.sets(st.integers(1, 400), max_size=8))
    def check(case: Case, drawn: tuple[str, list[str]], places: set[int]) -> None:
        text, words = drawn
        whole = read(case.reader(), [text])
        assert read(case.reader(), list(text)) == whole
        assert read(case.reader(), cut(text, places)) == whole
        told = HEADERS.sub("", text) if case.format.harmony else text
        assert [word for word in words if word in told and word not in all_of(whole)] == []
        if not tagged and all(kind == "content" for kind, _ in whole):
            assert "".join(said for _, said in whole) == text

    check()
