"""/api/tags and /api/ps: what there is and what is loaded (contract sections 1.7 and 1.9; pure)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from powerd.api.ollama.times import FOR_EVER, local
from powerd.fleet.terms import RunnerView
from powerd.reconcile.offer import Offer
from powerd.store.manifest import MODEL_TYPE


def details(offer: Offer, *, lengths: bool) -> dict[str, object]:
    """The `details` object; `lengths` adds what only /api/tags shows."""
    config, header = offer.stored.config, offer.stored.header
    parent = next((layer.origin for layer in offer.stored.layers if layer.media_type == MODEL_TYPE), None)
    described: dict[str, object] = {
        "parent_model": parent or "",
        "format": config.get("model_format") or "gguf",
        "family": config.get("model_family") or header.architecture,
        "families": config.get("model_families"),
        "parameter_size": config.get("model_type") or "",
        "quantization_level": _quantization(offer),
    }
    if lengths:
        known = {"context_length": header.context_length, "embedding_length": header.embedding_length}
        described |= {name: value for name, value in known.items() if value}
    return described


def _quantization(offer: Offer) -> object:
    declared = offer.stored.config.get("file_type")
    return declared if declared and declared != "unknown" else offer.stored.header.file_type


def tag(offer: Offer) -> dict[str, object]:
    """One entry of /api/tags."""
    stored, name = offer.stored, offer.name.display
    return {
        "name": name,
        "model": name,
        "modified_at": modified(offer),
        "size": stored.size,
        "digest": stored.digest.hex,
        "details": details(offer, lengths=True),
        "capabilities": list(offer.capabilities),
    }


def modified(offer: Offer) -> str:
    """When the model was last written, in the machine's own time zone."""
    return local(datetime.fromtimestamp(offer.stored.modified).astimezone())


def loaded(
    views: Sequence[RunnerView], find: Callable[[str], Offer | None], now: datetime, clock: float
) -> list[dict[str, object]]:
    """The entries of /api/ps, longest remaining time first.

    `now` is an aware wall time, `clock` the monotonic seconds at the same instant.
    """
    rows = []
    for view in views:
        offer = find(view.model)
        if view.state == "stopping":
            continue
        left = FOR_EVER if view.expires_at is None else timedelta(seconds=max(0.0, view.expires_at - clock))
        rows.append((left, _row(view, offer, now + left)))
    return [row for _, row in sorted(rows, key=lambda pair: pair[0], reverse=True)]


def _row(view: RunnerView, offer: Offer | None, expires: datetime) -> dict[str, object]:
    """One entry; a runner whose name is gone from the library is still shown, by its weights."""
    name = offer.name.display if offer else view.model
    return {
        "name": name,
        "model": name,
        "size": view.size,
        "digest": offer.stored.digest.hex if offer else view.digest,
        "details": details(offer, lengths=False) if offer else _NOTHING_KNOWN,
        "expires_at": local(expires),
        "size_vram": view.size_vram,
        "context_length": view.context,
    }


_NOTHING_KNOWN = {
    "parent_model": "",
    "format": "gguf",
    "family": "",
    "families": None,
    "parameter_size": "",
    "quantization_level": "",
}
