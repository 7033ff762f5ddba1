"""Quantizing: weights of full precision become a smaller blob, by way of a helper process that can be killed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import structlog

from powerd.digest import Digest
from powerd.errors import BackendUnavailable, BadRequest, Busy, NoSpace
from powerd.fleet.child import Child, Graces
from powerd.fleet.wire import BrokenPeer
from powerd.jobs import FromQuantize, Quantize, Quantized, QuantizeFailed, Quantizing
from powerd.protocol import encode
from powerd.quantities import show_bytes
from powerd.store import files
from powerd.store.gguf import GgufError, Header, read_header
from powerd.store.gguf_types import FILE_TYPES, TENSOR_TYPES
from powerd.store.ingest import Ingest
from powerd.store.store import Store

OnProgress = Callable[[int, int], None]

COMMAND = (sys.executable, "-m", "powerd.quantize")
#: What can be made of a model by itself, the largest first. The smaller IQ types need an importance matrix.
KINDS = (
    *("F32", "F16", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0", "Q4_K_M", "Q4_K_S", "Q4_1", "Q4_0"),
    *("IQ4_NL", "IQ4_XS", "Q3_K_L", "Q3_K_M", "Q3_K_S", "IQ3_M", "IQ3_S", "Q2_K"),
)
_ALIASES = {"Q5_K": "Q5_K_M", "Q4_K": "Q4_K_M", "Q3_K": "Q3_K_M"}
_NEED_MATRIX = frozenset({"IQ3_XS", "IQ3_XXS", "IQ2_M", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S", "Q2_K_S"})
_FULL = frozenset({"F16", "BF16", "F32"})
#: Tensor types beside the full ones that a model of full precision may hold, for indices.
_INTEGERS = frozenset({"I8", "I16", "I32", "I64", "F64"})
#: A mixed type stores some tensors with more bits than its name says.
_MIXED = 1.3
#: With less than this left on the disk, a failure is a full disk's.
_NEARLY_FULL = 1 << 20
_GRACES = Graces(farewell=0.0, terminate=0.5)

_log = structlog.get_logger(__name__)


def kind_of(text: str) -> str:
    """The type meant by `text`, in its usual spelling. Raises BadRequest listing what there is."""
    kind = _ALIASES.get(text.upper(), text.upper())
    if kind in _NEED_MATRIX:
        raise BadRequest(f"quantizing to {kind} needs an importance matrix, which powerd does not make", "quantize")
    if kind not in KINDS:
        raise BadRequest(
            f"unsupported quantization type {text[:40]} - supported types are {', '.join(KINDS)}", "quantize"
        )
    return kind


def check_full(header: Header) -> None:
    """Raise BadRequest unless these weights have the precision that quantizing starts from."""
    types = {tensor.type for tensor in header.tensors}
    if header.file_type not in _FULL or types - _FULL - _INTEGERS:
        raise BadRequest("quantization is only supported for F16, BF16 and F32 models", "quantize")


async def quantize(
    source: Path, kind: str, store: Store, on_progress: OnProgress, command: Sequence[str] = COMMAND
) -> Digest:
    """Make a blob of `source`, a GGUF of full precision, in the type `kind`; returns its digest.

    `on_progress` hears (bytes of tensors done, bytes of all). Cancelling kills the helper and leaves nothing behind.
    Raises BadRequest for another type or file, or when the engine refuses; BackendUnavailable, NoSpace, StoreFailed.
    """
    kind = kind_of(kind)
    header = await asyncio.to_thread(_checked, source)
    check_full(header)
    await asyncio.to_thread(_check_room, store, _expected(header, kind))
    ingest = await asyncio.to_thread(store.ingest, None, None)
    try:
        file_type = next(number for number, name in FILE_TYPES.items() if name == kind)
        job = Quantize(str(source), str(ingest.path), file_type)
        await _Job(job, header, on_progress).run(command, store)
        return await asyncio.to_thread(_commit, ingest)
    finally:
        await asyncio.to_thread(ingest.abort)


def _checked(path: Path) -> Header:
    """The header of a file that may be handed to native code (reliability S37)."""
    try:
        header = read_header(path)
        header.check_model()
    except GgufError as error:
        raise BadRequest(f"the weights cannot be quantized: {error}", "quantize") from None
    except OSError as error:
        raise BadRequest(f"the weights cannot be read: {error.strerror}", "quantize") from None
    return header


def _expected(header: Header, kind: str) -> int:
    """Bytes the result may take."""
    prefix = kind.removesuffix("_M").removesuffix("_L").removesuffix("_S") if "_K_" in kind else kind
    prefix = "IQ3_S" if kind == "IQ3_M" else prefix
    block = next(each for each in TENSOR_TYPES.values() if each.name == prefix)
    factor = 1.0 if kind in _FULL else _MIXED
    return header.data_offset + int(header.parameter_count * block.size / block.block * factor)


def _check_room(store: Store, size: int) -> None:
    free = store.free()
    if size > free:
        raise NoSpace(f"the quantized model needs about {show_bytes(size)} in {store.root}, have {show_bytes(free)}")


def _commit(ingest: Ingest) -> Digest:
    """Publish what the helper wrote, once it is a sound model."""
    try:
        read_header(ingest.path).check_model()
    except GgufError as error:
        raise BadRequest(f"quantization failed: the engine wrote an unsound file: {error}", "quantize") from None
    ingest.read_back(lambda _done: None)
    return ingest.commit()


class _Job:
    """One run of the helper."""

    def __init__(self, job: Quantize, header: Header, on_progress: OnProgress) -> None:
        self._job = job
        self._sizes = {tensor.name: tensor.size for tensor in header.tensors}
        self._total = sum(self._sizes.values())
        self._done = self._begun = 0
        self._on_progress = on_progress
        self._outcome: Quantized | QuantizeFailed | None = None
        self._decode = msgspec.msgpack.Decoder(FromQuantize).decode

    async def run(self, command: Sequence[str], store: Store) -> None:
        """Start the helper and wait for its end. Raises BadRequest, BackendUnavailable, NoSpace."""
        child = Child(command, "quantize", self._received, _GRACES)
        life = asyncio.ensure_future(child.run())
        child.wire.send(encode(self._job))
        try:
            how = await asyncio.shield(life)
        except asyncio.CancelledError:
            child.stop(None)
            await asyncio.wait([life])
            raise
        except OSError as error:
            raise Busy(f"the quantize helper cannot be started: {error.strerror}") from None
        if not isinstance(self._outcome, Quantized):
            await self._explain(how, child, store)
        self._on_progress(self._total, self._total)

    async def _explain(self, how: str, child: Child, store: Store) -> None:
        """Raise what went wrong."""
        outcome = self._outcome
        if isinstance(outcome, QuantizeFailed) and outcome.missing:
            raise BackendUnavailable
        reason = outcome.reason if isinstance(outcome, QuantizeFailed) else f"the helper ended early: {how}"
        _log.warning("a quantization failed", reason=reason, said=child.last_lines[-3:])
        if await asyncio.to_thread(files.available, store.root) < _NEARLY_FULL:
            raise NoSpace(f"quantization failed in {store.root}: no space left on the disk")
        raise BadRequest(f"quantization failed: {reason}", "quantize")

    def _received(self, body: memoryview) -> None:
        try:
            frame = self._decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise BrokenPeer(f"it sent a frame that cannot be read: {error}") from error
        if isinstance(frame, Quantizing):
            self._done += self._begun
            self._begun = self._sizes.pop(frame.tensor, 0)
            self._on_progress(self._done, self._total)
        else:
            self._outcome = frame
