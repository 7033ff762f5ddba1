"""Descriptor: the open file that bytes on their way in are written to, until they are a blob or are given up."""

from __future__ import annotations

import errno
import os
from pathlib import Path


class Descriptor:
    """An open file that ends once; whoever asks for it afterwards is told that `what` has ended."""

    def __init__(self, fd: int, path: Path, what: str) -> None:
        self._fd = fd
        self._path = path
        self._what = what

    @property
    def open(self) -> bool:
        """Whether it has not ended yet."""
        return self._fd >= 0

    @property
    def fd(self) -> int:
        """The file descriptor. Raises OSError after the end."""
        if self._fd < 0:
            raise OSError(errno.EBADF, f"this {self._what} has ended", str(self._path))
        return self._fd

    def close(self) -> os.stat_result:
        """End it; the file's last status. Raises OSError after the end."""
        status = os.fstat(self.fd)
        os.close(self._fd)
        self._fd = -1
        return status
