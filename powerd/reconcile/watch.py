"""Watch: stable bytes of models.yaml, however it is edited.

Editors write in place, write beside and rename, or flip a symbolic link; half of a YAML file is often valid YAML with
fewer models. So the file is looked at again until size, mtime and content were the same for the stability window.
Directory events only say when to look; a look every few seconds finds what events miss (bind mounts, symlink flips).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from watchfiles import awatch

from powerd.files import MAX_BYTES, regular

STABLE_SECONDS = 0.5
LOOK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at the file: its text, or why there is none. `mark` changes whenever the file may have."""

    text: str | None
    problem: str = ""  # empty with text None: there is no such file
    mark: str = ""


def read(path: Path) -> Reading:
    """The file as it is now. Never raises: what is wrong is said in `problem`, with what to do."""
    try:
        return _read(path)
    except FileNotFoundError:
        if path.is_symlink():
            return Reading(None, f"{path}: the symbolic link points to nothing", "dangling")
        return Reading(None)
    except PermissionError:
        return Reading(None, f"{path}: permission denied for uid {os.geteuid()}; make it readable", "denied")
    except UnicodeDecodeError as error:
        return Reading(None, f"{path}: not UTF-8 at byte {error.start}", f"utf8:{error.start}")
    except OSError as error:
        return Reading(None, f"{path}: {error.strerror}", f"errno:{error.errno}")


def _read(path: Path) -> Reading:
    with regular(path) as file:
        about = os.fstat(file.fileno())
        mark = f"{about.st_dev}:{about.st_ino}:{about.st_size}:{about.st_mtime_ns}"
        if about.st_mode & stat.S_IWOTH:
            return Reading(None, f"{path}: writable by everybody; run chmod o-w on it", mark)
        if about.st_uid not in {0, os.geteuid()}:
            return Reading(None, f"{path}: owned by uid {about.st_uid}, not by root or uid {os.geteuid()}", mark)
        if about.st_size > MAX_BYTES:
            return Reading(None, f"{path}: larger than {MAX_BYTES} bytes", mark)
        data = file.read(MAX_BYTES + 1)
    return Reading(data.decode("utf-8"), "", f"{mark}:{hashlib.sha256(data).hexdigest()}")


class Watch:
    """Yields a Reading each time the file has changed and then kept still."""

    def __init__(self, path: Path, *, stable: float = STABLE_SECONDS, look: float = LOOK_SECONDS) -> None:
        self._path = path
        self._stable = stable
        self._look = look
        self._event = asyncio.Event()

    async def changes(self, seen: Reading) -> AsyncIterator[Reading]:
        """Readings that differ from `seen` and from one another, for ever."""
        feeder = asyncio.create_task(self._feed())
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._look):
                        await self._event.wait()
                self._event.clear()
                now = await asyncio.to_thread(read, self._path)
                if now.mark == seen.mark:
                    continue
                seen = await self._settle(now)
                yield seen
        finally:
            feeder.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await feeder

    async def _settle(self, reading: Reading) -> Reading:
        """Look until two readings a stability window apart are the same."""
        while True:
            await asyncio.sleep(self._stable)
            again = await asyncio.to_thread(read, self._path)
            if again.mark == reading.mark:
                return again
            reading = again

    async def _feed(self) -> None:
        """Turn directory events into looks; without a directory to watch the periodic look has to do."""
        while True:
            directory = self._path.parent
            if not await asyncio.to_thread(directory.is_dir):
                await asyncio.sleep(self._look)
                continue
            with contextlib.suppress(OSError):
                async for _ in awatch(directory, recursive=False, debounce=50, step=20, ignore_permission_denied=True):
                    self._event.set()
            await asyncio.sleep(self._look)
