"""Ollama's variables: which stand for an option of ours, which say nothing to powerd. Pure (contract section 14)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from powerd.hosts import address, parse
from powerd.quantities import parse_duration

#: OLLAMA_* variables that stand for an option here, by the option's path.
OLLAMA_VARIABLES: Mapping[str, str] = {
    "OLLAMA_HOST": "listen",
    "OLLAMA_MODELS": "store.path",
    "OLLAMA_KEEP_ALIVE": "keep_alive",
    "OLLAMA_LOAD_TIMEOUT": "load_timeout",
    "OLLAMA_CONTEXT_LENGTH": "context_length",
    "OLLAMA_NUM_PARALLEL": "parallel",
    "MAX_CACHE_MODELS": "max_loaded_models",
    "OLLAMA_MAX_LOADED_MODELS": "max_loaded_models",  # after the other server's name for it: the later one wins
    "OLLAMA_MAX_QUEUE": "max_queue",
    "OLLAMA_KV_CACHE_TYPE": "kv_cache",
    "OLLAMA_FLASH_ATTENTION": "flash_attention",
    "OLLAMA_GO_TEMPLATE": "go_templates",
    "OLLAMA_GPU_OVERHEAD": "gpu_overhead",
    "OLLAMA_SCHED_SPREAD": "sched_spread",
    "OLLAMA_ORIGINS": "allowed_origins",
    "OLLAMA_DEBUG": "log.level",
    "OLLAMA_NOPRUNE": "max_delete_fraction",
    "OLLAMA_NUM_GPU": "gpu_layers",
    "MODEL_Q4_THRESHOLD_BYTES": "pull.q4_above",
}

_BUILD = "what llama.cpp can use was decided when it was built; `devices` and `placement` choose among that"
_CLOUD = "powerd runs models on this machine only"
_AGENT = "there is no agent here"
#: Variables that change nothing in powerd, and why; one that is set is named in the log when powerd starts.
MEANINGLESS: Mapping[str, str] = {
    "OLLAMA_AGENT_DISABLE_SHELL": _AGENT,
    "OLLAMA_AGENT_DISABLE_WEBSEARCH": _AGENT,
    "OLLAMA_AUTH": "nothing here is signed for ollama.com but pulls and pushes, which always are",
    "OLLAMA_CLOUD_BASE_URL": _CLOUD,
    "OLLAMA_DEBUG_LOG_REQUESTS": "prompts are never written to disk; `log.level: debug` tells of each request",
    "OLLAMA_EXPERIMENT": "it only makes Ollama log",
    "OLLAMA_IGPU_ENABLE": _BUILD,
    "OLLAMA_LLM_LIBRARY": _BUILD,
    "OLLAMA_MAX_TRANSFER_STREAMS": "it counts transfers of safetensors; `pull.connections` bounds all of powerd's",
    "OLLAMA_MULTIUSER_CACHE": "it chose among Ollama's older runners' caches",
    "OLLAMA_NEW_ENGINE": "there is one engine, llama.cpp",
    "OLLAMA_NO_CLOUD": _CLOUD,
    "OLLAMA_REMOTES": _CLOUD,
    "OLLAMA_TMPDIR": "nothing is put into a temporary directory: what is fetched or made grows in the store",
    "OLLAMA_VULKAN": _BUILD,
    "LLAMA_ARG_FIT": "powerd fits models to the devices itself; see `context_length`, `gpu_layers` and `devices`",
    "MODEL_LOAD_COOLDOWN": "after a failed load each next try waits longer by itself, and the answer says how long",
    "LLAMA_ARG_FIT_TARGET": "`devices.<device>.reserve` and `gpu_overhead` say how much stays free",
}


def without_effect(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """The variables that are set and mean nothing here, with the reason."""
    return [(name, reason) for name, reason in MEANINGLESS.items() if environ.get(name)]


def from_ollama(environ: Mapping[str, str]) -> dict[str, Any]:
    """What the OLLAMA_* variables say, as a settings layer (contract section 14).

    Values are trimmed of spaces and quotes; an integer that is none counts as not set, as it does for Ollama.
    """
    layer: dict[str, Any] = {}
    for variable, path in OLLAMA_VARIABLES.items():
        text = environ.get(variable, "").strip().strip("\"'").strip()
        value = _ollama_value(path, text) if text else None
        if value is not None:
            section, dot, key = path.partition(".")
            layer[section] = {key: value} if dot else value
    return layer


def _ollama_value(path: str, text: str) -> object:
    if path == "listen":
        return ollama_host(text)
    if path == "log.level":
        return "debug" if _true(text) else None
    if path == "sched_spread":
        return _true(text)
    if path == "flash_attention":
        return "auto" if text.lower() == "auto" else "on" if _true(text) else "off"
    if path == "go_templates":
        return "on" if _true(text) else "off"
    if path == "kv_cache":
        return text.lower()
    if path == "load_timeout":
        return _or_none(lambda: max(0.0, _seconds(text)))
    if path == "keep_alive":
        return _or_none(lambda: _seconds(text))
    if path == "max_delete_fraction":
        return 0.0 if _true(text) else None
    if path == "gpu_layers":
        return _or_none(lambda: max(-1, int(text)))
    if path in {"context_length", "parallel", "max_loaded_models", "max_queue", "gpu_overhead", "pull.q4_above"}:
        return _or_none(lambda: max(0, int(text)))
    return text


def _true(text: str) -> bool:
    """As Go's ParseBool, and true for any other text (contract section 14)."""
    return text not in {"0", "f", "F", "false", "FALSE", "False"}


def _or_none(read: Any) -> Any:
    try:
        return read()
    except ValueError:
        return None


def ollama_host(text: str) -> str:
    """OLLAMA_HOST as `host:port` to listen on."""
    host = parse(text)
    return address(host.name or "0.0.0.0", host.port)  # noqa: S104 - `:1234` means every interface, as with Ollama


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return parse_duration(text)
