"""Lease: a place on a ready runner."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import TracebackType

import msgspec

from powerd.fleet.process import RunnerProcess, Stream
from powerd.protocol import Generate

_numbers = itertools.count(1)


class Lease:
    """Held until the `async with` block is left and the runner owes nothing for it."""

    def __init__(self, process: RunnerProcess, context: int, give_back: Callable[[], None]) -> None:
        self.context = context  # tokens per sequence actually served
        self.pid = process.pid
        self.load_ns = 0  # nanoseconds between asking for the lease and having it
        self.keep_alive_ignored = False  # the request's keep_alive has no effect: the model is declared to stay
        self._process = process
        self._give_back = give_back
        self._open: set[int] = set()
        self._left = False

    def submit(self, frame: Generate) -> Stream:
        """Send a request to the runner; its id is assigned here. Raises BadRequest when no frame can carry it."""
        number = next(_numbers)
        stream = self._process.submit(msgspec.structs.replace(frame, id=number), self._answered)
        self._open.add(number)
        return stream

    def release(self) -> None:
        """Give the place back. Requests still running on it are cancelled; the place is free when they have ended."""
        if self._left:
            return
        self._left = True
        self._open = {number for number in self._open if self._process.owes(number)}
        for number in self._open:
            self._process.cancel(number)
        if not self._open:
            self._give_back()

    def _answered(self, number: int) -> None:
        self._open.discard(number)
        if self._left and not self._open:
            self._give_back()

    async def __aenter__(self) -> Lease:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
