"""Writes GGUF models with random weights: real shape and speed at any size, no download.

`tiny` borrows the demo model's vocabulary; `bench_model` makes one up, because a model of the usual kind has some
150,000 tokens and no such list is at hand on a fresh machine. All of it is a function of the arguments.

A random model would now and then draw an end-of-text token or half a character. The rows of such tokens in the output
matrix are zero here: their logit is the mean of all, so no cut (top-k, top-p, greedy) ever lets them through, and a
stream delivers exactly the tokens asked for, as printable text.
"""

from __future__ import annotations

import functools
import itertools
import string
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np

DEMO = Path(__file__).parent.parent / "powerd" / "demo" / "tiny-chat-q8_0.gguf"
NORMAL, CONTROL = 1, 3

_WORDS = (
    "time year people way day man thing woman life child world school state family student group country problem hand "
    "part place case week company system program question work government number night point home water room mother "
    "area money story fact month lot right study book eye job word business issue"
)
#: Every one of these is a single token of the made-up vocabulary, with the space before it.
WORDS = _WORDS.split()


@dataclass(frozen=True)
class Vocabulary:
    """A byte-level BPE vocabulary as GGUF stores it. `silent` tokens are never drawn."""

    tokens: list[str]
    types: list[int]
    merges: list[str]
    bos: int
    eos: int
    silent: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Shape:
    """A Llama's dimensions."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    feed: int
    context: int

    @property
    def kv_width(self) -> int:
        return self.width // self.heads * self.kv_heads


def tiny(
    path: Path, *, context: int = 8192, layers: int = 2, name: str = "tiny", template: str | None = None, seed: int = 0
) -> Path:
    """A Llama of about 300,000 parameters with the demo model's vocabulary. Loads in milliseconds."""
    return _llama(path, Shape(layers, 64, 4, 2, 128, context), demo_vocabulary(), name, template, seed)


def wide(path: Path) -> Path:
    """A Llama whose heads have 64 elements, so that quantised keys can be shifted too; 5 MB."""
    return _llama(path, Shape(2, 512, 8, 4, 256, 32768), demo_vocabulary(), "wide", None, 0)


def lora(path: Path, *, rank: int = 4, seed: int = 0) -> Path:
    """A LoRA adapter for `tiny`, of one matrix."""
    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, 8.0)
    writer.add_tensor("blk.0.attn_q.weight.lora_a", random.normal(0, 0.2, (rank, 64)).astype(np.float32))
    writer.add_tensor("blk.0.attn_q.weight.lora_b", random.normal(0, 0.2, (64, rank)).astype(np.float32))
    return _close(writer, path)


def full(path: Path, *, part_tensors: int = 0, template: str | None = None, seed: int = 0) -> list[Path]:
    """A Llama of 1.7 million parameters in F16, its rows wide enough for every quantization (3.5 MB).

    With `part_tensors` it is split into parts of that many tensors; returns the files in order.
    """
    shape, vocabulary, random = Shape(2, 256, 4, 2, 512, 1024), demo_vocabulary(), np.random.default_rng(seed)
    writer = _writer(path, "llama", vocabulary, "full", template, part_tensors)
    _describe(writer, shape, gguf.LlamaFileType.MOSTLY_F16)
    embedding = _embedding(random, vocabulary, shape.width, vocabulary.silent)
    writer.add_tensor("token_embd.weight", embedding.astype(np.float16))
    writer.add_tensor("output_norm.weight", _ones(shape.width))
    for layer in range(shape.layers):
        for tensor, rows, columns in _matrices(shape):
            weights = random.normal(0, 1 / columns**0.5, (rows, columns)).astype(np.float16)
            writer.add_tensor(f"blk.{layer}.{tensor}.weight", weights)
        writer.add_tensor(f"blk.{layer}.attn_norm.weight", _ones(shape.width))
        writer.add_tensor(f"blk.{layer}.ffn_norm.weight", _ones(shape.width))
    _close(writer, path)
    return sorted(path.parent.glob(f"{path.stem}-*-of-*.gguf")) if part_tensors else [path]


