"""Holds what powerd makes of a checkpoint against llama.cpp's converter and transformers' forward pass."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import llama_cpp
import numpy as np

from powerd.convert.adapter import convert_adapter
from powerd.convert.checkpoint import Checkpoint
from powerd.convert.model import convert
from powerd.jobs import AdaptedModel

#: Of the largest difference of logits, as a part of their spread. The engine rounds activations to bfloat16 or float16
#: in its products, and transformers was asked for float32.
TOLERANCE = 0.1
#: What says nothing to the engine, and what powerd always writes where the other leaves it to the engine's default.
_LEFT_OUT = (
    "general.",
    "GGUF.",
    "tokenizer.ggml.add_eos_token",
    "tokenizer.ggml.add_bos_token",
    "tokenizer.ggml.add_space_prefix",
    "tokenizer.ggml.normalizer.strip_accents",
)
#: Differences on purpose: (beginning of the models' names, field): why.
_WANTED = {
    ("gemma", "gemma.rope.freq_base"): "config.json says it",
    ("gemma2", "gemma2.rope.freq_base"): "config.json says it",
    ("gemma", "tokenizer.ggml.eot_token_id"): "theirs takes each Gemma for Google's",
    ("llama-spm-json", "tokenizer.ggml.scores"): "theirs has none, and the engine then merges from left to right",
    ("llama-spm", "tokenizer.ggml.scores"): "of control tokens, which are not merged",
    ("mixtral", "tokenizer.ggml.scores"): "of control tokens, which are not merged",
    ("gemma", "tokenizer.ggml.scores"): "of control tokens, which are not merged",
    ("llama-spm", "tokenizer.ggml.token_type"): "theirs does not read tokenizer.json beside a tokenizer.model",
    ("mixtral", "tokenizer.ggml.token_type"): "theirs does not read tokenizer.json beside a tokenizer.model",
    ("gemma", "tokenizer.ggml.token_type"): "theirs does not read tokenizer.json beside a tokenizer.model",
    ("bert", "bert.pooling_type"): "sentence-transformers' default where nothing is said",
    ("bert", "tokenizer.ggml.pre"): "not read for WordPiece",
    ("nomic-bert", "nomic-bert.pooling_type"): "sentence-transformers' default where nothing is said",
    ("nomic-bert", "nomic-bert.attention.head_count_kv"): "as many as heads, which is the engine's default",
    ("nomic-bert", "tokenizer.ggml.pre"): "not read for WordPiece",
    ("bert", "bert.attention.head_count_kv"): "as many as heads, which is the engine's default",
    ("llama-spm-json", "tokenizer.ggml.tokens"): "theirs leaves out the spare rows",
    ("phi3", "tokenizer.ggml.token_type"): "<unk> stays what SentencePiece calls it",
    ("phi3", "tokenizer.ggml.scores"): "of <unk>, which is not merged",
    (
        "qwen2",
        "tokenizer.ggml.tokens",
    ): "transformers' Qwen2Tokenizer adds a token to tokenizer.json's",
    ("qwen2", "tokenizer.ggml.token_type"): "of that token",
}


def ours(folder: Path, name: str) -> Path:
    """Convert with powerd."""
    made = folder / f"{name}-ours.gguf"
    convert(Checkpoint(_files(folder / name)), made, lambda _done, _total: None)
    return made


def our_adapter(folder: Path, name: str, base: Path) -> Path:
    """Convert the LoRA of NAME with powerd, for the model in the GGUF `base`."""
    made = folder / f"{name}-lora-ours.gguf"
    fields = gguf.GGUFReader(base).fields
    architecture = fields["general.architecture"].contents()
    names = ("block_count", "attention.head_count", "attention.head_count_kv")
    described = AdaptedModel(architecture, *(fields[f"{architecture}.{field}"].contents() for field in names))
    convert_adapter(Checkpoint(_files(folder / f"{name}-lora")), described, made, lambda _done, _total: None)
    return made


def _files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): str(path) for path in folder.rglob("*") if path.is_file()}


def differences(name: str, made: Path, theirs: Path) -> Iterator[str]:
    """What differs between the two GGUFs that should not."""
    mine, other = gguf.GGUFReader(made), gguf.GGUFReader(theirs)
    tensors = {tensor.name: tensor for tensor in other.tensors}
    for tensor in mine.tensors:
        peer = tensors.pop(tensor.name, None)
        if peer is None or (tensor.tensor_type, tensor.shape.tolist()) != (peer.tensor_type, peer.shape.tolist()):
            yield f"tensor {tensor.name}: {_kind(tensor)}, in theirs {_kind(peer)}"
        elif tensor.name.startswith("rope_f"):  # computed, by numpy here and by torch there
            if not np.allclose(tensor.data, peer.data, rtol=1e-6):
                yield f"tensor {tensor.name}: {tensor.data}, in theirs {peer.data}"
        elif not np.array_equal(tensor.data.view(np.uint8), peer.data.view(np.uint8)):
            yield f"tensor {tensor.name}: other bytes"
    yield from (f"tensor {name} only in theirs" for name in tensors)
    for key in sorted(mine.fields.keys() | other.fields.keys()):
        left, right = (reader.fields[key].contents() if key in reader.fields else None for reader in (mine, other))
        wanted = any(name.startswith(start) and key == field for start, field in _WANTED)
        if left != right and not wanted and not key.startswith(_LEFT_OUT):
            yield from _described(key, left, right)


def _kind(tensor: Any) -> str:
    return "missing" if tensor is None else f"{tensor.tensor_type.name} {tensor.shape.tolist()}"


def _described(key: str, left: Any, right: Any) -> Iterator[str]:
    if isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        odd = [number for number, pair in enumerate(zip(left, right, strict=True)) if pair[0] != pair[1]]
        first = [(number, left[number], right[number]) for number in odd[:4]]
        yield f"{key}: {len(odd)} of {len(left)} items, (number, ours, theirs): {first}"
    else:
        yield f"{key}: {str(left)[:80]}, in theirs {str(right)[:80]}"


def logits(made: Path, expected: Path, adapter: Path | None = None) -> tuple[float, float]:
    """How far the engine's logits are from transformers', as a part of their spread; and the share of equal maxima.

    Of nine positions in ten: where two experts are nearly equal, rounding decides between them.
    """
    file = np.load(expected)
    encoder = gguf.GGUFReader(made).fields["general.architecture"].contents() in ("bert", "nomic-bert")
    llama = llama_cpp.Llama(
        str(made),
        n_ctx=128,
        n_batch=128,
        n_ubatch=128,
        logits_all=True,
        embedding=encoder,
        lora_path=str(adapter) if adapter else None,
        verbose=False,
        pooling_type=0,
    )
    try:
        ids = file["ids"].tolist()
        found = _vectors(llama, ids) if encoder else _scores(llama, ids)
    finally:
        llama.close()
    values = file["values"]
    spread = float(values.std())
    distances = np.quantile(np.abs(found - values).max(-1), 0.9)
    return float(distances) / spread, float((found.argmax(-1) == values.argmax(-1)).mean())


def _scores(llama: llama_cpp.Llama, ids: list[int]) -> Any:
    llama.eval(ids)
    return np.array(llama.scores[: len(ids)])


def _vectors(llama: llama_cpp.Llama, ids: list[int]) -> Any:
    """Of an encoder that pools nothing: one vector for each token."""
    llama._batch.reset()
    llama._batch.add_sequence(ids, 0, True)
    llama._ctx.decode(llama._batch)
    width = llama.n_embd()
    return np.array([llama_cpp.llama_get_embeddings_ith(llama._ctx.ctx, number)[:width] for number in range(len(ids))])


def tokens(made: Path, expected: Path) -> Iterator[str]:
    """Texts that the engine cuts otherwise than the tokenizers library."""
    llama = llama_cpp.Llama(str(made), vocab_only=True, verbose=False)
    try:
        for text, wanted in json.loads(expected.read_text()):
            found = llama.tokenize(text.encode(), add_bos=True, special=True)
            if found != wanted:
                yield f"tokens of {text!r}: {found}, in tokenizers {wanted}"
    finally:
        llama.close()
