"""Blobs: the bytes of our store, how they come in and what keeps them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from powerd.digest import Digest
from powerd.errors import NoSpace, StoreFailed
from powerd.quantities import show_bytes
from powerd.store import files
from powerd.store.collect import Leases
from powerd.store.files import naming
from powerd.store.ingest import Ingest
from powerd.store.shelf import Shelf
from powerd.store.take import OnProgress, take_open_file

#: Bytes left free beyond what a blob needs; small blobs leave no more than their own size.
MARGIN = 64 << 20


class Blobs:
    """Writes below `blobs/` of our shelf, by way of the ingest area. `quota` limits the bytes of all blobs."""

    def __init__(self, shelf: Shelf, area: Path, quota: int | None) -> None:
        self.leases = Leases()
        self._shelf = shelf
        self._area = area
        self._quota = quota
        self._ingests: set[Ingest] = set()
        self._taken: dict[tuple[int, ...], Digest] = {}

    def open(self) -> None:
        """Make the directories and clear what dead processes left. The caller holds the directory lock."""
        for directory in (self._shelf.blobs, self._shelf.manifests, self._area):
            files.make_directories(directory)
            if directory.stat().st_dev != self._shelf.root.stat().st_dev:
                raise StoreFailed(
                    f"{directory} is on another file system than the rest of the store, so nothing can be moved into "
                    "it in one step; put the whole store on one file system"
                )
        for leftover in self._area.iterdir():
            leftover.unlink()

    def close(self) -> None:
        """Abort everything under way."""
        for ingest in list(self._ingests):
            ingest.abort()

    def free(self) -> int:
        """Bytes that may still be brought in: the disk's and the quota's, less what is promised to running ingests."""
        with naming(self._area, "measuring"):
            room = files.available(self._area)
            if self._quota is not None:
                room = min(room, self._quota - sum(size for _, size in self._shelf.digests()))
        return max(0, room - sum(ingest.remaining for ingest in list(self._ingests)))

    def ingest(self, digest: Digest | None, size: int | None) -> Ingest:
        """Begin a blob. Raises NoSpace, StoreFailed."""
        if size:
            self._make_room(size)
        return self._begin(digest, size)

    def _begin(self, digest: Digest | None, size: int | None) -> Ingest:
        ingest = Ingest(self._area, self._shelf.blobs, digest, size)
        self._ingests.add(ingest)

        def ended(committed: Digest | None) -> None:
            self._ingests.discard(ingest)
            if committed is not None:
                self.leases.hold(committed)

        ingest.on_end = ended
        return ingest

    def _make_room(self, size: int) -> None:
        needed, have = size + min(size, MARGIN), self.free()
        if needed > have:
            limit = f"a quota of {show_bytes(self._quota)}" if self._quota is not None else "the disk"
            where = self._shelf.root
            raise NoSpace(f"need {show_bytes(needed)} in {where}, have {show_bytes(have)} (limited by {limit})")

    def put(self, data: bytes) -> tuple[Digest, int]:
        """Store a small blob whole; one that is here already is left as it is."""
        digest = Digest.of(data)
        self.leases.hold(digest)
        with naming(self._shelf.blobs, "reading"):
            path = self._shelf.blob(digest)
            present = path is not None and path.stat().st_size == len(data)
        if not present:
            with self.ingest(digest, len(data)) as ingest:
                ingest.write(data)
                ingest.commit()
        return digest, len(data)

    def take(self, path: Path, expect: Digest | None, on_progress: OnProgress) -> Digest:
        """Bring a local file in; one that has not changed since it was last taken is not read again."""
        with naming(path, "reading"), files.regular(path) as (fd, status):
            known = expect or self._taken.get(_identity(status))
            if known is not None and self._shelf.blob(known) is not None:
                self.leases.hold(known)
                on_progress(status.st_size, status.st_size)
                return known
            with self._begin(expect, status.st_size) as ingest:
                make_room = self._make_room
                digest = take_open_file(fd, path, ingest, make_room, on_progress)
            self._taken[_identity(os.fstat(fd))] = digest
            return digest

    def remove(self, digests: Iterable[Digest]) -> list[Digest]:
        """Delete blobs, those under a lease excepted; returns the deleted. Raises OSError."""
        removed = []
        for digest in sorted(digests):
            path = self._shelf.blob(digest)
            if path is not None and not self.leases.held(digest):
                path.unlink()
                removed.append(digest)
        if removed:
            files.sync_directory(self._shelf.blobs)
        return removed


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
