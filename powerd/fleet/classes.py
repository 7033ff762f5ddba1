"""Scheduling classes: in which order requests are served, and how long one may wait (pure).

Within a class requests are served first come, first served, and nobody overtakes. Classes share by weight: each
request gets a virtual time on arrival, `1 / weight` after the later of its class's last waiting request and the one
granted last (self-clocked fair queueing), and the least virtual time is served first. So of any nine turns that both
want, interactive (weight 8) gets eight and batch (weight 1) one. A request that comes when `n` of its own class wait
can be overtaken by at most `(n + 1) * w / v` later ones of a class of weight `w`, `v` being its own class's weight
(those among the `n` who give up still count). The order is the same for places on a runner and for room in memory: a
runner that others wait to replace serves those whose turn is before theirs and then yields (after its minimum
residency).

The bound: a request has a lease, or is refused, within `max_wait` of its arrival plus the time in which a runner of
its own loads. That time is bounded by the load deadline: a load that reports no progress for `load_timeout` is ended,
and with it the wait of everybody it was for.
"""

from __future__ import annotations

import math

from powerd.errors import Busy
from powerd.fleet.board import Board
from powerd.fleet.entries import Entry, Phase, Turn, Waiter
from powerd.fleet.terms import FleetConfig, SchedulingClass, Want

#: Seconds after which a request refused at its limit may be worth another try.
RETRY_AFTER = 30.0
_UNBOUNDED = SchedulingClass(math.inf)


def scheduling(config: FleetConfig, want: Want) -> SchedulingClass:
    """The class of a request."""
    return config.classes.get(want.scheduling_class, _UNBOUNDED)


def turn(board: Board, ticket: int, want: Want) -> Turn:
    """The place in the order of service of a request that arrives."""
    same = (waiter.turn[0] for waiter in board.requests() if waiter.want.scheduling_class == want.scheduling_class)
    return max(board.virtual, next(same, 0.0)) + 1.0 / scheduling(board.config, want).weight, ticket


def keep_clocks(board: Board, now: float) -> None:
    """Let the clock towards `max_wait` stand still for those whose own runner loads, and run for the others."""
    for entry in board.entries.values():
        loading = any(runner.phase is Phase.LOADING for runner in entry.runners)
        if loading or entry.held_up:
            for waiter in entry.waiters.values():
                _keep_clock(entry, waiter, now)
        entry.held_up = loading


def _keep_clock(entry: Entry, waiter: Waiter, now: float) -> None:
    loads = {runner.phase for runner in entry.runners if runner.takes(waiter)} == {Phase.LOADING}
    if loads and waiter.stopped is None:
        waiter.stopped = now
    elif not loads and waiter.stopped is not None:
        waiter.limit += now - waiter.stopped
        waiter.stopped = None


def late(waiter: Waiter, now: float) -> bool:
    """Whether its class lets it wait no longer."""
    return waiter.stopped is None and now >= waiter.limit


def too_late(board: Board, entry: Entry, waiter: Waiter, now: float) -> Busy:
    """What a request is told that has waited as long as its class allows."""
    allowed = scheduling(board.config, waiter.want).max_wait
    text = (
        f"no place on '{entry.model}' came free for {now - waiter.since:.0f} s, and max_wait of the class "
        f"{waiter.want.scheduling_class} is {allowed:g} s"
    )
    if entry.waiting:
        text += f": {entry.waiting}"
    return Busy(text, max(1.0, min(RETRY_AFTER, allowed)))
