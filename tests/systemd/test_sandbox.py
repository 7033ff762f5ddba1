"""Inside the sandbox: what is closed, what is open, and that it really pulls, loads and serves there."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import ollama
import pytest

from tests.systemd.registry import HOST, PASSWORD, USER, registry
from tests.systemd.unit import URL, Unit
from tests.wire.test_changes import within

pytestmark = pytest.mark.systemd

DROP_INS = Path(__file__).parent.parent.parent / "systemd" / "drop-ins"
QUESTION = {"model": "mine", "messages": [{"role": "user", "content": "What is 2 + 3?"}], "stream": False}


def test_f28_the_exposure_of_the_running_unit_is_at_most_two(service: Unit) -> None:
    service.start()
    machine = service.machine
    said = machine.ok("systemd-analyze", "security", "--threshold=20", "--no-pager", "powerd")
    exposure = re.search(r"exposure level for powerd.service: ([\d.]+)", said)
    assert exposure is not None
    assert float(exposure[1]) <= 2.0
    unit = "/usr/local/lib/systemd/system/powerd.service"
    for mode in ([], ["--recursive-errors=no"]):
        machine.ok("systemd-analyze", "verify", "--man=no", *mode, unit)


def test_daemon_and_runner_are_closed_in(service: Unit) -> None:
    service.declare("models:\n  demo: {source: 'builtin:demo', state: loaded}\n")
    service.start()
    service.wait("Ready", "demo")
    machine = service.machine
    power = machine.ok("id", "-u", "power")
    for pid in (service.main_pid, service.runner_pid("demo")):
        status = dict(re.findall(r"^(\w+):\t(.*)$", machine.path(f"/proc/{pid}/status").read_text(), re.MULTILINE))
        assert status["Uid"].split() == [power] * 4
        assert {status[key] for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    inside = ("nsenter", "-t", str(service.main_pid), "-m", "--")
    for path in ("/etc/power/x", "/usr/local/x", "/proc/sys/kernel/hostname", "/sys/kernel/x"):
        assert "Read-only file system" in machine.run(*inside, "touch", path).stderr, path
    assert machine.ok(*inside, "ls", "/root", "/home") in {"/home:\n\n/root:", ""}
    machine.path("/tmp/mine").touch()
    assert machine.run(*inside, "ls", "/tmp/mine").returncode != 0
    machine.ok(*inside, "touch", "/var/lib/power/x", "/run/power/x")


def test_it_pulls_from_a_registry_loads_and_serves(service: Unit) -> None:
    machine = service.machine
    machine.path("/etc/power/registry-password").write_text(PASSWORD + "\n")
    machine.ok("chmod", "600", "/etc/power/registry-password")
    service.drop_in("credentials", (DROP_INS / "credentials.conf").read_text())
    service.settings(
        f"registries:\n  '{HOST}':\n    insecure: true\n    username: {USER}\n"
        "    password_file: /run/credentials/powerd.service/registry-password\n"
        "log: {format: json, level: debug}\n"
    )
    name = f"{HOST}/library/mine"
    with registry(machine):
        service.declare("models:\n  demo: {source: 'builtin:demo'}\n")
        service.start()
        service.wait("Fits", "demo")
        with ollama.Client(host=URL) as client:
            client.create(name, from_="demo", parameters={"temperature": 0})
            client.push(name, insecure=True)
        service.systemctl("stop")
        machine.ok("sh", "-c", "rm -rf /var/lib/power/*")
        service.declare(f"models:\n  mine: {{source: '{name}', state: loaded}}\n")
        service.start()
        service.wait("Ready", "mine")
        assert service.metric("power_fetches_total", model="mine", result="done") == 1
    answer = service.post("/api/chat", QUESTION).json()
    assert "5" in answer["message"]["content"]
    openai = service.post("/v1/chat/completions", QUESTION).json()
    assert "5" in openai["choices"][0]["message"]["content"]
    blobs = list(machine.path("/var/lib/power/models/blobs").iterdir())
    assert blobs
    assert all(hashlib.sha256(path.read_bytes()).hexdigest() == path.name[7:] for path in blobs)
    journal = service.journal()
    assert PASSWORD not in journal
    assert QUESTION["messages"][0]["content"] not in journal  # type: ignore[index]  # a literal of this file
    assert answer["message"]["content"] not in journal


@pytest.mark.parametrize("style", ["json", "console"])
def test_the_journal_is_in_the_form_that_was_chosen(service: Unit, style: str) -> None:
    service.settings(f"log: {{format: {style}}}\n")
    service.declare("models:\n  demo: {source: 'builtin:demo'}\n")
    service.start()
    service.wait("Fits", "demo")
    assert service.post("/api/chat", {**QUESTION, "model": "demo"}).is_success
    service.systemctl("stop")
    uid = service.machine.ok("id", "-u", "power")
    lines = service.journal(f"_UID={uid}").splitlines()
    assert any("demo" in line for line in lines)
    assert any("stopped" in line for line in lines)
    if style == "json":
        assert {"event", "level", "timestamp"} <= set.intersection(*(set(json.loads(line)) for line in lines))
    else:
        assert not [line for line in lines if line.startswith("{")]


def test_a_model_at_home_is_let_in_by_the_drop_in(service: Unit) -> None:
    machine = service.machine
    machine.ok("install", "-d", "-m", "755", "/home/me/models")
    machine.ok("chmod", "700", "/home/me")
    shutil.copy(machine.path("/srv/models/a.gguf"), machine.path("/home/me/models/own.gguf"))
    service.declare("models:\n  own: {source: /home/me/models/own.gguf, state: loaded}\n")
    service.start()
    within(10, lambda: "no such file" in service.powerctl("status").stdout.lower())
    service.drop_in("home", (DROP_INS / "models-in-home.conf").read_text())
    assert service.systemctl("restart").returncode == 0
    service.wait("Ready", "own")
    assert service.machine.ok("systemd-analyze", "security", "--threshold=20", "--no-pager", "powerd")


def test_variables_of_a_drop_in_win_over_the_file(service: Unit) -> None:
    service.settings("log: {level: info}\nlisten: 127.0.0.1:11999\n")
    for name in ("environment", "listen-everywhere"):
        service.drop_in(name, (DROP_INS / f"{name}.conf").read_text())
    service.start()
    assert service.status()["node"]["listen"] == "0.0.0.0:11434"
    service.url = "http://127.0.0.2:11434"  # an address of this machine that the default does not listen on
    assert service.get("/livez").status_code in {200, 403}  # 403: nobody has allowed the name 127.0.0.2
    assert '"debug"' in service.journal()
