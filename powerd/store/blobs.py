"""Blobs: the bytes of our store, how they come in and what keeps them."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path

from powerd.digest import Digest
from powerd.errors import Conflict, NoSpace, StoreFailed
from powerd.quantities import show_bytes
from powerd.store import files
from powerd.store.collect import Leases
from powerd.store.failpoints import reach
from powerd.store.files import naming
from powerd.store.ingest import Ingest
from powerd.store.partial import Partial
from powerd.store.shelf import Shelf
from powerd.store.take import OnProgress, take_open_file
from powerd.store.verified import Verified

#: Bytes left free beyond what a blob needs; small blobs leave no more than their own size.
MARGIN = 64 << 20
#: Seconds an unfinished download (a directory of the ingest area) is kept for the next try.
PARTIAL_SECONDS = 7 * 86400.0
#: Below this many seconds since its last write a download may still be running.
PARTIAL_QUIET = 900.0


class Blobs:
    """Writes below `blobs/` of our shelf, by way of the ingest area. `quota` limits the bytes of all blobs."""

    def __init__(self, shelf: Shelf, quota: int | None) -> None:
        self.leases = Leases()
        self.quota = quota
        self.area = shelf.root / ".powerd" / "ingest"
        self.corrupt = shelf.root / ".powerd" / "corrupt"
        self.verified = Verified(shelf.root / ".powerd" / "verified")
        self._shelf = shelf
        self._ingests: set[Ingest | Partial] = set()
        self._taken: dict[tuple[int, ...], Digest] = {}
        self._beginning = threading.RLock()  # no file of an ingest is taken for a leftover before it is known

    def open(self) -> None:
        """Make the directories and clear what dead processes left. The caller holds the directory lock."""
        for directory in (self._shelf.blobs, self._shelf.manifests, self.area, self.verified.directory):
            files.make_directories(directory)
            if directory.stat().st_dev != self._shelf.root.stat().st_dev:
                raise StoreFailed(
                    f"{directory} is on another file system than the rest of the store, so nothing can be moved into "
                    "it in one step; put the whole store on one file system"
                )
        self.clear_leftovers(PARTIAL_SECONDS)

    def close(self) -> None:
        """Abort everything under way."""
        for ingest in list(self._ingests):
            ingest.abort()

    def free(self) -> int:
        """Bytes that may still be brought in: the disk's and the quota's, less what is promised to running ingests."""
        with naming(self.area, "measuring"):
            room = files.available(self.area)
            if self.quota is not None:
                room = min(room, self.quota - sum(size for _, size in self._shelf.digests()))
        return max(0, room - sum(ingest.remaining for ingest in list(self._ingests)))

    # ------------------------------------------------------------ bringing bytes in

    def ingest(self, digest: Digest | None, size: int | None) -> Ingest:
        """Begin a blob. Raises NoSpace, StoreFailed."""
        if size:
            self._make_room(size)
        return self._begin(digest, size)

    def _begin(self, digest: Digest | None, size: int | None) -> Ingest:
        with self._beginning:
            ingest = Ingest(self.area, self._shelf.blobs, digest, size)
            self._ingests.add(ingest)

        def ended(committed: Digest | None, status: os.stat_result) -> None:
            self._ingests.discard(ingest)
            if committed is not None:
                self.verified.mark(committed, status)

        ingest.on_publish = self.leases.brought
        ingest.on_end = ended
        return ingest

    def partial(self, digest: Digest | None, size: int | None) -> Partial:
        """Begin or go on with a blob that comes in pieces. Raises NoSpace, StoreFailed, Conflict when under way."""
        directory = self.area / (digest.blob_name if digest is not None else uuid.uuid4().hex)
        with self._beginning:
            partial = Partial(directory, self._shelf.blobs, digest, size)
            try:
                self._make_room(partial.remaining)
            except BaseException:
                partial.close()
                raise
            self._ingests.add(partial)

        def ended(committed: Digest | None, status: os.stat_result) -> None:
            self._ingests.discard(partial)
            if committed is not None:
                self.verified.mark(committed, status)

        partial.make_room = self._make_room
        partial.on_publish = self.leases.brought
        partial.on_end = ended
        return partial

    def _make_room(self, size: int) -> None:
        needed, have = size + min(size, MARGIN), self.free()
        if needed > have:
            limit = f"a quota of {show_bytes(self.quota)}" if self.quota is not None else "the disk"
            where = self._shelf.root
            raise NoSpace(f"need {show_bytes(needed)} in {where}, have {show_bytes(have)} (limited by {limit})")

    def put(self, data: bytes) -> tuple[Digest, int]:
        """Store a small blob whole; one that is here already and right is left as it is."""
        digest = Digest.of(data)
        if not self._here(digest):
            with self.ingest(digest, len(data)) as ingest:
                ingest.write(data)
                ingest.commit()
        return digest, len(data)

    def _here(self, digest: Digest) -> bool:
        """Hold a blob, and say whether it is here and right. Raises StoreFailed."""
        self.leases.hold(digest)
        with naming(self._shelf.blobs, "reading"):
            path = self._shelf.blob(digest)
            here = path is not None and self.verified.right(digest, path)
        if not here:
            self.leases.release(digest)
        return here

    def take(self, path: Path, expect: Digest | None, on_progress: OnProgress, *, copy: bool = True) -> Digest:
        """Bring a local file in; one that has not changed since it was last taken is not read again."""
        with naming(path, "reading"), files.regular(path) as (fd, status):
            known = expect or self._taken.get(_identity(status))
            if known is not None and self._here(known):
                on_progress(status.st_size, status.st_size)
                return known
            with self._begin(expect, status.st_size) as ingest:
                make_room = self._make_room if copy else _refuse_copy(path)
                digest = take_open_file(fd, path, ingest, make_room, on_progress)
            self._taken[_identity(os.fstat(fd))] = digest
            return digest

    # ------------------------------------------------------------ taking away

    def remove(self, digests: Iterable[Digest]) -> list[Digest]:
        """Delete blobs, those that something keeps excepted; returns the deleted. Raises OSError."""
        removed = []
        for digest in sorted(digests):
            with self.leases.deciding:
                path = self._shelf.blob(digest)
                if path is not None and not self.leases.held(digest):
                    reach("remove.before_blob")
                    path.unlink()
                    removed.append(digest)
                    self.verified.forget(digest)
                    self.leases.forget(digest)
                    reach("remove.after_blob")
        if removed:
            reach("remove.before_directory_sync")
            files.sync_directory(self._shelf.blobs)
        return removed

    def leftovers(self) -> list[tuple[Path, int]]:
        """What lies in the ingest area and belongs to no running ingest, with its bytes on disk. Raises OSError."""
        with self._beginning:
            running = {ingest.path.stem for ingest in self._ingests}
            found = [path for path in sorted(self.area.iterdir()) if path.stem not in running]
        return [(path, _bytes_on_disk(path)) for path in found]

    def clear_leftovers(self, idle: float) -> int:
        """Remove what no running ingest owns; returns the bytes. Unfinished downloads stay until `idle` seconds old.

        The caller sees to it that no manifest is being written. Raises OSError.
        """
        reach("collect.before_leftovers")
        gone = 0
        with self._beginning:
            for path, size in self.leftovers():
                if path.is_dir() and not path.is_symlink():
                    if self._waits(path, idle):
                        continue
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
                gone += size
        return gone

    def _waits(self, partial: Path, idle: float) -> bool:
        """Whether an unfinished download is still of use: somebody leases its digest, or wrote to it lately."""
        try:
            digest = Digest.parse(partial.name if len(partial.name) > 64 else f"sha256-{partial.name}")
        except ValueError:
            return False
        if self._shelf.blob(digest) is not None:
            return False
        if self.leases.held(digest):
            return True
        newest = max(path.stat().st_mtime for path in (partial, *partial.rglob("*")))
        return abs(time.time() - newest) < max(idle, PARTIAL_QUIET)

    def quarantine(self, digest: Digest, path: Path) -> Path:
        """Move a corrupt blob out of sight, where a person can still look at it. Raises OSError."""
        files.make_directories(self.corrupt)
        place = self.corrupt / digest.blob_name
        number = 1
        while place.exists():
            number += 1
            place = self.corrupt / f"{digest.blob_name}.{number}"
        reach("quarantine.before_move")
        path.rename(place)
        self.verified.forget(digest)
        reach("quarantine.after_move")
        files.sync_directory(self.corrupt)
        files.sync_directory(self._shelf.blobs)
        return place


def _refuse_copy(path: Path) -> Callable[[int], None]:
    def refuse(_size: int) -> None:
        raise Conflict(
            f"{path} cannot be shared with the store: that takes a file system with reflinks, or a file of this user "
            "on the same file system that nobody may write; copy it, or adopt its directory as a lower store"
        )

    return refuse


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _bytes_on_disk(path: Path) -> int:
    size = 0
    for each in (path, *(path.rglob("*") if path.is_dir() and not path.is_symlink() else ())):
        with contextlib.suppress(OSError):
            size += 0 if each.is_dir() else each.lstat().st_blocks * 512
    return size
