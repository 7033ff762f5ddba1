"""Cross-verification of a Board: what must be true between any two events (pure).

Tests call it after every event. Each rule is an assertion that names what it protects.
"""

from __future__ import annotations

from collections import Counter

from powerd.fleet.board import Board
from powerd.fleet.entries import Entry, Phase, Runner


def check(board: Board) -> None:
    """Raise AssertionError with the rule that does not hold."""
    waiting = {ticket: entry for entry in board.entries.values() for ticket in entry.waiters}
    assert waiting == board.waiting, "every waiting ticket stands in exactly one entry"
    canaries = {ticket for ticket, entry in waiting.items() if entry.waiters[ticket].want.quiet}
    assert canaries == board.canaries, "canaries are known"
    queue = Counter(waiter.want.scheduling_class for waiter in board.requests() if not waiter.load_only)
    assert queue == +board.crowd, "those who wait are counted"
    assert all(count <= board.config.max_queue for count in queue.values()), "the queue of each class is bounded"
    assert not waiting.keys() & board.leases.keys(), "nobody waits and holds at once"
    held = {ticket: runner for runner in board.runners.values() for ticket in runner.leases}
    assert held == board.leases, "every lease is held on exactly one runner"
    living = {runner.id for entry in board.entries.values() for runner in entry.runners}
    assert living == set(board.runners), "every runner belongs to exactly one entry"
    _check_ledger(board)
    for entry in board.entries.values():
        _check_turns(entry)
        for runner in entry.runners:
            _check_runner(board, entry, runner)
    assert board.refusal is None or not board.waiting, "nobody waits for a fleet that refuses"


def _check_turns(entry: Entry) -> None:
    turns = [waiter.turn for waiter in entry.waiters.values()]
    assert turns == sorted(turns), "waiters stand in the order of their turns"
    for kind in {waiter.want.scheduling_class for waiter in entry.waiters.values()}:
        same = [w.ticket for w in entry.waiters.values() if w.want.scheduling_class == kind and not w.want.quiet]
        assert same == sorted(same), "within a class nobody overtakes"
    for waiter in entry.waiters.values():
        loads = any(runner.phase is Phase.LOADING and runner.takes(waiter) for runner in entry.runners)
        assert waiter.stopped is None or loads, "the clock of a request stands still only while its runner loads"
        assert not waiter.want.quiet or any(runner.serving for runner in entry.runners), "a canary waits for no load"


def _check_ledger(board: Board) -> None:
    ledger = board.ledger
    assert ledger.holders() == set(board.runners), "memory is promised to runners, and to all of them"
    for device in ledger.devices:
        admitted = sum(runner.need.by_device.get(device, 0) for runner in board.runners.values())
        assert admitted <= ledger.budget(device), f"no admission passes the budget of {device}"
        held = sum(ledger.held(number).get(device, 0) for number in board.runners)
        assert ledger.reserved(device) == held >= admitted, f"the sum of {device} is right"


def _check_runner(board: Board, entry: Entry, runner: Runner) -> None:
    assert runner.entry is entry, "a runner knows its entry"
    assert len(runner.leases) <= runner.deployment.parallel, "no more leases than places"
    assert runner.phase is not Phase.LOADING or not runner.leases, "nobody holds a place on a runner that loads"
    assert (runner.reason is not None) == (runner.phase is Phase.STOPPING), "every stop has its reason"
    if runner.reason in {"evicted", "idle"}:
        assert not runner.leases, "only idle runners are evicted or time out"
