"""A LoRA as PEFT saves it becomes the adapter that llama.cpp reads; what is more than a LoRA is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from powerd.convert.adapter import convert_adapter
from powerd.convert.checkpoint import Checkpoint
from powerd.errors import BadRequest
from powerd.jobs import AdaptedModel
from tests.convert import checkpoints

BASE = AdaptedModel("llama", 4, 8, 4)


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    folder = tmp_path / "lora"
    checkpoints.pirate(folder)
    return folder


def made(folder: Path, base: AdaptedModel = BASE) -> gguf.GGUFReader:
    path = folder.parent / "adapter.gguf"
    convert_adapter(Checkpoint(checkpoints.files(folder)), base, path, lambda *_: None)
    return gguf.GGUFReader(path)


def test_the_pirate_comes_back(lora: Path) -> None:
    found, original = made(lora), gguf.GGUFReader(checkpoints.PIRATE)
    tensors = {tensor.name: tensor.data for tensor in found.tensors}
    assert tensors.keys() == {tensor.name for tensor in original.tensors}
    for tensor in original.tensors:
        assert np.array_equal(tensors[tensor.name], tensor.data), tensor.name
        assert tensors[tensor.name].dtype == tensor.data.dtype
    for key in ("general.type", "general.architecture", "adapter.type", "adapter.lora.alpha"):
        assert found.fields[key].contents() == original.fields[key].contents()


def test_rank_stabilised_adapters_weigh_more(lora: Path) -> None:
    (lora / "adapter_config.json").write_text(json.dumps(checkpoints.lora_config(use_rslora=True)))
    alpha = made(lora).fields["adapter.lora.alpha"].contents()
    assert alpha / 8 == pytest.approx(16 / 8**0.5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"peft_type": "IA3"}, "peft_type is IA3: only LoRA"),
        ({"use_dora": True}, "use_dora is True"),
        ({"bias": "all"}, "bias is all"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"alpha_pattern": {"q_proj": 3}}, "alpha_pattern"),
        ({"use_rslora": True, "rank_pattern": {"q_proj": 3}}, "rank_pattern"),
        ({"lora_alpha": "much"}, "lora_alpha must be a number"),
    ],
)
def test_what_is_more_than_a_lora_is_refused(lora: Path, fields: dict[str, Any], message: str) -> None:
    (lora / "adapter_config.json").write_text(json.dumps(checkpoints.lora_config(**fields)))
    with pytest.raises(BadRequest, match=rf"adapter_config.json: {message}"):
        made(lora)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"base_model.model.lm_head.weight": np.zeros((4, 4), "f4")}, "lm_head.weight is no part of a LoRA"),
        ({"base_model.model.model.layers.0.odd.lora_A.weight": np.zeros((4, 4), "f4")}, "a place for"),
        ({"base_model.model.model.layers.9.mlp.up_proj.lora_A.weight": np.zeros((4, 4), "f4")}, "a place for"),
        ({"base_model.model.lm_head.lora_A.weight": np.zeros((4, 4), "f4")}, "one half only of its change of output"),
    ],
)
def test_tensors_that_do_not_belong_there_are_named(lora: Path, change: dict[str, Any], message: str) -> None:
    path = lora / "adapter_model.safetensors"
    weights = Checkpoint({path.name: str(path)}).weights(r"[^/]+\.safetensors")
    checkpoints.save(path, {name: weight.arrays[0].copy() for name, weight in weights.items()} | change)
    with pytest.raises(BadRequest, match=message):
        made(lora)


def test_other_architectures_are_refused(lora: Path) -> None:
    with pytest.raises(BadRequest, match="adapters for the architecture mamba are not converted"):
        made(lora, AdaptedModel("mamba", 4, 8, 4))
    with pytest.raises(BadRequest, match="different numbers of heads"):
        made(lora, AdaptedModel("llama", 4, 0, 0))
