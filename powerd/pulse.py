"""Pulse: what the service manager hears, READY, STATUS and WATCHDOG, and the heartbeats that the last one stands for.

WATCHDOG=1 is sent only while every owner makes progress: the listeners answer a request of ours, the reconciler has
judged its models, the fleet has taken an event. A timer alone proves nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from powerd.hosts import reachable

log = structlog.get_logger(__name__)

#: Seconds between two beats of an owner.
BEAT_SECONDS = 1.0
#: An owner that beat within so many seconds makes progress, however short the watchdog's interval is.
PATIENCE_SECONDS = 3.0
#: The clocks that stand still while the machine sleeps and that do not may differ by so much from one look to the next.
SLEPT_SECONDS = 2.0
READY_SECONDS = 0.2
#: What keeps us from asking ourselves says nothing about whether others are answered.
_OWN_TROUBLE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL})


@dataclass(frozen=True, slots=True)
class Supervisor:
    """The service manager: how it is spoken to, and how long it waits for a WATCHDOG (0 = it does not)."""

    notify: Callable[[str], None]
    watchdog: float = 0.0  # seconds

    @property
    def interval(self) -> float:
        """Seconds between two WATCHDOG messages."""
        return self.watchdog / 2 or 5.0

    @property
    def rest(self) -> float:
        """Seconds between two requests to ourselves: some of them within one interval."""
        return max(BEAT_SECONDS, self.interval / 4)


class Heart:
    """One owner's heartbeat: counts how often `work` came to its end."""

    def __init__(self, name: str, work: Callable[[], Awaitable[bool]], every: float = BEAT_SECONDS) -> None:
        """`work` is done every so many seconds and returns whether progress was made."""
        self.name = name
        self._every = every
        self.beats = 0
        self.moved = time.monotonic()
        self._work = work
        self._failing = False

    async def beat_for_ever(self) -> None:
        """Work, rest, and work again."""
        while True:
            try:
                alive = await self._work()
            except Exception:
                alive = False
                if not self._failing:
                    log.exception("no progress", owner=self.name)
            self._failing = not alive
            if alive:
                self.beats += 1
                self.moved = time.monotonic()
            await asyncio.sleep(self._every)


class Pulse:
    """Speaks to the service manager until it is cancelled."""

    def __init__(
        self,
        supervisor: Supervisor,
        hearts: tuple[Heart, ...],
        *,
        ready: Callable[[], bool],
        status: Callable[[], str],
        resumed: Callable[[], None],
        clocks: Callable[[], float] | None = None,
    ) -> None:
        """`resumed` is called when the machine has slept; `clocks` tells how long it has slept in all, in seconds."""
        self._supervisor = supervisor
        self._hearts = hearts
        self._ready = ready
        self._status = status
        self._resumed = resumed
        self._slept = clocks or slept
        self._stuck: list[str] = []
        self.ready = False  # whether READY was said

    async def run(self) -> None:
        """Beat and speak."""
        beating = [asyncio.create_task(heart.beat_for_ever(), name=f"heart {heart.name}") for heart in self._hearts]
        try:
            await self._speak()
        finally:
            for task in beating:
                task.cancel()

    async def _speak(self) -> None:
        notify, interval = self._supervisor.notify, self._supervisor.interval
        said, before = "", self._slept()
        while True:
            if not self.ready and self._ready():
                self.ready = True
                notify("READY=1")
            if (status := self._line()) != said:
                said = status
                notify(f"STATUS={status}")
            if not self.ready:
                notify("EXTEND_TIMEOUT_USEC=30000000")
            if not self._stuck:
                notify("WATCHDOG=1")
            await asyncio.sleep(min(interval, 5.0) if self.ready else min(interval, READY_SECONDS))
            before = self._wake(before)

    def _line(self) -> str:
        """One line for people; finds out who is stuck on the way."""
        limit = max(self._supervisor.interval, PATIENCE_SECONDS)
        now = time.monotonic()
        stuck = [heart.name for heart in self._hearts if now - heart.moved > limit]
        if stuck != self._stuck:
            self._stuck = stuck
            if stuck:
                log.error("no progress: the service manager is told nothing until there is", owners=stuck)
        return f"no progress: {', '.join(stuck)}" if stuck else self._status()

    def _wake(self, before: float) -> float:
        """Notice that the machine slept."""
        now = self._slept()
        if now - before > SLEPT_SECONDS:
            log.info("the machine slept", seconds=round(now - before))
            for heart in self._hearts:
                heart.moved = time.monotonic()
            self._resumed()
        return now


def slept() -> float:
    """Seconds this machine has slept since it started; 0 where the system does not tell."""
    clock: int | None = getattr(time, "CLOCK_BOOTTIME", None)
    return time.clock_gettime(clock) - time.monotonic() if clock is not None else 0.0


async def answers(host: str, port: int) -> bool:
    """Whether a request to our own listener is answered, within a moment. What is only our trouble counts as yes."""
    try:
        async with asyncio.timeout(2 * BEAT_SECONDS):
            reader, writer = await asyncio.open_connection(reachable(host), port)
            try:
                writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                return (await reader.readline()).startswith(b"HTTP/1.1 200")
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except TimeoutError:
        return False
    except OSError as error:
        return error.errno in _OWN_TROUBLE
