"""Fetch: a source's weights into the store, checked before anybody can see them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from powerd import __version__
from powerd.digest import Digest
from powerd.errors import BadRequest, Cancelled, Conflict, SourceFailed
from powerd.sources.source import Source
from powerd.sources.transport.location import Link
from powerd.sources.transport.outbound import Outbound
from powerd.sources.transport.transfer import download
from powerd.store.files import stamp
from powerd.store.gguf import GgufError, Header, read_header
from powerd.store.store import Store

OnProgress = Callable[[int, int], None]
Check = Callable[[Header], None]

_BUILTIN = {"demo": "tiny-chat-q8_0.gguf"}


async def fetch(
    source: Source,
    store: Store,
    *,
    expect: Digest | None = None,
    on_progress: OnProgress = lambda _completed, _total: None,
    outbound: Outbound | None = None,
    on_tag: Callable[[str], None] = lambda _tag: None,
    check: Check = Header.check_model,
) -> Digest:
    """Bring the weights of `source` into the store and return their digest; with `expect`, only those bytes.

    `on_progress` hears (bytes completed, bytes in all or 0) on the event loop, `on_tag` what a web server says of the
    file's state (its ETag). Cancelling stops within a chunk and
    leaves nothing behind. `check` looks at what was fetched before it is taken, and raises GgufError or BadRequest for
    what is not wanted. Raises SourceFailed, NoSpace, StoreFailed, BadRequest for an unsupported source.
    """
    if not source.supported:
        raise BadRequest(source.why_not, "source")
    if expect is not None and await asyncio.to_thread(store.intact, expect):
        present = await asyncio.to_thread(store.blob, expect)
        size = present.stat().st_size if present is not None else 0
        on_progress(size, size)
        return expect
    if source.kind == "url":
        async with contextlib.nullcontext(outbound) if outbound is not None else Outbound() as way_out:
            link = Link(way_out, source.url)
            digest = await _download(source, link, store, expect, on_progress, way_out, check)
            on_tag(link.tag)
            return digest
    return await _take(source, store, expect, on_progress, check)


def identity(source: Source) -> str:
    """How the source looks: equal as long as fetching it again would bring the same bytes, as far as can be told.

    Blocks for a local file's status. Raises SourceFailed when a local file cannot be looked at.
    """
    if source.kind not in {"file", "builtin"}:
        return ""
    path = path_of(source)
    try:
        now = stamp(path)
    except OSError as error:
        raise SourceFailed(f"{source.text}: {error.strerror}") from None
    if now is None:
        what = "not a regular file" if path.exists() else "there is no such file"
        raise SourceFailed(f"{source.text}: {what}")
    if source.kind == "builtin":
        return f"powerd {__version__}, {now[1]} bytes"
    return "{}-{}-{}".format(*now)


def path_of(source: Source) -> Path:
    """The local file of a file or builtin source."""
    if source.kind == "builtin":
        return Path(str(files("powerd.demo").joinpath(_BUILTIN[source.name])))
    assert source.path is not None
    return source.path


async def _take(source: Source, store: Store, expect: Digest | None, on_progress: OnProgress, check: Check) -> Digest:
    path = path_of(source)
    await asyncio.to_thread(_check_file, path, source, check)
    loop = asyncio.get_running_loop()
    stop = threading.Event()

    def progress(completed: int, total: int) -> None:
        if stop.is_set():
            raise Cancelled("the fetch was cancelled")
        loop.call_soon_threadsafe(on_progress, completed, total)

    work = asyncio.ensure_future(asyncio.to_thread(store.take, path, expect, progress))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait([work])
        work.exception()
        raise
    except (BadRequest, Conflict) as error:
        raise SourceFailed(f"{source.text}: {error.message}") from None


async def _download(
    source: Source,
    link: Link,
    store: Store,
    expect: Digest | None,
    on_progress: OnProgress,
    outbound: Outbound,
    check: Check,
) -> Digest:
    return await download(
        store,
        outbound,
        link,
        digest=expect,
        on_progress=on_progress,
        check=lambda path: _check_file(path, source, check),
        gguf=True,
    )


def _check_file(path: Path, source: Source, check: Check) -> None:
    """Raise SourceFailed unless the file is what is wanted."""
    try:
        check(read_header(path))
    except GgufError as error:
        raise SourceFailed(f"{source.text}: {error}") from None
    except BadRequest as error:
        raise SourceFailed(error.message) from None
    except OSError as error:
        raise SourceFailed(f"{source.text}: {error.strerror}") from None
