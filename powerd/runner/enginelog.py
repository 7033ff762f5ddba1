"""What llama.cpp's log says about a load: sizes per device, placement, the reason of a failure. Pure.

llama.cpp reports buffer sizes, offloaded layers, devices and errors only as log lines; nothing in its interface gives
them. An unknown wording costs a figure, never a load.
"""

from __future__ import annotations

import re
from collections import deque

INFO, WARN, ERROR = 2, 3, 4

_BUFFER = re.compile(r":\s+(\S+)\s+(?:\S+ )*?buffer size\s*=\s*([\d.]+) MiB")
_OFFLOADED = re.compile(r"offloaded (\d+)/\d+ layers to GPU")
_DEVICE = re.compile(r"using device (\S+) \((.*?)\)")
_FLASH = re.compile(r"Flash Attention enabled|flash_attn\s+= enabled")
_LONGEST = re.compile(r"max token length\s*=\s*(\d+)")
_NO_MEMORY = re.compile(
    r"out of memory|(?:failed|unable) to allocate|bad_alloc|OutOfDeviceMemory|cudaMalloc failed", re.I
)
_PREFIX = re.compile(r"^\w+: (?:error loading model: )?(?:llama_model_loader: )?")
#: What it says after every failed load.
_EMPTY = ("", "failed to load model")
_MIB = 1 << 20
_KEPT = 8


class EngineLog:
    """Collects facts from the lines of one load. Sizes are bytes."""

    def __init__(self) -> None:
        self.gpu_layers = 0
        self.flash_attention = False
        self.longest_token = 0
        self.devices: list[str] = []
        self._buffers: list[tuple[str, int]] = []
        self._errors: deque[str] = deque(maxlen=_KEPT)
        self._warnings: deque[str] = deque(maxlen=_KEPT)

    def feed(self, level: int, line: str) -> None:
        """Take one line in."""
        if level == ERROR:
            self._errors.append(line)
        elif level == WARN:
            self._warnings.append(line)
        elif level == INFO:
            self._facts(line)

    def _facts(self, line: str) -> None:
        if found := _BUFFER.search(line):
            self._buffers.append((found[1], round(float(found[2]) * _MIB)))
        elif found := _OFFLOADED.search(line):
            self.gpu_layers = int(found[1])
        elif found := _DEVICE.search(line):
            self.devices.append(f"{found[1]} ({found[2]})")
        elif found := _LONGEST.search(line):
            self.longest_token = int(found[1])
        elif _FLASH.search(line):
            self.flash_attention = True

    @property
    def size(self) -> int:
        """All buffers together."""
        return sum(size for _, size in self._buffers)

    @property
    def size_gpu(self) -> int:
        """The buffers that lie on accelerators."""
        return sum(size for device, size in self._buffers if not _on_host(device))

    @property
    def out_of_memory(self) -> bool:
        """Whether an allocation failed."""
        return any(_NO_MEMORY.search(line) for line in self._errors)

    def reason(self) -> str:
        """The engine's own last words as one line: its errors, for want of any its warnings."""
        said = [_PREFIX.sub("", line) for line in self._errors or self._warnings]
        return "; ".join(dict.fromkeys(line for line in said if line not in _EMPTY)) or "llama.cpp gave no reason"


def _on_host(device: str) -> bool:
    return device.startswith("CPU") or device.endswith("_Host")
