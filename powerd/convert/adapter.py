"""A PEFT LoRA, converted to the adapter that llama.cpp adds to a model while it runs."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf

from powerd.convert.checkpoint import Checkpoint, Weight
from powerd.convert.config import Config
from powerd.convert.hyperparameters import require
from powerd.convert.tensors import KINDS, Planned, named, permuted
from powerd.convert.writing import write
from powerd.errors import BadRequest
from powerd.jobs import AdaptedModel

CONFIG = "adapter_config.json"
#: Whose matrices lie in the GGUF as they lie in the checkpoint; `llama` ones are turned below.
ARCHITECTURES = ("llama", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "phi3", "olmo2")
_PART = re.compile(r"(?:base_model\.model\.)?(.+)\.lora_([AB])(?:\.default)?\.weight")
_WHY = "llama.cpp's adapters have no such thing"


def convert_adapter(
    checkpoint: Checkpoint, base: AdaptedModel, destination: Path, on_progress: Callable[[int, int], None]
) -> None:
    """Write the LoRA as a GGUF adapter for `base`. Raises BadRequest naming what cannot be converted, OSError."""
    config = checkpoint.document(CONFIG)
    if base.architecture not in ARCHITECTURES:
        raise BadRequest(
            f"adapters for the architecture {base.architecture} are not converted; they are for: "
            f"{', '.join(ARCHITECTURES)}",
            "adapters",
        )
    alpha = _alpha(config)
    tensors = _tensors(checkpoint.weights(r"[^/]+\.safetensors"), base)
    writer = gguf.GGUFWriter(None, base.architecture)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, alpha)
    write(destination, writer, tensors, on_progress)


def _alpha(config: Config) -> float:
    """What llama.cpp divides by the rank for the adapter's weight. Raises BadRequest for what is more than a LoRA."""
    require(config, "peft_type", ("LORA",), "only LoRA adapters are converted")
    require(config, "bias", ("none", None), _WHY)
    for field in ("use_dora", "fan_in_fan_out", "lora_bias"):
        require(config, field, (False, None), _WHY)
    for field in ("alpha_pattern", "modules_to_save", "layer_replication", "alora_invocation_tokens"):
        require(config, field, ({}, [], None), _WHY)
    alpha = config.number("lora_alpha")
    if config.flag("use_rslora", False):
        require(config, "rank_pattern", ({}, None), "with use_rslora, each rank would need a weight of its own")
        alpha *= math.sqrt(config.integer("r"))
    return alpha


def _tensors(weights: Mapping[str, Weight], base: AdaptedModel) -> list[Planned]:
    (architecture,) = (arch for arch, name in gguf.MODEL_ARCH_NAMES.items() if name == base.architecture)
    names = gguf.get_tensor_name_map(architecture, base.layers)
    pairs: dict[str, dict[str, Weight]] = defaultdict(dict)
    for name, weight in weights.items():
        found = _PART.fullmatch(name)
        if found is None:
            raise BadRequest(f"{weight.file}: tensor {name[:100]} is no part of a LoRA; {_WHY}", "adapters")
        target = named(names, replace(weight, name=f"{found[1]}.weight"), architecture)
        pairs[target][found[2]] = _turned(weight, found[1], found[2], base)
    return [planned for target, pair in pairs.items() for planned in _pair(target, pair)]


def _turned(weight: Weight, module: str, side: str, base: AdaptedModel) -> Weight:
    """The rows of queries and keys in the order of the model's own (see `tensors.permuted`)."""
    if base.architecture != "llama" or side != "B" or not module.endswith(("q_proj", "k_proj")):
        return weight
    heads = base.heads if module.endswith("q_proj") else base.kv_heads
    if not heads:
        raise BadRequest("the model's layers have different numbers of heads, for which no adapter is made", "adapters")
    return permuted(weight, heads)


def _pair(target: str, pair: Mapping[str, Weight]) -> list[Planned]:
    down, up = pair.get("A"), pair.get("B")
    if down is None or up is None:
        raise BadRequest(f"the adapter has one half only of its change of {target}", "adapters")
    for weight in (down, up):
        if weight.dtype not in ("F32", "F16", "BF16") or len(weight.shape) != 2 or 0 in weight.shape:
            raise BadRequest(
                f"{weight.file}: tensor {weight.name[:100]} is {weight.dtype} of shape {weight.shape}; matrices in "
                "BF16, F16 or F32 are converted",
                "adapters",
            )
    if down.shape[0] != up.shape[1]:
        raise BadRequest(f"the two halves of the adapter's change of {target} have different ranks", "adapters")
    return [Planned(f"{target}.lora_{side}", _kind(weight), weight) for side, weight in (("a", down), ("b", up))]


def _kind(weight: Weight) -> Any:
    """They are small: whatever is not float16 is kept without loss as float32."""
    return KINDS.F16 if weight.dtype == "F16" else KINDS.F32
