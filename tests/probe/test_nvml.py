"""NVIDIA's library, scripted: cards by PCI id, and every way in which it fails."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from powerd.jobs import Accelerator
from powerd.probe.nvml import Card, cards, refined

GIB = 1 << 30


class Scripted(ModuleType):
    """pynvml with two cards, in another order than the engine's; the last of `broken` fail."""

    def __init__(self, *, broken: int = 0, driver: bool = True) -> None:
        super().__init__("pynvml")
        self.open = 0
        self._working = 2 - broken
        self._driver = driver

    def nvmlInit(self) -> None:
        if not self._driver:
            raise RuntimeError("Driver Not Loaded")
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        if index >= self._working:
            raise RuntimeError("GPU is lost")
        return index

    def nvmlDeviceGetPciInfo(self, handle: int) -> Any:
        return SimpleNamespace(busId=(b"00000000:C1:00.0", "00000000:02:00.0")[handle])

    def nvmlDeviceGetUUID(self, handle: int) -> str | bytes:
        return ("GPU-c1", b"GPU-02")[handle]

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        return SimpleNamespace(total=(80, 24)[handle] * GIB, free=(70, 20)[handle] * GIB)


def scripted(monkeypatch: pytest.MonkeyPatch, **how: Any) -> Scripted:
    module = Scripted(**how)
    monkeypatch.setitem(sys.modules, "pynvml", module)
    return module


def test_cards_are_told_by_pci_id(monkeypatch: pytest.MonkeyPatch) -> None:
    module = scripted(monkeypatch)
    assert cards() == [
        Card("0000:c1:00.0", "GPU-c1", 80 * GIB, 70 * GIB),
        Card("0000:02:00.0", "GPU-02", 24 * GIB, 20 * GIB),
    ]
    assert module.open == 0


def test_x06_a_card_that_is_lost_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, broken=1)
    assert [card.uuid for card in cards()] == ["GPU-c1"]


def test_without_driver_or_library_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, driver=False)
    assert cards() == []
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert cards() == []


def test_the_engines_devices_get_what_their_cards_are_known_by() -> None:
    listed = [
        Accelerator("CUDA0", "gpu", "A", "0000:02:00.0", total=23 * GIB, free=1),
        Accelerator("CUDA1", "gpu", "B", "0000:c1:00.0", total=79 * GIB, free=2),
        Accelerator("Vulkan2", "gpu", "C", "", total=8 * GIB, free=3),
    ]
    known = [Card("0000:c1:00.0", "GPU-c1", 80 * GIB, 70 * GIB), Card("0000:02:00.0", "GPU-02", 24 * GIB, 20 * GIB)]
    first, second, third = refined(listed, known)
    assert (first.uuid, first.total, first.free) == ("GPU-02", 24 * GIB, 20 * GIB)
    assert (second.uuid, second.free) == ("GPU-c1", 70 * GIB)
    assert third == listed[2]
