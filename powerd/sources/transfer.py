"""The one mover of bytes over HTTP: streamed into an ingest, resumed when cut, and never taken for what it is not."""

from __future__ import annotations

import asyncio
import email.utils
import http
import random
import re
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
_RETRIED = {408, 425, 429}
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", re.ASCII)
_LONGEST_RETRY_AFTER = 60.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a transfer waits, in seconds, and how often it tries again."""

    tries: int = 6  # in a row without a MiB of progress
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
        context = await asyncio.to_thread(httpx.create_ssl_context)
        timeout = httpx.Timeout(self._patience.stall, connect=self._patience.connect)
        headers = {"Accept-Encoding": "identity", "User-Agent": "powerd"}
        try:
            async with httpx.AsyncClient(verify=context, timeout=timeout, headers=headers) as client:
                ingest = await self._fetch_right(client)
            await verify(ingest)
            return await asyncio.to_thread(ingest.commit)
        finally:
            if self._ingest is not None:
                await asyncio.shield(asyncio.to_thread(self._ingest.abort))

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
        failures = 0
        while True:
            before = self._written
            try:
                return await self._attempt(client)
            except _AgainLater as again:
                failures = 1 if self._written - before >= _BUFFER else failures + 1
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
        await self._judge(response)
        if self._ingest is None:
            self._ingest = await asyncio.to_thread(self._store.ingest, self._expect, self._total)
        ingest = self._ingest
        self._on_progress(ingest.written, self._total or 0)
        buffer = bytearray()
        try:
            if response.status_code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
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
        if self._total is not None and ingest.written < self._total:
            raise _AgainLater(f"the answer ended after {ingest.written} of {self._total} bytes")
        return ingest

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

    async def _judge(self, response: httpx.Response) -> None:
        """Check status and headers; sets the total length, and starts over where the answer is not the rest."""
        status = response.status_code
        if status in _RETRIED or status >= 500:
            wait = _retry_after(response.headers.get("retry-after", "")) if status == 429 else None
            raise _AgainLater(_phrase(status), wait)
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise SourceFailed(
                f"{self._shown}: unexpected Content-Encoding {response.headers['content-encoding'][:20]!r}"
            )
        if status == 200:
            await self._restart()
            length = response.headers.get("content-length", "")
            self._total = int(length) if length.isascii() and length.isdecimal() and len(length) < 19 else None
            etag = response.headers.get("etag", "")
            self._validator = etag if etag.startswith('"') else ""
        elif status == 206 and self._written:
            await self._check_range(response.headers.get("content-range", ""))
        elif status == 416 and self._written:
            if self._written != self._total:
                await self._restart()
                raise _AgainLater("the server could not resume; starting over", 0.0)
        else:
            raise SourceFailed(f"{show_url(str(response.url))}: {_phrase(status)}")

    async def _check_range(self, text: str) -> None:
        match = _CONTENT_RANGE.fullmatch(text)
        if (
            match is None
            or int(match[1]) != self._written
            or (match[3] != "*" and self._total is not None and int(match[3]) != self._total)
        ):
            await self._restart()
            raise _AgainLater("the server resumed at the wrong place; starting over", 0.0)
        if match[3] != "*":
            self._total = int(match[3])


def _parsed(url: str) -> httpx.URL:
    try:
        return httpx.URL(url)
    except httpx.InvalidURL as error:
        raise SourceFailed(f"{show_url(url)}: {error}") from None


def _phrase(status: int) -> str:
    try:
        return f"the server answered {status} {http.HTTPStatus(status).phrase}"
    except ValueError:
        return f"the server answered {status}"


def _retry_after(text: str) -> float | None:
    """Seconds to wait, at most a minute; None where the header says nothing sensible."""
    if text.isascii() and text.isdecimal() and len(text) < 10:
        return min(float(text), _LONGEST_RETRY_AFTER)
    try:
        until = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(until, 0.0), _LONGEST_RETRY_AFTER)
