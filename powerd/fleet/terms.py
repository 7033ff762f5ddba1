"""The words the fleet is spoken to in, and answers with (pure).

Times are seconds on the monotonic clock, sizes bytes, keep-alives seconds (`inf` = for ever).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from powerd.protocol import Deployment, ReadBack, Stats

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
class FleetConfig:
    """The limits the fleet keeps."""

    max_loaded_models: int = 0  # 0 = as many as the memory takes
    max_queue: int = 512  # requests waiting, over all models
    load_timeout: float = 300.0  # seconds without load progress; inf = no limit
    stall_timeout: float = 300.0  # seconds without a frame while requests are in flight; inf = no limit
    keep_alive: float = 300.0  # seconds an idle model stays loaded
    memory_budget: int | None = None  # bytes the ledger may give out; None = 90 % of what is free at start
    min_residency: float = 2.0  # seconds a loaded model serves its own queue before it yields to another's
    shutdown_grace: float = 5.0  # seconds between the Shutdown frame and SIGTERM
    terminate_grace: float = 2.0  # seconds between SIGTERM and SIGKILL


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
    scheduling_class: str = "interactive"


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
