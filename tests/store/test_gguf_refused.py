"""What a header is refused for (reliability sections 1E and 2.3): always GgufError, never another exception."""

from __future__ import annotations

import struct
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from powerd.store.gguf import read_array, read_header
from powerd.store.gguf_types import TENSOR_TYPES, Array, GgufError
from tests.store.crafted import ARR, F32, I8, I32, STR, U8, U32, U64, Crafted, array, pair, tensor, text
from tests.store.test_gguf import DEMO

HUGE = (2**31 + 1, 2**63, 2**64 - 1)


def refuse(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(data)
    with pytest.raises(GgufError, match=message):
        read_header(path)


def test_s32_g01_truncated_at_every_byte(tmp_path: Path) -> None:
    data = Crafted().bytes()
    path = tmp_path / "cut.gguf"
    path.write_bytes(data)
    read_header(path)
    for length in range(len(data) - 30):  # the last tensor ends 30 bytes before the padding does
        with path.open("r+b") as file:
            file.truncate(0)
            file.write(data[:length])
        with pytest.raises(GgufError, match=r"truncated GGUF at byte \d+|ends beyond file|looks like an empty file"):
            read_header(path)


def test_g02_truncated_in_the_tensors(tmp_path: Path) -> None:
    data = Crafted().bytes()
    refuse(tmp_path, data[:-31], "tensor b.weight ends beyond file")
    refuse(tmp_path, data[: len(data) - 128], "tensor a.weight ends beyond file")
    demo = DEMO.read_bytes()
    refuse(tmp_path, demo[:-4096], "ends beyond file")


@pytest.mark.parametrize("version", [0, 1, 4, 2**31])
def test_g03_other_versions(tmp_path: Path, version: int) -> None:
    refuse(tmp_path, Crafted(version=version).bytes(), f"GGUF version {version}")


def test_g03_big_endian(tmp_path: Path) -> None:
    refuse(tmp_path, Crafted(version=3 << 24).bytes(), "big-endian")
    refuse(tmp_path, b"FUGG" + bytes(64), "big-endian")


def test_g03_a_sparse_terabyte_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "sparse.gguf"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    began = time.monotonic()
    with pytest.raises(GgufError, match="looks like zeros"):
        read_header(path)
    assert time.monotonic() - began < 0.5


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"PK\x03\x04" + bytes(40), "zip"),
        (b"a" * 257 + b"ustar\0" + bytes(300), "tar"),
        (b"\x1f\x8b\x08" + bytes(40), "gzip"),
        (b"\x7fELF\x02" + bytes(40), "ELF"),
        (struct.pack("<Q", 900) + b'{"__metadata__":{}}', "safetensors"),
        (b"%PDF-1.7\n", "PDF"),
        (b"<!DOCTYPE html><html>", "HTML"),
        (b"\n\n  <HTML lang=en>", "HTML"),
        (b'<?xml version="1.0"?>', "XML"),
        (b'{"error":"Unauthorized"}', "JSON"),
        (b"\x80\x02}q\x00", "PyTorch weights"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer"),
        (b"Not Found", "plain text"),
        (b"\x01\x02\x03", "unknown data"),
        (b"", "an empty file"),
    ],
)
def test_g19_other_formats_are_named(tmp_path: Path, head: bytes, name: str) -> None:
    refuse(tmp_path, head, rf"not a GGUF file \(looks like .*{name}")


@pytest.mark.parametrize("count", [65_537, *HUGE])
def test_s35_g04_counts_beyond_reason_cost_nothing(tmp_path: Path, count: int) -> None:
    path = tmp_path / "count.gguf"
    for crafted in (Crafted(pair_count=count), Crafted(tensor_count=count)):
        path.write_bytes(crafted.bytes())
        tracemalloc.start()
        began = time.monotonic()
        with pytest.raises(GgufError, match=rf"the number of .* is {count}"):
            read_header(path)
        assert time.monotonic() - began < 0.5
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
        tracemalloc.stop()


@pytest.mark.parametrize("count", [200, 65_000])
def test_g04_counts_that_the_file_does_not_hold(tmp_path: Path, count: int) -> None:
    refuse(tmp_path, Crafted(pair_count=count).bytes(), r"truncated|at byte")
    refuse(tmp_path, Crafted(tensor_count=count).bytes(), r"truncated|the name of tensor 2")


@pytest.mark.parametrize("length", [(1 << 20) + 1, *HUGE])
def test_g05_long_strings(tmp_path: Path, length: int) -> None:
    crafted = Crafted()
    crafted.pairs["general.name"] = text("general.name") + struct.pack("<IQ", STR, length) + b"x"
    refuse(tmp_path, crafted.bytes(), f"general.name at byte .* is {length} bytes long")


