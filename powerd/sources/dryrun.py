"""A pull foretold: where from, which files and bytes, what is here already, and how much memory it would need."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import msgspec

from powerd.digest import Digest
from powerd.errors import BadRequest, SourceFailed
from powerd.protocol import Shape
from powerd.sources.fetch import path_of
from powerd.sources.hub.model import HubConfig, HubFile, HubFiles
from powerd.sources.registry.pull import Pulled
from powerd.sources.registry.repository import RemoteBlob, repositories
from powerd.sources.remote import read_remote_header
from powerd.sources.resolve import Resolution, resolve_name
from powerd.sources.source import Source, parse
from powerd.sources.transport.location import Link, Location
from powerd.sources.transport.outbound import Outbound
from powerd.store.gguf import GgufError, Header, read_header
from powerd.store.store import Store


@dataclass(frozen=True, slots=True)
class Piece:
    """One file or layer of the model. Size and digest are None where they are not known before it is fetched."""

    role: str  # weights, projector, or what the layer's media type ends in: template, params, license, config, …
    name: str
    size: int | None  # bytes
    digest: Digest | None
    present: bool


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a pull of `text` would do."""

    text: str
    place: str  # where it was found
    failed: tuple[str, ...]  # why the places asked before did not have it, a sentence each
    pieces: tuple[Piece, ...]
    shape: Shape | None  # for an estimate of memory
    quantization: str  # as the header says it; empty without one
    unread: str = ""  # why the header could not be read

    @property
    def total(self) -> int:
        """Bytes of all pieces whose size is known."""
        return sum(piece.size or 0 for piece in self.pieces)

    @property
    def present(self) -> int:
        """Those that are here already."""
        return sum(piece.size or 0 for piece in self.pieces if piece.present)


async def dry_run(
    text: str,
    store: Store,
    outbound: Outbound,
    hub: HubConfig,
    *,
    directory: Path,
    quantization: str = "",
    declared: bool = False,
    insecure: bool = False,
    trusted: bool = True,
) -> DryRun:
    """Foretell a pull of a source text: a name, a Hugging Face text, a URL, a file (against `directory`), builtin:demo.

    Of weights that are elsewhere only the header is read. Nothing is written. Raises BadRequest, Forbidden,
    SourceFailed.
    """
    source = parse(text, directory)
    if source.kind in {"file", "builtin"}:
        return await _of_file(text, source)
    if source.kind == "url":
        return await _of_url(text, source, outbound, trusted=trusted)
    if source.kind == "modelfile":
        raise BadRequest(f"{text} is a Modelfile: its FROM line names what would be pulled", "source")
    found = await resolve_name(
        text, outbound, hub, quantization=quantization, declared=declared, insecure=insecure, trusted=trusted
    )
    if isinstance(found.found, HubFiles):
        return await _of_hub(text, found, found.found, store, outbound)
    assert found.route.name is not None
    places = repositories(outbound, found.route.name, insecure=insecure, trusted=trusted)
    location = RemoteBlob(places, found.found.weights)
    return await _of_registry(text, found, found.found, store, outbound, location)


async def _of_file(text: str, source: Source) -> DryRun:
    path = path_of(source)
    header = await asyncio.to_thread(_local, path, text)
    piece = Piece("weights", path.name, header.file_size, None, present=True)
    return DryRun(text, f"the file {path}", (), (piece,), header.shape(), header.file_type)


async def _of_url(text: str, source: Source, outbound: Outbound, *, trusted: bool) -> DryRun:
    header = await read_remote_header(Link(outbound, source.url, trusted=trusted), outbound)
    piece = Piece("weights", source.text, header.file_size, None, present=False)
    return DryRun(text, source.text, (), (piece,), header.shape(), header.file_type)


async def _of_hub(text: str, found: Resolution, files: HubFiles, store: Store, outbound: Outbound) -> DryRun:
    pieces = [await asyncio.to_thread(_piece, store, "weights", file) for file in files.files]
    if files.projector is not None:
        pieces.append(await asyncio.to_thread(_piece, store, "projector", files.projector))
    one = files.files[0]
    header, unread = await _header(store, outbound, files.location(one, outbound), one.digest, one.size)
    shape = None if header is None else _whole_shape(header, files.files)
    return DryRun(
        text,
        f"{found.route}, commit {files.revision[:12]}",
        found.failed,
        tuple(pieces),
        shape,
        header.file_type if header is not None else "",
        unread,
    )


async def _of_registry(
    text: str, found: Resolution, pulled: Pulled, store: Store, outbound: Outbound, location: Location
) -> DryRun:
    def look() -> list[Piece]:
        return [
            Piece(_role(layer.media_type), layer.digest.short, layer.size, layer.digest, store.intact(layer.digest))
            for layer in dict.fromkeys((*pulled.layers, pulled.config))
        ]

    pieces = await asyncio.to_thread(look)
    size = next(piece.size for piece in pieces if piece.digest == pulled.weights)
    header, unread = await _header(store, outbound, location, pulled.weights, size)
    return DryRun(
        text,
        str(found.route),
        found.failed,
        tuple(pieces),
        header.shape() if header is not None else None,
        header.file_type if header is not None else "",
        unread,
    )


def _role(media_type: str) -> str:
    role = media_type.rpartition(".")[2].partition("+")[0]
    return {"model": "weights", "v1": "config"}.get(role, role)


def _piece(store: Store, role: str, file: HubFile) -> Piece:
    present = file.digest is not None and store.intact(file.digest)
    return Piece(role, file.name, file.size, file.digest, present)


async def _header(
    store: Store, outbound: Outbound, location: Location, digest: Digest | None, size: int | None
) -> tuple[Header | None, str]:
    """The weights' header, from the blob that is here or from where it would be fetched; or why there is none."""
    path = await asyncio.to_thread(store.blob, digest) if digest is not None else None
    try:
        if path is not None:
            return await asyncio.to_thread(_local, path, location.shown), ""
        return await read_remote_header(location, outbound, size=size), ""
    except SourceFailed as error:
        return None, error.message


def _local(path: Path, shown: str) -> Header:
    try:
        return read_header(path)
    except GgufError as error:
        raise SourceFailed(f"{shown}: {error}") from None
    except OSError as error:
        raise SourceFailed(f"{shown}: {error.strerror}") from None


def _whole_shape(header: Header, files: tuple[HubFile, ...]) -> Shape:
    """The shape of a model whose first part has this header: all say how large they are, only the first says more."""
    shape = header.shape()
    if len(files) == 1:
        return shape
    weights = sum(file.size or 0 for file in files) - header.data_offset
    return msgspec.structs.replace(shape, weights_bytes=weights)