def bench_model(path: Path) -> Path:
    """The model of the speed figures: 103 million parameters in Q8_0, 151,936 tokens, context 32,768 (about 110 MB)."""
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    _llama(partial, Shape(8, 512, 8, 4, 1408, 32768), made_up_vocabulary(151_936), "bench 100M", None, 0)
    return partial.rename(path)


def bulky(path: Path, size: int) -> Path:
    """A `tiny` with a tensor of `size` random bytes that no graph uses: for moving bytes, not for running."""
    vocabulary, shape, random = demo_vocabulary(), Shape(1, 64, 4, 2, 128, 512), np.random.default_rng(0)
    writer = _writer(path, "llama", vocabulary, "bulky", None)
    _describe(writer, shape, gguf.LlamaFileType.ALL_F32)
    writer.add_tensor("token_embd.weight", _embedding(random, vocabulary, shape.width, vocabulary.silent))
    writer.add_tensor("output_norm.weight", _ones(shape.width))
    writer.add_tensor("padding.weight", np.frombuffer(random.bytes(size // 4 * 4), np.float32).reshape(-1, 64))
    return _close(writer, path)


def recurrent(path: Path, *, seed: int = 0) -> Path:
    """A two-layer Mamba: its state cannot be cut at any point, unlike a cache of cells."""
    vocabulary, width, inner, state, conv, rank = demo_vocabulary(), 64, 128, 16, 4, 4
    random = np.random.default_rng(seed)
    writer = _writer(path, "mamba", vocabulary, "recurrent", None)
    writer.add_context_length(8192)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_block_count(2)
    writer.add_ssm_conv_kernel(conv)
    writer.add_ssm_inner_size(inner)
    writer.add_ssm_state_size(state)
    writer.add_ssm_time_step_rank(rank)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tensor("token_embd.weight", _embedding(random, vocabulary, width, frozenset()))
    writer.add_tensor("output.weight", _embedding(random, vocabulary, width, vocabulary.silent))
    writer.add_tensor("output_norm.weight", _ones(width))
    for layer in range(2):
        shapes = {
            "ssm_in.weight": (2 * inner, width),
            "ssm_conv1d.weight": (inner, conv),
            "ssm_conv1d.bias": (inner,),
            "ssm_x.weight": (rank + 2 * state, inner),
            "ssm_dt.weight": (inner, rank),
            "ssm_dt.bias": (inner,),
            "ssm_d": (inner,),
            "ssm_out.weight": (width, inner),
        }
        writer.add_tensor(f"blk.{layer}.attn_norm.weight", _ones(width))
        writer.add_tensor(f"blk.{layer}.ssm_a", -np.ones((inner, state), dtype=np.float32))
        for tensor, shape in shapes.items():
            writer.add_tensor(f"blk.{layer}.{tensor}", random.normal(0, 0.2, shape).astype(np.float32))
    return _close(writer, path)


@functools.cache
def demo_vocabulary() -> Vocabulary:
    """The demo model's own."""
    fields = gguf.GGUFReader(DEMO).fields
    types = fields["tokenizer.ggml.token_type"].contents()
    tokens = fields["tokenizer.ggml.tokens"].contents()
    bos, eos = (int(fields[f"tokenizer.ggml.{name}_token_id"].contents()) for name in ("bos", "eos"))
    silent = frozenset(i for i, token in enumerate(tokens) if types[i] != NORMAL or not token.isascii())
    return Vocabulary(tokens, types, fields["tokenizer.ggml.merges"].contents(), bos, eos, silent)


def made_up_vocabulary(size: int) -> Vocabulary:
    """`size` tokens: the 256 bytes, the words above, letter pairs, made-up words of pairs, two special ones."""
    alphabet = _byte_alphabet()
    tokens = list(alphabet)
    merges: list[str] = []
    known = set(tokens)

    def merge(left: str, right: str) -> None:
        if left + right not in known:
            known.add(left + right)
            tokens.append(left + right)
            merges.append(f"{left} {right}")

    for word in WORDS:
        for end in range(len(word)):
            merge("Ġ" + word[:end], word[end])
    pairs = ["".join(pair) for pair in itertools.product(string.ascii_lowercase, repeat=2)]
    for start in ("", "Ġ"):
        for pair in pairs:
            merge(*pair) if not start else merge(start, pair)
    order = np.random.default_rng(0).permutation(len(pairs) ** 2)
    for first, second in (divmod(int(index), len(pairs)) for index in order):
        for start in ("", "Ġ"):
            if len(tokens) < size - 2:
                merge(start + pairs[first], pairs[second])
        if len(tokens) >= size - 2:
            break
    silent = frozenset(i for i in range(len(alphabet)) if alphabet[i] not in string.ascii_lowercase)
    tokens += ["<|endoftext|>", "<|im_end|>"]
    types = [NORMAL] * (size - 2) + [CONTROL] * 2
    return Vocabulary(tokens, types, merges, size - 2, size - 1, silent | {size - 2, size - 1})


def _byte_alphabet() -> list[str]:
    """GPT-2's printable stand-in for each byte."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


def _llama(path: Path, shape: Shape, vocabulary: Vocabulary, name: str, template: str | None, seed: int) -> Path:
    random = np.random.default_rng(seed)
    writer = _writer(path, "llama", vocabulary, name, template)
    _describe(writer, shape, gguf.LlamaFileType.MOSTLY_Q8_0)
    _quantized(writer, "token_embd.weight", _embedding(random, vocabulary, shape.width, vocabulary.silent))
    writer.add_tensor("output_norm.weight", _ones(shape.width))
    for layer in range(shape.layers):
        for tensor, rows, columns in _matrices(shape):
            weights = random.normal(0, 1 / columns**0.5, (rows, columns)).astype(np.float32)
            _quantized(writer, f"blk.{layer}.{tensor}.weight", weights)
        writer.add_tensor(f"blk.{layer}.attn_norm.weight", _ones(shape.width))
        writer.add_tensor(f"blk.{layer}.ffn_norm.weight", _ones(shape.width))
    return _close(writer, path)


def _describe(writer: gguf.GGUFWriter, shape: Shape, file_type: int) -> None:
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_file_type(file_type)


def _matrices(shape: Shape) -> Iterable[tuple[str, int, int]]:
    yield "attn_q", shape.width, shape.width
    yield "attn_k", shape.kv_width, shape.width
    yield "attn_v", shape.kv_width, shape.width
    yield "attn_output", shape.width, shape.width
    yield "ffn_gate", shape.feed, shape.width
    yield "ffn_up", shape.feed, shape.width
    yield "ffn_down", shape.width, shape.feed


def _embedding(random: np.random.Generator, vocabulary: Vocabulary, width: int, zero: frozenset[int]) -> Any:
    """Small beside what the layers add, or a tied model would only ever repeat its input. `zero`: rows left empty."""
    weights = random.normal(0, 0.05, (len(vocabulary.tokens), width)).astype(np.float32)
    weights[sorted(zero)] = 0
    return weights


def _ones(width: int) -> Any:
    return np.ones(width, dtype=np.float32)


def _quantized(writer: gguf.GGUFWriter, name: str, weights: Any) -> None:
    kind = gguf.GGMLQuantizationType.Q8_0
    writer.add_tensor(name, gguf.quants.quantize(weights, kind), raw_dtype=kind)


def _writer(
    path: Path, architecture: str, vocabulary: Vocabulary, name: str, template: str | None, part_tensors: int = 0
) -> gguf.GGUFWriter:
    writer = gguf.GGUFWriter(path, architecture, split_max_tensors=part_tensors)
    writer.add_name(name)
    writer.add_vocab_size(len(vocabulary.tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    writer.add_token_merges(vocabulary.merges)
    writer.add_bos_token_id(vocabulary.bos)
    writer.add_eos_token_id(vocabulary.eos)
    writer.add_add_bos_token(False)
    if template is not None:
        writer.add_chat_template(template)
    return writer


def _close(writer: gguf.GGUFWriter, path: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
