"""Job: a file made by a process of ours that can be killed, from the one frame it gets to the blob in the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec
import structlog

from powerd.digest import Digest
from powerd.errors import BackendUnavailable, BadRequest, Busy, NoSpace
from powerd.fleet.child import Child, Graces
from powerd.fleet.wire import BrokenPeer
from powerd.jobs import Converted, ConvertFailed, Quantized, QuantizeFailed
from powerd.protocol import encode
from powerd.quantities import show_bytes
from powerd.store.files import available
from powerd.store.gguf import GgufError, Header, read_header
from powerd.store.ingest import Ingest
from powerd.store.store import Store

OnProgress = Callable[[int, int], None]

#: With less than this left on the disk, a failure is a full disk's.
_NEARLY_FULL = 1 << 20
_GRACES = Graces(farewell=0.0, terminate=0.5)

_log = structlog.get_logger(__name__)

Outcome = Converted | ConvertFailed | Quantized | QuantizeFailed
Step = TypeVar("Step")


@dataclass(frozen=True, slots=True)
class Kind(Generic[Step]):
    """What is particular to the jobs of one helper."""

    helper: str  # its name
    work: str  # what fails, in messages
    field: str  # of the request, that a failure is about
    unsound: str  # what is said of a file that is no sound GGUF
    decode: Callable[[memoryview], Step | Outcome]


class Job(Generic[Step]):
    """One run of the helper. `on_step` gets its frames up to the outcome, on the event loop."""

    def __init__(self, kind: Kind[Step], store: Store, command: Sequence[str], on_step: Callable[[Step], None]) -> None:
        self._kind = kind
        self._store = store
        self._on_step = on_step
        self._child = Child(command, kind.helper, self._received, _GRACES)
        self._beside: asyncio.Task[None] | None = None
        self._outcome: Outcome | None = None

    async def make(
        self,
        frame: Callable[[str], msgspec.Struct],
        check: Callable[[Header], None],
        on_written: Callable[[], None] = lambda: None,
    ) -> Digest:
        """Have a file written at the path `frame` is called with; its digest, once `check` and the store accept it.

        `on_written` hears that all is written, before it is read back. `check` runs in a thread.
        Cancelling kills the helper and leaves nothing behind. Raises BadRequest, BackendUnavailable, NoSpace,
        StoreFailed, Busy, and what `frame`, `check` and the work beside it raise.
        """
        ingest = await asyncio.to_thread(self._store.ingest, None, None)
        try:
            await self._run(frame(str(ingest.path)))
            on_written()
            return await asyncio.to_thread(self._commit, ingest, check)
        finally:
            await asyncio.to_thread(ingest.abort)

    def beside(self, work: Coroutine[None, None, None]) -> None:
        """Do this beside the helper, once; what it raises ends the helper and is raised in its place."""
        self._beside = asyncio.ensure_future(self._guarded(work))

    async def _guarded(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except BaseException:
            self._child.stop(None)
            raise

    async def _run(self, frame: msgspec.Struct) -> None:
        child = self._child
        life = asyncio.ensure_future(child.run())
        child.wire.send(encode(frame))
        try:
            how = await asyncio.shield(life)
        except asyncio.CancelledError:
            child.stop(None)
            await asyncio.wait([life])
            raise
        except OSError as error:
            raise Busy(f"the {self._kind.helper} helper cannot be started: {error.strerror}") from None
        if self._beside is not None:
            await self._beside
        if not isinstance(self._outcome, Converted | Quantized):
            await self._explain(how)

    async def _explain(self, how: str) -> None:
        """Raise what went wrong."""
        outcome, work = self._outcome, self._kind.work
        failure = outcome if isinstance(outcome, ConvertFailed | QuantizeFailed) else None
        if failure is not None and failure.missing:
            raise BackendUnavailable
        reason = failure.reason if failure is not None else f"the helper ended early: {how}"
        _log.warning(f"a {work} failed", reason=reason, said=self._child.last_lines[-3:])
        if await asyncio.to_thread(available, self._store.root) < _NEARLY_FULL:
            raise NoSpace(f"{work} failed in {self._store.root}: no space left on the disk")
        raise BadRequest(f"{work} failed: {reason}", self._kind.field)

    def _received(self, body: memoryview) -> None:
        try:
            frame = self._kind.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise BrokenPeer(f"it sent a frame that cannot be read: {error}") from error
        if isinstance(frame, Converted | ConvertFailed | Quantized | QuantizeFailed):
            self._outcome = frame
        else:
            self._on_step(frame)

    def _commit(self, ingest: Ingest, check: Callable[[Header], None]) -> Digest:
        """Publish what the helper wrote, once it is sound."""
        try:
            check(read_header(ingest.path))
        except GgufError as error:
            raise BadRequest(f"{self._kind.work} failed: {self._kind.unsound}: {error}", self._kind.field) from None
        ingest.read_back(lambda _done: None)
        return ingest.commit()


def check_room(store: Store, size: int, needs: str) -> None:
    """Raise NoSpace where `size` bytes are more than the store has room for. Blocking."""
    free = store.free()
    if size > free:
        raise NoSpace(f"{needs} {show_bytes(size)} in {store.root}, have {show_bytes(free)}")
