"""Pulls: names nobody declared, fetched and sent because somebody asked, told in Ollama's words.

Also the dry run: where a name would come from, what it would take, and whether it would fit.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import structlog

from powerd.errors import BadRequest, NotFound, SourceFailed
from powerd.names import Name
from powerd.reconcile.acquire import take_found
from powerd.reconcile.making.layers import model_layer
from powerd.reconcile.reach import Reach
from powerd.sources.dryrun import DryRun, dry_run
from powerd.sources.hub.model import HubFiles
from powerd.sources.registry import pull as registry
from powerd.sources.registry import push as pushing
from powerd.sources.resolve import Resolution, resolve_name
from powerd.store.gguf import read_header
from powerd.store.manifest import StoredModel, describe

Status = dict[str, object]
OnStatus = Callable[[Status], None]

#: What clients are told word for word when nobody has a model (contract section 1.10).
NOT_FOUND = "pull model manifest: file does not exist"

log = structlog.get_logger(__name__)


async def narrated(work: Callable[[OnStatus], Awaitable[object]]) -> AsyncGenerator[Status, None]:
    """The progress objects of `work` as they come; leaving early cancels it. Raises what it raises."""
    told: asyncio.Queue[Status | None] = asyncio.Queue()

    async def run() -> None:
        try:
            await work(told.put_nowait)
        finally:
            told.put_nowait(None)

    task = asyncio.create_task(run())
    try:
        while (status := await told.get()) is not None:
            yield status
        await task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task


class Pulls:
    """Pulls, pushes and dry runs over one reach."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    async def pull(self, text: str, on_status: OnStatus, *, insecure: bool, trusted: bool) -> None:
        """Bring a model from the first place that has it and publish it under its name.

        Raises NotFound with the text Ollama's clients match when no place has it, else what the places raised.
        """
        reach = self._reach
        on_status({"status": "pulling manifest"})
        try:
            found = await resolve_name(text, reach.outbound, reach.hub, insecure=insecure, trusted=trusted)
        except SourceFailed as error:
            if not error.message.startswith(NOT_FOUND):
                raise
            log.info("no source has the model", model=text, places=error.message)
            raise NotFound(NOT_FOUND) from None
        if found.route.place != "registry":
            on_status({"status": f"found at {found.route}"})
            await self._pull_found(text, found, on_status)
            return
        assert found.route.name is not None

        def after_first(status: Status) -> None:
            if status.get("status") != "pulling manifest":
                on_status(status)

        await registry.pull(
            found.route.name,
            reach.store,
            reach.outbound,
            on_status=after_first,
            insecure=insecure,
            trusted=trusted,
        )

    async def size(self, text: str, *, trusted: bool) -> int | None:
        """Bytes of the weights a pull of `text` would bring; None where no place has it or its size is not told."""
        reach = self._reach
        try:
            found = (await resolve_name(text, reach.outbound, reach.hub, trusted=trusted)).found
        except (SourceFailed, NotFound, BadRequest):
            return None
        if isinstance(found, HubFiles):
            sizes = [file.size for file in found.files]
            return None if None in sizes else sum(size or 0 for size in sizes)
        return next(layer.size for layer in found.layers if layer.digest == found.weights)

    async def _pull_found(self, text: str, found: Resolution, on_status: OnStatus) -> None:
        """A model of the hub: its files become a manifest of ours under the name that was asked for."""
        name = _name_of(text, found)
        short = name.display

        def progress(completed: int, total: int) -> None:
            on_status({"status": f"pulling {short}", "digest": short, "total": total, "completed": completed})

        acquired = await take_found(found, self._reach, on_progress=progress)
        on_status({"status": "verifying sha256 digest"})
        on_status({"status": "writing manifest"})

        def publish() -> None:
            store = self._reach.store
            path = store.blob(acquired.weights)
            assert path is not None
            store.publish(
                name, [model_layer(store, acquired.weights), *acquired.inherited], describe(read_header(path))
            )

        await asyncio.to_thread(publish)
        on_status({"status": "success"})

    async def push(
        self, stored: StoredModel, destination: Name, on_status: OnStatus, *, insecure: bool, trusted: bool
    ) -> None:
        """Send a model to a registry."""
        await pushing.push(
            stored,
            destination,
            self._reach.store,
            self._reach.outbound,
            on_status=on_status,
            insecure=insecure,
            trusted=trusted,
        )

    async def foretell(self, text: str, *, insecure: bool, trusted: bool, directory: Path) -> DryRun:
        """What a pull of `text` would do; only manifests, listings and a header are read."""
        reach = self._reach
        return await dry_run(
            text,
            reach.store,
            reach.outbound,
            reach.hub,
            directory=directory,
            insecure=insecure,
            trusted=trusted,
        )


def _name_of(text: str, found: Resolution) -> Name:
    """The name a pulled hub model is kept under: the one that was asked for."""
    try:
        return Name.parse(text)
    except ValueError:
        raise BadRequest(
            f"{found.route} has no name a model could be kept under; declare it in models.yaml instead", "model"
        ) from None
