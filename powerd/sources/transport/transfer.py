"""The one mover of bytes over HTTP: in parts where the server can, resumed when cut, over restarts too, and verified.

A blob whose digest is known leaves what came of it in the store when it fails or is stopped, and goes on from there the
next time. Every byte is hashed off the loop as the file grows without a gap, and nothing is visible before the digest
is right.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import httpx

from powerd.digest import Digest
from powerd.errors import NoSpace, SourceFailed
from powerd.quantities import show_bytes
from powerd.sources.source import show_url
from powerd.sources.transport.answer import Again, Answer, Complete, Rest, Whole, judge
from powerd.sources.transport.broken import Interrupted
from powerd.sources.transport.location import Location
from powerd.sources.transport.outbound import Outbound
from powerd.sources.transport.parts import Part, cut, part_size
from powerd.store.blobs import MARGIN
from powerd.store.gguf_types import MAGIC
from powerd.store.looks import ENOUGH, looks_like
from powerd.store.partial import Partial
from powerd.store.store import Store

OnProgress = Callable[[int, int], None]
Check = Callable[[Path], None]

_BUFFER = 1 << 20


def _unheard(_completed: int, _total: int) -> None:
    pass


async def download(
    store: Store,
    outbound: Outbound,
    location: Location,
    *,
    digest: Digest | None = None,
    size: int | None = None,
    on_progress: OnProgress = _unheard,
    check: Check | None = None,
    gguf: bool = False,
) -> Digest:
    """Bring a file into the store and return its digest; with `digest` or `size`, only if it is that one.

    `on_progress` hears (bytes here, bytes in all or 0) on the event loop. `check` is given the finished file, in a
    thread, before it becomes a blob, and raises to refuse it. `gguf`: what does not begin as GGUF is refused at once.
    Whoever wants the same digest at the same time shares one download, which is cancelled when the last one is.
    Raises SourceFailed, Forbidden, NoSpace, StoreFailed.
    """

    async def run(tell: OnProgress) -> Digest:
        return await _Download(store, outbound, location, digest, size, tell, gguf=gguf).run(check)

    if digest is None:
        return await run(on_progress)
    return await outbound.sharing.join((store.root, digest), run, on_progress)


class _Download:
    """One file on its way. A few workers take parts from a queue; one task hashes what has no gap before it."""

    def __init__(
        self,
        store: Store,
        outbound: Outbound,
        location: Location,
        digest: Digest | None,
        size: int | None,
        on_progress: OnProgress,
        *,
        gguf: bool,
    ) -> None:
        self._store = store
        self._outbound = outbound
        self._location = location
        self._digest = digest
        self._declared = size
        self._on_progress = on_progress
        self._gguf = gguf
        self._patience = outbound.patience
        self._partial: Partial | None = None
        self._total = size
        self._validator = ""  # a strong ETag: every part must come from the same file
        self._checked = 0  # bytes at the last look at the free space
        self._queue: deque[Part] = deque()
        self._workers: set[asyncio.Task[None]] = set()
        self._in_parts = True  # until the server shows that it cannot
        self._wrong = False
        self._fetched = False
        self._grown = asyncio.Event()

    async def run(self, check: Check | None) -> Digest:
        """Fetch, check, commit. Failed or cancelled, only what a known digest can be resumed with stays behind."""
        try:
            partial = await self._fetch_right()
            if check is not None:
                self._wrong = True
                await asyncio.to_thread(check, partial.data)
                self._wrong = False
            return await asyncio.to_thread(partial.commit)
        finally:
            if self._partial is not None:
                end = self._partial.discard if self._wrong else self._partial.close
                await asyncio.shield(asyncio.to_thread(end))

    async def _fetch_right(self) -> Partial:
        """All bytes, with the expected digest; wrong ones are fetched once more from the start."""
        partial = await self._begin()
        for _ in range(2):
            self._queue.extend(self._planned(partial))
            await self._fetch_all()
            got = partial.digest
            if self._digest is None or got == self._digest:
                return partial
            await self._restart()
        self._wrong = True
        raise SourceFailed(f'{self._location.shown}: digest mismatch, expected "{self._digest}", got "{got}"')

    async def _begin(self) -> Partial:
        """The partial, ours to close even if we are cancelled while the thread makes it."""
        making = asyncio.ensure_future(asyncio.to_thread(self._store.partial, self._digest, self._declared))
        try:
            self._partial = await asyncio.shield(making)
        except asyncio.CancelledError:
            self._partial = await making
            raise
        self._total = self._partial.size
        return self._partial

    def _planned(self, partial: Partial) -> list[Part]:
        """What to fetch: the gaps of a file whose size is known, cut to parts, else all of it in one."""
        if self._total is None:
            return [Part(0, None)]
        gaps = partial.missing(self._total)
        if self._digest is None or not self._in_parts:
            return [Part(start, end) for start, end in gaps]
        return cut(gaps, part_size(self._total))

    async def _restart(self) -> None:
        assert self._partial is not None
        self._checked, self._validator, self._total = 0, "", self._declared
        await asyncio.to_thread(self._partial.restart)
        if self._declared is None:
            self._partial.size = None

    # ------------------------------------------------------------ workers

    async def _fetch_all(self) -> None:
        """Until the queue is empty and everything is hashed. The first failure ends it."""
        self._fetched = False
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._hash())
                try:
                    async with asyncio.TaskGroup() as self._group:
                        self._hire()
                finally:
                    self._fetched = True
                    self._grown.set()
        except BaseExceptionGroup as failures:
            raise _first(failures) from None

    def _hire(self) -> None:
        """As many workers as there are parts waiting, up to the limit."""
        while len(self._workers) < min(self._outbound.config.parts, len(self._workers) + len(self._queue)):
            worker = self._group.create_task(self._work(self._queue.popleft()))
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    async def _work(self, part: Part) -> None:
        await self._fetch(part)
        while self._queue:
            await self._fetch(self._queue.popleft())

    async def _dismiss_others(self) -> None:
        """One worker goes on alone."""
        self._queue.clear()
        others = self._workers - {asyncio.current_task()}
        for other in others:
            other.cancel()
        if others:
            await asyncio.wait(others)

    async def _hash(self) -> None:
        assert self._partial is not None
        while True:
            last = self._fetched
            self._grown.clear()
            while await asyncio.to_thread(self._partial.hash_more):
                pass
            if last:
                return
            await self._grown.wait()

    # ------------------------------------------------------------ one part

    async def _fetch(self, part: Part) -> None:
        """Ask until the part is here. A stall takes none of the tries, unless nothing at all comes any more."""
        failures = stalls = 0
        furthest = part.at
        while not part.done:
            before = part.at
            try:
                await self._attempt(part)
            except Interrupted as again:
                if part.at != before:
                    stalls = 0
                if part.at - furthest >= _BUFFER:
                    failures, furthest = 0, part.at
                stalls, failures = (stalls + 1, failures) if again.stalled else (stalls, failures + 1)
                if max(failures, stalls) >= self._patience.tries:
                    gave_up = f"gave up after {max(failures, stalls)} tries"
                    raise SourceFailed(f"{self._location.shown}: {again}; {gave_up}") from None
                if not again.stalled:
                    await asyncio.sleep(self._patience.wait(failures) if again.wait is None else again.wait)

    async def _attempt(self, part: Part) -> None:
        async with self._location.open(part.headers(self._total, self._validator)) as response:
            answer = self._judge(response, part)
            match answer:
                case Again(reason, wait, from_start):
                    if from_start:
                        await self._alone(part)
                    raise Interrupted(reason, wait)
                case Whole(total, validator):
                    await self._take_whole(part, total, validator, response)
                case Rest(total):
                    await self._learn(total)
            self._tell()
            if isinstance(answer, Complete):
                part.end = part.at
                return
            await self._read_body(response, part)
        if part.end is not None and part.at < part.end:
            raise Interrupted(f"the answer ended after {part.at} of {self._total or part.end} bytes")
        part.end = part.at

    def _judge(self, response: httpx.Response, part: Part) -> Answer:
        until = part.end if part.ranged(self._total) else None
        try:
            return judge(response.status_code, response.headers, part.at, self._total, time.time(), until)
        except SourceFailed as error:
            raise SourceFailed(f"{show_url(str(response.url))}: {error.message}") from None

    async def _alone(self, part: Part) -> None:
        """This server cannot be asked for ranges: one worker reads everything from the start."""
        self._in_parts = False
        await self._dismiss_others()
        await self._restart()
        part.at, part.end = 0, self._total

    async def _take_whole(self, part: Part, total: int | None, validator: str, response: httpx.Response) -> None:
        """The body is the file from its first byte, asked for or not."""
        assert self._partial is not None
        if self._declared is not None and total is not None and total != self._declared:
            raise SourceFailed(
                f"{self._location.shown}: holds {total} bytes and not the {self._declared} that were declared"
            )
        if self._partial.written or part.ranged(self._total):
            await self._alone(part)
        self._validator = validator
        await self._learn(total)
        part.end = self._total
        if self._total is not None and response.headers.get("accept-ranges", "").lower() == "bytes":
            self._split(part, self._total)

    def _split(self, part: Part, total: int) -> None:
        """Let others fetch the rest of a large file, if it is sure to be the same file."""
        size = part_size(total)
        if self._in_parts and total >= 2 * size and (self._digest is not None or self._validator):
            part.end = size
            self._queue.extend(cut([(size, total)], size))
            self._hire()

    async def _learn(self, total: int | None) -> None:
        assert self._partial is not None
        if total is not None and self._total is None:
            await asyncio.to_thread(self._partial.expect, total)
            self._total = total

    def _tell(self) -> None:
        assert self._partial is not None
        self._on_progress(self._partial.written, self._total or 0)

    # ------------------------------------------------------------ its bytes

    async def _read_body(self, response: httpx.Response, part: Part) -> None:
        taken = _Taken()
        try:
            async for chunk in self._outbound.body(response):
                taken.add(chunk)
                if part.at == 0 and taken.size - len(chunk) < ENOUGH <= taken.size:
                    self._check_magic(taken)
                if taken.size >= _BUFFER and await self._flush(taken, part):
                    return
        except Interrupted:
            if part.at or taken.size >= ENOUGH:
                await self._flush(taken, part)
            raise
        if part.at == 0 and taken.size < ENOUGH:
            self._check_magic(taken)
        await self._flush(taken, part)

    def _check_magic(self, taken: _Taken) -> None:
        head = b"".join(taken.chunks)[:ENOUGH]
        if self._gguf and not head.startswith(MAGIC):
            raise SourceFailed(f"{self._location.shown}: not a GGUF file (looks like {looks_like(head)})")

    async def _flush(self, taken: _Taken, part: Part) -> bool:
        """Write what came; says whether the part is complete before the file is."""
        assert self._partial is not None
        if self._total is not None and part.at + taken.size > self._total:
            raise SourceFailed(f"{self._location.shown}: longer than the declared {self._total} bytes")
        room = taken.size if part.end is None else min(taken.size, part.end - part.at)
        if room:
            await asyncio.to_thread(_write, self._partial, part.at, taken.chunks, room)
            part.at += room
            self._grown.set()
        taken.clear()
        await self._look_for_room()
        self._tell()
        return part.end is not None and part.at >= part.end and part.end != self._total

    async def _look_for_room(self) -> None:
        """A body of unknown length must not fill the disk."""
        assert self._partial is not None
        if self._total is not None or self._partial.written - self._checked < MARGIN:
            return
        self._checked = self._partial.written
        free = await asyncio.to_thread(self._store.free)
        if free < 2 * MARGIN:
            raise NoSpace(f"{self._location.shown} does not say how long it is, and only {show_bytes(free)} are free")


class _Taken:
    """Bytes of a part that are not written yet, in the pieces they came in: they are joined off the loop."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.size = 0

    def add(self, chunk: bytes) -> None:
        """Take one more piece."""
        self.chunks.append(chunk)
        self.size += len(chunk)

    def clear(self) -> None:
        """They are written."""
        self.chunks, self.size = [], 0


def _write(partial: Partial, offset: int, chunks: list[bytes], count: int) -> None:
    partial.write(offset, memoryview(b"".join(chunks))[:count])


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """The failure that ended it; those it caused in others came later, or are cancellations."""
    first = failures.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