def test_g05_g17_a_template_may_be_longer_than_other_strings(tmp_path: Path) -> None:
    path = tmp_path / "long.gguf"
    path.write_bytes(Crafted().set("tokenizer.chat_template", STR, "x" * (2 << 20)).bytes())
    assert len(read_header(path).chat_template or "") == 2 << 20
    refuse(tmp_path, Crafted().set("tokenizer.chat_template", STR, "x" * ((16 << 20) + 1)).bytes(), "at most 16777216")


@pytest.mark.parametrize(
    ("value", "message"), [(b"\xff\xfe", "not valid UTF-8"), (b"a\0b", "NUL"), (b"\xed\xa0\x80", "not valid UTF-8")]
)
def test_g05_text_that_is_none(tmp_path: Path, value: bytes, message: str) -> None:
    refuse(tmp_path, Crafted().set("general.name", STR, value).bytes(), f"general.name.*{message}")


@pytest.mark.parametrize("key", [b"", b"a\nb", b"k" * 257, b"\xff", b"general.architecture"])
def test_g05_keys(tmp_path: Path, key: bytes) -> None:
    crafted = Crafted()
    crafted.pairs["extra"] = pair(key, U32, 1)
    refuse(tmp_path, crafted.bytes(), "metadata key 15|general.architecture at byte .* appears twice")


@pytest.mark.parametrize("count", [(4 << 20) + 1, *HUGE])
def test_g06_long_arrays(tmp_path: Path, count: int) -> None:
    for kind in (STR, U8):
        refuse(tmp_path, Crafted().set_array("x.y", kind, [], count=count).bytes(), f"length of x.y .* is {count}")


def test_g06_arrays_longer_than_the_file(tmp_path: Path) -> None:
    for kind in (STR, U64):
        refuse(tmp_path, Crafted().set_array("x.y", kind, [], count=4_000_000).bytes(), "truncated GGUF at byte")


def test_g06_nested_arrays_are_refused_without_recursion(tmp_path: Path) -> None:
    crafted = Crafted()
    crafted.pairs["deep"] = text("deep") + struct.pack("<I", ARR) + struct.pack("<IQ", ARR, 1) * 100_000
    refuse(tmp_path, crafted.bytes(), "deep at byte .* is an array of arrays")


@pytest.mark.parametrize("kind", [13, 2**32 - 1])
def test_g06_unknown_value_types(tmp_path: Path, kind: int) -> None:
    crafted = Crafted()
    crafted.pairs["odd"] = text("odd") + struct.pack("<I", kind) + bytes(64)
    refuse(tmp_path, crafted.bytes(), f"odd has the unknown type {kind}")
    crafted.pairs["odd"] = text("odd") + struct.pack("<IIQ", ARR, kind, 1) + bytes(64)
    refuse(tmp_path, crafted.bytes(), f"odd has items of the unknown type {kind}")


def test_a_boolean_is_zero_or_one(tmp_path: Path) -> None:
    crafted = Crafted()
    crafted.pairs["flag"] = text("flag") + struct.pack("<IB", 7, 2)
    refuse(tmp_path, crafted.bytes(), "flag .* neither 0 nor 1")


@pytest.mark.parametrize("kind", [4, 5, 31, 32, 33, 36, 10**6])
def test_g09_removed_and_unknown_tensor_types(tmp_path: Path, kind: int) -> None:
    refuse(tmp_path, Crafted(tensors=[tensor("t", (32,), kind, 0)]).bytes(), f"tensor t has the unknown type {kind}")


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ([tensor("a", (8,), 0, 0), tensor("b", (8,), 0, 0)], "tensors a and b overlap"),
        ([tensor("a", (16,), 0, 0), tensor("b", (8,), 0, 32)], "tensors a and b overlap"),
        ([tensor("a", (8,), 0, 4)], "tensor a: its offset 4 is not a multiple of the alignment 32"),
        ([tensor("a", (8,), 0, 0), tensor("a", (8,), 0, 32)], "two tensors are named a"),
        ([tensor("", (8,), 0, 0)], "the name of tensor 0 is empty"),
        ([tensor("n" * 64, (8,), 0, 0)], "the name of tensor 0 .* 64 bytes long"),
        ([tensor("a", (33,), 8, 0)], "rows of 33 do not divide into blocks of 32"),
        ([tensor("a", (0,), 0, 0)], r"shape \[0\]"),
        ([tensor("a", (8, 0), 0, 0)], r"shape \[8, 0\]"),
        ([tensor("a", (), 0, 0, dimensions=5)], "5 dimensions"),
        ([tensor("a", (), 0, 0, dimensions=2**32 - 1)], "4294967295 dimensions"),
    ],
)
def test_g10_tensor_tables(tmp_path: Path, tensors: list[bytes], message: str) -> None:
    refuse(tmp_path, Crafted(tensors=tensors).bytes(), message)


