"""Upstream: what a source would give at this moment, as far as it tells without being fetched."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from powerd.digest import Digest
from powerd.errors import Forbidden, SourceFailed
from powerd.sources.fetch import identity
from powerd.sources.hub.model import HubConfig, HubFiles
from powerd.sources.resolve import resolve_name
from powerd.sources.source import Source, show_url
from powerd.sources.transport.location import Link
from powerd.sources.transport.outbound import Outbound, raise_if_busy


@dataclass(frozen=True, slots=True)
class Upstream:
    """What is there. `revision` is the source's own word: a manifest's digest, a commit, an ETag, a file's looks.

    `weights` is their digest, where the source says it.
    """

    revision: str
    weights: Digest | None = None


async def upstream(source: Source, outbound: Outbound, hub: HubConfig, *, quantization: str = "") -> Upstream:
    """Ask a source what it has; manifests, listings and headers only. Raises SourceFailed, BadRequest, Forbidden."""
    if source.kind in {"file", "builtin"}:
        return Upstream(await asyncio.to_thread(identity, source))
    if source.kind == "url":
        if outbound.config.offline:
            raise Forbidden(f"{source.text} is remote and powerd.yaml says `offline: true`")
        return Upstream(await entity_tag(source.url, outbound))
    found = (await resolve_name(source.text, outbound, hub, quantization=quantization, declared=True)).found
    if isinstance(found, HubFiles):
        return Upstream(found.revision, found.files[0].digest if len(found.files) == 1 else None)
    return Upstream(str(found.digest), found.weights)


async def entity_tag(url: str, outbound: Outbound) -> str:
    """The ETag of a file on the web, else when it was changed last; empty where the server says neither.

    Raises SourceFailed, Forbidden.
    """

    async def ask() -> str:
        link = Link(outbound, url)
        async with link.open({"Range": "bytes=0-0"}) as response:
            raise_if_busy(response)
            if response.status_code >= 400:
                raise SourceFailed(f"{show_url(url)}: {response.status_code} {response.reason_phrase}")
            return link.tag

    return await outbound.patiently(show_url(url), ask)


def is_digest(revision: str) -> bool:
    """Whether a revision is a registry's."""
    return revision.startswith("sha256:")
