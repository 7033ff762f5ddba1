"""The records FleetState keeps: one Entry per deployment key, with its Runners and Waiters (pure)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

import msgspec

from powerd.fleet.budget import Estimate
from powerd.fleet.story import Story
from powerd.fleet.terms import LoadFailure, Reason, Want, Wish
from powerd.protocol import Deployment, ReadBack, Stats

#: A request's place in the order of service, least first: its virtual time, then its ticket (see `classes`).
Turn = tuple[float, int]
#: The turn of what nobody asked for.
NEVER: Turn = (math.inf, 0)

#: Seconds before the restart after the first, second … failure in a row (reliability X01).
BACK_OFF = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
#: Seconds before the next try of what ran out of memory although everything idle had been evicted.
COOL_DOWN = (60.0, 120.0, 300.0, 600.0)
#: A runner that was ready this long makes its earlier failures forgotten.
HEALTHY_SECONDS = 600.0


class Phase(StrEnum):
    """Where a process stands. It only moves down this list."""

    LOADING = "loading"
    READY = "ready"
    STOPPING = "stopping"


@dataclass(slots=True)
class Waiter:
    """A request without a lease."""

    ticket: int
    want: Want
    context: int  # tokens per sequence it needs
    since: float
    turn: Turn
    deadline: float = math.inf  # the request's own; nothing stops this clock
    limit: float = math.inf  # its class's max_wait; moves out while a runner of its own loads
    stopped: float | None = None  # since when that clock stands still
    load_only: bool = False  # content as soon as the model is loaded; takes no place


@dataclass(frozen=True, slots=True)
class Place:
    """A lease: what holds it, and since when."""

    want: Want
    since: float


@dataclass(slots=True)
class Override:
    """Somebody's hand on one entry: it stands until `until`, or (None) until the next request or change of its wish."""

    kind: Literal["stopped", "loaded"]
    until: float | None
    owner: str = "operator"

    def stands(self, now: float) -> bool:
        """Whether it still holds."""
        return self.until is None or now < self.until


@dataclass(slots=True)
class Runner:
    """One process and who uses it."""

    id: int
    entry: Entry
    deployment: Deployment  # with the context it was started with
    need: Estimate  # what it was admitted with
    started: float
    deadline: float  # while loading: when progress must have been heard
    phase: Phase = Phase.LOADING
    fraction: float = 0.0
    ready_at: float = math.inf
    readback: ReadBack | None = None
    stats: Stats | None = None
    leases: dict[int, Place] = field(default_factory=dict)  # by ticket
    used: float = 0.0  # when a lease that is no canary's was last granted or released
    answered: float | None = None  # when it last finished a request that is no canary's
    heard: float = 0.0  # when a frame last came while requests were in flight
    sticky: float | None = None  # the last keep-alive a client asked for
    leaving: Reason | None = None  # no new leases; stops when those it has end
    served_below: int = 0  # while leaving: tickets below this one are still served here
    reason: Reason | None = None  # why it is stopping
    why: str = ""  # the same, as a sentence
    later: Mapping[str, Estimate] = field(default_factory=dict)  # what it came to hold since, by what for

    @property
    def serving(self) -> bool:
        """Whether leases can be had on it."""
        return self.phase is Phase.READY

    @property
    def users(self) -> int:
        """Leases on it that are no canary's."""
        return sum(not place.want.quiet for place in self.leases.values())

    @property
    def load_seconds(self) -> float:
        """What it took to load; 0 until it is known."""
        return 0.0 if math.isinf(self.ready_at) else self.ready_at - self.started

    @property
    def has_room(self) -> bool:
        """Whether a place is free and nobody waits for it."""
        return len(self.leases) < self.deployment.parallel and not self.wanted

    @property
    def staying(self) -> bool:
        """Whether it is alive and nobody has decided that it goes."""
        return self.phase is not Phase.STOPPING and self.leaving is None

    def takes(self, waiter: Waiter) -> bool:
        """Whether this waiter's place is here, once there is one."""
        if self.phase is Phase.STOPPING or waiter.context > self.deployment.context:
            return False
        return self.leaving is None or waiter.ticket < self.served_below

    def queue(self) -> Iterator[Waiter]:
        """Who waits for a place here, in the order of their turns."""
        return (waiter for waiter in self.entry.waiters.values() if self.takes(waiter))

    @property
    def wanted(self) -> bool:
        """Whether anybody but a canary waits for a place here."""
        return any(self.takes(waiter) for waiter in self.entry.waiters.values() if not waiter.want.quiet)


