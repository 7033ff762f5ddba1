"""What dies and what goes on: a hung daemon, a killed runner, a runner that took too much memory."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gguf_maker import tiny
from tests.systemd.unit import Unit, processes
from tests.wire.test_changes import Stream, within

pytestmark = pytest.mark.systemd

A = "  a: {source: /srv/models/a.gguf, context: 8192, parallel: 8}\n"
B = "  b: {source: /srv/models/b.gguf, context: 8192, parallel: 8}\n"


def answered(service: Unit, model: str) -> Any:
    """A short answer of a model, once what is declared is there; its JSON."""
    body = {"model": model, "prompt": "x", "stream": False, "options": {"num_predict": 3}}
    replies = []

    def there() -> bool:
        replies.append(service.post("/api/generate", body))
        return bool(replies[-1].status_code == 200)

    within(20, there)
    return replies[-1].json()


def test_a_stopped_daemon_ends_in_a_watchdog_restart(service: Unit) -> None:
    service.drop_in("watchdog", "[Service]\nWatchdogSec=2\n")
    service.declare(f"models:\n{A}")
    service.start()
    assert answered(service, "a")["eval_count"] == 3
    daemon, runner = service.main_pid, service.runner_pid("a")
    service.kill("STOP", daemon)
    within(30, lambda: service.show("ActiveState") == "active" and service.main_pid not in {0, daemon})
    assert service.show("NRestarts") == "1"
    journal = service.journal()
    assert "Watchdog timeout" in journal
    assert "most recent call first" in journal, "where the daemon stood should be in the log"
    assert not service.machine.path(f"/proc/{runner}").exists()
    assert answered(service, "a")["eval_count"] == 3


def test_a_daemon_that_works_is_never_taken_for_hung(service: Unit) -> None:
    service.drop_in("watchdog", "[Service]\nWatchdogSec=2\n")
    service.declare(f"models:\n{A}{B}")
    service.start()
    streams = [Stream(service, model, num_predict=1200) for model in "abab"]
    for stream in streams:
        stream.join(60)
        assert stream.lines[-1]["eval_count"] == 1200
    assert service.show("NRestarts") == "0"


def test_x01_a_killed_runner_fails_its_own_streams_and_nothing_else(service: Unit) -> None:
    service.declare(f"models:\n{A}{B}")
    service.start()
    doomed, spared = Stream(service, "a").begun(), Stream(service, "b", num_predict=1500).begun()
    daemon, other = service.main_pid, service.runner_pid("b")
    service.kill("KILL", service.runner_pid("a"))
    doomed.join(10)
    assert "error" in doomed.lines[-1]
    spared.join(60)
    assert spared.lines[-1]["eval_count"] == 1500
    assert (service.show("ActiveState"), service.show("NRestarts")) == ("active", "0")
    assert (service.main_pid, service.runner_pid("b")) == (daemon, other)
    assert [(event["model"], "SIGKILL" in event["message"]) for event in service.events("crash")] == [("a", True)]
    within(30, lambda: answered(service, "a").get("eval_count") == 3)


def test_x02_a_runner_that_the_kernel_ends_for_memory_leaves_the_others_alone(service: Unit) -> None:
    tiny(service.machine.path("/srv/models/big.gguf"), context=32768, layers=16)
    service.drop_in("memory", "[Service]\nMemoryMax=700M\nMemorySwapMax=0\n")
    # The ledger is told that there is plenty, or it would refuse what the kernel is to catch.
    service.settings("devices: {cpu: {budget: 64GiB}}\n")
    service.declare(
        "models:\n  b: {source: /srv/models/b.gguf, context: 8192, parallel: 8, keep_alive: always, state: loaded}\n"
        "  big: {source: /srv/models/big.gguf, context: 32768, parallel: 64}\n"
    )
    service.start()
    service.wait("Ready", "b")
    stream = Stream(service, "b", num_predict=3000).begun()
    daemon, spared = service.main_pid, service.runner_pid("b")
    refused = service.post("/api/generate", {"model": "big", "prompt": "x", "stream": False})
    assert refused.status_code >= 500
    assert refused.json()["error"]
    stream.join(60)
    assert stream.lines[-1]["eval_count"] == 3000
    assert (service.show("ActiveState"), service.show("NRestarts")) == ("active", "0")
    assert service.show("OOMPolicy") == "continue"
    assert (service.main_pid, service.runner_pid("b")) == (daemon, spared)
    events = service.status()["events"]
    assert [event for event in events if event["model"] == "big" and "out of memory" in event["message"]], events
    assert len([line for line in processes(service.machine) if "powerd.runner" in line]) == 1


def test_the_kernel_would_rather_have_a_runner_than_the_daemon(service: Unit) -> None:
    service.declare("models:\n  a: {source: /srv/models/a.gguf, state: loaded}\n")
    service.start()
    service.wait("Ready", "a")
    daemon, runner = (
        int(service.machine.path(f"/proc/{pid}/oom_score_adj").read_text())
        for pid in (service.main_pid, service.runner_pid("a"))
    )
    assert runner == 500
    assert daemon <= 0
