"""A request's sampler chain in llama.cpp. `c` is the ctypes layer of llama-cpp-python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from powerd.protocol import Sampling
from powerd.runner.sampling import Stage, remembered, stages


class Chain:
    """One request's samplers."""

    def __init__(self, c: Any, context: Any, pointer: Any) -> None:
        self._c, self._context, self._pointer = c, context, pointer
        self._sample = c.llama_sampler_sample

    def draw(self, row: int) -> int:
        """The token chosen for `row` of the last decode, which the chain then remembers."""
        token: int = self._sample(self._pointer, self._context, row)
        return token

    def take(self, token: int) -> None:
        """Remember `token`, which comes next without having been drawn."""
        self._c.llama_sampler_accept(self._pointer, token)

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
    return Chain(c, context, pointer)


def _sampler(c: Any, vocabulary: int, stage: Stage) -> Any:
    first = (vocabulary,) if stage.name in ("penalties", "mirostat") else ()
    return getattr(c, f"llama_sampler_init_{stage.name}")(*first, *stage.arguments)
