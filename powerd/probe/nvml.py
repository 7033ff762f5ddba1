"""NVIDIA's management library, where nvidia-ml-py is installed: what the engine's device list does not tell."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import msgspec

from powerd.jobs import Accelerator


class Card(NamedTuple):
    """One card as NVML knows it. Sizes are bytes."""

    pci: str
    uuid: str
    total: int
    free: int


def cards() -> list[Card]:
    """Every NVIDIA card; none where the library or the driver is missing or fails."""
    try:
        nvml = importlib.import_module("pynvml")
    except (ImportError, OSError):
        return []
    found = []
    with suppress(Exception), _session(nvml):  # whatever it raises: it only refines
        for index in range(nvml.nvmlDeviceGetCount()):
            with suppress(Exception):  # one card that has fallen off the bus
                found.append(_card(nvml, nvml.nvmlDeviceGetHandleByIndex(index)))
    return found


def refined(accelerators: Sequence[Accelerator], known: Sequence[Card]) -> tuple[Accelerator, ...]:
    """The devices with what their cards are known by; matched by PCI id, for NVML counts in another order."""
    by_pci = {card.pci: card for card in known}
    return tuple(_with(each, by_pci.get(_short(each.pci))) for each in accelerators)


def _with(accelerator: Accelerator, card: Card | None) -> Accelerator:
    if card is None:
        return accelerator
    return msgspec.structs.replace(accelerator, uuid=card.uuid, total=card.total, free=card.free)


@contextmanager
def _session(nvml: Any) -> Iterator[None]:
    nvml.nvmlInit()
    try:
        yield
    finally:
        nvml.nvmlShutdown()


def _card(nvml: Any, handle: Any) -> Card:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    pci = _text(nvml.nvmlDeviceGetPciInfo(handle).busId)
    return Card(_short(pci), _text(nvml.nvmlDeviceGetUUID(handle)), int(memory.total), int(memory.free))


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _short(pci: str) -> str:
    """`0000:c1:00.0`, also of NVML's `00000000:C1:00.0`."""
    domain, _, rest = pci.lower().partition(":")
    return f"{domain[-4:]}:{rest}" if rest else ""
