"""Records: an accepted generation as it is kept on disk, and what each of its models resolved to. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec

from powerd.digest import Digest
from powerd.reconcile.step import Fetched
from powerd.reconcile.written import Written, read, written


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


class Resolved(Written, frozen=True, kw_only=True, omit_defaults=True):
    """What one model of a generation resolved to."""

    weights: str
    manifest: str  # of the composition


def fingerprint(documents: Mapping[str, str]) -> str:
    """Equal for files that say the same."""
    return hashlib.sha256(msgspec.json.encode(sorted(documents.items()))).hexdigest()


def resolved(fetched: Fetched, manifest: Digest) -> Resolved:
    """What is written down of a model that was composed."""
    return Resolved(**written(fetched), weights=str(fetched.weights), manifest=str(manifest))


def fetched(said: Resolved) -> Fetched:
    """The weights that were written down. Raises ValueError for digests that are none."""
    return read(said, Digest.parse(said.weights))


def blobs(said: Resolved) -> set[Digest]:
    """The blobs it takes to serve the model again without asking its source. Raises ValueError."""
    return {Digest.parse(said.weights), *(Digest.parse(digest) for _, digest, _ in said.inherited)}
