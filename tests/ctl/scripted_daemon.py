"""A scripted peer on a Unix socket or a port: powerctl's daemon in tests, and powerctl run against it as a process."""

from __future__ import annotations

import json
import os
import socketserver
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import powerd

ROOT = Path(powerd.__file__).parent.parent


@dataclass
class Reply:
    """What the script says to one request. `pieces` go out as chunks; `ending` says how the answer stops."""

    status: int = 200
    body: bytes = b""
    pieces: Sequence[bytes] = ()
    ending: str = "complete"  # complete, cut (close before the end), hold (wait for the client), silent, mute
    read: bool = True  # False: answer without reading the body, then close


def document(value: Any, status: int = 200) -> Reply:
    return Reply(status, json.dumps(value).encode())


def ndjson(*items: Any, ending: str = "complete") -> Reply:
    return Reply(pieces=[json.dumps(item).encode() + b"\n" for item in items], ending=ending)


@dataclass
class ScriptedDaemon:
    """Answers `METHOD /path` from `script`; remembers what it was asked, and whether a held client went away."""

    path: Path
    script: dict[str, Reply] = field(default_factory=dict)
    asked: list[tuple[str, Any]] = field(default_factory=list)
    agents: list[str] = field(default_factory=list)
    went_away: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> ScriptedDaemon:
        self._server = self._listening()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def _listening(self) -> socketserver.BaseServer:
        return _Server(str(self.path), _handler(self))

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class ScriptedServer(ScriptedDaemon):
    """The same on a port of this machine, for the `ollama` command."""

    url = ""

    def __init__(self) -> None:
        super().__init__(Path())

    def _listening(self) -> socketserver.BaseServer:
        server = _PortServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        return server


class _PortServer(socketserver.ThreadingTCPServer):
    block_on_close = True
    daemon_threads = False


class _Server(socketserver.ThreadingUnixStreamServer):
    block_on_close = True
    daemon_threads = False


def _handler(daemon: ScriptedDaemon) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            key = f"{self.command} {self.path}"
            reply = daemon.script.get(key, Reply(404, b"404 page not found"))
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length) if reply.read else b""
            daemon.asked.append((key, json.loads(body) if body else None))
            daemon.agents.append(self.headers["User-Agent"])
            self.close_connection = True
            if reply.ending == "mute":
                self._until_gone()
            if reply.ending in {"silent", "mute"}:
                return
            with suppress(BrokenPipeError):  # a client that has its error line need not wait for the end
                self._send(reply)

        do_GET = do_HEAD = do_POST = do_DELETE = answer

        def _send(self, reply: Reply) -> None:
            self.send_response(reply.status)
            if reply.pieces:
                self._stream(reply)
            else:
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)

        def _stream(self, reply: Reply) -> None:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for piece in reply.pieces:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            if reply.ending == "complete":
                self.wfile.write(b"0\r\n\r\n")
            if reply.ending == "hold":
                self._until_gone()

        def _until_gone(self) -> None:
            with suppress(ConnectionResetError):  # how a client goes that has not read everything
                assert self.rfile.read(1) == b""
            daemon.went_away.set()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    return Handler


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "powerd.ctl", *arguments]


def environment(**extra: str) -> Mapping[str, str]:
    """The environment of a test's process: nothing of this machine's own daemon."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("POWER_", "XDG_"))}
    return {**kept, "TERM": "xterm", **extra}


def powerctl(*arguments: str, stdin: bytes | None = None, **extra: str) -> tuple[int, str, str]:
    """Run powerctl; returns its exit code, standard output and standard error."""
    finished = subprocess.run(
        command(*arguments),
        check=False,
        cwd=ROOT,
        env=environment(**extra),
        input=stdin if stdin is not None else b"",
        capture_output=True,
        timeout=30,
    )
    return finished.returncode, finished.stdout.decode(), finished.stderr.decode()
