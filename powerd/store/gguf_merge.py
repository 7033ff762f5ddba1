"""Split GGUFs (`name-00001-of-00003.gguf`) joined into one file, streamed: nothing larger than a chunk is held.

llama-gguf-split leaves the metadata in the first part and numbers the parts in `split.no` and `split.count`. Names and
numbers must tell the same story, and metadata that two parts share must be the same.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from powerd.store import gguf_types as t
from powerd.store.files import regular
from powerd.store.gguf_parse import Parsed, parse
from powerd.store.gguf_types import GgufError, Tensor

CHUNK = 4 << 20
MAX_PARTS = 1024
_NAME = re.compile(r"(?P<stem>.*)-(?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})\.gguf", re.ASCII | re.DOTALL)
_HEAD = struct.Struct("<4sIQQ")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_TYPE_NUMBERS = {kind.name: number for number, kind in t.TENSOR_TYPES.items()}


@dataclass(frozen=True, slots=True)
class PartName:
    """What a part's file name says: the model's stem, which part this is (from 1) and of how many."""

    stem: str
    number: int
    count: int

    def of(self, number: int) -> str:
        """The file name of another part of the same model."""
        return f"{self.stem}-{number:05}-of-{self.count:05}.gguf"


def part_name(name: str) -> PartName | None:
    """The parts of a split file's name; None for any other name."""
    match = _NAME.fullmatch(name)
    return PartName(match["stem"], int(match["number"]), int(match["count"])) if match else None


@dataclass(frozen=True, slots=True)
class _Part:
    path: Path
    parsed: Parsed
    pairs: Mapping[str, bytes]  # metadata as it is written, key included


@dataclass(frozen=True, slots=True)
class Merged:
    """The one file that the parts make: its size in bytes, and its contents in order."""

    header: bytes
    sources: tuple[tuple[Path, Tensor], ...]
    alignment: int

    @property
    def size(self) -> int:
        """Bytes in all."""
        return len(self.header) + sum(_aligned(tensor.size, self.alignment) for _, tensor in self.sources)

    def write(self, sink: Callable[[bytes], object]) -> None:
        """Hand every byte to `sink` in order. Raises GgufError when a part shrinks meanwhile, OSError."""
        sink(self.header)
        for path, tensor in self.sources:
            for chunk in _read(path, tensor):
                sink(chunk)
            sink(bytes(_aligned(tensor.size, self.alignment) - tensor.size))


def merge(files: Mapping[str, Path]) -> Merged:
    """Lay out the merged file of these parts, each under its own name.

    Raises GgufError, naming the part, unless they are all the parts of one model; OSError.
    """
    names = _in_order(list(files))
    parts = [_part(name, files[name]) for name in names]
    for number, (name, part) in enumerate(zip(names, parts, strict=True)):
        _check_numbers(name, part, number, len(parts), sum(len(each.parsed.tensors) for each in parts))
    pairs = _agreed(names, parts)
    alignment = _alignment(parts)
    sources = tuple((part.path, tensor) for part in parts for tensor in part.parsed.tensors)
    _check_tensors(sources)
    return Merged(_header(parts[0].parsed.version, pairs, sources, alignment), sources, alignment)


def _in_order(names: Sequence[str]) -> list[str]:
    """The names from the first part to the last, none missing."""
    known = {name: part for name in names if (part := part_name(name)) is not None}
    if len(known) != len(names):
        odd = next(name for name in names if name not in known)
        raise GgufError(f"{odd} is not named as a part of a split model (name-00001-of-00003.gguf)")
    first = known[names[0]]
    if any((part.stem, part.count) != (first.stem, first.count) for part in known.values()):
        raise GgufError("the parts belong to different split models; create one model at a time")
    if not 1 <= first.count <= MAX_PARTS:
        raise GgufError(f"a model split into {first.count} parts; at most {MAX_PARTS} are joined")
    wanted = [first.of(number) for number in range(1, first.count + 1)]
    for name in wanted:
        if name not in known:
            raise GgufError(f"{name} is missing: a split model needs all its parts")
    if len(known) != len(wanted):
        odd = next(name for name in names if name not in wanted)
        raise GgufError(f"{odd} is not one of the {first.count} parts of its model")
    return wanted


