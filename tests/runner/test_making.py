"""Making a sequence: the prompt's tokens, what is cut of them, and what else is asked."""

from __future__ import annotations

from array import array

import pytest

from powerd.errors import BadRequest, ContextOverflow
from powerd.protocol import Generate, Sampling, Thinking
from powerd.runner.sequence import Sequence
from powerd.runner.token import Token
from tests.runner.letters import BOS, LetterModel


def made(text: str = "", context: int = 1000, model: LetterModel | None = None, **fields: object) -> Sequence:
    frame = Generate(1, **fields)  # type: ignore[arg-type]  # the fields a test names
    return (model or LetterModel()).maker(context).make(frame, text.encode(), 0)


def test_the_first_token_is_added_to_a_text_and_not_after_a_prefix() -> None:
    assert made("ab").prompt == [BOS, 97, 98]
    assert made("ab", add_bos=False).prompt == [97, 98]
    assert made("ab", prefix=array("i", [5, 6]).tobytes()).prompt == [5, 6, 97, 98]


def test_an_empty_prompt_begins_with_the_models_first_token_or_is_refused() -> None:
    model = LetterModel()
    with pytest.raises(BadRequest, match="no token to begin"):
        made(model=model, add_bos=False)
    model.letters.bos = 7
    assert made(model=model, add_bos=False).prompt == [7]


def test_a_text_longer_than_all_tokens_together_is_not_even_tokenised() -> None:
    model = LetterModel()
    model.letters.longest = 10
    model.letters.may_go_on.clear()
    with pytest.raises(ContextOverflow) as caught:
        made("x" * 5000, 100, model, context_source="the test")
    assert (caught.value.needed, caught.value.limit, caught.value.limit_source) == (500, 100, "the test")


@pytest.mark.parametrize(
    ("num_keep", "adds_bos", "keep", "total"),
    [
        (0, False, 0, 50),
        (0, True, 1, 51),  # 100 - 99 // 2
        (4, False, 4, 52),
        (4, True, 5, 53),
        (97, True, 98, 99),
        (98, True, 98, 99),  # something must be left to drop
        (5000, True, 98, 99),
        (-1, True, 98, 99),
    ],
)
def test_a_prompt_that_does_not_fit_keeps_its_head_and_its_end(
    num_keep: int, adds_bos: bool, keep: int, total: int
) -> None:
    model = LetterModel()
    model.letters.adds_bos = adds_bos
    text = bytes(32 + n % 90 for n in range(300)).decode().replace("!", "x")
    whole = made(text, add_bos=adds_bos, model=model).prompt
    sequence = made(text, 100, model, num_keep=num_keep, add_bos=adds_bos, truncate=True, context_source="num_ctx")
    assert sequence.prompt == whole[:keep] + whole[len(whole) - total + keep :]
    cut = sequence.cut
    assert cut is not None
    assert (cut.needed, cut.kept, cut.limit, cut.limit_source) == (300 + adds_bos, total, 100, "num_ctx")


def test_the_limit_for_cutting_is_the_first_length_that_leaves_no_place_for_an_answer() -> None:
    assert made("x" * 98, 100, truncate=True).cut is None
    assert made("x" * 99, 100, truncate=True).cut is not None
    with pytest.raises(ContextOverflow):
        made("x" * 99, 100)


def test_a_prefix_is_cut_with_the_text() -> None:
    prefix = array("i", range(200, 290)).tobytes()
    sequence = made("ab" * 10, 100, prefix=prefix, truncate=True, num_keep=2)
    assert sequence.prompt == [200, 201, 202, *range(261, 290), *(b"ab" * 10)]
    assert len(sequence.prompt) == 52


def test_h16_of_a_very_long_text_only_the_ends_are_read() -> None:
    text = "é" * 300_000 + "x" * 1_000_000 + "é" * 299_999 + "z"
    model = LetterModel()
    sequence = made(text, 100, model, truncate=True, num_keep=3)
    whole = text.encode()
    assert sequence.prompt == [BOS, *whole[:3], *whole[-48:]]
    assert sequence.cut is not None
    assert sequence.cut.kept == len(sequence.prompt)
    assert 100 < sequence.cut.needed <= len(whole)
    assert max(model.letters.sizes) < 10_000


@pytest.mark.parametrize("context", [1, 2, 3])
def test_the_smallest_contexts_are_cut_to_or_refused(context: int) -> None:
    try:
        sequence = made("x" * 50, context, truncate=True, num_keep=4)
    except ContextOverflow:
        assert context == 1
    else:
        assert 1 <= len(sequence.prompt) < context


def test_tokens_out_of_range_are_refused() -> None:
    with pytest.raises(BadRequest, match="logit_bias names token 1000"):
        made("x", sampling=Sampling(logit_bias={1000: 1.0}))
    with pytest.raises(BadRequest, match="context names token -1"):
        made("x", prefix=array("i", [-1]).tobytes())


def test_more_alternatives_than_any_dialect_has_are_refused() -> None:
    with pytest.raises(BadRequest, match="between 0 and 20"):
        made("x", logprobs=21)


def test_a_request_for_text_alone_goes_straight_to_its_sampler() -> None:
    plain = made("x", markers=("<none>",), thinking=Thinking("<t>", "</t>"))
    assert plain.draw == plain.sampler.draw


def test_a_shift_needs_the_wish_and_a_model_that_can() -> None:
    model = LetterModel()
    ends = [made("x" * 8, 10, model, shift=False)]
    goes_on = made("x" * 8, 10, model, shift=True)
    model.can_shift = False
    ends.append(made("x" * 8, 10, model, shift=True))
    for sequence in [*ends, goes_on]:
        sequence.accept(Token(1, b"a", b"a", False))
    assert [sequence.reason for sequence in ends] == ["length", "length"]
    assert goes_on.reason == "full"
