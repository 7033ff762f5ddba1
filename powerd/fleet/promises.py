"""Promises: what requests and hands wait for, by ticket: a lease, or word that a load is over.

Every ticket is answered once. Who stops waiting is taken out of the state, and a lease that came too late is given
back.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from functools import partial

from powerd.errors import PowerError
from powerd.fleet.effects import Effect
from powerd.fleet.lease import Lease

#: Something that happens to the state at a time, in seconds of the loop's clock, and what is to be done about it.
Event = Callable[[float], list[Effect]]


class Promises:
    """The futures of those who wait. `do` makes an event happen; `cancel` is the event of one who waits no longer."""

    def __init__(self, do: Callable[[Event], None], cancel: Callable[[int, float], list[Effect]]) -> None:
        self._do = do
        self._cancel = cancel
        self._tickets = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Lease | None]] = {}

    async def wait(self, event: Callable[[int, float], list[Effect]]) -> Lease | None:
        """Make `event` happen with a ticket of its own, and wait for what is answered. Raises what refused it."""
        ticket = next(self._tickets)
        promise: asyncio.Future[Lease | None] = asyncio.get_running_loop().create_future()
        self._waiting[ticket] = promise
        try:
            self._do(partial(event, ticket))
            return await promise
        except asyncio.CancelledError:
            self._do(partial(self._cancel, ticket))
            if not promise.cancelled() and promise.exception() is None and (lease := promise.result()) is not None:
                lease.release()
            raise
        finally:
            self._waiting.pop(ticket, None)

    def keep(self, ticket: int, lease: Lease | None) -> None:
        """Answer a ticket: with a lease, or None where a load was all that was wanted."""
        promise = self._waiting.get(ticket)
        if promise is not None and not promise.done():
            promise.set_result(lease)
        elif lease is not None:
            lease.release()

    def refuse(self, ticket: int, error: PowerError) -> None:
        """Answer a ticket with a failure."""
        promise = self._waiting.get(ticket)
        if promise is not None and not promise.done():
            promise.set_exception(error)
