"""Usage: where the store's bytes are."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from powerd.digest import Digest
from powerd.names import Name
from powerd.store.blobs import Blobs
from powerd.store.files import read_small
from powerd.store.manifest import MAX_MANIFEST, parse_manifest
from powerd.store.shelf import Shelf


@dataclass(frozen=True, slots=True)
class ModelUsage:
    """Bytes of one model. `alone`: what no other model of ours names, so what deleting it gives back."""

    name: str
    size: int
    alone: int
    where: str  # the directory its manifest is in
    read_only: bool


@dataclass(frozen=True, slots=True)
class Usage:
    """All bytes of our blobs are those of one model alone, of several (`shared`) or of none.

    Those of none are `kept` for an earlier generation, or `unreferenced`.
    """

    root: str
    models: tuple[ModelUsage, ...]
    blobs: int
    bytes: int
    shared: int
    kept: int
    unreferenced: int
    leftovers: int  # of interrupted ingests, and unfinished downloads
    corrupt: int  # put aside by fsck --repair
    free: int  # may still be brought in
    quota: int | None
    lower: tuple[str, ...]


def measure(shelf: Shelf, blobs: Blobs, lower: Sequence[Shelf]) -> Usage:
    """Add everything up. Models whose manifest cannot be read are left out. Raises OSError."""
    sizes = dict(shelf.digests())
    models = [(each, name, digests) for each in (shelf, *lower) for name, digests in _manifests(each)]
    pinned = blobs.leases.pinned
    users = Counter(digest for each, _, digests in models if each is shelf for digest in digests)
    return Usage(
        root=str(shelf.root),
        models=tuple(
            ModelUsage(
                name=name.display,
                size=sum(digests.values()),
                alone=sum(sizes.get(digest, 0) for digest in digests if each is shelf and users[digest] == 1),
                where=str(each.root),
                read_only=not each.own,
            )
            for each, name, digests in models
        ),
        blobs=len(sizes),
        bytes=sum(sizes.values()),
        shared=sum(size for digest, size in sizes.items() if users[digest] > 1),
        kept=sum(size for digest, size in sizes.items() if not users[digest] and digest in pinned),
        unreferenced=sum(size for digest, size in sizes.items() if not users[digest] and digest not in pinned),
        leftovers=sum(size for _, size in blobs.leftovers()),
        corrupt=sum(path.stat().st_size for path in blobs.corrupt.iterdir()) if blobs.corrupt.is_dir() else 0,
        free=blobs.free(),
        quota=blobs.quota,
        lower=tuple(str(each.root) for each in lower),
    )


def _manifests(shelf: Shelf) -> Iterator[tuple[Name, dict[Digest, int]]]:
    """Each model's name, and the size of each of its blobs."""
    for path, name in shelf.names():
        with contextlib.suppress(OSError, ValueError):
            manifest = parse_manifest(read_small(path, MAX_MANIFEST))
            if name is not None:
                yield name, {layer.digest: layer.size for layer in (manifest.config, *manifest.layers)}
