"""Layers: a manifest's entries for blobs in the store, and what the parameters among them say. Blocking."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from powerd.digest import Digest
from powerd.store.files import read_small
from powerd.store.manifest import ADAPTER_TYPE, MODEL_TYPE, PARAMS_TYPE, Layer
from powerd.store.store import Store

_MAX_PARAMS = 1 << 20


def model_layer(store: Store, weights: Digest) -> Layer:
    """The manifest's entry for weights in the store."""
    return _layer(MODEL_TYPE, weights, store)


def adapter_layer(store: Store, adapter: Digest) -> Layer:
    """The manifest's entry for an adapter in the store."""
    return _layer(ADAPTER_TYPE, adapter, store)


def _layer(media_type: str, digest: Digest, store: Store) -> Layer:
    path = store.blob(digest)
    return Layer(media_type, digest, path.stat().st_size if path else 0)


def params_of(layers: Iterable[Layer], store: Store) -> dict[str, Any]:
    """The parameters that come with these layers; none where they cannot be read."""
    for layer in layers:
        if layer.media_type == PARAMS_TYPE and (path := store.blob(layer.digest)) is not None:
            try:
                params = msgspec.json.decode(read_small(path, _MAX_PARAMS))
            except (OSError, ValueError):
                return {}
            return params if isinstance(params, dict) else {}
    return {}
