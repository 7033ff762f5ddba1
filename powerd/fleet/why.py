"""Why a request waits, or where it runs, in sentences for the person who asks (pure)."""

from __future__ import annotations

import math
from collections.abc import Iterator

from powerd.fleet.board import Board
from powerd.fleet.entries import Entry, Phase, Place, Runner, Waiter
from powerd.fleet.later import unmet
from powerd.fleet.residency import names


def why_request(board: Board, request_id: str, now: float) -> list[str]:
    """What the request with this id waits for or runs on; empty when the fleet knows none."""
    for ticket, entry in board.waiting.items():
        waiter = entry.waiters[ticket]
        if waiter.want.request_id == request_id:
            return [*_waiting(board, entry, waiter, now)]
    for ticket, runner in board.leases.items():
        place = runner.leases[ticket]
        if place.want.request_id == request_id:
            return [*_running(board, runner, place, now)]
    return []


def _waiting(board: Board, entry: Entry, waiter: Waiter, now: float) -> Iterator[str]:
    want = waiter.want
    what = "until it is loaded" if waiter.load_only else "for a place"
    yield f"it waits {what} on '{entry.model}' since {now - waiter.since:.1f} s, in the class {want.scheduling_class}"
    ahead = sum(other.turn < waiter.turn for other in entry.waiters.values())
    yield "it is the next in the queue" if not ahead else f"{_count(ahead, 'request')} of this model come before it"
    own = [runner for runner in entry.runners if runner.takes(waiter)]
    for runner in own:
        yield _on(board, runner, waiter, now)
    if not own and entry.waiting:
        yield entry.waiting
    if not own and entry.after & board.runners.keys():
        going = [board.runners[number] for number in entry.after if number in board.runners]
        yield f"its load ran out of memory and begins again when {names(going)} is gone"
    yield from _end(waiter, now)


def _on(board: Board, runner: Runner, waiter: Waiter, now: float) -> str:
    name = runner.entry.model
    if runner.phase is Phase.LOADING:
        text = f"'{name}' is loading and {runner.fraction * 100:.0f} % there"
        left = runner.deadline - now
        return text if math.isinf(left) else f"{text}; the load is ended if it reports no progress for {left:.0f} s"
    places = runner.deployment.parallel
    if len(runner.leases) < places and (purpose := unmet(runner, waiter)):
        return f"'{name}' is loaded, and waits for the memory of models that leave for {purpose}"
    if len(runner.leases) < places:
        before = [entry.model for entry in board.entries.values() if _comes_before(entry, waiter)]
        return f"'{name}' is loaded and has to make room for {', '.join(map(repr, before))}, asked for before"
    oldest = max((now - place.since for place in runner.leases.values()), default=0.0)
    return f"'{name}' is loaded and {places} of {places} places are taken, the longest since {oldest:.1f} s"


def _comes_before(entry: Entry, waiter: Waiter) -> bool:
    unserved = entry.unserved()
    return bool(unserved) and unserved[0].turn < waiter.turn


def _end(waiter: Waiter, now: float) -> Iterator[str]:
    if waiter.stopped is None and not math.isinf(waiter.limit):
        yield f"it is refused in {max(0.0, waiter.limit - now):.0f} s if it has no place by then"
    elif waiter.stopped is not None and not math.isinf(waiter.limit):
        left = waiter.limit - waiter.stopped
        yield f"after the load it may wait {left:.0f} s more"
    if not math.isinf(waiter.deadline):
        yield f"it gives up by itself in {max(0.0, waiter.deadline - now):.0f} s"


def _running(board: Board, runner: Runner, place: Place, now: float) -> Iterator[str]:
    want = place.want
    yield f"it runs on '{runner.entry.model}' since {now - place.since:.1f} s, in the class {want.scheduling_class}"
    limit = board.config.stall_timeout
    if not math.isinf(limit):
        yield f"the runner is ended if it sends nothing for {limit:g} s"
    if runner.leaving is not None:
        yield f"the runner is unloaded when its requests have ended ({runner.leaving})"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
