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
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import structlog

from powerd import metrics
from powerd.catalog.changes import changes
from powerd.catalog.spec import ModelSpec
from powerd.documents import Reading, read
from powerd.errors import PowerError
from powerd.fleet.terms import FleetEvent, Reason
from powerd.reconcile import act
from powerd.reconcile.conditions import Trouble
from powerd.reconcile.entry import Entry, Tools
from powerd.reconcile.generations.generation import Generations
from powerd.reconcile.generations.history import History
from powerd.reconcile.generations.lock import lock_path
from powerd.reconcile.generations.pin import Refused
from powerd.reconcile.generations.records import resolved
from powerd.reconcile.generations.watch import Watch
from powerd.reconcile.health.bulletin import Bulletin
from powerd.reconcile.health.drift import lost
from powerd.reconcile.health.judging import Judging, runs
from powerd.reconcile.health.waiting import Waiting
from powerd.reconcile.keeping import Keeping, strays
from powerd.reconcile.making.adapters import united
from powerd.reconcile.making.modelfiles import modelfiles_of
from powerd.reconcile.readback import unmet
from powerd.reconcile.step import Composed, Fetch, Have, MakeOffer, Settled, Step, step
from powerd.reconcile.updates import Updates
from powerd.reconcile.wishes import wishes

log = structlog.get_logger(__name__)

WITHDRAW_SECONDS = 2.0
INTERVAL_SECONDS = 30.0
BACKOFF_SECONDS = (1.0, 300.0)
#: How long a model whose `require:` was not met after a load is left alone.
REQUIRE_SECONDS = 60.0
#: How long tasks that were cancelled may take to end.
STOP_SECONDS = 2.0
#: Between the failure of a task that is to go on for ever and its new beginning.
AGAIN_SECONDS = 5.0


