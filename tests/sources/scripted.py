"""A real HTTP server on the loopback that does what its script says, down to the byte."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self


@dataclass
class Request:
    target: str
    headers: dict[str, str]
    method: str = "GET"
    body: bytes = b""

    @property
    def start(self) -> int:
        """The first byte asked for."""
        return int(self.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")[0])

    @property
    def stop(self) -> int | None:
        """The byte after the last one asked for; None: all from the first on."""
        last = self.headers.get("range", "").rpartition("-")[2]
        return int(last) + 1 if last else None

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


@dataclass
class Reply:
    """One answer. The body is sent piece by piece; a float among the pieces is a pause in seconds."""

    status: str = "200 OK"
    headers: dict[str, str] = field(default_factory=dict)
    body: Iterable[bytes | float] = ()
    length: int | None = None  # Content-Length; None sends none, and the end of the connection ends the body
    silence: float = 0.0  # seconds before the first byte


Step = Reply | Callable[[Request], Reply]


def whole(data: bytes, **headers: str) -> Reply:
    return Reply(headers=headers, body=[data], length=len(data))


def cut(data: bytes, after: int, **headers: str) -> Reply:
    """Promises all of `data` and closes the connection early."""
    return Reply(headers=headers, body=[data[:after]], length=len(data))


def ranged(data: bytes, **headers: str) -> Callable[[Request], Reply]:
    """The rest of `data` as a proper 206, or all of it."""

    def reply(request: Request) -> Reply:
        start, stop = request.start, request.stop or len(data)
        if "range" not in request.headers:
            return whole(data, **headers)
        said = {"Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"}
        return Reply("206 Partial Content", headers | said, [data[start:stop]], stop - start)

    return reply


class Scripted:
    """Answers the n-th request with the n-th step, and further ones with the last."""

    def __init__(self, *steps: Step, tls: ssl.SSLContext | None = None) -> None:
        self.steps = steps
        self.requests: list[Request] = []
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._closing = threading.Event()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def url(self) -> str:
        scheme = "https" if self._tls else "http"
        return f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}/model.gguf"

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with self._tls.wrap_socket(connection, server_side=True) if self._tls else connection as stream:
                stream.settimeout(5)
                request = _read(stream)
                if request is None:
                    return
                step = self.steps[min(len(self.requests), len(self.steps) - 1)]
                self.requests.append(request)
                self._answer(stream, step(request) if callable(step) else step)
        except (OSError, ssl.SSLError):
            return

    def _answer(self, stream: socket.socket, reply: Reply) -> None:
        self._closing.wait(reply.silence)
        headers = {"Connection": "close"} | reply.headers
        if reply.length is not None:
            headers["Content-Length"] = str(reply.length)
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        stream.sendall(f"HTTP/1.1 {reply.status}\r\n{head}\r\n".encode("latin-1"))
        for piece in reply.body:
            if isinstance(piece, float):
                self._closing.wait(piece)
            else:
                stream.sendall(piece)
            if self._closing.is_set():
                return


def _read(stream: socket.socket) -> Request | None:
    data = b""
    while b"\r\n\r\n" not in data:
        more = stream.recv(65536)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        more = stream.recv(65536)
        if not more:
            return None
        body += more
    method, target, _ = first.split(" ")
    return Request(target, headers, method, body)
