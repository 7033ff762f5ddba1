"""The control route for the whole state: `powerctl status --json`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from litestar import get

from powerd.control import rows
from powerd.control.schema import Device, Hold, Node, Status
from powerd.fleet.fleet import Fleet
from powerd.reconcile.reconciler import Reconciler

EVENTS_SHOWN = 50


def handlers(
    reconciler: Reconciler, fleet: Fleet, node: Callable[[], Node], devices: Callable[[], list[Device]]
) -> list[Any]:
    """The route. `devices` tells what each device may give out and has."""

    @get("/v1/status")
    async def status() -> Status:
        return state(reconciler, fleet, node(), devices())

    return [status]


def state(reconciler: Reconciler, fleet: Fleet, node: Node, devices: list[Device]) -> Status:
    """Everything a person or a script may want to know, as of now."""
    judging = reconciler.judging
    judging.refresh()
    now, clock, sight = time.monotonic(), time.time(), judging.sight()
    conditions = reconciler.bulletin.node().values()
    held = reconciler.generations.hold
    return Status(
        generation=reconciler.generations.number,
        conditions=[rows.condition(condition) for condition in conditions],
        models=[rows.model(entry, sight.runner(entry), now, clock) for entry in reconciler.entries.values()],
        node=node,
        events=[rows.event(event) for event in list(reconciler.bulletin.events)[-EVENTS_SHOWN:]],
        as_declared=all(condition.status == "True" for condition in conditions) and not judging.failing(),
        devices=devices,
        failures=[rows.failure(failed, now, clock) for failed in fleet.failures()],
        overrides=[rows.override(hand, now, clock) for hand in fleet.overrides()],
        hold=Hold(held.of, held.message) if held else None,
    )
