"""What listings show of a Board (pure)."""

from __future__ import annotations

import math
from collections.abc import Mapping

from powerd.fleet.board import Board
from powerd.fleet.entries import Entry, Phase, Runner
from powerd.fleet.terms import Hand, LoadFailure, RunnerView


def views(board: Board, pids: Mapping[int, int], now: float) -> list[RunnerView]:
    """Every runner, oldest first; `pids` by runner number."""
    return [view(board, runner, pids.get(runner.id, 0), now) for runner in board.runners.values()]


def view(board: Board, runner: Runner, pid: int, now: float) -> RunnerView:
    """One runner."""
    entry, have = runner.entry, runner.readback
    extra = sum(need.total for need in runner.later.values())
    by_hand = hand(entry, runner, now)
    return RunnerView(
        model=entry.model,
        names=entry.names,
        key=entry.key,
        digest=runner.deployment.weights_digest,
        pid=pid,
        state="draining" if runner.phase is Phase.READY and runner.leaving else runner.phase.value,
        context=have.context if have else runner.deployment.context,
        parallel=runner.deployment.parallel,
        size=have.size + extra if have and have.size else sum(board.ledger.held(runner.id).values()),
        size_vram=have.size_gpu if have else 0,
        expires_at=_expires(board, runner, now),
        requests=runner.users,
        queued=sum(not waiter.want.quiet for waiter in runner.queue()),
        progress=runner.fraction,
        readback=have,
        stats=runner.stats,
        override=by_hand.message if by_hand else "",
        override_owner=by_hand.owner if by_hand else "",
        override_until=by_hand.until if by_hand else None,
        loaded_at=None if have is None else runner.ready_at,
        answered_at=runner.answered,
        needs=runner.need.source,
        devices=have.devices if have else {},
        load_seconds=None if have is None else runner.load_seconds,
    )


def _expires(board: Board, runner: Runner, now: float) -> float | None:
    """When it goes if nobody asks again; a busy one counts from now."""
    if runner.phase is Phase.STOPPING or runner.leaving:
        return now
    at = runner.entry.expiry(runner, board.config.keep_alive)
    if runner.users or runner.phase is Phase.LOADING:
        at += now - runner.used
    return None if math.isinf(at) else at


def overrides(board: Board, now: float) -> list[Hand]:
    """Every override that holds, also of what is not in memory."""
    found = [hand(entry, entry.current, now) for entry in board.entries.values()]
    return [each for each in found if each is not None]


def hand(entry: Entry, runner: Runner | None, now: float) -> Hand | None:
    """Whose hand is on it and until when; None when it is as declared."""
    said = entry.override
    if said is not None and said.stands(now):
        until = "until the next request" if said.until is None else f"for {said.until - now:.0f} s more"
        message = f"{said.kind} by the {said.owner} {until}"
        return Hand(entry.model, entry.key, said.kind, said.owner, said.until, message)
    if runner is None or runner.sticky is None or entry.kept:
        return None
    message = f"keep_alive {'for ever' if math.isinf(runner.sticky) else f'{runner.sticky:g} s'} asked for by a client"
    return Hand(entry.model, entry.key, "keep_alive", "client", None, message)


def failures(board: Board) -> list[LoadFailure]:
    """Every deployment whose last load failed, the latest first."""
    failed = [entry.failure for entry in board.entries.values() if entry.failure is not None]
    return sorted(failed, key=lambda failure: -failure.at)
