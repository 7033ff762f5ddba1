"""Sharing: who wants the same bytes waits for one download of them, which ends when the last of them leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path

from powerd.digest import Digest
from powerd.errors import SourceFailed

OnProgress = Callable[[int, int], None]
Start = Callable[[OnProgress], Coroutine[None, None, Digest]]
Key = tuple[Path, Digest]


class _Running:
    """A download under way, and who listens to its progress."""

    def __init__(self, start: Start) -> None:
        self.listeners: list[OnProgress] = []
        self.last: tuple[int, int] | None = None
        self.ending = False
        self.task = asyncio.create_task(start(self._tell), name="download")

    def _tell(self, completed: int, total: int) -> None:
        self.last = (completed, total)
        for listener in list(self.listeners):
            listener(completed, total)

    async def wait(self, on_progress: OnProgress) -> Digest:
        self.listeners.append(on_progress)
        if self.last is not None:
            on_progress(*self.last)
        try:
            return await asyncio.shield(self.task)
        finally:
            self.listeners.remove(on_progress)

    async def leave(self) -> None:
        """End the download when nobody waits for it any more."""
        if not self.listeners:
            self.ending = True
            self.task.cancel()
            await asyncio.wait([self.task])


class Sharing:
    """The downloads under way, by store and digest. Lives in one event loop."""

    def __init__(self) -> None:
        self._running: dict[Key, _Running] = {}

    async def join(self, key: Key, start: Start, on_progress: OnProgress) -> Digest:
        """The result of the download of `key` under way, or of `start`, which is then the one others join.

        Somebody else's source that failed says nothing about ours: then `start` is run after all.
        """
        while True:
            running = self._running.get(key)
            mine = running is None
            if running is not None and running.ending:
                await asyncio.wait([running.task])
                continue
            if running is None:
                running = self._begin(key, start)
            try:
                return await running.wait(on_progress)
            except SourceFailed:
                if mine:
                    raise
            except asyncio.CancelledError:
                await running.leave()
                raise

    def _begin(self, key: Key, start: Start) -> _Running:
        running = self._running[key] = _Running(start)

        def ended(task: asyncio.Task[Digest]) -> None:
            del self._running[key]
            if not task.cancelled():
                task.exception()  # looked at, so that nobody warns when the last waiter has left

        running.task.add_done_callback(ended)
        return running
