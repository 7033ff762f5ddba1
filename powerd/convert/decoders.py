"""Models that write: what their config.json says to llama.cpp, and what of their tensors lies otherwise there."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import gguf

from powerd.convert.checkpoint import Weight
from powerd.convert.config import Config
from powerd.convert.hyperparameters import (
    describe,
    describe_experts,
    describe_rope,
    head_width,
    heads,
    layers,
    llama3_factors,
    local_theta,
    require,
    rope,
    rotated_width,
)
from powerd.convert.mxfp4 import MXFP4, every_other
from powerd.convert.tensors import Planned, literal, part, permuted
from powerd.errors import BadRequest

_SILU = ("silu", "swish")


# ---------------------------------------------------------------- Llama, Mistral, Mixtral


def llama(config: Config, writer: Any) -> None:
    """Llama and Mistral."""
    require(config, "hidden_act", (*_SILU, None))
    describe(config, writer)
    describe_rope(rope(config), writer, others=("llama3",))
    writer.add_vocab_size(config.integer("vocab_size"))
    writer.add_rope_dimension_count(head_width(config))


def mixtral(config: Config, writer: Any) -> None:
    """Llama with experts."""
    llama(config, writer)
    describe_experts(config, writer, "num_local_experts", "num_experts_per_tok")


def rotated_in_pairs(weight: Weight, config: Config) -> Iterable[Weight]:
    """Queries and keys with their rows in llama.cpp's order, and Mixtral's experts by the names it knows."""
    queries, keys = heads(config)
    if weight.name.endswith(("q_proj.weight", "q_proj.bias")):
        return (permuted(weight, queries),)
    if weight.name.endswith(("k_proj.weight", "k_proj.bias")):
        return (permuted(weight, keys),)
    if ".block_sparse_moe.experts." in weight.name:
        return (replace(weight, name=weight.name.replace("model.", "", 1).replace("block_sparse_moe", "feed_forward")),)
    return (weight,)


def llama_factors(config: Config) -> list[Planned]:
    """Llama 3.1's stretched frequencies, where there are any."""
    found = rope(config)
    if found.text("rope_type") != "llama3":
        return []
    return [literal("rope_freqs.weight", llama3_factors(found, head_width(config)))]


def smollm3(config: Config, writer: Any) -> None:
    """SmolLM 3: Llama without the rotary embedding in every fourth layer."""
    rotated = [1 if layer % 4 else 0 for layer in range(1, layers(config) + 1)]
    require(config, "no_rope_layers", (rotated, None), "llama.cpp leaves out every fourth layer")
    require(config, "no_rope_layer_interval", (4, None), "llama.cpp leaves out every fourth layer")
    require(config, "use_sliding_window", (False, None))
    llama(config, writer)


# ---------------------------------------------------------------- Qwen


def qwen(config: Config, writer: Any) -> None:
    """Qwen 2, 2.5 and 3."""
    require(config, "hidden_act", (*_SILU, None))
    require(config, "use_sliding_window", (False, None))
    describe(config, writer)
    describe_rope(rope(config), writer)


def qwen_experts(config: Config, writer: Any) -> None:
    """Qwen 3 with experts."""
    require(config, "mlp_only_layers", ([], None), "in llama.cpp each layer of it has experts")
    require(config, "decoder_sparse_step", (1, None), "in llama.cpp each layer of it has experts")
    require(config, "norm_topk_prob", (True,), "llama.cpp always normalises the experts' weights")
    qwen(config, writer)
    describe_experts(config, writer, config.first("num_experts", "num_local_experts"), "num_experts_per_tok")
    writer.add_expert_feed_forward_length(config.integer("moe_intermediate_size"))


# ---------------------------------------------------------------- Gemma


def gemma(config: Config, writer: Any) -> None:
    """Gemma."""
    activation = config.first("hidden_activation", "hidden_act")
    require(config, activation, ("gelu_pytorch_tanh", "gelu", None))
    describe(config, writer)
    describe_rope(rope(config), writer)
    if "head_dim" not in config:
        raise config.wrong("head_dim", "a whole number")


