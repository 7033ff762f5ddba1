"""Verified: which blobs were hashed, and how their files looked then. A file that looks the same is not hashed again.

<store>/.powerd/verified/<64 hex>   mtime and ctime in ns, size in bytes, inode

A mark only saves work: one that is lost or torn has its blob hashed once more. Blobs below SMALL have none.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

from powerd.digest import Digest
from powerd.store.failpoints import reach
from powerd.store.files import read_small, regular

#: Bytes below which a blob is hashed every time rather than marked.
SMALL = 1 << 20
_CHUNK = 4 << 20


class Verified:
    """Marks of blobs known to be right."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.keeps = True  # whether marks go to disk
        self._known: dict[Digest, str] = {}
        self._hashing: dict[Digest, threading.Lock] = {}

    def mark(self, digest: Digest, status: os.stat_result) -> None:
        """Remember that the file of this status was hashed and has `digest`. A mark that cannot be kept is left out."""
        looks = self._known[digest] = _looks(status)
        if status.st_size < SMALL or not self.keeps:
            return
        with contextlib.suppress(OSError):
            reach("verified.before_mark")
            (self.directory / digest.hex).write_text(looks)

    def right(self, digest: Digest, path: Path) -> bool:
        """Whether the file `path` holds the bytes of `digest`; hashed only when it has changed since. Raises OSError.

        Several who ask about one blob at once wait for a single hashing.
        """
        if self._unchanged(digest, path):
            return True
        with self._hashing.setdefault(digest, threading.Lock()):
            if self._unchanged(digest, path):
                return True
            with regular(path) as (fd, status):
                if hash_file(fd) != digest:
                    self.forget(digest)
                    return False
                if _looks(os.fstat(fd)) == _looks(status):
                    self.mark(digest, status)
        return True

    def forget(self, digest: Digest) -> None:
        """Drop a blob's mark; harmless when it has none."""
        self._known.pop(digest, None)
        self._hashing.pop(digest, None)
        with contextlib.suppress(OSError):
            if self.keeps:
                (self.directory / digest.hex).unlink(missing_ok=True)

    def marked(self) -> set[Digest]:
        """The blobs that have a mark on disk."""
        with contextlib.suppress(OSError):
            return {Digest(path.name) for path in self.directory.iterdir()}
        return set()

    def _unchanged(self, digest: Digest, path: Path) -> bool:
        status = path.stat()
        known = self._known.get(digest)
        if known is None and status.st_size >= SMALL:
            with contextlib.suppress(OSError, UnicodeDecodeError):
                known = self._known[digest] = read_small(self.directory / digest.hex, 200).decode()
        return status.st_size >= SMALL and known == _looks(status)


def hash_file(fd: int, on_progress: Callable[[int], None] = lambda _: None) -> Digest:
    """The digest of an open file; `on_progress` hears each piece's length and may raise to stop. Raises OSError."""
    digest, at = hashlib.sha256(), 0
    while chunk := os.pread(fd, _CHUNK, at):
        digest.update(chunk)
        at += len(chunk)
        on_progress(len(chunk))
    return Digest(digest.hexdigest())


def _looks(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns} {status.st_ctime_ns} {status.st_size} {status.st_ino}"
