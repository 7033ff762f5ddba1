"""The guards in the hub library's client: one origin, no link-local peer, plain bounded bodies, a deadline.

The library has one client for the whole process, made by a factory; ours hangs these into it. They hold for whatever
the library asks within `guarded`, redirects, next pages and fresh tokens included (reliability R19, S11, S12).
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

import httpx2
import huggingface_hub
from huggingface_hub import constants

from powerd.errors import BadRequest, SourceFailed
from powerd.sources.transport.broken import Interrupted
from powerd.sources.transport.origin import Origin
from powerd.sources.transport.peers import check_address

#: A listing with one line for each of some 50,000 files.
MAX_ANSWER = 16 << 20
#: For one question, redirects and body included.
SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class _Guard:
    origin: Origin
    ends: float  # time.monotonic()
    ca: Path | None


_GUARD: ContextVar[_Guard] = ContextVar("_GUARD")


def install() -> None:
    """Give the library a client with the guards, and switch off its telemetry. Once, before its first request."""
    constants.HF_HUB_DISABLE_TELEMETRY = True
    huggingface_hub.set_client_factory(_client)


def _client() -> httpx2.Client:
    """Made at the first request, with the CA file of that time: a daemon has one hub."""
    context = httpx2.create_ssl_context()
    ca = _GUARD.get().ca
    if ca is not None:
        try:
            context.load_verify_locations(ca)
        except OSError as error:
            raise SourceFailed(f"the CA file {ca} cannot be read: {error.strerror or error}") from None
    return httpx2.Client(
        event_hooks={"request": [_before], "response": [_after]}, follow_redirects=True, verify=context
    )


@contextlib.contextmanager
def guarded(origin: Origin, ca: Path | None) -> Iterator[None]:
    """Allow requests to `origin`, from this thread, for SECONDS."""
    token = _GUARD.set(_Guard(origin, time.monotonic() + SECONDS, ca))
    try:
        yield
    finally:
        _GUARD.reset(token)


def _before(request: httpx2.Request) -> None:
    """Every request, those after a redirect included, goes to the hub itself: nobody else may see the token."""
    guard = _GUARD.get()
    if _origin(str(request.url)) != guard.origin:
        raise SourceFailed(f"the hub at {guard.origin} sent us on to {request.url.host[:100]!r}, which is not asked")
    _check_host(guard.origin.host, guard.origin.port)
    if constants.is_offline_mode():
        raise SourceFailed("HF_HUB_OFFLINE is set: the Hugging Face hub is not asked")
    request.headers["Accept-Encoding"] = "identity"
    if time.monotonic() > guard.ends:
        raise Interrupted("the hub took too long to answer")


def _origin(url: str) -> Origin | None:
    try:
        return Origin.of(url)
    except BadRequest:
        return None


def _check_host(host: str, port: int) -> None:
    """As peers.check_host, for a thread. Who configures an endpoint may choose a private one."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return
    for _, _, _, _, address in found:
        check_address(str(address[0]), host, private=True)


def _after(response: httpx2.Response) -> None:
    stream = response.extensions.get("network_stream")
    peer = stream.get_extra_info("server_addr") if stream is not None else None
    check_address(str(peer[0]) if peer else "", str(response.url.host), private=True)
    encoding = response.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise SourceFailed(f"unexpected Content-Encoding {encoding[:20]!r} from the hub")
    if isinstance(response.stream, httpx2.SyncByteStream):
        response.stream = _Bounded(response.stream, _GUARD.get().ends)


class _Bounded(httpx2.SyncByteStream):
    """A body of at most MAX_ANSWER bytes that ends before the deadline."""

    def __init__(self, stream: httpx2.SyncByteStream, ends: float) -> None:
        self._stream = stream
        self._ends = ends

    def __iter__(self) -> Iterator[bytes]:
        seen = 0
        for chunk in self._stream:
            seen += len(chunk)
            if seen > MAX_ANSWER:
                raise SourceFailed(
                    f"the hub's answer is longer than {MAX_ANSWER >> 20} MiB: the repository has too many files to be "
                    "listed; use the https://…/resolve/… link of the one you want"
                )
            if time.monotonic() > self._ends:
                raise Interrupted("the hub took too long to answer")
            yield chunk

    def close(self) -> None:
        self._stream.close()
