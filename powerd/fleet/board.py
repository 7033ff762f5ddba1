"""Board: everything the fleet knows at one moment, and the few moves that change it (pure).

Each move keeps the collections in step, tells the entry's story and puts its effect on the way out; who decides on
moves is `admission` and `state`.
"""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

from powerd.errors import PowerError
from powerd.fleet.budget import Estimate
from powerd.fleet.effects import Effect, Emit, Grant, Loaded, Refuse, Spawn, Stop
from powerd.fleet.entries import Entry, Phase, Place, Runner, Waiter
from powerd.fleet.ledger import Ledger
from powerd.fleet.residency import Demand
from powerd.fleet.story import Story
from powerd.fleet.terms import EventKind, FleetConfig, FleetEvent, Reason
from powerd.protocol import Deployment

#: Entries remembered although nothing depends on them (their grown context and story).
REMEMBERED = 256


class Board:
    """The collections of FleetState and the moves on them."""

    def __init__(
        self,
        config: FleetConfig,
        ledger: Ledger,
        needs: Callable[[Deployment], Estimate],
        jitter: Callable[[], float],
    ) -> None:
        self.config = config
        self.ledger = ledger
        self.needs = needs
        self.jitter = jitter
        self.entries: dict[str, Entry] = {}
        self.runners: dict[int, Runner] = {}
        self.waiting: dict[int, Entry] = {}  # where each ticket waits, in the order of arrival
        self.crowd: Counter[str] = Counter()  # how many of them want a place, by scheduling class
        self.canaries: set[int] = set()  # those of them that are quiet
        self.leases: dict[int, Runner] = {}  # what each ticket holds
        self.last_ticket = 0
        self.virtual = 0.0  # the virtual time of the request granted last (see `classes`)
        self.refusal: Callable[[], PowerError] | None = None  # why nothing may be loaded or leased
        self._last_runner = 0
        self._out: list[Effect] = []

    def take(self) -> list[Effect]:
        """The effects since the last call, in order."""
        effects, self._out = self._out, []
        return effects

    def entry(self, deployment: Deployment, model: str) -> Entry:
        """The entry of this key, made if need be, with the deployment as it is asked for."""
        entry = self.entries.get(deployment.key)
        if entry is None:
            self._forget_cold()
            entry = self.entries[deployment.key] = Entry(deployment.key, deployment, model, Story())
        entry.deployment = deployment if entry.wish is None else entry.wish.deployment
        if entry.wish is None and entry.current is None:  # those on their way out may be of a name that is gone
            entry.model = model
        return entry

    def _forget_cold(self) -> None:
        if len(self.entries) >= REMEMBERED:
            cold = next((key for key, entry in self.entries.items() if entry.cold), None)
            if cold is not None:
                del self.entries[cold]

    def requests(self) -> Iterator[Waiter]:
        """Every request that waits, canaries left out, the latest first."""
        waiters = (self.waiting[ticket].waiters[ticket] for ticket in reversed(self.waiting))
        return (waiter for waiter in waiters if not waiter.want.quiet)

    def copied(self) -> Board:
        """A board as this one is, which can be played on without touching it. What is immutable is shared."""
        other = Board(self.config, copy.deepcopy(self.ledger), self.needs, lambda: 1.0)
        for key, entry in self.entries.items():
            twin = other.entries[key] = replace(entry, story=Story(), runners=[], override=copy.copy(entry.override))
            twin.waiters = {ticket: replace(waiter) for ticket, waiter in entry.waiters.items()}
            twin.runners = [replace(runner, entry=twin, leases=dict(runner.leases)) for runner in entry.runners]
        twins = {runner.id: runner for entry in other.entries.values() for runner in entry.runners}
        other.runners = {number: twins[number] for number in self.runners}
        other.waiting = {ticket: other.entries[entry.key] for ticket, entry in self.waiting.items()}
        other.leases = {ticket: twins[runner.id] for ticket, runner in self.leases.items()}
        other.crowd, other.canaries = self.crowd.copy(), self.canaries.copy()
        other.last_ticket, other.virtual, other.refusal = self.last_ticket, self.virtual, self.refusal
        other._last_runner = self._last_runner
        return other

    # ------------------------------------------------------------ moves on requests

    def enqueue(self, entry: Entry, waiter: Waiter) -> None:
        """A request waits for its lease."""
        entry.enqueue(waiter)
        self.waiting[waiter.ticket] = entry
        if waiter.want.quiet:
            self.canaries.add(waiter.ticket)
        elif not waiter.load_only:
            self.crowd[waiter.want.scheduling_class] += 1

    def drop(self, ticket: int) -> None:
        """A request waits no more."""
        entry = self.waiting.pop(ticket, None)
        if entry is None:
            return
        waiter = entry.waiters.pop(ticket)
        self.canaries.discard(ticket)
        if not (waiter.want.quiet or waiter.load_only):
            self.crowd[waiter.want.scheduling_class] -= 1

    def refuse(self, waiter: Waiter, error: PowerError) -> None:
        """A waiting request ends with an error."""
        self.drop(waiter.ticket)
        self._out.append(Refuse(waiter.ticket, error))

    def grant(self, waiter: Waiter, runner: Runner, now: float) -> None:
        """A waiting request gets its place, or word that the model is loaded."""
        self.drop(waiter.ticket)
        want = waiter.want
        if not want.quiet:
            runner.used = now
            self.virtual = max(self.virtual, waiter.turn[0])
        if want.keep_alive is not None:
            runner.sticky = want.keep_alive if want.keep_alive >= 0 else math.inf
        if waiter.load_only:
            self._out.append(Loaded(waiter.ticket, runner.id))
            return
        runner.heard = max(runner.heard, now) if runner.leases else now
        runner.leases[waiter.ticket] = Place(want, now)
        self.leases[waiter.ticket] = runner
        ignored = runner.entry.kept and want.keep_alive is not None and 0 <= want.keep_alive < math.inf
        self._out.append(Grant(waiter.ticket, runner.id, want, ignored))

    def release(self, ticket: int, now: float) -> None:
        """A place is free again; nothing happens for a ticket that holds none (its runner died)."""
        runner = self.leases.pop(ticket, None)
        if runner is not None and not runner.leases.pop(ticket).want.quiet:
            runner.used = now

    # ------------------------------------------------------------ moves on runners

    def spawn(self, demand: Demand, now: float) -> None:
        """Start a runner with its memory promised."""
        self._last_runner += 1
        entry = demand.entry
        runner = Runner(self._last_runner, entry, demand.deployment, demand.need, now, now + self.config.load_timeout)
        self.ledger.reserve(runner.id, demand.need.by_device)
        self.runners[runner.id] = runner
        entry.runners.append(runner)
        entry.warm = False
        entry.waiting = ""
        self._out.append(Spawn(runner.id, entry.model, demand.deployment))
        cause = "because it is declared" if demand.wish else "for a request"
        text = (
            f"loading {cause}, {demand.deployment.context} tokens of context for {demand.deployment.parallel} at once"
        )
        self.emit("load", entry, "", text, now)

    def stop(self, runner: Runner, reason: Reason, why: str, now: float, error: PowerError | None = None) -> None:
        """End a runner, with `error` under its requests; its memory comes back when its process is gone."""
        runner.phase = Phase.STOPPING
        runner.reason = reason
        runner.why = why
        runner.entry.story.tell(now, f"stopping: {why}")
        self._out.append(Stop(runner.id, error))

    def leave(self, runner: Runner, reason: Reason) -> None:
        """Let a runner serve those who have asked up to now, and nobody after."""
        if runner.staying:
            runner.leaving = reason
            runner.served_below = self.last_ticket + 1

    def gone(self, runner: Runner) -> None:
        """A runner's process has been reaped: its leases and its memory are no more."""
        for ticket in runner.leases:
            del self.leases[ticket]
        runner.leases.clear()
        runner.phase = Phase.STOPPING
        runner.entry.runners.remove(runner)
        del self.runners[runner.id]
        self.ledger.release(runner.id)

    def emit(self, kind: EventKind, entry: Entry, reason: str, message: str, now: float) -> None:
        """Tell the entry's story and whoever watches."""
        entry.story.tell(now, message)
        self._out.append(Emit(FleetEvent(kind, entry.model, entry.key, reason, message)))
