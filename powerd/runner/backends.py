"""The engine's devices: what there is to compute on, and which of it a load shall use.

`c` is the ctypes layer of llama-cpp-python; its library brings ggml's own functions along, which it does not declare.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from typing import Any

from powerd.jobs import Accelerator
from powerd.protocol import Placement

_KINDS = {1: "gpu", 2: "igpu"}  # ggml_backend_dev_type; the CPU and its helpers (BLAS, AMX) are no places to offload to


class _Properties(ctypes.Structure):
    """ggml_backend_dev_props. Its capabilities are not read: the room for them is larger than they are."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("description", ctypes.c_char_p),
        ("memory_free", ctypes.c_size_t),
        ("memory_total", ctypes.c_size_t),
        ("type", ctypes.c_int),
        ("device_id", ctypes.c_char_p),
        ("capabilities", ctypes.c_uint8 * 64),
    )


class NoSuchDevice(Exception):
    """A placement the engine has no devices for, as a sentence."""


def _all(c: Any) -> Iterator[tuple[int, _Properties]]:
    """Every device's handle and properties."""
    library = c._lib  # the declared interface of llama_cpp ends before ggml's devices
    library.ggml_backend_dev_count.restype = ctypes.c_size_t
    library.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
    library.ggml_backend_dev_get.restype = ctypes.c_void_p
    library.ggml_backend_dev_get_props.argtypes = [ctypes.c_void_p, ctypes.POINTER(_Properties)]
    library.ggml_backend_dev_get_props.restype = None
    for index in range(library.ggml_backend_dev_count()):
        handle = library.ggml_backend_dev_get(index)
        properties = _Properties()
        library.ggml_backend_dev_get_props(handle, ctypes.byref(properties))
        yield handle, properties


def _accelerator(properties: _Properties) -> Accelerator:
    return Accelerator(
        id=(properties.name or b"").decode(errors="replace"),
        kind="gpu" if _KINDS[properties.type] == "gpu" else "igpu",
        name=(properties.description or b"").decode(errors="replace"),
        pci=(properties.device_id or b"").decode(errors="replace"),
        total=properties.memory_total,
        free=properties.memory_free,
    )


def listed(c: Any) -> list[tuple[int, Accelerator]]:
    """The devices a load may use, in the engine's order, each with its handle.

    As llama.cpp chooses by itself: a card that two backends see counts once, and an integrated GPU only where there is
    no other.
    """
    seen = [(handle, _accelerator(properties)) for handle, properties in _all(c) if properties.type in _KINDS]
    if any(accelerator.kind == "gpu" for _, accelerator in seen):
        seen = [(handle, accelerator) for handle, accelerator in seen if accelerator.kind == "gpu"]
    once = {accelerator.pci or accelerator.id: (handle, accelerator) for handle, accelerator in reversed(seen)}
    return list(reversed(once.values()))


def placed(c: Any, placement: Placement) -> tuple[dict[str, object], list[object]]:
    """The fields of the model parameters that make a placement so, and what must live until the load is over.

    Raises NoSuchDevice.
    """
    there = {accelerator.id: handle for handle, accelerator in listed(c)}
    for wanted in (*placement.devices, *filter(None, [placement.main])):
        if wanted not in there:
            raise NoSuchDevice(f"placement names {wanted}; the engine has {', '.join(there) or 'no accelerator'}")
    used = list(placement.devices or there)
    if placement.main and placement.main not in used:
        raise NoSuchDevice(f"placement: main is {placement.main}, which is not among devices: {', '.join(used)}")
    modes = {"layer": c.LLAMA_SPLIT_MODE_LAYER, "row": c.LLAMA_SPLIT_MODE_ROW, "none": c.LLAMA_SPLIT_MODE_NONE}
    fields: dict[str, object] = {"split_mode": modes[placement.mode]}
    if placement.main:
        fields["main_gpu"] = used.index(placement.main)
    alive: list[object] = []
    if placement.devices:
        handles = (ctypes.c_void_p * (len(used) + 1))(*(there[device] for device in used), None)
        fields["devices"] = ctypes.cast(handles, ctypes.c_void_p)
        alive.append(handles)
    if placement.split:
        shares = _shares(c, placement.split, used)
        fields["tensor_split"] = ctypes.cast(shares, ctypes.POINTER(ctypes.c_float))
        alive.append(shares)
    return fields, alive


def _shares(c: Any, split: Sequence[float], used: Sequence[str]) -> Any:
    if len(split) != len(used):
        raise NoSuchDevice(f"placement: split has {len(split)} shares for {len(used)} devices")
    return (ctypes.c_float * max(c.LLAMA_MAX_DEVICES, len(split)))(*split)
