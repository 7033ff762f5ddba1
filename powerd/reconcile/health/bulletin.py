"""Bulletin: what everybody may read of the reconciler's work: events, the node's conditions, and a bell for waiters."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

import structlog

from powerd.reconcile.conditions import NODE_CONDITIONS, Condition, Truth, settle

log = structlog.get_logger(__name__)

EVENTS_KEPT = 1000
#: Seconds after which a waiter looks again although nothing rang.
LOOK_SECONDS = 0.2
#: Seconds after which a follower hears that nothing happened.
SILENCE_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. `time` is seconds since the epoch."""

    time: float
    kind: str
    model: str
    reason: str
    message: str
    number: int = 0  # ascending since the daemon's start, without gaps


class Bulletin:
    """Written by the Reconciler and the Canary alone."""

    def __init__(self) -> None:
        self.events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._last = 0  # number of the newest event
        self._node: dict[str, Condition] = {}
        self._bell = asyncio.Event()
        self._followers: set[asyncio.Event] = set()

    @property
    def last(self) -> int:
        """The number of the newest event."""
        return self._last

    def record(self, kind: str, model: str, reason: str, message: str) -> None:
        """An event of ours: onto the ring and into the log."""
        self.note(kind, model, reason, message)
        log.info(kind, model=model, reason=reason, message=message)

    def remark(self, kind: str, model: str, reason: str, message: str) -> None:
        """An event of ours that may go on: recorded once, until something else happens of its kind."""
        last = next((event for event in reversed(self.events) if event.kind == kind), None)
        if last is None or (last.model, last.reason, last.message) != (model, reason, message):
            self.record(kind, model, reason, message)

    def note(self, kind: str, model: str, reason: str, message: str) -> None:
        """An event somebody else has logged: onto the ring."""
        self._last += 1
        self.events.append(Event(time.time(), kind, model, reason, message, self._last))
        for follower in self._followers:
            follower.set()
        self.ring()

    def after(self, number: int) -> list[Event]:
        """The events after this one, oldest first; what is no longer kept is said in an event of kind `gap`."""
        kept = [event for event in self.events if event.number > number]
        first = kept[0].number if kept else self._last + 1
        lost = first - number - 1
        if number < 0 or lost <= 0:
            return kept
        told = f"{lost} events are no longer kept"
        return [Event(time.time(), "gap", "", "NotKept", told, first - 1), *kept]

    async def follow(self, number: int) -> AsyncGenerator[list[Event], None]:
        """The events after this one as they happen, none left out; an empty list where none comes for a while."""
        news = asyncio.Event()
        self._followers.add(news)
        try:
            while True:
                news.clear()
                events, number = self.after(number), self._last
                yield events
                if events:
                    continue
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(SILENCE_SECONDS):
                        await news.wait()
        finally:
            self._followers.discard(news)

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
