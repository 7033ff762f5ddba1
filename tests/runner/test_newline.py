"""penalize_newline: the penalties take back exactly what the newline's logit was raised by."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from powerd.protocol import Sampling
from powerd.runner.chain import chain
from powerd.runner.llama import Bindings
from powerd.runner.newline import Spared

NEWLINE = 2


@pytest.fixture(scope="module")
def c() -> Any:
    return Bindings().c


@pytest.mark.parametrize("logit", [3.0, 0.5, -2.0])
@pytest.mark.parametrize("bias", [0.0, 1.5, -4.0])
@pytest.mark.parametrize("recent", [(), (1, 2), (2, 2, 2, 1)])
def test_after_llama_cpps_penalties_the_newline_is_as_likely_as_before(
    c: Any, logit: float, bias: float, recent: tuple[int, ...]
) -> None:
    sampling = Sampling(
        repeat_penalty=1.7, frequency_penalty=0.6, presence_penalty=0.3, logit_bias={NEWLINE: bias}, repeat_last_n=8
    )
    logits = [0.0, 1.0, logit, -1.0]
    Spared(NEWLINE, sampling, recent, 8).raise_in(logits)
    logits[NEWLINE] += bias
    candidates = (c.llama_token_data * 4)(*((token, value, 0.0) for token, value in enumerate(logits)))
    array = c.llama_token_data_array(data=candidates, size=4, selected=-1, sorted=False)
    penalties = c.llama_sampler_init_penalties(4, 8, 1.7, 0.6, 0.3)
    for token in recent:
        c.llama_sampler_accept(penalties, token)
    c.llama_sampler_apply(penalties, ctypes.byref(array))
    c.llama_sampler_free(penalties)
    assert candidates[NEWLINE].logit == pytest.approx(logit + bias, abs=1e-5)


def test_only_as_many_tokens_count_as_the_penalties_look_back() -> None:
    spared = Spared(NEWLINE, Sampling(frequency_penalty=1.0), [NEWLINE, NEWLINE], 2)
    logits = [0.0, 0.0, 5.0]
    spared.take(1)
    spared.raise_in(logits)
    assert logits == [0.0, 0.0, 6.0]
    spared.take(1)
    spared.raise_in(logits)
    assert logits == [0.0, 0.0, 6.0]


class Engine:
    """The calls a chain makes of llama.cpp, written down."""

    def __init__(self, newline: int) -> None:
        self.newline, self.logits, self.taken = newline, [1.0] * 4, list[int]()

    def llama_vocab_nl(self, _vocabulary: object) -> int:
        return self.newline

    def llama_get_logits_ith(self, _context: object, _row: int) -> list[float]:
        return self.logits

    def llama_sampler_sample(self, *_: object) -> int:
        return NEWLINE

    def llama_sampler_accept(self, _pointer: object, token: int) -> None:
        self.taken.append(token)

    def __getattr__(self, name: str) -> Any:
        return lambda *_: name


@pytest.mark.parametrize(
    ("sampling", "newline", "raised"),
    [
        (Sampling(penalize_newline=False, presence_penalty=0.5), NEWLINE, 1.5),
        (Sampling(penalize_newline=True, presence_penalty=0.5), NEWLINE, 1.0),
        (Sampling(penalize_newline=False), NEWLINE, 1.0),
        (Sampling(penalize_newline=False, presence_penalty=0.5), -1, 1.0),
    ],
)
def test_the_newline_is_spared_where_that_was_asked_and_there_are_penalties(
    sampling: Sampling, newline: int, raised: float
) -> None:
    engine = Engine(newline)
    sampler = chain(engine, None, 4, sampling, [1, NEWLINE], 100)
    assert sampler.draw(0) == NEWLINE
    assert engine.logits[NEWLINE] == raised
    sampler.take(3)
    assert engine.taken[-1] == 3
