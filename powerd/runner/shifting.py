"""Whether a sequence can lose what is not at its end. `c` is the ctypes layer of llama-cpp-python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: Quantised keys are stored rotated in blocks of a multiple of this many elements.
_ROTATION = 64


def can_shift(c: Any, model: Any, memory: Any, metadata: Callable[[str], str], kv_cache: str) -> bool:
    """What llama.cpp says, less what it gets wrong, of a model without a recurrent state."""
    return bool(c.llama_memory_can_shift(memory)) and (kv_cache == "f16" or _keys_are_rotated(c, model, metadata))


def _keys_are_rotated(c: Any, model: Any, metadata: Callable[[str], str]) -> bool:
    """Whether quantised keys can be given other positions, which llama.cpp does through their rotation.

    The process dies where there is none (heads that are no multiple of 64 elements), and keys of which only a part
    has a position would be spoilt.
    """
    architecture = metadata("general.architecture")
    heads = max(1, c.llama_model_n_head(model))
    width = metadata(f"{architecture}.attention.key_length") or str(c.llama_model_n_embd(model) // heads)
    positioned = metadata(f"{architecture}.rope.dimension_count") or width
    return positioned == width and width.isdecimal() and int(width) % _ROTATION == 0