class Reconciler:
    """Owns the entries and their conditions. The daemon starts and stops it; control and api read it."""

    def __init__(
        self,
        tools: Tools,
        path: Path,
        history: History,
        *,
        allow_empty: bool,
        max_delete_fraction: float,
        locked: bool = False,
    ) -> None:
        self.entries: dict[str, Entry] = {}
        self.bulletin = Bulletin()
        self._keeping = Keeping(tools, history, self.bulletin, max_delete_fraction)
        self.generations = Generations(
            path,
            history,
            allow_empty=allow_empty,
            locked=locked,
            accepted=self._accepted,
            judged=self._config_judged,
            kept=self._keeping.pin,
        )
        self.updates = Updates(self.entries, self.generations, tools)
        self.updates.moved = lambda name, message: self.bulletin.record("config", name, "Moved", message)
        self.tools = tools
        self._directory = path.parent
        self._tasks: list[asyncio.Task[None]] = []
        self.judging = Judging(self.entries, self.bulletin, tools, lambda: self.generations.number)
        self.waiting = Waiting(self.entries, self.bulletin, self.judging.refresh, path)
        tools.library.follow = self.waiting.follow

    # ------------------------------------------------------------ life

    async def start(self) -> None:
        """Read the file, fall back to the last good generation if need be, and begin to converge."""
        await self.tools.library.refresh()
        first = await asyncio.to_thread(read, self.generations.path)
        await self.generations.begin(first)
        await self._keeping.pin()
        for spec in await asyncio.to_thread(strays, self.tools.store, self.generations):
            entry = self.entries[spec.display] = Entry(spec.display, None, spec, self.generations.number)
            entry.task = asyncio.create_task(self._converge(entry), name=f"converge {spec.display}")
        self.judging.node()

        works: dict[str, Callable[[], Awaitable[None]]] = {
            "watch": partial(self._watch, first),
            "library": self.tools.library.keep_fresh,
            "collect": self._keeping.collect_for_ever,
        }
        self._tasks = [asyncio.create_task(_lasting(name, work), name=name) for name, work in works.items()]

    async def _watch(self, seen: Reading) -> None:
        """Take over each reading of the files that differs from the last, for ever."""
        async with contextlib.aclosing(Watch(self.generations.path, also=self._referred).changes(seen)) as readings:
            async for reading in readings:
                try:
                    await self.generations.take(reading)
                except Exception as error:
                    self._config_judged(False, "InternalError", f"internal error: {error}")
                    raise

    async def stop(self) -> None:
        """End every task; what they had under way is left as the store can take it up again."""
        tasks = [*self._tasks, *(entry.task for entry in self.entries.values() if entry.task)]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_SECONDS)

    def _referred(self) -> tuple[Path, ...]:
        """The files beside the declarations whose contents count as well."""
        catalog = self.generations.catalog
        return (*catalog.files, *modelfiles_of(catalog, self._directory), lock_path(self.generations.path))

    async def apply(self, *, locked: bool = False) -> list[str]:
        """Read models.yaml now and take it over; the problems that forbid it, empty when all is well."""
        return await self.generations.take(await asyncio.to_thread(read, self.generations.path), locked=locked)

    # ------------------------------------------------------------ a new generation

    def _accepted(self, changed: bool) -> None:
        catalog = self.generations.catalog
        metrics.GENERATION.set(self.generations.number)
        self.tools.library.declare(catalog)
        if changed:
            self.bulletin.record(
                "config",
                "",
                "Accepted",
                f"generation {self.generations.number} ({self.generations.reason}), declares {len(catalog.models)}",
            )
        for name, spec in catalog.models.items():
            self._want(name, spec)
        for name in self.entries.keys() - catalog.models.keys():
            self._withdraw_soon(self.entries[name])

    def _config_judged(self, valid: bool, reason: str, message: str) -> None:
        metrics.CONFIG_VALID.set(int(valid))
        before = self.bulletin.node()["ConfigValid"]
        self.judging.state("ConfigValid", "True" if valid else "False", reason, message)
        if not valid and before.message != message:
            self.bulletin.record("config", "", reason, message)

    def _want(self, name: str, spec: ModelSpec) -> None:
        entry = self.entries.get(name)
        if entry is None:
            entry = self.entries[name] = Entry(name, spec, spec, self.generations.number)
            entry.task = asyncio.create_task(self._converge(entry), name=f"converge {name}")
        pins = self.generations.pins(name, spec)
        meant = (spec.source, spec.digest, spec.quantization, pins)
        if (entry.last.source, entry.last.digest, entry.last.quantization, entry.pins) != meant:
            entry.fetched = None
            if entry.fetch is not None:
                entry.fetch.cancel()
            entry.moved = ""
        if entry.want != spec or entry.pins != pins:
            entry.failures, entry.next_try, entry.trouble = 0, 0.0, None
        entry.pins = pins
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
            self.judging.model(entry)
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
            entry.want, entry.withdraw_at, entry.next_try, entry.settled = None, None, 0.0, False
        if now < entry.next_try:
            return False
        want = entry.want
        try:
            return await self._advance(entry)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return True  # only the fetch was cancelled: the source changed under it
        except (PowerError, Refused) as error:
            trouble = act.trouble_of(error)
        except Exception as error:
            log.exception("reconcile step failed", model=entry.name)
            trouble = Trouble("Resolved", "InternalError", f"internal error: {error}")
        if entry.want is not want:
            return True  # it failed for what is wanted no more
        self._fail(entry, trouble)
        return False

    async def _advance(self, entry: Entry) -> bool:
        want = entry.want
        if want is not None and want.state != "absent":
            act.refuse_not_yet(want, [device for device, _, _ in self.tools.fleet.memory()])
        pins = entry.pins
        have = await act.have(self.tools.store, entry, self._directory)
        if entry.want is not want or entry.pins is not pins:
            return True  # a new generation came while we looked
        following = step(want, have)
        await self._take_note(entry, have, following)
        if entry.want is not want:
            return True
        if isinstance(following, Settled):
            entry.settled, entry.trouble, entry.failures, entry.next_try = True, None, 0, 0.0
            return False
        entry.settled = False
        served = entry.offered_spec
        await act.take(self.tools, entry, want or entry.last, following, self._directory)
        self._tell(entry, following, served)
        entry.trouble = None
        self.wish()
        return self._require(entry)

    def _tell(self, entry: Entry, done: Step, served: ModelSpec | None) -> None:
        """After a step: an event of what was fetched, and of what an offer changed."""
        if isinstance(done, Fetch) and entry.fetched is not None:
            self.bulletin.record("fetch", entry.name, "Fetched", f"weights {entry.fetched.weights.short}")
        elif isinstance(done, MakeOffer) and served is not None and served != entry.offered_spec:
            changed = changes(served, entry.offered_spec or served)
            told = ", ".join(f"{field} ({change})" for field, change in changed.items())
            self.bulletin.record("config", entry.name, "Changed", told or "what it asks of this version")

    async def _take_note(self, entry: Entry, have: Have, following: Step) -> None:
        """Before a step: tell of what was lost on disk, and write down what the model resolved to."""
        if have.lost and entry.offer is not None and entry.want is not None:
            reason, told = lost(have.lost)
            if told != entry.lost:
                self.bulletin.record("drift", entry.name, reason, told)
            entry.lost = told
            entry.tainted = entry.tainted or any(loss.how == "changed" for loss in have.lost)
        elif entry.lost and isinstance(following, MakeOffer | Settled):
            self.bulletin.record("mended", entry.name, "Restored", f"put right: {entry.lost}")
            entry.lost = ""
        if have.composed is None or entry.want is None or not isinstance(following, MakeOffer | Settled):
            return
        if entry.want.state != "absent" and entry.withdraw_at is None:
            await self._write_down(entry, have.composed)
        if entry.tainted and entry.offer is not None:
            entry.tainted = False  # what runs may have read the bytes that were changed
            await self.tools.fleet.unload(entry.offer.deployment.key, Reason.CONFIG)

    async def _write_down(self, entry: Entry, composed: Composed) -> None:
        try:
            await self.generations.resolve(entry.name, resolved(composed.fetched, composed.manifest))
        except PowerError as error:
            self.bulletin.record("error", entry.name, "NotRecorded", error.message)
        else:
            entry.pins = self.generations.pins(entry.name, entry.want or entry.last)

    def _fail(self, entry: Entry, trouble: Trouble) -> None:
        if entry.trouble != trouble:
            self.bulletin.record("error", entry.name, trouble.reason, trouble.message)
        entry.trouble, entry.failures, entry.settled = trouble, entry.failures + 1, True
        low, high = BACKOFF_SECONDS
        pause = min(high, low * 2 ** min(entry.failures - 1, 20))
        entry.next_try = time.monotonic() + pause * random.uniform(0.8, 1.2)
        if entry.want is not None and (entry.offer is None or trouble.reason in {"NotYet", "RequireUnmet"}):
            entry.offer = entry.offered_spec = None
            self.tools.library.set_offer(
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
        self._unite()
        self.tools.fleet.wish(
            wishes(
                (entry.name, entry.offered_spec, entry.offer.deployment, entry.fits is None)
                for entry in sorted(self.entries.values(), key=lambda entry: entry.withdraw_at is not None)
                if entry.offer is not None and entry.offered_spec is not None
            )
        )

    def _unite(self) -> None:
        """Have each offer's runner load the adapters of all that have its weights."""
        offered = [(each, each.offered_spec, each.offer) for each in self.entries.values() if each.offer is not None]
        for (entry, spec, before), offer in zip(offered, united([offer for _, _, offer in offered]), strict=True):
            if offer is not before and spec is not None:
                entry.offer = offer
                self.tools.library.set_offer(spec, offer)

    def fleet_event(self, event: FleetEvent) -> None:
        """Take note of what the fleet did."""
        entries = [entry for entry in self.entries.values() if runs(entry, event.key)]
        for entry in entries:
            if event.kind == "unload":
                entry.last_unload = event.message or event.reason
            elif event.kind == "ready":
                entry.last_unload = ""
                asyncio.get_running_loop().call_soon(self._require, entry)
        self.bulletin.note(event.kind, event.model, event.reason, event.message)
        for entry in entries:
            self.judging.model(entry)

    def _require(self, entry: Entry) -> bool:
        """Serve nothing that was loaded otherwise than `require:` asks; try again when the machine may have changed.

        Whether all is well.
        """
        runner = self.judging.sight().runner(entry)
        have = runner.readback if runner else None
        short = unmet(entry.offer.require, have) if entry.offer and have else ""
        if short:
            self._fail(entry, Trouble("Fits", "RequireUnmet", short))
            entry.next_try = time.monotonic() + REQUIRE_SECONDS
        return not short

    def ended(self) -> list[str]:
        """Names of tasks that should go on as long as the daemon does, and have ended."""
        tasks = [*self._tasks, *(entry.task for entry in self.entries.values() if entry.task is not None)]
        return [task.get_name() for task in tasks if task.done()]


async def _lasting(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Have work that goes on for ever begin again when it fails."""
    while True:
        try:
            await work()
        except Exception:
            log.exception("what should go on for ever failed, and begins again", task=name)
        await asyncio.sleep(AGAIN_SECONDS)
