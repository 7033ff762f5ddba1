"""Ledger: bytes promised to runners, device by device (pure).

A device is known by its id, "cpu" being host memory. One that the ledger was not given has no budget: nothing that
needs a byte of it is ever let in.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from powerd.fleet.budget import HOST
from powerd.protocol import ReadBack

#: Bytes by device id.
Sizes = Mapping[str, int]


class Ledger:
    """Who was promised how much of which device.

    On every device `reserved` passes `budget` only when a runner measured more than it was admitted for, or the budget
    was lowered under it.
    """

    def __init__(self, budgets: Sizes) -> None:
        self._budgets = dict(budgets)
        self._held: dict[int, dict[str, int]] = {}

    @property
    def devices(self) -> tuple[str, ...]:
        """Every device that has a budget or holds something, in the order they became known."""
        holding = (device for held in self._held.values() for device in held)
        return tuple(dict.fromkeys((*self._budgets, *holding)))

    def budget(self, device: str) -> int:
        """Bytes that may be promised on `device`."""
        return self._budgets.get(device, 0)

    def reserved(self, device: str) -> int:
        """Bytes that are promised on `device`."""
        return sum(held.get(device, 0) for held in self._held.values())

    def free(self, device: str) -> int:
        """Bytes of `device` that can still be promised; negative when runners hold more than its budget."""
        return self.budget(device) - self.reserved(device)

    def held(self, runner: int) -> Sizes:
        """What is promised to `runner`."""
        return MappingProxyType(self._held[runner])

    def holders(self) -> set[int]:
        """Every runner with a promise."""
        return set(self._held)

    def fits(self, sizes: Sizes) -> bool:
        """Whether all of `sizes` is free at this moment."""
        return all(size <= self.free(device) for device, size in sizes.items() if size)

    def reserve(self, runner: int, sizes: Sizes) -> None:
        """Promise `sizes`. Raises ValueError when they are not free: callers ask `fits` first."""
        if runner in self._held or not self.fits(sizes):
            raise ValueError(f"{dict(sizes)} bytes for runner {runner} were not free in a ledger with {self._left()}")
        self._held[runner] = dict(sizes)

    def _left(self) -> dict[str, int]:
        return {device: self.free(device) for device in self.devices}

    def resize(self, runner: int, sizes: Sizes) -> None:
        """Set what `runner` really holds."""
        self._held[runner] = dict(sizes)

    def release(self, runner: int) -> None:
        """Take the promise back: its process is gone."""
        del self._held[runner]

    def set_budgets(self, budgets: Sizes) -> None:
        """The devices there are from now on. Promises stand, also on a device that has gone."""
        self._budgets = dict(budgets)


def measured(have: ReadBack) -> dict[str, int]:
    """What a runner was measured to hold: the engine's word for each device, and for the host what the kernel counts.

    Where the kernel does not say what a process is the cause of, the engine's word stands for the host too.
    """
    sizes = {device: share.size for device, share in have.devices.items()}
    told = sizes.get(HOST, 0) if sizes else max(0, have.size - have.size_gpu)
    return sizes | {HOST: have.pss or told or have.rss}


def together(one: Sizes, other: Sizes) -> dict[str, int]:
    """The sum on each device."""
    return {device: one.get(device, 0) + other.get(device, 0) for device in (*one, *other)}


def larger(one: Sizes, other: Sizes) -> dict[str, int]:
    """On each device the larger of both."""
    return {device: max(one.get(device, 0), other.get(device, 0)) for device in (*one, *other)}
