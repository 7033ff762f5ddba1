"""Waiting: for those who ask the reconciler when something will be so. It reads entries and conditions, and no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

from powerd.errors import NotFound, SourceFailed
from powerd.reconcile.conditions import Condition
from powerd.reconcile.entry import Entry
from powerd.reconcile.health.bulletin import Bulletin


class Waiting:
    """Looks until it is so. `refresh` judges all conditions again."""

    def __init__(
        self, entries: Mapping[str, Entry], bulletin: Bulletin, refresh: Callable[[], None], path: Path
    ) -> None:
        self._entries = entries
        self._bulletin = bulletin
        self._refresh = refresh
        self._path = path

    async def wait(self, condition: str, model: str, timeout: float) -> tuple[bool, Condition]:
        """Wait until `condition` is True of `model` (empty: of the node).

        Raises NotFound for a model or condition that does not exist.
        """
        return await self._bulletin.until(lambda: self._look_up(condition, model), timeout)

    def _look_up(self, condition: str, model: str) -> Condition:
        self._refresh()
        if not model:
            pool = self._bulletin.node()
        elif model in self._entries:
            pool = self._entries[model].conditions
        else:
            raise NotFound(f'"{model}" is not declared in {self._path}')
        if condition not in pool:
            raise NotFound(f'there is no condition "{condition}"; choose from {", ".join(pool)}')
        return pool[condition]

    async def first_round(self, timeout: float) -> None:
        """Wait until every model that needs no fetching has been put on offer."""

        def look() -> Condition:
            busy = any(not entry.settled and entry.progress is None for entry in self._entries.values())
            return Condition("Offered", "False" if busy else "True")

        await self._bulletin.until(look, timeout)

    async def settle(self, timeout: float) -> bool:
        """Wait until no entry has a step left to take, withdrawals included, and no wished-for load is under way."""

        def look() -> Condition:
            self._refresh()
            busy = [entry for entry in self._entries.values() if _busy(entry)]
            return Condition("Settled", "False" if busy else "True")

        return (await self._bulletin.until(look, timeout))[0]

    async def follow(self, name: str) -> AsyncIterator[dict[str, object]]:
        """Ollama's progress objects of a declared model's fetch until its offer stands.

        Raises SourceFailed with the trouble's message when the model cannot get that far.
        """
        while (entry := self._entries.get(name)) is not None and entry.offer is None:
            if entry.trouble is not None:
                raise SourceFailed(entry.trouble.message)
            if entry.progress is not None:
                total, completed = entry.progress.total, entry.progress.completed
                yield {"status": f"pulling {name}", "digest": name, "total": total, "completed": completed}
            await asyncio.sleep(0.1)


def _busy(entry: Entry) -> bool:
    return not entry.settled or entry.withdraw_at is not None or _loading(entry)


def _loading(entry: Entry) -> bool:
    """Whether a load that is wished for, or the first token after it, is still to come."""
    reasons = {entry.conditions[name].reason for name in ("Loaded", "Ready") if name in entry.conditions}
    return entry.last.state == "loaded" and not reasons.isdisjoint({"Loading", "Waiting", "CanaryPending"})
