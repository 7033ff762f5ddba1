"""Gauges: the fleet's numbers in the Prometheus registry.

Counters follow the events; gauges are set from the state a moment after it changed, once for many changes.
"""

from __future__ import annotations

from powerd import metrics
from powerd.fleet.board import Board
from powerd.fleet.budget import estimate
from powerd.fleet.entries import Phase, Runner
from powerd.fleet.terms import FleetEvent, Reason
from powerd.protocol import Stats


def count(event: FleetEvent) -> None:
    """Count what happened."""
    if event.kind == "ready":
        metrics.LOADS.labels(event.model, "ready").inc()
    elif event.kind == "error" and event.reason == Reason.LOAD_FAILED:
        metrics.LOADS.labels(event.model, "timeout" if "timed out" in event.message else "failed").inc()
    elif event.kind == "unload":
        metrics.UNLOADS.labels(event.model, event.reason).inc()
    elif event.kind == "crash":
        metrics.CRASHES.labels(event.model).inc()


def loaded(runner: Runner) -> None:
    """Record a finished load and how far its estimate was off."""
    have = runner.readback
    if have is not None:
        metrics.LOAD_SECONDS.labels(runner.entry.model).observe(runner.ready_at - runner.started)
        error = (have.size or have.rss) - estimate(runner.deployment).total
        metrics.ESTIMATE_ERROR.labels(runner.entry.model).set(error)


def measured(model: str, stats: Stats) -> None:
    """Record an engine's gauges."""
    metrics.CELLS_USED.labels(model).set(stats.cells_used)
    metrics.CELLS_TOTAL.labels(model).set(stats.cells_total)
    metrics.BATCH_ROWS.labels(model).set(stats.batch_rows_max)


class Gauges:
    """Keeps the per-model gauges in step with a Board."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._known: set[str] = set()

    def refresh(self) -> None:
        """Set every gauge; drop those of models the fleet has nothing of."""
        board = self._board
        metrics.MEMORY_BUDGET.labels(board.ledger.device).set(board.ledger.budget)
        metrics.MEMORY_RESERVED.labels(board.ledger.device).set(board.ledger.reserved)
        shown: set[str] = set()
        for entry in board.entries.values():
            if entry.cold:
                continue
            shown.add(entry.model)
            metrics.RUNNING.labels(entry.model).set(sum(len(runner.leases) for runner in entry.runners))
            metrics.QUEUED.labels(entry.model).set(len(entry.waiters))
            ready = any(runner.phase is Phase.READY for runner in entry.runners)
            metrics.LOADED.labels(entry.model).set(int(ready))
        for model in self._known - shown:
            metrics.forget(model)
        self._known = shown
