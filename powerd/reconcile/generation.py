"""Generations: turns readings of models.yaml into accepted catalogs, all of one or nothing.

A missing, empty or broken file keeps the last good generation and makes ConfigValid False; no file at all, ever, is no
error: then installed models are served on demand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import structlog

from powerd.catalog.parse import parse
from powerd.catalog.spec import Catalog, CatalogError
from powerd.errors import PowerError
from powerd.files import read_text
from powerd.reconcile.history import History
from powerd.reconcile.watch import Reading

log = structlog.get_logger(__name__)


class Generations:
    """Owns the accepted catalog and its number.

    `accepted(changed)` is called after a catalog was taken over; `judged(valid, reason, message)` after every reading.
    """

    def __init__(
        self,
        path: Path,
        history: History,
        *,
        allow_empty: bool,
        accepted: Callable[[bool], None],
        judged: Callable[[bool, str, str], None],
    ) -> None:
        self.path = path
        self.catalog = Catalog()
        self.number = 0
        self.problems: list[str] = []
        self._history = history
        self._allow_empty = allow_empty
        self._accepted = accepted
        self._judged = judged
        self._lock = asyncio.Lock()

    async def begin(self, reading: Reading) -> None:
        """Take the first reading; if it is no good, go on with the last good generation on disk."""
        latest = await asyncio.to_thread(self._history.latest)
        if latest is not None:
            self.number = latest[0]
            try:
                self.catalog = await asyncio.to_thread(self._parse, latest[1])
            except CatalogError as error:
                log.warning("last good generation unusable", generation=self.number, problems=len(error.problems))
        if await self.take(reading) and self.catalog.models:
            log.warning("serving the last good generation", generation=self.number)
            self._accepted(True)

    async def take(self, reading: Reading) -> list[str]:
        """Take over one reading; the problems that forbid it, empty when it was accepted."""
        async with self._lock:
            reason, self.problems = await self._take(reading)
            if self.problems:
                more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
                self._judged(False, reason, self.problems[0] + more)
            return self.problems

    async def _take(self, reading: Reading) -> tuple[str, list[str]]:
        if reading.problem:
            return "Unreadable", [reading.problem]
        if reading.text is None:
            if self.number:
                return "Missing", [f"{self.path}: there is no such file; generation {self.number} goes on"]
            self._judged(True, "NoFile", f"there is no {self.path}; installed models are served on demand")
            return "", []
        return await self._accept(reading.text)

    async def _accept(self, text: str) -> tuple[str, list[str]]:
        try:
            catalog = await asyncio.to_thread(self._parse, text)
        except CatalogError as error:
            return "Invalid", [str(problem) for problem in error.problems]
        if not catalog.models and self.catalog.models and not self._allow_empty:
            return "Empty", [f"{self.path}: no models are left; to mean it, set `allow_empty: true` in powerd.yaml"]
        try:
            number = await asyncio.to_thread(self._history.accept, text)
        except PowerError as error:
            return "NotKept", [error.message]
        changed = number != self.number or catalog.models != self.catalog.models
        self.catalog, self.number = catalog, number
        self._judged(True, "Accepted", f"generation {number}, declares {len(catalog.models)}")
        self._accepted(changed)
        return "", []

    def _parse(self, text: str) -> Catalog:
        return parse(
            text,
            file=str(self.path),
            directory=self.path.parent,
            read_file=read_text,
        )
