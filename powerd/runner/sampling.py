"""The stages of a request's sampler chain, in llama.cpp's own order. Pure.

logit bias, penalties, top-k, typical, top-p, min-p, temperature, then a draw; or mirostat in place of the cuts; or
the likeliest token when the temperature is 0. A stage that would change nothing is left out.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from powerd.protocol import Sampling

#: llama.cpp reads this seed as "pick one yourself".
_RANDOM_SEED = 0xFFFFFFFF
_MIROSTAT_CANDIDATES = 100
#: Below this share of the likeliest token's probability `typical` would take the logarithm of nothing.
_IMPOSSIBLE = 1e-20


@dataclass(frozen=True, slots=True)
class Stage:
    """One sampler: its name in llama.cpp and its arguments."""

    name: str
    arguments: tuple[float, ...] = ()


def stages(sampling: Sampling, context: int) -> tuple[Stage, ...]:
    """The chain after the logit bias. `context` is what a `repeat_last_n` of -1 stands for."""
    chain = list(_penalties(sampling, context))
    if sampling.temperature <= 0:
        return (*chain, Stage("greedy"))
    seed = chosen_seed(sampling.seed)
    heat = Stage("temp", (sampling.temperature,))
    if sampling.mirostat == 1:
        return (
            *chain,
            heat,
            Stage("mirostat", (seed, sampling.mirostat_tau, sampling.mirostat_eta, _MIROSTAT_CANDIDATES)),
        )
    if sampling.mirostat == 2:
        return (*chain, heat, Stage("mirostat_v2", (seed, sampling.mirostat_tau, sampling.mirostat_eta)))
    return (*chain, *_cuts(sampling), heat, Stage("dist", (seed,)))


def remembered(sampling: Sampling, context: int) -> int:
    """How many of the last prompt tokens the penalties look at; 0 when no penalty is set."""
    penalties = _penalties(sampling, context)
    return int(penalties[0].arguments[0]) if penalties else 0


def chosen_seed(seed: int) -> int:
    """A 32-bit seed: any negative number draws one, any other always gives the same."""
    return secrets.randbelow(_RANDOM_SEED) if seed < 0 else seed % _RANDOM_SEED


def _penalties(sampling: Sampling, context: int) -> tuple[Stage, ...]:
    last = context if sampling.repeat_last_n < 0 else min(sampling.repeat_last_n, context)
    repeat = sampling.repeat_penalty or 1.0
    weights = (repeat, sampling.frequency_penalty, sampling.presence_penalty)
    if last == 0 or weights == (1.0, 0.0, 0.0):
        return ()
    return (Stage("penalties", (last, *weights)),)


def _cuts(sampling: Sampling) -> tuple[Stage, ...]:
    cuts = []
    if sampling.top_k > 0:
        cuts.append(Stage("top_k", (sampling.top_k,)))
    if sampling.typical_p < 1:
        cuts.append(Stage("min_p", (_IMPOSSIBLE, 1)))
        cuts.append(Stage("typical", (sampling.typical_p, 1)))
    if sampling.top_p < 1:
        cuts.append(Stage("top_p", (sampling.top_p, 1)))
    if sampling.min_p > 0:
        cuts.append(Stage("min_p", (sampling.min_p, 1)))
    return tuple(cuts)
