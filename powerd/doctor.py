"""`powerd --doctor`: looks at this machine and this installation, and says of each thing whether it is well.

It changes nothing and needs no daemon; with one running it also looks at that one. `powerctl doctor` runs it.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import pwd
import resource
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from powerd import __version__
from powerd.catalog.parse import parse_files
from powerd.catalog.spec import CatalogError
from powerd.config import BadConfig, Config, configure
from powerd.documents import read
from powerd.files import read_text
from powerd.fleet.devices import available
from powerd.hosts import reachable
from powerd.machine import drivers, engine_version, hindrance, holder
from powerd.quantities import show_bytes
from powerd.settings import host_port

#: The account the packaged service runs as.
SERVICE_USER = "power"
GIB = 1 << 30
_LITTLE_DISK = (1 * GIB, 10 * GIB)  # fail, warn
_LITTLE_MEMORY = (GIB // 4, 2 * GIB)
_FEW_FILES = 4096
#: powerd did not exist before.
_EARLIEST = 1_735_689_600.0
_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `advice` says what to do where it is not well."""

    level: Literal["ok", "warn", "fail"]
    subject: str
    message: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """What the examination is about."""

    config: Config
    user: str
    uid: int  # whom powerd runs as, or would
    groups: tuple[int, ...]
    status: Mapping[str, Any] | None  # of the running daemon
    silence: str = ""  # why there is no status


