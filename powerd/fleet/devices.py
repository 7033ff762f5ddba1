"""The devices of this machine and the memory each may give out (reads the system)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from powerd.jobs import Accelerator
from powerd.settings import DeviceSettings

#: The part of the memory available at start that runners may have when no budget is set.
SHARE = 0.9
#: The part of an accelerator's memory models may have when no budget is set; the rest is the driver's and the engine's
#: own.
GPU_SHARE = 0.95


@dataclass(frozen=True, slots=True)
class Device:
    """One place weights can live. Sizes are bytes."""

    id: str  # "cpu", or as the engine lists it: CUDA0, Vulkan1, MTL0
    kind: Literal["cpu", "gpu"]
    name: str = ""
    uuid: str = ""
    total: int = 0
    budget: int = 0  # what models may have, the reserve already left out
    reserve: int = 0  # what is kept free
    pci: str = ""


def devices(
    wanted: Mapping[str, DeviceSettings] | None = None,
    accelerators: Sequence[Accelerator] = (),
    overhead: int = 0,
    root: Path = Path("/"),
) -> tuple[Device, ...]:
    """Every device here with its budget: the CPU first, then `accelerators` as the engine lists them.

    `wanted` is `devices:` of powerd.yaml, by id, UUID or PCI id; `overhead` is kept free on every accelerator. Without
    a budget the CPU gives out 90 % of what is available now, and an accelerator what nobody else has taken of it. /proc
    and /sys lie in `root`.
    """
    wanted = wanted or {}
    return (_cpu(wanted.get("cpu", DeviceSettings()), root), *(_gpu(each, wanted, overhead) for each in accelerators))


def named(name: str, devices: Sequence[Device]) -> str:
    """The engine's id for the device somebody calls by that, its UUID or its PCI id; the name itself if there is none.

    PCI ids may leave the domain out where it is 0000.
    """
    sought = name.lower()
    for device in devices:
        if sought in _names(device.id, device.uuid, device.pci):
            return device.id
    return name


def _names(*names: str) -> set[str]:
    known = {name.lower() for name in names if name}
    return known | {name.removeprefix("0000:") for name in known}


def _cpu(wanted: DeviceSettings, root: Path) -> Device:
    room = available(root)
    budget = int(room * SHARE) if wanted.budget is None else wanted.budget
    if wanted.reserve:
        budget = max(0, min(budget, room - wanted.reserve))
    return Device("cpu", "cpu", "host memory", total=room, budget=budget, reserve=wanted.reserve or 0)


def _gpu(found: Accelerator, wanted: Mapping[str, DeviceSettings], overhead: int) -> Device:
    names = _names(found.id, found.uuid, found.pci)
    said = next((each for name, each in wanted.items() if name.lower() in names), DeviceSettings())
    reserve = overhead if said.reserve is None else said.reserve
    room = max(0, min(int(found.total * GPU_SHARE), found.free or found.total) - reserve)
    budget = room if said.budget is None else min(said.budget, max(0, found.total - reserve))
    return Device(found.id, "gpu", found.name, found.uuid, found.total, budget, reserve, found.pci)


def available(root: Path = Path("/")) -> int:
    """Bytes we and our children can still take: the machine's free memory, within every cgroup limit above us."""
    free = _meminfo(root).get("MemAvailable", 0) or _physical()
    return max(0, min([free, *_cgroup_room(root)]))


def oom_kills(root: Path = Path("/")) -> int:
    """How often the kernel has killed a process of our cgroup for memory; 0 where it does not say."""
    places = [directory / "memory.events" for directory in _cgroups(root, "", "cgroup")]
    places += [directory / "memory.oom_control" for directory in _cgroups(root, "memory", "cgroup/memory")]  # v1
    for place in places:
        for line in _text(place).splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return 0


def _physical() -> int:
    """Total memory, for systems that do not tell what is available."""
    if sys.platform == "darwin":
        answer = subprocess.run(["/usr/sbin/sysctl", "-n", "hw.memsize"], capture_output=True, check=False, timeout=5)
        if answer.returncode == 0 and answer.stdout.strip().isdigit():
            return int(answer.stdout)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _meminfo(root: Path) -> dict[str, int]:
    sizes = {}
    for line in _text(root / "proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            sizes[name] = int(words[0]) * 1024
    return sizes


def _cgroup_room(root: Path) -> Iterator[int]:
    """What each limit above us leaves (cgroup v2: memory.max, memory.high; v1: memory.limit_in_bytes)."""
    for directory in _cgroups(root, "", "cgroup"):
        used = _number(directory / "memory.current") or 0
        limits = [_number(directory / name) for name in ("memory.max", "memory.high")]
        yield from (limit - used + _reclaimable(directory, "inactive_file") for limit in limits if limit is not None)
    for directory in _cgroups(root, "memory", "cgroup/memory"):
        limit = _number(directory / "memory.limit_in_bytes")
        if limit is not None:
            used = _number(directory / "memory.usage_in_bytes") or 0
            yield limit - used + _reclaimable(directory, "total_inactive_file")


def _cgroups(root: Path, controller: str, mount: str) -> Iterator[Path]:
    """Our cgroup's directory and every one above it. `controller` is empty for the v2 tree."""
    top = root / "sys/fs" / mount
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller in controllers.split(","):
            ours = top / path.lstrip("/")
            yield from (place for place in (ours, *ours.parents) if place == top or top in place.parents)


def _reclaimable(directory: Path, field: str) -> int:
    """Bytes of file cache the kernel gives back before it kills anybody."""
    for line in _text(directory / "memory.stat").splitlines():
        name, _, size = line.partition(" ")
        if name == field and size.isdigit():
            return int(size)
    return 0


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
