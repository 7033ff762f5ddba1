"""The architectures that convert: for each of transformers' classes, llama.cpp's architecture and what differs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import gguf

from powerd.convert import decoders, encoders
from powerd.convert.checkpoint import Weight
from powerd.convert.config import Config
from powerd.convert.tensors import Planned
from powerd.errors import BadRequest

ARCH = gguf.MODEL_ARCH


def _as_they_are(weight: Weight, _config: Config) -> Iterable[Weight]:
    return (weight,)


def _none(_config: Config) -> list[Planned]:
    return []


@dataclass(frozen=True)
class Family:
    """How one class of transformers becomes one architecture of llama.cpp."""

    architecture: Any
    describe: Callable[[Config, Any], None]
    rewrite: Callable[[Weight, Config], Iterable[Weight]] = _as_they_are
    computed: Callable[[Config], list[Planned]] = _none
    dropped: tuple[str, ...] = ()
    encoder: bool = False
    packed: tuple[str, ...] = ()  # methods of quantization that it comes in


_LLAMA = Family(ARCH.LLAMA, decoders.llama, decoders.rotated_in_pairs, decoders.llama_factors)
_BERT = Family(ARCH.BERT, encoders.bert, encoders.bert_names, dropped=encoders.HEADS, encoder=True)

FAMILIES: dict[str, Family] = {
    "LlamaForCausalLM": _LLAMA,
    "MistralForCausalLM": _LLAMA,
    "MixtralForCausalLM": Family(ARCH.LLAMA, decoders.mixtral, decoders.rotated_in_pairs, decoders.llama_factors),
    "Qwen2ForCausalLM": Family(ARCH.QWEN2, decoders.qwen),
    "Qwen3ForCausalLM": Family(ARCH.QWEN3, decoders.qwen),
    "Qwen3MoeForCausalLM": Family(ARCH.QWEN3MOE, decoders.qwen_experts),
    "GemmaForCausalLM": Family(ARCH.GEMMA, decoders.gemma, decoders.norms_from_one, dropped=("lm_head.",)),
    "Gemma2ForCausalLM": Family(ARCH.GEMMA2, decoders.gemma2, decoders.norms_from_one, dropped=("lm_head.",)),
    "Gemma3ForCausalLM": Family(ARCH.GEMMA3, decoders.gemma3, decoders.norms_from_one, dropped=("lm_head.",)),
    "Phi3ForCausalLM": Family(ARCH.PHI3, decoders.phi3, computed=decoders.phi3_factors),
    "Olmo2ForCausalLM": Family(ARCH.OLMO2, decoders.olmo2),
    "Olmo3ForCausalLM": Family(ARCH.OLMO2, decoders.olmo3),
    "CohereForCausalLM": Family(ARCH.COMMAND_R, decoders.cohere, dropped=("lm_head.",)),
    "Cohere2ForCausalLM": Family(ARCH.COHERE2, decoders.cohere2, dropped=("lm_head.",)),
    "SmolLM3ForCausalLM": Family(ARCH.SMOLLM3, decoders.smollm3, decoders.rotated_in_pairs, decoders.llama_factors),
    "GptOssForCausalLM": Family(ARCH.GPT_OSS, decoders.gpt_oss, decoders.gpt_oss_experts, packed=("mxfp4",)),
    "NomicBertModel": Family(
        ARCH.NOMIC_BERT, encoders.nomic, encoders.bert_names, dropped=encoders.HEADS, encoder=True
    ),
    "BertModel": _BERT,
    "BertForMaskedLM": _BERT,
}


def family_of(config: Config) -> Family:
    """Which one a checkpoint is of. Raises BadRequest for others, and for quantized checkpoints."""
    name = (config.words("architectures") or ["none"])[0]
    if name not in FAMILIES:
        raise BadRequest(
            f"{config.name}: the architecture {name[:80]} is not one that powerd converts; these are: "
            f"{', '.join(sorted(FAMILIES))}; llama.cpp's convert_hf_to_gguf.py makes GGUF files of others, which "
            "powerd takes as they are",
            "files",
        )
    method = config.section("quantization_config").values.get("quant_method", "unknown")
    if "quantization_config" in config and method not in FAMILIES[name].packed:
        raise BadRequest(
            f"{config.name}: quantization_config: the checkpoint is quantized ({str(method)[:40]}); only those in "
            "BF16, F16 or F32 are converted, and GPT-OSS in MXFP4",
            "files",
        )
    return FAMILIES[name]