def test_g10_gaps_and_any_order_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "gaps.gguf"
    path.write_bytes(Crafted(tensors=[tensor("b", (8,), 0, 96), tensor("a", (8,), 0, 0)]).bytes())
    assert [each.name for each in read_header(path).tensors] == ["b", "a"]


@pytest.mark.parametrize(
    "shape",
    [(2**63 - 1, 2), (2**62 - 1,), (2**32, 2**32), (2**31, 2**31, 2**31, 2**31), (2**63 - 1, 2, 1, 1), (2**62,)],
)
@pytest.mark.parametrize("kind", [0, 2, 8, 12])
def test_s38_sizes_that_would_wrap(tmp_path: Path, shape: tuple[int, ...], kind: int) -> None:
    refuse(tmp_path, Crafted(tensors=[tensor("a", shape, kind, 0)]).bytes(), "tensor a")


def test_s37_tensors_larger_than_the_file(tmp_path: Path) -> None:
    small = bytes(32)
    refuse(tmp_path, Crafted(tensors=[tensor("a", (512, 2), 0, 0)], data=small).bytes(), "tensor a ends beyond file")
    refuse(tmp_path, Crafted(tensors=[tensor("a", (1,), 0, 2**63)], data=small).bytes(), "tensor a ends beyond file")
    refuse(tmp_path, Crafted(tensors=[tensor("a", (8,), 0, 32)], data=small).bytes(), "tensor a ends beyond file")


@pytest.mark.parametrize("value", [0, 3, 4, 8192, 2**31])
def test_s34_g11_alignment(tmp_path: Path, value: int) -> None:
    refuse(tmp_path, Crafted().set("general.alignment", U32, value).bytes(), "general.alignment is")


def test_s34_g11_alignment_of_another_type(tmp_path: Path) -> None:
    refuse(tmp_path, Crafted().set("general.alignment", I32, 32).bytes(), "general.alignment is of type INT32")
    refuse(tmp_path, Crafted().set("general.alignment", STR, "32").bytes(), "general.alignment is '32'")
    path = tmp_path / "wide.gguf"
    path.write_bytes(Crafted(alignment=64, data=bytes(256)).set("general.alignment", U32, 64).bytes())
    assert read_header(path).data_offset % 64 == 0


@pytest.mark.parametrize("value", ["../x", "", "x" * 1000, "a b", "llama\n"])
def test_g12_architectures(tmp_path: Path, value: str) -> None:
    refuse(tmp_path, Crafted().set("general.architecture", STR, value).bytes(), "general.architecture is not a name")
    refuse(tmp_path, Crafted().drop("general.architecture").bytes(), "general.architecture is missing")
    refuse(tmp_path, Crafted().set("general.architecture", U32, 1).bytes(), "general.architecture is not a name")


@pytest.mark.parametrize(
    "key", ["block_count", "context_length", "embedding_length", "attention.head_count", "attention.head_count_kv"]
)
@pytest.mark.parametrize(("kind", "value"), [(STR, "4"), (F32, 4.0), (I32, -1), (U32, 2**32 - 1), (7, 1), (U64, 2**63)])
def test_s33_hyperparameters_that_feed_arithmetic(tmp_path: Path, key: str, kind: int, value: object) -> None:
    refuse(tmp_path, Crafted().set(f"llama.{key}", kind, value).bytes(), f"llama.{key} is")


@pytest.mark.parametrize("key", ["block_count", "context_length", "embedding_length", "attention.head_count"])
def test_s33_zero(tmp_path: Path, key: str) -> None:
    refuse(tmp_path, Crafted().set(f"llama.{key}", U32, 0).bytes(), f"llama.{key} is 0")


def test_s33_lists_for_layers(tmp_path: Path) -> None:
    for key in ("block_count", "context_length", "embedding_length"):
        refuse(tmp_path, Crafted().set_array(f"llama.{key}", U32, [1, 2]).bytes(), f"llama.{key} is not an integer")
    refuse(tmp_path, Crafted().set_array("llama.attention.head_count", U32, [1]).bytes(), "1 items for 2 layers")
    refuse(tmp_path, Crafted().set_array("llama.attention.head_count", STR, ["1", "2"]).bytes(), "not an integer")
    refuse(tmp_path, Crafted().set_array("llama.attention.head_count_kv", I32, [1, -1]).bytes(), "is -1")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("clip.vision.image_size", 2**20, "image_size is"),
        ("clip.vision.image_size", 60_000, "more than 256 patches"),
        ("clip.vision.patch_size", 0, "patch_size is 0"),
        ("clip.vision.spatial_merge_size", 0, "spatial_merge_size is 0"),
        ("clip.vision.attention.head_count", 0, "head_count is 0"),
    ],
)
def test_s40_projectors(tmp_path: Path, key: str, value: int, message: str) -> None:
    crafted = Crafted().set("general.architecture", STR, "clip")
    crafted.set("clip.vision.image_size", U32, 336).set("clip.vision.patch_size", U32, 14)
    refuse(tmp_path, crafted.set(key, U32, value).bytes(), message)


