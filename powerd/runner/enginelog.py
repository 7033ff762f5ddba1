"""What llama.cpp's log says about a load: sizes per device, placement, the reason of a failure. Pure.

llama.cpp reports buffer sizes, offloaded layers, cell types and errors only as log lines; nothing in its C interface
gives them. An unknown wording costs a figure, never a load.
"""

from __future__ import annotations

import re
from collections import Counter, deque

DEBUG, INFO, WARN, ERROR = 1, 2, 3, 4
#: The device id of host memory.
HOST = "cpu"

_BUFFER = re.compile(r":\s+(\S+)\s+((?:\S+ )*?)buffer size\s*=\s*([\d.]+) MiB")
_OFFLOADED = re.compile(r"offloaded (\d+)/\d+ layers to GPU")
_DEVICE = re.compile(r"using device (\S+) \((.*?)\)")
_LAYER = re.compile(r"layer\s+(\d+) assigned to device (\S+),")
_FLASH = re.compile(r"Flash Attention (enabled)|flash_attn\s+= (enabled|disabled)")
_CELLS = re.compile(r"\bK \((\w+)\):.*\bV \((\w+)\):")
_LOAD_MODE = re.compile(r"\(load_mode = (\S+)\)")
_LONGEST = re.compile(r"max token length\s*=\s*(\d+)")
_NO_FLASH = re.compile(r"(?:Flash Attention not supported|flash_attn is not compatible|Flash Attention is assigned)")
_UNLOCKED = re.compile(r"failed to mlock (\d+)-byte buffer.*?: (.+)|(mlock not supported)")
_NO_MEMORY = re.compile(
    r"out of memory|(?:failed|unable) to allocate|bad_alloc|OutOfDeviceMemory|cudaMalloc failed", re.I
)
_PREFIX = re.compile(r"^\w+: (?:error loading model: )?(?:llama_model_loader: )?")
#: What follows a device's id in the name of a buffer on it.
_SUFFIX = re.compile(r"_(?:Mapped|Private|Shared|Split)$")
#: What it says after every failed load.
_EMPTY = ("", "failed to load model")
#: llama.cpp's load modes in the words of a deployment.
_MODES = {"none": "read", "mmap": "mmap", "mlock": "mlock", "mmap+mlock": "mlock"}
_MIB = 1 << 20
_KEPT = 8


class EngineLog:
    """Collects facts from the lines of one load. Sizes are bytes."""

    def __init__(self) -> None:
        self.gpu_layers = 0
        self.flash_attention = False
        self.longest_token = 0
        self.load_mode = ""
        self.kv_cache = ""  # "" while it made no cells; two types where keys and values differ
        self.unlocked = ""  # what it could not lock in memory, and why
        self.without_flash = ""  # why it does without flash attention
        self.made = False  # the context is there: buffers made from here on replace those it was made with
        self.reserving = False  # it allocates its compute buffers at this moment
        self.devices: list[str] = []
        self._assigned: dict[int, str] = {}  # by layer; the one after the last is the output layer
        self._buffers: list[tuple[str, str, int]] = []  # device, what for, size
        self._errors: deque[str] = deque(maxlen=_KEPT)
        self._warnings: deque[str] = deque(maxlen=_KEPT)

    def feed(self, level: int, line: str) -> None:
        """Take one line in."""
        if level == DEBUG:
            self._details(line)
        elif level == ERROR:
            self._errors.append(line)
        elif level == WARN:
            self._warnings.append(line)
            self._shortfalls(line)
        elif level == INFO:
            self._facts(line)

    def _details(self, line: str) -> None:
        if line.startswith("graph_reserve: reserving"):
            self.reserving = True
        elif line.startswith("load_tensors: layer") and (found := _LAYER.search(line)):
            self._assigned[int(found[1])] = device_of(found[2])

    def _shortfalls(self, line: str) -> None:
        if found := _UNLOCKED.search(line):
            self.unlocked = f"{found[1]} bytes: {found[2]}" if found[1] else found[3]
        elif _NO_FLASH.search(line):
            self.without_flash = self.without_flash or _PREFIX.sub("", line)

    def _facts(self, line: str) -> None:
        if found := _BUFFER.search(line):
            self.reserving = False
            if not self.made:
                self._buffers.append((device_of(found[1]), found[2].strip(), round(float(found[3]) * _MIB)))
        elif found := _OFFLOADED.search(line):
            self.gpu_layers = int(found[1])
        elif found := _DEVICE.search(line):
            self.devices.append(f"{found[1]} ({found[2]})")
        elif found := _LONGEST.search(line):
            self.longest_token = int(found[1])
        elif found := _FLASH.search(line):
            self.flash_attention = "enabled" in found.groups()
        elif found := _CELLS.search(line):
            self.kv_cache = found[1] if found[1] == found[2] else f"{found[1]}/{found[2]}"
        elif found := _LOAD_MODE.search(line):
            self.load_mode = _MODES.get(found[1], found[1])

    @property
    def size(self) -> int:
        """All buffers together."""
        return sum(size for _, _, size in self._buffers)

    @property
    def size_gpu(self) -> int:
        """The buffers that lie on accelerators."""
        return sum(size for device, _, size in self._buffers if device != HOST)

    def sizes(self, *kinds: str) -> dict[str, int]:
        """Bytes by device: of all buffers, or of those for `kinds` (model, KV, RS, compute, output)."""
        sums: Counter[str] = Counter()
        for device, kind, size in self._buffers:
            if not kinds or kind in kinds:
                sums[device] += size
        return dict(sums)

    def layers(self, count: int) -> dict[str, int]:
        """How many of the model's `count` repeating layers each device holds."""
        return dict(Counter(device for layer, device in self._assigned.items() if layer < count))

    @property
    def out_of_memory(self) -> bool:
        """Whether an allocation failed."""
        return any(_NO_MEMORY.search(line) for line in self._errors)

    def reason(self) -> str:
        """The engine's own last words as one line: its errors, for want of any its warnings."""
        said = [_PREFIX.sub("", line) for line in self._errors or self._warnings]
        return "; ".join(dict.fromkeys(line for line in said if line not in _EMPTY)) or "llama.cpp gave no reason"


def device_of(buffer: str) -> str:
    """The device a buffer of this name lies on: `CUDA0` for CUDA0, `cpu` for CPU_Mapped, CUDA_Host and AMX."""
    if buffer.startswith(("CPU", "AMX")) or buffer.endswith("_Host"):
        return HOST
    return _SUFFIX.sub("", buffer)
