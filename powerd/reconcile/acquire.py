"""Acquire: from what a `source:` says to weights in the store, whatever kind of place it names.

A registry's or the hub's answer may bring more than weights: templates, parameters and licences come along and are
inherited by what is made of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from powerd.digest import Digest
from powerd.errors import BadRequest, Forbidden, SourceFailed
from powerd.reconcile.making import modelfiles
from powerd.reconcile.making.quantizing import check_full, kind_of, quantize
from powerd.reconcile.making.traits import Traits, changed, kept_traits, traits
from powerd.reconcile.reach import Reach, installed
from powerd.sources.fetch import fetch, identity
from powerd.sources.hub import pull as huggingface
from powerd.sources.hub.model import HubFiles
from powerd.sources.registry import pull as registry
from powerd.sources.resolve import Resolution, resolve_name
from powerd.sources.source import Source
from powerd.sources.upstream import is_digest
from powerd.store.gguf import GgufError, Header, read_header
from powerd.store.gguf_merge import merge, part_name
from powerd.store.manifest import PROJECTOR_TYPE, Layer
from powerd.store.store import Store

OnProgress = Callable[[int, int], None]
OnStage = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Acquired:
    """Weights in the store, the layers that came along, and a sentence on where they were found."""

    weights: Digest
    inherited: tuple[Layer, ...] = ()
    place: str = ""
    revision: str = ""  # the source's own word for what it gave: a manifest's digest, a commit, an ETag
    traits: Traits = ()


async def acquire(
    source: Source,
    reach: Reach,
    *,
    quantization: str | None = None,
    expect: Digest | None = None,
    revision: str = "",
    afresh: bool = False,
    on_progress: OnProgress = lambda _completed, _total: None,
) -> Acquired:
    """Bring everything `source` names into the store, verified: at `revision`, where one is given and still to be had.

    A name that is installed is taken as it is installed and nobody is asked, unless `afresh`.
    Raises SourceFailed, Forbidden, BadRequest, NoSpace, StoreFailed.
    """
    if source.kind == "modelfile":
        return await _take_modelfile(source, reach, quantization, expect, revision, on_progress)
    if source.kind in {"registry", "huggingface"}:
        here = None if afresh else await asyncio.to_thread(installed, source, reach.store, quantization)
        if here is not None and expect in {None, here.weights_digest} and revision in {"", str(here.digest)}:
            said = str(here.digest) if source.kind == "registry" else ""
            return Acquired(*modelfiles.of_installed(here), here.name.display, said, traits(here.config))
        found = await resolve_name(
            source.text,
            reach.outbound,
            reach.hub,
            quantization=quantization or "",
            declared=True,
            revision="" if is_digest(revision) else revision,
        )
        return await take_found(found, reach, expect=expect, revision=revision, on_progress=on_progress)
    if source.kind == "url" and reach.outbound.config.offline:
        raise Forbidden(f"{source.text} is remote and powerd.yaml says `offline: true`")
    tags = [""]
    weights = await fetch(
        source, reach.store, expect=expect, on_progress=on_progress, outbound=reach.outbound, on_tag=tags.append
    )
    return Acquired(weights, revision=tags[-1])


async def _take_modelfile(
    source: Source,
    reach: Reach,
    quantization: str | None,
    expect: Digest | None,
    revision: str,
    on_progress: OnProgress,
) -> Acquired:
    """Bring in what FROM names, and make layers of the rest."""
    recipe = await asyncio.to_thread(modelfiles.read, source, reach.store)
    if recipe.installed is not None:
        base = Acquired(*modelfiles.of_installed(recipe.installed), traits=traits(recipe.installed.config))
    else:
        base = await acquire(
            recipe.base, reach, quantization=quantization, expect=expect, revision=revision, on_progress=on_progress
        )
    with reach.store.lease([base.weights, *(layer.digest for layer in base.inherited)]):
        try:
            layers = await asyncio.to_thread(modelfiles.layers, recipe, base.weights, base.inherited, reach.store)
        except BadRequest as error:
            raise SourceFailed(f"{source.text}: {error.message}") from None
    return replace(base, inherited=layers, traits=changed(base.traits, recipe.build.fields))


def looks(source: Source, store: Store) -> str:
    """How a source looks now, as `identity` says it, a Modelfile by its text and its FROM. Blocking.

    Raises SourceFailed.
    """
    return modelfiles.read(source, store).identity if source.kind == "modelfile" else identity(source)


async def take_found(
    found: Resolution, reach: Reach, *, expect: Digest | None = None, revision: str = "", on_progress: OnProgress
) -> Acquired:
    """Bring what a name was resolved to."""
    if isinstance(found.found, HubFiles):
        return await _take_hub(found.found, str(found.route), reach, expect, on_progress)
    assert found.route.name is not None
    pulled = await registry.fetch_weights(
        found.route.name,
        reach.store,
        reach.outbound,
        on_progress,
        expect,
        revision=revision if is_digest(revision) else "",
    )
    inherited = tuple(layer for layer in pulled.layers if layer.digest != pulled.weights)
    config = await asyncio.to_thread(reach.store.blob, pulled.config.digest)
    said = await asyncio.to_thread(kept_traits, config)
    return Acquired(pulled.weights, inherited, str(found.route), str(pulled.digest), said)


async def _take_hub(
    files: HubFiles, place: str, reach: Reach, expect: Digest | None, on_progress: OnProgress
) -> Acquired:
    blobs = await huggingface.bring(files, reach.store, reach.outbound, on_progress, expect)
    weights = blobs.weights[0]
    if len(blobs.weights) > 1:
        names = [file.name.rpartition("/")[2] for file in files.files]
        weights = await asyncio.to_thread(_joined, reach.store, dict(zip(names, blobs.weights, strict=True)))
    inherited: tuple[Layer, ...] = ()
    if blobs.projector is not None and (path := reach.store.blob(blobs.projector)) is not None:
        inherited = (Layer(PROJECTOR_TYPE, blobs.projector, path.stat().st_size),)
    return Acquired(weights, inherited, f"{place} at {files.revision[:12]}", files.revision)


def _joined(store: Store, parts: dict[str, Digest]) -> Digest:
    """The parts of a split model as one blob. Blocking. Raises SourceFailed when they do not belong together."""
    paths: dict[str, Path] = {}
    for name, digest in parts.items():
        path = store.blob(digest)
        if path is None or part_name(name) is None:
            raise SourceFailed(f"{name} is not a part of a split GGUF")
        paths[name] = path
    try:
        merged = merge(paths)
        with store.ingest(None, merged.size) as ingest:
            merged.write(ingest.write)
            read_header(ingest.path).check_model()
            return ingest.commit()
    except GgufError as error:
        raise SourceFailed(f"the parts cannot be joined: {error}") from None


async def requantized(
    weights: Digest, header: Header, quantization: str | None, store: Store, on_progress: OnProgress
) -> Digest:
    """The weights as `quantization`: themselves when they are that already, else made from full precision.

    Raises BadRequest naming both types when these weights cannot be turned into it.
    """
    if not quantization or header.file_type.upper() == quantization.upper():
        return weights
    kind = kind_of(quantization)
    if kind == header.file_type:
        return weights
    try:
        check_full(header)
    except BadRequest:
        raise BadRequest(
            f"the source is {header.file_type}, not {kind}, and only F16, BF16 and F32 weights can be quantized",
            "quantization",
        ) from None
    path = await asyncio.to_thread(store.blob, weights)
    assert path is not None
    with store.lease([weights]):
        return await quantize(path, kind, store, on_progress)
