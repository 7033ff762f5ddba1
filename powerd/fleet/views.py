"""What listings show of a Board (pure)."""

from __future__ import annotations

import math
from collections.abc import Mapping

from powerd.fleet.board import Board
from powerd.fleet.entries import Entry, Phase, Runner
from powerd.fleet.terms import RunnerView


def views(board: Board, pids: Mapping[int, int], now: float) -> list[RunnerView]:
    """Every runner, oldest first; `pids` by runner number."""
    return [view(board, runner, pids.get(runner.id, 0), now) for runner in board.runners.values()]


def view(board: Board, runner: Runner, pid: int, now: float) -> RunnerView:
    """One runner."""
    entry, have = runner.entry, runner.readback
    return RunnerView(
        model=entry.model,
        names=entry.names,
        key=entry.key,
        digest=runner.deployment.weights_digest,
        pid=pid,
        state="draining" if runner.phase is Phase.READY and runner.leaving else runner.phase.value,
        context=have.context if have else runner.deployment.context,
        parallel=runner.deployment.parallel,
        size=have.size if have and have.size else board.ledger.held(runner.id),
        size_vram=have.size_gpu if have else 0,
        expires_at=_expires(board, runner, now),
        requests=len(runner.leases),
        queued=sum(1 for _ in runner.queue()),
        progress=runner.fraction,
        readback=have,
        stats=runner.stats,
        override=override(entry, runner, now),
    )


def _expires(board: Board, runner: Runner, now: float) -> float | None:
    """When it goes if nobody asks again; a busy one counts from now."""
    if runner.phase is Phase.STOPPING or runner.leaving:
        return now
    at = runner.entry.expiry(runner, board.config.keep_alive)
    if runner.leases or runner.phase is Phase.LOADING:
        at += now - runner.used
    return None if math.isinf(at) else at


def override(entry: Entry, runner: Runner | None, now: float) -> str:
    """Whose hand is on it, as a phrase; "" when it is as declared."""
    hand = entry.override
    if hand is not None and hand.stands(now):
        until = "until the next request" if hand.until is None else f"for {hand.until - now:.0f} s more"
        return f"{hand.kind} by the operator {until}"
    if runner is None or runner.sticky is None or entry.kept:
        return ""
    return f"keep_alive {'for ever' if math.isinf(runner.sticky) else f'{runner.sticky:g} s'} asked for by a client"
