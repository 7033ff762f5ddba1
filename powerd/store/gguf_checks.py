"""What must be true of a GGUF's values before anything does arithmetic with them or hands them to native code.

Hyper-parameters and vocabularies have crashed or corrupted engines (reliability S33, S39, S40), so each one that feeds
arithmetic has a type and a range here. Keys that are absent are not missed: a projector or an adapter has few of them.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from powerd.store.gguf_types import Array, GgufError, Value

_ARCHITECTURE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
_BYTE_TOKEN = re.compile(rb"<0x[0-9A-Fa-f]{2}>")
#: A six-byte token that looks like a byte token and is none: some engines write before their table for `<0x-1>`.
_BAD_BYTE_TOKEN = re.compile(rb"\x06\0{7}<0x(?![0-9A-Fa-f]{2}>)..>", re.DOTALL)
_BYTE_TYPE = 6  # llama_token_type LLAMA_TOKEN_TYPE_BYTE
_LENGTH = struct.Struct("<Q")

#: Below `<architecture>.`: smallest and largest value; per-layer arrays of them are allowed where marked.
_RANGES: dict[str, tuple[int, int]] = {
    "block_count": (1, 4096),
    "context_length": (1, (1 << 31) - 1),
    "embedding_length": (1, 1 << 24),
    "vocab_size": (1, 1 << 24),
    "pooling_type": (0, 255),
    "expert_count": (0, 1 << 16),
    "expert_used_count": (0, 1 << 16),
    "full_attention_interval": (0, 4096),
    "attention.key_length": (0, 1 << 16),
    "attention.value_length": (0, 1 << 16),
    "attention.sliding_window": (0, (1 << 31) - 1),
    "rope.dimension_count": (0, 1 << 16),
    "vision.block_count": (0, 4096),
    "vision.image_size": (1, 1 << 16),
    "vision.patch_size": (1, 1 << 12),
    "vision.spatial_merge_size": (1, 16),
    "vision.embedding_length": (1, 1 << 24),
    "vision.attention.head_count": (1, 1 << 16),
    "audio.block_count": (0, 4096),
    "audio.embedding_length": (1, 1 << 24),
    "audio.attention.head_count": (1, 1 << 16),
}
_PER_LAYER: dict[str, tuple[int, int]] = {
    "feed_forward_length": (0, 1 << 24),
    "attention.head_count": (0, 1 << 16),
    "attention.head_count_kv": (0, 1 << 16),
}
_LARGEST_PATCH_GRID = 256  # image_size / patch_size
#: Tokens llama.cpp takes for bos and eos when the file names none (llama-vocab.cpp).
_DEFAULT_ENDS = {"llama": (1, 2), "plamo2": (1, 2), "bert": (101, 102), "t5": (None, 1)}


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What the header needs of the tokenizer: its size, and the texts of the tokens that frame a conversation."""

    size: int = 0
    bos_text: str = ""
    eos_text: str = ""


def check_architecture(metadata: Mapping[str, Value]) -> str:
    """`general.architecture`. Raises GgufError when it is absent or could not be a name."""
    value = metadata.get("general.architecture")
    if value is None:
        raise GgufError("general.architecture is missing")
    if not isinstance(value, str) or not _ARCHITECTURE.fullmatch(value):
        raise GgufError("general.architecture is not a name")
    return value


def check_hyperparameters(metadata: Mapping[str, Value], architecture: str) -> None:
    """Types and ranges of everything that feeds arithmetic. Raises GgufError naming the key."""
    for name in ("general.name", "tokenizer.chat_template", "tokenizer.ggml.model", "tokenizer.ggml.pre"):
        if not isinstance(metadata.get(name, ""), str):
            raise GgufError(f"{name} is not a string")
    for suffix, (low, high) in _RANGES.items():
        key = f"{architecture}.{suffix}"
        if key in metadata:
            _check_integer(key, metadata[key], low, high)
    blocks = metadata.get(f"{architecture}.block_count")
    for suffix, (low, high) in _PER_LAYER.items():
        key = f"{architecture}.{suffix}"
        if key in metadata:
            _check_per_layer(key, metadata[key], low, high, blocks)
    if metadata.get(f"{architecture}.attention.head_count") == 0 and not is_recurrent(metadata, architecture):
        raise GgufError(f"{architecture}.attention.head_count is 0 in a model with attention")
    _check_patches(metadata, architecture)


def is_recurrent(metadata: Mapping[str, Value], architecture: str) -> bool:
    """Whether the model keeps a state per sequence (Mamba, RWKV and hybrids): then heads may be absent."""
    return any(key.startswith((f"{architecture}.ssm.", f"{architecture}.wkv.")) for key in metadata)


