"""Watch: stable bytes of the files that declare models, however they are edited.

Editors write in place, write beside and rename, or flip a symbolic link; half of a YAML file is often valid YAML with
fewer models. So the files are looked at again until size, mtime and content of all of them were the same for the
stability window. Directory events only say when to look; a look every few seconds finds what events miss (bind mounts,
symlink flips).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterable
from pathlib import Path

from watchfiles import awatch

from powerd.documents import Reading, read
from powerd.paths import fragments_directory

STABLE_SECONDS = 0.5
LOOK_SECONDS = 2.0

#: A directory as it is known to the kernel: made anew under its old name it is another.
_Directories = frozenset[tuple[Path, int, int]]


class Watch:
    """Yields a Reading each time one of the files has changed and then all of them kept still.

    `also` names, at each look, the further files whose contents count: templates, the lock.
    """

    def __init__(
        self,
        path: Path,
        *,
        also: Callable[[], Iterable[Path]] = tuple,
        stable: float = STABLE_SECONDS,
        look: float = LOOK_SECONDS,
    ) -> None:
        self._path = path
        self._also = also
        self._stable = stable
        self._look = look
        self._event = asyncio.Event()

    async def changes(self, seen: Reading) -> AsyncGenerator[Reading, None]:
        """Readings that differ from `seen` and from one another, for ever."""
        feeder = asyncio.create_task(self._feed())
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._look):
                        await self._event.wait()
                self._event.clear()
                now = await self._read()
                if now.mark == seen.mark:
                    continue
                settled = await self._settle(now)
                if settled.mark != seen.mark:
                    seen = settled
                    yield seen
        finally:
            feeder.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await feeder

    async def _read(self) -> Reading:
        return await asyncio.to_thread(read, self._path, tuple(self._also()))

    async def _settle(self, reading: Reading) -> Reading:
        """Look until two readings a stability window apart are the same."""
        while True:
            await asyncio.sleep(self._stable)
            again = await self._read()
            if again.mark == reading.mark:
                return again
            reading = again

    async def _feed(self) -> None:
        """Turn directory events into looks; without a directory to watch the periodic look has to do."""
        while True:
            watched = await asyncio.to_thread(self._directories)
            stop = asyncio.Event()
            events = asyncio.create_task(self._listen(watched, stop))
            try:
                while not events.done() and await asyncio.to_thread(self._directories) == watched:
                    await asyncio.wait({events}, timeout=self._look)
            finally:
                stop.set()
                events.cancel()
                await asyncio.wait({events})

    async def _listen(self, watched: _Directories, stop: asyncio.Event) -> None:
        """Ends at `stop`, or a look after listening failed (RuntimeError: the kernel has no watch left)."""
        paths = [path for path, _, _ in watched]
        with contextlib.suppress(OSError, RuntimeError):
            if paths:
                async for _ in awatch(
                    *paths, recursive=False, debounce=200, step=100, ignore_permission_denied=True, stop_event=stop
                ):
                    self._event.set()
        await asyncio.sleep(self._look)

    def _directories(self) -> _Directories:
        """Those there are of the directories in which the files lie."""
        there = set()
        also = (path.parent for path in self._also())
        for directory in {self._path.parent, fragments_directory(self._path), *also}:
            with contextlib.suppress(OSError):
                about = directory.stat()
                there.add((directory, about.st_dev, about.st_ino))
        return frozenset(there)
