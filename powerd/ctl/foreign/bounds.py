"""The numbers that models.yaml takes: what lies outside is told, so that the file is not refused for it. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from powerd.ctl.models_text import Entry

_INT31 = 2**31 - 1
FIELDS: Mapping[str, tuple[float, float]] = {
    "context": (1, _INT31),
    "parallel": (1, 256),
    "threads": (1, 512),
    "batch": (1, 65536),
    "gpu_layers": (0, _INT31),
}
PARAMETERS: Mapping[str, tuple[float, float]] = {
    "temperature": (0, 100),
    "top_k": (-1, _INT31),
    "top_p": (0, 1),
    "min_p": (0, 1),
    "typical_p": (0, 1),
    "repeat_last_n": (-1, _INT31),
    "repeat_penalty": (0, 100),
    "presence_penalty": (-100, 100),
    "frequency_penalty": (-100, 100),
    "mirostat": (0, 2),
    "mirostat_tau": (0, 1000),
    "mirostat_eta": (0, 1000),
    "num_predict": (-2, _INT31),
    "num_keep": (-1, _INT31),
    "thinking_budget": (-1, _INT31),
    "seed": (-(2**63), 2**63 - 1),
}


def prune(entry: Entry) -> None:
    """Take out what would be refused, and say so above the entry."""
    _prune(entry, entry.fields, FIELDS)
    parameters = entry.fields.get("parameters")
    if isinstance(parameters, dict):
        _prune(entry, parameters, PARAMETERS)
        if not parameters:
            del entry.fields["parameters"]


def _prune(entry: Entry, values: dict[str, Any], bounds: Mapping[str, tuple[float, float]]) -> None:
    for name, value in list(values.items()):
        low, high = bounds.get(name, (-math.inf, math.inf))
        if isinstance(value, int | float) and not (math.isfinite(value) and low <= value <= high):
            del values[name]
            entry.notes.append(f"not carried over: {name} {value} (it must be from {low} to {high})")
