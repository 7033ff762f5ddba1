"""Converting: the files of a Hugging Face checkpoint become a GGUF blob, by way of a helper process."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
import structlog

from powerd.digest import Digest
from powerd.errors import BackendUnavailable, BadRequest, Busy, NoSpace
from powerd.fleet.child import Child, Graces
from powerd.fleet.wire import BrokenPeer
from powerd.jobs import AdaptedModel, Convert, Converted, ConvertFailed, Converting, FromConvert
from powerd.protocol import MAX_FRAME, encode
from powerd.quantities import show_bytes
from powerd.store import files as store_files
from powerd.store.gguf import GgufError, Header, read_header
from powerd.store.ingest import Ingest
from powerd.store.store import Store

OnProgress = Callable[[int, int], None]

COMMAND = (sys.executable, "-m", "powerd.convert")
MAX_FILES = 4096
#: With less than this left on the disk, a failure is a full disk's.
_NEARLY_FULL = 1 << 20
_GRACES = Graces(farewell=0.0, terminate=0.5)

_log = structlog.get_logger(__name__)


async def convert(
    files: Mapping[str, Digest], store: Store, on_progress: OnProgress, command: Sequence[str] = COMMAND
) -> Digest:
    """Make a GGUF of `files`, a checkpoint's by their relative paths, all in the store; returns the GGUF's digest.

    `on_progress` hears (bytes of tensors written, bytes of all). Cancelling kills the helper and leaves nothing behind.
    Raises BadRequest naming the file, the architecture or the field; BackendUnavailable, NoSpace, StoreFailed, Busy.
    """
    return await _run(files, None, store, on_progress, command, _check_model)


async def convert_adapter(
    files: Mapping[str, Digest],
    base: Path,
    store: Store,
    on_progress: OnProgress,
    command: Sequence[str] = COMMAND,
) -> Digest:
    """Make a GGUF adapter of `files`, a PEFT LoRA's, for the model in the GGUF `base`; returns the adapter's digest.

    Everything else as `convert`.
    """
    header = await asyncio.to_thread(_read_base, base)
    described = AdaptedModel(header.architecture, header.layers, *_heads(header))
    return await _run(files, described, store, on_progress, command, lambda made: _check_adapter(made, header))


async def _run(
    files: Mapping[str, Digest],
    base: AdaptedModel | None,
    store: Store,
    on_progress: OnProgress,
    command: Sequence[str],
    check: Callable[[Header], None],
) -> Digest:
    paths = await asyncio.to_thread(_located, files, store)
    ingest = await asyncio.to_thread(store.ingest, None, None)
    try:
        job = Convert(paths, str(ingest.path), base)
        if len(encode(job)) > MAX_FRAME:
            raise BadRequest(f"the names of the {len(files)} files are too long together", "files")
        await _Job(job, store, on_progress).run(command)
        return await asyncio.to_thread(_commit, ingest, check)
    finally:
        await asyncio.to_thread(ingest.abort)


def _located(files: Mapping[str, Digest], store: Store) -> dict[str, str]:
    """Where the files lie. Raises BadRequest for one that is not in the store."""
    if len(files) > MAX_FILES:
        raise BadRequest(f"{len(files)} files are too many, at most {MAX_FILES} are converted", "files")
    paths = {}
    for name, digest in files.items():
        path = store.blob(digest)
        if path is None:
            raise BadRequest(f"{name}: the blob {digest} is not in the store; upload it first", "files")
        paths[name] = str(path.absolute())
    return paths


def _read_base(path: Path) -> Header:
    try:
        return read_header(path)
    except GgufError as error:
        raise BadRequest(f"the adapter's model is not sound: {error}", "adapters") from None
    except OSError as error:
        raise BadRequest(f"the adapter's model cannot be read: {error.strerror}", "adapters") from None


def _heads(header: Header) -> tuple[int, int]:
    """Heads of queries, and of keys and values; 0 where they differ between layers."""

    def of(name: str, default: int) -> int:
        value = header.metadata.get(f"{header.architecture}.attention.{name}", default)
        return value if type(value) is int else 0

    queries = of("head_count", 0)
    return queries, of("head_count_kv", queries)


def _check_model(made: Header) -> None:
    made.check_model()


def _check_adapter(made: Header, base: Header) -> None:
    """Hold each pair of the adapter to the matrix it is added to. Raises BadRequest where they do not fit."""
    widths = {tensor.name: tensor.shape for tensor in base.tensors}
    for tensor in made.tensors:
        name, _, side = tensor.name.rpartition(".lora_")
        matrix = widths.get(name)
        if matrix is None:
            raise BadRequest(f"the adapter changes {name}, which the model has not got", "adapters")
        place = 0 if side == "a" else 1
        if tensor.shape[place] != matrix[place]:
            raise BadRequest(
                f"the adapter is not for this model: {name} is {matrix[0]} x {matrix[1]} there, and its part {side} is "
                f"for {tensor.shape[place]}",
                "adapters",
            )


def _commit(ingest: Ingest, check: Callable[[Header], None]) -> Digest:
    """Publish what the helper wrote, once it is sound."""
    try:
        check(read_header(ingest.path))
    except GgufError as error:
        raise BadRequest(f"conversion failed: what came out is unsound: {error}", "files") from None
    ingest.read_back(lambda _done: None)
    return ingest.commit()


class _Job:
    """One run of the helper."""

    def __init__(self, job: Convert, store: Store, on_progress: OnProgress) -> None:
        self._job = job
        self._store = store
        self._on_progress = on_progress
        self._room: asyncio.Task[None] | None = None
        self._outcome: Converted | ConvertFailed | None = None
        self._decode = msgspec.msgpack.Decoder(FromConvert).decode

    async def run(self, command: Sequence[str]) -> None:
        """Start the helper and wait for its end. Raises BadRequest, BackendUnavailable, NoSpace, Busy."""
        self._child = child = Child(command, "convert", self._received, _GRACES)
        life = asyncio.ensure_future(child.run())
        child.wire.send(encode(self._job))
        try:
            how = await asyncio.shield(life)
        except asyncio.CancelledError:
            child.stop(None)
            await asyncio.wait([life])
            raise
        except OSError as error:
            raise Busy(f"the convert helper cannot be started: {error.strerror}") from None
        if self._room is not None:
            await self._room
        if not isinstance(self._outcome, Converted):
            await self._explain(how, child)

    async def _check_room(self, size: int) -> None:
        """End the helper and raise NoSpace where the tensors will not fit; it has begun with them a moment ago."""
        free = await asyncio.to_thread(self._store.free)
        if size > free:
            self._child.stop(None)
            raise NoSpace(
                f"the converted model needs {show_bytes(size)} in {self._store.root}, have {show_bytes(free)}"
            )

    async def _explain(self, how: str, child: Child) -> None:
        """Raise what went wrong."""
        outcome = self._outcome
        if isinstance(outcome, ConvertFailed) and outcome.missing:
            raise BackendUnavailable
        reason = outcome.reason if isinstance(outcome, ConvertFailed) else f"the helper ended early: {how}"
        _log.warning("a conversion failed", reason=reason, said=child.last_lines[-3:])
        if await asyncio.to_thread(store_files.available, self._store.root) < _NEARLY_FULL:
            raise NoSpace(f"conversion failed in {self._store.root}: no space left on the disk")
        raise BadRequest(f"conversion failed: {reason}", "files")

    def _received(self, body: memoryview) -> None:
        try:
            frame = self._decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise BrokenPeer(f"it sent a frame that cannot be read: {error}") from error
        if isinstance(frame, Converting):
            if self._room is None:
                self._room = asyncio.ensure_future(self._check_room(frame.total))
            self._on_progress(frame.done, frame.total)
        else:
            self._outcome = frame
