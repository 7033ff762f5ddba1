"""Keeping the penalties off the newline, as Ollama's `penalize_newline: false` asks.

llama.cpp's penalties know no exception. So the newline's logit is raised beforehand by what they will take from it.
Pure, but for the logits it is handed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, MutableSequence

from powerd.protocol import Sampling


class Spared:
    """One request's newline token and how often it stands among the tokens the penalties look at."""

    def __init__(self, token: int, sampling: Sampling, recent: Iterable[int], last: int) -> None:
        """`recent` are the tokens already remembered, `last` how many the penalties look back."""
        self._token, self._recent = token, deque(recent, maxlen=last)
        self._repeat = sampling.repeat_penalty or 1.0
        self._frequency, self._presence = sampling.frequency_penalty, sampling.presence_penalty
        self._bias = sampling.logit_bias.get(token, 0.0)

    def raise_in(self, logits: MutableSequence[float]) -> None:
        """Change the newline's logit so that it is what it was once bias and penalties have been applied."""
        count = self._recent.count(self._token)
        if count:
            wanted = logits[self._token] + self._bias + count * self._frequency + self._presence
            before = wanted * self._repeat if wanted > 0 else wanted / self._repeat
            logits[self._token] = before - self._bias

    def take(self, token: int) -> None:
        """Remember a token of the answer."""
        self._recent.append(token)
