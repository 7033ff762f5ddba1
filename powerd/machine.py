"""What is installed and how this machine is set up, as far as files tell: the engine, drivers, limits, who may what."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

ENGINE = "llama-cpp-python"


@functools.cache
def engine_version() -> str:
    """The version of the inference engine as its package and the runners state it; "" when it is not installed."""
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None or not spec.submodule_search_locations:
        return ""
    found = re.search(r'__version__ = "([^"]+)"', _text(Path(spec.submodule_search_locations[0], "__init__.py")))
    return found[1] if found else "unknown"


def engine() -> str:
    """The inference engine with its version, as runners name it; "" without one. Imports nothing of it."""
    version = engine_version()
    return version and f"llama.cpp via {ENGINE} {version}"


def hindrance(path: Path, uid: int, groups: Collection[int], need: int) -> tuple[Path, str] | None:
    """The first element of `path` that keeps a user from it, and how; None when nothing does.

    `need` are the os.R_OK, W_OK and X_OK wanted of it; every directory above must be enterable, and where it does not
    exist and is to be written, the last directory that exists must let it be made. Access lists are not read.
    """
    last = Path("/")
    for element in [*reversed(path.parents), path]:
        if not _exists(element):
            made = not need & os.W_OK or may(last, uid, groups, os.W_OK | os.X_OK)
            return None if made else (last, "cannot be written")
        wanted = need if element == path else os.X_OK
        if not may(element, uid, groups, wanted):
            return element, "cannot be " + " and ".join(_words(wanted))
        last = element
    return None


def _words(need: int) -> Iterator[str]:
    for bit, word in ((os.R_OK, "read"), (os.W_OK, "written"), (os.X_OK, "entered")):
        if need & bit:
            yield word


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


def may(path: Path, uid: int, groups: Collection[int], need: int) -> bool:
    """Whether mode, owner and group let a user do what is needed."""
    if uid == 0:
        return True
    try:
        status = path.stat()
    except OSError:
        return False
    shift = 6 if status.st_uid == uid else 3 if status.st_gid in groups else 0
    return (stat.S_IMODE(status.st_mode) >> shift) & need == need


def holder(port: int, proc: Path = Path("/proc")) -> str:
    """The program that listens on a TCP port, as `name (pid 12)`; "" where that cannot be told."""
    inodes = {inode for table in ("tcp", "tcp6") for inode in _listening(proc / "net" / table, port)}
    for directory in proc.glob("[0-9]*"):
        if inodes and _has_open(directory, inodes):
            return f"{_text(directory / 'comm').strip() or 'a program'} (pid {directory.name})"
    return ""


def _listening(table: Path, port: int) -> Iterator[str]:
    for line in _text(table).splitlines()[1:]:
        words = line.split()
        if len(words) > 9 and words[3] == "0A" and words[1].rpartition(":")[2] == f"{port:04X}":
            yield words[9]


def _has_open(process: Path, inodes: Collection[str]) -> bool:
    wanted = {f"socket:[{inode}]" for inode in inodes}
    try:
        open_files = list((process / "fd").iterdir())
    except OSError:
        return False
    return any(_link(file) in wanted for file in open_files)


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


def drivers(root: Path = Path("/")) -> list[str]:
    """Drivers of accelerators whose device files are here, each as a phrase."""
    found = []
    if (root / "dev/nvidiactl").exists() or list(root.glob("dev/nvidia[0-9]*")):
        words = _text(root / "proc/driver/nvidia/version").split()
        version = next((word for word in words if word[:1].isdigit()), "")
        found.append(f"NVIDIA driver {version}".strip())
    if (root / "dev/kfd").exists():
        found.append("AMD driver (ROCm)")
    if list(root.glob("dev/dri/renderD*")):
        found.append("DRM render nodes")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
