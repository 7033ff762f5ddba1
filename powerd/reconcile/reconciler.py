"""Reconciler: one task per declared name, each taking one step at a time towards its spec.

A task reads want and have afresh, takes the step that `step` names, and sleeps until something wakes it: a new
generation, the end of a back-off, or the interval. A name is never visited twice at once, and a name that fails backs
off alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import structlog

from powerd import metrics
from powerd.catalog.spec import ModelSpec
from powerd.errors import NotFound, PowerError, SourceFailed
from powerd.fleet.terms import FleetEvent, RunnerView, Wish
from powerd.reconcile import act
from powerd.reconcile.bulletin import Bulletin
from powerd.reconcile.conditions import Condition, Facts, Trouble, Truth, as_declared, judge
from powerd.reconcile.entry import Entry, Tools
from powerd.reconcile.generation import Generations
from powerd.reconcile.history import History
from powerd.reconcile.step import Settled, step
from powerd.reconcile.watch import Watch, read

log = structlog.get_logger(__name__)

WITHDRAW_SECONDS = 2.0
INTERVAL_SECONDS = 30.0
BACKOFF_SECONDS = (1.0, 300.0)
COLLECT_SECONDS = 600.0
#: How long tasks that were cancelled may take to end.
STOP_SECONDS = 2.0


class Reconciler:
    """Owns the entries and their conditions. The daemon starts and stops it; control and api read it."""

    def __init__(
        self, tools: Tools, path: Path, history: History, *, allow_empty: bool, max_delete_fraction: float
    ) -> None:
        self.entries: dict[str, Entry] = {}
        self.bulletin = Bulletin()
        self.generations = Generations(
            path, history, allow_empty=allow_empty, accepted=self._accepted, judged=self._config_judged
        )
        self._tools = tools
        self._directory = path.parent
        self._max_delete_fraction = max_delete_fraction
        self._tasks: list[asyncio.Task[None]] = []
        tools.library.follow = self.follow

    # ------------------------------------------------------------ life

    async def start(self) -> None:
        """Read the file, fall back to the last good generation if need be, and begin to converge."""
        await self._tools.library.refresh()
        first = await asyncio.to_thread(read, self.generations.path)
        await self.generations.begin(first)
        self._judge_node()

        async def watch() -> None:
            async for reading in Watch(self.generations.path).changes(first):
                await self.generations.take(reading)

        self._tasks = [
            asyncio.create_task(watch(), name="watch"),
            asyncio.create_task(self._tools.library.keep_fresh(), name="library"),
            asyncio.create_task(self._collect(), name="collect"),
        ]

    async def stop(self) -> None:
        """End every task; what they had under way is left as the store can take it up again."""
        tasks = [*self._tasks, *(entry.task for entry in self.entries.values() if entry.task)]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_SECONDS)

    async def apply(self) -> list[str]:
        """Read models.yaml now and take it over; the problems that forbid it, empty when all is well."""
        return await self.generations.take(await asyncio.to_thread(read, self.generations.path))

    async def _collect(self) -> None:
        """Give disk space back, long after the last need for it and never much at once."""
        while True:
            await asyncio.sleep(COLLECT_SECONDS)
            try:
                gone = await act.collect(self._tools, self._max_delete_fraction)
            except PowerError as error:
                self.bulletin.record("store", "", "NotCollected", error.message)
            else:
                if gone:
                    self.bulletin.record("store", "", "Collected", f"deleted {len(gone)} blobs nothing needs any more")

    # ------------------------------------------------------------ a new generation

    def _accepted(self, changed: bool) -> None:
        catalog = self.generations.catalog
        metrics.GENERATION.set(self.generations.number)
        self._tools.library.declare(catalog)
        if changed:
            self.bulletin.record(
                "config", "", "Accepted", f"generation {self.generations.number}, declares {len(catalog.models)}"
            )
        for name, spec in catalog.models.items():
            self._want(name, spec)
        for name in self.entries.keys() - catalog.models.keys():
            self._withdraw_soon(self.entries[name])

    def _config_judged(self, valid: bool, reason: str, message: str) -> None:
        metrics.CONFIG_VALID.set(int(valid))
        before = self.bulletin.node()["ConfigValid"]
        self._set_node("ConfigValid", "True" if valid else "False", reason, message)
        if not valid and before.message != message:
            self.bulletin.record("config", "", reason, message)

    def _want(self, name: str, spec: ModelSpec) -> None:
        entry = self.entries.get(name)
        if entry is None:
            entry = self.entries[name] = Entry(name, spec, spec, self.generations.number)
            entry.task = asyncio.create_task(self._converge(entry), name=f"converge {name}")
        if entry.fetch is not None and (entry.last.source, entry.last.digest) != (spec.source, spec.digest):
            entry.fetch.cancel()
        if entry.want != spec:
            entry.failures, entry.next_try, entry.trouble = 0, 0.0, None
        entry.want = entry.last = spec
        entry.generation, entry.withdraw_at, entry.settled = self.generations.number, None, False
        entry.wake.set()

    def _withdraw_soon(self, entry: Entry) -> None:
        """Begin the two seconds after which the name is taken away, unless it comes back."""
        if entry.withdraw_at is None and entry.want is not None:
            entry.withdraw_at = time.monotonic() + WITHDRAW_SECONDS
        entry.settled = False
        entry.wake.set()

    # ------------------------------------------------------------ one name

    async def _converge(self, entry: Entry) -> None:
        while True:
            entry.wake.clear()
            again = await self._visit(entry)
            self._judge(entry)
            if entry.want is None and entry.settled:
                self._forget(entry)
                return
            if not again:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._pause(entry)):
                        await entry.wake.wait()

    def _pause(self, entry: Entry) -> float:
        now = time.monotonic()
        due = [at for at in (entry.withdraw_at, entry.next_try or None) if at is not None]
        return max(0.02, min(due) - now) if due else INTERVAL_SECONDS

    async def _visit(self, entry: Entry) -> bool:
        """Take one step; a failure becomes the entry's trouble and a back-off. Whether to go on at once."""
        now = time.monotonic()
        if entry.withdraw_at is not None and now >= entry.withdraw_at:
            entry.want, entry.withdraw_at, entry.next_try = None, None, 0.0
        if now < entry.next_try:
            return False
        try:
            return await self._advance(entry)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return True  # only the fetch was cancelled: the source changed under it
        except (PowerError, act.Refused) as error:
            self._fail(entry, act.trouble_of(error))
        except Exception as error:
            log.exception("reconcile step failed", model=entry.name)
            self._fail(entry, Trouble("Resolved", "InternalError", f"internal error: {error}"))
        return False

    async def _advance(self, entry: Entry) -> bool:
        want = entry.want
        if want is not None and want.state != "absent":
            act.refuse_not_yet(want, [device for device, _, _ in self._tools.fleet.memory()])
        have = await act.have(self._tools, entry, self._directory)
        if entry.want is not want:
            return True  # a new generation came while we looked
        following = step(want, have)
        if isinstance(following, Settled):
            entry.settled, entry.trouble, entry.failures, entry.next_try = True, None, 0, 0.0
            return False
        entry.settled = False
        await act.take(self._tools, entry, want or entry.last, following, self._directory)
        entry.trouble = None
        self.wish()
        return True

    def _fail(self, entry: Entry, trouble: Trouble) -> None:
        if entry.trouble != trouble:
            self.bulletin.record("error", entry.name, trouble.reason, trouble.message)
        entry.trouble, entry.failures, entry.settled = trouble, entry.failures + 1, True
        low, high = BACKOFF_SECONDS
        pause = min(high, low * 2 ** min(entry.failures - 1, 20))
        entry.next_try = time.monotonic() + pause * random.uniform(0.8, 1.2)
        if entry.want is not None and (entry.offer is None or trouble.reason in {"NotYet", "RequireUnmet"}):
            entry.offer = entry.offered_spec = None
            self._tools.library.set_offer(
                entry.want, None, f"model '{entry.name}' is declared but cannot be served: {trouble.message}"
            )
            self.wish()

    def _forget(self, entry: Entry) -> None:
        self.entries.pop(entry.name, None)
        metrics.forget(entry.name)
        self.bulletin.record("config", entry.name, "Withdrawn", "no longer in models.yaml")
        self.wish()

    # ------------------------------------------------------------ the fleet

    def wish(self) -> None:
        """Tell the fleet what should be in memory, whole."""
        by_key: dict[str, list[Entry]] = {}
        for entry in self.entries.values():
            if entry.offer is not None:
                by_key.setdefault(entry.offer.deployment.key, []).append(entry)
        self._tools.fleet.wish({key: _wish(entries) for key, entries in by_key.items()})

    def fleet_event(self, event: FleetEvent) -> None:
        """Take note of what the fleet did."""
        entries = [entry for entry in self.entries.values() if _runs(entry, event.key)]
        for entry in entries:
            if event.kind == "unload":
                entry.last_unload = event.message or event.reason
            elif event.kind == "ready":
                entry.last_unload = ""
        self.bulletin.note(event.kind, event.model, event.reason, event.message)
        for entry in entries:
            self._judge(entry)

    def runner(self, entry: Entry) -> RunnerView | None:
        """The runner that serves this entry, the one for new requests first."""
        views = [view for view in self._tools.fleet.views() if _runs(entry, view.key)]
        views.sort(key=lambda view: view.state not in {"ready", "loading"})
        return views[0] if views else None

    # ------------------------------------------------------------ conditions

    def refresh_conditions(self) -> None:
        """Judge everything again, for a reader who wants the present."""
        for entry in self.entries.values():
            self._judge(entry)
        self._judge_node()

    def _judge(self, entry: Entry) -> None:
        offer = entry.offer
        facts = Facts(
            spec=entry.last,
            trouble=entry.trouble,
            fetching=_under_way(entry),
            weights=offer.stored.weights_digest.short if offer else "",
            deployment=offer.deployment if offer else None,
            fits=entry.fits,
            budget=(act.needs(offer.deployment), act.budget(self._tools)) if offer else (0, 0),
            runner=self.runner(entry),
            last_unload=entry.last_unload,
        )
        entry.conditions = judge(facts, entry.conditions, entry.generation, time.time())
        for name, condition in entry.conditions.items():
            metrics.CONDITION.labels(entry.name, name).set({"True": 1, "False": 0}.get(condition.status, -1))
        self._judge_node()

    def _judge_node(self) -> None:
        waiting = [name for name, entry in self.entries.items() if not entry.settled]
        failing = self.failing()
        if waiting:
            self._set_node("Reconciled", "False", "Converging", ", ".join(waiting))
        elif failing:
            self._set_node("Reconciled", "False", "NotAsDeclared", ", ".join(failing))
        else:
            self._set_node("Reconciled", "True", "AsDeclared", f"{len(self.entries)} models are as declared")
        problems = self._tools.store.problems
        healthy: Truth = "False" if problems else "True"
        self._set_node("StoreHealthy", healthy, "BadEntries" if problems else "Readable", "; ".join(problems[:3]))
        self._set_node("DevicesHealthy", "True", "Probed", "cpu")
        self.bulletin.ring()

    def failing(self) -> list[str]:
        """Names of models that are not as declared."""
        return [name for name, entry in self.entries.items() if not as_declared(entry.last, entry.conditions)]

    def _set_node(self, name: str, status: Truth, reason: str, message: str) -> None:
        self.bulletin.set_node(name, status, reason, message, self.generations.number)

    # ------------------------------------------------------------ waiting

    async def wait(self, condition: str, model: str, timeout: float) -> tuple[bool, Condition]:
        """Wait until `condition` is True of `model` (empty: of the node).

        Raises NotFound for a model or condition that does not exist.
        """
        return await self.bulletin.until(lambda: self._look_up(condition, model), timeout)

    def _look_up(self, condition: str, model: str) -> Condition:
        self.refresh_conditions()
        if not model:
            pool = self.bulletin.node()
        elif model in self.entries:
            pool = self.entries[model].conditions
        else:
            raise NotFound(f'"{model}" is not declared in {self.generations.path}')
        if condition not in pool:
            raise NotFound(f'there is no condition "{condition}"; choose from {", ".join(pool)}')
        return pool[condition]

    async def first_round(self, timeout: float) -> None:
        """Wait until every model that needs no fetching has been put on offer."""

        def look() -> Condition:
            busy = any(not entry.settled and entry.progress is None for entry in self.entries.values())
            return Condition("Offered", "False" if busy else "True")

        await self.bulletin.until(look, timeout)

    async def settle(self, timeout: float) -> bool:
        """Wait until no entry has a step left to take and no wished-for load is under way."""

        def look() -> Condition:
            self.refresh_conditions()
            busy = [name for name, entry in self.entries.items() if not entry.settled or self._loading(entry)]
            return Condition("Settled", "False" if busy else "True")

        return (await self.bulletin.until(look, timeout))[0]

    def _loading(self, entry: Entry) -> bool:
        loaded = entry.conditions.get("Loaded")
        return entry.last.state == "loaded" and loaded is not None and loaded.reason in {"Loading", "Waiting"}

    async def follow(self, name: str) -> AsyncIterator[dict[str, object]]:
        """Ollama's progress objects of a declared model's fetch until its offer stands.

        Raises SourceFailed with the trouble's message when the model cannot get that far.
        """
        while (entry := self.entries.get(name)) is not None and entry.offer is None:
            if entry.trouble is not None:
                raise SourceFailed(entry.trouble.message)
            if entry.progress is not None:
                total, completed = entry.progress.total, entry.progress.completed
                yield {"status": f"pulling {name}", "digest": name, "total": total, "completed": completed}
            await asyncio.sleep(0.1)


def _under_way(entry: Entry) -> tuple[str, int, int] | None:
    progress = entry.progress
    return (progress.stage, progress.completed, progress.total) if progress else None


def _runs(entry: Entry, key: str) -> bool:
    return entry.offer is not None and entry.offer.deployment.key == key


def _wish(entries: list[Entry]) -> Wish:
    offers = [entry.offer for entry in entries if entry.offer is not None]
    keep_alives = [offer.keep_alive for offer in offers if offer.keep_alive is not None]
    return Wish(
        deployment=offers[0].deployment,
        names=tuple(entry.name for entry in entries),
        loaded=any(entry.last.state == "loaded" and entry.fits is None for entry in entries),
        pinned=any(offer.pinned for offer in offers),
        keep_alive=max(keep_alives) if keep_alives else None,
        priority=max(offer.priority for offer in offers),
    )
