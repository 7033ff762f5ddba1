"""The directory lock: one process writes a store."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from powerd.errors import Conflict


class DirectoryLock:
    """An flock on a file that also names its holder. The kernel lets go of it when the process ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def take(self) -> None:
        """Lock, without waiting. Raises Conflict naming the holder's pid, OSError when the file cannot be opened."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
            os.close(fd)
            who = f"process {holder}" if holder.isdecimal() else "another process"
            raise Conflict(f"the store {self._path.parent.parent} is already in use by {who}") from None
        except BaseException:
            os.close(fd)
            raise
        os.ftruncate(fd, 0)
        # The lock is the flock; on a full disk the number is only missing from the next one's message.
        with contextlib.suppress(OSError):
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._fd = fd

    def release(self) -> None:
        """Let go; harmless when not held."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
