"""Gauges: the fleet's numbers in the Prometheus registry.

Counters follow the events; gauges are set from the state a moment after it changed, once for many changes.
"""

from __future__ import annotations

from powerd import metrics
from powerd.fleet.board import Board
from powerd.fleet.entries import Phase, Runner
from powerd.fleet.ledger import measured as measured_sizes
from powerd.fleet.terms import FleetEvent, Reason
from powerd.protocol import Stats


def count(event: FleetEvent) -> None:
    """Count what happened."""
    if event.kind == "ready":
        metrics.LOADS.labels(event.model, "ready").inc()
    elif event.kind == "error" and event.reason in {Reason.LOAD_FAILED, "out-of-memory"}:
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
        error = sum(measured_sizes(have).values()) - runner.need.total
        metrics.ESTIMATE_ERROR.labels(runner.entry.model).set(error)
        metrics.ESTIMATE_RATIO.labels(runner.entry.model).set(error / max(runner.need.total, 1))


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
        for device in board.ledger.devices:
            metrics.MEMORY_BUDGET.labels(device).set(board.ledger.budget(device))
            metrics.MEMORY_RESERVED.labels(device).set(board.ledger.reserved(device))
        shown: set[str] = set()
        for entry in board.entries.values():
            if entry.cold:
                continue
            shown.add(entry.model)
            metrics.RUNNING.labels(entry.model).set(sum(runner.users for runner in entry.runners))
            metrics.QUEUED.labels(entry.model).set(sum(not waiter.want.quiet for waiter in entry.waiters.values()))
            ready = any(runner.phase is Phase.READY for runner in entry.runners)
            metrics.LOADED.labels(entry.model).set(int(ready))
        for model in self._known - shown:
            metrics.forget(model)
        self._known = shown
