"""Memory arithmetic: what a deployment will need, and a ledger that never promises more than there is (pure)."""

from __future__ import annotations

from dataclasses import dataclass

from powerd.protocol import Deployment

#: Rows llama.cpp computes at once; its buffers are sized for a full batch of them.
UBATCH = 512
#: Bytes per cell element, as numerator and denominator: q8_0 stores 32 elements in 34 bytes, q4_0 in 18.
_ELEMENT = {"f16": (2, 1), "q8_0": (34, 32), "q4_0": (18, 32)}
#: Resident bytes of a runner before it has loaded anything (interpreter, libraries), and per entry of the vocabulary.
PROCESS_BYTES = 64 * 1024 * 1024
_BYTES_PER_WORD = 256
#: float32 activations alive at once during one batch, in multiples of the embedding width.
_WIDTHS = 16
#: Bytes of the attention mask per cell and row of a batch (f16).
_MASK = 2


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bytes a deployment will hold in memory."""

    weights: int
    cells: int
    compute: int

    @property
    def total(self) -> int:
        """All of it together."""
        return self.weights + self.cells + self.compute


def estimate(deployment: Deployment) -> Estimate:
    """Foretell a deployment's memory from its header.

    Cells: one row of keys and values per token of every sequence. Compute: the attention mask and the activations of
    one full batch, a row of float32 logits per sequence and one to spare, the vocabulary and the process itself.
    Measured on llama.cpp 0.5.0 with flash attention, from 3 MB to 110 MB of weights: within 0 to 20 % above what is
    resident, and up to 40 MiB above it for the smallest models.
    """
    shape = deployment.shape
    numerator, denominator = _ELEMENT[deployment.kv_cache]
    count = deployment.context * deployment.parallel
    batch = UBATCH * (_MASK * count + 4 * shape.embedding * _WIDTHS)
    vocabulary = shape.vocab * (4 * (deployment.parallel + 1) + _BYTES_PER_WORD)
    return Estimate(
        weights=shape.weights_bytes,
        cells=count * shape.kv_width * numerator // denominator,
        compute=batch + vocabulary + PROCESS_BYTES,
    )


class Ledger:
    """Bytes promised to runners on one device.

    `reserved` passes `budget` only when a runner measured more than it was admitted for.
    """

    def __init__(self, device: str, budget: int) -> None:
        self.device = device
        self.budget = budget
        self.reserved = 0
        self._held: dict[int, int] = {}

    @property
    def free(self) -> int:
        """Bytes that can still be promised; negative when runners hold more than they were admitted for."""
        return self.budget - self.reserved

    def held(self, runner: int) -> int:
        """Bytes promised to `runner`."""
        return self._held[runner]

    def holders(self) -> set[int]:
        """Every runner with a promise."""
        return set(self._held)

    def reserve(self, runner: int, size: int) -> None:
        """Promise `size` bytes. Raises ValueError when they are not free: callers ask `free` first."""
        if size > self.free or runner in self._held:
            raise ValueError(f"{size} bytes for runner {runner} were not free in a ledger with {self.free} left")
        self._held[runner] = size
        self.reserved += size

    def resize(self, runner: int, size: int) -> None:
        """Set what `runner` really holds."""
        self.reserved += size - self._held[runner]
        self._held[runner] = size

    def release(self, runner: int) -> None:
        """Take the promise back: its process is gone."""
        self.reserved -= self._held.pop(runner)
