"""Rollback: a kept generation is served again, from the store alone; and what the kept generations were."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from powerd.catalog.changes import changes
from powerd.catalog.parse import parse_files
from powerd.catalog.spec import Catalog, CatalogError
from powerd.errors import Conflict
from powerd.reconcile.generations.generation import Generations
from powerd.reconcile.generations.history import History
from powerd.reconcile.generations.records import Record, Resolved, blobs, fetched
from powerd.reconcile.step import answers
from powerd.store.store import Store


async def roll_back(generations: Generations, store: Store, number: int | None) -> Record:
    """Serve generation `number` (None: the one before) again and hold it against the file; the record gone back to.

    Raises NotFound when it is not kept, Conflict naming every model that could not be served without asking its
    source; then nothing changes.
    """
    goal, catalog, known = await generations.goal(number)
    missing = await asyncio.to_thread(_missing, store, catalog, known)
    if missing:
        raise Conflict(f"generation {goal.number} cannot be served again without its sources: {'; '.join(missing)}")
    await generations.go_back(goal, catalog, known)
    return goal


def _missing(store: Store, catalog: Catalog, known: Mapping[str, Resolved]) -> list[str]:
    """What the store lacks of a generation, a phrase for each model. Blocking."""
    told = []
    for name, spec in catalog.models.items():
        if spec.state == "absent" or spec.not_yet:
            continue
        one = known.get(name)
        try:
            if one is None or not answers(spec, fetched(one)):
                told.append(f"{name} never was there")
            elif lost := sorted(digest for digest in blobs(one) if not store.intact(digest)):
                told.append(f"{name} lacks {', '.join(digest.short for digest in lost)}")
        except ValueError:
            told.append(f"what {name} resolved to cannot be read")
    return told


@dataclass(frozen=True, slots=True)
class Past:
    """One kept generation, told against the one before."""

    record: Record
    resolved: Mapping[str, Resolved]
    declared: int  # models
    changed: tuple[str, ...]  # +name, -name, ~name (fields)
    problem: str = ""


def past(history: History, file: str) -> list[Past]:
    """Every kept generation, the newest first. Blocking."""
    told: list[Past] = []
    before: Catalog | None = None
    for record in reversed(history.records()):
        problem, catalog = "", Catalog()
        try:
            catalog = parse_files(record.documents, file=file)
        except CatalogError as error:
            problem = str(error.problems[0])
        known, changed = history.resolved(record.number), _changed(before, catalog)
        told.append(Past(record, known, len(catalog.models), changed, problem))
        before = catalog
    return told[::-1]


def _changed(before: Catalog | None, after: Catalog) -> tuple[str, ...]:
    """What a generation changed; of the oldest that is kept nothing is known."""
    if before is None:
        return ()
    told = [f"+{name}" for name in after.models if name not in before.models]
    told += [f"-{name}" for name in before.models if name not in after.models]
    for name, spec in after.models.items():
        old = before.models.get(name)
        if old is not None and (fields := changes(old, spec)):
            told.append(f"~{name} ({', '.join(fields)})")
    return tuple(told)
