"""Device care: whether the accelerators that were there are still there, for DevicesHealthy and for the fleet.

A GPU can go away under a running daemon (a driver that fell over, a machine that slept, rights that were taken) and
come back. The engine is asked by its probe helper every minute and after a sleep; what is gone gets no more loads, and
nothing is moved to the CPU in silence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from powerd.fleet.devices import Device
from powerd.jobs import Accelerator, Probed, ProbeFailed
from powerd.quantities import show_bytes
from powerd.reconcile.health.bulletin import Bulletin

LOOK_SECONDS = 60.0


class DeviceCare:
    """Owns what is known of the accelerators. `changed(answer)` is called when the engine lists other ones."""

    def __init__(
        self,
        ask: Callable[[], Awaitable[Probed | ProbeFailed]],
        bulletin: Bulletin,
        changed: Callable[[Probed], None],
        declared: Iterable[str] = (),
    ) -> None:
        """`declared`: the accelerators that powerd.yaml names."""
        self._ask = ask
        self._bulletin = bulletin
        self._changed = changed
        self._present: Sequence[Accelerator | Device] = ()
        self._expected = dict.fromkeys(declared, "")  # names, by id where one was seen
        self._failed = ""
        self._now = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self, present: Sequence[Device], *, driver: bool = False) -> None:
        """Begin to look, where there is or should be something to look at; `present` is what the engine has listed.

        `driver`: one can be seen, so that devices may come up which the engine did not list yet.
        """
        self._expect(present)
        if self._expected or driver:
            self._task = asyncio.create_task(self._look_for_ever(), name="devices")

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def resumed(self) -> None:
        """The machine slept: look at once."""
        self._now.set()

    def state(self) -> tuple[str, str]:
        """What is wrong ("" = nothing), and what there is, as sentences."""
        listed = ", ".join(["cpu", *(f"{each.id} ({each.name}, {show_bytes(each.total)})" for each in self._present)])
        if self._failed:
            return f"the engine could not say which devices there are: {self._failed}", listed
        names = {name for each in self._present for name in (each.id, each.uuid, each.pci)}
        gone = [f"{name} ({what})" if what else name for name, what in self._expected.items() if name not in names]
        return f"{', '.join(gone)} gone; the engine lists {listed}" if gone else "", listed

    def _expect(self, present: Sequence[Accelerator | Device]) -> None:
        for each in present:
            for name in (each.uuid, each.pci):
                self._expected.pop(name, None)
            self._expected[each.id] = each.name
        self._present = present

    async def look(self) -> None:
        """Ask once; tell of a change."""
        before = self.state()
        answer = await self._ask()
        if isinstance(answer, ProbeFailed):
            self._failed = answer.reason
        else:
            self._failed = ""
            same = {each.id for each in answer.accelerators} == {each.id for each in self._present}
            self._expect(answer.accelerators)
            if not same:
                self._changed(answer)
        after = self.state()
        if before[0] != after[0]:
            reason = "DeviceTrouble" if after[0] else "DevicesBack"
            self._bulletin.record("device", "", reason, f"{before[0] or 'all there'} -> {after[0] or after[1]}")

    async def _look_for_ever(self) -> None:
        while True:
            self._now.clear()
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._now.wait()
            except TimeoutError:
                pass
            await self.look()
