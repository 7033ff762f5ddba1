"""A machine with a real systemd: an overlay of this one's root, booted by systemd-nspawn in under a second.

Everything written goes to a tmpfs. The machine has a network of its own with nothing but a loopback. What it makes of
mounts, processes and cgroups is gone when the context is left, also when booting fails.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

_CLONE_NEWNET = 0x40000000
_HIERARCHIES = ("systemd", "unified", "memory", "pids", "cpu", "cpuacct")  # of cgroup v1, as far as they are there
_ENVIRON = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root"}
#: Units of this machine that have no business there: they wait for a network, run what was missed, or empty /tmp.
_MASKED = (
    "etc/systemd/system/timers.target",
    "etc/systemd/system/systemd-networkd-wait-online.service",
    "etc/systemd/system/NetworkManager-wait-online.service",
    "etc/systemd/system/ifupdown-wait-online.service",
    "etc/tmpfiles.d/tmp.conf",
)
_TARGET = """\
[Unit]
Requires=basic.target dbus.service
After=basic.target dbus.service
AllowIsolate=yes
"""


class Machine:
    """A booted machine. `root` is its file system as its processes see it; `tree` is the same without /run and /dev."""

    def __init__(self, leader: int, tree: Path) -> None:
        self.leader = leader
        self.tree = tree
        self.root = Path(f"/proc/{leader}/root")

    def path(self, inside: str) -> Path:
        """Where a path of the machine is for us."""
        return self.root / inside.lstrip("/")

    def run(self, *command: str, timeout: float = 60, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command in it as root, whatever its exit status."""
        return subprocess.run(
            ["nsenter", "-t", str(self.leader), "-a", "--", *command],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=_ENVIRON,
            check=False,
        )

    def ok(self, *command: str, timeout: float = 60) -> str:
        """Run a command that must succeed; returns what it printed."""
        done = self.run(*command, timeout=timeout)
        assert done.returncode == 0, f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    @contextlib.contextmanager
    def network(self) -> Iterator[None]:
        """This thread, and those it starts, use the machine's network instead of ours."""
        with open("/proc/thread-self/ns/net") as ours, open(f"/proc/{self.leader}/ns/net") as theirs:
            _enter(theirs.fileno())
            try:
                yield
            finally:
                _enter(ours.fileno())


