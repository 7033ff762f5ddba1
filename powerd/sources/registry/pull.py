"""Pull: a model from a registry by Ollama's protocol (contract section 3.2), every byte verified before it counts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

import msgspec

from powerd.digest import Digest
from powerd.errors import Forbidden, NoSpace, PowerError, SourceFailed
from powerd.names import Name
from powerd.quantities import show_bytes
from powerd.sources.registry.repository import RemoteBlob, Repository, repositories
from powerd.sources.registry.ticking import OnStatus, Progress, ticking
from powerd.sources.transport.outbound import Outbound
from powerd.sources.transport.transfer import OnProgress, download
from powerd.store.manifest import (
    ADAPTER_TYPE,
    MANIFEST_TYPE,
    MODEL_TYPE,
    PROJECTOR_TYPE,
    Layer,
    Manifest,
    StoredModel,
    parse_manifest,
)
from powerd.store.store import Store

Prune = Callable[[Collection[Digest]], Awaitable[None]]

_MANIFEST_TYPES = {MANIFEST_TYPE, "application/vnd.oci.image.manifest.v1+json"}
_TENSOR_TYPE = "application/vnd.ollama.image.tensor"
_GGUF_TYPES = {MODEL_TYPE, PROJECTOR_TYPE, ADAPTER_TYPE}


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a registry gives for a name: its manifest, and the blobs that are in the store by now."""

    manifest: bytes
    digest: Digest  # of the manifest's bytes
    config: Layer
    layers: tuple[Layer, ...]
    weights: Digest


async def pull(
    name: Name,
    store: Store,
    outbound: Outbound,
    *,
    on_status: OnStatus,
    insecure: bool = False,
    trusted: bool = True,
    prune: Prune | None = None,
) -> StoredModel:
    """Bring a model from its registry and publish it under its name, telling Ollama's statuses word for word.

    `insecure` is plain HTTP. `trusted`: the owner asks, so private addresses may be named. `prune` is given the digests
    that an older manifest of this name needed and this one does not; a failure of it is told and changes nothing.
    Raises SourceFailed, Forbidden, BadRequest, NoSpace, StoreFailed, Conflict.
    """
    on_status({"status": "pulling manifest"})
    before = await asyncio.to_thread(store.find, name)
    found, places = await _find(name, outbound, insecure=insecure, trusted=trusted)
    with store.lease(layer.digest for layer in _every(found)):
        await _bring_all(store, outbound, places, found, name, on_status)
        on_status({"status": "verifying sha256 digest"})
        on_status({"status": "writing manifest"})
        stored = await asyncio.to_thread(store.publish_manifest, name, found.manifest)
    await _prune(before, found, prune, on_status)
    on_status({"status": "success"})
    return stored


async def fetch_weights(
    name: Name,
    store: Store,
    outbound: Outbound,
    on_progress: OnProgress = lambda _completed, _total: None,
    expect: Digest | None = None,
    *,
    insecure: bool = False,
    revision: str = "",
) -> Pulled:
    """Bring a model's blobs into the store without publishing a name, for a declared model to be composed of.

    `on_progress` hears bytes of all layers together. `expect`: the weights' digest must be this one. `revision`: the
    manifest of this digest is asked for, and the tag's only where the registry does not keep it. Raises as pull().
    """
    found, places = await _find(name, outbound, insecure=insecure, trusted=True, revision=revision)
    if expect is not None and expect not in {found.weights, found.digest}:
        raise SourceFailed(f'{name}: digest mismatch, expected "{expect}", the registry offers "{found.weights}"')
    layers = _every(found)
    total = sum(layer.size for layer in layers)
    with store.lease(layer.digest for layer in layers):
        await _check_room(store, layers, name)
        done = 0
        for layer in layers:
            if not await asyncio.to_thread(store.intact, layer.digest):
                await _bring(store, outbound, places, layer, _beyond(done, total, on_progress))
            done += layer.size
            on_progress(done, total)
    return found


def _beyond(done: int, total: int, on_progress: OnProgress) -> OnProgress:
    """One blob's progress as that of all, `done` bytes of which came before it."""
    return lambda here, _total: on_progress(done + here, total)


async def look(name: Name, outbound: Outbound, *, insecure: bool = False, trusted: bool = True) -> Pulled:
    """What a registry offers under a name; only its manifest is read. Raises as pull()."""
    found, _ = await _find(name, outbound, insecure=insecure, trusted=trusted)
    return found


# ---------------------------------------------------------------- the manifest


