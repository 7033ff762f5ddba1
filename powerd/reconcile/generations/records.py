"""Records: an accepted generation as it is kept on disk, and what each of its models resolved to. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec

from powerd.digest import Digest
from powerd.reconcile.step import Fetched
from powerd.store.manifest import Layer


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """One accepted generation, self-contained: `documents` is every text it was parsed from, by path.

    A rollback stands for what generation `rollback_of` resolved to, whatever its sources say by now, and is held
    against the file whose fingerprint is `over` until that changes.
    """

    number: int
    accepted_at: float  # seconds since the epoch
    reason: str  # "models.yaml", "rollback to 3", "update of coder"
    documents: dict[str, str]
    lock: str = ""  # the text of models.lock.yaml that held then
    rollback_of: int = 0
    over: str = ""


class Resolved(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one model of a generation resolved to; digests as `sha256:…`."""

    source: str
    identity: str
    weights: str
    origin: str  # what was fetched: other than `weights` where these were quantized here
    manifest: str  # of the composition
    quantization: str = ""
    pinned: str = ""
    revision: str = ""  # the source's own word for what it gave: a manifest's digest, a commit, an ETag
    inherited: list[tuple[str, str, int]] = []  # media type, digest, size
    traits: list[tuple[str, str]] = []


def fingerprint(documents: Mapping[str, str]) -> str:
    """Equal for files that say the same."""
    return hashlib.sha256(msgspec.json.encode(sorted(documents.items()))).hexdigest()


def resolved(fetched: Fetched, manifest: Digest) -> Resolved:
    """What is written down of a model that was composed."""
    return Resolved(
        source=fetched.source,
        identity=fetched.identity,
        weights=str(fetched.weights),
        origin=str(fetched.origin),
        manifest=str(manifest),
        quantization=fetched.quantization,
        pinned=fetched.pinned,
        revision=fetched.revision,
        inherited=[(layer.media_type, str(layer.digest), layer.size) for layer in fetched.inherited],
        traits=list(fetched.traits),
    )


def fetched(written: Resolved) -> Fetched:
    """The weights that were written down. Raises ValueError for digests that are none."""
    return Fetched(
        source=written.source,
        identity=written.identity,
        weights=Digest.parse(written.weights),
        origin=Digest.parse(written.origin),
        quantization=written.quantization,
        pinned=written.pinned,
        inherited=tuple(Layer(kind, Digest.parse(digest), size) for kind, digest, size in written.inherited),
        revision=written.revision,
        traits=tuple(written.traits),
    )


def blobs(written: Resolved) -> set[Digest]:
    """The blobs it takes to serve the model again without asking its source. Raises ValueError."""
    return {Digest.parse(written.weights), *(Digest.parse(digest) for _, digest, _ in written.inherited)}
