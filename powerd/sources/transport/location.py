"""Location: what a transfer reads from. The final answer to a GET, whatever redirects and tokens it takes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import httpx

from powerd.sources.source import show_url
from powerd.sources.transport.outbound import Outbound


class Location(Protocol):
    """One file somewhere."""

    @property
    def shown(self) -> str:
        """Its name for messages."""

    def open(self, headers: Mapping[str, str]) -> AbstractAsyncContextManager[httpx.Response]:
        """The answer to a GET with these headers. Raises Interrupted, SourceFailed, Forbidden."""


class Link:
    """A file at a URL. `token` goes to that URL's origin alone, never to where it redirects."""

    def __init__(self, outbound: Outbound, url: str, *, token: str = "", trusted: bool = True) -> None:
        self._outbound = outbound
        self._url = url
        self._credentials = {"Authorization": f"Bearer {token}"} if token else {}
        self._trusted = trusted
        #: What the last good answer said of the file's state: its ETag, else when it was changed last; empty: neither.
        self.tag = ""

    @property
    def shown(self) -> str:
        """The URL without its query."""
        return show_url(self._url)

    @contextlib.asynccontextmanager
    async def open(self, headers: Mapping[str, str]) -> AsyncIterator[httpx.Response]:
        """The answer to a GET, redirects followed."""
        async with self._outbound.follow(
            "GET", self._url, headers=headers, credentials=self._credentials, trusted=self._trusted
        ) as response:
            if response.is_success:
                self.tag = response.headers.get("etag") or response.headers.get("last-modified") or ""
            yield response
