"""Readiness: whether requests should come here, and if not, why not, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from powerd.reconcile.entry import Entry
from powerd.reconcile.health.canary import Canary
from powerd.reconcile.health.judging import Judging


class Readiness:
    """What `/readyz` and the service manager hear."""

    def __init__(
        self,
        entries: Mapping[str, Entry],
        judging: Judging,
        canary: Canary,
        when: Literal["listening", "pinned", "all"],
    ) -> None:
        """`when`: which declared models must be ready besides: none, the pinned ones, or all of `state: loaded`."""
        self._entries = entries
        self._judging = judging
        self._canary = canary
        self._when = when

    async def fresh(self) -> None:
        """Find out how things stand at this moment; takes as long as a late canary at most."""
        await self._canary.fresh()
        self._judging.refresh()

    def reasons(self) -> list[str]:
        """Why not; empty when ready. A loaded model that does not answer is a reason, whatever is waited for."""
        reasons = self._canary.reasons()
        for name, entry in self._entries.items():
            ready = entry.conditions.get("Ready")
            if self._counts(entry) and (ready is None or ready.status != "True"):
                known = ready is not None and ready.reason == "CanaryFailed"
                if not known:
                    why = f": {ready.message}" if ready is not None and ready.message else ""
                    reasons.append(f"model '{name}' is declared loaded and is not ready{why}")
        return reasons

    def _counts(self, entry: Entry) -> bool:
        if self._when == "listening" or entry.last.state != "loaded":
            return False
        return self._when == "all" or entry.offer is None or entry.offer.pinned
