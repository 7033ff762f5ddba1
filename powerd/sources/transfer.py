"""The one mover of bytes over HTTP: streamed into an ingest, resumed when cut, and never taken for what it is not."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urljoin

import httpx

from powerd.digest import Digest
from powerd.errors import BadRequest, NoSpace, SourceFailed
from powerd.quantities import show_bytes
from powerd.sources.answer import Again, Complete, Rest, Whole, judge
from powerd.sources.peers import check_address, check_host
from powerd.sources.source import check_url, show_url
from powerd.store.blobs import MARGIN
from powerd.store.gguf_types import MAGIC
from powerd.store.ingest import Ingest
from powerd.store.looks import ENOUGH, looks_like
from powerd.store.store import Store

OnProgress = Callable[[int, int], None]

_BUFFER = 1 << 20
_REDIRECTS = {301, 302, 303, 307, 308}
_MAX_REDIRECTS = 10


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a transfer waits, in seconds, and how often it tries again."""

    tries: int = 6  # in a row that got no MiB further than any before
    connect: float = 15.0
    stall: float = 30.0  # without a single byte
    pause: float = 0.5  # before the second try; doubled for each further one
    longest_pause: float = 30.0


class _AgainLater(Exception):
    """This attempt failed in a way that another may not."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class Transfer:
    """One download of one URL into the store."""

    def __init__(
        self, url: str, store: Store, expect: Digest | None, on_progress: OnProgress, patience: Patience
    ) -> None:
        self._url = url
        self._shown = show_url(url)
        self._store = store
        self._expect = expect
        self._on_progress = on_progress
        self._patience = patience
        self._ingest: Ingest | None = None
        self._total: int | None = None
        self._validator = ""  # a strong ETag: the rest must come from the same file
        self._checked = 0  # bytes at the last look at the free space

    async def run(self, verify: Callable[[Ingest], Awaitable[None]]) -> Digest:
        """Fetch, let `verify` raise if the bytes are not what is wanted, and commit.

        Raises SourceFailed, NoSpace, StoreFailed; cancelled or failed, it leaves nothing in the store.
        """
        try:
            async with await asyncio.to_thread(self._client) as client:
                ingest = await self._fetch_right(client)
            await verify(ingest)
            return await asyncio.to_thread(ingest.commit)
        finally:
            if self._ingest is not None:
                await asyncio.shield(asyncio.to_thread(self._ingest.abort))

    def _client(self) -> httpx.AsyncClient:
        """Made in a thread: reading the certificates, and the first client's imports, take about 0.1 s."""
        timeout = httpx.Timeout(self._patience.stall, connect=self._patience.connect)
        headers = {"Accept-Encoding": "identity", "User-Agent": "powerd"}
        return httpx.AsyncClient(verify=httpx.create_ssl_context(), timeout=timeout, headers=headers)

    async def _fetch_right(self, client: httpx.AsyncClient) -> Ingest:
        """All bytes, with the expected digest; wrong ones are fetched once more from the start."""
        for _ in range(2):
            ingest = await self._fetch_whole(client)
            got = ingest.digest
            if self._expect is None or got == self._expect:
                return ingest
            await self._restart()
        raise SourceFailed(f'{self._shown}: digest mismatch, expected "{self._expect}", got "{got}"')

    async def _fetch_whole(self, client: httpx.AsyncClient) -> Ingest:
        failures = furthest = 0
        while True:
            try:
                return await self._attempt(client)
            except _AgainLater as again:
                failures += 1
                if self._written - furthest >= _BUFFER:
                    failures, furthest = 1, self._written
                if failures >= self._patience.tries:
                    raise SourceFailed(f"{self._shown}: {again}; gave up after {failures} tries") from None
                await asyncio.sleep(self._pause(failures) if again.wait is None else again.wait)

    def _pause(self, failures: int) -> float:
        doublings: int = 2 ** (failures - 1)
        return min(self._patience.longest_pause, self._patience.pause * doublings) * random.uniform(0.5, 1.5)

    @property
    def _written(self) -> int:
        return self._ingest.written if self._ingest is not None else 0

    async def _restart(self) -> None:
        self._checked, self._total, self._validator = 0, None, ""
        if self._ingest is not None:
            ingest, self._ingest = self._ingest, None
            await asyncio.to_thread(ingest.abort)

    # ------------------------------------------------------------ one attempt

    async def _attempt(self, client: httpx.AsyncClient) -> Ingest:
        try:
            response = await self._ask(client)
            try:
                return await self._receive(response)
            finally:
                await response.aclose()
        except httpx.TransportError as error:
            raise self._trouble(error) from None

    def _trouble(self, error: httpx.TransportError) -> Exception:
        """What a broken connection means: most are worth another try, a wrong name or certificate is not."""
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return SourceFailed(f"{self._shown}: the server's certificate is not trusted: {cause.verify_message}")
            if isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_NONAME:
                return SourceFailed(f"{self._shown}: there is no such host")
            cause = cause.__cause__ or cause.__context__
        if isinstance(error, httpx.ConnectTimeout):
            return _AgainLater(f"no connection within {self._patience.connect:g} s")
        if isinstance(error, httpx.TimeoutException):
            return _AgainLater(f"no bytes for {self._patience.stall:g} s")
        return _AgainLater(str(error) or type(error).__name__)

    async def _ask(self, client: httpx.AsyncClient) -> httpx.Response:
        """The answer to a request for what is missing, redirects followed and every hop checked."""
        url = self._url
        for _ in range(_MAX_REDIRECTS + 1):
            target = _parsed(url)
            await check_host(target.host, target.port or (443 if target.scheme == "https" else 80), show_url(url))
            response = await client.send(client.build_request("GET", url, headers=self._range()), stream=True)
            try:
                peer = response.extensions["network_stream"].get_extra_info("server_addr")
                check_address(str(peer[0]) if peer else "", show_url(url))
                if response.status_code not in _REDIRECTS:
                    return response
                url = self._next_hop(url, response)
            except BaseException:
                await response.aclose()
                raise
            await response.aclose()
        raise SourceFailed(f"{self._shown}: more than {_MAX_REDIRECTS} redirects")

    def _range(self) -> dict[str, str]:
        if not self._written:
            return {}
        return {"Range": f"bytes={self._written}-"} | ({"If-Range": self._validator} if self._validator else {})

    def _next_hop(self, url: str, response: httpx.Response) -> str:
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

    # ------------------------------------------------------------ the answer

    async def _receive(self, response: httpx.Response) -> Ingest:
        answer = self._judge(response)
        match answer:
            case Again(reason, wait, from_start):
                if from_start:
                    await self._restart()
                raise _AgainLater(reason, wait)
            case Whole(total, validator):
                await self._restart()
                self._total, self._validator = total, validator
            case Rest(total):
                self._total = total
        ingest = self._ingest or await self._begin()
        self._on_progress(ingest.written, self._total or 0)
        if not isinstance(answer, Complete):
            await self._read_body(response, ingest)
        if self._total is not None and ingest.written < self._total:
            raise _AgainLater(f"the answer ended after {ingest.written} of {self._total} bytes")
        return ingest

    def _judge(self, response: httpx.Response) -> Again | Complete | Rest | Whole:
        try:
            return judge(response.status_code, response.headers, self._written, self._total, time.time())
        except SourceFailed as error:
            raise SourceFailed(f"{show_url(str(response.url))}: {error.message}") from None

    async def _begin(self) -> Ingest:
        """A new ingest, ours to abort even if we are cancelled while the thread makes it."""
        making = asyncio.ensure_future(asyncio.to_thread(self._store.ingest, self._expect, self._total))
        try:
            self._ingest = await asyncio.shield(making)
        except asyncio.CancelledError:
            self._ingest = await making
            raise
        return self._ingest

    async def _read_body(self, response: httpx.Response, ingest: Ingest) -> None:
        buffer = bytearray()
        try:
            async for chunk in response.aiter_raw():
                buffer += chunk
                if not ingest.written and len(buffer) - len(chunk) < ENOUGH <= len(buffer):
                    self._check_magic(buffer)
                if len(buffer) >= _BUFFER:
                    await self._flush(ingest, buffer)
        except httpx.TransportError:
            if ingest.written or len(buffer) >= ENOUGH:
                await self._flush(ingest, buffer)
            raise
        if not ingest.written:
            self._check_magic(buffer)
        await self._flush(ingest, buffer)

    def _check_magic(self, head: bytearray) -> None:
        if not head.startswith(MAGIC):
            raise SourceFailed(f"{self._shown}: not a GGUF file (looks like {looks_like(bytes(head[:ENOUGH]))})")

    async def _flush(self, ingest: Ingest, buffer: bytearray) -> None:
        data = bytes(buffer)
        buffer.clear()
        if self._total is not None and ingest.written + len(data) > self._total:
            raise SourceFailed(f"{self._shown}: longer than the declared {self._total} bytes")
        await asyncio.to_thread(ingest.write, data)
        if self._total is None and ingest.written - self._checked >= MARGIN:
            self._checked = ingest.written
            free = await asyncio.to_thread(self._store.free)
            if free < 2 * MARGIN:
                raise NoSpace(f"{self._shown} does not say how long it is, and only {show_bytes(free)} are free")
        self._on_progress(ingest.written, self._total or 0)


def _parsed(url: str) -> httpx.URL:
    try:
        return httpx.URL(url)
    except httpx.InvalidURL as error:
        raise SourceFailed(f"{show_url(url)}: {error}") from None
