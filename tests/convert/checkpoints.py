"""Writes checkpoints as Hugging Face's libraries do: of the demo model's own weights, or as small as can be."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from tests.gguf_maker import DEMO

ONE_DIGIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_MODULES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
_HEADS = {"attn_q": 8, "attn_k": 4}
_NAMES = {"f4": "F32", "f2": "F16", "u2": "BF16", "f8": "F64", "u1": "U8"}


def save(path: Path, tensors: Mapping[str, Any]) -> None:
    """Write a safetensors file; arrays of uint16 count as bfloat16."""
    entries, data = {}, b""
    for name, array in tensors.items():
        end = len(data) + array.nbytes
        kind = _NAMES[array.dtype.str[1:]]
        entries[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [len(data), end]}
        data += np.ascontiguousarray(array).tobytes()
    header = json.dumps({"__metadata__": {"format": "pt"}, **entries}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)


@functools.cache
def tensors() -> dict[str, Any]:
    """The demo model's by GGUF's names: matrices in float16, vectors in float32."""
    found = {}
    for tensor in gguf.GGUFReader(DEMO).tensors:
        array = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        found[tensor.name] = array if array.ndim < 2 else array.astype(np.float16)
    return found


def demo(folder: Path) -> None:
    """Write the demo model in float16 as transformers would save it, in two parts."""
    folder.mkdir(parents=True, exist_ok=True)
    parts: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    for number, (name, array) in enumerate(tensors().items()):
        parts[number % 2].update([_as_transformers(name, array)])
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    for name, half in zip(names, parts, strict=True):
        save(folder / name, half)
    weights = {tensor: name for name, half in zip(names, parts, strict=True) for tensor in half}
    settings = {"bos_token": "<|endoftext|>", "eos_token": {"content": "<|im_end|>"}, "pad_token": "<|endoftext|>"}
    documents = {
        "model.safetensors.index.json": {"metadata": {}, "weight_map": weights},
        "config.json": config(),
        "generation_config.json": {"eos_token_id": [3, 1]},
        "tokenizer.json": tokenizer(),
        "tokenizer_config.json": settings,
    }
    for name, document in documents.items():
        (folder / name).write_text(json.dumps(document))
    template = gguf.GGUFReader(DEMO).fields["tokenizer.chat_template"].contents()
    (folder / "chat_template.jinja").write_text(template)


def _as_transformers(name: str, array: Any) -> tuple[str, Any]:
    if name == "token_embd.weight":
        return "model.embed_tokens.weight", array
    if name == "output_norm.weight":
        return "model.norm.weight", array
    _, layer, kind, _ = name.split(".")
    if kind in _HEADS:
        array = halved(array, _HEADS[kind])
    return f"model.layers.{layer}.{_MODULES[kind]}.weight", array


def halved(array: Any, heads: int) -> Any:
    """Rows of neighbours as two halves of each head: what the conversion turns back."""
    rows = array.shape[0]
    return array.reshape(heads, rows // heads // 2, 2, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)


def config(**fields: Any) -> dict[str, Any]:
    """The demo model's config.json, with these fields changed; None leaves one out."""
    values = {
        "architectures": ["LlamaForCausalLM"],
        "hidden_act": "silu",
        "hidden_size": 256,
        "intermediate_size": 512,
        "max_position_embeddings": 1024,
        "num_attention_heads": 8,
        "num_hidden_layers": 4,
        "num_key_value_heads": 4,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "vocab_size": 2048,
    }
    return {name: value for name, value in {**values, **fields}.items() if value is not None}


def tokenizer() -> dict[str, Any]:
    """The demo model's tokenizer.json."""
    fields = gguf.GGUFReader(DEMO).fields
    tokens, types, merges = (fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "token_type", "merges"))
    added = [
        {"id": number, "content": tokens[number], "special": kind == gguf.TokenType.CONTROL, "normalized": False}
        for number, kind in enumerate(types)
        if kind != gguf.TokenType.NORMAL
    ]
    return {
        "version": "1.0",
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": ONE_DIGIT}, "behavior": "Isolated", "invert": False},
                {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
            ],
        },
        "post_processor": None,
        "model": {
            "type": "BPE",
            "vocab": {token: number for number, token in enumerate(tokens)},
            "merges": [merge.split(" ") for merge in merges],
        },
    }


def files(folder: Path) -> dict[str, str]:
    """The paths of all files by their names in the checkpoint."""
    return {str(path.relative_to(folder)): str(path) for path in folder.rglob("*") if path.is_file()}


PIRATE = DEMO.parent.parent.parent / "tests" / "models" / "tiny-chat-pirate-lora-f16.gguf"


def pirate(folder: Path) -> None:
    """The demo model's pirate adapter as PEFT would save it."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for tensor in gguf.GGUFReader(PIRATE).tensors:
        name, side = tensor.name.rsplit(".lora_", 1)
        _, layer, kind, _ = name.split(".")
        array = tensor.data if side == "a" or kind not in _HEADS else halved(tensor.data, _HEADS[kind])
        found[f"base_model.model.model.layers.{layer}.{_MODULES[kind]}.lora_{side.upper()}.weight"] = array
    save(folder / "adapter_model.safetensors", found)
    (folder / "adapter_config.json").write_text(json.dumps(lora_config()))


def lora_config(**fields: Any) -> dict[str, Any]:
    """Its adapter_config.json, with these fields changed."""
    values = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "bias": "none", "use_dora": False, "modules_to_save": None}
    return {**values, **fields}
