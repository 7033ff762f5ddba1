"""Runs in an environment of its own: random small models by transformers, converted by llama.cpp's own script.

`python make.py LLAMA_CPP FOLDER [NAME...]` writes, for each model, FOLDER/NAME/ as transformers saves it,
FOLDER/NAME.gguf as llama.cpp's convert_hf_to_gguf makes it, FOLDER/NAME.npz: token ids and the logits (of encoders the
vectors) that transformers computes from them in float32, and FOLDER/NAME.json: texts and their tokens. Of some also
FOLDER/NAME-lora and the same two beside it: a LoRA, and the logits with it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from subprocess import run
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenize_them import SAMPLES, byte_level, sentence_piece, word_piece
from tokenizers import Tokenizer

SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
}
#: Rows of the embeddings that no token has.
SPARE = 8
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
LINEAR = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64}
LONG = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "long_factor": [1.0 + 0.25 * each for each in range(8)],
    "short_factor": [1.0 + 0.05 * each for each in range(8)],
    "original_max_position_embeddings": 128,
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 48, "norm_topk_prob": True}
OSS = {
    "head_dim": 16,
    "intermediate_size": 64,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "sliding_window": 16,
    "rope_parameters": YARN,
}
#: The numbers that four bits stand for in MXFP4.
FOUR_BITS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0)

#: Name, class of transformers, fields that differ from SIZES, tokenizer, type of the weights.
MODELS: dict[str, tuple[str, dict[str, Any], str, torch.dtype]] = {
    "llama": ("Llama", {}, "llama-bpe", torch.bfloat16),
    "llama-f32": ("Llama", {"attention_bias": True, "mlp_bias": True}, "gpt-2", torch.float32),
    "llama-f16-wide-heads": ("Llama", {"head_dim": 32, "tie_word_embeddings": True}, "smollm", torch.float16),
    "llama-spm": ("Llama", {}, "spm", torch.bfloat16),
    "llama-spm-json": ("Llama", {}, "spm-json", torch.bfloat16),
    "llama-llama3-rope": ("Llama", {"rope_parameters": LLAMA3}, "llama-bpe", torch.bfloat16),
    "llama-linear-rope": ("Llama", {"rope_parameters": LINEAR}, "dbrx", torch.bfloat16),
    "llama-yarn-rope": ("Llama", {"rope_parameters": YARN}, "gpt-4o", torch.bfloat16),
    "mistral": ("Mistral", {"sliding_window": None}, "tekken", torch.bfloat16),
    "mixtral": ("Mixtral", {"num_local_experts": 4}, "spm", torch.float32),
    "qwen2": ("Qwen2", {}, "qwen2", torch.bfloat16),
    "qwen3": ("Qwen3", {"head_dim": 32}, "qwen2", torch.bfloat16),
    "qwen3-yarn": ("Qwen3", {"head_dim": 32, "rope_parameters": YARN}, "qwen2", torch.bfloat16),
    "qwen3moe": ("Qwen3Moe", {"head_dim": 32, **EXPERTS}, "qwen2", torch.bfloat16),
    "gemma": ("Gemma", {"head_dim": 16}, "gemma", torch.bfloat16),
    "gemma2": (
        "Gemma2",
        {"head_dim": 32, "query_pre_attn_scalar": 32, "num_hidden_layers": 4, "sliding_window": 16},
        "gemma",
        torch.bfloat16,
    ),
    "gemma3": (
        "Gemma3Text",
        {"head_dim": 32, "query_pre_attn_scalar": 32, "num_hidden_layers": 7, "sliding_window": 16},
        "gemma",
        torch.bfloat16,
    ),
    "phi3": ("Phi3", {"num_key_value_heads": 4, "pad_token_id": 0}, "spm", torch.bfloat16),
    "phi3-long": ("Phi3", {"pad_token_id": 0, "rope_parameters": LONG}, "spm", torch.bfloat16),
    "olmo2": ("Olmo2", {}, "dbrx", torch.bfloat16),
    "olmo3": ("Olmo3", {"num_hidden_layers": 4, "sliding_window": 16}, "dbrx", torch.bfloat16),
    "cohere": ("Cohere", {"logit_scale": 0.25, "use_qk_norm": False}, "smollm", torch.bfloat16),
    "cohere2": (
        "Cohere2",
        {"num_hidden_layers": 4, "sliding_window": 16, "logit_scale": 0.25, "pad_token_id": 0},
        "smollm",
        torch.bfloat16,
    ),
    "smollm3": ("SmolLM3", {"num_hidden_layers": 4, "pad_token_id": 0}, "llama-bpe", torch.bfloat16),
    "gpt-oss": ("GptOss", OSS, "gpt-4o", torch.float32),
    "gpt-oss-mxfp4": ("GptOss", OSS, "gpt-4o", torch.float32),
    "nomic-bert": ("NomicBert", {"type_vocab_size": 2}, "bert", torch.float32),
    "bert": ("Bert", {"type_vocab_size": 2}, "bert", torch.float32),
}

#: Fields that the authors' config.json has, llama.cpp's converter wants, and transformers leaves out.
AUTHORS: dict[str, dict[str, Any]] = {
    "cohere2": {"rotary_pct": 1.0},
    "nomic-bert": {
        "n_positions": 8192,
        "activation_function": "swiglu",
        "rotary_emb_fraction": 1.0,
        "rotary_emb_scale_base": None,
        **dict.fromkeys(("causal", "prenorm", "rotary_emb_interleaved", "qkv_proj_bias"), False),
        **dict.fromkeys(("mlp_fc1_bias", "mlp_fc2_bias"), False),
    },
}
#: Models that get a LoRA too.
ADAPTED = ("llama-f32", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "phi3", "olmo2")
RANK, ALPHA = 4, 8


def build(folder: Path, name: str) -> None:
    """Save the model, and what transformers computes with it."""
    family, fields, tokenizer, dtype = MODELS[name]
    here = folder / name
    here.mkdir(parents=True, exist_ok=True)
    made = {"bert": word_piece, "spm": sentence_piece, "spm-json": sentence_piece, "gemma": sentence_piece}
    size = made.get(tokenizer, byte_level)(here, tokenizer)
    encoder = tokenizer == "bert"
    numbers = {} if encoder else {"num_key_value_heads": 2, "bos_token_id": 1, "eos_token_id": 2}
    config = getattr(transformers, f"{family}Config")(**{**SIZES, **numbers, "vocab_size": size + SPARE, **fields})
    kind = f"{family}Model" if encoder else f"{family.removesuffix('Text')}ForCausalLM"
    torch.manual_seed(sum(name.encode()))
    model = getattr(transformers, kind)._from_config(config, attn_implementation="eager").eval()
    scramble(model)
    if "mxfp4" in name:
        pack(model, here)
    else:
        model.to(dtype).save_pretrained(here, max_shard_size="100KB")
    ids = torch.randint(10, size - 10, (1, 48))
    with torch.no_grad():
        found = model.float()(ids)
    values = found.last_hidden_state if encoder else found.logits
    np.savez(folder / f"{name}.npz", ids=ids[0].numpy(), values=values[0].numpy())
    if name in ADAPTED:
        adapt(model, folder, name, ids)
    reader = Tokenizer.from_file(str(here / "tokenizer.json"))
    (folder / f"{name}.json").write_text(json.dumps([(text, reader.encode(text).ids) for text in SAMPLES]))


def adapt(model: torch.nn.Module, folder: Path, name: str, ids: torch.Tensor) -> None:
    """Save a random LoRA of all matrices but the output's, as PEFT would, and what the model computes with it."""
    here = folder / f"{name}-lora"
    here.mkdir(exist_ok=True)
    parts = {}
    with torch.no_grad():
        for module, layer in model.named_modules():
            if isinstance(layer, torch.nn.Linear) and module != "lm_head":
                rows, columns = layer.weight.shape
                down, up = torch.randn(RANK, columns) / columns**0.5, torch.randn(rows, RANK) * 0.1
                parts[f"base_model.model.{module}.lora_A.weight"] = down
                parts[f"base_model.model.{module}.lora_B.weight"] = up
                layer.weight += up @ down * (ALPHA / RANK)
        values = model(ids).logits
    save_file(parts, here / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "bias": "none"}
    (here / "adapter_config.json").write_text(json.dumps(settings))
    np.savez(folder / f"{name}-lora.npz", ids=ids[0].numpy(), values=values[0].numpy())


