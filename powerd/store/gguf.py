"""GGUF headers: what a weights file says of itself, read and checked before any native code sees the file."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from powerd.protocol import Shape
from powerd.store.files import regular
from powerd.store.gguf_checks import (
    Vocabulary,
    check_architecture,
    check_hyperparameters,
    check_vocabulary,
    is_recurrent,
)
from powerd.store.gguf_parse import Parsed, decode, parse, parse_with
from powerd.store.gguf_types import FILE_TYPE_GUESSED, FILE_TYPES, Array, GgufError, Tensor, Value

__all__ = ["Array", "GgufError", "Header", "Tensor", "TooShort", "parse_prefix", "read_array", "read_header"]

#: Pre-tokenizers for which llama.cpp adds a bos token unless the file says otherwise (llama-vocab.cpp).
_BOS_BY_PRETOKENIZER = {
    "chameleon",
    "falcon-h1",
    "falcon3",
    "jina-v5-nano",
    "lfm2",
    "llama-bpe",
    "llama-v3",
    "llama3",
    "midm-2.0",
    "pixtral",
    "tekken",
}


class TooShort(GgufError):
    """The beginning of a file ends before its header does; `wanted` bytes of it may do."""

    def __init__(self, wanted: int) -> None:
        super().__init__(f"truncated GGUF: about {wanted} bytes of it are needed")
        self.wanted = wanted


@dataclass(frozen=True, slots=True)
class Header:
    """A checked GGUF header. Counts and lengths are 0 where the file does not say (projectors, adapters)."""

    version: int
    metadata: Mapping[str, Value]
    tensors: tuple[Tensor, ...]
    file_size: int  # bytes
    data_offset: int  # bytes from the start of the file to the tensor data
    vocabulary: Vocabulary

    @property
    def architecture(self) -> str:
        """`general.architecture`: llama, qwen3, bert, clip, …"""
        return str(self.metadata["general.architecture"])

    @property
    def kind(self) -> str:
        """What the file is for: model, projector or adapter, or what `general.type` says beside these."""
        if self.architecture == "clip":
            return "projector"
        if "adapter.type" in self.metadata:
            return "adapter"
        declared = self.metadata.get("general.type", "model")
        return "projector" if declared == "mmproj" else str(declared)

    @property
    def name(self) -> str:
        """`general.name`, or nothing."""
        return str(self.metadata.get("general.name", ""))

    @property
    def parameter_count(self) -> int:
        """The elements of all tensors."""
        return sum(tensor.elements for tensor in self.tensors)

    @property
    def file_type(self) -> str:
        """The quantization as people write it (Q4_K_M); without `general.file_type`, the type of most elements."""
        declared = self.metadata.get("general.file_type")
        label = FILE_TYPES.get(declared & ~FILE_TYPE_GUESSED, "-") if type(declared) is int else "-"
        if label != "-":
            return label
        elements: Counter[str] = Counter()
        for tensor in self.tensors:
            elements[tensor.type] += tensor.elements
        return elements.most_common(1)[0][0] if elements else "unknown"

    @property
    def context_length(self) -> int:
        """Tokens of context the model was trained for."""
        return self._integer("context_length")

    @property
    def embedding_length(self) -> int:
        """The width of the residual stream."""
        return self._integer("embedding_length")

    @property
    def layers(self) -> int:
        """`block_count`."""
        return self._integer("block_count")

    @property
    def vocab(self) -> int:
        """Tokens in the vocabulary."""
        return self.vocabulary.size or self._integer("vocab_size")

    @property
    def kv_width(self) -> int:
        """Elements one cached token takes: the widths of k and v summed over the layers that keep them.

        Layers without attention keep none, and neither do encoders, which see a text at once. Sliding windows make
        llama.cpp's cache smaller than this, never larger.
        """
        if self.metadata.get(f"{self.architecture}.attention.causal") is False:
            return 0
        heads = self._per_layer("attention.head_count") or ()
        widest = max(heads, default=0)
        default_length = self.embedding_length // widest if widest else 0
        width = self._integer("attention.key_length", default_length)
        width += self._integer("attention.value_length", default_length)
        return width * sum(self._cached_heads())

    def _cached_heads(self) -> list[int]:
        """Heads of keys and values in each layer that has attention."""
        heads = self._per_layer("attention.head_count_kv")
        if heads is None:
            recurrent = is_recurrent(self.metadata, self.architecture)
            heads = () if recurrent else self._per_layer("attention.head_count") or ()
        interval = self._integer("full_attention_interval", 1) or 1
        return [count for layer, count in enumerate(heads, 1) if layer % interval == 0 and count]

    @property
    def pooling_type(self) -> int | None:
        """How an embedding model joins its tokens; None means it is no embedding model (contract section 9)."""
        value = self.metadata.get(f"{self.architecture}.pooling_type")
        return value if type(value) is int else None

    def _pooling(self) -> str:
        """The same in words; a model that makes vectors and does not say how is asked for the mean."""
        kinds = {0: "mean", 1: "mean", 2: "cls", 3: "last", 4: "rank"}
        return "" if self.pooling_type is None else kinds.get(self.pooling_type, "mean")

    @property
    def chat_template(self) -> str | None:
        """The Jinja text that came with the weights."""
        value = self.metadata.get("tokenizer.chat_template")
        return value if isinstance(value, str) and value else None

    @property
    def bos_text(self) -> str:
        """The token that templates know as `bos_token`."""
        return self.vocabulary.bos_text

    @property
    def eos_text(self) -> str:
        """The token that templates know as `eos_token`."""
        return self.vocabulary.eos_text

    @property
    def add_bos(self) -> bool:
        """Whether llama.cpp's tokenizer puts a bos token before a text."""
        declared = self.metadata.get("tokenizer.ggml.add_bos_token")
        if isinstance(declared, bool):
            return declared
        model = self.metadata.get("tokenizer.ggml.model")
        if model == "gpt2":
            return self.metadata.get("tokenizer.ggml.pre") in _BOS_BY_PRETOKENIZER
        return model in ("llama", "bert")

    def shape(self) -> Shape:
        """What memory arithmetic needs; `weights_bytes` counts the tensors."""
        return Shape(
            weights_bytes=sum(tensor.size for tensor in self.tensors),
            layers=self.layers,
            embedding=self.embedding_length,
            kv_width=self.kv_width,
            vocab=self.vocab,
            trained_context=self.context_length,
            pooling=self._pooling(),
            causal=self.metadata.get(f"{self.architecture}.attention.causal") is not False,
            heads=max(self._per_layer("attention.head_count") or (), default=0),
            feed_forward=self._feed_forward(),
            input_bytes=self._size_of("token_embd.weight"),
            output_bytes=self._size_of("output.weight"),
            state_bytes=self._state_bytes(),
        )

    def _state_bytes(self) -> int:
        """What a sequence keeps beside its cells: in float32, the convolution and the state of recurrent layers."""
        inner, state = self._integer("ssm.inner_size"), self._integer("ssm.state_size")
        wide = inner + 2 * self._integer("ssm.group_count") * state
        per_layer = 4 * (max(self._integer("ssm.conv_kernel") - 1, 0) * wide + state * inner)
        return per_layer * (self.layers - len(self._cached_heads()))

    def _feed_forward(self) -> int:
        """The inner width of a layer: of the dense one, or of the experts that a token uses together."""
        experts = self._integer("expert_feed_forward_length") * self._integer("expert_used_count")
        return max(*(self._per_layer("feed_forward_length") or ()), experts, 0)

    def _size_of(self, name: str) -> int:
        return next((tensor.size for tensor in self.tensors if tensor.name == name), 0)

    def check_model(self) -> None:
        """Raise GgufError, saying why, unless this can be loaded as a model by itself."""
        parts = self.metadata.get("split.count", 1)
        if parts not in (0, 1):
            raise GgufError(f"one part of a model split into {parts}; join them with llama-gguf-split --merge")
        if self.kind != "model":
            raise GgufError(f"the GGUF file is of type {self.kind}, not a model")
        for suffix in ("block_count", "context_length", "embedding_length"):
            if f"{self.architecture}.{suffix}" not in self.metadata:
                raise GgufError(f"{self.architecture}.{suffix} is missing")
        if not self.tensors:
            raise GgufError("the GGUF file has no tensors")
        if "tokenizer.ggml.model" not in self.metadata or not self.vocab:
            raise GgufError("the GGUF file has no tokenizer (tokenizer.ggml.model, tokenizer.ggml.tokens)")

    def _integer(self, suffix: str, default: int = 0) -> int:
        value = self.metadata.get(f"{self.architecture}.{suffix}")
        return value if type(value) is int else default

    def _per_layer(self, suffix: str) -> tuple[int, ...] | None:
        """A value for each layer, whether the file writes one for all or a list; None where it says nothing."""
        value = self.metadata.get(f"{self.architecture}.{suffix}")
        if type(value) is int:
            return (value,) * self.layers
        if isinstance(value, Array) and value.values is not None:
            return tuple(item for item in value.values if type(item) is int)
        return None


