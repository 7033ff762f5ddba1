"""Survey: the one owner of what devices this machine has, as they were last seen (asks the probe)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import structlog

from powerd.fleet.devices import Device, devices, named
from powerd.fleet.prober import COMMAND, START_SECONDS, ask, drivers
from powerd.jobs import Probe, Probed
from powerd.settings import Settings

_log = structlog.get_logger("powerd.devices")


class Survey:
    """Knows the CPU from the start, and accelerators once it has looked."""

    def __init__(self, settings: Settings, command: Sequence[str] = COMMAND, root: Path = Path("/")) -> None:
        self.devices: tuple[Device, ...] = devices(settings.devices, root=root)
        self.found: Probed | None = None  # the engine's own word, once it was asked
        self._settings = settings
        self._command = command
        self._root = root

    def current(self) -> tuple[Device, ...]:
        """The devices, the CPU first."""
        return self.devices

    async def look(self, seconds: float = START_SECONDS) -> bool:
        """Ask the engine for its devices, where a driver can be seen; whether there are others than before."""
        if not drivers(self._root):
            return False
        answer = await ask(Probe(), seconds, self._command)
        if not isinstance(answer, Probed):
            _log.warning("accelerators are unknown: the CPU serves alone until they are found", reason=answer.reason)
            return False
        return self.take(answer)

    def take(self, answer: Probed) -> bool:
        """Take over what the engine listed; whether there are other devices than before."""
        before, cpu = self.devices, self.devices[0]
        accelerators = devices(self._settings.devices, answer.accelerators, self._settings.gpu_overhead, self._root)
        self.found = answer
        known = {device.id: device for device in before}  # its budget stands: what it has free now is less by our own
        self.devices = (cpu, *(known.get(device.id, device) for device in accelerators[1:]))
        for device in self.devices[1:]:
            _log.info("device", id=device.id, name=device.name, total=device.total, budget=device.budget)
        for name in self.unknown():
            _log.warning("devices: in powerd.yaml names what this machine has not", device=name)
        return self.devices != before

    def unknown(self) -> list[str]:
        """Names under `devices:` that are no device of this machine."""
        there = {device.id for device in self.devices}
        return [name for name in self._settings.devices if named(name, self.devices) not in there]
