"""This process's memory: how much it has, and having it for certain."""

from __future__ import annotations

import ctypes
import os
import resource
from contextlib import suppress
from pathlib import Path

_M_PERTURB = -6
#: glibc fills what it hands out with the complement of this: zeros.
_ZEROS = 0xFF


def resident() -> int:
    """Bytes of this process in memory; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGESIZE")


def proportional() -> int:
    """Bytes this process is the cause of, shared pages counted by part; 0 where the system does not say."""
    try:
        text = Path("/proc/self/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0
    found = [line.split() for line in text.splitlines() if line.startswith("Pss:")]
    return int(found[0][1]) * 1024 if found else 0


def may_lock_all() -> None:
    """Lift this process's limit on locked memory as far as it is allowed to."""
    with suppress(OSError, ValueError):
        _, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (hard, hard))


def lock_limit() -> str:
    """The limit on locked memory, for people."""
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return "unlimited" if soft == resource.RLIM_INFINITY else f"{soft} bytes"


class Commitment:
    """While it is on, memory that is allocated is also there.

    llama.cpp allocates its compute buffers for the fullest batch over the fullest cache and touches a small part of
    them at first: without this a runner grows under load, until the machine has no memory left for what was admitted.
    Works with glibc; elsewhere the buffers stay lazy.
    """

    def __init__(self) -> None:
        self._on = False
        try:
            library = ctypes.CDLL(None)
            self._mallopt = library.mallopt if hasattr(library, "gnu_get_libc_version") else None
        except (OSError, AttributeError):
            self._mallopt = None

    def switch(self, on: bool) -> None:
        """Begin or end."""
        if self._mallopt is not None and on != self._on:
            self._mallopt(_M_PERTURB, _ZEROS if on else 0)
            self._on = on
