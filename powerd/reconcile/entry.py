"""Entry: what the reconciler knows of one declared name; Tools: what it takes its steps with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal

from powerd.catalog.spec import ModelSpec
from powerd.fleet.budget import Estimate, estimate
from powerd.fleet.fleet import Fleet
from powerd.protocol import Deployment
from powerd.reconcile.conditions import Condition, Trouble
from powerd.reconcile.decide import NodeDefaults
from powerd.reconcile.generations.pin import Pins
from powerd.reconcile.library import Library
from powerd.reconcile.offer import Offer
from powerd.reconcile.reach import Reach
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
    needs: Callable[[Deployment], Estimate] = estimate  # what a deployment will hold
    probe: Callable[[Deployment], Awaitable[object]] | None = None  # learns, without a load, what `needs` estimates


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
    pins: Pins = field(default_factory=Pins)
    moved: str = ""  # what its source was last said to have instead, as a sentence
    lost: str = ""  # what the disk was last said not to have as it should, as a sentence
    tainted: bool = False  # its runner may have read bytes that were changed on disk
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