async def _find(
    name: Name, outbound: Outbound, *, insecure: bool, trusted: bool, revision: str = ""
) -> tuple[Pulled, list[Repository]]:
    """The manifest of `name`, and where it and what it names are."""
    places = repositories(outbound, name, insecure=insecure, trusted=trusted)
    if revision:
        with contextlib.suppress(SourceFailed):
            return read_manifest(await places[0].manifest(revision), name), places
    while True:
        try:
            data = await places[0].manifest(name.tag)
            return read_manifest(data, name), places
        except Forbidden as error:
            raise Forbidden(f"pull model manifest: registry {error.message.removeprefix('registry ')}") from None
        except SourceFailed as error:
            del places[0]
            if not places:
                raise SourceFailed(f"pull model manifest: {error.message}") from None


def read_manifest(data: bytes, name: Name) -> Pulled:
    """A stranger's manifest, held to the letter. Raises SourceFailed naming the field that is wrong."""
    try:
        manifest = parse_manifest(data)
        _hold_to_the_letter(msgspec.json.decode(data), manifest)
    except ValueError as error:
        text = str(error)
        raise SourceFailed(f"invalid digest ({text})" if text.endswith(".digest") else text) from None
    if any(layer.media_type == _TENSOR_TYPE for layer in manifest.layers):
        raise SourceFailed("this model requires MLX support, but the MLX runtime is not available")
    weights = next((layer.digest for layer in manifest.layers if layer.media_type == MODEL_TYPE), None)
    if weights is None:
        raise SourceFailed(f"{name} holds no model that could be served here: its manifest names no GGUF weights")
    return Pulled(data, Digest.of(data), manifest.config, manifest.layers, weights)


def _hold_to_the_letter(said: dict[str, object], manifest: Manifest) -> None:
    """Raise ValueError for what is readable and still not what one registry would say of one model."""
    if str(said.get("mediaType", MANIFEST_TYPE)) not in _MANIFEST_TYPES:
        raise ValueError("invalid manifest: mediaType")
    if "manifests" in said or "fsLayers" in said:
        raise ValueError("invalid manifest: manifests")
    layers = said["layers"]
    assert isinstance(layers, list)
    written = [said["config"], *layers]
    for index, (text, layer) in enumerate(zip(written, (manifest.config, *manifest.layers), strict=True)):
        if text["digest"] != str(layer.digest):
            raise ValueError(f"invalid manifest: {f'layers[{index - 1}]' if index else 'config'}.digest")


def _every(found: Pulled) -> list[Layer]:
    """Layers in the manifest's order, then the config; each blob once."""
    return list({layer.digest: layer for layer in (*found.layers, found.config)}.values())


# ---------------------------------------------------------------- the blobs


async def _bring_all(
    store: Store, outbound: Outbound, places: list[Repository], found: Pulled, name: Name, on_status: OnStatus
) -> None:
    layers = _every(found)
    await _check_room(store, layers, name)
    for layer in layers:
        if await asyncio.to_thread(store.intact, layer.digest):
            on_status(Progress("pulling", layer, completed=layer.size).status())
            continue
        async with ticking("pulling", layer, on_status) as progress:
            await _bring(store, outbound, places, layer, progress.hear)


async def _bring(
    store: Store, outbound: Outbound, places: list[Repository], layer: Layer, on_progress: OnProgress
) -> None:
    await download(
        store,
        outbound,
        RemoteBlob(places, layer.digest),
        digest=layer.digest,
        size=layer.size,
        on_progress=on_progress,
        gguf=layer.media_type in _GGUF_TYPES,
    )


async def _check_room(store: Store, layers: list[Layer], name: Name) -> None:
    """Raise NoSpace before the first byte when all that is missing will not fit."""

    def look() -> tuple[int, int]:
        missing = [layer for layer in layers if not store.intact(layer.digest)]
        return sum(max(0, layer.size - store.begun(layer.digest)) for layer in missing), store.free()

    needed, free = await asyncio.to_thread(look)
    if needed > free:
        raise NoSpace(f"need {show_bytes(needed)} in {store.root} for {name}, have {show_bytes(free)}")


async def _prune(before: StoredModel | None, found: Pulled, prune: Prune | None, on_status: OnStatus) -> None:
    if before is None or before.read_only or prune is None:
        return
    unused = {layer.digest for layer in before.layers} - {layer.digest for layer in _every(found)}
    if not unused:
        return
    on_status({"status": "removing unused layers"})
    try:
        await prune(unused)
    except PowerError as error:
        on_status({"status": f"couldn't remove unused layers: {error.message}"})
