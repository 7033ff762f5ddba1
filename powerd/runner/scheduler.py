"""Which tokens go into the next batch. Pure: times come in as arguments.

Every running sequence gets its one token; what is left of the batch goes to prompts. How much that may be is measured:
while anyone is generating, a step may take a few times what it takes without prompts, so that streams stay smooth;
otherwise a step is bounded only by how long a cancellation may wait. Prompts share the room evenly, what a short one
leaves goes to the longer ones, and sequences beyond the slots wait in order of arrival. Sequences of several adapter
sets, which cannot be computed together, take turns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence as Items
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Generic, Protocol, TypeVar

from powerd.runner.adapters import AdapterSet
from powerd.runner.turns import MILLISECOND, Turns

#: A step with prompts in it aims at this many times the step without.
_STRETCH = 4.0
#: So far it may go while the gap is too short to be felt, and to fill a tile.
_SMOOTH_NS = 30 * MILLISECOND
_STRETCH_SMOOTH = 6.0
_STRETCH_TILE = 8.0
#: The longest step while nobody is generating: a cancelled prompt stops within it.
_LONGEST_NS = 250 * MILLISECOND
#: Prompt tokens taken in a step whatever the clock says, and before anything was measured.
_LEAST_TOKENS = 16
_FIRST_TOKENS = 32
_LEARNING_RATE = 0.4
#: From this many tokens in a batch on, llama.cpp's attention on a CPU works in tiles, and a token of a long prompt
#: costs a fraction of what it does in a smaller batch: 80 were measured to take less time than 60.
_TILE = 64
#: The guess at that fraction, as a divisor, until it is measured.
_TILE_GAIN = 2.0
#: What a step too small for a tile takes off the estimate for tiles, so that they are tried again.
_FORGIVENESS = 0.995


class Work(Protocol):
    """What the scheduler knows of a sequence."""

    slot: int  # the sequence's number in the cache; -1 while it waits
    adapters: AdapterSet  # what it is computed with

    @property
    def remaining(self) -> int:
        """Prompt tokens not yet in the cache; 0 = generating."""


W = TypeVar("W", bound=Work)


@dataclass(frozen=True, slots=True)
class Plan(Generic[W]):
    """One batch: sequences that get one token each, and prompts with how many tokens each may feed."""

    decode: list[W]
    prefill: list[tuple[W, int]]
    adapters: AdapterSet = ()


class Pace:
    """Running estimates of what a step costs, in nanoseconds."""

    def __init__(self) -> None:
        self._decode: dict[int, float] = {}  # rows -> step without prompts
        self._token: dict[tuple[bool, bool], float] = {}  # (beside streams, batch of a tile) -> one prompt token

    def observe(self, rows: int, tokens: int, took: int) -> None:
        """A step with `rows` running sequences and `tokens` of prompts took `took` nanoseconds."""
        if not tokens:
            self._decode[rows] = _blend(self._decode.get(rows), took)
            return
        beside, tiled = rows > 0, rows + tokens >= _TILE
        cost = max(took - self.decode(rows), took / 10, 1) / tokens
        known = self._token
        known[beside, tiled] = _blend(known.get((beside, tiled)), cost)
        if not tiled:
            known[beside, True] = min(self._cost(beside, True) * _FORGIVENESS, known[beside, False])

    def decode(self, rows: int) -> float:
        """What a step of `rows` sequences costs without prompts; 0 while nothing is known."""
        if not rows or not self._decode:
            return 0.0
        nearest = min(self._decode, key=lambda known: abs(known - rows))
        return self._decode[nearest] * min(1.0, rows / nearest)

    def prompt_tokens(self, rows: int) -> int:
        """How many prompt tokens the next step may take beside `rows` running sequences."""
        if not self._token:
            return _FIRST_TOKENS
        spare, for_tile = self._spare(rows)
        tile, cost = _TILE - rows, self._cost(rows > 0, True)
        if tile * cost <= for_tile:
            return max(tile, int(spare / cost), _LEAST_TOKENS)
        return max(_LEAST_TOKENS, min(int(spare / self._cost(rows > 0, False)), tile - 1))

    def _cost(self, beside: bool, tiled: bool) -> float:
        """The estimate for one prompt token, or a guess from the nearest case that was measured."""
        known = self._token
        for company in (beside, not beside):
            if (company, tiled) in known:
                return known[company, tiled]
        other = next(known[company, not tiled] for company in (beside, not beside) if (company, not tiled) in known)
        return other / _TILE_GAIN if tiled else other * _TILE_GAIN

    def _spare(self, rows: int) -> tuple[float, float]:
        """The time prompts may take in a step beside `rows` sequences: usually, and to fill a tile."""
        if not rows:
            return _LONGEST_NS, _LONGEST_NS
        alone = self.decode(rows)
        aim = min(max(_STRETCH * alone, _SMOOTH_NS), _STRETCH_SMOOTH * alone)
        return aim - alone, (_STRETCH_TILE - 1) * alone


def _blend(old: float | None, new: float) -> float:
    """The estimate moved towards a measurement; one hiccup counts as no more than a doubling."""
    return new if old is None else old + _LEARNING_RATE * (min(new, 2 * old) - old)


def share(room: int, wanted: Items[int]) -> list[int]:
    """Divide `room` among wishes: equal parts, and what a small wish leaves goes to the larger ones."""
    given = [0] * len(wanted)
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    for position, index in enumerate(order):
        part = -(-room // (len(order) - position))
        given[index] = min(wanted[index], part)
        room -= given[index]
    return given


class Scheduler(Generic[W]):
    """Slots, the queue before them, and the plan of each step."""

    def __init__(self, slots: int, batch: int) -> None:
        self.waiting: deque[W] = deque()
        self.active: list[W] = []
        self.pace = Pace()
        self._turns: Turns[AdapterSet] = Turns()
        self._free = list(range(slots))
        heapify(self._free)
        self._batch = batch

    def add(self, work: W) -> None:
        """Queue `work`; it starts when a slot is free."""
        self.waiting.append(work)
        self._admit()

    def remove(self, work: W) -> None:
        """Forget `work`, waiting or active; its slot goes to the next in the queue."""
        if work.slot < 0:
            self.waiting.remove(work)
            return
        self.active.remove(work)
        heappush(self._free, work.slot)
        work.slot = -1
        self._admit()

    def _admit(self) -> None:
        while self._free and self.waiting:
            work = self.waiting.popleft()
            work.slot = heappop(self._free)
            self.active.append(work)

    def plan(self) -> Plan[W]:
        """The next batch; empty only when nothing is active."""
        adapters = self._turns.choose(work.adapters for work in self.active) if self.active else ()
        works = [work for work in self.active if work.adapters == adapters]
        decode = [work for work in works if not work.remaining]
        if len(decode) == len(works):
            return Plan(decode, [], adapters)
        prompts = [work for work in works if work.remaining]
        streams = len(decode) or sum(not work.remaining for work in self.active)  # those of other sets wait for this
        room = min(self._batch - len(decode), self.pace.prompt_tokens(streams))
        parts = share(room, [work.remaining for work in prompts])
        return Plan(decode, [(work, part) for work, part in zip(prompts, parts, strict=True) if part], adapters)

    def observe(self, plan: Plan[W], took: int) -> None:
        """The step of `plan` took `took` nanoseconds."""
        self._turns.observe(took)
        self.pace.observe(len(plan.decode), sum(part for _, part in plan.prefill), took)
