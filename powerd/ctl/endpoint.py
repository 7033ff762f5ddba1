"""Where the control socket is looked for, and what to tell a person who cannot reach it."""

from __future__ import annotations

import errno
import grp
import pwd
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

LONGEST = 107  # bytes; the kernel's sun_path less its final zero
SYSTEM = Path("/run/power/control.sock")


def candidates(explicit: str | None, environ: Mapping[str, str], uid: int) -> list[Path]:
    """The paths to try, in order. One that was named (`--socket`, POWER_SOCKET) is the only one."""
    named = explicit or environ.get("POWER_SOCKET")
    if named:
        return [Path(named)]
    state = environ.get("POWER_STATE") or environ.get("POWER_HOME")  # takes the socket along, as for the daemon
    chosen = [Path(state) / "control.sock"] if state else []
    if uid == 0:
        return [*chosen, SYSTEM]
    runtime = environ.get("XDG_RUNTIME_DIR")
    data = Path(environ.get("XDG_DATA_HOME") or Path(environ.get("HOME", "/")) / ".local/share")
    own = [Path(runtime) / "power/control.sock"] if runtime else []
    return [*chosen, *own, data / "power/control.sock", SYSTEM]


def explain(failures: Sequence[tuple[Path, OSError]]) -> str:
    """What was tried, how each try ended, and what to do about it."""
    tried = "".join(f"\n  {path}: {_why(path, error)}" for path, error in failures)
    return f"powerd is not reachable:{tried}\n{_advice(failures)}"


def _why(path: Path, error: OSError) -> str:
    if len(str(path).encode(errors="surrogateescape")) > LONGEST:
        return f"the path is longer than the {LONGEST} bytes a socket's path may have"
    if error.errno == errno.ENOENT or isinstance(error, NotADirectoryError):
        return "there is no socket"
    if isinstance(error, PermissionError):
        return f"permission denied ({_rights(path)})"
    if not _is_socket(path):
        return "this is not a socket"
    if isinstance(error, ConnectionRefusedError):
        return "nobody is listening; powerd has stopped"
    if isinstance(error, TimeoutError | BlockingIOError):
        return "powerd does not accept connections; it is overloaded or stuck"
    return error.strerror or str(error)


def _advice(failures: Sequence[tuple[Path, OSError]]) -> str:
    denied = [path for path, error in failures if isinstance(error, PermissionError)]
    if denied:
        group = _group(denied[0])
        join = f"join the group `{group}` (`sudo usermod -aG {group} $USER`, then log in again), " if group else ""
        return f"To be allowed in, {join}run powerctl as the socket's owner, or use sudo."
    return (
        "Start powerd (`sudo systemctl start powerd`, or `powerd` in another terminal, or `make run` in a checkout), "
        "or name its socket with --socket PATH or POWER_SOCKET."
    )


def _rights(path: Path) -> str:
    """Mode, owner and group of the socket and its directory, as far as they can be seen."""
    seen = []
    for place in (path.parent, path):
        try:
            status = place.stat()
        except OSError:
            continue
        owner, group = _user_name(status.st_uid), _group_name(status.st_gid)
        seen.append(f"{place} has mode {stat.S_IMODE(status.st_mode):04o}, owner {owner}, group {group}")
    return "; ".join(seen) or "its directory cannot be entered"


def _group(path: Path) -> str:
    """The group that would let one in: the directory's. Root's own group is nobody's to join."""
    try:
        status = path.parent.stat()
    except OSError:
        return ""
    return _group_name(status.st_gid) if status.st_gid and status.st_mode & stat.S_IXGRP else ""


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return False


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
