"""Adapters before they are fetched: how large they are and which they will turn out to be, as far as can be told."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from powerd.catalog.spec import Adapter, ModelSpec
from powerd.digest import Digest
from powerd.errors import PowerError
from powerd.reconcile.entry import Entry
from powerd.reconcile.making import modelfiles
from powerd.reconcile.making.adapters import Files
from powerd.reconcile.making.lora_sources import Found, find, header_of, source_of
from powerd.reconcile.planning.plan import Fetching, FilePiece
from powerd.reconcile.reach import Reach
from powerd.sources.dryrun import DryRun
from powerd.sources.fetch import path_of
from powerd.sources.source import parse
from powerd.store.store import Store
from powerd.store.verified import hash_file

#: Bytes of a local file up to which it is hashed to learn whether it is one that is loaded already.
MOST_HASHED = 1 << 30


@dataclass(frozen=True, slots=True)
class Ahead:
    """The adapters of one model. `files` is what its runner will load; what is not known of one is 0 or a stand-in."""

    files: Files = ()
    pieces: tuple[FilePiece, ...] = ()
    warnings: tuple[str, ...] = ()

    def beside(self, fetch: Fetching | None) -> Fetching | None:
        """What is fetched, the adapters with it."""
        if fetch is None or fetch.problem:
            return fetch
        missing = sum(piece.size or 0 for piece in self.pieces if not piece.present)
        total = sum(piece.size or 0 for piece in self.pieces)
        return replace(
            fetch, missing=fetch.missing + missing, total=fetch.total + total, files=(*fetch.files, *self.pieces)
        )


def known(entries: Mapping[str, Entry]) -> dict[str, Digest]:
    """What sources of adapters have given, by their text."""
    found: dict[str, Digest] = {}
    for entry in entries.values():
        if entry.offer is not None and entry.offered_spec is not None:
            layers = [layer for layer, _ in entry.offer.stored.adapters]
            found |= {
                said.source: layer.digest for said, layer in zip(entry.offered_spec.adapters, layers, strict=False)
            }
    return found


def written(spec: ModelSpec, directory: Path, store: Store) -> tuple[Adapter, ...]:
    """The adapters that an entry names, itself or by its Modelfile. Blocking."""
    if spec.adapters:
        return spec.adapters
    try:
        source = parse(spec.source, directory)
        path = modelfiles.read(source, store).adapter if source.kind == "modelfile" else None
    except PowerError:
        return ()
    return (Adapter(str(path)),) if path is not None else ()


def along(run: DryRun | None) -> Ahead:
    """The adapters that come with the model itself; they are among the pieces of its own fetch."""
    pieces = [piece for piece in run.pieces if piece.role == "adapter"] if run is not None else []
    return Ahead(tuple(sorted({(one.digest.hex, "", one.size or 0) for one in pieces if one.digest is not None})))


async def ahead(
    adapters: Sequence[Adapter], reach: Reach, directory: Path, given: Mapping[str, Digest], patience: float
) -> Ahead:
    """Ask the sources, `patience` seconds long. `given`: what they gave before."""
    each = {(adapter.source, adapter.digest): adapter for adapter in adapters}.values()
    made = await asyncio.gather(*(_ahead(one, reach, directory, given, patience) for one in each))
    return Ahead(
        files=tuple(sorted({file for one in made for file in one.files})),
        pieces=tuple(piece for one in made for piece in one.pieces),
        warnings=tuple(warning for one in made for warning in one.warnings),
    )


async def _ahead(
    adapter: Adapter, reach: Reach, directory: Path, given: Mapping[str, Digest], patience: float
) -> Ahead:
    stand_in = adapter.digest or given.get(adapter.source) or Digest.of(adapter.source.encode())
    try:
        async with asyncio.timeout(patience):
            found = await _sized(await find(adapter, reach, directory), reach)
            digest = await _digest(adapter, found, directory) or given.get(adapter.source)
    except (PowerError, TimeoutError) as error:
        said = error.message if isinstance(error, PowerError) else f"no answer within {patience:g} s"
        return Ahead(((stand_in.hex, "", 0),), warnings=(f"its adapter is not known: {said}",))
    piece = FilePiece("adapter", found.shown, found.size, str(digest or ""), found.location is None)
    return Ahead((((digest or stand_in).hex, "", found.size or 0),), (piece,))


async def _sized(found: Found, reach: Reach) -> Found:
    """The same with its size, which of an address only its file's header tells."""
    if found.size is not None or found.location is None:
        return found
    header = await header_of(found, reach)
    return replace(found, size=header.file_size) if header is not None else found


async def _digest(adapter: Adapter, found: Found, directory: Path) -> Digest | None:
    """What the file will be known by; a local one is read for it."""
    if found.digest is not None or found.location is not None or not (found.size or 0) <= MOST_HASHED:
        return found.digest
    return await asyncio.to_thread(_hashed, path_of(source_of(adapter, directory)))


def _hashed(path: Path) -> Digest | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return hash_file(fd)
    finally:
        os.close(fd)
