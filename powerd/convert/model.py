"""One checkpoint, converted: its parts put together and written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf

from powerd.convert import hyperparameters, specials, vocabulary
from powerd.convert.architectures import Family, family_of
from powerd.convert.checkpoint import Checkpoint, Weight
from powerd.convert.config import Config
from powerd.convert.tensors import KINDS, Planned, plan
from powerd.convert.writing import write
from powerd.errors import BadRequest

#: After so many bytes, pages that were read are let go of.
RELEASE = 128 << 20
_POOLING = {
    "pooling_mode_mean_tokens": gguf.PoolingType.MEAN,
    "pooling_mode_cls_token": gguf.PoolingType.CLS,
    "pooling_mode_lasttoken": gguf.PoolingType.LAST,
}
_MODES = {"mean": gguf.PoolingType.MEAN, "cls": gguf.PoolingType.CLS, "lasttoken": gguf.PoolingType.LAST}


def convert(checkpoint: Checkpoint, destination: Path, on_progress: Callable[[int, int], None]) -> None:
    """Write the checkpoint as a GGUF. Raises BadRequest naming what cannot be converted, OSError."""
    config = checkpoint.document("config.json")
    family = family_of(config)
    weights = checkpoint.weights()
    if config.flag("tie_word_embeddings", False):
        weights.pop("lm_head.weight", None)
    tensors = _tensors(config, family, weights)
    size = next(tensor.weight.shape[0] for tensor in tensors if tensor.name == "token_embd.weight")
    if config.integer("vocab_size", size) != size:
        raise config.wrong("vocab_size", f"{size}, the rows of the embeddings")
    writer = gguf.GGUFWriter(None, gguf.MODEL_ARCH_NAMES[family.architecture])
    _name(config, writer)
    family.describe(config, writer)
    if family.encoder:
        _pool(checkpoint, writer)
    _describe_types(tensors, writer)
    tokens = vocabulary.read(checkpoint, size)
    tokens.check()
    tokens.describe(writer)
    specials.describe(checkpoint, tokens, config, writer)
    write(destination, writer, tensors, _releasing(checkpoint, on_progress))


def _releasing(checkpoint: Checkpoint, on_progress: Callable[[int, int], None]) -> Callable[[int, int], None]:
    """The same, and what was read does not stay mapped."""
    released = 0

    def tell(done: int, total: int) -> None:
        nonlocal released
        if done - released >= RELEASE:
            released = done
            checkpoint.release()
        on_progress(done, total)

    return tell


def _tensors(config: Config, family: Family, weights: dict[str, Weight]) -> list[Planned]:
    tensors = plan(
        weights,
        family.architecture,
        hyperparameters.layers(config),
        lambda weight: family.rewrite(weight, config),
        family.dropped,
    )
    names = {tensor.name for tensor in tensors}
    if not family.encoder and "output_norm.weight" not in names:
        raise BadRequest("the last norm (model.norm.weight) is missing from the safetensors files", "files")
    return family.computed(config) + tensors


def _name(config: Config, writer: Any) -> None:
    name = config.text("_name_or_path").rstrip("/").rpartition("/")[2]
    if name and name != ".":
        writer.add_name(name[:200])


def _describe_types(tensors: list[Planned], writer: Any) -> None:
    kinds = {tensor.kind for tensor in tensors}
    types = gguf.LlamaFileType
    mostly = types.MOSTLY_BF16 if KINDS.BF16 in kinds else types.MOSTLY_F16
    writer.add_file_type(types.MOSTLY_MXFP4_MOE if KINDS.MXFP4 in kinds else mostly)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _pool(checkpoint: Checkpoint, writer: Any) -> None:
    """How an encoder's vectors become one: as sentence-transformers' file says, else the mean, which is its default."""
    dense = next((name for name in checkpoint.names() if name.endswith("_Dense/config.json")), None)
    if dense is not None:
        raise BadRequest(f"{dense}: a layer after the pooling, for which powerd has no place in a GGUF", "files")
    path = next((name for name in checkpoint.names() if name.endswith("_Pooling/config.json")), None)
    if path is None:
        writer.add_pooling_type(gguf.PoolingType.MEAN)
        return
    settings = checkpoint.document(path)
    chosen = [kind for field, kind in _POOLING.items() if settings.flag(field, False)]
    if "pooling_mode" in settings and not chosen:
        chosen = [_MODES[mode] for mode in [settings.text("pooling_mode")] if mode in _MODES]
    if len(chosen) != 1:
        raise BadRequest(f"{path}: the pooling is none of mean, cls and lasttoken; llama.cpp has no other", "files")
    writer.add_pooling_type(chosen[0])
