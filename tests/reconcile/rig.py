"""A reconciler over its real owners in this process: a store, a history, and a fleet whose runners are fake_runner.py.

`RUNNER` has every runner's memory as the estimate said, so that a plan's bytes can be held against the ledger's.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from powerd.control.plan import plan_reply
from powerd.control.schema_plan import PlanReply
from powerd.documents import Reading, read
from powerd.fleet.fleet import Fleet
from powerd.fleet.terms import FleetConfig, FleetEvent
from powerd.reconcile.decide import NodeDefaults
from powerd.reconcile.entry import Tools
from powerd.reconcile.generations.history import History
from powerd.reconcile.health.bulletin import Event
from powerd.reconcile.library import Library
from powerd.reconcile.planning.planning import Ground, plan
from powerd.reconcile.pulls import Pulls
from powerd.reconcile.reach import Reach
from powerd.reconcile.reconciler import Reconciler
from powerd.sources.hub.model import HubConfig
from powerd.sources.transport.outbound import Outbound, OutboundConfig
from powerd.store.store import Store
from tests.gguf_maker import lora, tiny

ROOT = Path(__file__).resolve().parents[2]
RUNNER = (sys.executable, str(ROOT / "tests" / "fake_runner.py"))
HEAD = "apiVersion: powerd/v1\nmodels:\n"


class Rig:
    """One machine. `models(text)` writes models.yaml; `apply()` has it taken over and waits until all is settled."""

    def __init__(
        self, directory: Path, runner: Sequence[str] = RUNNER, *, offline: bool = False, keep: int = 5
    ) -> None:
        self.directory = directory
        self.path = directory / "models.yaml"
        self.store = Store(directory / "store")
        self.fleet = Fleet(
            FleetConfig(shutdown_grace=1.0, terminate_grace=0.5), runner, self._heard, backend_available=True
        )
        node = NodeDefaults()
        reach = Reach(self.store, Outbound(OutboundConfig(offline=offline)), HubConfig())
        self.library = Library(self.store, self.fleet, node, Pulls(reach))
        self.tools = Tools(self.store, self.fleet, self.library, node, reach)
        self.reconciler = Reconciler(
            self.tools,
            self.path,
            History(directory / "generations", keep),
            allow_empty=True,
            max_delete_fraction=1.0,
        )

    def _heard(self, event: FleetEvent) -> None:
        self.reconciler.fleet_event(event)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Rig]:
        """Started, settled, and stopped at the end."""
        await asyncio.to_thread(self.store.open)
        await self.fleet.start()
        await self.reconciler.start()
        try:
            assert await self.reconciler.waiting.settle(20), self.reconciler.bulletin.events
            yield self
        finally:
            await self.reconciler.stop()
            await self.fleet.stop(0)
            await self.tools.reach.outbound.aclose()
            await asyncio.to_thread(self.store.close)

    # ------------------------------------------------------------ files

    def weights(self, name: str, seed: int = 1) -> Path:
        """A tiny model file."""
        path = self.directory / f"{name}.gguf"
        tiny(path, context=4096, seed=seed)
        return path

    def adapter(self, name: str, seed: int = 1) -> Path:
        """A LoRA file for the tiny models."""
        return lora(self.directory / f"{name}.gguf", seed=seed)

    def models(self, text: str) -> None:
        """Write models.yaml by rename, as editors do."""
        new = self.path.with_suffix(".new")
        new.write_text(HEAD + text)
        new.rename(self.path)

    # ------------------------------------------------------------ what is done and foretold

    async def apply(self) -> list[Event]:
        """Take models.yaml over and see it through; the events from then on."""
        last = self.reconciler.bulletin.last
        assert await self.reconciler.apply() == []
        assert await self.reconciler.waiting.settle(20), self.reconciler.bulletin.events
        await self.quiet()
        return [event for event in self.reconciler.bulletin.after(last) if event.kind != "canary"]

    async def quiet(self) -> None:
        """Wait until no runner is on its way in or out."""
        for _ in range(2000):
            if all(view.state == "ready" for view in self.fleet.views()):
                return
            await asyncio.sleep(0.005)
        raise AssertionError(self.fleet.views())

    async def plan(self, text: str | None = None) -> PlanReply:
        """What powerctl plan prints."""
        generations = self.reconciler.generations
        reading = read(self.path) if text is None else Reading({str(self.path): HEAD + text})
        ground = Ground(
            store=self.store,
            reach=self.tools.reach,
            node=self.tools.node,
            directory=self.directory,
            foretell=self.fleet.foretell,
            needs=self.tools.needs,
            memory=self.fleet.memory(),
            runners=self.fleet.views(),
        )
        return plan_reply(await plan(ground, self.reconciler.entries, generations, await generations.judge(reading)))

    def manifests(self) -> set[str]:
        """The declared names that have a composition in the store."""
        return {model.name.model for model in self.store.models() if model.name.is_declared}