def _enter(namespace: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(namespace, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


@contextlib.contextmanager
def overlay() -> Iterator[Path]:
    """This machine's root as a tree that may be written: changes are in memory, and lost at the end."""
    place = Path("/var/tmp", f"powerd-test-{secrets.token_hex(4)}")  # also the machine's name: letters, digits, dashes
    place.mkdir(mode=0o700)
    with contextlib.ExitStack() as undo:
        undo.callback(shutil.rmtree, place, ignore_errors=True)
        changes, root = place / "changes", place / "root"
        changes.mkdir()
        root.mkdir()
        _mount(undo, changes, "-t", "tmpfs", "-o", "size=3g,mode=755", "powerd-test")
        (changes / "upper").mkdir()
        (changes / "work").mkdir()
        layers = f"lowerdir=/,upperdir={changes}/upper,workdir={changes}/work"
        _mount(undo, root, "-t", "overlay", "-o", layers, "powerd-test")
        yield root


def _mount(undo: contextlib.ExitStack, where: Path, *arguments: str) -> None:
    subprocess.run(["mount", *arguments, where], check=True)
    undo.callback(lambda: subprocess.run(["umount", "--lazy", where], check=True))


@contextlib.contextmanager
def booted(root: Path, *binds: str) -> Iterator[Machine]:
    """Boot the tree, with `binds` (OURS:THEIRS) of ours to be read in it. Yields when systemd is up."""
    for unit in _MASKED:
        (root / unit).unlink(missing_ok=True)
        (root / unit).symlink_to("/dev/null")
    (root / "etc/systemd/system/powerd-test.target").write_text(_TARGET)
    (root / "etc/systemd/system/default.target").unlink(missing_ok=True)
    (root / "etc/systemd/system/default.target").symlink_to("powerd-test.target")
    (root / "etc/machine-id").write_text("")
    console = root.parent / "console"
    with _cgroups(root.parent.name) as cgroups, console.open("wb") as log:
        nspawn = _spawn(root, binds, cgroups, log.fileno())
        try:
            machine = Machine(_leader(nspawn, root, console), root)
            state = machine.run("systemctl", "is-system-running", "--wait").stdout.strip()
            assert state in {"running", "degraded"}, f"it is {state}\n{console.read_text(errors='replace')}"
            _let_limits_work(machine)
            yield machine
            machine.run("systemctl", "poweroff")
            with contextlib.suppress(subprocess.TimeoutExpired):
                nspawn.wait(15)
        finally:
            _end(nspawn)


def _spawn(root: Path, binds: Sequence[str], cgroups: list[Path], log: int) -> subprocess.Popen[bytes]:
    environ = {**_ENVIRON, "SYSTEMD_NSPAWN_TMPFS_TMP": "0"}
    join = "".join(f"echo $$ >{cgroup}/cgroup.procs; " for cgroup in cgroups)
    command = [
        *("systemd-nspawn", "-q", "-D", str(root), "-M", root.parent.name, "--register=no"),
        *([] if Path("/run/systemd/system").exists() else ["--keep-unit"]),
        *("--private-network", "--boot", "--console=pipe", *(f"--bind-ro={bind}" for bind in binds)),
    ]
    return subprocess.Popen(
        ["sh", "-c", join + 'exec "$@"', "sh", *command],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=environ,
        start_new_session=True,  # an interrupt at the terminal is for us, who then end the machine
    )


def _end(nspawn: subprocess.Popen[bytes]) -> None:
    """Where it has not ended by itself: with its first process a machine loses all the others."""
    if nspawn.poll() is None:
        for child in psutil.Process(nspawn.pid).children():
            child.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            nspawn.wait(10)
        nspawn.kill()
    nspawn.wait()


def _leader(nspawn: subprocess.Popen[bytes], tree: Path, console: Path) -> int:
    """The machine's first process, once systemd answers in it."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and nspawn.poll() is None:
        for child in psutil.Process(nspawn.pid).children():
            if Machine(child.pid, tree).run("systemctl", "show", "-P", "Version").returncode == 0:
                return int(child.pid)
        time.sleep(0.05)
    raise AssertionError(f"systemd did not come up\n{console.read_text(errors='replace')}")


def _let_limits_work(machine: Machine) -> None:
    """On cgroup v1 nspawn mounts the controllers read-only, and systemd passes over MemoryMax without a word."""
    if Path("/sys/fs/cgroup/memory").exists():
        for controller in ("memory", "pids", "cpu", "cpuacct"):
            where = f"/sys/fs/cgroup/{controller}"
            options = "remount,bind,rw,nosuid,nodev,noexec"
            subprocess.run(
                ["nsenter", "-t", str(machine.leader), "-m", "--", "mount", "-o", options, where], check=True
            )
        machine.ok("systemctl", "daemon-reexec")


@contextlib.contextmanager
def _cgroups(name: str) -> Iterator[list[Path]]:
    """A cgroup of its own in every v1 hierarchy, so that all the machine makes can be found and removed."""
    made = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, ours = line.split(":", 2)
        kind = controllers.removeprefix("name=") or "unified"
        hierarchy = Path("/sys/fs/cgroup", kind)
        if kind in _HIERARCHIES and hierarchy.is_dir():
            inside = hierarchy / ours.lstrip("/")
            made.append((inside if inside.is_dir() else hierarchy) / name)
    for cgroup in made:
        cgroup.mkdir()
    try:
        yield made
    finally:
        for cgroup in made:
            _remove(cgroup)


def _remove(cgroup: Path) -> None:
    deadline = time.monotonic() + 5  # the last process may be about to go
    while cgroup.is_dir():
        try:
            for directory, _, _ in os.walk(cgroup, topdown=False):
                os.rmdir(directory)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
