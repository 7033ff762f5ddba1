"""Act: the hands of the reconciler. Reads what is there for one name, and takes the step that was decided."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from powerd import metrics
from powerd.catalog.spec import ModelSpec
from powerd.digest import Digest
from powerd.errors import BadRequest, PowerError, SourceFailed
from powerd.fleet.budget import Estimate
from powerd.quantities import show_bytes
from powerd.reconcile.acquire import Acquired, acquire, requantized
from powerd.reconcile.acquire import looks as source_looks
from powerd.reconcile.conditions import Trouble
from powerd.reconcile.entry import Entry, Progress, Tools
from powerd.reconcile.generations.pin import Pin, Pins, Refused, pin
from powerd.reconcile.making import adapters
from powerd.reconcile.making.compose import compose, composed_from, declared_offer
from powerd.reconcile.making.lora import without
from powerd.reconcile.readback import lacking, unmeetable
from powerd.reconcile.step import Compose, Composed, Fetch, Fetched, Have, Loss, MakeOffer, Step, Withdraw
from powerd.sources.source import Source, parse
from powerd.store.failpoints import reach
from powerd.store.gguf import GgufError, Header, read_header
from powerd.store.manifest import ADAPTER_TYPE, MODEL_TYPE, PROJECTOR_TYPE, StoredModel
from powerd.store.store import Store


def source_of(spec: ModelSpec, directory: Path) -> Source:
    """The spec's source, understood. Raises Refused for one this version cannot fetch from."""
    try:
        source = parse(spec.source, directory)
    except (BadRequest, ValueError) as error:
        raise Refused(Trouble("Resolved", "BadSource", f"source {spec.source!r}: {error}")) from None
    if not source.supported:
        raise Refused(Trouble("Resolved", "BadSource", f"source {spec.source}: {source.why_not}"))
    return source


def refuse_not_yet(spec: ModelSpec, devices: list[str]) -> None:
    """Raise Refused when the spec asks what this version or this machine cannot do: never serve less than asked."""
    if spec.not_yet:
        raise Refused(Trouble("Resolved", "NotYet", "; ".join(spec.not_yet)))
    if short := lacking(spec.require, devices):
        raise Refused(Trouble("Fits", "RequireUnmet", short))


async def have(store: Store, entry: Entry, directory: Path) -> Have:
    """What is there for the entry's name, read afresh."""
    spec = entry.want or entry.last
    stored = await asyncio.to_thread(store.find, spec.name)
    composed = composed_from(stored)
    lost: tuple[Loss, ...] = ()
    if stored is not None and composed is not None:
        lost = await asyncio.to_thread(losses, store, stored)
    elif composed is None and entry.offer is not None:
        lost = (Loss("manifest", "missing"),)
    if lost:
        composed = None  # made again, of blobs that are right
    pins = entry.pins
    recorded = pins.recorded
    if recorded is not None and not await asyncio.to_thread(_all_there, store, recorded):
        recorded = None
    looks = ""
    if entry.want is not None and entry.want.state != "absent":
        looks = await _looks(store, entry, directory, composed, recorded)
    offered = (entry.offered_spec, entry.offer.stored.digest) if entry.offer and entry.offered_spec else None
    lock = pins.locked.digest if pins.locked else ""
    return Have(looks, entry.fetched, composed, offered, recorded, pins.rolled_back, lock, lost)


def losses(store: Store, stored: StoredModel) -> tuple[Loss, ...]:
    """The blobs of a composition that are gone or were changed on disk. Blocking; hashes only what looks changed."""
    found = []
    for layer in stored.layers:
        if not store.intact(layer.digest):
            how: Literal["missing", "changed"] = "missing" if store.blob(layer.digest) is None else "changed"
            found.append(Loss(_ROLES.get(layer.media_type, "layer"), how, layer.digest))
    return tuple(found)


_ROLES: Mapping[str, Literal["weights", "projector", "adapter"]] = {
    MODEL_TYPE: "weights",
    PROJECTOR_TYPE: "projector",
    ADAPTER_TYPE: "adapter",
}


def _all_there(store: Store, fetched: Fetched) -> bool:
    return all(store.intact(digest) for digest in (fetched.weights, *(layer.digest for layer in fetched.inherited)))


