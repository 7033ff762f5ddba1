"""The words the fleet is spoken to in, and answers with (pure).

Times are seconds on the monotonic clock, sizes bytes, keep-alives seconds (`inf` = for ever).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

from powerd.protocol import Deployment, DeviceShare, ReadBack, Stats
from powerd.settings import Settings

EventKind = Literal["load", "ready", "unload", "crash", "error"]


class Reason(StrEnum):
    """Why a runner was unloaded; every unload has exactly one."""

    IDLE = "idle"  # its keep-alive ran out, or a client asked for keep_alive 0
    EVICTED = "evicted"  # another model needed the room
    CONFIG = "config"  # its declaration changed or went away
    REPLACED = "replaced"  # the same model was needed with a larger context
    OPERATOR = "operator"
    CRASH = "crash"
    LOAD_FAILED = "load-failed"
    SHUTDOWN = "shutdown"


@dataclass(frozen=True, slots=True)
class SchedulingClass:
    """How long a request of this class waits at most, and its share of the turns while other classes wait too."""

    max_wait: float  # seconds without a lease, a load of its own model not counted; inf = no limit
    weight: float = 1.0


CLASSES: Mapping[str, SchedulingClass] = MappingProxyType(
    {"interactive": SchedulingClass(600.0, 8.0), "batch": SchedulingClass(3600.0, 1.0)}
)


@dataclass(frozen=True, slots=True)
class FleetConfig:
    """The limits the fleet keeps."""

    max_loaded_models: int = 0  # 0 = as many as the memory takes
    max_queue: int = 512  # requests of one scheduling class waiting, over all models
    load_timeout: float = 300.0  # seconds without load progress; inf = no limit
    stall_timeout: float = 300.0  # seconds without a frame while requests are in flight; inf = no limit
    keep_alive: float = 300.0  # seconds an idle model stays loaded
    memory_budget: int | None = None  # bytes the ledger may give out; None = 90 % of what is free at start
    min_residency: float = 2.0  # seconds a loaded model serves its own queue before it yields to another's
    classes: Mapping[str, SchedulingClass] = field(default_factory=lambda: CLASSES)
    shutdown_grace: float = 5.0  # seconds between the Shutdown frame and SIGTERM
    terminate_grace: float = 2.0  # seconds between SIGTERM and SIGKILL

    @classmethod
    def of(cls, settings: Settings) -> FleetConfig:
        """The limits that powerd.yaml sets."""
        one, other = settings.classes.interactive, settings.classes.batch
        return cls(
            max_loaded_models=settings.max_loaded_models,
            max_queue=settings.max_queue,
            load_timeout=settings.load_timeout,
            keep_alive=settings.keep_alive,
            memory_budget=settings.devices["cpu"].budget if "cpu" in settings.devices else None,
            classes={
                "interactive": SchedulingClass(one.max_wait or math.inf, one.weight),
                "batch": SchedulingClass(other.max_wait or math.inf, other.weight),
            },
        )


@dataclass(frozen=True, slots=True)
class Want:
    """What one request needs of the fleet."""

    deployment: Deployment
    model: str  # the name that was asked for, as it is shown
    keep_alive: float | None = None  # the request's; None = silent
    default_keep_alive: float | None = None  # the offer's, for models no wish covers
    num_ctx: int | None = None
    priority: int = 0
    deadline_s: float | None = None  # seconds it is worth waiting for a lease
    request_id: str = ""
    tenant: str = ""
    scheduling_class: str = "interactive"  # a key of FleetConfig.classes
    request_options: Literal["declared", "grow", "reject"] | None = None  # None = grow where the context is automatic
    embeds: bool = False  # vectors are wanted, for which a generative model needs memory besides its own
    masked: bool = False  # the answer is held to a grammar, which takes memory besides
    likely: bool = False  # the probabilities of its tokens are told, which does too
    quiet: bool = False  # a canary: only on a ready runner, and without a trace on clocks, keep-alives or the queue


@dataclass(frozen=True, slots=True)
class Wish:
    """What the catalog says of one deployment, for as long as it says so."""

    deployment: Deployment
    names: tuple[str, ...]  # every name it serves, the first is the one shown
    loaded: bool = False
    pinned: bool = False
    keep_alive: float | None = None
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Unload:
    """The answer to an unload: whether it is or will be done, and one sentence that says how or why not."""

    done: bool
    reason: str

    def __bool__(self) -> bool:
        return self.done


@dataclass(frozen=True, slots=True)
class FleetEvent:
    """Something that happened to a runner; `message` is a sentence for people."""

    kind: EventKind
    model: str
    key: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class LoadFailure:
    """A deployment whose last load failed."""

    model: str
    key: str
    reason: str  # a sentence, with the engine's own word
    at: float
    tries: int  # failures in a row
    next_try: float  # no load begins before
    memory: bool = False  # whether it was memory that was short


@dataclass(frozen=True, slots=True)
class Hand:
    """Somebody's override of what is declared for one deployment."""

    model: str
    key: str
    kind: Literal["stopped", "loaded", "keep_alive"]
    owner: str  # "operator" by the control socket, "client" by the API
    until: float | None  # None = until the next request, or the next change of its declaration
    message: str  # the same, as a phrase


@dataclass(frozen=True, slots=True)
class Move:
    """One load or unload that is going to happen."""

    kind: Literal["load", "unload"]
    model: str
    key: str
    reason: str  # a Reason for an unload; for a load: declared, request
    why: str  # a sentence
    bytes: Mapping[str, int]  # by device: taken by a load, given back by an unload
    requests: int = 0  # that end first


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a change of the wishes is going to do, in order."""

    moves: tuple[Move, ...]
    before: Mapping[str, int]  # bytes promised by device
    after: Mapping[str, int]
    waiting: tuple[tuple[str, str], ...] = ()  # models that will not be loaded, each with a sentence why


@dataclass(frozen=True, slots=True)
class RunnerView:
    """A runner as it is, for listings."""

    model: str
    names: tuple[str, ...]
    key: str
    digest: str  # 64 hex digits of the weights
    pid: int  # 0 until it is spawned
    state: Literal["loading", "ready", "draining", "stopping"]
    context: int  # tokens per sequence, as the engine enforces them
    parallel: int
    size: int  # measured when the engine tells, else reserved
    size_vram: int
    expires_at: float | None  # None = never
    requests: int
    queued: int
    progress: float
    readback: ReadBack | None
    stats: Stats | None
    override: str  # who set the keep-alive by hand, if anybody
    override_owner: str = ""  # "operator" by the control socket, "client" by the API
    override_until: float | None = None
    loaded_at: float | None = None  # when it was ready
    answered_at: float | None = None  # when it last finished a request that was no canary
    needs: Literal["header", "probed", "measured"] = "header"  # how the size it was admitted with was known
    devices: Mapping[str, DeviceShare] = field(default_factory=lambda: MappingProxyType({}))  # as read back
    load_seconds: float | None = None
