"""Faults: what a failed load, a crash or a want of memory leads to (pure).

A crash is answered by a restart with back-off. A load that runs out of memory is tried once more when everything idle
has been evicted; after that, or when the kernel has ended the runner for its memory three times, the model is found
not to fit and is left alone for a cool-down, with the numbers for whoever asks.
"""

from __future__ import annotations

import math

from powerd.errors import Busy, DoesNotFit, LoadFailed, PowerError
from powerd.fleet.board import Board
from powerd.fleet.entries import HEALTHY_SECONDS, Entry, Phase, Runner, Waiter
from powerd.fleet.residency import named, names, needed
from powerd.fleet.terms import LoadFailure, Reason
from powerd.quantities import show_bytes

#: A request waits out a back-off shorter than this; for a longer one it is told to come back.
PATIENCE = 5.0
#: So many kills for memory in a row, and a model that could be loaded is found not to fit (reliability X02).
KILLS = 3


def too_soon(entry: Entry, waiter: Waiter, now: float) -> PowerError | None:
    """Why a request should come back later: its model failed, and no runner is there or on its way."""
    delay = entry.next_try - now
    if delay < PATIENCE or any(runner.takes(waiter) for runner in entry.runners):
        return None
    if entry.short:
        return DoesNotFit(f"{entry.fault}; it is tried again in {delay:.0f} s", delay)
    times = "once" if entry.faults == 1 else f"{entry.faults} times in a row"
    text = f"model '{entry.model}' failed {times}, the last time: {entry.fault}; it is tried again in {delay:.0f} s"
    return Busy(text, delay)


def left_alone(runner: Runner) -> list[Waiter]:
    """Who waits for this runner and for no other."""
    others = [other for other in runner.entry.runners if other is not runner]
    return [waiter for waiter in runner.queue() if not any(other.takes(waiter) for other in others)]


def not_loaded(board: Board, runner: Runner, reason: str, now: float, *, out_of_memory: bool = False) -> None:
    """A load has failed. Once, when memory was short, everything idle is evicted and it is tried again."""
    entry, orphans = runner.entry, left_alone(runner)
    short = _shortage(board, runner, reason) if out_of_memory else ""
    board.stop(runner, Reason.LOAD_FAILED, reason, now, LoadFailed(reason))
    if out_of_memory and not entry.after and _make_room(board, runner, now):
        entry.story.tell(now, "out of memory while loading; tried once more with everything idle evicted")
        return
    entry.after = frozenset()
    if entry.override is not None and entry.override.kind == "loaded":
        entry.override = None
    if short:
        delay = entry.cool(short, board.jitter(), now)
        error: PowerError = DoesNotFit(f"{short}; it is tried again in {delay:.0f} s", delay)
        board.emit("error", entry, "out-of-memory", short, now)
    else:
        entry.fail(f"failed to load: {reason}", 1, board.jitter(), now)
        error = LoadFailed(reason)
        board.emit("error", entry, "load-failed", f"failed to load: {reason}", now)
    _record(entry, short or f"failed to load: {reason}", now, memory=bool(short))
    for waiter in orphans:
        board.refuse(waiter, error)


def crashed(board: Board, runner: Runner, orphans: list[Waiter], how: str, now: float, *, killed: bool) -> None:
    """A runner has ended by itself, `killed` by the kernel for memory. It is gone from the board already."""
    entry, loading = runner.entry, math.isinf(runner.ready_at)
    again = loading and entry.faults > 0
    entry.kills = entry.kills + 1 if killed else 0
    if entry.kills >= KILLS:
        fault = f"{_shortage(board, runner, how)}; that happened {entry.kills} times in a row"
        entry.cool(fault, board.jitter(), now)
        board.emit("error", entry, "out-of-memory", fault, now)
    else:
        fault = f"stopped unexpectedly: {how}"
        delay = entry.fail(fault, 0, board.jitter(), now)
        board.emit("crash", entry, Reason.CRASH, f"{fault}; restarted in {delay:.0f} s", now)
    if loading:
        _record(entry, fault, now, memory=killed)
    for waiter in orphans:
        error = LoadFailed(f"the runner stopped while loading: {how}") if again else too_soon(entry, waiter, now)
        if error is not None:
            board.refuse(waiter, error)


def healthy(runner: Runner, now: float) -> bool:
    """Whether it was ready for so long that what failed before it no longer counts."""
    return now - runner.ready_at >= HEALTHY_SECONDS


def _record(entry: Entry, reason: str, now: float, *, memory: bool) -> None:
    entry.failure = LoadFailure(entry.model, entry.key, reason, now, entry.faults, entry.next_try, memory)


def _make_room(board: Board, runner: Runner, now: float) -> bool:
    """Evict whatever idles; the next load waits until it is gone."""
    entry = runner.entry
    idle = [other for other in board.runners.values() if other.phase is Phase.READY and other.staying]
    idle = [other for other in idle if not (other.leases or other.wanted or other.entry.pinned)]
    for other in idle:
        board.stop(other, Reason.EVICTED, f"evicted for {entry.model}, which ran out of memory while loading", now)
    entry.after = frozenset(other.id for other in idle) | {runner.id}
    entry.warm = True
    return bool(idle)


def _shortage(board: Board, runner: Runner, how: str) -> str:
    """That a model does not fit, as was found by trying, with the numbers."""
    entry, ledger = runner.entry, board.ledger
    parts = [f"model '{entry.model}' does not fit: it ran out of memory ({how})"]
    parts.append(needed(runner.deployment, runner.need))
    others = [other for other in board.runners.values() if other is not runner]
    for device in runner.need.by_device:
        held = sum(ledger.held(other.id).get(device, 0) for other in others)
        text = f"{named(ledger, device)} is {show_bytes(ledger.budget(device))}"
        if held:
            users = names(other for other in others if ledger.held(other.id).get(device, 0))
            text += f", of which {show_bytes(held)} are held by {users}"
        parts.append(text)
    return "; ".join(parts)
