"""The numbers of an architecture: what config.json says, under the keys that llama.cpp reads."""

from __future__ import annotations

import math
from typing import Any

import gguf
import numpy as np

from powerd.convert.config import Config
from powerd.errors import BadRequest

MAX_LAYERS = 1024
#: LLAMA_MAX_EXPERTS; with more, llama.cpp ends the process.
MAX_EXPERTS = 512


def layers(config: Config) -> int:
    """How many."""
    return config.integer(config.first("num_hidden_layers", "n_layer"), most=MAX_LAYERS)


def heads(config: Config) -> tuple[int, int]:
    """Heads of queries, and those of keys and values, each of which serves as many of the former."""
    queries = config.integer(config.first("num_attention_heads", "n_head"), most=65536)
    keys = config.integer("num_key_value_heads", queries, most=queries)
    if queries % keys:
        raise config.wrong("num_key_value_heads", f"a divisor of {queries}, the heads of queries")
    return queries, keys


def head_width(config: Config) -> int:
    """Values in a head. Raises BadRequest for a number that cannot be rotated in pairs."""
    hidden = config.first("hidden_size", "n_embd")
    width = config.integer("head_dim", config.integer(hidden) // heads(config)[0], least=0)
    if width < 2 or width % 2:
        field = "head_dim" if "head_dim" in config else hidden
        raise config.wrong(field, f"such that a head has an even number of values, not {width}")
    return width


def rotated_width(config: Config, fraction: float) -> int:
    """Of the values in a head, how many are rotated. Raises BadRequest where these are no pairs."""
    width = head_width(config)
    rotated = int(fraction * width)
    if not 2 <= rotated <= width or rotated % 2:
        raise BadRequest(f"{config.name}: of a head's {width} values, {rotated} cannot be rotated in pairs", "files")
    return rotated


def describe_experts(config: Config, writer: Any, count: str, used: str) -> None:
    """How many experts a layer has, and how many of them a token uses, by the names of the two fields."""
    experts = config.integer(count, most=MAX_EXPERTS)
    writer.add_expert_count(experts)
    writer.add_expert_used_count(config.integer(used, most=experts))


def describe(config: Config, writer: Any) -> None:
    """What the architectures have in common: sizes, and the root mean square norm's epsilon."""
    queries, keys = heads(config)
    head_width(config)
    writer.add_block_count(layers(config))
    writer.add_context_length(config.integer(config.first("max_position_embeddings", "n_positions")))
    writer.add_embedding_length(config.integer(config.first("hidden_size", "n_embd")))
    writer.add_feed_forward_length(config.integer(config.first("intermediate_size", "n_inner")))
    writer.add_head_count(queries)
    writer.add_head_count_kv(keys)
    if "head_dim" in config:
        writer.add_key_length(config.integer("head_dim"))
        writer.add_value_length(config.integer("head_dim"))
    if "rms_norm_eps" in config:
        writer.add_layer_norm_rms_eps(config.positive("rms_norm_eps"))


def rope(config: Config) -> Config:
    """What config.json says of the rotary embedding, as `rope_theta`, `rope_type` and the type's own fields.

    transformers 5 writes `rope_parameters`, older versions `rope_theta` and `rope_scaling`. Where some layers have a
    window, these are of the others.
    """
    section = config.section(config.first("rope_parameters", "rope_scaling"))
    if "full_attention" in section:
        section = section.section("full_attention")
    values = dict(section.values)
    values.setdefault("rope_theta", config.values.get("rope_theta"))
    values["rope_type"] = values.get("rope_type") or values.get("type") or "default"
    for field in ("original_max_position_embeddings", "partial_rotary_factor"):
        values[field] = values.get(field) or config.values.get(field)
    return Config(values, section.name if section.values else config.name)


def local_theta(config: Config, default: float) -> float:
    """The rotary embedding's base in layers that have a window; llama.cpp scales it in no way there."""
    section = config.section("rope_parameters").section("sliding_attention")
    require(section, "rope_type", ("default", None))
    return section.positive("rope_theta", config.positive("rope_local_base_freq", default))


def describe_rope(found: Config, writer: Any, *, theta: float = 10_000.0, others: tuple[str, ...] = ()) -> None:
    """The rotary embedding's base and its scaling. Raises BadRequest for a scaling that is not known.

    `others` are types that the architecture itself sees to.
    """
    writer.add_rope_freq_base(found.positive("rope_theta", theta))
    kind = found.text("rope_type")
    if kind in ("default", *others):
        return
    if kind not in ("linear", "yarn"):
        raise BadRequest(
            f"{found.name}: rope_type {kind[:40]} is not converted for this architecture; these are: "
            f"{', '.join(('default', 'linear', 'yarn', *others))}",
            "files",
        )
    writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR if kind == "linear" else gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(found.positive("factor"))
    if kind == "yarn":
        _describe_yarn(found, writer)


def _describe_yarn(found: Config, writer: Any) -> None:
    for field in ("mscale", "mscale_all_dim"):
        if found.number(field, 0.0) not in (0.0, 1.0):
            raise BadRequest(f"{found.name}: {field} is not converted for this architecture", "files")
    writer.add_rope_scaling_orig_ctx_len(found.integer("original_max_position_embeddings"))
    usual = 0.1 * math.log(max(found.number("factor"), 1.0)) + 1.0
    if not math.isclose(found.number("attention_factor", usual), usual, rel_tol=1e-3):
        raise found.wrong("attention_factor", f"{usual:.4f}, which llama.cpp computes from the factor")
    if "beta_fast" in found:
        writer.add_rope_scaling_yarn_beta_fast(found.number("beta_fast"))
    if "beta_slow" in found:
        writer.add_rope_scaling_yarn_beta_slow(found.number("beta_slow"))


def llama3_factors(found: Config, width: int) -> list[float]:
    """Llama 3.1's scaling: by what the wave length of each pair of a head's values is stretched.

    Short waves stay, long ones are stretched by `factor`, and those between by something between (transformers,
    modeling_rope_utils.py, `_compute_llama3_parameters`). llama.cpp divides each frequency by these.
    """
    factor = found.number("factor", 8.0)
    low, high = found.number("low_freq_factor", 1.0), found.number("high_freq_factor", 4.0)
    trained = found.integer("original_max_position_embeddings", 8192)
    if not (factor > 0 and 0 < low < high):
        raise BadRequest(f"{found.name}: factor, low_freq_factor and high_freq_factor do not fit together", "files")
    exponents = np.arange(0, width, 2, dtype=np.float32) / np.float32(width)
    frequencies = np.float32(1.0) / np.power(np.float32(found.positive("rope_theta", 10_000.0)), exponents)
    return [_stretched(2 * math.pi / float(each), factor, low, high, trained) for each in frequencies]


def _stretched(wave: float, factor: float, low: float, high: float, trained: int) -> float:
    if wave < trained / high:
        return 1.0
    if wave > trained / low:
        return factor
    smooth = (trained / wave - low) / (high - low)
    return 1.0 / ((1.0 - smooth) / factor + smooth)


def require(config: Config, field: str, allowed: tuple[Any, ...], why: str = "llama.cpp computes no other") -> None:
    """Raise BadRequest unless the field has one of these values; `None` among them allows it to be missing."""
    value = config.values.get(field)
    if value not in allowed:
        raise BadRequest(f"{config.name}: {field} is {str(value)[:60]}: {why}", "files")
