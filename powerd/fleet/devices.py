"""The devices of this machine and the memory each may give out (reads the system)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: The part of the memory available at start that runners may have when no budget is set.
SHARE = 0.9


@dataclass(frozen=True, slots=True)
class Device:
    """One place weights can live."""

    id: str
    budget: int  # bytes


def devices(budget: int | None = None, root: Path = Path("/")) -> list[Device]:
    """The devices here, with `budget` bytes for the CPU, or 90 % of what is available; /proc and /sys lie in `root`."""
    return [Device("cpu", int(available(root) * SHARE) if budget is None else budget)]


def available(root: Path = Path("/")) -> int:
    """Bytes we and our children can still take: the machine's free memory, within every cgroup limit above us."""
    free = _meminfo(root).get("MemAvailable", 0) or _physical()
    return max(0, min([free, *_cgroup_room(root)]))


def oom_kills(root: Path = Path("/")) -> int:
    """How often the kernel has killed a process of our cgroup for memory; 0 where it does not say."""
    for directory in _cgroups(root, "", "cgroup"):
        for line in _text(directory / "memory.events").splitlines():
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
