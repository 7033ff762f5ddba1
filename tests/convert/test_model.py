"""A whole checkpoint: the demo model's own weights come out as they are in its GGUF, and what is odd is refused."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from powerd.convert.checkpoint import INDEX, Checkpoint
from powerd.convert.model import convert
from powerd.convert.tensors import KINDS, Planned
from powerd.convert.writing import write
from powerd.errors import BadRequest
from tests.convert import checkpoints
from tests.gguf_maker import DEMO


def made(folder: Path) -> gguf.GGUFReader:
    path = folder.parent / f"{folder.name}.gguf"
    convert(Checkpoint(checkpoints.files(folder)), path, lambda *_: None)
    return gguf.GGUFReader(path)


def test_the_demo_model_comes_back(demo: Path) -> None:
    expected = checkpoints.tensors()
    reader = made(demo)
    found = {tensor.name: tensor for tensor in reader.tensors}
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert np.array_equal(found[name].data, array), name
        assert found[name].data.dtype == array.dtype
    fields, original = reader.fields, gguf.GGUFReader(DEMO).fields
    odd = {"tokenizer.ggml.eot_token_id"}  # generation_config.json's second one here
    for key in original.keys() - odd:
        if key.startswith(("tokenizer.", "llama.")) and "_length" not in key:
            assert fields[key].contents() == original[key].contents(), key
    assert fields["tokenizer.ggml.eot_token_id"].contents() == 1
    assert fields["llama.context_length"].contents() == 1024


def single(folder: Path, tensors: dict[str, Any]) -> Path:
    """The same checkpoint with these tensors in one file."""
    for path in folder.glob("model*"):
        path.unlink()
    checkpoints.save(folder / "model.safetensors", tensors)
    return folder


def values(folder: Path) -> dict[str, Any]:
    weights = Checkpoint(checkpoints.files(folder)).weights()
    return {name: weight.arrays[0].astype(np.float32) + np.float32(1e-5) for name, weight in weights.items()}


DOWN, NORM = "model.layers.1.mlp.down_proj.weight", "model.layers.1.input_layernorm.weight"


def test_float32_becomes_float16(demo: Path) -> None:
    tensors = values(demo)
    found = {tensor.name: tensor.data for tensor in made(single(demo, tensors)).tensors}
    assert np.array_equal(found["blk.1.ffn_down.weight"], tensors[DOWN].astype(np.float16))
    assert np.array_equal(found["blk.1.attn_norm.weight"], tensors[NORM])


def test_bfloat16_stays(demo: Path) -> None:
    tensors = {name: (array.view(np.uint32) >> 16).astype(np.uint16) for name, array in values(demo).items()}
    reader = made(single(demo, tensors))
    found = {tensor.name: tensor for tensor in reader.tensors}
    down, norm = found["blk.1.ffn_down.weight"], found["blk.1.attn_norm.weight"]
    assert (down.tensor_type, norm.tensor_type) == (gguf.GGMLQuantizationType.BF16, gguf.GGMLQuantizationType.F32)
    assert np.array_equal(down.data.view(np.uint16), tensors[DOWN])
    assert np.array_equal(norm.data, (tensors[NORM].astype(np.uint32) << 16).view(np.float32))
    assert reader.fields["general.file_type"].contents() == gguf.LlamaFileType.MOSTLY_BF16


@pytest.mark.parametrize(("kind", "name"), [("f8", "F64"), ("u1", "U8")])
def test_other_types_are_refused(demo: Path, kind: str, name: str) -> None:
    tensors = values(demo)
    tensors[DOWN] = tensors[DOWN].astype(kind)
    with pytest.raises(BadRequest, match=f"tensor {DOWN} is of type {name}"):
        made(single(demo, tensors))


def changed(folder: Path, file: str, change: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / file
    document = json.loads(path.read_text())
    result = change(document)
    path.write_text(json.dumps(document if result is None else result))


def without(*names: str) -> Callable[[dict[str, Any]], Any]:
    return lambda document: {key: value for key, value in document.items() if key not in names}


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("config.json", lambda d: d | {"architectures": ["OddForCausalLM"]}, "OddForCausalLM .* LlamaForCausalLM"),
        ("config.json", without("architectures"), "the architecture none is not one"),
        ("config.json", lambda d: d | {"quantization_config": {"quant_method": "fp8"}}, r"quantized \(fp8\)"),
        ("config.json", lambda d: d | {"hidden_act": "relu"}, "hidden_act is relu"),
        ("config.json", lambda d: d | {"rope_scaling": {"type": "dynamic", "factor": 2}}, "rope_type dynamic"),
        ("config.json", lambda d: d | {"num_attention_heads": 6, "num_key_value_heads": 6}, "6 heads cannot"),
        ("config.json", lambda d: d | {"num_attention_heads": "8"}, "num_attention_heads must be a whole number"),
        ("config.json", lambda d: d | {"num_hidden_layers": 5}, "layer 4 has not the same tensors"),
        ("config.json", lambda d: d | {"num_hidden_layers": 3}, "is not one that llama.cpp's"),
        ("config.json", lambda d: d | {"num_hidden_layers": 10**9}, "num_hidden_layers must be a whole number"),
        ("config.json", lambda d: d | {"vocab_size": 2047}, "vocab_size must be 2048"),
        ("config.json", lambda d: [d], "config.json: not a JSON object"),
        ("tokenizer.json", lambda d: d["model"].update(type="Unigram"), "type Unigram is not converted"),
        ("tokenizer.json", lambda d: d["model"]["vocab"].update(zzz=2048), "token zzz has the number 2048"),
        ("tokenizer.json", lambda d: d["model"].update(vocab=[1]), "vocab must be an object"),
        ("tokenizer.json", lambda d: d["model"].update(merges=[["a", "b", "c"]]), "merges: .* is not a pair"),
        ("tokenizer.json", lambda d: d["model"].update(merges=None), "merges are missing"),
        ("tokenizer.json", lambda d: d | {"normalizer": {"type": "Lowercase"}}, "normalizer: Lowercase"),
        ("tokenizer.json", lambda d: d["pre_tokenizer"].update(pretokenizers=[]), "ways to cut text"),
        (
            "tokenizer.json",
            lambda d: d["model"].update(vocab={"[PAD1501]": 1502}),
            ".PAD1501.. twice, as 1501",
        ),
        ("tokenizer.json", lambda d: d["model"].update(byte_fallback=True), "no token <0x00>"),
        ("tokenizer_config.json", lambda d: d | {"add_bos_token": "yes"}, "add_bos_token must be true or false"),
        (INDEX, lambda d: d["weight_map"].update(x="other.safetensors"), "other.safetensors, a part .* is missing"),
        (INDEX, lambda d: d["weight_map"].update(x="model-00001-of-00002.safetensors"), "tensor x, which .* promises"),
    ],
)
def test_what_cannot_be_converted_is_named(demo: Path, file: str, change: Any, message: str) -> None:
    changed(demo, file, change)
    with pytest.raises(BadRequest, match=message):
        made(demo)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("config.json", "config.json is missing"),
        ("tokenizer.json", "neither tokenizer.json nor tokenizer.model"),
        ("model-00002-of-00002.safetensors", "model-00002-of-00002.safetensors, a part of the model, is missing"),
    ],
)
def test_a_file_that_is_missing_is_named(demo: Path, file: str, message: str) -> None:
    folder = demo
    (folder / file).unlink()
    with pytest.raises(BadRequest, match=message):
        made(folder)
    (folder / "model.safetensors.index.json").unlink()
    with pytest.raises(BadRequest, match=message):
        made(folder)


@pytest.mark.parametrize(
    ("text", "message"), [(b"\xff", "not UTF-8"), (b"{", "not JSON"), (b"[" * 99999, "nested|JSON")]
)
def test_documents_that_are_none(demo: Path, text: bytes, message: str) -> None:
    (demo / "config.json").write_bytes(text)
    with pytest.raises(BadRequest, match=message):
        made(demo)


def test_values_beyond_float16_are_refused_not_made_infinite(demo: Path) -> None:
    tensors = values(demo)
    tensors[DOWN][0, 0] = 70000
    with pytest.raises(BadRequest, match=f"tensor {DOWN} holds values beyond 65504"):
        made(single(demo, tensors))


def test_memory_does_not_grow_with_the_tensors(tmp_path: Path) -> None:
    """128 MiB of zeros (a hole in the file), of which 16 MiB at a time are in memory."""
    extent = 32 << 20
    entry = {"dtype": "F32", "shape": [2048, extent // 2048], "data_offsets": [0, extent * 4]}
    header = json.dumps({"x": entry}).encode()
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + 4 * extent)
    (weight,) = Checkpoint(checkpoints.files(tmp_path)).weights().values()
    tracemalloc.start()
    try:
        writer = gguf.GGUFWriter(None, "llama")
        write(tmp_path / "big.gguf", writer, [Planned("x", KINDS.F16, weight)], lambda *_: None)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
    assert (tmp_path / "big.gguf").stat().st_size > 2 * extent
