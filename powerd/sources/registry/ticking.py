"""Ticking: progress of one blob as Ollama's status objects, one every 60 ms (contract section 3.2)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from powerd.store.manifest import Layer

OnStatus = Callable[[dict[str, object]], None]

_TICK = 0.06


class Progress:
    """How far one blob is."""

    def __init__(self, verb: str, layer: Layer, completed: int = 0) -> None:
        self._start: dict[str, object] = {"status": f"{verb} {layer.digest.short}", "digest": str(layer.digest)}
        self._total = layer.size
        self.completed = completed

    def hear(self, completed: int, _total: int) -> None:
        """Take note of bytes that are there."""
        self.completed = completed

    def status(self) -> dict[str, object]:
        """The status object; `completed` is left out at 0."""
        counts = {"total": self._total, "completed": self.completed}
        return self._start | {key: count for key, count in counts.items() if count}


@contextlib.asynccontextmanager
async def ticking(verb: str, layer: Layer, on_status: OnStatus) -> AsyncIterator[Progress]:
    """Tell the progress again and again, and at the end of what succeeded that it is complete."""
    progress = Progress(verb, layer)

    async def tick() -> None:
        while True:
            on_status(progress.status())
            await asyncio.sleep(_TICK)

    task = asyncio.create_task(tick(), name="progress")
    try:
        yield progress
    finally:
        task.cancel()
        await asyncio.wait([task])
    progress.completed = layer.size
    on_status(progress.status())
