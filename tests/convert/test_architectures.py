"""What config.json says becomes what llama.cpp reads, from the forms that older checkpoints have too."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from powerd.convert.architectures import FAMILIES, family_of
from powerd.convert.checkpoint import Checkpoint, Weight
from powerd.convert.config import Config
from powerd.convert.mxfp4 import repacked
from powerd.convert.tensors import KINDS, permuted, plan, stacked
from powerd.errors import BadRequest
from tests.convert import checkpoints

SIZES = {
    "hidden_size": 1152,
    "intermediate_size": 64,
    "max_position_embeddings": 4096,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "num_hidden_layers": 26,
    "rms_norm_eps": 1e-6,
    "vocab_size": 100,
}
YARN = {"type": "yarn", "factor": 4, "original_max_position_embeddings": 9}


def told(architecture: str, **fields: Any) -> dict[str, Any]:
    """The metadata without the architecture's name before it."""
    config = Config({**SIZES, "architectures": [architecture], **fields}, "config.json")
    family = family_of(config)
    name = gguf.MODEL_ARCH_NAMES[family.architecture]
    writer = gguf.GGUFWriter(None, name)
    family.describe(config, writer)
    return {key.removeprefix(f"{name}."): value.value for key, value in writer.kv_data[0].items()}


def test_gemma3_of_before_rope_parameters() -> None:
    found = told(
        "Gemma3ForCausalLM",
        head_dim=256,
        hidden_activation="gelu_pytorch_tanh",
        query_pre_attn_scalar=256,
        rope_theta=1_000_000,
        rope_local_base_freq=10_000,
        rope_scaling={"rope_type": "linear", "factor": 8.0},
        sliding_window=512,
        sliding_window_pattern=6,
    )
    assert (found["rope.freq_base"], found["rope.freq_base_swa"]) == (1_000_000, 10_000)
    assert (found["rope.scaling.factor"], found["attention.sliding_window"]) == (8.0, 512)
    assert (found["attention.key_length"], found["attention.head_count_kv"]) == (256, 1)


def test_nomic_as_its_authors_describe_it() -> None:
    found = told(
        "NomicBertModel",
        **dict.fromkeys(SIZES),
        n_embd=768,
        n_inner=3072,
        n_layer=12,
        n_head=12,
        n_positions=8192,
        max_trained_positions=2048,
        layer_norm_epsilon=1e-12,
        rotary_emb_base=1000,
        activation_function="swiglu",
    )
    assert (found["context_length"], found["embedding_length"], found["block_count"]) == (2048, 768, 12)
    assert (found["rope.freq_base"], found["attention.causal"], found["feed_forward_length"]) == (1000, False, 3072)


@pytest.mark.parametrize(
    ("architecture", "fields", "message"),
    [
        ("Gemma2ForCausalLM", {"head_dim": 128, "query_pre_attn_scalar": 224}, "query_pre_attn_scalar must be 128"),
        ("Gemma3ForCausalLM", {"head_dim": 256, "sliding_window_pattern": 4}, "every 6. layer sees everything"),
        ("Qwen2ForCausalLM", {"use_sliding_window": True}, "use_sliding_window is True"),
        ("Qwen3MoeForCausalLM", {"norm_topk_prob": False}, "norm_topk_prob is False"),
        ("SmolLM3ForCausalLM", {"no_rope_layers": [1] * 26}, "no_rope_layers"),
        ("CohereForCausalLM", {"use_qk_norm": True}, "use_qk_norm is True"),
        ("NomicBertModel", {"moe_every_n_layers": 2}, "moe_every_n_layers is 2"),
        ("LlamaForCausalLM", {"rope_scaling": {"rope_type": "yarn", "factor": 4}}, "original_max_position_embeddings"),
        (
            "LlamaForCausalLM",
            {"rope_scaling": {**YARN, "attention_factor": 2}},
            "attention_factor must be 1.1386",
        ),
        ("LlamaForCausalLM", {"rope_scaling": ["linear"]}, "rope_scaling must be an object"),
        ("LlamaForCausalLM", {"rope_theta": float("nan")}, "rope_theta must be a number"),
        ("LlamaForCausalLM", {"quantization_config": {"quant_method": "mxfp4"}}, r"quantized \(mxfp4\)"),
    ],
)
def test_what_llama_cpp_would_take_for_something_else_is_refused(
    architecture: str, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadRequest, match=message):
        told(architecture, **fields)


EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}


