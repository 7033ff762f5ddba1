"""From start to stop: when the service counts as started, what a stop lets end, and what is left afterwards."""

from __future__ import annotations

import json
import socket
import threading
import time

import httpx
import pytest

from tests.systemd.machine import Machine
from tests.systemd.unit import URL, Unit, processes
from tests.wire.test_changes import Stream, within

pytestmark = pytest.mark.systemd

A = "  a: {source: /srv/models/a.gguf, context: 8192, parallel: 8}\n"
B = "  b: {source: /srv/models/b.gguf, context: 8192, parallel: 8}\n"


def test_a_start_returns_when_both_sockets_answer(service: Unit) -> None:
    service.declare(f"models:\n{A}")
    service.start()
    assert service.get("/livez").status_code == 200
    assert service.status()["node"]["pid"] == service.main_pid
    assert service.show("ActiveState") == "active"
    assert service.show("StatusText").endswith("listening on 127.0.0.1:11434")


def test_it_is_active_only_when_it_says_ready(service: Unit) -> None:
    late = service.machine.path("/srv/models/late.gguf")
    service.settings("ready_when: pinned\n")
    service.declare("models:\n  late: {source: /srv/models/late.gguf, state: loaded, keep_alive: always}\n")
    assert service.systemctl("start", "--no-block").returncode == 0
    within(10, lambda: service.machine.path("/run/power/control.sock").exists())
    for _ in range(10):
        assert service.show("ActiveState") == "activating"
        time.sleep(0.1)
    assert service.get("/readyz").status_code == 503
    late.write_bytes(service.machine.path("/srv/models/a.gguf").read_bytes())
    assert service.powerctl("apply", "--wait").returncode == 0
    service.until("active")
    assert service.get("/readyz").status_code == 200
    late.unlink()


def test_the_state_is_the_users_own(service: Unit) -> None:
    service.start()
    machine = service.machine
    assert machine.ok("stat", "-c", "%U:%G %a", "/var/lib/power") == "power:power 750"
    assert machine.ok("stat", "-c", "%U:%G %a", "/run/power") == "power:power 750"
    assert machine.ok("stat", "-c", "%U:%G %a", "/run/power/control.sock") == "power:power 660"
    assert machine.ok("stat", "-c", "%U:%G %a", "/etc/power") == "root:root 755"
    assert machine.ok("stat", "-c", "%U", "/var/lib/power/models/blobs") == "power"
    for user, code in (("nobody", 69), ("power", 0)):
        done = machine.run("runuser", "-u", user, "--", "powerctl", "--socket", "/run/power/control.sock", "ps")
        assert done.returncode == code, done.stderr


def test_x11_a_stop_drains_a_stream_and_leaves_nothing(service: Unit) -> None:
    machine = service.machine
    before = set(machine.path("/dev/shm").iterdir())
    service.settings("drain_timeout: 60s\n")
    service.declare(f"models:\n{A}")
    service.start()
    stream = Stream(service, "a", num_predict=2500).begun()
    stopped = service.systemctl("stop")
    assert stopped.returncode == 0
    stream.join(5)
    assert (stream.lines[-1]["done"], stream.lines[-1]["eval_count"]) == (True, 2500)
    assert (service.show("ActiveState"), service.show("Result")) == ("inactive", "success")
    assert processes(machine) == []
    assert not machine.path("/run/power").exists()
    assert set(machine.path("/dev/shm").iterdir()) == before
    assert machine.run("ls", "/sys/fs/cgroup/systemd/system.slice/powerd.service").returncode != 0
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", 11434)) != 0


def test_a_stop_may_take_the_time_its_settings_give_it(service: Unit) -> None:
    service.drop_in("short", "[Service]\nTimeoutStopSec=2\n")
    service.settings("drain_timeout: 60s\n")
    service.declare(f"models:\n{A}")
    service.start()
    assert service.powerctl("load", "a").returncode == 0
    runner = service.runner_pid("a")
    stream = Stream(service, "a", num_predict=2500).begun()
    service.kill("STOP", runner)  # whatever the speed of this machine, the stream outlives TimeoutStopSec
    assert service.systemctl("stop", "--no-block").returncode == 0
    time.sleep(3)
    assert service.show("ActiveState") == "deactivating"
    service.kill("CONT", runner)
    stream.join(60)
    assert stream.lines[-1].get("eval_count") == 2500, stream.lines[-1]
    service.until("inactive")
    assert service.show("Result") == "success"


def test_a_restart_under_load_ends_every_stream_and_serves_again(service: Unit) -> None:
    service.declare(f"models:\n{A}{B}")
    service.start()
    first = service.main_pid
    streams = [Stream(service, "ab"[number % 2], num_predict=800) for number in range(8)]
    for stream in streams:
        stream.begun()
    refused: list[int] = []
    over = threading.Event()

    def knock() -> None:
        while not over.is_set():
            try:
                refused.append(httpx.get(URL + "/livez", timeout=5).status_code)
            except httpx.TransportError:
                refused.append(0)
            time.sleep(0.02)

    knocking = threading.Thread(target=knock)
    knocking.start()
    assert service.systemctl("restart").returncode == 0
    over.set()
    knocking.join(10)
    for stream in streams:
        stream.join(10)
        assert [line for line in stream.lines if line.get("done") or "error" in line] == [stream.lines[-1]]
    assert service.main_pid != first
    assert service.show("NRestarts") == "0"
    answer = service.post(
        "/api/generate", {"model": "b", "prompt": "x", "stream": False, "options": {"num_predict": 3}}
    )
    assert answer.json()["eval_count"] == 3
    assert set(refused) <= {0, 200, 503}


def test_a_bad_configuration_is_78_and_is_not_tried_again(service: Unit) -> None:
    service.settings("lisen: 127.0.0.1:11434\n")
    assert service.systemctl("start").returncode != 0
    assert (service.show("ActiveState"), service.show("ExecMainStatus")) == ("failed", "78")
    assert 'unknown key "lisen"; did you mean "listen"?' in service.journal()
    time.sleep(2)  # RestartSec is 1
    assert (service.show("ActiveState"), service.show("NRestarts")) == ("failed", "0")


def test_a_crash_is_started_again(service: Unit) -> None:
    service.start()
    first = service.main_pid
    service.kill("SEGV", first)
    within(15, lambda: service.show("ActiveState") == "active" and service.main_pid not in {0, first})
    assert service.show("NRestarts") == "1"
    assert service.get("/livez").status_code == 200
    assert "Segmentation fault" in service.journal(), "where it was should be in the log"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ("--state", "/var/lib/power", "--socket", "/run/power/control.sock", "--listen", "127.0.0.1:0"),
            "another powerd",
        ),
        (("--state", "/var/lib/power", "--socket", "/run/power/x.sock", "--listen", "127.0.0.1:0"), "another powerd"),
        (("--state", "/var/tmp/second", "--socket", "/var/tmp/second.sock"), "cannot listen on 127.0.0.1:11434"),
    ],
)
def test_a_second_powerd_refuses(machine: Machine, service: Unit, flags: tuple[str, ...], said: str) -> None:
    service.start()
    first = service.main_pid
    done = machine.run("runuser", "-u", "power", "--", "powerd", *flags)
    assert done.returncode == 78
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert service.main_pid == first
    assert json.loads(service.powerctl("ps", "--json").stdout) == []
