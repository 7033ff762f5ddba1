"""What a request asked for beside text: markers shown, thinking ended in time, probabilities. Pure.

A request that asked for none of it has no Extras and pays nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from powerd.protocol import Logprob
from powerd.runner.thinking import Budget
from powerd.runner.token import Sampler, Token

#: Bytes of probabilities that may wait for text to travel with; a frame takes that many and one token more.
_MOST_WAITING = 64 * 1024
#: What the numbers of one token take in a frame, generously.
_ENTRY_BYTES = 16


class Probabilities(Protocol):
    """Tells how likely tokens were."""

    def look(self, row: int) -> None:
        """Take in `row` of the last decode, before anything changes its logits."""

    def of(self, token: int) -> Logprob:
        """What is told of `token`, which was chosen in that row."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What was asked for; each part may be missing."""

    shown: Mapping[int, Token]  # control tokens whose text belongs to the answer
    budget: Budget | None = None
    ending: Sequence[int] = ()  # tokens that end thinking
    closing: int = -1  # the token that is the closing tag, where there is one
    probabilities: Probabilities | None = None


class Extras:
    """Stands between a sequence and its sampler."""

    __slots__ = (
        "_belated",
        "_budget",
        "_closing",
        "_drawn",
        "_ending",
        "_forced",
        "_ours",
        "_probabilities",
        "_sampler",
        "_shown",
        "_told",
        "_waiting",
    )

    def __init__(self, wishes: Wishes, sampler: Sampler) -> None:
        self._sampler = sampler
        self._shown = wishes.shown
        self._budget = wishes.budget
        self._ending = wishes.ending
        self._closing = wishes.closing
        self._belated = -1  # the model's own closing tag, once its thinking was ended for it
        self._probabilities = wishes.probabilities
        self._forced: deque[int] = deque()  # tokens that come next, whatever the model says
        self._ours = False  # whether the last token was one of those
        self._drawn: Logprob | None = None
        self._told: list[Logprob] = []
        self._waiting = 0  # bytes of what is in `_told`
        self._end_thinking_in_time()

    def draw(self, row: int) -> int:
        """The token that follows `row` of the last decode."""
        if self._probabilities is not None:
            self._probabilities.look(row)
        self._ours = bool(self._forced)
        if self._ours:
            token = self._forced.popleft()
            self._sampler.take(token)
        else:
            token = self._sampler.draw(row)
        if self._probabilities is not None:
            self._drawn = self._probabilities.of(token)
        return token

    def see(self, token: Token) -> Token:
        """Take in the token drawn; as it is to be shown."""
        token = self._shown.get(token.id, token)
        if token.id == self._belated and not self._ours:
            token = replace(token, piece=b"", trimmed=b"")
            self._belated = -1
        if self._budget is not None:
            self._budget.feed(token.piece)
            self._end_thinking_in_time()
        if self._drawn is not None and (token.piece or not token.ends):
            self._told.append(self._drawn)
            self._waiting += _bytes(self._drawn)
        return token

    def _end_thinking_in_time(self) -> None:
        budget = self._budget
        if budget is None or self._forced:
            return
        if budget.spent:
            self._forced.extend(self._ending)
            self._belated = self._closing
            budget.thoughts.end()
        if budget.thoughts.over:
            self._budget = None

    @property
    def full(self) -> bool:
        """Whether probabilities must go out, with text or without."""
        return self._waiting >= _MOST_WAITING

    def told(self) -> list[Logprob]:
        """The probabilities since the last call."""
        told, self._told, self._waiting = self._told, [], 0
        return told


def _bytes(told: Logprob) -> int:
    """What `told` takes in a frame, about."""
    return _ENTRY_BYTES + len(told.token) + sum(_ENTRY_BYTES + len(likely.token) for likely in told.top)
