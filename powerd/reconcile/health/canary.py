"""Canary: asks every loaded runner for one token, through the queue that all requests use, and says what came of it.

At most one canary is in flight on a runner. It is not given up when it is late: the moment it is answered after all,
the runner counts as answering again. What real requests prove is not asked for a second time.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from powerd import metrics
from powerd.errors import PowerError
from powerd.fleet.terms import RunnerView
from powerd.reconcile.conditions import Verdict
from powerd.reconcile.health.bulletin import Bulletin

#: How old a proof may be for a reader who wants the present (`/readyz`).
FRESH_SECONDS = 3.0
#: Seconds between two canaries on one runner, whoever asks for them, and after one that failed.
AGAIN_SECONDS = (1.0, 5.0)
#: The longest such a reader waits.
BOUND_SECONDS = 5.0
#: How long a canary may be on its way: as good as for ever, the fleet's stall limit ends a runner that hangs.
ON_THE_WAY_SECONDS = 86_400.0


class Asked(Protocol):
    """What is needed of the fleet."""

    def views(self) -> list[RunnerView]:
        """Every runner."""

    async def canary(self, key: str, timeout: float) -> None:
        """Have one token generated on the ready runner of a deployment. Raises PowerError."""


@dataclass(slots=True)
class _Watched:
    """One ready runner. Times are monotonic seconds, -inf = never."""

    view: RunnerView  # as it was seen last
    proved: float = -math.inf  # the last sign that it answers
    how: str = ""
    asked: float | None = None  # since when a canary is on its way
    tried: float = -math.inf  # when the last canary was sent or came back
    failed: str = ""  # why the last canary came back without a token
    stale: bool = False  # what was proved was before the machine slept
    moved: float = -math.inf  # when the engine was last seen to make a step
    busy: float = -math.inf  # since when requests are in flight
    said: Verdict = field(default_factory=lambda: Verdict("pending"))
    task: asyncio.Task[None] | None = None

    def see(self, view: RunnerView, now: float) -> None:
        """Take note of what the runner did since the last look."""
        before, self.view = self.view, view
        if view.requests and not before.requests:
            self.busy = now
        if view.stats is not None and view.stats != before.stats:
            self.moved = now
        if view.answered_at is not None and view.answered_at > max(self.proved, self.tried):
            self.prove(view.answered_at, "a request was answered")
        if self.full and self.moved == now:
            self.prove(now, f"all {view.parallel} places are taken and the engine makes progress")

    def prove(self, at: float, how: str) -> None:
        """It answers."""
        self.proved, self.how, self.failed, self.stale = at, how, "", False

    @property
    def full(self) -> bool:
        """Whether a canary has to wait for the end of a real request."""
        return self.view.requests >= self.view.parallel

    def waiting(self, now: float) -> float:
        """Seconds a canary is on its way with no sign of life; 0 when none is."""
        if self.asked is None:
            return 0.0
        return now - max(self.asked, self.moved if self.full else -math.inf)

    def quiet(self, now: float) -> float:
        """Seconds for which requests have been in flight with no sign of life."""
        return now - max(self.proved, self.moved, self.busy) if self.view.requests else 0.0


class Canary:
    """Owns what is known of each runner's answering. `changed(key)` is called when a verdict changes."""

    def __init__(
        self, fleet: Asked, bulletin: Bulletin, changed: Callable[[str], None], *, interval: float, timeout: float
    ) -> None:
        """`interval`: seconds without proof after which a runner is asked, 0 = never; `timeout`: when it is late."""
        self._fleet = fleet
        self._bulletin = bulletin
        self._changed = changed
        self._interval = interval
        self._timeout = timeout
        self._watched: dict[int, _Watched] = {}  # by pid

    # ------------------------------------------------------------ life

    async def stop(self) -> None:
        """Ask nothing any more."""
        tasks = [watched.task for watched in self._watched.values() if watched.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def resumed(self) -> None:
        """The machine slept: nothing that was proved before counts, and every runner is asked at once."""
        for watched in self._watched.values():
            watched.stale, watched.tried = True, -math.inf
        self.look()

    # ------------------------------------------------------------ looking

    def look(self, fresh: float = math.inf) -> None:
        """Ask every runner that is due; one whose last proof is `fresh` seconds old counts as due.

        To be called once a second, and when a runner is ready.
        """
        if not self._interval:
            return
        now = asyncio.get_running_loop().time()
        ready = {view.pid: view for view in self._fleet.views() if view.state == "ready" and view.pid}
        for pid in self._watched.keys() - ready.keys():
            del self._watched[pid]
        for pid, view in ready.items():
            watched = self._watched.setdefault(pid, _Watched(view))
            watched.see(view, now)
            if self._due(watched, now, min(fresh, self._interval)):
                watched.asked = watched.tried = now
                watched.task = asyncio.create_task(self._ask(pid, watched), name=f"canary {view.model}")
            self._report(watched, now)

    def _due(self, watched: _Watched, now: float, age: float) -> bool:
        least, failing = AGAIN_SECONDS
        if watched.asked is not None or now - watched.tried < least:
            return False
        if watched.failed:
            return now - watched.tried >= min(failing, age)
        return watched.stale or now - watched.proved >= age or watched.quiet(now) >= self._timeout

    async def _ask(self, pid: int, watched: _Watched) -> None:
        loop = asyncio.get_running_loop()
        sent = loop.time()
        error: PowerError | None = None
        try:
            await self._fleet.canary(watched.view.key, ON_THE_WAY_SECONDS)
        except PowerError as failure:
            error = failure
        now = loop.time()
        watched.asked, watched.tried = None, now
        if self._watched.get(pid) is not watched or all(view.pid != pid for view in self._ready()):
            return  # it went away meanwhile, which is nobody's failure
        metrics.CANARIES.labels(watched.view.model, "answered" if error is None else "failed").inc()
        if error is None:
            metrics.CANARY_SECONDS.labels(watched.view.model).set(now - sent)
            watched.prove(now, f"one token came back in {now - sent:.3f} s")
        else:
            watched.failed = f"a request for one token failed: {error.message}"
        self._report(watched, now)

    def _ready(self) -> list[RunnerView]:
        return [view for view in self._fleet.views() if view.state == "ready"]

    # ------------------------------------------------------------ what came of it

    def verdict(self, pid: int) -> Verdict:
        """What is known of the runner with this process id."""
        if not self._interval:
            return Verdict("off")
        watched = self._watched.get(pid)
        return self._judge(watched, asyncio.get_running_loop().time()) if watched else Verdict("pending")

    def _judge(self, watched: _Watched, now: float) -> Verdict:
        waiting = watched.waiting(now)
        if waiting >= self._timeout:
            view = watched.view
            crowd = f"{view.requests} requests in flight, {view.queued} waiting"
            return Verdict("failed", f"no answer to a request for one token in {waiting:.0f} s; {crowd}")
        if watched.failed:
            return Verdict("failed", watched.failed)
        if watched.stale:
            return Verdict("pending", "the machine slept, and it has not answered since")
        if watched.proved == -math.inf:
            return Verdict("pending")
        return Verdict("answered", watched.how)

    def _report(self, watched: _Watched, now: float) -> None:
        """Tell of a verdict that changed, once."""
        before, after = watched.said, self._judge(watched, now)
        if before.status == after.status:
            return
        watched.said = after
        model = watched.view.model
        if after.status == "failed":
            if watched.asked is not None:
                metrics.CANARIES.labels(model, "late").inc()
            self._bulletin.record("canary", model, "CanaryFailed", f"Ready: {before.status} -> failed: {after.message}")
        elif before.status == "failed" and after.status == "answered":
            self._bulletin.record("canary", model, "CanaryAnswered", f"Ready: failed -> answered: {after.message}")
        self._changed(watched.view.key)

    def reasons(self) -> list[str]:
        """For each loaded model that does not answer, one sentence."""
        now = asyncio.get_running_loop().time()
        found = [(watched.view.model, self._judge(watched, now)) for watched in self._watched.values()]
        return [f"model '{model}' does not answer: {it.message}" for model, it in found if it.status == "failed"]

    async def fresh(self) -> None:
        """See to it that what is known is of this moment: ask who has proved nothing lately, and wait a little.

        Callers at one time share the canaries; what is late already is not waited for.
        """
        self.look(FRESH_SECONDS)
        now = asyncio.get_running_loop().time()
        left = {
            watched.task: self._timeout - watched.waiting(now)
            for watched in self._watched.values()
            if watched.task is not None and not watched.task.done() and watched.waiting(now) < self._timeout
        }
        if left:
            await asyncio.wait(left, timeout=min(max(left.values()), BOUND_SECONDS))
            self.look()
