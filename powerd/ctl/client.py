"""The daemon's client: HTTP/1.1 over the control socket, or TCP to OLLAMA_HOST; whole answers and NDJSON streams."""

from __future__ import annotations

import http.client
import os
import socket
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from powerd import __version__
from powerd.ctl import endpoint
from powerd.ctl.exits import Failed, Refused, Unreachable
from powerd.hosts import Host

Reply = TypeVar("Reply")

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 30.0
PATIENCE_SECONDS = 900.0  # silence allowed while weights load or are verified
_PIECE = 1 << 16

_LOST = "the connection to powerd broke off before the answer was complete; `powerctl status` shows whether it runs"


class Upload(NamedTuple):
    """A body that is sent as it is."""

    pieces: Iterable[bytes]
    length: int


class Client:
    """Asks one daemon. Every failure is a `Failed`, with the sentence to show.

    `place` is a control socket's path, None for the usual ones, or the server that the `ollama` command asks.
    """

    def __init__(self, place: str | Host | None) -> None:
        self._host = place if isinstance(place, Host) else None
        self._candidates = [] if isinstance(place, Host) else endpoint.candidates(place, os.environ, os.getuid())

    def ask(
        self, method: str, path: str, expect: type[Reply], body: object = None, timeout: float = ANSWER_SECONDS
    ) -> Reply:
        """Send one request and read its answer as `expect`."""
        return understood(self.fetch(method, path, body, timeout), expect)

    def fetch(self, method: str, path: str, body: object = None, timeout: float = ANSWER_SECONDS) -> bytes:
        """Send one request and return the answer's body. `timeout` is the silence allowed, in seconds.

        Raises Unreachable without an answer, Refused on an error status, Failed when the answer breaks off.
        """
        connection, response = self._open(method, path, body, timeout)
        try:
            return response.read()
        except (OSError, http.client.HTTPException) as error:
            raise Failed(_LOST) from error
        finally:
            connection.close()

    def stream(self, path: str, body: object) -> Generator[bytes, None, None]:
        """POST `body` and yield each line of the NDJSON answer as it arrives, without its newline.

        Closing the iterator closes the connection, which cancels the work. Raises as `fetch` does; a line that
        carries `error` is yielded like any other.
        """
        connection, response = self._open("POST", path, body, PATIENCE_SECONDS)
        try:
            yield from _lines(response)
        except TimeoutError as error:
            raise Failed(f"powerd sent nothing for {PATIENCE_SECONDS:.0f} seconds; gave up waiting") from error
        except (OSError, http.client.HTTPException) as error:
            raise Failed(_LOST) from error
        finally:
            connection.close()

    def upload(self, path: str, pieces: Iterable[bytes], length: int) -> None:
        """POST a body of `length` bytes that comes in pieces. Raises as `fetch` does."""
        connection, response = self._open("POST", path, Upload(pieces, length), PATIENCE_SECONDS)
        try:
            response.read()
        except (OSError, http.client.HTTPException) as error:
            raise Failed(_LOST) from error
        finally:
            connection.close()

    def _open(
        self, method: str, path: str, body: object, timeout: float
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = self._connect()
        try:
            path = self._host.path + path if self._host else path
            response = _exchange(connection, method, path, body, timeout)
            if response.status >= 300:
                raise _refusal(response, f"{method} {path}")
        except BaseException:
            connection.close()
            raise
        return connection, response

    def _connect(self) -> http.client.HTTPConnection:
        """The server, or the first socket that accepts."""
        if self._host is not None:
            return _called(self._host)
        failures: list[tuple[Path, OSError]] = []
        for candidate in self._candidates:
            connection = _Connection(candidate)
            try:
                connection.connect()
            except OSError as error:
                failures.append((candidate, error))
            else:
                return connection
        raise Unreachable(endpoint.explain(failures))


def understood(raw: bytes, expect: type[Reply]) -> Reply:
    """`raw` as `expect`. Raises Failed when the daemon speaks another version's language."""
    try:
        return msgspec.json.decode(raw, type=expect)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Failed(
            f"powerd's answer cannot be read ({error}); compare `powerctl --version` with the version of the daemon"
        ) from error


def objects(lines: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    """Each line as a JSON object. Raises Failed for a line that carries `error`, with its text."""
    for line in lines:
        item = understood(line, dict[str, Any])
        if "error" in item:
            raise Failed(str(item["error"]))
        yield item


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(CONNECT_SECONDS)
            sock.connect(str(self._path))
        except BaseException:
            sock.close()
            raise
        self.sock = sock

    def __str__(self) -> str:
        return str(self._path)


class _Over(http.client.HTTPConnection):
    """HTTP over TCP."""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class _Sealed(http.client.HTTPSConnection):
    """HTTP over TLS."""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def _called(host: Host) -> http.client.HTTPConnection:
    """A connection to the server. Raises Unreachable with the words of Ollama's command."""
    connection = (_Sealed if host.scheme == "https" else _Over)(host.name, host.port, timeout=CONNECT_SECONDS)
    try:
        connection.connect()
    except (OSError, UnicodeError) as error:
        connection.close()
        raise Unreachable("could not connect to ollama server, run 'ollama serve' to start it") from error
    return connection


def _exchange(
    connection: http.client.HTTPConnection, method: str, path: str, body: object, timeout: float
) -> http.client.HTTPResponse:
    """Send the request and read the head of the answer."""
    connection.sock.settimeout(timeout)
    headers = {"User-Agent": f"powerctl/{__version__}", "Accept": "application/json, application/x-ndjson"}
    data: bytes | Iterable[bytes] | None = None
    if isinstance(body, Upload):
        data = body.pieces
        headers |= {"Content-Type": "application/octet-stream", "Content-Length": str(body.length)}
    elif body is not None:
        data = msgspec.json.encode(body)
        headers["Content-Type"] = "application/json"
    try:
        with suppress(BrokenPipeError, ConnectionResetError):  # a body refused half-way (413) is answered all the same
            connection.request(method, path, data, headers)
        return connection.getresponse()
    except TimeoutError as error:
        raise Unreachable(f"powerd at {connection} did not answer within {timeout:.0f} seconds") from error
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(
            f"{connection} closed the connection without an answer in HTTP; powerd is stopping, or this is not "
            "powerd's socket"
        ) from error


def _lines(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Lines that are not blank, each as soon as it is there. `readline` would take a cut answer for a whole one."""
    rest = b""
    while piece := response.read1(_PIECE):
        *whole, rest = (rest + piece).split(b"\n")
        yield from filter(bytes.strip, whole)
    if response.length:
        raise http.client.IncompleteRead(rest, response.length)
    if rest.strip():
        yield rest


def _refusal(response: http.client.HTTPResponse, request: str) -> Refused:
    """The daemon's own text where there is one."""
    try:
        raw = response.read()
        document = msgspec.json.decode(raw, type=dict[str, Any])
        return Refused(str(document["error"]), response.status, document)
    except (msgspec.DecodeError, KeyError, RecursionError):
        first = raw.decode(errors="replace").strip().partition("\n")[0][:200]
        return Refused(f"powerd answered {response.status} to {request}: {first or response.reason}", response.status)
    except (OSError, http.client.HTTPException):
        return Refused(f"powerd answered {response.status} to {request}", response.status)
