"""Footprints: what deployments were measured or probed to hold, remembered over restarts (reads and writes its file).

The file is a memory, not a record: it is bounded, the least used go first, and one that cannot be read is begun anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec
import structlog

from powerd.files import regular
from powerd.fleet import budget
from powerd.fleet.budget import Estimate, estimate
from powerd.fleet.devices import Device
from powerd.jobs import Probed
from powerd.protocol import Deployment, ReadBack

#: Deployments remembered.
REMEMBERED = 1000
#: A measurement this close to the one known, as a part of it, is not worth writing down.
_CLOSE = 0.02
_MAX_FILE = 4 << 20

_log = structlog.get_logger("powerd.footprints")


class _Footprint(msgspec.Struct, frozen=True):
    """What one deployment holds. Sizes are bytes."""

    source: Literal["probed", "measured"]
    weights: int
    cells: int
    compute: int
    by_device: dict[str, int]
    error: int | None = None  # measured minus foretold before it


class _Memory(msgspec.Struct):
    """The file."""

    idle: dict[str, int] = {}  # by engine: a process of it without a model
    footprints: dict[str, _Footprint] = {}  # the least used first


class Footprints:
    """The one place that says what a deployment needs: measured before probed before foretold from its header.

    `engine` names the engine with its version; what another one was measured at says nothing of this one.
    """

    def __init__(self, path: Path, engine: str, devices: Callable[[], Sequence[Device]] = tuple) -> None:
        self._devices = devices
        self._path = path
        self._engine = engine
        self._memory = _read(path)
        self._unsaved = False

    def need(self, deployment: Deployment) -> Estimate:
        """What this deployment needs, as well as is known."""
        known = self._known(deployment)
        if known is None:
            return self._header(deployment)
        return Estimate(known.weights, known.cells, known.compute, known.by_device, known.source)

    def source(self, deployment: Deployment) -> Literal["header", "probed", "measured"]:
        """How well it is known."""
        known = self._known(deployment)
        return "header" if known is None else known.source

    def error(self, deployment: Deployment) -> int | None:
        """Bytes measured minus bytes foretold before the first load; None before that."""
        known = self._known(deployment)
        return known.error if known is not None else None

    def measured(self, deployment: Deployment, have: ReadBack) -> None:
        """A runner of this deployment is ready, and holds this."""
        found = budget.measured(deployment, self._devices(), have)
        if found is None:
            return
        known = self._known(deployment)
        if known is not None and known.source == "measured":
            if abs(found.total - sum(known.by_device.values())) <= _CLOSE * found.total:
                return
            error = known.error
        else:
            error = found.total - self.need(deployment).total
        self._keep(deployment, found, "measured", error)
        self.save()

    def probed(self, deployment: Deployment, found: Probed) -> None:
        """A dry load of this deployment told this. Written with the next measurement, or when the daemon stops."""
        self._memory.idle[self._engine] = found.idle
        if self.source(deployment) != "measured":
            self._keep(deployment, budget.probed(deployment, self._devices(), found), "probed", None)
            self._unsaved = True

    def save(self) -> None:
        """Write the file, whole or not at all. A disk that refuses costs what was learned, nothing else."""
        partial = self._path.with_suffix(".partial")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(msgspec.json.encode(self._memory))
            partial.replace(self._path)
        except OSError as error:
            _log.warning("footprints are not kept", path=str(self._path), error=error.strerror)
        self._unsaved = False

    def close(self) -> None:
        """Write what was not written yet."""
        if self._unsaved:
            self.save()

    def _header(self, deployment: Deployment) -> Estimate:
        return estimate(deployment, self._devices(), self._memory.idle.get(self._engine, 0))

    def _known(self, deployment: Deployment) -> _Footprint | None:
        return self._memory.footprints.get(self._key(deployment))

    def _keep(
        self, deployment: Deployment, found: Estimate, source: Literal["probed", "measured"], error: int | None
    ) -> None:
        kept = self._memory.footprints
        key = self._key(deployment)
        kept.pop(key, None)
        kept[key] = _Footprint(source, found.weights, found.cells, found.compute, dict(found.by_device), error)
        while len(kept) > REMEMBERED:
            del kept[next(iter(kept))]

    def _key(self, deployment: Deployment) -> str:
        """All that changes what a runner holds."""
        place = deployment.placement
        where = [device.id for device in self._devices() if device.kind == "gpu"]
        parts: Sequence[object] = (
            self._engine,
            deployment.weights_digest,
            deployment.context,
            deployment.parallel,
            deployment.kv_cache,
            deployment.gpu_layers,
            deployment.batch,
            deployment.load_mode,
            deployment.flash_attention,
            ",".join(place.devices or where),
            ",".join(map(str, place.split)),
            place.mode,
            place.main,
            *(digest for digest, _, _ in deployment.adapters),
        )
        return "/".join(map(str, parts))


def _read(path: Path) -> _Memory:
    try:
        with regular(path) as file:
            memory = msgspec.json.decode(file.read(_MAX_FILE), type=_Memory)
    except FileNotFoundError:
        return _Memory({}, {})
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        _log.warning("footprints begin anew: the file cannot be read", path=str(path), error=str(error))
        return _Memory({}, {})
    if not _sound(memory.footprints):
        _log.warning("footprints begin anew: the file holds impossible sizes", path=str(path))
        return _Memory({}, {})
    return memory


def _sound(footprints: Mapping[str, _Footprint]) -> bool:
    return all(size >= 0 for kept in footprints.values() for size in kept.by_device.values())
