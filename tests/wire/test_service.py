"""The daemon as a service manager, an operator's shell and a machine without the engine see it."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from powerd.demo import __path__ as demo_path
from tests.gguf_maker import tiny
from tests.wire.powerd_process import Powerd
from tests.wire.test_changes import Stream, declaration, within

DEMO = Path(demo_path[0]) / "tiny-chat-q8_0.gguf"
#: Makes the reconciler raise or the whole loop stand still, while a file says so.
STUCK = """
import pathlib, time
import powerd.pulse
from powerd.reconcile.health.judging import Judging
knob, refresh = pathlib.Path({knob!r}), Judging.refresh
def stuck(self):
    while knob.exists() and knob.read_text() == "block":
        time.sleep(0.05)
    if knob.exists():
        raise RuntimeError("told to")
    refresh(self)
Judging.refresh = stuck
powerd.pulse.PATIENCE_SECONDS = 1.5
"""
#: Makes a start wait while a file is there.
SLOW = """
import asyncio, pathlib
from powerd.fleet.renderers import Renderers
held, start = pathlib.Path({held!r}), Renderers.start
async def slow(self):
    while held.exists():
        await asyncio.sleep(0.02)
    await start(self)
Renderers.start = slow
"""
#: Makes the store fail to open.
SHORT = """
import errno
from powerd.store.store import Store
def short(self):
    raise OSError(errno.{reason}, "nothing left", "/there")
