"""Options: Ollama's names for how a model samples and runs, their types and ranges (contract section 5).

The same table judges a request's `options`, a `parameters:` block of models.yaml and a stored `params` layer.
Wrong types are BadRequest with Ollama's text; numbers outside their range name the range. A null leaves the value
as it was; an integer may be written as an integral float. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import msgspec

from powerd.errors import BadRequest
from powerd.protocol import Sampling

MAX_STOPS = 64
MAX_STOP_BYTES = 256


@dataclass(frozen=True, slots=True)
class Option:
    """One option: its type as Ollama names it, and the inclusive range of the numbers that make sense."""

    kind: type
    low: float = -math.inf
    high: float = math.inf


_INT31 = 2**31 - 1
_SAMPLING = {
    "temperature": Option(float, 0, 100),
    "top_k": Option(int, -1, _INT31),
    "top_p": Option(float, 0, 1),
    "min_p": Option(float, 0, 1),
    "typical_p": Option(float, 0, 1),
    "repeat_last_n": Option(int, -1, _INT31),
    "repeat_penalty": Option(float, 0, 100),
    "presence_penalty": Option(float, -100, 100),
    "frequency_penalty": Option(float, -100, 100),
    "penalize_newline": Option(bool),
    "mirostat": Option(int, 0, 2),
    "mirostat_tau": Option(float, 0, 1000),
    "mirostat_eta": Option(float, 0, 1000),
    "seed": Option(int, -(2**63), 2**63 - 1),
}
_ANSWER = {
    "num_predict": Option(int, -2, _INT31),
    "num_keep": Option(int, -1, _INT31),
    "thinking_budget": Option(int, -1, _INT31),
    "stop": Option(list),
}
#: Options that shape the process, and the models.yaml field that stands for each (None: there is none).
RUNNER_FIELDS: Mapping[str, str | None] = MappingProxyType(
    {
        "num_ctx": "context",
        "num_gpu": "gpu_layers",
        "num_thread": "threads",
        "num_batch": "batch",
        "main_gpu": "placement",
        "use_mmap": "load_mode",
        "use_mlock": "load_mode",
        "low_vram": None,
        "f16_kv": "kv_cache",
        "numa": None,
        "vocab_only": None,
        "logits_all": None,
    }
)
_RUNNER = {
    "num_ctx": Option(int, 1, _INT31),
    "num_gpu": Option(int, -1, _INT31),
    "num_thread": Option(int, 0, 4096),
    "num_batch": Option(int, 1, _INT31),
    "main_gpu": Option(int, -1, 255),
    "use_mmap": Option(bool),
    "use_mlock": Option(bool),
    "low_vram": Option(bool),
    "f16_kv": Option(bool),
    "numa": Option(bool),
    "vocab_only": Option(bool),
    "logits_all": Option(bool),
}
#: Options of older and other servers that no request can choose here, and why: taken in any type, named in a header.
GONE: Mapping[str, str] = MappingProxyType(
    {
        "tfs_z": "llama.cpp has no tail-free sampling any more",
        "num_gqa": "the GGUF says it",
        "rope_frequency_base": "the GGUF says it",
        "rope_frequency_scale": "the GGUF says it",
        "embedding_only": "whether a model makes vectors is in its GGUF",
        "draft_num_predict": "draft models are not used yet",
        "flash_attention": "`flash_attention` in models.yaml decides",
        "num_thread_batch": "`threads` in models.yaml counts them",
    }
)
#: What `parameters:` in models.yaml may hold.
SAMPLING_OPTIONS: Mapping[str, Option] = MappingProxyType(_SAMPLING | _ANSWER)
ALL_OPTIONS: Mapping[str, Option] = MappingProxyType(_SAMPLING | _ANSWER | _RUNNER)
#: Runner options a request may carry and powerd does not act on; answered in a header, refused where a model says so.
UNUSED_IN_REQUESTS = frozenset(_RUNNER) - {"num_ctx"}

_TYPE_TEXT = {float: "float32", int: "integer", bool: "boolean"}


class Options(msgspec.Struct, frozen=True):
    """Everything a request's options come to once all layers are merged."""

    sampling: Sampling = Sampling()
    num_predict: int = -1
    num_keep: int = 4
    thinking_budget: int = -1  # tokens of thinking; negative = no limit. Ours: Ollama has no such option
    stop: tuple[str, ...] = ()
    num_ctx: int | None = None
    unused: tuple[str, ...] = ()  # runner options named by the request, without effect here
    gone: tuple[str, ...] = ()  # options of older Ollamas among the request's


def check(values: Mapping[str, Any]) -> dict[str, Any]:
    """The known options of `values`, typed and within range; unknown names and nulls are left out.

    Raises BadRequest naming the option.
    """
    checked = {}
    for name, value in values.items():
        option = ALL_OPTIONS.get(name)
        if option is not None and value is not None:
            checked[name] = _stops(value) if option.kind is list else _scalar(name, option, value)
    return checked


def _scalar(name: str, option: Option, value: Any) -> Any:
    kind = option.kind
    if not isinstance(value, bool if kind is bool else int | float) or (kind is not bool and isinstance(value, bool)):
        raise BadRequest(f'option "{name}" must be of type {_TYPE_TEXT[kind]}', f"options.{name}")
    if kind is bool:
        return value
    number = _number(name, kind, value)
    if not option.low <= number <= option.high:
        raise BadRequest(
            f'option "{name}" must be between {option.low:.15g} and {option.high:.15g}, not {value}', f"options.{name}"
        )
    return number


def _number(name: str, kind: type, value: int | float) -> int | float:
    """`value` as `kind`; Ollama cuts the fraction off a float given for an integer."""
    try:
        number = kind(value)
    except (OverflowError, ValueError):
        number = math.nan
    if isinstance(number, float) and not math.isfinite(number):
        raise BadRequest(f'option "{name}" must be a finite number', f"options.{name}")
    return number  # type: ignore[no-any-return]


def _stops(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise BadRequest('option "stop" must be of type array', "options.stop")
    if not all(isinstance(item, str) for item in value):
        raise BadRequest('option "stop" must be of an array of strings', "options.stop")
    try:
        longest = max((len(item.encode()) for item in value), default=0)
    except UnicodeEncodeError:
        raise BadRequest('option "stop" holds a lone surrogate, which is not a character', "options.stop") from None
    if len(value) > MAX_STOPS or longest > MAX_STOP_BYTES:
        raise BadRequest(
            f'option "stop" takes at most {MAX_STOPS} strings of {MAX_STOP_BYTES} bytes each', "options.stop"
        )
    return tuple(item for item in value if item)


def merge(*layers: Mapping[str, Any]) -> Options:
    """Fold checked layers, later ones winning, over Ollama's defaults.

    `unused` and `gone` name the options of the last layer (the request's) that have no effect.
    """
    values: dict[str, Any] = {}
    for layer in layers:
        values |= check(layer)
    last = layers[-1] if layers else {}
    return Options(
        sampling=Sampling(**{name: values[name] for name in _SAMPLING if name in values}),
        num_predict=values.get("num_predict", -1),
        num_keep=values.get("num_keep", 4),
        thinking_budget=values.get("thinking_budget", -1),
        stop=values.get("stop", ()),
        num_ctx=values.get("num_ctx"),
        unused=_named(last, UNUSED_IN_REQUESTS),
        gone=_named(last, GONE),
    )


def _named(layer: Mapping[str, Any], names: Collection[str]) -> tuple[str, ...]:
    return tuple(sorted(name for name in layer if name in names and layer[name] is not None))
