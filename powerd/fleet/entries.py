"""The records FleetState keeps: one Entry per deployment key, with its Runners and Waiters (pure)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

import msgspec

from powerd.fleet.story import Story
from powerd.fleet.terms import Reason, Want, Wish
from powerd.protocol import Deployment, ReadBack, Stats

#: Seconds before the restart after the first, second … failure in a row (reliability X01).
BACK_OFF = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
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
    deadline: float = math.inf
    load_only: bool = False  # content as soon as the model is loaded; takes no place


@dataclass(slots=True)
class Override:
    """Somebody's hand on one entry: it stands until `until`, or (None) until the next request or change of its wish."""

    kind: Literal["stopped", "loaded"]
    until: float | None

    def stands(self, now: float) -> bool:
        """Whether it still holds."""
        return self.until is None or now < self.until


@dataclass(slots=True)
class Runner:
    """One process and who uses it."""

    id: int
    entry: Entry
    deployment: Deployment  # with the context it was started with
    admitted: int  # bytes it was estimated to need
    started: float
    deadline: float  # while loading: when progress must have been heard
    phase: Phase = Phase.LOADING
    fraction: float = 0.0
    ready_at: float = math.inf
    readback: ReadBack | None = None
    stats: Stats | None = None
    leases: set[int] = field(default_factory=set)
    used: float = 0.0  # when a lease was last granted or released
    heard: float = 0.0  # when a frame last came while requests were in flight
    sticky: float | None = None  # the last keep-alive a client asked for
    leaving: Reason | None = None  # no new leases; stops when those it has end
    served_below: int = 0  # while leaving: tickets below this one are still served here
    reason: Reason | None = None  # why it is stopping
    why: str = ""  # the same, as a sentence

    @property
    def serving(self) -> bool:
        """Whether leases can be had on it."""
        return self.phase is Phase.READY

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
        """Who waits for a place here, oldest first."""
        return (waiter for waiter in self.entry.waiters.values() if self.takes(waiter))

    @property
    def wanted(self) -> bool:
        """Whether anybody waits for a place here."""
        return any(True for _ in self.queue())


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
    waiters: dict[int, Waiter] = field(default_factory=dict)  # by ticket, ascending
    runners: list[Runner] = field(default_factory=list)  # oldest first
    grown: int = 0  # the largest context it was ever ready with
    faults: int = 0  # failures in a row
    fault: str = ""  # the last one
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

    def unserved(self) -> list[Waiter]:
        """The waiters no runner here can ever serve, oldest first."""
        enough = self.current.deployment.context if self.current else 0
        short = [waiter for waiter in self.waiters.values() if waiter.context > enough]
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
        if not self.deployment.context_auto:
            return self.deployment
        return with_context(self.deployment, max([self.grown, *(waiter.context for waiter in unserved)]))

    def fail(self, fault: str, first: int, jitter: float, now: float) -> float:
        """Count a failure and set the back-off; `first` is its place in BACK_OFF. Returns the seconds to wait."""
        delay = BACK_OFF[min(self.faults + first, len(BACK_OFF) - 1)] * jitter
        self.faults += 1
        self.fault = fault
        self.next_try = now + delay
        return delay


def with_context(deployment: Deployment, context: int) -> Deployment:
    """The deployment with at least `context` tokens per sequence."""
    return msgspec.structs.replace(deployment, context=max(deployment.context, context))


def needed_context(want: Want) -> int:
    """Tokens per sequence a request needs; an explicit `context:` is served at the declared size."""
    deployment = want.deployment
    if want.num_ctx is None or want.num_ctx <= 0 or not deployment.context_auto:
        return deployment.context
    trained = deployment.shape.trained_context
    return min(want.num_ctx, trained) if trained > 0 else want.num_ctx
