"""Safetensors files: a header of JSON that says where in the rest of the file each tensor lies.

The format is that of https://github.com/huggingface/safetensors#format; the limits are ours. Nothing a header says is
believed before it is checked against the file: tensors lie inside, one after the other, without gap or overlap, and
each has as many bytes as its type and shape need.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec

from powerd.errors import BadRequest

MAX_HEADER = 32 << 20
MAX_TENSORS = 262_144
MAX_NAME = 512
MAX_DIMENSIONS = 8
_LENGTH = 8
#: Bytes of one value.
SIZES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64"), 8),
}


@dataclass(frozen=True)
class Extent:
    """Where a tensor lies: `begin` and `end` are bytes from the beginning of the file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class _Entry(msgspec.Struct):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


def header_length(start: bytes, size: int, file: str) -> int:
    """Bytes of the JSON in a file of `size` bytes that begins with `start`. Raises BadRequest."""
    if len(start) < _LENGTH:
        raise BadRequest(f"{file}: not a safetensors file: it ends within the length of its header", "files")
    length = int.from_bytes(start[:_LENGTH], "little")
    if length > MAX_HEADER:
        raise BadRequest(
            f"{file}: not a safetensors file: its header would take {length} bytes, at most {MAX_HEADER} are read",
            "files",
        )
    if length > size - _LENGTH:
        raise BadRequest(f"{file}: the file ends within its header", "files")
    return length


def parse(header: bytes, size: int, file: str) -> dict[str, Extent]:
    """The tensors of a file of `size` bytes by their names, in the order of the file. Raises BadRequest."""
    try:
        entries = msgspec.json.decode(header, type=dict[str, msgspec.Raw])
        entries.pop("__metadata__", None)
        if len(entries) > MAX_TENSORS:
            raise BadRequest(f"{file}: it lists {len(entries)} tensors, at most {MAX_TENSORS} are read", "files")
        found = {name: msgspec.json.decode(entry, type=_Entry) for name, entry in entries.items()}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"{file}: the header is not that of a safetensors file: {error}", "files") from None
    start = _LENGTH + len(header)
    extents = {name: _extent(name, entry, start, file) for name, entry in found.items()}
    ordered = dict(sorted(extents.items(), key=lambda item: (item[1].begin, item[1].end)))
    _check_order(ordered, start, size, file)
    return ordered


def _extent(name: str, entry: _Entry, start: int, file: str) -> Extent:
    here = f"{file}: tensor {name[:80]}"
    if not 0 < len(name) <= MAX_NAME:
        raise BadRequest(f"{here}: its name has {len(name)} characters, 1 to {MAX_NAME} are read", "files")
    if entry.dtype not in SIZES:
        raise BadRequest(f"{here}: the type {entry.dtype[:20]} is not known", "files")
    if len(entry.shape) > MAX_DIMENSIONS or any(extent < 0 for extent in entry.shape):
        raise BadRequest(f"{here}: the shape {str(entry.shape)[:80]} is impossible", "files")
    begin, end = entry.data_offsets
    needed = math.prod(entry.shape) * SIZES[entry.dtype]
    if begin < 0 or end - begin != needed:
        raise BadRequest(f"{here}: {needed} bytes are needed, {end - begin} are given (from {begin} to {end})", "files")
    return Extent(entry.dtype, tuple(entry.shape), start + begin, start + end)


def _check_order(extents: dict[str, Extent], start: int, size: int, file: str) -> None:
    at = start
    for name, extent in extents.items():
        if extent.begin != at:
            what = "overlaps with the tensor before it" if extent.begin < at else "leaves a gap before it"
            raise BadRequest(f"{file}: tensor {name[:80]} {what}", "files")
        at = extent.end
    if at != size:
        what = "ends within its tensors" if at > size else "goes on after its last tensor"
        raise BadRequest(f"{file}: the file {what}: {at} bytes are described, it has {size}", "files")
