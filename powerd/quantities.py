"""Durations and sizes as people write them (pure).

Durations follow Go's spelling (`1h30m`, `500ms`), which Ollama's clients use, plus days; sizes take decimal (`GB`) and
binary (`GiB`) units.
"""

from __future__ import annotations

import math
import re

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_STEP = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?|\.[0-9]{1,15})(ns|us|µs|ms|s|m|h|d)", re.ASCII)
#: The durations that are not negative, as a regular expression that JavaScript understands as well.
DURATION = rf"(?:[+-]?0|\+?(?:{_STEP.pattern})+|-(?:[0.]*0(?:{'|'.join(_UNITS)}))+)"
_DURATION = re.compile(rf"[+-]?(?:{_STEP.pattern})+", re.ASCII)
_SIZES = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}
_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?([A-Za-z]{0,3})", re.ASCII)


def parse_duration(text: str) -> float:
    """Seconds of `1h30m`-like text; a leading minus gives a negative number.

    Raises ValueError in Go's words: a missing unit is told apart from nonsense.
    """
    stripped = text.strip()
    if stripped in {"0", "+0", "-0"}:
        return 0.0
    if not _DURATION.fullmatch(stripped):
        if re.fullmatch(r"[+-]?[0-9]+(\.[0-9]+)?", stripped, re.ASCII):
            raise ValueError(f'missing unit in duration "{text[:40]}"')
        raise ValueError(f'invalid duration "{text[:40]}"')
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _STEP.findall(stripped))
    return -seconds if stripped.startswith("-") else seconds


def parse_size(text: str) -> int:
    """Bytes of `12GiB`-like text; a bare number is bytes. Raises ValueError."""
    match = _SIZE.fullmatch(text.strip())
    factor = _SIZES.get(match[2].upper()) if match else None
    if match is None or factor is None:
        raise ValueError(f'invalid size "{text[:40]}"; write for example 512MiB or 40GB')
    return math.floor(float(match[1]) * factor) if "." in match[1] else int(match[1]) * factor


def show_bytes(count: float) -> str:
    """`count` bytes in binary units, for messages: `3.2 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
