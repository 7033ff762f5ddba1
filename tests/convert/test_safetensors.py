"""The safetensors header: what is sound is read, everything else is refused by name, and nothing else ever happens."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from powerd.convert.safetensors import MAX_HEADER, SIZES, Extent, header_length, parse
from powerd.errors import BadRequest

NAMES = st.text(min_size=1, max_size=20).filter(lambda name: name != "__metadata__")
SHAPES = st.lists(st.integers(0, 5), max_size=4)


def read(entries: Any, data: int) -> dict[str, Extent]:
    header = json.dumps(entries).encode()
    return parse(header, 8 + len(header) + data, "model.safetensors")


@settings(max_examples=50)
@given(st.dictionaries(NAMES, st.tuples(st.sampled_from(sorted(SIZES)), SHAPES), max_size=8))
def test_what_is_sound_is_read(tensors: dict[str, tuple[str, list[int]]]) -> None:
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, (dtype, shape) in tensors.items():
        size = math.prod(shape) * SIZES[dtype]
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    start = 8 + len(json.dumps(entries).encode())
    found = read(entries, at)
    assert found.keys() == tensors.keys()
    for name, extent in found.items():
        assert (extent.dtype, list(extent.shape)) == tensors[name]
        assert (extent.begin - start, extent.end - start) == tuple(entries[name]["data_offsets"])


def one(**changes: Any) -> dict[str, Any]:
    return {"w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16], **changes}}


@pytest.mark.parametrize(
    ("entries", "data", "message"),
    [
        (one(dtype="F4"), 16, "tensor w: the type F4 is not known"),
        (one(dtype="F16"), 16, "tensor w: 8 bytes are needed, 16 are given"),
        (one(shape=[2, -2]), 16, "the shape .* is impossible"),
        (one(shape=[1] * 9), 16, "is impossible"),
        (one(shape=[2**40, 2**40]), 16, "bytes are needed, 16 are given"),
        (one(data_offsets=[16, 0]), 16, "16 bytes are needed, -16 are given"),
        (one(data_offsets=[-16, 0]), 16, "bytes are needed"),
        (one(data_offsets=[16, 32]), 32, "tensor w leaves a gap before it"),
        (one(data_offsets=[0, 16, 32]), 16, "not that of a safetensors file"),
        (one(), 8, "the file ends within its tensors"),
        (one(), 20, "the file goes on after its last tensor"),
        ({**one(), "v": one()["w"]}, 32, "tensor v overlaps with the tensor before it"),
        ({"w": 3}, 0, "not that of a safetensors file"),
        ({"": one()["w"]}, 16, "its name has 0 characters"),
        ({"n" * 600: one()["w"]}, 16, "its name has 600 characters"),
        ([], 0, "not that of a safetensors file"),
    ],
)
def test_what_is_unsound_is_refused_by_name(entries: Any, data: int, message: str) -> None:
    with pytest.raises(BadRequest, match=rf"^model.safetensors: .*{message}"):
        read(entries, data)


def test_a_header_is_never_longer_than_the_file_or_the_limit() -> None:
    assert header_length((100).to_bytes(8, "little"), 200, "f") == 100
    for start, size, message in (
        (b"", 0, "ends within the length"),
        ((300).to_bytes(8, "little"), 200, "ends within its header"),
        ((MAX_HEADER + 1).to_bytes(8, "little"), 1 << 40, "its header would take"),
        (b"<!DOCTYP", 9000, "its header would take"),
    ):
        with pytest.raises(BadRequest, match=message):
            header_length(start, size, "f")


@given(st.binary(max_size=200), st.integers(0, 400))
def test_any_bytes_are_read_or_refused(header: bytes, data: int) -> None:
    try:
        found = parse(header, 8 + len(header) + data, "f")
    except BadRequest:
        return
    assert sum(extent.end - extent.begin for extent in found.values()) == data


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=14), inner, max_size=3),
    max_leaves=9,
)


@settings(max_examples=40)
@given(st.dictionaries(NAMES, st.fixed_dictionaries({"dtype": JSON, "shape": JSON, "data_offsets": JSON}) | JSON))
def test_any_document_is_read_or_refused(entries: dict[str, Any]) -> None:
    header = json.dumps(entries).encode()
    try:
        parse(header, 8 + len(header), "f")
    except BadRequest as error:
        assert error.message.startswith("f: ")


def test_a_header_nested_without_end_is_refused() -> None:
    header = b'{"w":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    with pytest.raises(BadRequest, match="not that of a safetensors file"):
        parse(header, 8 + len(header), "f")