async def _looks(
    store: Store, entry: Entry, directory: Path, composed: Composed | None, recorded: Fetched | None
) -> str:
    """How the source looks now; one that is gone counts as unchanged where its weights are in the store already."""
    assert entry.want is not None
    known = recorded or (composed.fetched if composed else None)
    if entry.pins.rolled_back and known is not None:
        return known.identity
    try:
        identity = await asyncio.to_thread(source_looks, source_of(entry.want, directory), store)
    except SourceFailed:
        if known is None or known.source != entry.want.source:
            raise
        identity = without(known.identity)
    before = known.identity if known is not None else ""
    return identity + await asyncio.to_thread(adapters.looks, entry.want.adapters, directory, before)


async def take(tools: Tools, entry: Entry, spec: ModelSpec, step: Step, directory: Path) -> None:
    """Take one step towards `spec`. Raises PowerError."""
    match step:
        case Fetch():
            reach("step.before_fetch")
            await _fetch(tools, entry, spec, directory)
            reach("step.after_fetch")
        case Compose(fetched):
            reach("step.before_compose")
            header = await asyncio.to_thread(_verified, tools.store, spec, fetched.weights)
            await asyncio.to_thread(compose, spec, fetched, header, tools.store)
            entry.fetched = None
            reach("step.after_compose")
        case MakeOffer():
            reach("step.before_offer")
            await _offer(tools, entry, spec)
            reach("step.after_offer")
        case Withdraw():
            reach("step.before_withdraw")
            await withdraw(tools, entry)
            reach("step.after_withdraw")


async def _fetch(tools: Tools, entry: Entry, spec: ModelSpec, directory: Path) -> None:
    fetch = bring(tools, entry, spec, directory, entry.pins)
    entry.fetch = asyncio.create_task(fetch, name=f"fetch {entry.name}")
    try:
        entry.fetched = await entry.fetch
    finally:
        if not entry.fetch.done():
            entry.fetch.cancel()
        entry.fetch = None


async def bring(
    tools: Tools, entry: Entry, spec: ModelSpec, directory: Path, pins: Pins, *, afresh: bool = False
) -> Fetched:
    """Fetch what `spec` names into the store, held to `pins`, telling of it in `entry.progress`.

    `afresh`: its source is asked even for what is installed under its name. Raises PowerError, Refused.
    """
    entry.progress = Progress(0, 0, time.monotonic())
    try:
        fetched = await _fetched(tools, entry, spec, directory, pins, afresh=afresh)
    except (PowerError, Refused):
        metrics.FETCHES.labels(entry.name, "failed").inc()
        raise
    finally:
        entry.progress = None
    metrics.FETCHES.labels(entry.name, "done").inc()
    return fetched


async def _fetched(
    tools: Tools, entry: Entry, spec: ModelSpec, directory: Path, pins: Pins, *, afresh: bool
) -> Fetched:
    source = source_of(spec, directory)
    looks = await asyncio.to_thread(source_looks, source, tools.store)
    known = pins.recorded.identity if pins.recorded is not None else ""
    looks += await asyncio.to_thread(adapters.looks, spec.adapters, directory, known)
    acquired = await _acquired(tools, entry, spec, source, pin(pins, spec, looks), afresh=afresh)
    weights = await _as_asked(tools, entry, spec, acquired.weights)
    inherited = acquired.inherited
    if spec.adapters:
        with tools.store.lease([weights, *(layer.digest for layer in inherited)]):
            brought = await adapters.bring(spec.adapters, weights, tools.reach, directory)
        inherited = (*(layer for layer in inherited if layer.media_type != ADAPTER_TYPE), *brought)
    return Fetched(
        source=spec.source,
        identity=looks,
        weights=weights,
        origin=acquired.weights,
        quantization=spec.quantization or "",
        pinned=str(spec.digest or ""),
        inherited=inherited,
        revision=acquired.revision,
        traits=acquired.traits,
    )