TOKENS, TYPES, SCORES = ("tokenizer.ggml.tokens", "tokenizer.ggml.token_type", "tokenizer.ggml.scores")


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (array(TOKENS, STR, []), "tokens is not a list of strings"),
        (array(TOKENS, U32, [1, 2, 3, 4, 5]), "tokens is not a list of strings"),
        (pair(TOKENS, STR, "x"), "tokens is not a list of strings"),
        (array(TOKENS, STR, ["<unk>", "<s>", "</s>", "<0x-1>", "x"]), "malformed byte token"),
        (array(TOKENS, STR, ["<unk>", "<s>", "</s>", "newline", "x"]), "token 3 is of type byte"),
        (array(TOKENS, STR, ["a", "b", "c", "<0x0A>", "x" * (64 * 1024 + 1)]), "an item of tokenizer.ggml.tokens"),
        (array(TYPES, I32, [1, 1, 1, 1]), "token_type has 4 items for 5 tokens"),
        (array(TYPES, I8, [1, 1, 1, 1, 1]), "token_type is not a list of INT32"),
        (array(SCORES, F32, [0.0] * 6), "scores has 6 items for 5 tokens"),
        (array(SCORES, I8, [0] * 5), "scores is not a list of FLOAT32"),
        (pair("tokenizer.ggml.merges", U32, 1), "merges is not a list of strings"),
        (pair("tokenizer.ggml.model", U32, 1), "tokenizer.ggml.model is not a string"),
        (pair("tokenizer.chat_template", U32, 1), "tokenizer.chat_template is not a string"),
        (pair("tokenizer.ggml.bos_token_id", U32, 5), "bos_token_id is 5, which is no token"),
        (pair("tokenizer.ggml.eos_token_id", I32, -1), "eos_token_id is -1, which is no token"),
        (pair("tokenizer.ggml.eos_token_id", STR, "2"), "eos_token_id is '2', which is no token"),
    ],
)
def test_s39_g13_vocabularies(tmp_path: Path, part: bytes, message: str) -> None:
    crafted = Crafted()
    (length,) = struct.unpack_from("<Q", part)
    crafted.pairs[part[8 : 8 + length].decode()] = part
    refuse(tmp_path, crafted.bytes(), message)


SMALL = Crafted().bytes()
DEMO_HEAD = DEMO.read_bytes()


def accept_or_refuse(data: bytes, check: Callable[[Path], None]) -> None:
    with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
        file.write(data)
        file.flush()
        check(Path(file.name))


def use_everything(path: Path) -> None:
    """Read the header and every value derived from it."""
    try:
        header = read_header(path)
        _ = (header.kind, header.name, header.file_type, header.add_bos, header.chat_template, header.pooling_type)
        header.shape()
        for value in header.metadata.values():
            if isinstance(value, Array):
                read_array(path, value)
        assert all(each.offset + each.size <= header.file_size for each in header.tensors)
        header.check_model()
    except GgufError as error:
        assert str(error)


@given(flips=st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), min_size=1, max_size=6))
@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_g20_flipped_bytes_are_accepted_or_refused(flips: list[tuple[int, int]]) -> None:
    data = bytearray(SMALL)
    for position, value in flips:
        data[position] = value
    accept_or_refuse(bytes(data), use_everything)


@given(cut=st.integers(0, len(SMALL)), insert=st.binary(max_size=40), drop=st.integers(0, 40))
@settings(max_examples=120, deadline=None)
def test_g20_cut_and_spliced_files_are_accepted_or_refused(cut: int, insert: bytes, drop: int) -> None:
    accept_or_refuse(SMALL[:cut] + insert + SMALL[cut + drop :], use_everything)


@given(flips=st.lists(st.tuples(st.integers(0, 60_000), st.integers(0, 255)), min_size=1, max_size=3))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_g20_a_real_model_with_flipped_bytes(flips: list[tuple[int, int]]) -> None:
    data = bytearray(DEMO_HEAD)
    for position, value in flips:
        data[position] = value
    accept_or_refuse(bytes(data), use_everything)


def test_the_table_of_types_is_that_of_ggml() -> None:
    from gguf.constants import GGML_QUANT_SIZES

    theirs = {int(kind): (kind.name, *sizes) for kind, sizes in GGML_QUANT_SIZES.items()}
    assert {number: tuple(kind) for number, kind in TENSOR_TYPES.items()} == theirs
