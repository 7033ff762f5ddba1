"""Upload: one blob to a registry, in parts that follow each other (contract section 3.3)."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urljoin

import httpx

from powerd.errors import BadRequest, SourceFailed, StoreFailed
from powerd.names import DEFAULT_HOST, Name
from powerd.sources.registry.challenge import with_query
from powerd.sources.registry.repository import Repository, check_said_digest
from powerd.sources.registry.ticking import Progress
from powerd.sources.source import show_url
from powerd.sources.transport.origin import Origin
from powerd.sources.transport.outbound import next_hop, raise_if_busy
from powerd.store.manifest import Layer

_SMALLEST_PART = 100_000_000
_LARGEST_PART = 1_000_000_000
_PARTS = 16
_CHUNK = 1 << 20


async def accept(repository: Repository, response: httpx.Response) -> None:
    """Raise for an answer that is not 2xx: Interrupted where that passes by itself, else SourceFailed."""
    raise_if_busy(response)
    await repository.refuse(response)
    if not response.is_success:
        raise SourceFailed(f"{show_url(str(response.url))}: the server answered {response.status_code}")


class Upload:
    """One verified blob on its way out."""

    def __init__(self, repository: Repository, layer: Layer, path: Path, progress: Progress) -> None:
        self._repository = repository
        self._layer = layer
        self._path = path
        self._progress = progress
        self._url = ""  # where the next part goes; empty: nowhere yet
        self._at = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sums: list[bytes] = []  # the MD5 of each part

    async def run(self) -> None:
        """Send it, going on after interruptions as often as patience says. Raises SourceFailed, StoreFailed."""
        shown = f"{self._repository.root}: pushing {self._layer.digest.short}"
        await self._repository.outbound.patiently(shown, self._attempt)

    async def _attempt(self) -> None:
        if self._url:
            await self._find_place()
        if not self._url:
            self._at = 0
            self._sums.clear()
            if await self._begin():
                return
        while self._at < self._layer.size:
            end = min(self._at + self._part_size(), self._layer.size)
            await self._send_part(end)
        await self._commit()

    def _part_size(self) -> int:
        return min(_LARGEST_PART, max(_SMALLEST_PART, self._layer.size // _PARTS))

    async def _begin(self) -> bool:
        """Open an upload; says whether the registry took the blob from another repository of its own instead."""
        url = f"{self._repository.root}/blobs/uploads/"
        origin = _mountable(self._layer, self._repository)
        if origin:
            url = with_query(url, [("mount", str(self._layer.digest)), ("from", origin)])
        async with self._repository.send("POST", url, headers={"Content-Length": "0"}) as response:
            await accept(self._repository, response)
            if response.status_code == 201:
                return True
            self._url = self._following(url, response)
            return False

    def _following(self, url: str, response: httpx.Response) -> str:
        """Where the upload goes on: on this registry's own origin, or not at all."""
        location = response.headers.get("docker-upload-location") or response.headers.get("location")
        if not location:
            raise SourceFailed(f"{self._repository.root}: an upload without a Location")
        try:
            following: str = urljoin(url, location)
            same = Origin.of(following) == self._repository.origin
        except (BadRequest, ValueError):
            same = False
        if not same:
            raise SourceFailed(f"{self._repository.root}: upload location changed origin")
        return following

    async def _find_place(self) -> None:
        """After an interruption: go on where the registry says it is, or anew when it does not."""
        async with self._repository.send("GET", self._url) as response:
            raise_if_busy(response)
            first, _, last = response.headers.get("range", "").removeprefix("bytes=").partition("-")
            have = int(last) + 1 if first == "0" and last.isascii() and last.isdecimal() and len(last) < 19 else 0
            if response.status_code == 204 and 1 < have <= self._layer.size and "location" in response.headers:
                self._url, self._at = self._following(self._url, response), have
            else:
                self._url = ""

    async def _send_part(self, end: int) -> None:
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(end - self._at),
            "Content-Range": f"{self._at}-{end - 1}",
            "X-Redirect-Uploads": "1",
        }
        direct = ""
        async with self._repository.send(
            "PATCH", self._url, headers=headers, content=lambda: self._read(end)
        ) as response:
            if response.status_code == 307:
                direct = next_hop(self._url, response)
                if "docker-upload-location" not in response.headers:
                    raise SourceFailed(f"{self._repository.root}: an upload without a Location")
            else:
                await accept(self._repository, response)
            following = self._following(self._url, response)
        if direct:
            await self._put_elsewhere(direct, end)
        self._sums.append(self._md5.digest())
        self._url, self._at = following, end

    async def _put_elsewhere(self, url: str, end: int) -> None:
        """One part to where the registry wants its bytes, with no credentials."""
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(end - self._at)}
        async with self._repository.outbound.stream(
            "PUT", url, headers=headers, content=lambda: self._read(end), trusted=self._repository.trusted
        ) as response:
            await accept(self._repository, response)

    async def _read(self, end: int) -> AsyncIterator[bytes]:
        """The part's bytes, from its first one each time it is sent."""
        self._md5 = hashlib.md5(usedforsecurity=False)
        at = self._at
        while at < end:
            chunk = await asyncio.to_thread(self._chunk, at, min(_CHUNK, end - at))
            at += len(chunk)
            yield chunk
            self._progress.completed = at

    def _chunk(self, at: int, count: int) -> bytes:
        try:
            with self._path.open("rb") as file:
                data = os.pread(file.fileno(), count, at)
        except OSError as error:
            raise StoreFailed(f"reading {self._path}: {error.strerror}") from None
        if not data:
            raise StoreFailed(f"reading {self._path}: it ends at byte {at}")
        self._md5.update(data)
        return data

    async def _commit(self) -> None:
        etag = hashlib.md5(b"".join(self._sums), usedforsecurity=False).hexdigest()
        query = [("digest", str(self._layer.digest)), ("etag", f"{etag}-{len(self._sums)}")]
        url = with_query(self._url, query)
        async with self._repository.send("PUT", url, headers={"Content-Length": "0"}) as response:
            await accept(self._repository, response)
            check_said_digest(response, self._layer.digest)


def _mountable(layer: Layer, repository: Repository) -> str:
    """The repository a layer came from, where that is one of the same registry."""
    if layer.origin is None:
        return ""
    try:
        name = Name.parse(layer.origin)
    except ValueError:
        return ""
    same = name.host.lower() in {DEFAULT_HOST, repository.origin.key}
    return f"{name.namespace}/{name.model}" if same else ""
