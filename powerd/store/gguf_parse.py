"""GGUF bytes to values: a bounded reader that neither recurses nor believes a count.

Every length is compared with what is left of the file before anything is allocated for it; arithmetic is in Python
integers, so nothing wraps.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass

from powerd.store import gguf_types as t
from powerd.store.gguf_types import Array, GgufError, Tensor, Value
from powerd.store.looks import ENOUGH, looks_like

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_FIRST_READ = 256 << 10

Read = Callable[[int, int], bytes]


@dataclass(slots=True)
class Parsed:
    """What the file says, lengths checked but meaning not; `data` holds the bytes before the tensor data."""

    version: int
    metadata: dict[str, Value]
    tensors: tuple[Tensor, ...]
    data_offset: int
    data: bytearray


class _Cursor:
    """Reads forward through the metadata of a file, fetching as far as is asked for."""

    def __init__(self, read: Read, size: int) -> None:
        self._read = read
        self._size = size
        self.data = bytearray()
        self.position = 0

    def need(self, count: int, what: str) -> int:
        """Make the next `count` bytes available, step over them and return where they start."""
        start, end = self.position, self.position + count
        if end > self._size:
            raise GgufError(f"truncated GGUF at byte {self._size}: {what} at byte {start} needs {count} bytes")
        if end > t.MAX_METADATA:
            raise GgufError(f"{what} at byte {start} passes the limit of {t.MAX_METADATA} bytes of metadata")
        while len(self.data) < end:
            wanted = min(max(end - len(self.data), len(self.data), _FIRST_READ), self._size - len(self.data))
            chunk = self._read(wanted, len(self.data))
            if not chunk:
                raise GgufError(f"truncated GGUF at byte {len(self.data)}: the file shrank while it was read")
            self.data += chunk
        self.position = end
        return start

    def u32(self, what: str) -> int:
        value: int = _U32.unpack_from(self.data, self.need(4, what))[0]
        return value

    def u64(self, what: str) -> int:
        value: int = _U64.unpack_from(self.data, self.need(8, what))[0]
        return value

    def count(self, limit: int, what: str) -> int:
        """A 64-bit count of things that take at least one byte each."""
        at, value = self.position, self.u64(what)
        if value > limit:
            raise GgufError(f"{what} at byte {at} is {value}; at most {limit} are read")
        return value

    def text(self, limit: int, what: str) -> str:
        """A string: valid UTF-8 without NUL, as C code would see all of it."""
        at = self.position
        length = self.u64(what)
        if length > limit:
            raise GgufError(f"{what} at byte {at} is {length} bytes long; at most {limit} are read")
        start = self.need(length, what)
        raw = bytes(self.data[start : start + length])
        if b"\0" in raw:
            raise GgufError(f"{what} at byte {at} contains a NUL")
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise GgufError(f"{what} at byte {at} is not valid UTF-8") from None

    def skip_strings(self, count: int, limit: int, what: str) -> None:
        """Step over `count` strings, checking each length; about 10 million a second."""
        position, data, unpack = self.position, self.data, _U64.unpack_from
        if count * 8 > self._size - position:
            raise GgufError(f"truncated GGUF at byte {self._size}: {what} at byte {position} has {count} items")
        for _ in range(count):
            if position + 8 > len(data):
                self.position = position
                self.need(8, what)
            (length,) = unpack(data, position)
            if length > limit:
                raise GgufError(
                    f"an item of {what} at byte {position} is {length} bytes long; at most {limit} are read"
                )
            position += 8 + length
        last, self.position = position, min(position, len(data))
        self.need(last - self.position, what)


def parse(fd: int, size: int) -> Parsed:
    """Read header, metadata and tensor table of the open file `fd` of `size` bytes. Raises GgufError, OSError."""
    return parse_with(lambda count, offset: os.pread(fd, count, offset), size)


def parse_with(read: Read, size: int) -> Parsed:
    """As parse(), of a file of `size` bytes that `read` reads: up to so many bytes from an offset, none at its end."""
    cursor = _Cursor(read, size)
    version = _version(cursor, size)
    tensor_count = cursor.count(t.MAX_TENSORS, "the number of tensors")
    pair_count = cursor.count(t.MAX_PAIRS, "the number of metadata keys")
    metadata: dict[str, Value] = {}
    for index in range(pair_count):
        at = cursor.position
        key = cursor.text(t.MAX_KEY, f"metadata key {index}")
        if not key or not key.isprintable():
            raise GgufError(f"metadata key {index} at byte {at} is {'not printable' if key else 'empty'}")
        if key in metadata:
            raise GgufError(f"metadata key {key} at byte {at} appears twice")
        metadata[key] = _value(cursor, key)
    alignment = _alignment(metadata)
    infos = [_tensor_info(cursor, index) for index in range(tensor_count)]
    data_offset = -(-cursor.position // alignment) * alignment
    tensors = tuple(_place(info, data_offset, alignment, size) for info in infos)
    _check_layout(tensors)
    return Parsed(version, metadata, tensors, data_offset, cursor.data)


def _version(cursor: _Cursor, size: int) -> int:
    start = cursor.need(min(ENOUGH, size), "the file")
    head = bytes(cursor.data[start : start + ENOUGH])
    cursor.position = 4
    if head[:4] != t.MAGIC:
        if head and t.MAGIC.startswith(head):
            raise GgufError(f"truncated GGUF at byte {size}")
        raise GgufError(f"not a GGUF file (looks like {looks_like(head)})")
    version = cursor.u32("the version")
    if version in t.VERSIONS:
        return version
    if int.from_bytes(version.to_bytes(4, "little"), "big") in t.VERSIONS:
        raise GgufError("a big-endian GGUF file; only little-endian ones are read")
    raise GgufError(f"GGUF version {version} at byte 4; versions 2 and 3 are read")


def _value(cursor: _Cursor, key: str) -> Value:
    at = cursor.position
    kind = cursor.u32(f"the type of {key}")
    if kind == t.STRING:
        return cursor.text(_string_limit(key), key)
    if kind == t.ARRAY:
        return _array(cursor, key)
    if kind not in t.SCALARS:
        raise GgufError(f"{key} has the unknown type {kind} at byte {at}")
    if key == "general.alignment" and t.SCALARS[kind].name != "UINT32":
        raise GgufError(f"general.alignment is of type {t.SCALARS[kind].name}; it must be UINT32")
    return _scalars(cursor, kind, 1, key)[0]


def _string_limit(key: str) -> int:
    return t.MAX_TEXT if key.startswith("tokenizer.chat_template") or key.endswith(".json") else t.MAX_STRING


def _scalars(cursor: _Cursor, kind: int, count: int, key: str) -> tuple[int | float | bool, ...]:
    scalar = t.SCALARS[kind]
    start = cursor.need(scalar.size * count, key)
    values = struct.unpack_from(f"<{count}{scalar.code}", cursor.data, start)
    if kind != t.BOOL:
        return values
    if any(value > 1 for value in values):
        raise GgufError(f"{key} at byte {start} is a boolean that is neither 0 nor 1")
    return tuple(bool(value) for value in values)


def _array(cursor: _Cursor, key: str) -> Array:
    at = cursor.position
    kind = cursor.u32(f"the item type of {key}")
    if kind == t.ARRAY:
        raise GgufError(f"{key} at byte {at} is an array of arrays; only flat arrays are read")
    if kind != t.STRING and kind not in t.SCALARS:
        raise GgufError(f"{key} has items of the unknown type {kind} at byte {at}")
    count = cursor.count(t.MAX_ITEMS, f"the length of {key}")
    start = cursor.position
    if kind == t.STRING:
        cursor.skip_strings(count, t.MAX_TOKEN if key == "tokenizer.ggml.tokens" else t.MAX_STRING, key)
        name = "STRING"
    else:
        cursor.need(t.SCALARS[kind].size * count, key)
        name = t.SCALARS[kind].name
    size = cursor.position - start
    values = decode(name, count, bytes(cursor.data[start : start + size])) if size <= t.SMALL_ARRAY else None
    return Array(name, count, start, size, values)


def decode(name: str, count: int, data: bytes) -> tuple[int | float | bool | str, ...]:
    """The items of an array whose lengths were checked; text that is no UTF-8 gets replacement characters."""
    if name != "STRING":
        scalar = next(each for each in t.SCALARS.values() if each.name == name)
        values = struct.unpack(f"<{count}{scalar.code}", data)
        return tuple(bool(value) for value in values) if name == "BOOL" else values
    items = []
    position = 0
    for _ in range(count):
        (length,) = _U64.unpack_from(data, position)
        items.append(data[position + 8 : position + 8 + length].decode(errors="replace"))
        position += 8 + length
    return tuple(items)


def _alignment(metadata: dict[str, Value]) -> int:
    value = metadata.get("general.alignment", t.DEFAULT_ALIGNMENT)
    if type(value) is not int or not 8 <= value <= 4096 or value & (value - 1):
        raise GgufError(f"general.alignment is {value!r}; it must be a power of two from 8 to 4096")
    return value


def _tensor_info(cursor: _Cursor, index: int) -> tuple[str, t.TensorType, tuple[int, ...], int]:
    """Name, type, shape and offset from the start of the tensor data."""
    name = cursor.text(t.MAX_TENSOR_NAME, f"the name of tensor {index}")
    if not name or not name.isprintable():
        raise GgufError(f"the name of tensor {index} is {'not printable' if name else 'empty'}")
    dimensions = cursor.u32(f"tensor {name}")
    if dimensions > t.MAX_DIMENSIONS:
        raise GgufError(f"tensor {name} has {dimensions} dimensions; at most {t.MAX_DIMENSIONS} are read")
    shape = tuple(cursor.u64(f"tensor {name}") for _ in range(dimensions))
    if any(not 1 <= extent <= t.MAX_EXTENT for extent in shape):
        raise GgufError(f"tensor {name} has the shape {list(shape)}; each dimension must be 1 to {t.MAX_EXTENT}")
    number = cursor.u32(f"tensor {name}")
    kind = t.TENSOR_TYPES.get(number)
    if kind is None:
        raise GgufError(f"tensor {name} has the unknown type {number}")
    return name, kind, shape, cursor.u64(f"tensor {name}")


def _place(
    info: tuple[str, t.TensorType, tuple[int, ...], int], data_offset: int, alignment: int, file_size: int
) -> Tensor:
    name, kind, shape, offset = info
    elements = 1
    for extent in shape:
        elements *= extent
    row = shape[0] if shape else 1
    if row % kind.block:
        raise GgufError(f"tensor {name}: rows of {row} do not divide into blocks of {kind.block} ({kind.name})")
    size = elements // kind.block * kind.size
    if offset % alignment:
        raise GgufError(f"tensor {name}: its offset {offset} is not a multiple of the alignment {alignment}")
    if data_offset + offset + size > file_size:
        end = data_offset + offset + size
        raise GgufError(f"tensor {name} ends beyond file: at byte {end} of {file_size}")
    return Tensor(name, kind.name, shape, data_offset + offset, size, elements)


def _check_layout(tensors: tuple[Tensor, ...]) -> None:
    names: set[str] = set()
    for tensor in tensors:
        if tensor.name in names:
            raise GgufError(f"two tensors are named {tensor.name}")
        names.add(tensor.name)
    end, before = 0, ""
    for tensor in sorted(tensors, key=lambda each: each.offset):
        if tensor.offset < end:
            raise GgufError(f"tensors {before} and {tensor.name} overlap at byte {tensor.offset}")
        end, before = tensor.offset + tensor.size, tensor.name
