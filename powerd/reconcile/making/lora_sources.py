"""Where LoRA files come from: a path, an address, a repository on the hub, or the model of a registry that has one.

Of a file that is elsewhere the header is looked at first, so that nothing is fetched that does not fit; of another
model only its adapter is taken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from powerd.catalog.show import redacted
from powerd.catalog.spec import Adapter
from powerd.digest import Digest
from powerd.errors import BadRequest, Forbidden, SourceFailed
from powerd.reconcile.making.lora import check
from powerd.reconcile.reach import Reach, installed
from powerd.sources.fetch import fetch, path_of
from powerd.sources.hub.model import HubFiles
from powerd.sources.registry.repository import RemoteBlob, repositories
from powerd.sources.remote import header_if_sized
from powerd.sources.resolve import resolve_name
from powerd.sources.source import Source, parse
from powerd.sources.transport.location import Link, Location
from powerd.sources.transport.transfer import download
from powerd.store.gguf import GgufError, Header, read_header
from powerd.store.manifest import ADAPTER_TYPE, Layer


@dataclass(frozen=True, slots=True)
class Found:
    """A LoRA file that a source names: `location` is None where it is on this machine."""

    shown: str
    size: int | None  # bytes; None = not known before it is asked for
    digest: Digest | None
    location: Location | None = None


def source_of(adapter: Adapter, directory: Path) -> Source:
    """The adapter's source, understood. Raises BadRequest for what cannot be one."""
    source = parse(adapter.source, directory)
    shown = redacted(adapter.source)
    if source.kind in {"builtin", "modelfile"}:
        raise BadRequest(f"{shown} is no LoRA adapter: name a GGUF file, its address, or a model that has one")
    if not source.supported:
        raise BadRequest(f"{shown}: {source.why_not}")
    return source


async def find(adapter: Adapter, reach: Reach, directory: Path) -> Found:
    """Look where the adapter is; of files that are elsewhere, manifests and listings alone are read.

    Raises BadRequest, Forbidden, SourceFailed.
    """
    source, shown = source_of(adapter, directory), redacted(adapter.source)
    if source.kind == "file":
        return Found(shown, await asyncio.to_thread(_size, path_of(source)), adapter.digest)
    if adapter.digest is not None and (here := await _here(adapter.digest, reach)) is not None:
        return Found(shown, here, adapter.digest)
    if (model := await asyncio.to_thread(installed, source, reach.store)) is not None:
        layer = _only([each for each, _ in model.adapters], shown)
        return _held_to(adapter, Found(shown, layer.size, layer.digest))
    if reach.outbound.config.offline:
        raise Forbidden(f"{shown} is remote and powerd.yaml says `offline: true`")
    if source.kind == "url":
        return Found(shown, None, adapter.digest, Link(reach.outbound, source.url))
    return _held_to(adapter, await _named(source, shown, reach))


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


async def _here(digest: Digest, reach: Reach) -> int | None:
    """The size of a blob that is in the store as it should be."""
    if not await asyncio.to_thread(reach.store.intact, digest):
        return None
    path = await asyncio.to_thread(reach.store.blob, digest)
    return path.stat().st_size if path is not None else None


async def _named(source: Source, shown: str, reach: Reach) -> Found:
    """The adapter of a name, on its registry or on the hub."""
    found = await resolve_name(source.text, reach.outbound, reach.hub, declared=True)
    if isinstance(found.found, HubFiles):
        if len(found.found.files) != 1:
            raise BadRequest(f"{shown} is no LoRA adapter, but a model in {len(found.found.files)} files")
        file = found.found.files[0]
        return Found(shown, file.size, file.digest, found.found.location(file, reach.outbound))
    layer = _only([each for each in found.found.layers if each.media_type == ADAPTER_TYPE], shown)
    assert found.route.name is not None
    places = repositories(reach.outbound, found.route.name, insecure=False, trusted=True)
    return Found(shown, layer.size, layer.digest, RemoteBlob(places, layer.digest))


def _only(layers: Sequence[Layer], shown: str) -> Layer:
    if not layers:
        raise BadRequest(f"{shown} is no LoRA adapter, but a model that has none")
    if len(layers) > 1:
        raise BadRequest(f"{shown} has {len(layers)} adapters; name the file of one")
    return layers[0]


def _held_to(adapter: Adapter, found: Found) -> Found:
    """The same, when it may be what the entry's `digest` says."""
    if adapter.digest is not None and found.digest not in {None, adapter.digest}:
        raise SourceFailed(f'{found.shown}: digest mismatch, expected "{adapter.digest}", it has "{found.digest}"')
    return found


async def take(adapter: Adapter, model: Header, reach: Reach, directory: Path) -> Digest:
    """Bring an adapter for weights with this header into the store, where it is not there yet.

    Raises BadRequest for what does not fit, Forbidden, SourceFailed, NoSpace, StoreFailed.
    """
    found = await find(adapter, reach, directory)
    wanted = adapter.digest or found.digest
    if wanted is not None and await _here(wanted, reach) is not None:
        check(found.shown, await _stored(wanted, reach), model)
        return wanted
    if found.location is None:
        source = source_of(adapter, directory)
        return await fetch(source, reach.store, expect=wanted, check=lambda header: check(found.shown, header, model))
    header = await header_of(found, reach)
    if header is not None:
        check(found.shown, header, model)

    def check_file(path: Path) -> None:
        check(found.shown, read_header(path), model)

    try:
        return await download(
            reach.store, reach.outbound, found.location, digest=wanted, size=found.size, check=check_file, gguf=True
        )
    except GgufError as error:
        raise SourceFailed(f"{found.shown}: {error}") from None


async def header_of(found: Found, reach: Reach) -> Header | None:
    """The header of a file that is elsewhere; None where its server does not say how long the file is."""
    assert found.location is not None
    return await header_if_sized(found.location, reach.outbound, size=found.size)


async def _stored(digest: Digest, reach: Reach) -> Header:
    path = await asyncio.to_thread(reach.store.blob, digest)
    if path is None:
        raise SourceFailed(f"blob {digest.short} is no longer in the store")
    try:
        return await asyncio.to_thread(read_header, path)
    except GgufError as error:
        raise BadRequest(f"blob {digest.short} is no LoRA adapter: {error}") from None
