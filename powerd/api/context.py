"""ApiContext: everything a request handler may reach, handed in by the daemon."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from powerd.fleet.fleet import Fleet
from powerd.fleet.renderers import Renderers
from powerd.reconcile.library import Library
from powerd.store.store import Store

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class ApiContext:
    """The owners a request talks to, and the settings it needs."""

    library: Library
    store: Store
    fleet: Fleet
    renderers: Renderers
    version: str  # powerd's own
    started: float  # time.monotonic() at start
    stopping: Callable[[], bool]
    not_ready: Callable[[], Sequence[str]]  # sentences; empty = ready
    fresh: Callable[[], Awaitable[None]]  # finds out what not_ready will say of this moment
    default_model: str = ""
    q4_above: int = 0  # bytes of weights that POST /pull takes unquantized at most; 0 = it never asks for them
    inference_body: int = 64 * MIB  # bytes
    other_body: int = MIB
    body_seconds: float = 60.0  # a whole body must arrive within
    write_seconds: float = 30.0  # a reader may block one write for
