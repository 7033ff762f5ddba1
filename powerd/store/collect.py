"""What keeps a blob: manifests that name it, pins, leases of those who use it, holds on what was just brought in."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path
from types import TracebackType

from powerd.digest import Digest
from powerd.store.files import read_small
from powerd.store.manifest import MAX_MANIFEST, parse_manifest

#: Seconds a blob that was brought in waits for the manifest that will name it.
LEASE = 3600.0


class Lease:
    """Keeps blobs from being deleted until it is closed, or the process ends. Made by Leases.lease."""

    def __init__(self, leases: Leases, digests: frozenset[Digest]) -> None:
        self._leases = leases
        self.digests = digests

    def close(self) -> None:
        """Let go; harmless when done twice."""
        digests, self.digests = self.digests, frozenset()
        self._leases.end(digests)

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Leases:
    """Which blobs somebody uses or is about to need, and since when the others have been unneeded.

    Everything is of this process: it alone may delete, so its death ends every lease and no deletion. Times are of the
    monotonic clock, so a wall clock that jumps neither deletes nor keeps anything. Whoever deletes a blob holds
    `deciding` from asking held() until it is gone; whoever takes a lease first and then finds the blob will keep it.
    """

    def __init__(self) -> None:
        self.deciding = threading.RLock()
        self._pinned: frozenset[Digest] = frozenset()
        self._used: Counter[Digest] = Counter()
        self._held: dict[Digest, list[float]] = {}  # when each hold began, oldest first
        self._unneeded: dict[Digest, float] = {}
        self._nameless: set[Digest] = set()  # brought in, and named by no manifest since

    def lease(self, digests: Iterable[Digest]) -> Lease:
        """Keep these blobs, here already or not, until the Lease is closed."""
        lease = Lease(self, frozenset(digests))
        with self.deciding:
            self._used.update(lease.digests)
            self._needed_again(lease.digests)
        return lease

    def end(self, digests: Collection[Digest]) -> None:
        """Count one use less of each."""
        with self.deciding:
            self._used.subtract(digests)
            self._used = +self._used

    def pin(self, digests: Iterable[Digest]) -> None:
        """Keep exactly these blobs from now on, besides those under a lease; replaces what was pinned before."""
        with self.deciding:
            self._pinned = frozenset(digests)
            self._needed_again(self._pinned)

    @property
    def pinned(self) -> frozenset[Digest]:
        """What is pinned at this moment."""
        return self._pinned

    def hold(self, digest: Digest) -> None:
        """Keep a blob for LEASE seconds from now, or until a manifest names it."""
        with self.deciding:
            self._held.setdefault(digest, []).append(time.monotonic())
            self._needed_again([digest])

    def brought(self, digest: Digest) -> None:
        """Hold a blob whose bytes have just come in."""
        with self.deciding:
            self._nameless.add(digest)
            self.hold(digest)

    def named(self, digests: Collection[Digest]) -> None:
        """Manifests name these, whoever has brought their bytes once more."""
        with self.deciding:
            self._nameless.difference_update(digests)

    def nameless(self, digest: Digest) -> bool:
        """Whether the blob was brought in, by this process, for a model that was never made."""
        return digest in self._nameless

    def forget(self, digest: Digest) -> None:
        """The blob is gone."""
        self._nameless.discard(digest)

    def release(self, digest: Digest) -> None:
        """A manifest names the blob: one hold has done its work. Others who brought the same bytes keep theirs."""
        with self.deciding:
            self._nameless.discard(digest)
            holds = self._held.get(digest)
            if holds:
                holds.pop(0)
            if not holds:
                self._held.pop(digest, None)

    def held(self, digest: Digest) -> bool:
        """Whether a pin, lease or hold keeps the blob."""
        with self.deciding:
            newest = self._held.get(digest, [-LEASE * 2])[-1]
            return digest in self._pinned or digest in self._used or time.monotonic() - newest < LEASE

    def unneeded(self, digests: set[Digest], grace: float) -> set[Digest]:
        """Take note that exactly these are unneeded; returns those that have been for `grace` seconds."""
        with self.deciding:
            now = time.monotonic()
            self._unneeded = {digest: self._unneeded.get(digest, now) for digest in digests if not self.held(digest)}
            return {digest for digest, since in self._unneeded.items() if now - since >= grace}

    def _needed_again(self, digests: Iterable[Digest]) -> None:
        for digest in digests:
            self._unneeded.pop(digest, None)


def references(manifests: Iterable[Path]) -> set[Digest] | None:
    """Every digest these manifests name; None when one of them cannot be read."""
    digests: set[Digest] = set()
    for path in manifests:
        try:
            manifest = parse_manifest(read_small(path, MAX_MANIFEST))
        except (OSError, ValueError):
            return None
        digests.update(layer.digest for layer in (manifest.config, *manifest.layers))
    return digests
