"""`systemctl reload` returns when the edit is in force, and tells when it is refused."""

from __future__ import annotations

import pytest

from tests.systemd.unit import Unit
from tests.wire.test_changes import Stream

pytestmark = pytest.mark.systemd

A = "  a: {source: /srv/models/a.gguf, context: 8192, parallel: 8}\n"


def test_a_reload_returns_when_the_edit_is_in_force(service: Unit) -> None:
    service.declare(f"models:\n{A}")
    service.start()
    pid = service.main_pid
    stream = Stream(service, "a", num_predict=4000).begun()
    runner = service.runner_pid("a")
    service.declare(f"models:\n{A}  demo: {{source: 'builtin:demo', state: loaded, aliases: [gpt-4o]}}\n")
    assert service.systemctl("reload").returncode == 0
    assert service.condition("Ready", "demo")["status"] == "True"
    said = {"model": "gpt-4o", "messages": [{"role": "user", "content": "What is 2 + 3?"}], "stream": False}
    assert "5" in service.post("/api/chat", said).json()["message"]["content"]
    assert (service.main_pid, service.runner_pid("a")) == (pid, runner)
    stream.join(60)
    assert stream.lines[-1]["eval_count"] == 4000


def test_a_reload_of_a_broken_file_fails_and_the_old_one_goes_on(service: Unit) -> None:
    service.declare(f"models:\n{A}")
    service.start()
    pid, generation = service.main_pid, service.status()["generation"]
    stream = Stream(service, "a", num_predict=1500).begun()
    service.declare("models:\n  a: {source: /srv/models/a.gguf, contxt: 512}\n")
    assert service.systemctl("reload").returncode != 0
    assert (service.show("ActiveState"), service.main_pid) == ("active", pid)
    assert 'unknown key "contxt"; did you mean "context"?' in service.journal()
    assert service.status()["generation"] == generation
    stream.join(60)
    assert stream.lines[-1]["eval_count"] == 1500
    assert service.post(
        "/api/generate", {"model": "a", "prompt": "x", "stream": False, "options": {"num_predict": 2}}
    ).is_success
    service.declare(f"models:\n{A.replace('8192', '4096')}")
    assert service.systemctl("reload").returncode == 0
    assert service.status()["generation"] == generation + 1


def test_a_hangup_reloads_too(service: Unit) -> None:
    service.declare(f"models:\n{A}")
    service.start()
    service.declare(f"models:\n{A}  demo: {{source: 'builtin:demo'}}\n")
    assert service.systemctl("kill", "--signal=HUP", "--kill-who=main").returncode == 0
    service.wait("Fits", "demo")
    assert service.show("ActiveState") == "active"
