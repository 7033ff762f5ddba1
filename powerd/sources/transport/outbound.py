"""Outbound: the one way out over HTTP, and the rules every request obeys.

Nothing follows a redirect by itself, sends a credential to another origin than its own, connects to an address its
caller may not name, decodes a body, or reads one without a bound.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urljoin

import httpx

from powerd import __version__
from powerd.errors import BadRequest, Forbidden, SourceFailed
from powerd.quantities import show_bytes
from powerd.sources.source import check_url, show_url
from powerd.sources.transport.answer import busy
from powerd.sources.transport.broken import Interrupted, meaning
from powerd.sources.transport.origin import Origin
from powerd.sources.transport.peers import check_address, check_host
from powerd.sources.transport.rate import RateLimit
from powerd.sources.transport.sharing import Sharing

T = TypeVar("T")
Content = bytes | Callable[[], AsyncIterator[bytes]]

MAX_MANIFEST = 4 << 20
MAX_DOCUMENT = 1 << 20
REDIRECTS = {301, 302, 303, 307, 308}
_MAX_REDIRECTS = 10
_DOCUMENT_SECONDS = 120.0
_AGENT = f"powerd/{__version__}"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited, in seconds, and how often tried again."""

    tries: int = 6  # in a row that brought less than a MiB
    connect: float = 15.0
    stall: float = 30.0  # without a single byte
    pause: float = 1.0  # before the second try; doubled for each further one, half of it either way by chance
    longest_pause: float = 30.0

    def wait(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row."""
        doublings: int = 2 ** (failures - 1)
        return min(self.longest_pause, self.pause * doublings) * random.uniform(0.5, 1.5)


@dataclass(frozen=True, slots=True)
class Host:
    """What powerd.yaml says about one registry, by its `host` or `host:port`."""

    allow: bool = True
    insecure: bool = False
    mirrors: tuple[str, ...] = ()
    username: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    token_hosts: tuple[str, ...] = ()
    ca: Path | None = None


@dataclass(frozen=True, slots=True)
class OutboundConfig:
    """The rules, as the settings give them."""

    hosts: Mapping[str, Host] = field(default_factory=dict)  # by lower-case host[:port]; `*` for those not listed
    key: Path | None = None  # the ed25519 key that signs token requests; made when missing
    ca: Path | None = None  # trusted besides the system's
    max_rate: int = 0  # bytes a second, all transfers together; 0 = no limit
    max_connections: int = 64
    parts: int = 4  # of one blob at once; more keep the event loop waiting where the disk is the bottleneck
    offline: bool = False
    patience: Patience = Patience()

    def host(self, key: str) -> Host | None:
        """What is said about exactly this host."""
        return self.hosts.get(key.lower())


@dataclass(frozen=True, slots=True)
class Document:
    """A whole answer."""

    url: str  # after redirects
    status: int
    headers: httpx.Headers
    body: bytes


class Outbound:
    """The way out. Made once by the daemon and closed by it; used in one event loop.

    `trusted` says that the owner asks (models.yaml, the control socket, a caller on this machine): then private and
    loopback addresses may be named. Everybody may name those of hosts listed in the configuration.
    """

    def __init__(self, config: OutboundConfig | None = None) -> None:
        self.config = config or OutboundConfig()
        self.patience = self.config.patience
        self.sharing = Sharing()
        self._rate = RateLimit(self.config.max_rate)
        self._clients: dict[tuple[bool, tuple[Path, ...]], httpx.AsyncClient] = {}
        self._making = asyncio.Lock()

    async def aclose(self) -> None:
        """Close every connection."""
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            await client.aclose()

    async def __aenter__(self) -> Outbound:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    # ------------------------------------------------------------ one request

    @contextlib.asynccontextmanager
    async def stream(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: Content | None = None,
        trusted: bool = True,
    ) -> AsyncIterator[httpx.Response]:
        """One request and the head of its answer; redirects are answers. Read the body with `body` or `read`.

        Raises Interrupted (another try may do better), SourceFailed, Forbidden.
        """
        origin = self._origin(url)
        listed = self.config.host(origin.key)
        private = trusted or (listed is not None and listed.allow)
        await check_host(origin.host, origin.port, show_url(url), private=private)
        authorities = tuple(path for path in (self.config.ca, listed.ca if listed else None) if path is not None)
        client = await self._client(private, authorities)
        request = client.build_request(
            method, url, headers=headers, content=content() if callable(content) else content
        )
        request.extensions["trace"] = _PeerCheck(origin, show_url(url), private=private)
        response = await self._send(client, request)
        try:
            yield response
        finally:
            await response.aclose()

    def _origin(self, url: str) -> Origin:
        if self.config.offline:
            raise Forbidden(f"{show_url(url)} is remote and powerd.yaml says `offline: true`")
        try:
            return Origin.of(url)
        except BadRequest as error:
            raise SourceFailed(f"{show_url(url)}: {error.message}") from None

    async def _send(self, client: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
        shown = show_url(str(request.url))
        try:
            response = await client.send(request, stream=True)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise meaning(error, shown, self.patience.connect, self.patience.stall) from None
        encoding = response.headers.get("content-encoding", "identity")
        if encoding.lower() != "identity":
            await response.aclose()
            raise SourceFailed(f"{shown}: unexpected Content-Encoding {encoding[:20]!r}")
        return response

    async def _client(self, private: bool, authorities: tuple[Path, ...]) -> httpx.AsyncClient:
        """Connections are not shared between those who may and those who may not reach private addresses."""
        async with self._making:
            if (private, authorities) not in self._clients:
                self._clients[private, authorities] = await asyncio.to_thread(self._make_client, authorities)
            return self._clients[private, authorities]

    def _make_client(self, authorities: tuple[Path, ...]) -> httpx.AsyncClient:
        """Made in a thread: reading the certificates, and the first client's imports, take about 0.1 s."""
        context = httpx.create_ssl_context()
        for path in authorities:
            try:
                context.load_verify_locations(path)
            except OSError as error:
                raise SourceFailed(f"the CA file {path} cannot be used: {error.strerror or error}") from None
        return httpx.AsyncClient(
            verify=context,
            timeout=httpx.Timeout(self.patience.stall, connect=self.patience.connect, pool=None),
            limits=httpx.Limits(max_connections=self.config.max_connections, max_keepalive_connections=16),
            headers={"Accept-Encoding": "identity", "User-Agent": _AGENT},
        )

    # ------------------------------------------------------------ redirects

    @contextlib.asynccontextmanager
    async def follow(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        credentials: Mapping[str, str] | None = None,
        trusted: bool = True,
    ) -> AsyncIterator[httpx.Response]:
        """As stream, with at most 10 redirects followed; `credentials` are headers for the first origin alone."""
        first, secret = url, dict(credentials or {})
        for _ in range(_MAX_REDIRECTS + 1):
            together = {**(headers or {}), **secret}
            async with self.stream(method, url, headers=together, trusted=trusted) as response:
                if response.status_code not in REDIRECTS:
                    yield response
                    return
                following = next_hop(url, response)
            if Origin.of(following) != Origin.of(url):
                secret = {}
            url = following
        raise SourceFailed(f"{show_url(first)}: more than {_MAX_REDIRECTS} redirects")

    # ------------------------------------------------------------ bodies

    async def body(self, response: httpx.Response) -> AsyncIterator[bytes]:
        """The body's bytes as they come, within the rate. Raises Interrupted, SourceFailed."""
        try:
            async for chunk in response.aiter_raw():
                await self._rate.take(len(chunk))
                yield chunk
        except httpx.TransportError as error:
            shown = show_url(str(response.url))
            raise meaning(error, shown, self.patience.connect, self.patience.stall) from None

    async def read(self, response: httpx.Response, limit: int = MAX_DOCUMENT) -> bytes:
        """The whole body. Raises SourceFailed past `limit` bytes, Interrupted."""
        data = bytearray()
        try:
            async with asyncio.timeout(_DOCUMENT_SECONDS):
                async for chunk in self.body(response):
                    data += chunk
                    if len(data) > limit:
                        shown = show_url(str(response.url))
                        raise SourceFailed(f"{shown}: the answer is longer than {show_bytes(limit)}")
        except TimeoutError:
            raise Interrupted(f"the answer was not complete after {_DOCUMENT_SECONDS:g} s") from None
        return bytes(data)

    async def document(
        self,
        url: str,
        *,
        limit: int = MAX_DOCUMENT,
        headers: Mapping[str, str] | None = None,
        credentials: Mapping[str, str] | None = None,
        trusted: bool = True,
    ) -> Document:
        """GET, redirects followed, tried again where that may help; any final status is an answer.

        Raises SourceFailed, Forbidden.
        """

        async def ask() -> Document:
            async with self.follow("GET", url, headers=headers, credentials=credentials, trusted=trusted) as response:
                raise_if_busy(response)
                body = await self.read(response, limit)
                return Document(str(response.url), response.status_code, response.headers, body)

        return await self.patiently(show_url(url), ask)

    async def patiently(self, shown: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """Run `attempt` until it does not raise Interrupted, as often as patience says. Raises SourceFailed."""
        failures = 0
        while True:
            try:
                return await attempt()
            except Interrupted as again:
                failures += 1
                if failures >= self.patience.tries:
                    raise SourceFailed(f"{shown}: {again}; gave up after {failures} tries") from None
                await asyncio.sleep(self.patience.wait(failures) if again.wait is None else again.wait)


def raise_if_busy(response: httpx.Response) -> None:
    """Raise Interrupted for a status that will pass by itself: 408, 425, 429, 5xx."""
    again = busy(response.status_code, response.headers, time.time())
    if again is not None:
        raise Interrupted(again.reason, again.wait)


class _PeerCheck:
    """Told by the HTTP library what it does: looks at the address of every new connection before a byte goes out."""

    def __init__(self, origin: Origin, shown: str, *, private: bool) -> None:
        self._origin = origin
        self._shown = shown
        self._private = private
        self._direct = False

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        """One step of the connection. Raises Forbidden."""
        if event == "connection.connect_tcp.started":
            # A connection to another place than the URL's goes to the owner's own proxy.
            self._direct = (info["host"].strip("[]").lower(), info["port"]) == (self._origin.host, self._origin.port)
        elif event == "connection.connect_tcp.complete":
            stream = info["return_value"]
            peer = stream.get_extra_info("server_addr")
            try:
                if self._direct and peer:
                    check_address(str(peer[0]), self._shown, private=self._private)
            except BaseException:
                await stream.aclose()
                raise


def next_hop(url: str, response: httpx.Response) -> str:
    """Where a redirect leads. Raises SourceFailed for what is not followed."""
    location = response.headers.get("location")
    if not location:
        raise SourceFailed(f"{show_url(url)}: a redirect without a Location")
    try:
        following: str = urljoin(url, location)
        check_url(following)
    except (BadRequest, ValueError) as error:
        raise SourceFailed(f"{show_url(url)}: a redirect to something that is not fetched: {error}") from None
    if url.lower().startswith("https:") and not following.lower().startswith("https:"):
        raise SourceFailed(f"{show_url(url)}: a redirect from https to http is not followed")
    return following
