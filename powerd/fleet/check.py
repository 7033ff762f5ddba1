"""Cross-verification of a Board: what must be true between any two events (pure).

Tests call it after every event. Each rule is an assertion that names what it protects.
"""

from __future__ import annotations

from powerd.fleet.board import Board
from powerd.fleet.entries import Entry, Phase, Runner


def check(board: Board) -> None:
    """Raise AssertionError with the rule that does not hold."""
    waiting = {ticket: entry for entry in board.entries.values() for ticket in entry.waiters}
    assert waiting == board.waiting, "every waiting ticket stands in exactly one entry"
    queue = [waiter for entry in board.entries.values() for waiter in entry.waiters.values() if not waiter.load_only]
    assert len(queue) <= board.config.max_queue, "the queue is bounded"
    assert not waiting.keys() & board.leases.keys(), "nobody waits and holds at once"
    held = {ticket: runner for runner in board.runners.values() for ticket in runner.leases}
    assert held == board.leases, "every lease is held on exactly one runner"
    living = {runner.id for entry in board.entries.values() for runner in entry.runners}
    assert living == set(board.runners), "every runner belongs to exactly one entry"
    _check_ledger(board)
    for entry in board.entries.values():
        assert list(entry.waiters) == sorted(entry.waiters), "the queue is in the order of arrival"
        for runner in entry.runners:
            _check_runner(board, entry, runner)
    assert board.refusal is None or not board.waiting, "nobody waits for a fleet that refuses"


def _check_ledger(board: Board) -> None:
    ledger = board.ledger
    assert ledger.holders() == set(board.runners), "memory is promised to runners, and to all of them"
    assert ledger.reserved == sum(ledger.held(number) for number in board.runners), "the ledger's sum is right"
    admitted = sum(board.runners[number].admitted for number in board.runners)
    assert admitted <= ledger.budget, "no admission passes the budget"


def _check_runner(board: Board, entry: Entry, runner: Runner) -> None:
    assert runner.entry is entry, "a runner knows its entry"
    assert len(runner.leases) <= runner.deployment.parallel, "no more leases than places"
    assert runner.phase is not Phase.LOADING or not runner.leases, "nobody holds a place on a runner that loads"
    assert (runner.reason is not None) == (runner.phase is Phase.STOPPING), "every stop has its reason"
    if runner.reason in {"evicted", "idle"}:
        assert not runner.leases, "only idle runners are evicted or time out"
