"""Settle: after every event, do all that the state of things allows (pure).

Nothing here remembers a plan: who yields to whom is worked out afresh each time, so a request that goes away takes its
claims with it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from powerd.errors import Busy, DoesNotFit
from powerd.fleet import classes
from powerd.fleet.board import Board
from powerd.fleet.entries import NEVER, Entry, Phase, Runner, Turn, Waiter
from powerd.fleet.later import Extra, extras, meet, missing
from powerd.fleet.residency import Demand, Room, busy, candidates, names, needed, parting, rest, spares
from powerd.fleet.terms import Reason

#: Seconds after which a request refused for memory may be worth another try.
RETRY_AFTER = 30.0


def settle(board: Board, now: float) -> None:
    """Unload what is due, load what is wanted and fits, hand out places."""
    for entry in board.entries.values():
        if entry.override is not None and not entry.override.stands(now):
            entry.override = None
    _retire(board, now)
    _grant(board, _admit(board, now), now)
    _hush(board)
    classes.keep_clocks(board, now)


def due(board: Board, now: float) -> float:
    """When something happens without an event; inf = never."""
    config = board.config
    times = [math.inf]
    for entry in board.entries.values():
        times += [waiter.deadline for waiter in entry.waiters.values()]
        times += [waiter.limit for waiter in entry.waiters.values() if waiter.stopped is None]
        if entry.next_try > now and (entry.waiters or wished(entry)):
            times.append(entry.next_try)
        if entry.override is not None and entry.override.until is not None:
            times.append(entry.override.until)
    for runner in board.runners.values():
        if runner.phase is Phase.LOADING:
            times.append(runner.deadline)
        elif runner.phase is Phase.READY:
            if runner.leases:
                times.append(runner.heard + config.stall_timeout)
            elif not runner.wanted:
                times.append(runner.entry.expiry(runner, config.keep_alive))
            if board.waiting and now < (until := rest(runner, config.min_residency)):
                times.append(until)
    return min(times)


def wished(entry: Entry) -> bool:
    """Whether it should be in memory without anybody asking."""
    stopped = entry.override is not None and entry.override.kind == "stopped"
    return (entry.kept and not stopped) or entry.warm


# ---------------------------------------------------------------- out of memory


def _retire(board: Board, now: float) -> None:
    for runner in list(board.runners.values()):
        if runner.phase is Phase.STOPPING or runner.leases or runner.wanted:
            continue
        entry = runner.entry
        by_hand = entry.override is not None and entry.override.kind == "stopped"
        if runner.leaving is not None:
            board.stop(runner, runner.leaving, _PARTING[runner.leaving], now)
        elif by_hand:
            board.stop(runner, Reason.OPERATOR, "stopped by the operator", now)
        elif runner.phase is Phase.READY and entry.expiry(runner, board.config.keep_alive) <= now:
            seconds = entry.keep_alive(runner, board.config.keep_alive)
            board.stop(runner, Reason.IDLE, f"idle for its keep_alive of {max(0.0, seconds):g} s", now)


_PARTING = {
    Reason.CONFIG: "its declaration changed or went away",
    Reason.REPLACED: "replaced by a runner with a larger context",
    Reason.SHUTDOWN: "the server is shutting down",
}


# ---------------------------------------------------------------- into memory


def _admit(board: Board, now: float) -> dict[int, Turn]:
    """Load what fits and make room for what does not yet.

    Returns, for each runner that has to yield, the turn it yields to: nobody after that one is served on it.
    """
    promises: dict[int, Turn] = {}
    if board.refusal is not None:
        return promises
    room = Room(board.ledger, board.runners, board.config.max_loaded_models)
    found: list[Demand | Extra] = list(extras(board))
    found += [demand for entry in board.entries.values() if (demand := _demand(board, entry, now)) is not None]
    for first in sorted(found, key=_precedence):
        if isinstance(first, Extra):
            meet(board, room, first, now)
        elif (demand := _feasible(board, room, first, now)) is not None:
            _meet(board, room, demand, promises, now)
    return promises


def _precedence(wanted: Demand | Extra) -> tuple[Turn, bool, int, str]:
    demand = wanted.demand if isinstance(wanted, Extra) else wanted
    return (demand.turn, not demand.entry.pinned, -demand.entry.priority, demand.entry.key)


def _demand(board: Board, entry: Entry, now: float) -> Demand | None:
    unserved = entry.unserved()
    if not unserved and not (wished(entry) and entry.current is None):
        entry.waiting = ""
        return None
    if now < entry.next_try:
        entry.waiting = f"{entry.fault}; tried again in {entry.next_try - now:.0f} s"
        return None
    if entry.after & board.runners.keys():
        return None
    deployment = entry.target(unserved)
    return Demand(entry, deployment, board.needs(deployment), unserved[0].turn if unserved else NEVER)


def _feasible(board: Board, room: Room, demand: Demand | None, now: float) -> Demand | None:
    """The demand, cut down to what can ever fit.

    The requests with the largest context go first, refused with the numbers; then the context it once grew to.
    """
    while demand is not None and (reason := room.never(demand)):
        entry, context = demand.entry, demand.deployment.context
        if context > max(entry.deployment.context, entry.grown):
            _refuse(board, [waiter for waiter in entry.unserved() if waiter.context == context], reason)
        elif entry.grown > entry.deployment.context:
            entry.grown = 0
        else:
            _refuse(board, entry.unserved(), reason)
            _give_up(board, entry, reason, now)
            return None
        demand = _demand(board, entry, now)
    return demand


def _refuse(board: Board, waiters: list[Waiter], reason: str) -> None:
    for waiter in waiters:
        board.refuse(waiter, DoesNotFit(reason, RETRY_AFTER))


def _give_up(board: Board, entry: Entry, reason: str, now: float) -> None:
    if wished(entry) and entry.waiting != reason:
        board.emit("error", entry, "does-not-fit", reason, now)
    entry.story.tell(now, reason)
    entry.waiting = reason
    entry.warm = False


def _meet(board: Board, room: Room, demand: Demand, promises: dict[int, Turn], now: float) -> None:
    if not room.admits(demand):
        residency = board.config.min_residency
        victims = room.victims(demand, candidates(demand, board.runners.values(), now, residency))
        if victims and not any(runner.leases or busy(runner, demand, now, residency) for runner in victims):
            _evict(board, victims, demand, now)
        else:
            for runner in victims or ():
                room.leave(runner)
                promises[runner.id] = min(demand.turn, promises.get(runner.id, NEVER))
    if room.admits(demand):
        board.spawn(demand, now)
        return
    demand.entry.waiting = _in_the_way(board, room, demand)
    if not demand.wish and (kept := _kept_out(board, room, demand)):
        _refuse(board, demand.entry.unserved(), kept)
    elif not demand.wish:
        room.claim(demand)


def _kept_out(board: Board, room: Room, demand: Demand) -> str:
    """Why an embedding model is not waited for: models that chat hold the room, and stay."""
    if not demand.entry.embeds:
        return ""
    staying = [runner for runner in board.runners.values() if runner.staying]
    spared = [runner for runner in staying if spares(demand.entry, runner.entry)]
    others = [runner for runner in staying if runner not in spared]
    if not spared or not room.lacks(demand, others):
        return ""
    return (
        f"model '{demand.entry.model}' does not fit beside {names(spared)}: {needed(demand.deployment, demand.need)}, "
        f"and an embedding model does not unload one that chats unless it has a higher priority"
    )


def _in_the_way(board: Board, room: Room, demand: Demand) -> str:
    if demand.wish:
        return "waiting for room: it is loaded when it fits beside what is in use"
    devices = set(room.lacks(demand)) or demand.sizes.keys()
    held = {number: board.ledger.held(number) for number in board.runners}
    holders = [runner for runner in board.runners.values() if any(held[runner.id].get(device) for device in devices)]
    where = f" on {', '.join(sorted(devices))}" if len(board.ledger.devices) > 1 else ""
    return f"waiting for the room that {names(holders)} still take{where}"


def _evict(board: Board, victims: list[Runner], demand: Demand, now: float) -> None:
    for runner in victims:
        if runner.entry is demand.entry:
            board.stop(runner, Reason.REPLACED, "to be loaded again with a larger context", now)
        else:
            board.stop(runner, Reason.EVICTED, parting(runner, demand.entry.model, now), now)


# ---------------------------------------------------------------- places


def _grant(board: Board, promises: dict[int, Turn], now: float) -> None:
    for entry in {board.waiting[ticket].key: board.waiting[ticket] for ticket in board.waiting}.values():
        for runner in reversed(entry.runners):
            if runner.serving:
                _serve(board, runner, _limit(board, runner, promises, now), now)


def _limit(board: Board, runner: Runner, promises: dict[int, Turn], now: float) -> Turn:
    """The turn from which on requests are not served on this runner."""
    fresh = now < rest(runner, board.config.min_residency)
    return NEVER if fresh or runner.id not in promises else promises[runner.id]


def _serve(board: Board, runner: Runner, limit: Turn, now: float) -> None:
    for waiter in list(_next(runner, limit)):
        board.grant(waiter, runner, now)


def _next(runner: Runner, limit: Turn) -> Iterator[Waiter]:
    """Whose turn it is: as many as there are places, and all who only wait for the load.

    Who waits for more memory than the runner was promised lets others pass.
    """
    free = runner.deployment.parallel - len(runner.leases)
    watched = any(waiter.load_only for waiter in runner.entry.waiters.values())
    if not (free or watched):
        return
    for waiter in runner.queue():
        if waiter.turn >= limit or not (free or watched):
            return
        if waiter.load_only:
            yield waiter
        elif free and not any(missing(runner, waiter)):
            free -= 1
            yield waiter


def _hush(board: Board) -> None:
    """Refuse the canaries for which no runner is ready: they wake nobody."""
    for ticket in list(board.canaries):
        entry = board.waiting[ticket]
        waiter = entry.waiters[ticket]
        if not any(runner.serving and runner.takes(waiter) for runner in entry.runners):
            board.refuse(waiter, Busy(f"model '{entry.model}' is not ready"))
