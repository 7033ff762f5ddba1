"""doctor: what it finds of a machine, a configuration and a daemon, and that it changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from powerd import doctor as doctor_module
from powerd.config import configure, parser
from powerd.doctor import Chart, Finding, examine, report

Output = pytest.CaptureFixture[str]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "powerd.yaml").write_text("max_queue: 5\n")
    (tmp_path / "models.yaml").write_text("apiVersion: powerd/v1\nmodels:\n  a: {source: 'builtin:demo'}\n")
    return tmp_path


@pytest.fixture
def port() -> Iterator[int]:
    """A TCP port that somebody holds."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def chart(directory: Path, port: int, **changes: Any) -> Chart:
    given = {"config": directory / "powerd.yaml", "state": directory / "state", "socket": directory / "s"}
    given["listen"] = Path(f"127.0.0.1:{port}")
    flags = parser().parse_args([text for name, value in given.items() for text in (f"--{name}", str(value))])
    return replace(doctor_module._chart(configure(flags, {})), **changes)


def found(chart: Chart) -> dict[str, Finding]:
    """The worst finding of each subject."""
    order = {"ok": 0, "warn": 1, "fail": 2}
    return {each.subject: each for each in sorted(examine(chart), key=lambda each: order[each.level])}


def test_with_the_daemon_down_everything_else_is_examined_and_nothing_is_made(here: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        unused = free.getsockname()[1]
    findings = found(chart(here, unused))
    assert findings["daemon"].level == "fail"
    assert f"nobody answers on {here}/s (No such file or directory)" in findings["daemon"].message
    assert findings["port"] == Finding("ok", "port", f"127.0.0.1:{unused} is free")
    assert findings["models.yaml"].message.endswith("declares 1 models")
    for subject in ("powerd", "engine", "permissions", "disk", "memory", "limits", "clock"):
        assert findings[subject].level == "ok", findings[subject]
    assert sorted(path.name for path in here.iterdir()) == ["models.yaml", "powerd.yaml"]


def test_a_port_that_is_held_names_who_holds_it(here: Path, port: int) -> None:
    finding = found(chart(here, port))["port"]
    assert finding.level == "fail"
    assert f"(pid {os.getpid()})" in finding.message
    assert "systemctl stop ollama" in finding.advice


def test_every_problem_of_models_yaml_is_a_finding(here: Path, port: int) -> None:
    (here / "models.yaml").write_text("apiVersion: powerd/v1\nmodels:\n  a: {sorce: x}\n  b: {context: many}\n")
    problems = [each for each in examine(chart(here, port)) if each.subject == "models.yaml"]
    assert len(problems) >= 3
    assert {each.level for each in problems} == {"fail"}
    assert any("models.yaml:3:7" in each.message for each in problems)


def test_the_element_that_keeps_the_services_user_out_is_named_with_the_command(here: Path, port: int) -> None:
    finding = found(chart(here, port, uid=65_000, user="power", groups=()))["state"]
    assert finding.level == "fail"
    assert "by power (needed for" in finding.message
    assert finding.advice.startswith("sudo chmod a+rx /")


@pytest.mark.parametrize(
    ("free", "room", "levels"),
    [(1 << 40, 1 << 40, ("ok", "ok")), (2 << 30, 1 << 30, ("warn", "warn")), (1 << 20, 1 << 20, ("fail", "fail"))],
)
def test_little_disk_and_little_memory(
    here: Path, port: int, monkeypatch: pytest.MonkeyPatch, free: int, room: int, levels: tuple[str, str]
) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr("powerd.doctor.shutil.disk_usage", lambda _: usage._replace(free=free))
    monkeypatch.setattr(doctor_module, "available", lambda: room)
    findings = found(chart(here, port))
    assert (findings["disk"].level, findings["memory"].level) == levels


STATUS: dict[str, Any] = {
    "node": {"pid": os.getpid(), "version": "0.0.9", "listen": "127.0.0.1:1"},
    "conditions": [{"type": "StoreHealthy", "status": "False", "reason": "BadEntries", "message": "x is no manifest"}],
    "failures": [{"model": "big", "reason": "out of memory"}],
    "devices": [{"id": "cpu", "kind": "cpu"}],
}


def test_the_running_daemon_is_asked_and_judged(here: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_module, "drivers", lambda: ["NVIDIA driver 570"])
    status = STATUS | {"node": STATUS["node"] | {"listen": f"127.0.0.1:{port}"}}
    told = [(each.level, each.subject, each.message) for each in examine(chart(here, port, status=status))]
    assert ("warn", "powerd", "the daemon that runs is 0.0.9") in told
    assert ("ok", "port", f"powerd listens on 127.0.0.1:{port}") in told
    assert ("warn", "condition", "StoreHealthy: BadEntries: x is no manifest") in told
    assert ("warn", "load", "big: out of memory") in told
    assert ("warn", "devices", "NVIDIA driver 570, but the engine offers the processor only") in told
    silent = found(chart(here, port, status=STATUS))["port"]
    assert (silent.level, "nobody answers there" in silent.message) == ("fail", True)


def test_another_program_on_the_socket_is_no_daemon(here: Path, port: int) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(here / "s"))
        other.listen()

        def answer() -> None:
            peer, _ = other.accept()
            peer.recv(4096)
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            peer.close()

        thread = threading.Thread(target=answer)
        thread.start()
        finding = found(chart(here, port))["daemon"]
        thread.join()
    assert "does not speak powerd's protocol" in finding.message


def test_a_clock_before_powerd_or_before_the_last_generation(
    here: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    generations = here / "state" / "generations"
    generations.mkdir(parents=True)
    (generations / "000001.json").write_text("{}")
    now = (generations / "000001.json").stat().st_mtime
    monkeypatch.setattr("powerd.doctor.time.time", lambda: now - 3600)
    assert found(chart(here, port))["clock"].level == "warn"
    monkeypatch.setattr("powerd.doctor.time.time", lambda: 0.0)
    assert found(chart(here, port))["clock"].level == "fail"


def test_the_report_is_a_table_or_an_object_and_fails_with_its_findings(capsys: Output) -> None:
    good, bad = Finding("ok", "disk", "plenty"), Finding("fail", "port", "held", "end it")
    assert report([good], as_json=False) == 0
    assert report([good, bad], as_json=False) == 1
    assert capsys.readouterr().out.splitlines()[-2:] == ["fail  port  held", "            -> end it"]
    assert report([good, bad], as_json=True) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["well"], told["findings"][1]["advice"]) == (False, "end it")


def test_a_powerd_yaml_that_cannot_be_read_is_the_finding(here: Path, capsys: Output) -> None:
    (here / "powerd.yaml").write_text("max_queue: many\n")
    flags = parser().parse_args(["--doctor", "--config", str(here / "powerd.yaml")])
    assert doctor_module.doctor(flags, {}) == 1
    assert "powerd.yaml:1:1" in capsys.readouterr().out
