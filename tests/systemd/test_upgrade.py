"""Uninstalled, installed again, upgraded while it runs. The last of these tests: the others need what goes here."""

from __future__ import annotations

import pytest

from tests.systemd.machine import Machine
from tests.systemd.needs import service_python
from tests.systemd.unit import Unit

pytestmark = pytest.mark.systemd

DECLARED = "models:\n  demo: {source: 'builtin:demo', keep_alive: 1h}\n"


def test_an_uninstall_leaves_the_operators_files_and_an_upgrade_keeps_serving_until_the_restart(service: Unit) -> None:
    machine = service.machine
    service.declare(DECLARED)
    service.start()
    service.wait("Fits", "demo")
    kept = {path: path.read_bytes() for path in machine.path("/etc/power").glob("*.yaml")}
    in_use = machine.run("sh", "/srv/checkout/.make/uninstall.sh")
    assert (in_use.returncode, in_use.stderr) == (1, "the service is in use; first: systemctl disable --now powerd\n")
    assert machine.run("systemctl", "disable", "--now", "powerd").returncode == 0
    listed = machine.path("/usr/local/lib/powerd/installed").read_text().split()
    placed = [path for path in listed if "powerd" in path] + ["/usr/local/lib/powerd"]
    assert "Left alone: /etc/power" in in_the_machine(machine, "uninstall")
    assert [path for path in placed if machine.run("test", "-e", path).returncode == 0] == []
    assert {path: path.read_bytes() for path in machine.path("/etc/power").glob("*.yaml")} == kept
    assert machine.path("/var/lib/power/models/blobs").is_dir()
    gone = machine.run("sh", "/srv/checkout/.make/uninstall.sh")
    assert gone.returncode == 1
    assert "nothing is installed" in gone.stderr

    machine.ok("sh", "-c", "rm -rf /etc/power/*")
    assert "systemctl enable --now powerd" in in_the_machine(machine, "install")
    assert list(machine.path("/etc/power").iterdir()) == []
    assert machine.ok("systemctl", "daemon-reload") == ""
    service.declare(DECLARED)
    assert machine.run("systemctl", "enable", "--now", "powerd").returncode == 0
    assert service.post("/api/generate", {"model": "demo"}).is_success

    pid = service.main_pid
    machine.path("/usr/local/lib/powerd/old-file").touch()
    assert "/etc/power was left as it is" in in_the_machine(machine, "install")
    assert not machine.path("/usr/local/lib/powerd/old-file").exists()
    assert service.main_pid == pid
    assert service.post("/api/generate", {"model": "demo"}).is_success
    assert service.systemctl("restart").returncode == 0
    assert service.post("/api/generate", {"model": "demo"}).is_success
    assert service.main_pid != pid


def in_the_machine(machine: Machine, target: str) -> str:
    command = ("make", "--no-print-directory", "-C", "/srv/checkout", target, f"PYTHON={service_python()}")
    return machine.ok(*command, timeout=300)
