"""Quantizing: weights of full precision become a smaller blob, by way of a helper process that can be killed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from powerd.digest import Digest
from powerd.errors import BadRequest
from powerd.jobs import FromQuantize, Quantize, Quantizing
from powerd.reconcile.making.job import Job, Kind, OnProgress, check_room
from powerd.store.gguf import GgufError, Header, read_header
from powerd.store.gguf_types import FILE_TYPES, TENSOR_TYPES
from powerd.store.store import Store

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
_KIND: Kind[Quantizing] = Kind(
    "quantize",
    "quantization",
    "quantize",
    "the engine wrote an unsound file",
    msgspec.msgpack.Decoder(FromQuantize).decode,
)


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
    await asyncio.to_thread(check_room, store, _expected(header, kind), "the quantized model needs about")
    file_type = next(number for number, name in FILE_TYPES.items() if name == kind)
    progress = _Progress(header, on_progress)
    job = Job(_KIND, store, command, progress.begun)
    return await job.make(
        lambda destination: Quantize(str(source), destination, file_type), Header.check_model, progress.all_done
    )


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


class _Progress:
    """How many bytes of the tensors are done, of how many."""

    def __init__(self, header: Header, on_progress: OnProgress) -> None:
        self._sizes = {tensor.name: tensor.size for tensor in header.tensors}
        self._total = sum(self._sizes.values())
        self._done = self._begun = 0
        self._on_progress = on_progress

    def begun(self, step: Quantizing) -> None:
        """A tensor was begun: those before it are done."""
        self._done += self._begun
        self._begun = self._sizes.pop(step.tensor, 0)
        self._on_progress(self._done, self._total)

    def all_done(self) -> None:
        """Nothing is left to do."""
        self._on_progress(self._total, self._total)