Store.open = short
"""
DECLARED = "models:\n  demo: {source: 'builtin:demo'}\n"


class Notified:
    """The datagram socket a service manager listens on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(10)
        self.said: list[str] = []

    def until(self, start: str) -> str:
        while True:
            message = self._socket.recv(4096).decode()
            self.said.append(message)
            if message.startswith(start):
                return message

    def drain(self) -> None:
        """Forget what was said up to now."""
        while select.select([self._socket], [], [], 0)[0]:
            self._socket.recv(4096)

    def silent(self, seconds: float) -> bool:
        """Whether no watchdog is fed for so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            readable, _, _ = select.select([self._socket], [], [], left)
            if readable and self._socket.recv(4096) == b"WATCHDOG=1":
                return False
        return True

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def notified(tmp_path: Path) -> Iterator[Notified]:
    manager = Notified(tmp_path / "notify")
    yield manager
    manager.close()


def test_systemd_hears_ready_status_reloading_watchdog_and_stopping(tmp_path: Path, notified: Notified) -> None:
    environ = {"NOTIFY_SOCKET": str(notified.path), "WATCHDOG_USEC": "400000"}
    with Powerd(tmp_path, models=DECLARED, **environ) as powerd:
        notified.until("READY=1")
        assert powerd.get("/livez").status_code == 200
        assert "listening on 127.0.0.1" in notified.until("STATUS=")
        notified.until("WATCHDOG=1")
        powerd.declare(DECLARED.replace("builtin:demo'", "builtin:demo', system: Hi."))
        powerd.signal(signal.SIGHUP)
        assert "MONOTONIC_USEC=" in notified.until("RELOADING=1")
        notified.until("READY=1")
        assert powerd.status()["generation"] == 2
        powerd.wait("Fits", "demo")
        assert powerd.post("/api/generate", {"model": "demo"}).is_success
        powerd.signal(signal.SIGTERM)
        notified.until("STOPPING=1")
        assert powerd.wait_exit() == 0


@contextlib.contextmanager
def starting(tmp_path: Path, notified: Notified) -> Iterator[tuple[Powerd, Path]]:
    """A powerd that has its sockets and goes on when the file is gone."""
    held = tmp_path / "held"
    held.touch()
    (tmp_path / "sitecustomize.py").write_text(SLOW.format(held=str(held)))
    environ = {"PYTHONPATH": f"{tmp_path}:{Path.cwd()}", "NOTIFY_SOCKET": str(notified.path)}
    powerd = Powerd(tmp_path, models=DECLARED, **environ)
    powerd.spawn()
    try:
        within(20, powerd.socket.exists)
        yield powerd, held
    finally:
        powerd.__exit__(None, None, None)


def test_a_stop_is_announced_at_once_even_while_powerd_starts(tmp_path: Path, notified: Notified) -> None:
    with starting(tmp_path, notified) as (powerd, held):
        powerd.signal(signal.SIGTERM)
        assert notified.until("STOPPING=1").endswith("\nEXTEND_TIMEOUT_USEC=54000000")
        held.unlink()
        assert powerd.wait_exit() == 0


def test_x11_a_second_sigterm_ends_a_start_that_hangs(tmp_path: Path, notified: Notified) -> None:
    with starting(tmp_path, notified) as (powerd, _):
        for _ in range(2):
            powerd.signal(signal.SIGTERM)
            notified.until("STOPPING=1")
        assert powerd.wait_exit() == 0


def test_a_hangup_while_powerd_starts_is_heeded_once_it_has_started(tmp_path: Path, notified: Notified) -> None:
    with Powerd(tmp_path, models=DECLARED) as before:
        assert before.status()["generation"] == 1
        before.signal(signal.SIGTERM)
        assert before.wait_exit() == 0
    with starting(tmp_path, notified) as (powerd, held):
        powerd.signal(signal.SIGHUP)
        time.sleep(0.3)
        held.unlink()
        notified.until("READY=1")
        assert [said for said in notified.said if said.startswith(("READY", "RELOADING"))] == ["READY=1"]
        assert powerd.status()["generation"] == 1


def test_the_watchdog_is_not_fed_while_the_reconciler_or_the_loop_is_stuck(tmp_path: Path, notified: Notified) -> None:
    knob = tmp_path / "knob"
    (tmp_path / "sitecustomize.py").write_text(STUCK.format(knob=str(knob)))
    environ = {"NOTIFY_SOCKET": str(notified.path), "WATCHDOG_USEC": "400000"}
    with Powerd(tmp_path, PYTHONPATH=f"{tmp_path}:{Path.cwd()}", **environ):
        notified.until("WATCHDOG=1")
        knob.write_text("raise")
        notified.until("STATUS=no progress: reconciler")
        assert notified.silent(1.0)
        knob.unlink()
        notified.until("WATCHDOG=1")
        knob.write_text("block")
        time.sleep(1.5)  # longer than a beat
        notified.drain()
        assert notified.silent(1.0)
        knob.unlink()
        notified.until("WATCHDOG=1")


def test_ready_waits_for_pinned_models_when_told_to(tmp_path: Path) -> None:
    models = "models:\n  demo: {source: 'builtin:demo', state: loaded, keep_alive: always}\n"
    with Powerd(tmp_path, models=models, config="ready_when: pinned\n") as powerd:
        powerd.wait("Ready", "demo")
        assert powerd.get("/readyz").status_code == 200
        assert powerd.ps()[0]["expires_at"] is None
        refused = powerd.powerctl("stop", "demo")
        kept = powerd.post("/api/generate", {"model": "demo", "keep_alive": 0})
        assert kept.json()["done_reason"] == "unload"
        assert "ignored" in kept.headers["x-powerd-keep-alive"]
        if refused.returncode:
            assert powerd.ps()


def test_x11_sigterm_drains_streams_and_refuses_new_work(tmp_path: Path) -> None:
    tiny(tmp_path / "r.gguf", context=8192)
    with Powerd(tmp_path, models=f"models:\n{declaration(tmp_path / 'r.gguf')}", config="drain_timeout: 60s") as powerd:
        powerd.wait("Fits", "a")
        stream = Stream(powerd, "a", num_predict=2500).begun()
        runner = psutil.Process(powerd.ps()[0]["pid"])
        runner.suspend()  # so that the stream is not over, however fast this machine is
        assert len(stream.lines) < 2500
        powerd.signal(signal.SIGTERM)
        within(5, lambda: powerd.get("/readyz").status_code == 503)
        refused = powerd.post("/api/generate", {"model": "a", "prompt": "x"})
        assert refused.status_code == 503
        assert "retry-after" in refused.headers
        runner.resume()
        stream.join(60)
        assert (stream.lines[-1]["done"], stream.lines[-1]["eval_count"]) == (True, 2500)
        assert powerd.wait_exit() == 0


def test_x11_a_second_sigterm_stops_at_once(tmp_path: Path) -> None:
    tiny(tmp_path / "r.gguf", context=8192)
    with Powerd(tmp_path, models=f"models:\n{declaration(tmp_path / 'r.gguf')}", config="drain_timeout: 60s") as powerd:
        powerd.wait("Fits", "a")
        stream = Stream(powerd, "a").begun()
        powerd.signal(signal.SIGTERM)
        time.sleep(0.3)
        assert powerd.process is not None
        assert powerd.process.poll() is None
        powerd.signal(signal.SIGTERM)
        started = time.monotonic()
        powerd.wait_exit()
        assert time.monotonic() - started < 5
        stream.join(5)
        assert "error" in stream.lines[-1]


def test_without_the_engine_models_are_managed_and_inference_says_how_to_install_it(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['llama_cpp'] = None\n")
    with Powerd(tmp_path, models=DECLARED, PYTHONPATH=f"{tmp_path}:{Path.cwd()}") as powerd:
        powerd.wait("Fits", "demo")
        assert [model["name"] for model in powerd.get("/api/tags").json()["models"]] == ["demo:latest"]
        assert powerd.post("/api/show", {"model": "demo"}).is_success
        for path, body in (
            ("/api/generate", {"model": "demo", "prompt": "x"}),
            ("/api/chat", {"model": "demo", "messages": [{"role": "user", "content": "x"}]}),
            ("/v1/chat/completions", {"model": "demo", "messages": [{"role": "user", "content": "x"}]}),
        ):
            answer = powerd.post(path, body)
            assert answer.status_code == 503
            assert "backend not available" in answer.text
            assert "pip install" in answer.text


class _Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextlib.contextmanager
def http_server(directory: Path) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *arguments: _Files(*arguments, directory=str(directory))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_a_model_from_a_url_with_its_digest_checked(tmp_path: Path) -> None:
    digest = hashlib.sha256(DEMO.read_bytes()).hexdigest()
    with http_server(DEMO.parent) as url:
        source = f"{url}/{DEMO.name}"
        models = (
            f"models:\n  good: {{source: '{source}', digest: 'sha256:{digest}', quantization: Q8_0}}\n"
            f"  wrong: {{source: '{source}', digest: 'sha256:{'0' * 64}'}}\n"
            f"  other: {{source: '{source}', quantization: Q4_K_M}}\n"
        )
        with Powerd(tmp_path, models=models) as powerd:
            powerd.wait("Fits", "good")
            answer = powerd.post("/api/generate", {"model": "good", "prompt": "What is 2 + 3?", "stream": False})
            assert answer.json()["done"] is True
            assert powerd.powerctl("apply", "--wait").returncode == 1
            wrong, other = powerd.condition("Verified", "wrong"), powerd.condition("Verified", "other")
            assert wrong["status"] == other["status"] == "False"
            assert "digest mismatch" in wrong["message"]
            assert "is Q8_0, not Q4_K_M" in other["message"]
            assert powerd.metric("power_fetched_bytes_total", model="good") == DEMO.stat().st_size
            blobs = tmp_path / "state/models/blobs"
            assert all(hashlib.sha256(path.read_bytes()).hexdigest() == path.name[7:] for path in blobs.iterdir())


@pytest.mark.parametrize(
    ("config", "flags", "said"),
    [
        ("lisen: 1\n", (), 'powerd.yaml:1:1: unknown key "lisen"; did you mean "listen"?'),
        ("store: {quota: lots}\n", (), 'powerd.yaml:1:9: "store.quota": invalid size "lots"'),
        ("- 1\n", (), "powerd.yaml is a mapping of options"),
        ("a: [\n", (), "powerd.yaml:2:1"),
        ("", ("--config", "/nowhere/powerd.yaml"), "/nowhere/powerd.yaml: there is no such file"),
        ("", ("--listen", "localhost"), '"localhost" is not HOST:PORT'),
    ],
)
def test_bad_settings_are_78_and_say_where(tmp_path: Path, config: str, flags: tuple[str, ...], said: str) -> None:
    powerd = Powerd(tmp_path, config=config)
    ended = subprocess.run(powerd.command(*flags), capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 78
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_unwritable_state_directory_is_78_and_names_the_path(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    ended = subprocess.run(Powerd(tmp_path).command(), capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 78
    assert str(tmp_path / "state") in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("reason", ["ENOSPC", "EMFILE"])
def test_what_may_pass_by_itself_is_no_bad_configuration(tmp_path: Path, reason: str) -> None:
    """Service managers do not start again what ended with 78."""
    (tmp_path / "sitecustomize.py").write_text(SHORT.format(reason=reason))
    environ = {**os.environ, "PYTHONPATH": f"{tmp_path}:{Path.cwd()}"}
    command = Powerd(tmp_path).command()
    ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False, env=environ)
    assert ended.returncode == 75
    assert "powerd: /there: nothing left" in ended.stderr


def test_an_address_that_is_not_there_may_come(tmp_path: Path) -> None:
    command = Powerd(tmp_path).command("--listen", "192.0.2.1:0")
    ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 75
    assert "cannot listen on 192.0.2.1:0" in ended.stderr


def test_check_and_validate_need_no_daemon(tmp_path: Path) -> None:
    powerd = Powerd(tmp_path, models="models:\n  a: {source: 'builtin:demo', contxt: 1}\n  b: {}\n")
    for command in (powerd.command("--check"), powerd.command("--check", "--json")):
        ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        assert ended.returncode == 78
        assert "models.yaml:3:31" in ended.stdout + ended.stderr
        assert "models.yaml:4:" in ended.stdout + ended.stderr
    assert powerd.powerctl("validate", str(powerd.models)).returncode == 1
    report = json.loads(powerd.powerctl("validate", "--json", str(powerd.models)).stdout)
    assert (report["valid"], len(report["problems"])) == (False, 2)
    powerd.models.write_text("apiVersion: powerd/v1\n" + DECLARED)
    assert powerd.powerctl("validate", str(powerd.models)).returncode == 0
    assert powerd.powerctl("status").returncode == 69
