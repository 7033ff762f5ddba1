"""Powerd as systemd runs it: the installed service in the machine, with its files, its journal and its sockets."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.systemd.machine import Machine
from tests.wire.powerd_process import Powerd

_DROP_INS = "/etc/systemd/system/powerd.service.d"
URL = "http://127.0.0.1:11434"


class Unit(Powerd):
    """`powerd.service`. What the wire tests ask of a process they started, these ask of the service."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        machine.ok("install", "-d", "-m", "755", "/etc/power")
        super().__init__(machine.path("/etc/power"))
        self.socket = machine.path("/run/power/control.sock")
        self.url = URL
        self._since = machine.ok("journalctl", "-n0", "--show-cursor").rpartition(": ")[2]

    # ------------------------------------------------------------ what the operator writes

    def settings(self, text: str) -> None:
        """Write powerd.yaml."""
        (self.directory / "powerd.yaml").write_text(text)

    def drop_in(self, name: str, text: str) -> None:
        """Write a drop-in of the unit; an empty one takes it away."""
        path = self.machine.path(f"{_DROP_INS}/{name}.conf")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        self.machine.ok("systemctl", "daemon-reload")

    # ------------------------------------------------------------ systemctl

    def systemctl(self, verb: str, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """`systemctl VERB … powerd`."""
        return self.machine.run("systemctl", verb, *arguments, "powerd", timeout=timeout)

    def start(self) -> None:
        """Start it; must succeed."""
        done = self.systemctl("start")
        assert done.returncode == 0, f"{done.stderr}\n{self.journal()[-3000:]}"

    def show(self, name: str) -> str:
        """One property of the unit."""
        return self.machine.ok("systemctl", "show", "-P", name, "powerd")

    @property
    def main_pid(self) -> int:
        """Of the daemon, as the machine counts; 0 when there is none."""
        return int(self.show("MainPID"))

    def runner_pid(self, model: str) -> int:
        """Of a model's runner, as the machine counts."""
        return next(int(row["pid"]) for row in self.ps() if model in row["names"] or row["model"] == model)

    def kill(self, signal: str, pid: int) -> None:
        """Send a signal to one process of the machine."""
        self.machine.ok("kill", f"-{signal}", str(pid))

    def journal(self, *filters: str) -> str:
        """What it has said since this object was made, without the journal's own fields."""
        return self.machine.ok(
            "journalctl", "-u", "powerd", "-o", "cat", "--no-pager", "--after-cursor", self._since, *filters
        )

    def log(self) -> str:
        """As of a process: here it is the journal."""
        return self.journal()

    def powerctl(
        self, *arguments: str, stdin: str | None = None, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run the installed powerctl in the machine, as root."""
        return self.machine.run("powerctl", *arguments, stdin=stdin or "", timeout=timeout)

    def events(self, kind: str) -> list[Any]:
        """The recorded events of one kind."""
        return [event for event in self.status()["events"] if event["kind"] == kind]

    # ------------------------------------------------------------ between tests

    def clear(self) -> None:
        """Stop it and take away whatever a test wrote."""
        self.systemctl("stop", timeout=90)
        self.machine.run("systemctl", "reset-failed", "powerd")
        self.machine.ok("sh", "-c", f"rm -rf /etc/power/* /var/lib/power/* {_DROP_INS}")
        self.machine.ok("systemctl", "daemon-reload")

    def until(self, state: str, seconds: float = 15) -> None:
        """Wait for the unit's ActiveState."""
        deadline = time.monotonic() + seconds
        while (now := self.show("ActiveState")) != state:
            assert time.monotonic() < deadline, f"{now}, not {state}, after {seconds} s\n{self.journal()[-3000:]}"
            time.sleep(0.05)


def processes(machine: Machine, user: str = "power") -> list[str]:
    """The command lines of a user's processes in the machine."""
    return machine.run("ps", "-u", user, "-o", "args=").stdout.splitlines()


def lines_of(journal: str) -> list[dict[str, Any]]:
    """A journal of JSON lines, decoded."""
    return [json.loads(line) for line in journal.splitlines()]


def files(root: Path, *below: str) -> set[str]:
    """Every file and directory below these directories of a tree."""
    return {str(path.relative_to(root)) for start in below for path in (root / start).rglob("*")}
