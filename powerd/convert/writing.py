"""Writing the GGUF: the header through the gguf package, then the tensors block by block, never one whole in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from powerd.convert.mxfp4 import repacked
from powerd.convert.tensors import KINDS, Planned
from powerd.errors import BadRequest

#: Values that are converted at a time, 16 MiB of float32.
BLOCK = 4 << 20
ALIGNMENT = 32


def write(path: Path, writer: Any, tensors: Sequence[Planned], on_progress: Callable[[int, int], None]) -> None:
    """Write what the `GGUFWriter` knows, and the tensors, over the file at `path`.

    `on_progress` hears (bytes of tensors written, bytes of all), first with 0. Raises BadRequest for values that the
    wanted type cannot hold, OSError.
    """
    total = sum(tensor.size for tensor in tensors)
    on_progress(0, total)
    for tensor in tensors:
        writer.add_tensor_info(tensor.name, tensor.weight.shape, np.dtype("f4"), tensor.size, raw_dtype=tensor.kind)
    writer.write_header_to_file(path)
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    done = 0
    with path.open("ab") as file:
        _pad(file)
        for tensor in tensors:
            for data in _encoded(tensor):
                file.write(data)
                done += len(data)
                on_progress(done, total)
            _pad(file)


def _pad(file: BinaryIO) -> None:
    file.write(bytes(-file.tell() % ALIGNMENT))


def _encoded(tensor: Planned) -> Iterator[bytes]:
    if tensor.kind == KINDS.MXFP4:
        yield from repacked(*tensor.weight.arrays)
        return
    for array in tensor.weight.arrays:
        for block in _cut(array):
            yield encoded(tensor, block)


def _cut(array: Any) -> Iterator[Any]:
    """The array in pieces of at most BLOCK values, in its order."""
    rows = len(array)
    width = array.size // rows
    if width > BLOCK:
        for row in array:
            yield from _cut(row)
        return
    step = max(1, BLOCK // width)
    for start in range(0, rows, step):
        yield array[start : start + step]


def encoded(tensor: Planned, block: Any) -> bytes:
    """The bytes of these values in the tensor's type. Raises BadRequest for what float16 cannot hold."""
    dtype, shift = tensor.weight.dtype, tensor.weight.shift
    if dtype == tensor.kind.name and not shift:
        return bytes(np.ascontiguousarray(block).data)
    values = widened(block, dtype)
    if shift:
        values = values + np.float32(shift)
    if tensor.kind == KINDS.F32:
        return bytes(values.data)
    with np.errstate(over="ignore"):
        halves = values.astype(np.float16)
    if np.isinf(halves).any() and np.isfinite(values[np.isinf(halves)]).any():
        raise BadRequest(
            f"{tensor.weight.file}: tensor {tensor.weight.name} holds values beyond 65504, which float16 cannot; save "
            "the checkpoint as bfloat16 and convert that",
            "files",
        )
    return bytes(halves.data)


def widened(block: Any, dtype: str) -> Any:
    """The values as float32, without loss."""
    if dtype == "BF16":
        return (block.astype(np.uint32) << 16).view(np.float32)
    return np.ascontiguousarray(block, dtype=np.float32)