@pytest.mark.parametrize(
    ("architecture", "fields", "message"),
    [
        ("LlamaForCausalLM", {"num_key_value_heads": 3}, "num_key_value_heads must be a divisor of 4"),
        ("Qwen2ForCausalLM", {"hidden_size": 60}, "hidden_size must be such that a head has an even .* not 15"),
        ("Qwen2ForCausalLM", {"hidden_size": 3}, "hidden_size must be such that a head has an even .* not 0"),
        ("Qwen3ForCausalLM", {"head_dim": 15}, "head_dim must be such that a head has an even .* not 15"),
        ("Phi3ForCausalLM", {"partial_rotary_factor": 0.9}, "of a head's 288 values, 259 cannot be rotated in pairs"),
        ("Phi3ForCausalLM", {"partial_rotary_factor": 1e30}, "cannot be rotated in pairs"),
        ("MixtralForCausalLM", {**EXPERTS, "num_experts_per_tok": 5}, "num_experts_per_tok must be .* from 1 to 4"),
        ("MixtralForCausalLM", {**EXPERTS, "num_local_experts": 513}, "num_local_experts must be .* from 1 to 512"),
        ("LlamaForCausalLM", {"rms_norm_eps": -1e-5}, "rms_norm_eps must be a number above 0"),
        ("BertModel", {"layer_norm_eps": -1e-5}, "layer_norm_eps must be a number above 0"),
        ("LlamaForCausalLM", {"rope_theta": 0}, "rope_theta must be a number above 0"),
        ("LlamaForCausalLM", {"rope_scaling": {"type": "linear", "factor": 0}}, "factor must be a number above 0"),
    ],
)
def test_what_llama_cpp_would_end_its_process_for_is_refused(
    architecture: str, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadRequest, match=message):
        told(architecture, **fields)


def test_each_family_is_one_that_the_gguf_package_names() -> None:
    assert all(family.architecture in gguf.MODEL_ARCH_NAMES for family in FAMILIES.values())


def weight(name: str, array: Any) -> Weight:
    return Weight(name, "F32", array.shape, (array,), file="f")


def test_rows_that_are_rotated_together_become_neighbours() -> None:
    turned = permuted(weight("q", np.arange(16, dtype="f4").reshape(8, 2)), 2)
    rows = np.ascontiguousarray(turned.arrays[0]).reshape(8, 2)[:, 0] // 2
    assert rows.tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


def test_experts_are_stacked_in_the_order_of_their_numbers() -> None:
    names = [f"model.layers.0.mlp.experts.{number}.up_proj.weight" for number in (10, 2, 0, 1, *range(3, 10))]
    found = stacked(weight(name, np.full((2, 3), int(name.split(".")[5]), "f4")) for name in names)
    assert [(each.name, each.shape) for each in found] == [("model.layers.0.mlp.experts.up_proj.weight", (11, 2, 3))]
    assert [array[0, 0] for array in found[0].arrays] == list(range(11))
    with pytest.raises(BadRequest, match="expert 1 is missing"):
        stacked(weight(name, np.zeros((2, 3), "f4")) for name in names if ".1." not in name)


def test_mxfp4_is_put_in_ggmls_order() -> None:
    blocks: Any = np.arange(256, dtype="u1").reshape(2, 2, 4, 16)
    scales: Any = np.arange(16, dtype="u1").reshape(2, 2, 4)
    reference = np.frombuffer(b"".join(repacked(blocks, scales)), "u1")
    values = gguf.quants.dequantize(reference.reshape(4, 68), KINDS.MXFP4).reshape(2, 2, 4, 32)
    table = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])
    numbers = np.stack([table[blocks & 15], table[blocks >> 4]], axis=-1).reshape(2, 2, 4, 32)
    assert np.array_equal(values, (numbers * np.exp2(scales[..., None].astype("f8") - 127)).astype("f4"))


def test_blocks_without_their_scales_are_named(tmp_path: Path) -> None:
    checkpoints.save(tmp_path / "model.safetensors", {"x_blocks": np.zeros((1, 2, 3, 16), "u1")})
    weights = Checkpoint(checkpoints.files(tmp_path)).weights()
    with pytest.raises(BadRequest, match="x_blocks and its scales do not fit together"):
        plan(weights, gguf.MODEL_ARCH.GPT_OSS, 1, lambda each: (each,))


FIELDS = ("architectures", "hidden_size", "head_dim", "rope_theta", "rope_scaling", "rope_parameters", "hidden_act")
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.lists(st.integers())
SECTIONS = st.dictionaries(st.sampled_from(("rope_type", "type", "factor", "rope_theta", "full_attention")), VALUES)


@settings(max_examples=150)
@given(st.sampled_from(sorted(FAMILIES)), st.dictionaries(st.sampled_from(FIELDS), VALUES | SECTIONS, max_size=2))
def test_any_config_is_described_or_refused(architecture: str, fields: dict[str, Any]) -> None:
    with suppress(BadRequest):
        told(architecture, **fields)