def _check_integer(key: str, value: object, low: int, high: int) -> None:
    if type(value) is not int:
        raise GgufError(f"{key} is not an integer")
    if not low <= value <= high:
        raise GgufError(f"{key} is {value}; it must be {low} to {high}")


def _check_per_layer(key: str, value: Value, low: int, high: int, blocks: object) -> None:
    if not isinstance(value, Array):
        _check_integer(key, value, low, high)
        return
    if value.values is None or value.count != blocks:
        raise GgufError(f"{key} has {value.count} items for {blocks} layers")
    for item in value.values:
        _check_integer(key, item, low, high)


def _check_patches(metadata: Mapping[str, Value], architecture: str) -> None:
    image, patch = (metadata.get(f"{architecture}.vision.{name}") for name in ("image_size", "patch_size"))
    if type(image) is int and type(patch) is int and image // patch > _LARGEST_PATCH_GRID:
        raise GgufError(
            f"{architecture}.vision.image_size is {image}: more than {_LARGEST_PATCH_GRID} patches of {patch}"
        )


def check_vocabulary(metadata: Mapping[str, Value], data: bytearray) -> Vocabulary:
    """Element types, equal lengths, byte tokens and special ids. Raises GgufError naming the key."""
    tokens = metadata.get("tokenizer.ggml.tokens")
    if tokens is None:
        return Vocabulary()
    if not isinstance(tokens, Array) or tokens.type != "STRING" or tokens.count == 0:
        raise GgufError("tokenizer.ggml.tokens is not a list of strings")
    types = _parallel(metadata, "tokenizer.ggml.token_type", ("INT32", "UINT32"), tokens.count)
    _parallel(metadata, "tokenizer.ggml.scores", ("FLOAT32",), tokens.count)
    merges = metadata.get("tokenizer.ggml.merges")
    if merges is not None and not (isinstance(merges, Array) and merges.type == "STRING"):
        raise GgufError("tokenizer.ggml.merges is not a list of strings")
    if _BAD_BYTE_TOKEN.search(data, tokens.offset, tokens.offset + tokens.size):
        raise GgufError("tokenizer.ggml.tokens has a malformed byte token")
    bytes_at = _byte_tokens(types, data)
    ends = [_end(metadata, index, tokens.count) for index in (0, 1)]
    texts = _texts(tokens, data, {*bytes_at, *(end for end in ends if end is not None)})
    for index in bytes_at:
        if not _BYTE_TOKEN.fullmatch(texts[index]):
            raise GgufError(f"tokenizer.ggml.tokens: token {index} is of type byte and not written <0xNN>")
    bos, eos = ("" if end is None else texts[end].decode(errors="replace") for end in ends)
    return Vocabulary(tokens.count, bos, eos)


def _parallel(metadata: Mapping[str, Value], key: str, types: tuple[str, ...], count: int) -> Array | None:
    """The array at `key`, one item for each token."""
    array = metadata.get(key)
    if array is None:
        return None
    if not isinstance(array, Array) or array.type not in types:
        raise GgufError(f"{key} is not a list of {types[0]}")
    if array.count != count:
        raise GgufError(f"{key} has {array.count} items for {count} tokens")
    return array


def _byte_tokens(types: Array | None, data: bytearray) -> list[int]:
    """The indices of the tokens said to stand for one byte."""
    if types is None:
        return []
    kinds = struct.unpack_from(f"<{types.count}i", data, types.offset)
    return [index for index, kind in enumerate(kinds) if kind == _BYTE_TYPE] if _BYTE_TYPE in kinds else []


def _end(metadata: Mapping[str, Value], which: int, count: int) -> int | None:
    """The index of bos (0) or eos (1); llama.cpp's default where the file names none."""
    key = ("tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id")[which]
    value = metadata.get(key)
    if value is None:
        default = _DEFAULT_ENDS.get(str(metadata.get("tokenizer.ggml.model")), (None, None))[which]
        return default if default is not None and default < count else None
    if type(value) is not int or not 0 <= value < count:
        raise GgufError(f"{key} is {value!r}, which is no token of a vocabulary of {count}")
    return value


def _texts(tokens: Array, data: bytearray, wanted: set[int]) -> dict[int, bytes]:
    """The bytes of the tokens at the indices in `wanted`."""
    texts = {}
    position, unpack = tokens.offset, _LENGTH.unpack_from
    for index in range(max(wanted, default=-1) + 1):
        (length,) = unpack(data, position)
        position += 8 + length
        if index in wanted:
            texts[index] = bytes(data[position - length : position])
    return texts
