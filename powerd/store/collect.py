"""What keeps a blob: manifests that name it, and leases on what was brought in a while ago and is not named yet."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from powerd.digest import Digest
from powerd.store.files import read_small
from powerd.store.manifest import MAX_MANIFEST, parse_manifest

#: Seconds a blob that was brought in waits for the manifest that will name it.
LEASE = 3600.0


class Leases:
    """Which blobs somebody is about to need, and since when the others have been unneeded.

    Times are of the monotonic clock, so a wall clock that jumps neither deletes nor keeps anything.
    """

    def __init__(self) -> None:
        self._held: dict[Digest, float] = {}
        self._unneeded: dict[Digest, float] = {}

    def hold(self, digest: Digest) -> None:
        """Keep a blob for LEASE seconds from now."""
        self._held[digest] = time.monotonic()
        self._unneeded.pop(digest, None)

    def release(self, digest: Digest) -> None:
        """A manifest names the blob: the lease has done its work."""
        self._held.pop(digest, None)

    def held(self, digest: Digest) -> bool:
        """Whether a lease on the blob still runs."""
        return time.monotonic() - self._held.get(digest, -LEASE * 2) < LEASE

    def unneeded(self, digests: set[Digest], grace: float) -> set[Digest]:
        """Take note that exactly these are unneeded; returns those that have been for `grace` seconds."""
        now = time.monotonic()
        self._unneeded = {digest: self._unneeded.get(digest, now) for digest in digests}
        return {digest for digest, since in self._unneeded.items() if now - since >= grace}


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
