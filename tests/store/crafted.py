"""GGUF bytes put together by hand, so that every field can be wrong in its own way."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

U8, I8, U16, I16, U32, I32, F32, BOOL, STR, ARR, U64, I64, F64 = range(13)
CODES = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "B", U64: "Q", I64: "q", F64: "d"}


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def scalar(kind: int, value: object) -> bytes:
    if kind == STR:
        assert isinstance(value, str | bytes)
        return text(value)
    return struct.pack(f"<{CODES[kind]}", value)


def pair(key: str | bytes, kind: int, value: object) -> bytes:
    return text(key) + struct.pack("<I", kind) + scalar(kind, value)


def array(key: str, kind: int, values: Sequence[object], *, count: int | None = None) -> bytes:
    head = text(key) + struct.pack("<IIQ", ARR, kind, len(values) if count is None else count)
    return head + b"".join(scalar(kind, value) for value in values)


def tensor(name: str, shape: Sequence[int], kind: int, offset: int, *, dimensions: int | None = None) -> bytes:
    count = len(shape) if dimensions is None else dimensions
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", count, *shape, kind, offset)


@dataclass
class Crafted:
    """A small sound model; change a part, then call bytes()."""

    version: int = 3
    pairs: dict[str, bytes] = field(
        default_factory=lambda: {
            "general.architecture": pair("general.architecture", STR, "llama"),
            "general.name": pair("general.name", STR, "Crafted"),
            "general.file_type": pair("general.file_type", U32, 0),
            "llama.block_count": pair("llama.block_count", U32, 2),
            "llama.context_length": pair("llama.context_length", U32, 512),
            "llama.embedding_length": pair("llama.embedding_length", U32, 64),
            "llama.attention.head_count": pair("llama.attention.head_count", U32, 4),
            "llama.attention.head_count_kv": pair("llama.attention.head_count_kv", U32, 2),
            "tokenizer.ggml.model": pair("tokenizer.ggml.model", STR, "llama"),
            "tokenizer.ggml.tokens": array("tokenizer.ggml.tokens", STR, ["<unk>", "<s>", "</s>", "<0x0A>", "hello"]),
            "tokenizer.ggml.scores": array("tokenizer.ggml.scores", F32, [0.0, 0.0, 0.0, 0.0, -1.0]),
            "tokenizer.ggml.token_type": array("tokenizer.ggml.token_type", I32, [2, 3, 3, 6, 1]),
            "tokenizer.ggml.bos_token_id": pair("tokenizer.ggml.bos_token_id", U32, 1),
            "tokenizer.ggml.eos_token_id": pair("tokenizer.ggml.eos_token_id", U32, 2),
            "tokenizer.chat_template": pair("tokenizer.chat_template", STR, "{{ messages }}"),
        }
    )
    tensors: list[bytes] = field(
        default_factory=lambda: [tensor("a.weight", (8, 2), 0, 0), tensor("b.weight", (32,), 8, 64)]
    )
    data: bytes = bytes(128)
    pair_count: int | None = None
    tensor_count: int | None = None
    alignment: int = 32

    def set(self, key: str, kind: int, value: object) -> Crafted:
        self.pairs[key] = pair(key, kind, value)
        return self

    def set_array(self, key: str, kind: int, values: Sequence[object], *, count: int | None = None) -> Crafted:
        self.pairs[key] = array(key, kind, values, count=count)
        return self

    def drop(self, key: str) -> Crafted:
        del self.pairs[key]
        return self

    def head(self) -> bytes:
        tensor_count = len(self.tensors) if self.tensor_count is None else self.tensor_count
        pair_count = len(self.pairs) if self.pair_count is None else self.pair_count
        start = b"GGUF" + struct.pack("<IQQ", self.version, tensor_count, pair_count)
        return start + b"".join(self.pairs.values()) + b"".join(self.tensors)

    def bytes(self) -> bytes:
        head = self.head()
        return head + bytes(-len(head) % self.alignment) + self.data
