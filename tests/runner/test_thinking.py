"""Where an answer thinks, and when its thinking must end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powerd.protocol import Thinking
from powerd.runner.thinking import Budget, Thoughts

TAGS = Thinking("<think>", "</think>")
INSIDE = Thinking("<think>", "</think>", inside=True)
CHANNEL = Thinking("<|channel|>analysis<|message|>", "<|end|>")


def followed(thinking: Thinking, *pieces: str, anywhere: bool = False) -> tuple[bool, bool]:
    """(inside, over) after these pieces."""
    thoughts = Thoughts(thinking, anywhere=anywhere)
    for piece in pieces:
        thoughts.feed(piece.encode())
    return thoughts.inside, thoughts.over


@pytest.mark.parametrize(
    ("thinking", "text", "inside", "over"),
    [
        (TAGS, "", False, False),
        (TAGS, " \n\n", False, False),
        (TAGS, "\n<thi", False, False),
        (TAGS, "\n<think>hm", True, False),
        (TAGS, "<think>hm</think>answer", False, True),
        (TAGS, "<think>hm</think><think>", False, True),
        (TAGS, "Use <think> tags", False, True),
        (TAGS, "<thin air>", False, True),
        (INSIDE, "", True, False),
        (INSIDE, "hm </thin", True, False),
        (INSIDE, "hm </think>x", False, True),
        (Thinking("", "</think>"), "", False, True),
        (Thinking("", "</think>", inside=True), "a", True, False),
        (Thinking("<think>", "", inside=True), "a", True, True),
    ],
)
def test_tags_are_followed(thinking: Thinking, text: str, inside: bool, over: bool) -> None:
    assert followed(thinking, text) == (inside, over)


def test_a_control_token_may_open_thinking_again_and_anywhere() -> None:
    again = "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>analysis<|message|>b"
    assert followed(CHANNEL, again, anywhere=True) == (True, False)
    assert followed(CHANNEL, again + "<|end|>x", anywhere=True) == (False, False)
    assert followed(CHANNEL, again) == (False, True)


BITS = st.lists(st.sampled_from(["<think>", "</think>", "<th", "ink>", "</", " ", "\n", "word", "é", "<"]), max_size=12)


@given(BITS, st.data(), st.booleans(), st.booleans())
def test_every_cut_of_a_text_gives_the_same(bits: list[str], data: st.DataObject, anywhere: bool, inside: bool) -> None:
    text = "".join(bits).encode()
    thinking = Thinking("<think>", "</think>", inside=inside)
    whole, cut = (Thoughts(thinking, anywhere=anywhere) for _ in range(2))
    whole.feed(text)
    while text:
        size = data.draw(st.integers(1, len(text)))
        cut.feed(text[:size])
        text = text[size:]
    assert (cut.inside, cut.over) == (whole.inside, whole.over)


def spent_after(budget: Budget, *pieces: bytes) -> int | None:
    """After how many pieces the budget is spent."""
    for number, piece in enumerate(pieces):
        if budget.spent:
            return number
        budget.feed(piece)
    return len(pieces) if budget.spent else None


def budget(tokens: int, *, inside: bool = True) -> Budget:
    return Budget(Thinking("<think>", "</think>", inside=inside, budget=tokens))


def test_a_budget_counts_the_tokens_of_thinking() -> None:
    assert spent_after(budget(0), b"a") == 0
    assert spent_after(budget(3), *[b"a"] * 9) == 3
    assert spent_after(budget(3), b"a", b"b", b"</think>", *[b"c"] * 9) is None
    assert spent_after(budget(2, inside=False), b"\n", b"<think>", b"a", b"b", b"c") == 4
    assert spent_after(budget(0, inside=False), b"<thi", b"nk>", b"a") == 2
    assert spent_after(budget(0, inside=False), *[b"a"] * 9) is None


def test_a_budget_does_not_end_thinking_in_the_middle_of_a_character() -> None:
    fox = "🦊".encode()
    assert spent_after(budget(2), b"a", fox[:1], fox[1:2], fox[2:3], fox[3:], b"b") == 5
    assert spent_after(budget(1), *[b"\xf0"] * 20) == 5
    assert spent_after(budget(1), b"\x80", b"b") == 1


def test_an_ended_thinking_counts_on_when_it_opens_again() -> None:
    made = Budget(Thinking(CHANNEL.open, CHANNEL.close, budget=1), anywhere=True)
    assert spent_after(made, CHANNEL.open.encode(), b"a") == 2
    made.thoughts.end()
    assert not made.spent
    made.feed(CHANNEL.open.encode())
    assert made.spent
