"""Progress of a quantization, from the engine's log lines (pure)."""

from __future__ import annotations

import re
from collections.abc import Callable

from powerd.runner.enginelog import EngineLog

_TENSOR = re.compile(r"\[\s*\d+/\s*\d+\]\s+(\S+)\s+- \[")


class TensorLog(EngineLog):
    """Calls `on_tensor` with the name of each tensor as its work begins."""

    def __init__(self, on_tensor: Callable[[str], None]) -> None:
        super().__init__()
        self._on_tensor = on_tensor

    def feed(self, level: int, line: str) -> None:
        """Take one line in."""
        found = _TENSOR.match(line)
        if found:
            self._on_tensor(found[1])
        else:
            super().feed(level, line)
