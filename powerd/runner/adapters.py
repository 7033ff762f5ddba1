"""LoRA adapters: loaded with the weights, and applied to a context as each batch asks.

llama.cpp applies a set of adapters to everything a context computes, so a batch holds requests of one set; a second
context has a set of its own. The adapters live and end with the model.
"""

from __future__ import annotations

import ctypes
from collections.abc import Collection
from typing import Any

from powerd.errors import BadRequest

#: An adapter set: digests with scales, in the order of the digests.
AdapterSet = tuple[tuple[str, float], ...]


def refuse_unloaded(wanted: AdapterSet, loaded: Collection[str]) -> None:
    """Raise BadRequest for an adapter that a request names and that is not among the `loaded` digests."""
    for digest, _ in wanted:
        if digest not in loaded:
            raise BadRequest(f"adapter {digest[:12]} is not loaded with this model", "adapters")


class AdapterFailed(Exception):
    """The engine does not take an adapter; the text names its file."""


class Adapters:
    """The adapters of one model. `c` is the ctypes layer of llama-cpp-python."""

    def __init__(self, c: Any, model: Any, files: tuple[tuple[str, str, int], ...]) -> None:
        """Load `files`, which must happen before there is a context. Raises AdapterFailed."""
        self._c = c
        self._loaded: dict[str, Any] = {}
        self._applied: dict[Any, AdapterSet] = {}  # by context
        for digest, path, _ in files:
            adapter = c.llama_adapter_lora_init(model, path.encode())
            if not adapter:
                raise AdapterFailed(path)
            self._loaded[digest] = adapter

    @property
    def digests(self) -> tuple[str, ...]:
        """What is loaded."""
        return tuple(self._loaded)

    def apply(self, context: Any, wanted: AdapterSet) -> bool:
        """Have the next batches of `context` computed with these and no others. False when the engine refuses."""
        if wanted == self._applied.get(context, ()):
            return True
        count = len(wanted)
        adapters = (self._c.llama_adapter_lora_p_ctypes * count)(*(self._loaded[digest] for digest, _ in wanted))
        scales = (ctypes.c_float * count)(*(scale for _, scale in wanted))
        if self._c.llama_set_adapters_lora(context, adapters, count, scales):
            return False
        self._applied[context] = wanted
        return True
