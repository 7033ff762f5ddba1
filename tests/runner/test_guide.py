"""Guides over a toy vocabulary: every byte, a few longer tokens, one control token and an end."""

from __future__ import annotations

import re
from collections.abc import Sequence

import llguidance
import pytest

from powerd.protocol import Constraint, Thinking
from powerd.runner.guide import Grammars, Guide, Unit, Words
from powerd.runner.thinking import Thoughts
from powerd.runner.token import Stuck

LONG = (b"<call>", b">{", b">[", b"</think>{", b"</think>x", b"<think>", b"all", b" {")
CONTROL, END = 256 + len(LONG), 257 + len(LONG)
PIECES = [*(bytes([value]) for value in range(256)), *LONG, b"", b""]


class _Toy:
    eos_token_id = END
    bos_token_id = None
    tokens = (*PIECES[:CONTROL], b"\xff<mark>", b"\xff<end>")
    special_token_ids = (CONTROL, END)

    def __call__(self, text: bytes | str) -> list[int]:
        return list(text.encode() if isinstance(text, str) else text)


TOKENIZER = llguidance.LLTokenizer(llguidance.TokenizerWrapper(_Toy()), n_vocab=END + 1, eos_token=END)


def units(text: str) -> list[Unit]:
    parts: list[Unit] = []
    for part in re.split(r"(<mark>)", text):
        if part:
            parts.append(CONTROL if part == "<mark>" else part.encode())
    return parts


WORDS = Words(
    piece=lambda token: b"<mark>" if token == CONTROL else PIECES[token],
    ends=(END,),
    units=units,
    letters={value: value for value in range(256)},
)


def guide(constraint: Constraint, thinking: Thinking | None = None) -> Guide:
    def made(text: str) -> llguidance.LLMatcher:
        matcher = llguidance.LLMatcher(TOKENIZER, text.replace('"<mark>"', f"<[{CONTROL}]>"), log_level=0)
        assert not matcher.is_error(), matcher.get_error()
        return matcher

    opening = constraint.grammar.replace("start:", "answer:")
    opening = f'start: answer | opening\nopening: "<think>" /(?s:.*)/?\n{opening}'
    opens = None if thinking is None or constraint.triggers else lambda: made(opening)
    return Guide(
        constraint, Grammars(lambda: made(constraint.grammar), opens), WORDS, Thoughts(thinking) if thinking else None
    )


def tokens(text: str, *longer: bytes) -> list[int]:
    """`text` a byte a token, but for the longer tokens named."""
    data, found = text.encode(), []
    while data:
        taken = next((piece for piece in longer if data.startswith(piece)), data[:1])
        found.append(PIECES.index(taken))
        data = data[len(taken) :]
    return found


def follows(guided: Guide, sequence: Sequence[int]) -> bool:
    return all(guided.follow(token) for token in sequence)


def allowed(guided: Guide) -> set[bytes] | None:
    mask = guided.mask()
    if mask is None:
        return None
    return {PIECES[token] for token in range(END + 1) if mask[token // 8] >> (token % 8) & 1}


CALL = Constraint('start: "<call>" "[" /x/ "]"\n', ("<call>",))


def test_without_triggers_the_grammar_holds_from_the_first_token_to_the_end() -> None:
    guided = guide(Constraint('start: "ab"\n'))
    assert allowed(guided) == {b"a"}
    assert follows(guided, tokens("ab"))
    assert allowed(guided) == {b""}
    assert guided.follow(END)


@pytest.mark.parametrize("longer", [(), (b"<call>",), (b"all",)])
def test_text_is_free_until_a_trigger_however_it_is_cut(longer: tuple[bytes, ...]) -> None:
    guided = guide(CALL)
    assert follows(guided, tokens("Well, <cal <call", *longer))
    assert allowed(guided) is None
    assert follows(guided, tokens(">"))
    assert allowed(guided) == {b"["}
    assert follows(guided, tokens("[x"))
    assert allowed(guided) == {b"]"}
    assert follows(guided, tokens("]"))
    assert allowed(guided) is None
    assert follows(guided, tokens(" and <call>", *longer))
    assert allowed(guided) == {b"["}


def test_a_token_that_goes_on_after_the_trigger_must_fit() -> None:
    guided = guide(CALL)
    assert follows(guided, tokens("<call"))
    assert not guided.follow(PIECES.index(b">{"))
    assert allowed(guided) is None
    assert guided.follow(PIECES.index(b">["))
    assert allowed(guided) == {b"x"}


def test_a_text_let_go_waits_for_the_next_trigger() -> None:
    guided = guide(CALL)
    assert follows(guided, tokens("<call"))
    guided.skip(PIECES.index(b">{"))
    assert allowed(guided) is None
    assert follows(guided, tokens("} <call>"))
    assert allowed(guided) == {b"["}


def test_a_control_token_can_be_a_trigger() -> None:
    guided = guide(Constraint('start: "<mark>" "[" /x/ "]"\n', ("<mark>[",)))
    assert follows(guided, [*tokens("so "), CONTROL, *tokens("[")])
    assert allowed(guided) == {b"x"}


def test_a_trigger_that_must_be_first_may_follow_blanks_only() -> None:
    first = Constraint('start: "<call>" "[" /x/ "]"\n', ("<call>",), first=True)
    guided = guide(first)
    assert follows(guided, tokens(" \n<call>"))
    assert allowed(guided) == {b"["}
    late = guide(first)
    assert follows(late, tokens("a <call>"))
    assert allowed(late) is None


def test_the_end_of_what_was_triggered_can_be_the_answers() -> None:
    guided = guide(Constraint('start: "<call>" "[" /x/ "]"\n', ("<call>",), once=True))
    assert follows(guided, tokens("so <call>[x]"))
    assert allowed(guided) == {b""}


THINKING = Thinking("<think>", "</think>")
INSIDE = Thinking("<think>", "</think>", inside=True)
OBJECT = Constraint('start: "{" /[0-9]/ "}"\n')


def test_an_answer_may_think_first_or_begin_at_once() -> None:
    guided = guide(OBJECT, THINKING)
    assert allowed(guided) == {b"<", b"<think>", b"{"}
    assert follows(guided, tokens("<think>{} <call>"))
    assert allowed(guided) is None
    assert guided.owes
    assert follows(guided, tokens("</think>"))
    assert allowed(guided) == {b"{"}
    at_once = guide(OBJECT, THINKING)
    assert follows(at_once, tokens("{1"))
    assert allowed(at_once) == {b"}"}


def test_thinking_the_prompt_began_comes_before_the_grammar() -> None:
    guided = guide(OBJECT, INSIDE)
    assert allowed(guided) is None
    assert guided.owes
    assert follows(guided, tokens("so {1"))
    assert not guided.follow(PIECES.index(b"</think>x"))
    assert guided.follow(PIECES.index(b"</think>{"))
    assert b"7" in (allowed(guided) or ())


def test_triggers_do_not_count_in_thinking() -> None:
    guided = guide(CALL, INSIDE)
    assert follows(guided, tokens("<call>{"))
    assert allowed(guided) is None
    assert not guided.owes
    assert follows(guided, tokens("</think>\n<call>"))
    assert allowed(guided) == {b"["}


def test_a_grammar_that_was_left_is_told_of() -> None:
    guided = guide(Constraint('start: "ab"\n'))
    assert not guided.follow(ord("x"))
    with pytest.raises(Stuck, match="cannot be followed"):
        guided.mask()