def gemma2(config: Config, writer: Any) -> None:
    """Gemma 2."""
    _check_scale(config, 46)
    _check_windows(config, 2)
    gemma(config, writer)
    writer.add_attn_logit_softcapping(config.number("attn_logit_softcapping"))
    writer.add_final_logit_softcapping(config.number("final_logit_softcapping"))
    writer.add_sliding_window(config.integer("sliding_window"))


def gemma3(config: Config, writer: Any) -> None:
    """Gemma 3's part for text."""
    require(config, "attn_logit_softcapping", (None,))
    _check_scale(config, 62)
    _check_windows(config, 6)
    require(config, config.first("hidden_activation", "hidden_act"), ("gelu_pytorch_tanh",))
    describe(config, writer)
    describe_rope(rope(config), writer, theta=1_000_000.0)
    writer.add_rope_freq_base_swa(local_theta(config, 10_000.0))
    if "final_logit_softcapping" in config:
        writer.add_final_logit_softcapping(config.number("final_logit_softcapping"))
    writer.add_sliding_window(config.integer("sliding_window"))


def _check_scale(config: Config, large: int) -> None:
    """llama.cpp divides by the root of a head's width, but in the model of `large` layers by that of width / heads."""
    width = config.integer("hidden_size") // heads(config)[0] if layers(config) == large else config.integer("head_dim")
    if config.integer("query_pre_attn_scalar", 256) != width:
        raise config.wrong("query_pre_attn_scalar", f"{width}, which llama.cpp takes for granted")


def _check_windows(config: Config, period: int) -> None:
    """llama.cpp takes it for granted that of so many layers the last one sees everything."""
    kinds = config.words("layer_types")
    expected = ["sliding_attention" if layer % period else "full_attention" for layer in range(1, layers(config) + 1)]
    if (kinds and kinds != expected) or config.integer("sliding_window_pattern", period) != period:
        raise BadRequest(
            f"{config.name}: layer_types: llama.cpp takes it for granted that every {period}. layer sees "
            "everything and the others have a window",
            "files",
        )


def norms_from_one(weight: Weight, _config: Config) -> Iterable[Weight]:
    """Gemma multiplies by one more than the norm's weight."""
    return (replace(weight, shift=1.0) if weight.name.endswith("norm.weight") else weight,)


# ---------------------------------------------------------------- Phi, Olmo, Cohere


def phi3(config: Config, writer: Any) -> None:
    """Phi 3 and 4."""
    require(config, "hidden_act", (*_SILU, None))
    found = rope(config)
    describe(config, writer)
    describe_rope(found, writer, others=("longrope", "su"))
    trained = found.integer("original_max_position_embeddings", config.integer("max_position_embeddings"))
    writer.add_rope_scaling_orig_ctx_len(trained)
    writer.add_rope_dimension_count(rotated_width(config, found.number("partial_rotary_factor", 1.0)))
    writer.add_sliding_window(config.integer("sliding_window", 0, least=0))
    if found.text("rope_type") in ("longrope", "su"):
        writer.add_rope_scaling_attn_factors(_longrope_attention(config, found, trained))


def _longrope_attention(config: Config, found: Config, trained: int) -> float:
    """By what longrope multiplies queries and keys (transformers, `_compute_longrope_parameters`)."""
    scale = config.integer("max_position_embeddings") / trained
    default = math.sqrt(1 + math.log(scale) / math.log(trained)) if scale > 1 and trained > 1 else 1.0
    return found.number("attention_factor", default)


def phi3_factors(config: Config) -> list[Planned]:
    """Phi's factors for long and for short texts, where there are any."""
    found = rope(config)
    if found.text("rope_type") not in ("longrope", "su"):
        return []
    count = rotated_width(config, found.number("partial_rotary_factor", 1.0)) // 2
    for field in ("long_factor", "short_factor"):
        if len(found.numbers(field)) != count:
            raise found.wrong(field, f"{count} numbers")
    return [
        literal("rope_factors_long.weight", found.numbers("long_factor")),
        literal("rope_factors_short.weight", found.numbers("short_factor")),
    ]


