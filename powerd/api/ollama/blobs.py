"""/api/blobs/:digest: bytes in, out and away (contract section 1.13; GET and DELETE are ours).

An upload goes into the store's ingest area as it comes and becomes visible once its digest is right, so a wrong or
broken one leaves nothing behind (where Ollama keeps it under its true digest).
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from powerd.api.call import Call
from powerd.api.status import Refusal
from powerd.digest import Digest
from powerd.errors import BadRequest, Cancelled, NoSpace, NotFound, TooLarge
from powerd.quantities import show_bytes
from powerd.store.files import regular
from powerd.store.ingest import Ingest

#: Bytes handed to the disk, and to a client, at one go.
CHUNK = 1 << 20
#: Bytes a second below which an upload is given up, after the first minute.
SLOWEST = 16 << 10
#: Bytes of unannounced length between two looks at the free space.
_LOOK = 64 << 20
_LENGTH = re.compile(r"[0-9]{1,18}", re.ASCII)
_RANGE = re.compile(r"bytes=(?P<first>[0-9]{0,18})-(?P<last>[0-9]{0,18})", re.ASCII)
_BYTES = "application/octet-stream"


def _digest(call: Call) -> Digest:
    try:
        return Digest.parse(call.below)
    except ValueError:
        raise BadRequest("invalid digest format", "digest") from None


def _missing(digest: Digest) -> NotFound:
    return NotFound(f'blob "{digest}" not found')


async def probe(call: Call) -> None:
    """HEAD: whether the blob is here."""
    digest = _digest(call)
    if not await asyncio.to_thread(call.context.store.intact, digest):
        raise _missing(digest)
    await call.answer(b"", _BYTES)


# ---------------------------------------------------------------- in


async def upload(call: Call) -> None:
    """POST: 201 when the blob is here now, 200 when it was before (the body is not read then)."""
    digest = _digest(call)
    if await asyncio.to_thread(call.context.store.intact, digest):
        call.headers["Connection"] = "close"
        await call.answer(b"", _BYTES, 200)
        return
    with await _begin(call, digest) as ingest:
        async with aclosing(_body(call)) as pieces:
            await _store(call, ingest, pieces)
        await asyncio.to_thread(ingest.commit)
    await call.answer(b"", _BYTES, 201)


async def _begin(call: Call, digest: Digest) -> Ingest:
    """An ingest with room for the body. One that can never fit is refused before it is sent."""
    length = call.header(b"content-length")
    size = int(length) if _LENGTH.fullmatch(length) else None
    if length and size is None:
        raise BadRequest("Content-Length is no number of bytes")
    try:
        return await asyncio.to_thread(call.context.store.ingest, digest, size)
    except NoSpace as error:
        call.headers["Connection"] = "close"
        raise TooLarge(error.message) from None


async def _store(call: Call, ingest: Ingest, pieces: AsyncGenerator[bytes, None]) -> None:
    buffer = bytearray()
    looked = 0
    async for piece in pieces:
        buffer += piece
        if len(buffer) >= CHUNK:
            await asyncio.to_thread(ingest.write, bytes(buffer))
            buffer.clear()
        if ingest.size is None and ingest.written - looked >= _LOOK:
            looked = ingest.written
            await _check_room(call)
    await asyncio.to_thread(ingest.write, bytes(buffer))


async def _check_room(call: Call) -> None:
    free = await asyncio.to_thread(call.context.store.free)
    if free < 2 * _LOOK:
        raise NoSpace(f"the upload does not say how long it is, and only {show_bytes(free)} are free")


async def _body(call: Call) -> AsyncGenerator[bytes, None]:
    """The body as it comes. Raises Refusal(408) when it stalls or crawls, Cancelled when the client has gone."""
    patience, began, received = call.context.body_seconds, time.monotonic(), 0
    more = True
    while more:
        try:
            async with asyncio.timeout(patience):
                message = await call.receive()
        except TimeoutError:
            raise _too_slow(f"nothing of the body came for {patience:g} s") from None
        if message["type"] == "http.disconnect":
            raise Cancelled("the client went away while sending its request")
        piece = message.get("body", b"")
        received += len(piece)
        if time.monotonic() - began > patience + received / SLOWEST:
            raise _too_slow(f"the body comes slower than {show_bytes(SLOWEST)} a second")
        yield piece
        more = message.get("more_body", False)


def _too_slow(text: str) -> Refusal:
    return Refusal(408, text, {"Connection": "close"})


# ---------------------------------------------------------------- out and away


async def download(call: Call) -> None:
    """GET: the bytes, or the one range of them that was asked for."""
    digest = _digest(call)
    path = await asyncio.to_thread(call.context.store.blob, digest)
    if path is None:
        raise _missing(digest)
    try:
        with regular(path) as (fd, status):
            await call.while_connected(_send(call, fd, status.st_size, digest))
    except FileNotFoundError:
        raise _missing(digest) from None


async def _send(call: Call, fd: int, size: int, digest: Digest) -> None:
    first, last = _range(call.header(b"range"), size)
    whole = (first, last) == (0, size - 1)
    call.headers |= {"Accept-Ranges": "bytes", "ETag": f'"{digest}"', "Content-Length": str(last - first + 1)}
    if not whole:
        call.headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    await call.start(200 if whole else 206, _BYTES)
    at = first
    while at <= last:
        chunk = await asyncio.to_thread(os.pread, fd, min(CHUNK, last - at + 1), at)
        if not chunk:
            raise Cancelled("the blob shrank while it was sent")
        await call.write(chunk, _BYTES)
        at += len(chunk)
    await call.finish()


def _range(header: str, size: int) -> tuple[int, int]:
    """First and last byte to send. Raises Refusal(416) for a range that is not there, or for several at once."""
    if not header.startswith("bytes="):
        return 0, size - 1
    match = _RANGE.fullmatch(header)
    first, last = (match["first"], match["last"]) if match else ("", "")
    if first:
        start, end = int(first), min(int(last), size - 1) if last else size - 1
    elif last:
        start, end = max(0, size - int(last)), size - 1
    else:
        start, end = 0, -1
    if start > end:
        raise Refusal(416, "one range of bytes within the blob can be asked for", {"Content-Range": f"bytes */{size}"})
    return start, end


async def remove(call: Call) -> None:
    """DELETE: take away a blob that no model needs."""
    digest = _digest(call)
    if not await asyncio.to_thread(call.context.store.remove_blob, digest):
        raise _missing(digest)
    await call.answer(b"")
