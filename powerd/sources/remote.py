"""The header of a GGUF file that is elsewhere: its first megabytes by range requests, and not the rest."""

from __future__ import annotations

import asyncio
import time

import httpx

from powerd.errors import SourceFailed
from powerd.quantities import show_bytes
from powerd.sources.transport.answer import Again, Complete, Rest, Whole, judge
from powerd.sources.transport.broken import Interrupted
from powerd.sources.transport.location import Location
from powerd.sources.transport.outbound import Outbound
from powerd.store.gguf import GgufError, Header, TooShort, parse_prefix

#: A header with a vocabulary of 250,000 tokens and its merges takes about 16 MB.
MAX_BYTES = 20_000_000
_FIRST = 1 << 20


async def read_remote_header(location: Location, outbound: Outbound, *, size: int | None = None) -> Header:
    """As `header_if_sized`; a server that does not say how long the file is is a SourceFailed too."""
    header = await header_if_sized(location, outbound, size=size)
    if header is None:
        raise SourceFailed(f"{location.shown}: the server does not say how long the file is")
    return header


async def header_if_sized(location: Location, outbound: Outbound, *, size: int | None = None) -> Header | None:
    """Read and check the header of the GGUF file at `location`, fetching at most MAX_BYTES of it.

    `size` is the file's where it is known already; None when the server does not say it either. A server that does not
    do ranges is read from the start and left as soon as the header is there. Raises SourceFailed for what cannot be had
    or is no sound GGUF file, Forbidden.
    """
    try:
        return await outbound.patiently(location.shown, lambda: _Reading(location, outbound, size).run())
    except _Unsized:
        return None
    except GgufError as error:
        raise SourceFailed(f"{location.shown}: {error}") from None


class _Unsized(Exception):
    """The server does not say how long the file is."""


class _Reading:
    """The bytes there are so far, and how many it takes."""

    def __init__(self, location: Location, outbound: Outbound, size: int | None) -> None:
        self._location = location
        self._shown = location.shown
        self._outbound = outbound
        self._size = size
        self._data = bytearray()
        self._wanted = _FIRST

    async def run(self) -> Header:
        while True:
            span = {"Range": f"bytes={len(self._data)}-{self._wanted - 1}"}
            async with self._location.open(span) as response:
                self._begin(response)
                header = await self._take(response)
            if header is not None:
                return header

    def _begin(self, response: httpx.Response) -> None:
        """Understand the answer's head: where its body starts, and how long the file is."""
        now = time.time()
        try:
            answer = judge(response.status_code, response.headers, len(self._data), self._size, now, self._wanted)
        except SourceFailed as error:
            raise SourceFailed(f"{self._shown}: {error.message}") from None
        match answer:
            case Again(reason, wait):
                raise Interrupted(reason, wait)
            case Complete():
                raise Interrupted("the file ends before its header does")
            case Whole():
                self._data.clear()
            case Rest():
                pass
        size = self._size if answer.total is None else answer.total
        if size is None:
            raise _Unsized
        if self._size not in (None, size):
            raise SourceFailed(f"{self._shown} is {size} bytes long; it should be {self._size}")
        self._size = size
        self._wanted = min(self._wanted, size)

    async def _take(self, response: httpx.Response) -> Header | None:
        """Read the body until the header is whole; None when the part asked for ends before."""
        before = len(self._data)
        async for chunk in self._outbound.body(response):
            self._data += chunk
            while len(self._data) >= self._wanted:
                header = await self._parse()
                if header is not None:
                    return header
        if response.status_code == 200 or len(self._data) == before:
            raise Interrupted(f"the answer ended after {len(self._data)} of {self._size} bytes")
        return None

    async def _parse(self) -> Header | None:
        assert self._size is not None
        try:
            return await asyncio.to_thread(parse_prefix, bytes(self._data), self._size)
        except TooShort as short:
            if self._wanted >= MAX_BYTES:
                raise SourceFailed(f"{self._shown}: its header is longer than {show_bytes(MAX_BYTES)}") from None
            self._wanted = min(max(short.wanted, 2 * len(self._data)), self._size, MAX_BYTES)
            return None