def olmo2(config: Config, writer: Any) -> None:
    """OLMo 2."""
    require(config, "hidden_act", (*_SILU, None))
    require(config, "attention_bias", (False, None))
    describe(config, writer)
    describe_rope(rope(config), writer)


def olmo3(config: Config, writer: Any) -> None:
    """OLMo 3, with windows in most layers."""
    olmo2(config, writer)
    writer.add_rope_freq_base_swa(local_theta(config, rope(config).number("rope_theta", 500_000.0)))
    kinds = config.words("layer_types") or [
        "sliding_attention" if layer % 4 else "full_attention" for layer in range(1, layers(config) + 1)
    ]
    writer.add_sliding_window(config.integer("sliding_window"))
    writer.add_sliding_window_pattern([kind == "sliding_attention" for kind in kinds])


def cohere(config: Config, writer: Any) -> None:
    """Command R."""
    require(config, "hidden_act", (*_SILU, None))
    normed = (True,) if layers(config) >= 64 else (False, None)
    require(config, "use_qk_norm", normed, "llama.cpp tells it by the number of layers")
    describe(config, writer)
    require(rope(config), "rope_type", ("default",))
    describe_rope(rope(config), writer)
    writer.add_layer_norm_eps(config.positive("layer_norm_eps", 1e-5))
    writer.add_logit_scale(config.number("logit_scale"))
    writer.add_rope_scaling_type(gguf.RopeScalingType.NONE)


def cohere2(config: Config, writer: Any) -> None:
    """Command R7B and its like, with windows in most layers."""
    require(config, "hidden_act", (*_SILU, None))
    _check_windows(config, 4)
    describe(config, writer)
    require(rope(config), "rope_type", ("default",))
    describe_rope(rope(config), writer)
    writer.add_layer_norm_eps(config.positive("layer_norm_eps", 1e-5))
    writer.add_logit_scale(config.number("logit_scale"))
    writer.add_sliding_window(config.integer("sliding_window"))
    writer.add_vocab_size(config.integer("vocab_size"))
    writer.add_rope_dimension_count(rotated_width(config, config.number("rotary_pct", 1.0)))
    writer.add_rope_scaling_type(gguf.RopeScalingType.NONE)


# ---------------------------------------------------------------- GPT-OSS


def gpt_oss(config: Config, writer: Any) -> None:
    """GPT-OSS."""
    require(config, "swiglu_limit", (7.0, None))
    _check_windows(config, 2)
    describe(config, writer)
    describe_rope(rope(config), writer, theta=150_000.0)
    writer.add_sliding_window(config.integer("sliding_window"))
    count, used = (
        config.first("num_local_experts", "num_experts"),
        config.first("num_experts_per_tok", "experts_per_token"),
    )
    describe_experts(config, writer, count, used)
    writer.add_expert_feed_forward_length(config.integer("intermediate_size"))


def gpt_oss_experts(weight: Weight, _config: Config) -> Iterable[Weight]:
    """Its experts are one tensor each, with the rows of gate and up in turn, and unless packed lie on their side."""
    name = weight.name
    if name.endswith(".sinks"):
        return (replace(weight, name=f"{name}.weight"),)
    if ".mlp.experts." not in name:
        return (weight,)
    stem, suffix = (name.removesuffix("_bias"), "bias") if name.endswith("_bias") else (name, "weight")
    turned = weight
    if suffix == "weight" and weight.dtype != MXFP4:
        turned = part(weight, name, weight.arrays[0].swapaxes(1, 2))
    if stem.endswith(".down_proj"):
        return (replace(turned, name=f"{stem}.{suffix}"),)
    return (
        every_other(turned, stem.replace(".gate_up_proj", f".gate_proj.{suffix}"), 0),
        every_other(turned, stem.replace(".gate_up_proj", f".up_proj.{suffix}"), 1),
    )
