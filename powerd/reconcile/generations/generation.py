"""Generations: turns readings of models.yaml into accepted catalogs, all of one or nothing.

A missing, empty or broken file keeps the last good generation and makes ConfigValid False; no file at all, ever, is no
error: then installed models are served on demand. A rollback is a generation of its own, held against the file until
the file says something else.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import structlog

from powerd.catalog.parse import parse_files
from powerd.catalog.spec import Catalog, CatalogError, ModelSpec
from powerd.documents import Reading, read
from powerd.errors import Conflict, NotFound, PowerError, StoreFailed
from powerd.files import read_text
from powerd.reconcile.generations import lock as locking
from powerd.reconcile.generations.history import History
from powerd.reconcile.generations.lock import Lock
from powerd.reconcile.generations.pin import Pins
from powerd.reconcile.generations.records import Record, Resolved, fetched, fingerprint

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Hold:
    """A rollback that stands although the file says otherwise; it ends when the content of the file changes."""

    generation: int
    of: int  # the generation it goes back to
    since: float  # seconds since the epoch
    message: str


@dataclass(frozen=True, slots=True)
class Judged:
    """What a reading comes to: the catalog that would hold from then on, or why it is refused."""

    reason: str
    catalog: Catalog
    lock: Lock
    resolved: dict[str, Resolved]  # what is known of its models already
    pins: Mapping[str, Pins]
    lock_text: str = ""
    problems: list[str] = field(default_factory=list)
    new: bool = False  # whether it would be a new generation
    held: str = ""  # the rollback that stands against it, as a sentence


class Generations:
    """Owns the accepted catalog, its number and what its models resolved to.

    `accepted(changed)` is called after a catalog was taken over; `judged(valid, reason, message)` after every reading.
    `kept()` is awaited when a blob may be needed by a kept generation that was not, or no more.
    `locked`: a file whose sources are not all in models.lock.yaml is refused.
    """

    def __init__(
        self,
        path: Path,
        history: History,
        *,
        allow_empty: bool,
        accepted: Callable[[bool], None],
        judged: Callable[[bool, str, str], None],
        kept: Callable[[], Awaitable[None]] | None = None,
        locked: bool = False,
    ) -> None:
        self.path = path
        self.history = history
        self.catalog = Catalog()
        self.lock = Lock()
        self.locked = locked
        self.record: Record | None = None
        self.resolved: dict[str, Resolved] = {}
        self.problems: list[str] = []
        self._allow_empty = allow_empty
        self._accepted = accepted
        self._judged = judged
        self._kept = kept
        self._turn = asyncio.Lock()

    @property
    def number(self) -> int:
        """Of the accepted generation; 0 before the first."""
        return self.record.number if self.record else 0

    @property
    def hold(self) -> Hold | None:
        """The rollback that stands against the file, if one does."""
        record = self.record
        if record is None or not record.rollback_of:
            return None
        return Hold(
            record.number,
            record.rollback_of,
            record.accepted_at,
            f"generation {record.number} (a rollback to {record.rollback_of}) is held until the content of "
            f"{self.path} changes",
        )

    @property
    def reason(self) -> str:
        """Why the generation was accepted."""
        return self.record.reason if self.record else ""

    def pins(self, name: str, spec: ModelSpec) -> Pins:
        """What a model is held to."""
        pins = self._pins(self.resolved.get(name), spec, self.lock)
        return replace(pins, rolled_back=self.hold is not None and pins.recorded is not None)

    def _pins(self, one: Resolved | None, spec: ModelSpec, lock: Lock) -> Pins:
        recorded = None
        if one is not None:
            with contextlib.suppress(ValueError):
                recorded = fetched(one)
        return Pins(recorded, locked=lock.entry(spec, self.path.parent))

    # ------------------------------------------------------------ readings

    async def begin(self, reading: Reading) -> None:
        """Take the first reading; if it is no good, go on with the last good generation on disk."""
        await asyncio.to_thread(self.history.sweep)
        await asyncio.to_thread(self.recall)
        if await self.take(reading) and self.catalog.models:
            log.warning("serving the last good generation", generation=self.number)
            self._accepted(True)

    def recall(self) -> None:
        """Go back to the last good generation on disk. Blocking."""
        latest = self.history.latest()
        if latest is None:
            return
        self.record, self.resolved = latest, self.history.resolved(latest.number)
        try:
            self.catalog, self.lock = self._again(latest.documents, latest.lock)
        except CatalogError as error:
            log.warning("last good generation unusable", generation=self.number, problems=len(error.problems))

    async def take(self, reading: Reading, *, locked: bool = False) -> list[str]:
        """Take over one reading; the problems that forbid it, empty when it was accepted or a rollback is held.

        `locked` as for the whole daemon, for this reading.
        """
        async with self._turn:
            reason, self.problems = await self._take(reading, locked or self.locked)
            if self.problems:
                more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
                self._judged(False, reason, self.problems[0] + more)
            return self.problems

    async def _take(self, reading: Reading, locked: bool) -> tuple[str, list[str]]:
        judged = await self.judge(reading, locked=locked)
        if judged.problems:
            return judged.reason, judged.problems
        if judged.held:
            self._judged(True, "Held", judged.held)
            self._accepted(False)
            return "", []
        if judged.reason == "NoFile":
            self._judged(True, "NoFile", f"there is no {self.path}; installed models are served on demand")
            return "", []
        changed = judged.new or judged.catalog.models != self.catalog.models
        if judged.new:
            try:
                await self._keep(judged)
            except PowerError as error:
                return "NotKept", [error.message]
        self.catalog, self.lock = judged.catalog, judged.lock
        self._judged(True, "Accepted", f"generation {self.number}, declares {len(self.catalog.models)}")
        self._accepted(changed)
        return "", []

    async def judge(self, reading: Reading, *, locked: bool = False) -> Judged:
        """What a reading would come to; nothing is changed. `locked` as in `take`."""
        if reading.problem:
            return self._refused("Unreadable", [reading.problem])
        documents, hold = reading.documents, self.hold
        if hold is not None and self.record is not None and self.record.over == fingerprint(documents):
            return self._as_it_is("Held", hold.message)
        if not documents:
            if self.number:
                return self._refused(
                    "Missing", [f"{self.path}: there is no such file; generation {self.number} goes on"]
                )
            return self._as_it_is("NoFile", "")
        if str(self.path) not in documents and self.catalog.needs(str(self.path)):
            advice = "where models.d is to hold everything, leave one that says `apiVersion: powerd/v1` and no more"
            gone = f"{self.path}: there is no such file; generation {self.number} goes on ({advice})"
            return self._refused("Missing", [gone])
        return await self._judge_texts(documents, locked or self.locked)

    async def _judge_texts(self, documents: Mapping[str, str], locked: bool) -> Judged:
        try:
            held = await asyncio.to_thread(lock_text, self.path)
            catalog, lock = await asyncio.to_thread(self._parse, documents, held)
        except CatalogError as error:
            return self._refused("Invalid", [str(problem) for problem in error.problems])
        except PowerError as error:
            return self._refused("Unreadable", [error.message])
        if not catalog.models and self.catalog.models and not self._allow_empty:
            return self._refused(
                "Empty", [f"{self.path}: no models are left; to mean it, set `allow_empty: true` in powerd.yaml"]
            )
        refused = lock.refusals(catalog, self.path.parent) if locked else []
        if refused:
            return self._refused("NotLocked", refused)
        last = self.record
        texts = dict(catalog.documents)
        new = last is None or (last.documents, last.lock, last.rollback_of) != (texts, held, 0)
        known = carried_over(self.resolved, catalog) if new else self.resolved
        pins = {name: self._pins(known.get(name), spec, lock) for name, spec in catalog.models.items()}
        return Judged("Accepted", catalog, lock, known, pins, lock_text=held, new=new)

    def _refused(self, reason: str, problems: list[str]) -> Judged:
        return Judged(reason, self.catalog, self.lock, self.resolved, {}, problems=problems)

    def _as_it_is(self, reason: str, held: str) -> Judged:
        pins = {name: self.pins(name, spec) for name, spec in self.catalog.models.items()}
        return Judged(reason, self.catalog, self.lock, self.resolved, pins, held=held)

    async def _keep(self, judged: Judged) -> None:
        """Make a generation of what was judged."""
        number = await asyncio.to_thread(self.history.next_number)
        record = Record(number, time.time(), self.path.name, dict(judged.catalog.documents), judged.lock_text)
        await self._write(record, judged.resolved)

    async def _write(self, record: Record, known: dict[str, Resolved]) -> None:
        await asyncio.to_thread(self.history.accept, record, known)
        self.record, self.resolved = record, known
        if self._kept is not None:
            await self._kept()

    def _parse(self, documents: Mapping[str, str], held: str) -> tuple[Catalog, Lock]:
        """The catalog and the lock of these texts; template files that are not among them are read. Blocking.

        Raises CatalogError.
        """
        lock = locking.parse(held, str(locking.lock_path(self.path)))
        return parse_files(documents, file=str(self.path), read_file=read_text), lock

    def _again(self, documents: Mapping[str, str], held: str) -> tuple[Catalog, Lock]:
        """The same of a kept generation, from what was kept alone."""
        return parse_files(documents, file=str(self.path)), locking.parse(held, str(locking.lock_path(self.path)))

    # ------------------------------------------------------------ what models resolve to

    async def resolve(self, name: str, one: Resolved) -> None:
        """Write down what a model of the accepted generation resolved to; known already = nothing is written."""
        if self.record is None or self.resolved.get(name) == one:
            return
        async with self._turn:
            known = {**self.resolved, name: one}
            await asyncio.to_thread(self.history.resolve, self.record.number, known)
            self.resolved = known
            if self._kept is not None:
                await self._kept()

    async def renew(self, name: str, one: Resolved) -> None:
        """A model's source was asked again and gave something else: a generation of its own, with the same file.

        Raises Conflict while a rollback is held, StoreFailed.
        """
        async with self._turn:
            if self.record is None or self.hold is not None:
                raise Conflict(self.hold.message if self.hold else "no generation was accepted yet")
            number = await asyncio.to_thread(self.history.next_number)
            record = msgspec.structs.replace(
                self.record, number=number, accepted_at=time.time(), reason=f"update of {name}"
            )
            await self._write(record, {**self.resolved, name: one})
            self._accepted(True)

    # ------------------------------------------------------------ going back

    async def goal(self, number: int | None) -> tuple[Record, Catalog, dict[str, Resolved]]:
        """The generation to go back to: `number`, or the one before the accepted.

        Raises NotFound naming those that are kept, Conflict for one that cannot be parsed any more.
        """
        records = await asyncio.to_thread(self.history.records)
        now = (self.record.rollback_of or self.record.number) if self.record else 0
        fits = (record for record in records if (record.number < now if number is None else record.number == number))
        goal = next(fits, None)
        if goal is None:
            kept = ", ".join(str(record.number) for record in reversed(records)) or "none"
            asked = "no generation before this one" if number is None else f"no generation {number}"
            raise NotFound(f"{asked} is kept; kept are: {kept}")
        try:
            catalog, _ = await asyncio.to_thread(self._again, goal.documents, goal.lock)
        except CatalogError as error:
            raise Conflict(f"generation {goal.number} cannot be read any more: {error.problems[0]}") from None
        return goal, catalog, await asyncio.to_thread(self.history.resolved, goal.number)

    async def go_back(self, goal: Record, catalog: Catalog, known: dict[str, Resolved]) -> None:
        """Accept what generation `goal` said and resolved to as a new one, held against the file as it is.

        Raises StoreFailed.
        """
        async with self._turn:
            file = (await asyncio.to_thread(read, self.path)).documents
            number = await asyncio.to_thread(self.history.next_number)
            record = Record(
                number,
                time.time(),
                f"rollback to {goal.number}",
                goal.documents,
                goal.lock,
                rollback_of=goal.number,
                over=fingerprint(file),
            )
            await self._write(record, dict(known))
            self.catalog = replace(catalog)
            self.lock = locking.parse(goal.lock, str(locking.lock_path(self.path)))
            assert self.hold is not None
            self.problems = []
            self._judged(True, "Held", self.hold.message)
            self._accepted(True)


def lock_text(path: Path) -> str:
    """The text of the models.lock.yaml beside a models.yaml; empty when there is none. Blocking. Raises StoreFailed."""
    where = locking.lock_path(path)
    try:
        return read_text(where)
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise StoreFailed(f"{where}: not UTF-8 at byte {error.start}") from None
    except OSError as error:
        raise StoreFailed(f"{where}: {error.strerror}") from None


def carried_over(before: Mapping[str, Resolved], catalog: Catalog) -> dict[str, Resolved]:
    """What a new generation knows from the one before: a source that is unchanged goes on meaning the same bytes.

    A model that was only renamed keeps them too.
    """
    by_source = {(one.source, one.quantization): one for one in before.values()}
    known: dict[str, Resolved] = {}
    for name, spec in catalog.models.items():
        wanted = (spec.source, spec.quantization or "")
        one = before.get(name)
        if one is None or (one.source, one.quantization) != wanted:
            one = by_source.get(wanted)
        if one is not None and spec.state != "absent":
            known[name] = one
    return known
