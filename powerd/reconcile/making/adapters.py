"""LoRA adapters of models: the files that models.yaml names, which runner loads which, and who applies them.

A runner loads every adapter file that is declared for its weights, so that names that differ in nothing else share it;
each request then chooses those of its own name.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path

import msgspec

from powerd.catalog.spec import Adapter, ModelSpec
from powerd.digest import Digest
from powerd.errors import BadRequest, SourceFailed
from powerd.protocol import Deployment
from powerd.reconcile.making.layers import adapter_layer
from powerd.reconcile.making.lora import MARK
from powerd.reconcile.making.lora_sources import source_of, take
from powerd.reconcile.offer import Offer
from powerd.reconcile.reach import Reach
from powerd.sources.fetch import identity
from powerd.store.gguf import read_header
from powerd.store.manifest import ADAPTER_TYPE, Layer, StoredModel

Files = tuple[tuple[str, str, int], ...]


# ---------------------------------------------------------------- from models.yaml


def looks(adapters: Sequence[Adapter], directory: Path, known: str) -> str:
    """What to add to the identity of a model's source for its adapters. Blocking.

    One that is gone looks as it did in `known`, the identity before, if the same were named then. Raises SourceFailed.
    """
    if not adapters:
        return ""
    named = _hash(f"{adapter.source} {adapter.digest}" if adapter.digest else adapter.source for adapter in adapters)
    try:
        return f"{MARK}{named}.{_hash(identity(source_of(adapter, directory)) for adapter in adapters)}"
    except BadRequest as error:
        raise SourceFailed(f"adapters: {error.message}") from None
    except SourceFailed:
        before = MARK + known.partition(MARK)[2]
        if not before.startswith(f"{MARK}{named}."):
            raise
        return before


def _hash(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


async def bring(adapters: Sequence[Adapter], weights: Digest, reach: Reach, directory: Path) -> tuple[Layer, ...]:
    """Fetch adapters for weights that are in the store. Raises SourceFailed, Forbidden, NoSpace, StoreFailed."""
    path = reach.store.blob(weights)
    if path is None:
        raise SourceFailed(f"blob {weights.short} is no longer in the store")
    model = await asyncio.to_thread(read_header, path)
    try:
        digests = [await take(adapter, model, reach, directory) for adapter in adapters]
    except BadRequest as error:
        raise SourceFailed(f"adapters: {error.message}") from None
    return tuple([await asyncio.to_thread(adapter_layer, reach.store, digest) for digest in digests])


# ---------------------------------------------------------------- who loads and who chooses them


def files_of(stored: StoredModel) -> Files:
    """The adapter files of a stored model, each once."""
    return tuple(sorted({(each.digest.hex, str(path), each.size) for each, path in stored.adapters}))


def chosen(stored: StoredModel, spec: ModelSpec | None = None) -> tuple[tuple[str, float], ...]:
    """What a name's requests apply: digests with scales, the sum for a file named twice; of scale 0 none at all."""
    said = [adapter.scale for adapter in spec.adapters] if spec is not None else []
    digests = [each.digest.hex for each, _ in stored.adapters]
    scales: dict[str, float] = {}
    for digest, scale in zip(digests, chain(said, repeat(1.0)), strict=False):
        scales[digest] = scales.get(digest, 0.0) + scale
    return tuple(sorted((digest, scale) for digest, scale in scales.items() if scale))


def shared(deployments: Sequence[Deployment]) -> list[Deployment]:
    """The deployments, each with the adapters of all of them that have its weights."""
    together: dict[str, dict[str, tuple[str, str, int]]] = {}
    for each in deployments:
        files = together.setdefault(each.weights_digest, {})
        for file in each.adapters:  # one that is only foreseen has no path
            files[file[0]] = max(file, files.get(file[0], file))
    return [loading(each, tuple(sorted(together[each.weights_digest].values()))) for each in deployments]


def united(offers: Sequence[Offer]) -> list[Offer]:
    """The offers, each on a runner that loads the adapters of all of them that have its weights."""
    own = [loading(offer.deployment, files_of(offer.stored)) for offer in offers]
    return [_on(offer, deployment) for offer, deployment in zip(offers, shared(own), strict=True)]


def joining(offer: Offer, declared: Mapping[str, Files]) -> Offer:
    """An undeclared model's offer: on the runner of the declared ones with its weights, where that loads all it needs.

    `declared` has their adapter files by the weights' digest. What clients create changes no declared model's runner.
    """
    there = declared.get(offer.deployment.weights_digest, ())
    own = {digest for digest, _, _ in files_of(offer.stored)}
    return _on(offer, loading(offer.deployment, there)) if own <= {digest for digest, _, _ in there} else offer


def loading(deployment: Deployment, files: Files) -> Deployment:
    """The deployment with these adapter files."""
    return deployment if deployment.adapters == files else msgspec.structs.replace(deployment, adapters=files)


def to_come(layers: Iterable[Layer]) -> Files:
    """The adapters among layers that no model is made of yet."""
    return tuple(sorted({(each.digest.hex, "", each.size) for each in layers if each.media_type == ADAPTER_TYPE}))


def _on(offer: Offer, deployment: Deployment) -> Offer:
    return offer if offer.deployment == deployment else replace(offer, deployment=deployment)
