"""Which devices a load may use, against an engine made up for the purpose."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any

import pytest

from powerd.protocol import Placement
from powerd.runner.backends import NoSuchDevice, _Properties, listed, placed

CPU, GPU, IGPU = 0, 1, 2
GIB = 1 << 30


class Function:
    """A foreign function as ctypes has them: it can be called, and told its types."""

    def __init__(self, does: Any) -> None:
        self.does = does

    def __call__(self, *arguments: Any) -> Any:
        return self.does(*arguments)


def engine(*devices: tuple[str, int, str]) -> Any:
    """An engine with these devices: name, kind, PCI id. Handles count from 100."""

    texts = [(name.encode(), pci.encode() or None) for name, _, pci in devices]  # their memory is the engine's

    def properties(handle: int, reference: Any) -> None:
        target = ctypes.cast(reference, ctypes.POINTER(_Properties)).contents
        target.name, target.device_id = texts[handle - 100]
        target.description, target.type = b"a device", devices[handle - 100][1]
        target.memory_total, target.memory_free = 8 * GIB, 6 * GIB

    library = SimpleNamespace(
        ggml_backend_dev_count=Function(lambda: len(devices)),
        ggml_backend_dev_get=Function(lambda index: 100 + index),
        ggml_backend_dev_get_props=Function(properties),
    )
    modes = {"LLAMA_SPLIT_MODE_NONE": 0, "LLAMA_SPLIT_MODE_LAYER": 1, "LLAMA_SPLIT_MODE_ROW": 2}
    return SimpleNamespace(_lib=library, LLAMA_MAX_DEVICES=16, **modes)


TWO = engine(("CPU", CPU, ""), ("CUDA0", GPU, "0000:01:00.0"), ("CUDA1", GPU, "0000:02:00.0"))


def ids(c: Any) -> list[str]:
    return [accelerator.id for _, accelerator in listed(c)]


def test_the_cpu_is_no_accelerator() -> None:
    assert listed(engine(("CPU", CPU, ""))) == []


def test_devices_are_told_with_what_they_have() -> None:
    (handle, first), _ = listed(TWO)
    assert (handle, first.id, first.kind, first.pci) == (101, "CUDA0", "gpu", "0000:01:00.0")
    assert (first.total, first.free) == (8 * GIB, 6 * GIB)


def test_a_card_that_two_backends_see_counts_once() -> None:
    same = ("CUDA0", GPU, "0000:01:00.0"), ("Vulkan0", GPU, "0000:01:00.0"), ("Vulkan1", GPU, "0000:09:00.0")
    assert ids(engine(*same)) == ["CUDA0", "Vulkan1"]


def test_an_integrated_one_counts_only_by_itself() -> None:
    assert ids(engine(("Vulkan0", IGPU, "0000:00:02.0"), ("CUDA0", GPU, "0000:01:00.0"))) == ["CUDA0"]
    assert ids(engine(("CPU", CPU, ""), ("Vulkan0", IGPU, ""))) == ["Vulkan0"]


def test_no_placement_leaves_the_choice_to_the_engine() -> None:
    fields, _ = placed(TWO, Placement())
    assert fields == {"split_mode": 1}


def test_devices_are_handed_over_in_the_order_asked_for_with_their_shares() -> None:
    fields, alive = placed(TWO, Placement(devices=("CUDA1", "CUDA0"), split=(3.0, 1.0), mode="row", main="CUDA0"))
    handles, shares = alive
    assert list(handles) == [102, 101, None]  # type: ignore[call-overload]  # a ctypes array
    assert list(shares)[:3] == [3.0, 1.0, 0.0]  # type: ignore[call-overload]  # a ctypes array
    assert (fields["split_mode"], fields["main_gpu"]) == (2, 1)


def test_the_main_device_is_counted_among_all_where_none_are_named() -> None:
    assert placed(TWO, Placement(mode="none", main="CUDA1"))[0] == {"split_mode": 0, "main_gpu": 1}


@pytest.mark.parametrize(
    ("placement", "words"),
    [
        (Placement(devices=("CUDA7",)), "placement names CUDA7; the engine has CUDA0, CUDA1"),
        (Placement(main="GPU-abc"), "placement names GPU-abc; the engine has CUDA0, CUDA1"),
        (Placement(devices=("CUDA0",), main="CUDA1"), "main is CUDA1, which is not among devices: CUDA0"),
        (Placement(split=(1.0,)), "split has 1 shares for 2 devices"),
    ],
)
def test_what_the_engine_does_not_have_is_refused(placement: Placement, words: str) -> None:
    with pytest.raises(NoSuchDevice, match=words):
        placed(TWO, placement)