@dataclass(slots=True)
class Entry:
    """What the fleet knows of one deployment key; outlives its runners."""

    key: str
    deployment: Deployment  # as last asked for
    model: str  # the name it is shown and counted under
    story: Story
    wish: Wish | None = None
    priority: int = 0
    default_keep_alive: float | None = None
    waiters: dict[int, Waiter] = field(default_factory=dict)  # by ticket, in the order of their turns
    held_up: bool = False  # whether the clock of one of them stands still
    runners: list[Runner] = field(default_factory=list)  # oldest first
    grown: int = 0  # the largest context it was ever ready with
    load_seconds: float = 0.0  # what the last load took
    faults: int = 0  # failures in a row
    fault: str = ""  # the last one
    short: bool = False  # whether that was a want of memory
    kills: int = 0  # times in a row that the kernel ended it for want of memory
    shortages: int = 0  # times in a row that it was found not to fit by trying
    failure: LoadFailure | None = None  # the last load, when it failed
    next_try: float = 0.0  # no spawn before
    after: frozenset[int] = frozenset()  # runners that must be gone before the next spawn (a load ran out of memory)
    override: Override | None = None
    warm: bool = False  # load once without a request
    waiting: str = ""  # why a load does not begin, as a sentence

    @property
    def pinned(self) -> bool:
        """Whether only the operator may unload it."""
        return self.wish is not None and self.wish.pinned

    @property
    def embeds(self) -> bool:
        """Whether it is an embedding model, which never takes the room of one that chats unless it has priority."""
        return bool(self.deployment.shape.pooling)

    @property
    def kept(self) -> bool:
        """Whether idleness never unloads it."""
        return self.wish is not None and (self.wish.loaded or self.wish.pinned)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name it serves."""
        return self.wish.names if self.wish else (self.model,)

    @property
    def current(self) -> Runner | None:
        """The newest runner that is not on its way out."""
        return next((runner for runner in reversed(self.runners) if runner.staying), None)

    @property
    def cold(self) -> bool:
        """Whether nothing depends on remembering it."""
        return not (self.wish or self.waiters or self.runners or self.override)

    def enqueue(self, waiter: Waiter) -> None:
        """Somebody waits from now on."""
        last = next(reversed(self.waiters.values()), waiter)
        self.waiters[waiter.ticket] = waiter
        if last.turn > waiter.turn:
            self.waiters = dict(sorted(self.waiters.items(), key=lambda item: item[1].turn))

    def unserved(self) -> list[Waiter]:
        """The waiters no runner here can ever serve, in the order of their turns. A canary is not one of them."""
        enough = self.current.deployment.context if self.current else 0
        short = [waiter for waiter in self.waiters.values() if waiter.context > enough and not waiter.want.quiet]
        return [waiter for waiter in short if not any(runner.takes(waiter) for runner in self.runners)]

    def keep_alive(self, runner: Runner, default: float) -> float:
        """Seconds `runner` stays when idle: by hand > declared loaded > request, sticky > wish > default."""
        if self.override is not None and self.override.kind == "stopped":
            return 0.0
        if self.kept or (self.override is not None and self.override.until is not None):
            return math.inf
        values = (runner.sticky, self.wish.keep_alive if self.wish else self.default_keep_alive, default)
        return next(value for value in values if value is not None)

    def expiry(self, runner: Runner, default: float) -> float:
        """When `runner` is to be unloaded if nothing uses it from its last use on; inf = never."""
        seconds = self.keep_alive(runner, default)
        return math.inf if seconds < 0 else runner.used + seconds

    def target(self, unserved: list[Waiter]) -> Deployment:
        """What to load: the deployment, with the context grown to what was ever needed and is waited for."""
        return with_context(self.deployment, max([self.grown, *(waiter.context for waiter in unserved)]))

    def fail(self, fault: str, first: int, jitter: float, now: float) -> float:
        """Count a failure and set the back-off; `first` is its place in BACK_OFF. Returns the seconds to wait."""
        delay = BACK_OFF[min(self.faults + first, len(BACK_OFF) - 1)] * jitter
        self._failed(fault, now + delay, short=False)
        return delay

    def cool(self, fault: str, jitter: float, now: float) -> float:
        """It does not fit, as was found by trying: set the cool-down. Returns its seconds."""
        delay = COOL_DOWN[min(self.shortages, len(COOL_DOWN) - 1)] * jitter
        self.shortages += 1
        self._failed(fault, now + delay, short=True)
        return delay

    def _failed(self, fault: str, next_try: float, *, short: bool) -> None:
        self.faults += 1
        self.short = short
        self.fault = fault
        self.next_try = next_try

    def recovered(self) -> None:
        """It was well for long enough: what happened before is forgotten."""
        self.faults = self.kills = self.shortages = 0


def with_context(deployment: Deployment, context: int) -> Deployment:
    """The deployment with at least `context` tokens per sequence, and batches to match where inputs are whole."""
    context = max(deployment.context, context)
    batch = deployment.batch if deployment.shape.causal else max(deployment.batch, context)
    return msgspec.structs.replace(deployment, context=context, batch=batch)


def needed_context(want: Want) -> int:
    """Tokens per sequence a request needs: what it asks for where its model may grow, else the declared size."""
    deployment = want.deployment
    grows = want.request_options == "grow" or (want.request_options is None and deployment.context_auto)
    if want.num_ctx is None or want.num_ctx <= 0 or not grows:
        return deployment.context
    trained = deployment.shape.trained_context
    return min(want.num_ctx, trained) if trained > 0 else want.num_ctx
