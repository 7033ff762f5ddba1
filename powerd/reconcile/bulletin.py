"""Bulletin: what everybody may read of the reconciler's work: events, the node's conditions, and a bell for waiters."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable

import structlog

from powerd.reconcile.conditions import NODE_CONDITIONS, Condition, Truth, settle
from powerd.reconcile.entry import Event

log = structlog.get_logger(__name__)

EVENTS_KEPT = 500
#: Seconds after which a waiter looks again although nothing rang.
LOOK_SECONDS = 0.2


class Bulletin:
    """Written by the Reconciler alone."""

    def __init__(self) -> None:
        self.events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._node: dict[str, Condition] = {}
        self._bell = asyncio.Event()

    def record(self, kind: str, model: str, reason: str, message: str) -> None:
        """An event of ours: onto the ring and into the log."""
        self.note(kind, model, reason, message)
        log.info(kind, model=model, reason=reason, message=message)

    def note(self, kind: str, model: str, reason: str, message: str) -> None:
        """An event somebody else has logged: onto the ring."""
        self.events.append(Event(time.time(), kind, model, reason, message))
        self.ring()

    def ring(self) -> None:
        """Something changed: wake those who wait."""
        self._bell.set()

    def set_node(self, name: str, status: Truth, reason: str, message: str, generation: int) -> None:
        """State one of the node's conditions."""
        condition = Condition(name, status, reason, message, time.time(), generation)
        self._node[name] = settle(condition, self._node.get(name))

    def node(self) -> dict[str, Condition]:
        """The node's conditions, in their order."""
        return {name: self._node.get(name, Condition(name)) for name in NODE_CONDITIONS}

    async def until(self, look: Callable[[], Condition], timeout: float) -> tuple[bool, Condition]:
        """Look until the condition is True, for at most `timeout` seconds; whether it came true, and the last look."""
        deadline = time.monotonic() + timeout
        while True:
            condition = look()
            left = deadline - time.monotonic()
            if condition.status == "True" or left <= 0:
                return condition.status == "True", condition
            self._bell.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, LOOK_SECONDS)):
                    await self._bell.wait()
