"""Who may come into memory and who has to leave for it (pure).

Demands are looked at in order. A demand that must wait claims the room it waits for, so that a later, smaller one
cannot take it away; one is let in only when its bytes are free at this moment and every claim before it still holds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from powerd.fleet.budget import Estimate, Ledger
from powerd.fleet.entries import Entry, Phase, Runner
from powerd.protocol import Deployment
from powerd.quantities import show_bytes


@dataclass(frozen=True, slots=True)
class Demand:
    """An entry that should get a runner. `ticket` is its oldest request's; inf = it is only wished for."""

    entry: Entry
    deployment: Deployment
    need: Estimate
    ticket: float

    @property
    def size(self) -> int:
        """Bytes it must be promised."""
        return self.need.total

    @property
    def seats(self) -> int:
        """How many more models are loaded after it: none when it replaces its own runner."""
        return 0 if self.entry.current else 1


class Room:
    """The memory and the model count as they stand, and as they will when everything decided has happened."""

    def __init__(self, ledger: Ledger, runners: Mapping[int, Runner], max_models: int) -> None:
        self._ledger = ledger
        self._runners = runners.values()  # a live view: who is let in or told to stop counts from then on
        self._max_models = max_models
        self._leaving: set[int] = set()
        self._claimed = 0
        self._seats_claimed = 0

    def claim(self, demand: Demand) -> None:
        """Keep room for a demand that has to wait."""
        self._claimed += demand.size
        self._seats_claimed += demand.seats

    def leave(self, runner: Runner) -> None:
        """Count on this runner's room: it was told to go as soon as it is idle."""
        self._leaving.add(runner.id)

    def admits(self, demand: Demand) -> bool:
        """Whether it can be let in at this moment."""
        now = demand.size <= self._ledger.free and demand.seats <= self._seats(soon=False)
        return now and not any(lack > 0 for lack in self._lacks(demand))

    def never(self, demand: Demand) -> str:
        """Why the demand can never be met as things are declared, or "" when it can."""
        pins = [runner for runner in self._runners if runner.staying and runner.entry.pinned]
        pins = [runner for runner in pins if runner.entry is not demand.entry]
        held = sum(self._ledger.held(runner.id) for runner in pins)
        if demand.size > self._ledger.budget - held:
            return _too_big(demand, self._ledger, pins)
        if self._max_models and len({runner.entry.key for runner in pins}) + 1 > self._max_models:
            return (
                f"model '{demand.entry.model}' cannot be loaded: max_loaded_models is {self._max_models} and "
                f"{_names(pins)} cannot be unloaded, pinned by keep_alive: always"
            )
        return ""

    def victims(self, demand: Demand, candidates: list[Runner]) -> list[Runner] | None:
        """The fewest of `candidates`, taken in their order, whose room meets the demand; None when all do not."""
        taken: list[Runner] = []
        for runner in candidates:
            if not self._short(demand, taken):
                break
            if runner.id not in self._leaving:
                taken.append(runner)
        if self._short(demand, taken):
            return None
        for runner in reversed(taken[:-1]):
            rest = [other for other in taken if other is not runner]
            taken = taken if self._short(demand, rest) else rest
        return taken

    def _short(self, demand: Demand, taken: list[Runner]) -> bool:
        size, seats = self._lacks(demand)
        size -= sum(self._ledger.held(runner.id) for runner in taken)
        seats -= len({runner.entry.key for runner in taken if runner.entry is not demand.entry})
        return size > 0 or seats > 0

    def _lacks(self, demand: Demand) -> tuple[int, float]:
        """Bytes and seats missing once everything decided has happened and every earlier claim is met."""
        going = [runner for runner in self._runners if not runner.staying or runner.id in self._leaving]
        coming = sum(self._ledger.held(runner.id) for runner in going)
        size = demand.size + self._claimed - self._ledger.free - coming
        return size, demand.seats + self._seats_claimed - self._seats(soon=True)

    def _seats(self, *, soon: bool) -> float:
        if not self._max_models:
            return math.inf
        there = [runner for runner in self._runners if runner.staying]
        if soon:
            there = [runner for runner in there if runner.id not in self._leaving]
        return self._max_models - len({runner.entry.key for runner in there})


def candidates(demand: Demand, runners: Iterable[Runner], now: float, residency: float) -> list[Runner]:
    """Who could leave for this demand, the first to go first: never loading, never pinned.

    Its own smaller runner goes first. Then idle before busy, lowest priority, not declared `loaded`, longest unused.
    A mere wish moves only idle runners, of lower priority unless it is pinned.
    """
    able = [runner for runner in runners if runner.phase is Phase.READY and runner.staying]
    able = [runner for runner in able if runner.entry is demand.entry or not runner.entry.pinned]
    if math.isinf(demand.ticket):
        able = [runner for runner in able if not busy(runner, demand, now, residency)]
        if not demand.entry.pinned:
            able = [runner for runner in able if runner.entry.priority < demand.entry.priority]
    return sorted(able, key=lambda runner: _order(runner, demand, now, residency))


def busy(runner: Runner, demand: Demand, now: float, residency: float) -> bool:
    """Whether somebody uses it, or comes before this demand in the queue for it."""
    if runner.leases:
        return True
    fresh = now < runner.ready_at + residency
    return any(fresh or waiter.ticket < demand.ticket for waiter in runner.queue())


def _order(runner: Runner, demand: Demand, now: float, residency: float) -> tuple[bool, bool, int, bool, float, int]:
    entry = runner.entry
    in_use = busy(runner, demand, now, residency)
    return (entry is not demand.entry, in_use, entry.priority, entry.kept, runner.used, runner.id)


def _too_big(demand: Demand, ledger: Ledger, pins: list[Runner]) -> str:
    need = demand.need
    text = (
        f"model '{demand.entry.model}' does not fit: with {demand.deployment.context} tokens of context for "
        f"{demand.deployment.parallel} at once it needs {show_bytes(need.total)} (weights {show_bytes(need.weights)}, "
        f"cells {show_bytes(need.cells)}, compute {show_bytes(need.compute)}) and the memory budget is "
        f"{show_bytes(ledger.budget)}"
    )
    if pins:
        held = sum(ledger.held(runner.id) for runner in pins)
        text += f", of which {show_bytes(held)} are held by {_names(pins)}, pinned by keep_alive: always"
    return text


def _names(pins: list[Runner]) -> str:
    return ", ".join(f"'{name}'" for name in sorted({runner.entry.model for runner in pins}))
