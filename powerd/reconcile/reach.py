"""Reach: where bytes may be had from: the store on this machine, and the registries and the hub beyond it."""

from __future__ import annotations

from dataclasses import dataclass

from powerd.names import Name
from powerd.sources.hub.model import HubConfig
from powerd.sources.source import Source
from powerd.sources.transport.outbound import Outbound
from powerd.store.manifest import StoredModel
from powerd.store.store import Store


@dataclass(frozen=True, slots=True)
class Reach:
    """Where bytes may be had from."""

    store: Store
    outbound: Outbound
    hub: HubConfig


def installed(source: Source, store: Store, quantization: str | None = None) -> StoredModel | None:
    """The model that is installed under the name a source gives, whole and of that quantization. Blocking.

    Raises StoreFailed.
    """
    if source.kind not in {"registry", "huggingface"} or "://" in source.text:
        return None
    try:
        found = store.find(Name.parse(source.text))
    except ValueError:
        return None
    if found is None or (quantization and quantization.upper() != found.header.file_type.upper()):
        return None
    return found if all(store.intact(layer.digest) for layer in found.layers) else None