async def _acquired(
    tools: Tools, entry: Entry, spec: ModelSpec, source: Source, wanted: Pin, *, afresh: bool
) -> Acquired:
    """What the source gives, which is what is pinned or nothing. Raises PowerError, Refused."""

    def on_progress(completed: int, total: int) -> None:
        if entry.progress is not None:
            metrics.FETCHED_BYTES.labels(entry.name).inc(max(0, completed - entry.progress.completed))
            entry.progress.completed, entry.progress.total = completed, total

    try:
        acquired = await acquire(
            source,
            tools.reach,
            quantization=spec.quantization,
            expect=spec.digest or (wanted.origin if source.kind != "huggingface" else None),
            revision=wanted.revision,
            afresh=afresh,
            on_progress=on_progress,
        )
    except SourceFailed as error:
        raise wanted.explained(error, entry.name) from None
    if wanted.origin is not None and acquired.weights != wanted.origin:
        raise wanted.refusal(acquired.weights, entry.name)
    return acquired


async def _as_asked(tools: Tools, entry: Entry, spec: ModelSpec, weights: Digest) -> Digest:
    """The fetched weights in the quantization the spec asks for, made here where that is needed."""
    header = await asyncio.to_thread(_verified, tools.store, spec, weights)

    def on_progress(completed: int, total: int) -> None:
        if entry.progress is not None:
            entry.progress.stage, entry.progress.completed, entry.progress.total = "quantizing", completed, total

    try:
        return await requantized(weights, header, spec.quantization, tools.store, on_progress)
    except BadRequest as error:
        raise Refused(Trouble("Verified", "OtherQuantization", f"{spec.source}: {error.message}")) from None


def _verified(store: Store, spec: ModelSpec, weights: Digest) -> Header:
    """The header of the fetched weights. Raises Refused when they are no GGUF."""
    path = store.blob(weights)
    if path is None:
        raise Refused(Trouble("Fetched", "Gone", f"blob {weights.short} is no longer in the store"))
    try:
        header = read_header(path)
    except GgufError as error:
        raise Refused(Trouble("Verified", "BadHeader", f"{spec.source}: {error}")) from None
    return header


async def _offer(tools: Tools, entry: Entry, spec: ModelSpec) -> None:
    stored = await asyncio.to_thread(tools.store.find, spec.name)
    if stored is None:
        raise Refused(Trouble("Fetched", "Gone", f"the composition of {entry.name} vanished from the store"))
    offer = declared_offer(spec, stored, tools.node)
    if short := unmeetable(spec.require, offer.deployment, [device for device, _, _ in tools.fleet.memory()]):
        raise Refused(Trouble("Fits", "RequireUnmet", short))
    entry.offer, entry.offered_spec = offer, spec
    entry.fits = fits(tools.needs(entry.offer.deployment), tools.fleet.memory())
    tools.library.set_offer(spec, entry.offer)


async def withdraw(tools: Tools, entry: Entry) -> None:
    """Take the offer out of the library, then the manifest out of the store; the fleet drains what runs."""
    tools.library.forget(entry.last)
    entry.offer = entry.offered_spec = entry.fetched = None
    reach("step.before_manifest_goes")
    await asyncio.to_thread(tools.store.remove_manifest, entry.last.name)


def budget(memory: Sequence[tuple[str, int, int]]) -> int:
    """Bytes the ledger may give out, all devices together; `memory` as the fleet tells it."""
    return sum(size for _, size, _ in memory)


def fits(need: Estimate, memory: Sequence[tuple[str, int, int]]) -> Trouble | None:
    """Why what needs this can never be loaded here, if so."""
    budgets = {device: size for device, size, _ in memory}
    short = {device: size for device, size in need.by_device.items() if size > budgets.get(device, 0)}
    if not short:
        return None
    told = ", ".join(
        f"{show_bytes(size)} on {device} and {show_bytes(budgets.get(device, 0))} are available"
        for device, size in short.items()
    )
    return Trouble(
        "Fits",
        "NeedsBytes",
        f"needs about {told}: choose a smaller quantization, context or parallel, or raise the budget of "
        f"{' and '.join(short)} under `devices:` in powerd.yaml",
    )


def trouble_of(error: PowerError | Refused) -> Trouble:
    """Which condition a failed step makes False."""
    if isinstance(error, Refused):
        return error.trouble
    if error.code == "no_space":
        return Trouble("Fetched", "DiskFull", error.message)
    if error.code == "store_failed":
        return Trouble("Fetched", "StoreFailed", error.message)
    if "digest" in error.message:
        return Trouble("Verified", "DigestMismatch", error.message)
    return Trouble("Fetched", "SourceFailed", error.message)
