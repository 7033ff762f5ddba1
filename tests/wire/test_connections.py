"""What strangers may do with connections alone: headers, idling, file descriptors, and who hears whom."""

from __future__ import annotations

import array
import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.wire.powerd_process import Powerd

MODELS = "models:\n  demo: {source: 'builtin:demo'}\n"
LINE = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module")
def powerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Powerd]:
    with Powerd(tmp_path_factory.mktemp("powerd"), models=MODELS) as running:
        running.wait("Fits", "demo")
        yield running
        assert "Traceback" not in running.log()


class Tight(Powerd):
    """One that may have so few files open that its two listeners get 44 connections each."""

    def command(self, *flags: str) -> list[str]:
        return ["sh", "-c", 'ulimit -n 600 && exec "$@"', "sh", *super().command(*flags)]


def connect(powerd: Powerd) -> socket.socket:
    host, _, port = powerd.url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=5)


def said(powerd: Powerd, data: bytes) -> bytes:
    """The first words of the answer to these bytes."""
    with connect(powerd) as client, contextlib.suppress(OSError):
        client.sendall(data)
        return client.recv(1000)
    return b""


def files(powerd: Powerd) -> int:
    return len(list(Path(f"/proc/{powerd.pid}/fd").iterdir()))


def ticks(powerd: Powerd) -> int:
    """The daemon's CPU time, in hundredths of a second."""
    return sum(map(int, Path(f"/proc/{powerd.pid}/stat").read_text().rpartition(")")[2].split()[11:13]))


@pytest.mark.parametrize(
    "headers",
    [
        b"".join(b"X-%d: y\r\n" % number for number in range(10_000)),
        b"".join(b"Cookie: a%d=y\r\n" % number for number in range(10_000)),
        b"X: " + b"a" * (1 << 20) + b"\r\n",
        b"X: " + b"a" * (40 << 10) + b"\r\n",
        b"".join(b"X-%d: y\r\n" % number for number in range(99)) + b"X: y\r\n",
    ],
    ids=["10000 headers", "10000 cookies", "1 MiB", "40 KiB", "101 headers"],
)
def test_h21_s52_too_many_headers_are_431_at_once(powerd: Powerd, headers: bytes) -> None:
    started = time.monotonic()
    assert said(powerd, LINE + headers + b"\r\n").startswith(b"HTTP/1.1 431 ")
    assert time.monotonic() - started < 1


@pytest.mark.parametrize(
    ("host", "length", "first"),
    [(b"localhost", 99_999_999, b"413"), (b"evil.example", 10, b"403"), (b"localhost", 10, b"100")],
)
def test_h26_a_body_that_will_be_refused_is_not_asked_for(
    powerd: Powerd, host: bytes, length: int, first: bytes
) -> None:
    head = b"POST /api/show HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n" % (host, length)
    assert said(powerd, head).startswith(b"HTTP/1.1 " + first)


def test_h22_a_thousand_idle_connections_disturb_nobody_and_leave_nothing(powerd: Powerd) -> None:
    before = files(powerd)
    with contextlib.ExitStack() as open_ones:
        idle = [open_ones.enter_context(connect(powerd)) for _ in range(1000)]
        for client in idle:
            client.sendall(LINE + b"\r\n")
        assert all(client.recv(1000).startswith(b"HTTP/1.1 200") for client in idle)
        assert powerd.get("/livez").status_code == 200
    deadline = time.monotonic() + 5
    while files(powerd) > before + 5 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert files(powerd) <= before + 5


def test_h22_more_connections_than_descriptors_wait_and_the_operator_is_heard(tmp_path: Path) -> None:
    with Tight(tmp_path, models=MODELS) as powerd, contextlib.ExitStack() as open_ones:
        powerd.wait("Fits", "demo")
        crowd = [open_ones.enter_context(connect(powerd)) for _ in range(300)]
        for client in crowd:
            client.sendall(LINE + b"\r\n")
        assert crowd[0].recv(1000).startswith(b"HTTP/1.1 200")
        assert files(powerd) < 200
        before = ticks(powerd)
        time.sleep(0.5)
        assert ticks(powerd) - before < 25, "it turns in circles"
        assert powerd.powerctl("load", "demo").returncode == 0, "files are left for a runner and the operator"
        for client in crowd[:-1]:
            client.close()
        assert crowd[-1].recv(1000).startswith(b"HTTP/1.1 200"), "its turn came"


def test_c03_descriptors_sent_over_the_control_socket_are_not_kept(powerd: Powerd) -> None:
    before = files(powerd)
    with contextlib.ExitStack() as open_ones, Path(os.devnull).open("rb") as gift:
        for _ in range(10):
            client = open_ones.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(str(powerd.socket))
            gifts = array.array("i", [gift.fileno()] * 253)
            client.sendmsg([b"GET /v1/ps HTTP/1.1\r\nHost: x\r\n\r\n"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, gifts)])
            assert client.recv(1000).startswith(b"HTTP/1.1 200")
        assert files(powerd) <= before + 15


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"model": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"model": "demo", "prompt": "\\ud800"}',
        b'{"model": "demo", "options": {"seed": ' + b"9" * 5000 + b"}}",
        b'{"model": "../../etc/passwd", "subject": 1, "condition": 1, "path": 1}',
    ],
    ids=["nothing", "a list", "deep", "a surrogate", "digits", "a path"],
)
def test_c05_the_control_socket_reads_bodies_as_strictly(powerd: Powerd, body: bytes) -> None:
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(powerd.socket)), timeout=10) as client:
        answer = client.post("http://powerd/api/generate", content=body)
        assert (answer.status_code, answer.text) == (
            400,
            httpx.post(powerd.url + "/api/generate", content=body, timeout=10).text,
        )
        for route in ("wait", "load", "stop", "explain", "why", "store/adopt"):
            refused = client.post(f"http://powerd/v1/{route}", content=body or b"{")
            assert refused.status_code == 400, (route, refused.text)
            assert refused.json()["error"]


@pytest.mark.parametrize("path", ["/debug/pprof/", "/debug/vars", "/docs", "/openapi.json", "/schema", "/v1/status"])
def test_s26_the_public_port_shows_nothing_of_the_inside(powerd: Powerd, path: str) -> None:
    assert powerd.get(path).status_code == 404


def test_s50_s51_s30_a_runner_listens_nowhere_and_is_told_nothing_on_its_command_line(powerd: Powerd) -> None:
    assert powerd.powerctl("load", "demo").returncode == 0
    [runner] = powerd.ps()
    process = Path(f"/proc/{runner['pid']}")
    command = (process / "cmdline").read_bytes().split(b"\0")[1:-1]
    assert command[:2] == [b"-m", b"powerd.runner"]
    assert command[2].isdigit()
    assert len(command) == 3, "no path, no host, no flag"
    sockets = {link for file in (process / "fd").iterdir() if (link := os.readlink(file)).startswith("socket:")}
    tables = "".join((process / "net" / table).read_text() for table in ("tcp", "tcp6", "udp", "udp6"))
    assert not [row for line in tables.splitlines() if f"socket:[{(row := line.split())[9]}]" in sockets]
    loaded = (process / "maps").read_text()
    assert "ggml" in loaded
    assert "ggml-rpc" not in loaded