def pack(model: torch.nn.Module, here: Path) -> None:
    """Give the experts weights that MXFP4 has, and save them so."""
    model.save_pretrained(here)
    tensors = dict(load_file(here / "model.safetensors"))
    for name, weight in list(tensors.items()):
        if name.endswith(("gate_up_proj", "down_proj")):
            experts, columns, rows = weight.shape
            blocks = torch.randint(0, 256, (experts, rows, columns // 32, 16), dtype=torch.uint8)
            scales = torch.randint(121, 124, (experts, rows, columns // 32), dtype=torch.uint8)
            table = torch.tensor(FOUR_BITS)
            numbers = torch.stack([table[(blocks & 15).long()], table[(blocks >> 4).long()]], -1).flatten(-2)
            values = numbers * torch.exp2(scales.float() - 127)[..., None]
            with torch.no_grad():
                model.get_parameter(name).copy_(values.flatten(-2).transpose(1, 2))
            del tensors[name]
            tensors |= {f"{name}_blocks": blocks, f"{name}_scales": scales}
    save_file(tensors, here / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((here / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "mxfp4"}
    (here / "config.json").write_text(json.dumps(config))


def convert_adapter(llama_cpp: Path, folder: Path, name: str) -> None:
    """Let llama.cpp's converter of adapters at it."""
    script, made = llama_cpp / "convert_lora_to_gguf.py", folder / f"{name}-lora.gguf"
    run([sys.executable, script, folder / f"{name}-lora", "--base", folder / name, "--outfile", made], check=True)


def scramble(model: torch.nn.Module) -> None:
    """Random weights that matter: nothing is zero or one, and logits differ."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim < 2:
                weight.copy_(torch.randn_like(weight) * 0.2 + (1.0 if "norm" in name.lower() else 0.0))
            elif "embed" in name:
                weight.normal_(0, 0.5)
            else:
                weight.normal_(0, 1 / weight.shape[-1] ** 0.5)
        for name, weight in model.named_parameters():
            if type(model).__name__.startswith("Gemma") and "norm" in name:
                weight.copy_(torch.randn_like(weight) * 0.2)


def convert(llama_cpp: Path, folder: Path, name: str) -> None:
    """Let llama.cpp's own converter at it."""
    sys.path.insert(0, str(llama_cpp))
    import conversion
    import gguf
    from conversion.base import ModelBase, TextModel

    _, _, tokenizer, dtype = MODELS[name]
    TextModel.get_vocab_base_pre = lambda _self, _tokenizer: tokenizer  # it knows digests
    here = folder / name
    config = json.loads((here / "config.json").read_text())
    (here / "config.json").write_text(json.dumps(config | AUTHORS.get(name, {})))
    hparams = ModelBase.load_hparams(here, False)
    kind = conversion.get_model_class(hparams["architectures"][0])
    types = gguf.LlamaFileType
    target = types.MOSTLY_BF16 if dtype == torch.bfloat16 else types.MOSTLY_F16
    with torch.inference_mode():
        kind(here, target, folder / f"{name}.gguf", hparams=hparams).write()


def main(arguments: list[str]) -> int:
    """Make all models, or those named; the exit code."""
    llama_cpp, folder, names = Path(arguments[0]), Path(arguments[1]), arguments[2:] or list(MODELS)
    failed = {}
    for name in names:
        build(folder, name)
        try:
            convert(llama_cpp, folder, name)
            if name in ADAPTED:
                convert_adapter(llama_cpp, folder, name)
        except Exception as error:  # the comparison goes on with the others, and says so
            failed[name] = f"{type(error).__name__}: {error}"
    (folder / "failed.json").write_text(json.dumps(failed))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
