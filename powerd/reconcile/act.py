"""Act: the hands of the reconciler. Reads what is there for one name, and takes the step that was decided."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from powerd import metrics
from powerd.catalog.spec import ModelSpec
from powerd.digest import Digest
from powerd.errors import BadRequest, PowerError, SourceFailed
from powerd.fleet.budget import estimate
from powerd.protocol import Deployment
from powerd.quantities import show_bytes
from powerd.reconcile.acquire import acquire, requantized
from powerd.reconcile.compose import compose, composed_from, declared_offer
from powerd.reconcile.conditions import Trouble
from powerd.reconcile.entry import Entry, Progress, Tools
from powerd.reconcile.step import Compose, Composed, Fetch, Fetched, Have, MakeOffer, Step, Withdraw
from powerd.sources.fetch import identity
from powerd.sources.source import Source, parse
from powerd.store.gguf import GgufError, Header, read_header
from powerd.store.store import Store


class Refused(Exception):
    """A step failed for a reason that names its condition; never reaches a client."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.message)
        self.trouble = trouble


def source_of(spec: ModelSpec, directory: Path) -> Source:
    """The spec's source, understood. Raises Refused for one this version cannot fetch from."""
    try:
        source = parse(spec.source, directory)
    except (BadRequest, ValueError) as error:
        raise Refused(Trouble("Resolved", "BadSource", f"source {spec.source!r}: {error}")) from None
    if not source.supported:
        raise Refused(Trouble("Resolved", "NotYet", f"source {spec.source}: {source.why_not}"))
    return source


def refuse_not_yet(spec: ModelSpec, devices: list[str]) -> None:
    """Raise Refused when the spec asks what this version or this machine cannot do: never serve less than asked."""
    if spec.not_yet:
        raise Refused(Trouble("Resolved", "NotYet", "; ".join(spec.not_yet)))
    if (spec.require.gpu or spec.require.full_offload) and not any(device != "cpu" for device in devices):
        raise Refused(
            Trouble(
                "Fits", "RequireUnmet", f"require: asks for a GPU and this machine offers {', '.join(devices)} only"
            )
        )


async def have(tools: Tools, entry: Entry, directory: Path) -> Have:
    """What is there for the entry's name, read afresh."""
    spec = entry.want or entry.last
    stored = await asyncio.to_thread(tools.store.find, spec.name)
    composed = composed_from(stored)
    if stored is not None and not await asyncio.to_thread(tools.store.intact, stored.weights_digest):
        composed = None  # changed on disk: fetched again, the corrupt blob is replaced
    looks = ""
    if entry.want is not None and entry.want.state != "absent":
        looks = await _looks(entry.want, directory, composed)
    offered = (entry.offered_spec, entry.offer.stored.digest) if entry.offer and entry.offered_spec else None
    return Have(looks, entry.fetched, composed, offered)


async def _looks(spec: ModelSpec, directory: Path, composed: Composed | None) -> str:
    """How the source looks now; one that is gone counts as unchanged where its weights are in the store already."""
    source = source_of(spec, directory)
    try:
        return await asyncio.to_thread(identity, source)
    except SourceFailed:
        if composed is None or composed.fetched.source != spec.source:
            raise
        return composed.fetched.identity


async def collect(tools: Tools, fraction: float) -> list[Digest]:
    """Delete blobs nothing needs any more, never those a runner has open."""
    running = {Digest(view.digest) for view in tools.fleet.views()}
    return await asyncio.to_thread(tools.store.collect, running, fraction=fraction)


async def take(tools: Tools, entry: Entry, spec: ModelSpec, step: Step, directory: Path) -> None:
    """Take one step towards `spec`. Raises PowerError."""
    match step:
        case Fetch():
            await _fetch(tools, entry, spec, directory)
        case Compose(fetched):
            header = await asyncio.to_thread(_verified, tools.store, spec, fetched.weights)
            await asyncio.to_thread(compose, spec, fetched, header, tools.store)
            entry.fetched = None
        case MakeOffer():
            await _offer(tools, entry, spec)
        case Withdraw():
            await withdraw(tools, entry)


async def _fetch(tools: Tools, entry: Entry, spec: ModelSpec, directory: Path) -> None:
    entry.progress = Progress(0, 0, time.monotonic())
    entry.fetch = asyncio.create_task(_fetched(tools, entry, spec, directory), name=f"fetch {entry.name}")
    try:
        entry.fetched = await entry.fetch
    except (PowerError, Refused):
        metrics.FETCHES.labels(entry.name, "failed").inc()
        raise
    finally:
        if not entry.fetch.done():
            entry.fetch.cancel()
        entry.fetch = entry.progress = None
    metrics.FETCHES.labels(entry.name, "done").inc()


async def _fetched(tools: Tools, entry: Entry, spec: ModelSpec, directory: Path) -> Fetched:
    source = source_of(spec, directory)
    looks = await asyncio.to_thread(identity, source)

    def on_progress(completed: int, total: int) -> None:
        if entry.progress is not None:
            metrics.FETCHED_BYTES.labels(entry.name).inc(max(0, completed - entry.progress.completed))
            entry.progress.completed, entry.progress.total = completed, total

    acquired = await acquire(
        source, tools.reach, quantization=spec.quantization, expect=spec.digest, on_progress=on_progress
    )
    weights = await _as_asked(tools, entry, spec, acquired.weights)
    return Fetched(
        source=spec.source,
        identity=looks,
        weights=weights,
        origin=acquired.weights,
        quantization=spec.quantization or "",
        pinned=str(spec.digest or ""),
        inherited=acquired.inherited,
    )


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
    entry.offer, entry.offered_spec = declared_offer(spec, stored, tools.node), spec
    entry.fits = fits(entry.offer.deployment, budget(tools))
    tools.library.set_offer(spec, entry.offer)


async def withdraw(tools: Tools, entry: Entry) -> None:
    """Take the offer out of the library, then the manifest out of the store; the fleet drains what runs."""
    tools.library.forget(entry.last)
    entry.offer = entry.offered_spec = entry.fetched = None
    await asyncio.to_thread(tools.store.remove_manifest, entry.last.name)


def needs(deployment: Deployment) -> int:
    """Bytes the deployment is expected to hold once loaded."""
    return estimate(deployment).total


def budget(tools: Tools) -> int:
    """Bytes the ledger may give out, all devices together."""
    return sum(size for _, size, _ in tools.fleet.memory())


def fits(deployment: Deployment, available: int) -> Trouble | None:
    """Why the deployment can never be loaded here, if so."""
    need = needs(deployment)
    if need <= available:
        return None
    return Trouble(
        "Fits",
        "NeedsBytes",
        f"needs about {show_bytes(need)} and {show_bytes(available)} are available: choose a smaller quantization, "
        "context or parallel, or raise devices.cpu.budget",
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
