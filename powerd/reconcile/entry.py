"""Entry: what the reconciler knows of one declared name; Event: something that happened."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Literal

from powerd.catalog.spec import ModelSpec
from powerd.fleet.fleet import Fleet
from powerd.reconcile.acquire import Reach
from powerd.reconcile.compose import NodeDefaults
from powerd.reconcile.conditions import Condition, Trouble
from powerd.reconcile.library import Library
from powerd.reconcile.offer import Offer
from powerd.reconcile.step import Fetched
from powerd.store.store import Store


@dataclass(frozen=True, slots=True)
class Tools:
    """What steps are taken with."""

    store: Store
    fleet: Fleet
    library: Library
    node: NodeDefaults
    reach: Reach


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `time` is seconds since the epoch."""

    time: float
    kind: str
    model: str
    reason: str
    message: str


@dataclass(slots=True)
class Progress:
    """A fetch under way; `started` is monotonic."""

    completed: int
    total: int  # 0 = not known
    started: float
    stage: Literal["fetching", "quantizing"] = "fetching"


@dataclass(slots=True)
class Entry:
    """One declared name. `want` None = withdrawn; `last` is the newest spec it ever had."""

    name: str
    want: ModelSpec | None
    last: ModelSpec
    generation: int
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    fetch: asyncio.Task[Fetched] | None = None
    fetched: Fetched | None = None
    progress: Progress | None = None
    offer: Offer | None = None
    offered_spec: ModelSpec | None = None
    trouble: Trouble | None = None
    fits: Trouble | None = None
    failures: int = 0
    next_try: float = 0.0  # monotonic
    settled: bool = False
    conditions: dict[str, Condition] = field(default_factory=dict)
    withdraw_at: float | None = None  # monotonic
    last_unload: str = ""