def _part(name: str, path: Path) -> _Part:
    try:
        with regular(path) as (fd, status):
            parsed = parse(fd, status.st_size)
    except GgufError as error:
        raise GgufError(f"{name}: {error}") from None
    return _Part(path, parsed, dict(_pairs(parsed)))


def _check_numbers(name: str, part: _Part, number: int, count: int, tensors: int) -> None:
    for key, wanted in (("split.no", number), ("split.count", count), ("split.tensors.count", tensors)):
        said = part.parsed.metadata.get(key)
        if said != wanted and not (said is None and key == "split.tensors.count"):
            raise GgufError(f"{name} says {key} {'nothing' if said is None else said} where {wanted} was expected")


def _agreed(names: Sequence[str], parts: Sequence[_Part]) -> dict[str, bytes]:
    """The first part's metadata; what later parts repeat must be the same."""
    first = {key: pair for key, pair in parts[0].pairs.items() if not key.startswith("split.")}
    for name, part in zip(names, parts, strict=True):
        for key, pair in part.pairs.items():
            if not key.startswith("split.") and first.get(key) != pair:
                raise GgufError(f"{name} says something else of {key} than the first part")
    return first


def _alignment(parts: Sequence[_Part]) -> int:
    value = parts[0].parsed.metadata.get("general.alignment", t.DEFAULT_ALIGNMENT)
    assert isinstance(value, int)
    return value


def _check_tensors(sources: Sequence[tuple[Path, Tensor]]) -> None:
    names = [tensor.name for _, tensor in sources]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise GgufError(f"two parts hold a tensor named {twice}")
    if len(names) > t.MAX_TENSORS:
        raise GgufError(f"the parts hold {len(names)} tensors; at most {t.MAX_TENSORS} are read")


def _header(version: int, pairs: Mapping[str, bytes], sources: Sequence[tuple[Path, Tensor]], alignment: int) -> bytes:
    infos = bytearray()
    offset = 0
    for _, tensor in sources:
        name = tensor.name.encode()
        infos += _U64.pack(len(name)) + name + _U32.pack(len(tensor.shape))
        infos += struct.pack(f"<{len(tensor.shape)}QIQ", *tensor.shape, _TYPE_NUMBERS[tensor.type], offset)
        offset += _aligned(tensor.size, alignment)
    head = _HEAD.pack(t.MAGIC, version, len(sources), len(pairs)) + b"".join(pairs.values()) + infos
    return head + bytes(_aligned(len(head), alignment) - len(head))


def _aligned(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment


def _read(path: Path, tensor: Tensor) -> Iterator[bytes]:
    with regular(path) as (fd, _):
        done = 0
        while done < tensor.size:
            chunk = os.pread(fd, min(CHUNK, tensor.size - done), tensor.offset + done)
            if not chunk:
                raise GgufError(f"tensor {tensor.name}: the part shrank while it was read")
            yield chunk
            done += len(chunk)


def _pairs(parsed: Parsed) -> Iterator[tuple[str, bytes]]:
    """Each metadata key with its bytes; the lengths were checked when the file was parsed."""
    data, position = parsed.data, _HEAD.size
    for key in parsed.metadata:
        start = position
        position += 8 + _U64.unpack_from(data, position)[0]
        (kind,) = _U32.unpack_from(data, position)
        position = _after(data, kind, position + 4)
        yield key, bytes(data[start:position])


def _after(data: bytearray, kind: int, position: int) -> int:
    """Where the value of type `kind` that begins at `position` ends."""
    if kind == t.STRING:
        return position + 8 + int(_U64.unpack_from(data, position)[0])
    if kind != t.ARRAY:
        return position + t.SCALARS[kind].size
    (item,) = _U32.unpack_from(data, position)
    (count,) = _U64.unpack_from(data, position + 4)
    position += 12
    if item != t.STRING:
        return position + t.SCALARS[item].size * int(count)
    for _ in range(count):
        position += 8 + _U64.unpack_from(data, position)[0]
    return position
