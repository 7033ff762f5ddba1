"""Keeping: which blobs stay for the kept generations, and the collection of those that nothing needs any more."""

from __future__ import annotations

import asyncio

from powerd.catalog.spec import ModelSpec, Position
from powerd.digest import Digest
from powerd.errors import PowerError
from powerd.reconcile.entry import Tools
from powerd.reconcile.generations.generation import Generations
from powerd.reconcile.generations.history import History
from powerd.reconcile.health.bulletin import Bulletin
from powerd.reconcile.making.compose import composed_from
from powerd.store.store import Store

COLLECT_SECONDS = 600.0


def strays(store: Store, generations: Generations) -> list[ModelSpec]:
    """Compositions that no model of the accepted generation stands for: a kill came before they were withdrawn.

    None while no generation was ever accepted. Blocking.
    """
    if not generations.number:
        return []
    declared = {spec.name.key for spec in generations.catalog.models.values()}
    nowhere = Position(str(generations.path), 0, 0)
    return [
        ModelSpec(stored.name, composed.fetched.source, nowhere)
        for stored in store.models()
        if stored.name.key not in declared and (composed := composed_from(stored)) is not None
    ]


class Keeping:
    """Pins what a rollback would need, and gives disk space back: long after the last need, never much at once."""

    def __init__(self, tools: Tools, history: History, bulletin: Bulletin, fraction: float) -> None:
        self._tools = tools
        self._history = history
        self._bulletin = bulletin
        self._fraction = fraction

    async def pin(self) -> None:
        """Keep the blobs of every kept generation, and of no other; after each change of the history."""

        def pin() -> None:
            self._tools.store.pin(self._history.kept_blobs())

        await asyncio.to_thread(pin)

    async def collect_for_ever(self) -> None:
        """Collect every ten minutes, and say what went."""
        while True:
            await asyncio.sleep(COLLECT_SECONDS)
            try:
                gone = await self._collect()
            except PowerError as error:
                self._bulletin.record("store", "", "NotCollected", error.message)
            else:
                if gone:
                    self._bulletin.record("store", "", "Collected", f"deleted {len(gone)} blobs nothing needs any more")

    async def _collect(self) -> list[Digest]:
        """Delete blobs nothing needs any more, never those a runner has open."""
        running = {Digest(view.digest) for view in self._tools.fleet.views()}
        return await asyncio.to_thread(self._tools.store.collect, running, fraction=self._fraction)