def doctor(flags: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Examine, print, and return 1 when something must be done, else 0."""
    try:
        config = configure(flags, environ)
    except BadConfig as error:
        findings = [Finding("fail", "configuration", problem, "mend powerd.yaml") for problem in error.problems]
    else:
        findings = examine(_chart(config))
    return report(findings, as_json=flags.json)


def report(findings: Sequence[Finding], *, as_json: bool) -> int:
    """Print the findings; 1 when one of them fails."""
    failed = any(finding.level == "fail" for finding in findings)
    if as_json:
        rows = [asdict(finding) for finding in findings]
        sys.stdout.write(json.dumps({"well": not failed, "findings": rows}, indent=2) + "\n")
        return int(failed)
    width = max(len(finding.subject) for finding in findings)
    for finding in findings:
        sys.stdout.write(f"{finding.level:<4}  {finding.subject:<{width}}  {finding.message}\n")
        if finding.advice:
            sys.stdout.write(f"      {'':<{width}}  -> {finding.advice}\n")
    return int(failed)


def examine(chart: Chart) -> list[Finding]:
    """Every finding, in the order in which one would mend them."""
    checks: tuple[Callable[[Chart], Iterator[Finding]], ...] = (
        _versions,
        _engine,
        _declarations,
        _permissions,
        _daemon,
        _port,
        _devices,
        _disk,
        _memory,
        _limits,
        _clock,
    )
    return [finding for check in checks for finding in check(chart)]


def _chart(config: Config) -> Chart:
    status: Mapping[str, Any] | None = None
    silence = ""
    try:
        status = _ask(config.paths.socket)
    except (OSError, ValueError, http.client.HTTPException) as error:
        silence = error.strerror or str(error) if isinstance(error, OSError) else f"it does not speak powerd's {error}"
    uid = _uid(status)
    user = _name(uid)
    groups = tuple(os.getgrouplist(user, pwd.getpwnam(user).pw_gid)) if not user.isdigit() else ()
    return Chart(config, user, uid, groups, status, silence)


def _uid(status: Mapping[str, Any] | None) -> int:
    """Whom powerd runs as: the running one's user, else the service's where root asks, else ours."""
    if status is not None:
        try:
            return Path(f"/proc/{status['node']['pid']}").stat().st_uid
        except OSError:
            return os.geteuid()
    if os.geteuid() == 0:
        try:
            return pwd.getpwnam(SERVICE_USER).pw_uid
        except KeyError:
            return 0
    return os.geteuid()


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_SECONDS)
        self.sock.connect(str(self._path))


def _ask(path: Path) -> Mapping[str, Any]:
    """The running daemon's status. Raises OSError, HTTPException or ValueError."""
    connection = _Connection(path)
    try:
        connection.request("GET", "/v1/status")
        status: Mapping[str, Any] = json.loads(connection.getresponse().read())
        status["node"]["pid"]  # another program's answer has none
    except (KeyError, TypeError) as error:
        raise ValueError("protocol") from error
    finally:
        connection.close()
    return status


# ---------------------------------------------------------------- what is installed


def _versions(chart: Chart) -> Iterator[Finding]:
    yield Finding("ok", "powerd", f"{__version__} on Python {platform.python_version()}, {platform.platform()}")
    if chart.status is not None and (running := chart.status["node"]["version"]) != __version__:
        yield Finding("warn", "powerd", f"the daemon that runs is {running}", "restart it: systemctl restart powerd")


def _engine(chart: Chart) -> Iterator[Finding]:
    if version := engine_version():
        yield Finding("ok", "engine", f"llama-cpp-python {version}")
    else:
        advice = "pip install 'powerd[llama]'; the operations page has the lines for CUDA, Metal, Vulkan and ROCm"
        yield Finding("fail", "engine", "llama-cpp-python is not installed: nothing can be loaded", advice)


def _declarations(chart: Chart) -> Iterator[Finding]:
    paths = chart.config.paths
    given = "" if paths.config.exists() else " (not there: defaults)"
    yield Finding("ok", "powerd.yaml", f"{paths.config}{given}")
    reading = read(paths.models)
    if reading.problem:
        yield Finding("fail", "models.yaml", reading.problem, "mend it; what ran before goes on until then")
        return
    if not reading.documents:
        yield Finding("ok", "models.yaml", f"{paths.models} (not there: installed models are served on demand)")
        return
    try:
        catalog = parse_files(reading.documents, file=str(paths.models), read_file=read_text)
    except CatalogError as error:
        for problem in error.problems:
            yield Finding("fail", "models.yaml", str(problem), "mend it; what ran before goes on until then")
        return
    yield Finding("ok", "models.yaml", f"{paths.models} declares {len(catalog.models)} models")
    for warning in catalog.warnings:
        yield Finding("warn", "models.yaml", str(warning))


# ---------------------------------------------------------------- who may what


def _permissions(chart: Chart) -> Iterator[Finding]:
    paths = chart.config.paths
    wanted = (
        ("powerd.yaml", paths.config, os.R_OK),
        ("models.yaml", paths.models, os.R_OK),
        ("state", paths.state, os.R_OK | os.W_OK | os.X_OK),
        ("store", paths.store, os.R_OK | os.W_OK | os.X_OK),
        ("socket directory", paths.socket.parent, os.W_OK | os.X_OK),
    )
    bad = False
    for subject, path, need in wanted:
        found = hindrance(path, chart.uid, chart.groups, need)
        if found is not None:
            bad = True
            place, how = found
            yield Finding("fail", subject, f"{place} {how} by {chart.user} (needed for {path})", _remedy(chart, place))
    if not bad:
        yield Finding("ok", "permissions", f"{chart.user} can read the files and write {paths.state}, {paths.store}")


def _remedy(chart: Chart, place: Path) -> str:
    if place in {chart.config.paths.state, chart.config.paths.store, chart.config.paths.socket.parent}:
        return f"sudo chown -R {chart.user} {place}"
    return f"sudo chmod {'a+rx' if place.is_dir() else 'a+r'} {place}"


def _daemon(chart: Chart) -> Iterator[Finding]:
    path = chart.config.paths.socket
    if chart.status is None:
        yield Finding(
            "fail",
            "daemon",
            f"nobody answers on {path} ({chart.silence})",
            "start it (sudo systemctl start powerd, or powerd), or name its socket with --socket",
        )
        return
    node = chart.status["node"]
    yield Finding("ok", "daemon", f"pid {node['pid']} as {chart.user} answers on {path}")
    for condition in chart.status["conditions"]:
        if condition["status"] == "False":
            message = f"{condition['type']}: {condition.get('reason', '')}: {condition.get('message', '')}"
            yield Finding("warn", "condition", message, "powerctl status shows what is not as declared")
    for failed in chart.status.get("failures", []):
        yield Finding("warn", "load", f"{failed['model']}: {failed['reason']}", f"powerctl why {failed['model']}")


def _port(chart: Chart) -> Iterator[Finding]:
    if chart.status is not None:
        listen = str(chart.status["node"]["listen"])
        if _connects(*host_port(listen)):
            yield Finding("ok", "port", f"powerd listens on {listen}")
        else:
            yield Finding("fail", "port", f"powerd says it listens on {listen}, and nobody answers there")
        return
    host, port = host_port(chart.config.settings.listen)
    if not port or not _connects(host, port):
        yield Finding("ok", "port", f"{host}:{port} is free")
        return
    who = holder(port) or "a program of another user"
    advice = "stop it (sudo systemctl stop ollama, if it is Ollama), or choose another `listen:` in powerd.yaml"
    yield Finding("fail", "port", f"{host}:{port} is held by {who}", advice)


def _connects(host: str, port: int) -> bool:
    try:
        with socket.create_connection((reachable(host), port), _SECONDS):
            return True
    except OSError:
        return False


# ---------------------------------------------------------------- what the machine has


def _devices(chart: Chart) -> Iterator[Finding]:
    here = drivers()
    told = (chart.status or {}).get("devices", [])
    gpus = [device["id"] for device in told if device.get("kind") == "gpu"]
    if gpus:
        yield Finding("ok", "devices", f"the engine offers {', '.join(gpus)} ({', '.join(here) or 'no driver seen'})")
    elif here and told:
        advice = "build the engine for it: the operations page has the lines; then restart powerd"
        yield Finding("warn", "devices", f"{', '.join(here)}, but the engine offers the processor only", advice)
    else:
        yield Finding("ok", "devices", ", ".join(here) or "no accelerator: models run on the processor")


def _disk(chart: Chart) -> Iterator[Finding]:
    place = chart.config.paths.store
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    message = f"{show_bytes(free)} free on {place}"
    advice = "make room (powerctl df, powerctl gc), or move the store with `store.path:` in powerd.yaml"
    yield _little("disk", free, _LITTLE_DISK, message, advice)


def _memory(chart: Chart) -> Iterator[Finding]:
    room = available()
    advice = "raise the limit of the service (MemoryMax=) or end other programs"
    yield _little("memory", room, _LITTLE_MEMORY, f"{show_bytes(room)} available within every cgroup limit", advice)


def _little(subject: str, amount: int, limits: tuple[int, int], message: str, advice: str) -> Finding:
    least, little = limits
    if amount >= little:
        return Finding("ok", subject, message)
    return Finding("fail" if amount < least else "warn", subject, message, advice)


def _limits(chart: Chart) -> Iterator[Finding]:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if chart.status is None and 0 <= soft < _FEW_FILES:
        yield Finding("warn", "limits", f"{soft} open files for a process started here", f"ulimit -n {_FEW_FILES}")
    else:
        yield Finding("ok", "limits", f"{'no limit of' if soft < 0 else soft} open files for a process started here")


def _clock(chart: Chart) -> Iterator[Finding]:
    now = time.time()
    shown = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(now))
    generations = chart.config.paths.state / "generations"
    try:
        newest = max((path.stat().st_mtime for path in generations.iterdir()), default=0.0)
    except OSError:
        newest = 0.0
    advice = "set the clock (timedatectl set-ntp true); certificates and expiry times depend on it"
    if now < _EARLIEST:
        yield Finding("fail", "clock", f"it is {shown}, before powerd existed", advice)
    elif newest > now + 60:
        yield Finding("warn", "clock", f"it is {shown}, and the last generation was accepted after that", advice)
    else:
        yield Finding("ok", "clock", shown)
