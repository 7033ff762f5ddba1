"""Push: a stored model to a registry (contract section 3.3). Only verified blobs of its own manifest are read."""

from __future__ import annotations

import asyncio

from powerd.digest import Digest
from powerd.errors import Conflict, PowerError, SourceFailed
from powerd.names import Name
from powerd.sources.registry.repository import Repository, check_said_digest, repositories
from powerd.sources.registry.ticking import OnStatus, Progress, ticking
from powerd.sources.registry.upload import Upload, accept
from powerd.sources.transport.outbound import Outbound, raise_if_busy
from powerd.store.manifest import MANIFEST_TYPE, Layer, StoredModel, parse_manifest
from powerd.store.store import Store


async def push(
    stored: StoredModel,
    destination: Name,
    store: Store,
    outbound: Outbound,
    *,
    on_status: OnStatus,
    insecure: bool = False,
    trusted: bool = True,
) -> None:
    """Send a model's blobs and then its manifest, byte for byte, telling Ollama's statuses word for word.

    Raises SourceFailed, Forbidden for a registry this caller may not send to, Conflict for a corrupt blob, StoreFailed.
    """
    on_status({"status": "retrieving manifest"})
    try:
        data = await asyncio.to_thread(store.manifest_bytes, stored.name)
        manifest = parse_manifest(data)
    except (PowerError, ValueError) as error:
        on_status({"status": "couldn't retrieve manifest"})
        raise Conflict(f"couldn't retrieve manifest: {error}") from None
    repository = repositories(outbound, destination, insecure=insecure, trusted=trusted, push=True)[0]
    layers = list({layer.digest: layer for layer in (*manifest.layers, manifest.config)}.values())
    with store.lease(layer.digest for layer in layers):
        for layer in layers:
            await _push_blob(repository, layer, store, on_status)
    on_status({"status": "pushing manifest"})
    await _push_manifest(repository, destination.tag, data)
    on_status({"status": "success"})


async def _push_manifest(repository: Repository, tag: str, data: bytes) -> None:
    async def put() -> None:
        url = f"{repository.root}/manifests/{tag}"
        async with repository.send("PUT", url, headers={"Content-Type": MANIFEST_TYPE}, content=data) as response:
            await accept(repository, response)
            check_said_digest(response, Digest.of(data))

    await repository.outbound.patiently(repository.origin.key, put)


# ---------------------------------------------------------------- one blob


async def _push_blob(repository: Repository, layer: Layer, store: Store, on_status: OnStatus) -> None:
    if await _present(repository, layer):
        on_status(Progress("pushing", layer, completed=layer.size).status())
        return
    await asyncio.to_thread(store.check_blob, layer.digest)
    path = await asyncio.to_thread(store.blob, layer.digest)
    if path is None:
        raise Conflict(f"blob {layer.digest} is missing, re-pull")
    async with ticking("pushing", layer, on_status) as progress:
        await Upload(repository, layer, path, progress).run()


async def _present(repository: Repository, layer: Layer) -> bool:
    async def ask() -> bool:
        async with repository.send("HEAD", f"{repository.root}/blobs/{layer.digest}") as response:
            if response.status_code == 404:
                return False
            raise_if_busy(response)
            if response.status_code not in {200, 307}:
                raise SourceFailed(f"{repository.root}: the server answered {response.status_code} to HEAD of a blob")
            return True

    return await repository.outbound.patiently(repository.origin.key, ask)
