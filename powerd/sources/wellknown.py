"""Well-known model names and the public GGUF repositories that hold them: the second place a bare name is looked for.

Only names and addresses, for the day the Ollama registry cannot be reached. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from powerd.names import DEFAULT_HOST, DEFAULT_NAMESPACE, DEFAULT_TAG, Name
from powerd.sources.hub.files import normal_label
from powerd.sources.hub.reference import Reference


def _bartowski(stem: str) -> tuple[str, str]:
    return f"bartowski/{stem}-GGUF", f"{stem}-Q4_K_M.gguf"


#: By model and tag: repository and file. The first tag of a model is what `latest` stands for.
MODELS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "llama3.3": {"70b": _bartowski("Llama-3.3-70B-Instruct")},
    "llama3.2": {"3b": _bartowski("Llama-3.2-3B-Instruct"), "1b": _bartowski("Llama-3.2-1B-Instruct")},
    "llama3.1": {"8b": _bartowski("Meta-Llama-3.1-8B-Instruct"), "70b": _bartowski("Meta-Llama-3.1-70B-Instruct")},
    "llama3": {"8b": _bartowski("Meta-Llama-3-8B-Instruct"), "70b": _bartowski("Meta-Llama-3-70B-Instruct")},
    "llama2": {
        "7b": ("TheBloke/Llama-2-7B-Chat-GGUF", "llama-2-7b-chat.Q4_K_M.gguf"),
        "13b": ("TheBloke/Llama-2-13B-chat-GGUF", "llama-2-13b-chat.Q4_K_M.gguf"),
    },
    "codellama": {"7b": ("TheBloke/CodeLlama-7B-Instruct-GGUF", "codellama-7b-instruct.Q4_K_M.gguf")},
    "tinyllama": {"1.1b": ("TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF", "tinyllama-1.1b-chat-v1.0.Q4_K_M.gguf")},
    "zephyr": {"7b": ("TheBloke/zephyr-7B-beta-GGUF", "zephyr-7b-beta.Q4_K_M.gguf")},
    "qwen3": {
        "8b": _bartowski("Qwen_Qwen3-8B"),
        "0.6b": _bartowski("Qwen_Qwen3-0.6B"),
        "1.7b": _bartowski("Qwen_Qwen3-1.7B"),
        "4b": _bartowski("Qwen_Qwen3-4B"),
        "14b": _bartowski("Qwen_Qwen3-14B"),
        "30b": _bartowski("Qwen_Qwen3-30B-A3B"),
        "32b": _bartowski("Qwen_Qwen3-32B"),
    },
    "qwen2.5": {
        "7b": _bartowski("Qwen2.5-7B-Instruct"),
        "0.5b": _bartowski("Qwen2.5-0.5B-Instruct"),
        "1.5b": _bartowski("Qwen2.5-1.5B-Instruct"),
        "3b": _bartowski("Qwen2.5-3B-Instruct"),
        "14b": _bartowski("Qwen2.5-14B-Instruct"),
        "32b": _bartowski("Qwen2.5-32B-Instruct"),
        "72b": _bartowski("Qwen2.5-72B-Instruct"),
    },
    "qwen2.5-coder": {
        "7b": _bartowski("Qwen2.5-Coder-7B-Instruct"),
        "0.5b": _bartowski("Qwen2.5-Coder-0.5B-Instruct"),
        "1.5b": _bartowski("Qwen2.5-Coder-1.5B-Instruct"),
        "3b": _bartowski("Qwen2.5-Coder-3B-Instruct"),
        "14b": _bartowski("Qwen2.5-Coder-14B-Instruct"),
        "32b": _bartowski("Qwen2.5-Coder-32B-Instruct"),
    },
    "qwq": {"32b": _bartowski("Qwen_QwQ-32B")},
    "deepseek-r1": {
        "7b": _bartowski("DeepSeek-R1-Distill-Qwen-7B"),
        "1.5b": _bartowski("DeepSeek-R1-Distill-Qwen-1.5B"),
        "8b": _bartowski("DeepSeek-R1-Distill-Llama-8B"),
        "14b": _bartowski("DeepSeek-R1-Distill-Qwen-14B"),
        "32b": _bartowski("DeepSeek-R1-Distill-Qwen-32B"),
        "70b": _bartowski("DeepSeek-R1-Distill-Llama-70B"),
    },
    "gemma3": {
        "4b": _bartowski("google_gemma-3-4b-it"),
        "1b": _bartowski("google_gemma-3-1b-it"),
        "12b": _bartowski("google_gemma-3-12b-it"),
        "27b": _bartowski("google_gemma-3-27b-it"),
    },
    "gemma2": {
        "9b": _bartowski("gemma-2-9b-it"),
        "2b": _bartowski("gemma-2-2b-it"),
        "27b": _bartowski("gemma-2-27b-it"),
    },
    "phi4": {"14b": _bartowski("phi-4")},
    "phi4-mini": {"3.8b": _bartowski("microsoft_Phi-4-mini-instruct")},
    "phi3.5": {"3.8b": _bartowski("Phi-3.5-mini-instruct")},
    "mistral": {"7b": _bartowski("Mistral-7B-Instruct-v0.3")},
    "mistral-nemo": {"12b": _bartowski("Mistral-Nemo-Instruct-2407")},
    "mistral-small": {"24b": _bartowski("Mistral-Small-24B-Instruct-2501")},
    "smollm2": {
        "1.7b": _bartowski("SmolLM2-1.7B-Instruct"),
        "135m": _bartowski("SmolLM2-135M-Instruct"),
        "360m": _bartowski("SmolLM2-360M-Instruct"),
    },
    "gpt-oss": {
        "20b": ("ggml-org/gpt-oss-20b-GGUF", "gpt-oss-20b-mxfp4.gguf"),
        "120b": ("ggml-org/gpt-oss-120b-GGUF", "gpt-oss-120b-mxfp4-00001-of-00003.gguf"),
    },
    "nomic-embed-text": {"v1.5": ("nomic-ai/nomic-embed-text-v1.5-GGUF", "nomic-embed-text-v1.5.Q8_0.gguf")},
    "mxbai-embed-large": {"335m": ("mixedbread-ai/mxbai-embed-large-v1", "gguf/mxbai-embed-large-v1-f16.gguf")},
    "all-minilm": {"22m": ("second-state/All-MiniLM-L6-v2-Embedding-GGUF", "all-MiniLM-L6-v2-Q8_0.gguf")},
    "bge-m3": {"567m": ("ggml-org/bge-m3-Q8_0-GGUF", "bge-m3-q8_0.gguf")},
}

#: `3b-instruct-q8_0`: a size, what was done with it, a quantization; each may be left out.
_TAG = re.compile(
    r"(?P<size>[a-z0-9.]*?)(?:-?(?:instruct|it|chat|text))?(?:-(?P<quantization>[a-z]*q[0-9]\w*|b?f16|fp16|mxfp4))?",
    re.ASCII | re.IGNORECASE,
)


def well_known(name: Name) -> Reference | None:
    """The file on the hub that a plain Ollama name stands for; None for names that are not in the list."""
    if name.host.lower() != DEFAULT_HOST or name.namespace.lower() != DEFAULT_NAMESPACE:
        return None
    sizes = MODELS.get(name.model.lower(), {})
    tag = _TAG.fullmatch("" if name.tag == DEFAULT_TAG else name.tag)
    if not sizes or tag is None:
        return None
    found = sizes.get(tag["size"].lower() or next(iter(sizes)))
    if found is None:
        return None
    repo, file = found
    return (
        Reference(repo, quantization=normal_label(tag["quantization"]))
        if tag["quantization"]
        else Reference(repo, path=file)
    )
