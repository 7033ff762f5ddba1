"""Models that make vectors of texts: what their config.json says to llama.cpp, and how it names their tensors."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from powerd.convert.checkpoint import Weight
from powerd.convert.config import Config
from powerd.convert.hyperparameters import describe, require, rope

#: What they were trained with, and no vector needs.
HEADS = ("pooler.", "bert.pooler.", "cls.")


def bert(config: Config, writer: Any) -> None:
    """BERT."""
    require(config, "hidden_act", ("gelu", None))
    require(config, "position_embedding_type", ("absolute", None))
    describe(config, writer)
    writer.add_layer_norm_eps(config.positive("layer_norm_eps", 1e-12))
    writer.add_causal_attention(False)
    writer.add_token_type_count(config.integer("type_vocab_size", 1))


def bert_names(weight: Weight, _config: Config) -> Iterable[Weight]:
    """The names of the authors' tensors, whatever stands before them."""
    name = weight.name.removeprefix("bert.")
    name = re.sub(r"\.gamma$", ".weight", re.sub(r"\.beta$", ".bias", name))
    return (replace(weight, name=name),)


def nomic(config: Config, writer: Any) -> None:
    """Of the authors' own configuration, or of transformers' for the same."""
    require(config, "activation_function", ("swiglu", None))
    require(config, "hidden_act", ("silu", None))
    require(config, "moe_every_n_layers", (0, None), "the experts of nomic-embed-text-v2 are not converted")
    require(config, "rotary_emb_fraction", (1.0, None))
    require(config, "qkv_proj_bias", (False, None))
    for field in ("prenorm", "rotary_emb_interleaved", "causal"):
        require(config, field, (False, None))
    positions = config.integer(config.first("max_position_embeddings", "n_positions"))
    trained = min(positions, config.integer("max_trained_positions", 2048))
    describe(Config({**config.values, "max_position_embeddings": trained}, config.name), writer)
    writer.add_layer_norm_eps(config.positive(config.first("layer_norm_epsilon", "layer_norm_eps"), 1e-12))
    writer.add_rope_freq_base(rope(config).positive("rope_theta", config.positive("rotary_emb_base", 1000.0)))
    writer.add_causal_attention(False)
    writer.add_token_type_count(config.integer("type_vocab_size", 2))
