"""Written: how Fetched is kept on disk, in a composition's config and in a generation's records. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from powerd.digest import Digest
from powerd.reconcile.step import Fetched
from powerd.store.manifest import Layer


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What weights were fetched from; digests as `sha256:…`. Those of the weights themselves stand beside it."""

    source: str
    identity: str
    origin: str  # what was fetched: other than the weights where these were quantized here
    quantization: str = ""
    pinned: str = ""
    revision: str = ""  # the source's own word for what it gave: a manifest's digest, a commit, an ETag
    inherited: list[tuple[str, str, int]] = []  # media type, digest, size
    traits: list[tuple[str, str]] = []


def written(fetched: Fetched) -> dict[str, Any]:
    """The fields of Written."""
    return {
        "source": fetched.source,
        "identity": fetched.identity,
        "origin": str(fetched.origin),
        "quantization": fetched.quantization,
        "pinned": fetched.pinned,
        "revision": fetched.revision,
        "inherited": [(layer.media_type, str(layer.digest), layer.size) for layer in fetched.inherited],
        "traits": list(fetched.traits),
    }


def read(said: Written, weights: Digest) -> Fetched:
    """What was written down of these weights. Raises ValueError for digests that are none."""
    return Fetched(
        source=said.source,
        identity=said.identity,
        weights=weights,
        origin=Digest.parse(said.origin),
        quantization=said.quantization,
        pinned=said.pinned,
        inherited=tuple(Layer(kind, Digest.parse(digest), size) for kind, digest, size in said.inherited),
        revision=said.revision,
        traits=tuple(said.traits),
    )
