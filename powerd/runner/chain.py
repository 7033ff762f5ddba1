"""A request's sampler chain in llama.cpp. `c` is the ctypes layer of llama-cpp-python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from powerd.protocol import Sampling
from powerd.runner.newline import Spared
from powerd.runner.sampling import Stage, remembered, stages


class Chain:
    """One request's samplers."""

    def __init__(self, c: Any, context: Any, pointer: Any, spared: Spared | None = None) -> None:
        self._c, self._context, self._pointer, self._spared = c, context, pointer, spared
        self._sample = c.llama_sampler_sample

    def draw(self, row: int) -> int:
        """The token chosen for `row` of the last decode, which the chain then remembers."""
        if self._spared is not None:
            self._spared.raise_in(self._c.llama_get_logits_ith(self._context, row))
        token: int = self._sample(self._pointer, self._context, row)
        if self._spared is not None:
            self._spared.take(token)
        return token

    def take(self, token: int) -> None:
        """Remember `token`, which comes next without having been drawn."""
        self._c.llama_sampler_accept(self._pointer, token)
        if self._spared is not None:
            self._spared.take(token)

    def close(self) -> None:
        """Free the chain; once."""
        self._c.llama_sampler_free(self._pointer)


def chain(c: Any, context: Any, vocabulary: int, sampling: Sampling, prompt: Sequence[int], limit: int) -> Chain:
    """The samplers for logits of `vocabulary` tokens, with the end of the prompt already remembered.

    `limit` is the context of the request, in tokens.
    """
    pointer = c.llama_sampler_chain_init(c.llama_sampler_chain_default_params())
    if sampling.logit_bias:
        bias = (c.llama_logit_bias * len(sampling.logit_bias))(*sampling.logit_bias.items())
        c.llama_sampler_chain_add(pointer, c.llama_sampler_init_logit_bias(vocabulary, len(bias), bias))
    for stage in stages(sampling, limit):
        c.llama_sampler_chain_add(pointer, _sampler(c, vocabulary, stage))
    count = remembered(sampling, limit)
    for token in prompt[-count:] if count else ():
        c.llama_sampler_accept(pointer, token)
    return Chain(c, context, pointer, _spared(c, context, sampling, prompt[-count:] if count else (), count))


def _spared(c: Any, context: Any, sampling: Sampling, recent: Sequence[int], last: int) -> Spared | None:
    """The newline, where the penalties are to leave it alone and the vocabulary has one."""
    if sampling.penalize_newline or not last:
        return None
    token = c.llama_vocab_nl(c.llama_model_get_vocab(c.llama_get_model(context)))
    return Spared(token, sampling, recent, last) if token >= 0 else None


def _sampler(c: Any, vocabulary: int, stage: Stage) -> Any:
    first = (vocabulary,) if stage.name in ("penalties", "mirostat") else ()
    return getattr(c, f"llama_sampler_init_{stage.name}")(*first, *stage.arguments)
