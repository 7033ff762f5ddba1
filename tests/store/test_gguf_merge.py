"""Split models joined: what the gguf package writes in parts comes back as the file it writes whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from powerd.store.gguf import GgufError, Header, read_array, read_header
from powerd.store.gguf_merge import merge, part_name
from powerd.store.gguf_types import Array
from tests import gguf_maker
from tests.store.crafted import F32, STR, U16, U32, Crafted, array, pair, tensor


def joined(parts: dict[str, Path], to: Path) -> Header:
    merged = merge(parts)
    with to.open("wb") as file:
        merged.write(file.write)
    assert to.stat().st_size == merged.size
    return read_header(to)


def contents(path: Path, header: Header) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    data = path.read_bytes()
    return {each.name: (each.type, each.shape, data[each.offset : each.offset + each.size]) for each in header.tensors}


def values(path: Path, header: Header) -> dict[str, object]:
    return {
        key: read_array(path, value) if isinstance(value, Array) else value for key, value in header.metadata.items()
    }


def test_the_parts_make_the_whole(tmp_path: Path) -> None:
    (whole,) = gguf_maker.full(tmp_path / "whole.gguf", template="{{ messages }}")
    parts = gguf_maker.full(tmp_path / "split.gguf", part_tensors=7, template="{{ messages }}")
    assert len(parts) == 3
    made = joined({path.name: path for path in parts}, tmp_path / "made.gguf")
    made.check_model()
    expected = read_header(whole)
    assert values(tmp_path / "made.gguf", made) == values(whole, expected)
    assert contents(tmp_path / "made.gguf", made) == contents(whole, expected)


def part(number: int, count: int, **changes: object) -> Crafted:
    """A later part as llama-gguf-split writes them: tensors and the split's own keys."""
    crafted = Crafted(tensors=[tensor(f"t{number}.weight", (8,), 0, 0)], data=bytes(32))
    if number:
        crafted.pairs = {}
    pairs = {"split.no": number, "split.count": count, "split.tensors.count": count} | changes
    crafted.pairs |= {key: pair(key, U16, value) for key, value in pairs.items() if value is not None}
    return crafted


def written(directory: Path, parts: list[Crafted], count: int | None = None) -> dict[str, Path]:
    files = {}
    for number, crafted in enumerate(parts, 1):
        path = directory / f"m-{number:05}-of-{count or len(parts):05}.gguf"
        path.write_bytes(crafted.bytes())
        files[path.name] = path
    return files


def test_crafted_parts_join_with_an_alignment_of_their_own(tmp_path: Path) -> None:
    first, second = part(0, 2), part(1, 2)
    first.pairs["general.alignment"] = pair("general.alignment", U32, 256)
    first.alignment = 256
    header = joined(written(tmp_path, [first, second]), tmp_path / "made.gguf")
    assert [each.name for each in header.tensors] == ["t0.weight", "t1.weight"]
    assert all(each.offset % 256 == 0 for each in header.tensors)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split.no": 0}, "m-00002-of-00002.gguf says split.no 0 where 1 was expected"),
        ({"split.no": None}, "says split.no nothing where 1 was expected"),
        ({"split.count": 3}, "says split.count 3 where 2 was expected"),
        ({"split.tensors.count": 9}, "says split.tensors.count 9 where 2 was expected"),
    ],
)
def test_g16_numbers_that_contradict_the_name(tmp_path: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(GgufError) as failure:
        merge(written(tmp_path, [part(0, 2), part(1, 2, **change)]))
    assert message in str(failure.value)


@pytest.mark.parametrize(
    "odd",
    [
        pair("general.architecture", STR, "qwen3"),
        array("tokenizer.ggml.scores", F32, [0.0, 0.0, 0.0, 0.0, -2.0]),
        pair("llama.vocab_size", U32, 5),
    ],
)
def test_g16_metadata_must_agree(tmp_path: Path, odd: bytes) -> None:
    second = part(1, 2)
    key = odd[8 : 8 + odd[0]].decode()
    second.pairs[key] = odd
    with pytest.raises(GgufError, match=f"m-00002-of-00002.gguf says something else of {key} than the first part"):
        merge(written(tmp_path, [part(0, 2), second]))


def test_g16_a_repeated_key_that_agrees_is_fine(tmp_path: Path) -> None:
    second = part(1, 2)
    second.pairs["general.name"] = part(0, 2).pairs["general.name"]
    merge(written(tmp_path, [part(0, 2), second]))


def test_g16_parts_missing_foreign_or_too_many(tmp_path: Path) -> None:
    files = written(tmp_path, [part(number, 3) for number in range(3)])
    names = list(files)
    for missing in names:
        with pytest.raises(GgufError, match=f"{missing} is missing"):
            merge({name: files[name] for name in names if name != missing})
    with pytest.raises(GgufError, match="different split models"):
        merge({**files, "x-00001-of-00003.gguf": files[names[0]]})
    with pytest.raises(GgufError, match="is not named as a part"):
        merge({**files, "x.gguf": files[names[0]]})
    with pytest.raises(GgufError, match=r"m-00004-of-00003\.gguf is not one of the 3 parts"):
        merge({**files, "m-00004-of-00003.gguf": files[names[0]]})
    with pytest.raises(GgufError, match="split into 99999 parts; at most 1024"):
        merge({"m-00001-of-99999.gguf": files[names[0]]})


def test_g16_two_parts_with_one_tensor_and_a_part_that_is_cut(tmp_path: Path) -> None:
    twin = part(1, 2)
    twin.tensors = part(0, 2).tensors
    with pytest.raises(GgufError, match=r"two parts hold a tensor named t0\.weight"):
        merge(written(tmp_path, [part(0, 2), twin]))
    files = written(tmp_path, [part(0, 2), part(1, 2)])
    last = files["m-00002-of-00002.gguf"]
    last.write_bytes(last.read_bytes()[:-1])
    with pytest.raises(GgufError, match=r"m-00002-of-00002\.gguf: tensor t1\.weight ends beyond file"):
        merge(files)


def test_a_part_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    files = written(tmp_path, [part(0, 2), part(1, 2)])
    merged = merge(files)
    last = files["m-00002-of-00002.gguf"]
    last.write_bytes(last.read_bytes()[:-32])
    with pytest.raises(GgufError, match="the part shrank"):
        merged.write(lambda _data: None)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a-00001-of-00003.gguf", ("a", 1, 3)),
        ("a-b-00002-of-00002-00001-of-00001.gguf", ("a-b-00002-of-00002", 1, 1)),
        ("a-1-of-3.gguf", None),
        ("a-00001-of-00003.bin", None),
        ("a.gguf", None),
    ],
)
def test_part_names(name: str, expected: tuple[str, int, int] | None) -> None:
    part = part_name(name)
    assert (part and (part.stem, part.number, part.count)) == expected
    assert part is None or part.of(part.number) == name
