"""Judging: the conditions of every declared model and of the node, made afresh from what is known."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from powerd import metrics
from powerd.fleet.fleet import Fleet
from powerd.fleet.terms import LoadFailure, RunnerView
from powerd.reconcile.conditions import Facts, Truth, Verdict, as_declared, judge
from powerd.reconcile.entry import Entry, Tools
from powerd.reconcile.health.bulletin import Bulletin


@dataclass(frozen=True, slots=True)
class Sight:
    """The fleet at one moment, by deployment key."""

    runners: Mapping[str, RunnerView]  # of each deployment the one for new requests first
    failures: Mapping[str, LoadFailure]
    budget: int  # bytes there are, all devices together

    @classmethod
    def of(cls, fleet: Fleet) -> Sight:
        """Look at it once."""
        runners: dict[str, RunnerView] = {}
        for view in sorted(fleet.views(), key=lambda view: view.state not in {"ready", "loading"}):
            runners.setdefault(view.key, view)
        failures = {failure.key: failure for failure in fleet.failures()}
        return cls(runners, failures, sum(size for _, size, _ in fleet.memory()))

    def runner(self, entry: Entry) -> RunnerView | None:
        """The runner that serves this entry, the one for new requests first."""
        return self.runners.get(entry.offer.deployment.key) if entry.offer is not None else None


class Judging:
    """Writes `Entry.conditions` and the node's conditions; reads the entries, the fleet and the store."""

    def __init__(
        self, entries: Mapping[str, Entry], bulletin: Bulletin, tools: Tools, generation: Callable[[], int]
    ) -> None:
        self._entries = entries
        self._bulletin = bulletin
        self._tools = tools
        self._generation = generation
        #: What the last canary of the runner with a process id came to; set by the daemon.
        self.verdict: Callable[[int], Verdict] = lambda _pid: Verdict()
        #: Why a device is not as it should be, and which there are, in words; set by the daemon.
        self.devices: Callable[[], tuple[str, str]] = lambda: ("", "cpu")

    def refresh(self) -> None:
        """Judge everything again, for a reader who wants the present."""
        sight = self.sight()
        for entry in self._entries.values():
            self._judge(entry, sight)
        self.node()

    def model(self, entry: Entry) -> None:
        """Judge one model, and the node with it."""
        self._judge(entry, self.sight())
        self.node()

    def key(self, key: str) -> None:
        """Judge the models of one deployment."""
        sight = self.sight()
        for entry in self._entries.values():
            if runs(entry, key):
                self._judge(entry, sight)
        self.node()

    def sight(self) -> Sight:
        """The fleet as it is."""
        return Sight.of(self._tools.fleet)

    def failing(self) -> list[str]:
        """Names of models that are not as declared."""
        return [name for name, entry in self._entries.items() if not as_declared(entry.last, entry.conditions)]

    def _judge(self, entry: Entry, sight: Sight) -> None:
        offer, runner = entry.offer, sight.runner(entry)
        facts = Facts(
            spec=entry.last,
            trouble=entry.trouble,
            fetching=_under_way(entry),
            weights=offer.stored.weights_digest.short if offer else "",
            deployment=offer.deployment if offer else None,
            fits=entry.fits,
            budget=(self._tools.needs(offer.deployment).total, sight.budget) if offer else (0, 0),
            runner=runner,
            canary=self.verdict(runner.pid) if runner else Verdict("pending"),
            failure=sight.failures.get(offer.deployment.key) if offer else None,
            last_unload=entry.last_unload,
        )
        entry.conditions = judge(facts, entry.conditions, entry.generation, time.time())
        for name, condition in entry.conditions.items():
            metrics.CONDITION.labels(entry.name, name).set({"True": 1, "False": 0}.get(condition.status, -1))

    def node(self) -> None:
        """Judge the node, and wake those who wait for a condition."""
        waiting = [name for name, entry in self._entries.items() if not entry.settled]
        failing = self.failing()
        if waiting:
            self.state("Reconciled", "False", "Converging", ", ".join(waiting))
        elif failing:
            self.state("Reconciled", "False", "NotAsDeclared", ", ".join(failing))
        else:
            self.state("Reconciled", "True", "AsDeclared", f"{len(self._entries)} models are as declared")
        problems = self._tools.store.problems
        self._healthy("StoreHealthy", "; ".join(problems[:3]), "BadEntries", "Readable", "")
        trouble, devices = self.devices()
        self._healthy("DevicesHealthy", trouble, "DeviceTrouble", "Probed", devices)
        self._bulletin.ring()

    def _healthy(self, name: str, trouble: str, bad: str, good: str, well: str) -> None:
        status: Truth = "False" if trouble else "True"
        self.state(name, status, bad if trouble else good, trouble or well)

    def state(self, name: str, status: Truth, reason: str, message: str) -> None:
        """State one of the node's conditions."""
        self._bulletin.set_node(name, status, reason, message, self._generation())


def runs(entry: Entry, key: str) -> bool:
    """Whether this deployment is the one that serves the entry."""
    return entry.offer is not None and entry.offer.deployment.key == key


def _under_way(entry: Entry) -> tuple[str, int, int] | None:
    progress = entry.progress
    return (progress.stage, progress.completed, progress.total) if progress else None
