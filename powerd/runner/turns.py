"""Turns: which of several groups of requests computes next, when only one can at a time. Pure.

Groups go round: each keeps its turn for some time, so that the cost of changing from one to the next is small beside
it, and a new one joins at the end. No group waits longer than one turn of each of the others.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

MILLISECOND = 1_000_000
#: How long a turn is at least; a step that has begun ends. A change was measured to cost 1 to 2 ms on a CPU.
TURN_NS = 25 * MILLISECOND

G = TypeVar("G", bound=Hashable)


class Turns(Generic[G]):
    """The groups that have work, the one whose turn it is first."""

    def __init__(self) -> None:
        self._order: list[G] = []
        self._used = 0

    def choose(self, present: Iterable[G]) -> G:
        """Whose turn the next step is; `present` are the groups that have work, at least one."""
        here = dict.fromkeys(present)
        current = self._order[0] if self._order else None
        self._order = [group for group in self._order if group in here]
        self._order += [group for group in here if group not in self._order]
        if self._order[0] == current and self._used >= TURN_NS:
            self._order.append(self._order.pop(0))
        if self._order[0] != current or self._used >= TURN_NS:
            self._used = 0
        return self._order[0]

    def observe(self, took: int) -> None:
        """The step of the group whose turn it is took `took` nanoseconds."""
        self._used += took