def read_header(path: Path, *, follow: bool = True) -> Header:
    """Read and check the header of the GGUF file at `path`.

    Symbolic links are followed (weights in caches often are links) unless `follow` is false, as for blobs of ours.
    Never blocks on a device or FIFO. Raises GgufError for anything that is no sound GGUF file, OSError when there is no
    regular file that can be read.
    """
    with regular(path, follow=follow) as (fd, status):
        return _checked(parse(fd, status.st_size), status.st_size)


def parse_prefix(data: bytes, size: int) -> Header:
    """Check the header of a GGUF file of `size` bytes that begins with `data`.

    Raises TooShort when `data` ends before the header does, GgufError for anything that is no sound GGUF file.
    """

    def read(count: int, offset: int) -> bytes:
        if offset >= len(data):
            raise TooShort(offset + count)
        return data[offset : offset + count]

    return _checked(parse_with(read, size), size)


def _checked(parsed: Parsed, size: int) -> Header:
    architecture = check_architecture(parsed.metadata)
    check_hyperparameters(parsed.metadata, architecture)
    vocabulary = check_vocabulary(parsed.metadata, parsed.data)
    metadata = MappingProxyType(parsed.metadata)
    return Header(parsed.version, metadata, parsed.tensors, size, parsed.data_offset, vocabulary)


def read_array(path: Path, array: Array) -> tuple[int | float | bool | str, ...]:
    """All items of a metadata array of the file `path`, those too large to be kept in the header included."""
    if array.values is not None:
        return array.values
    with regular(path) as (fd, _):
        data = os.pread(fd, array.size, array.offset)
    if len(data) != array.size:
        raise GgufError(f"truncated GGUF at byte {array.offset + len(data)}")
    return decode(array.type, array.count, data)
