"""The control routes about the store: df, gc, fsck and adopt. The long ones stream their progress as NDJSON."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import msgspec
import structlog
from litestar import get, post
from litestar.params import JSONBody
from litestar.response import Stream

from powerd.control.schema_store import (
    AdoptReply,
    AdoptRequest,
    FsckReport,
    FsckRequest,
    GcReply,
    GcRequest,
    Step,
    Usage,
)
from powerd.digest import Digest
from powerd.errors import BadRequest, Cancelled, NotFound, PowerError
from powerd.store import adopt as adopting
from powerd.store.fsck import FsckReport as Checked
from powerd.store.store import Store

log = structlog.get_logger(__name__)

#: Seconds between two progress lines.
PACE = 0.1
_HOWS = ("lower", "link", "copy", "forget")

#: Hears the subject, bytes done and bytes in all, in a thread; raises Cancelled when nobody listens any more.
Tell = Callable[[str, int, int], None]


def handlers(
    store: Store,
    max_delete_fraction: float,
    in_use: Callable[[], Collection[Digest]],
    changed: Callable[[], Any],
) -> list[Any]:
    """The routes. `in_use`: blobs that runners have open; `changed` is awaited when models may have come or gone."""

    @get("/v1/store/df")
    async def df() -> Usage:
        return msgspec.convert(asdict(await asyncio.to_thread(store.usage)), Usage)

    @post("/v1/store/gc", status_code=200)
    async def gc(data: JSONBody[GcRequest]) -> GcReply:
        if not data.grace >= 0:
            raise BadRequest(f"grace must be 0 or more seconds, not {data.grace}", "grace")
        return await asyncio.to_thread(_collect, store, data, in_use(), max_delete_fraction)

    @post("/v1/store/fsck", status_code=200)
    async def fsck(data: JSONBody[FsckRequest]) -> Stream:
        def work(tell: Tell) -> Step:
            report = store.fsck(repair=data.repair, on_progress=lambda done, total: tell("", done, total))
            return Step(report=fsck_report(report))

        return _stream(work, changed)

    @post("/v1/store/adopt", status_code=200)
    async def adopt(data: JSONBody[AdoptRequest]) -> Stream:
        if data.how not in _HOWS:
            raise BadRequest(f'how must be one of {", ".join(_HOWS)}, not "{data.how:.40}"', "how")
        return _stream(lambda tell: _adopted(store, data, tell), changed)

    return [df, gc, fsck, adopt]


def _collect(store: Store, data: GcRequest, keep: Collection[Digest], max_delete_fraction: float) -> GcReply:
    """Delete what nothing needs, and what was left over. Blocking."""
    before = store.usage()
    gone = store.collect(keep, grace=data.grace, fraction=1.0 if data.force else max_delete_fraction)
    store.clear_leftovers(data.grace)
    after = store.usage()
    freed = before.bytes + before.leftovers - after.bytes - after.leftovers
    return GcReply([str(digest) for digest in gone], max(0, freed), [str(path) for path in store.unreadable()])


def _adopted(store: Store, data: AdoptRequest, tell: Tell) -> Step:
    """Adopt a foreign directory, or forget one. Blocking. Raises NotFound, Cancelled and what the store refuses."""
    path = Path(data.path)
    if data.how != "forget":
        adopted = adopting.adopt(store, path, cast(adopting.How, data.how), tell)
        return Step(adopted=msgspec.convert(asdict(adopted), AdoptReply))
    if not adopting.forget(store, path):
        raise NotFound(f"{path} was not adopted as a lower store")
    return Step(adopted=AdoptReply("", "forget", str(path), [], []))


def fsck_report(report: Checked) -> FsckReport:
    """The store's report as it travels."""
    findings = [asdict(finding) | {"harmless": finding.harmless} for finding in report.findings]
    told = {"sound": report.sound, "blobs": report.blobs, "bytes": report.bytes, "manifests": report.manifests}
    return msgspec.convert(told | {"findings": findings}, FsckReport)


def _stream(work: Callable[[Tell], Step], changed: Callable[[], Any]) -> Stream:
    return Stream(_lines(work, changed), media_type="application/x-ndjson")


async def _lines(work: Callable[[Tell], Step], changed: Callable[[], Any]) -> AsyncGenerator[bytes, None]:
    """Do the work in a thread and yield its progress, then its end. Closing the generator stops the work."""
    last: list[Step] = []
    gone = threading.Event()

    def tell(subject: str, completed: int, total: int) -> None:
        if gone.is_set():
            raise Cancelled("nobody waits for this any more")
        last[:] = [Step(subject, completed, total)]

    task = asyncio.create_task(asyncio.to_thread(work, tell))
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=PACE)
            if last and not task.done():
                yield _line(last.pop())
        yield _line(_ended(task))
        await changed()
    finally:
        gone.set()
        if not task.done():
            task.add_done_callback(lambda ended: ended.exception())


def _ended(task: asyncio.Task[Step]) -> Step:
    error = task.exception()
    if error is None:
        return task.result()
    if isinstance(error, PowerError):
        return Step(error=error.message)
    log.error("control route failed", exc_info=error)
    return Step(error="internal error; see powerd's log")


def _line(step: Step) -> bytes:
    return msgspec.json.encode(step) + b"\n"
