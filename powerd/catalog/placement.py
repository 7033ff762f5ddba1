"""The `placement:` field: which accelerators hold a model, and in which shares. Pure."""

from __future__ import annotations

import re
from typing import Any, TypeVar

from powerd.catalog.loader import Block, Items, Node, Scalar
from powerd.catalog.problems import quote
from powerd.catalog.values import Reading, Wrong, found, items, mapping, number, reads, words
from powerd.protocol import Placement

T = TypeVar("T")

#: As engines and drivers write ids: CUDA0, Vulkan1, GPU-3f2a…, 0000:01:00.0.
_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}", re.ASCII)
_MODES = words("layer", "row", "none")


@reads({"type": "string", "pattern": rf"^(?![cC][pP][uU]$){_DEVICE.pattern}$(?!\n)"})
def _device(node: Node, reading: Reading) -> str:
    value = node.value if isinstance(node, Scalar) else None
    if not isinstance(value, str) or not _DEVICE.fullmatch(value):
        hint = "; put it in quotes" if isinstance(value, int | float) else ""
        raise Wrong(node.at, f"must be a device's id as `powerctl doctor` lists them, {found(node)}{hint}")
    if value.lower() == "cpu":
        raise Wrong(node.at, "must be an accelerator; gpu_layers: 0 keeps a model on the processor")
    return value


_LISTED = items(_device)


@reads({**_LISTED.schema, "minItems": 1, "uniqueItems": True})
def _devices(node: Node, reading: Reading) -> tuple[str, ...]:
    listed = tuple(_LISTED(node, reading))
    if isinstance(node, Items) and not node.nodes:
        raise Wrong(node.at, "must name a device; without the line every accelerator is used")
    twice = next((one for index, one in enumerate(listed) if one in listed[:index]), None)
    if twice is not None:
        raise Wrong(node.at, f"must name each device once, but {quote(twice)} is there twice")
    return _whole(listed, node)


@reads({"type": "number", "minimum": 0})
def _share(node: Node, reading: Reading) -> float:
    share: float = number(node, reading)
    if share < 0:
        raise Wrong(node.at, f"must not be negative, {found(node)}")
    return share


_SHARES = items(_share)


@reads({"anyOf": [_MODES.schema, {**_SHARES.schema, "contains": {"exclusiveMinimum": 0}}]})
def _split(node: Node, reading: Reading) -> str | tuple[float, ...]:
    if not isinstance(node, Items):
        mode: str = _MODES(node, reading)
        return mode
    shares = tuple(_SHARES(node, reading))
    if not node.nodes or (shares and not any(shares)):
        raise Wrong(node.at, "must give a device a share above 0")
    return _whole(shares, node)


def _whole(taken: tuple[T, ...], node: Node) -> tuple[T, ...]:
    """The list, unless some of it was refused: then nothing further is to be said of it."""
    return taken if isinstance(node, Items) and len(taken) == len(node.nodes) else ()


_PARTS = mapping({"devices": _devices, "split": _split, "main": _device})

#: Shares need devices, which say whose they are.
_SHARED = {"properties": {"split": {"type": "array"}}, "required": ["split"]}


@reads({**_PARTS.schema, "if": _SHARED, "then": {"required": ["devices"]}})
def placement(node: Node, reading: Reading) -> Placement | None:
    """The placement; None when it says nothing, which stands for whatever the machine has."""
    said: dict[str, Any] = _PARTS(node, reading)
    at = {entry.key: entry.node.at for entry in node.entries} if isinstance(node, Block) else {}
    devices, split, main = said.get("devices", ()), said.get("split", "layer"), said.get("main", "")
    shares = split if isinstance(split, tuple) else ()
    if shares and "devices" not in at:
        reading.within(".split").refuse(at["split"], "in numbers needs devices, which say whose the numbers are")
    elif shares and devices and len(shares) != len(devices):
        wanted = f"must have a number for each of the {len(devices)} devices, not {len(shares)}"
        reading.within(".split").refuse(at["split"], wanted)
    if main and devices and main not in devices:
        reading.within(".main").refuse(at["main"], f"must be one of devices, which {quote(main)} is not")
    placed = Placement(devices=devices, split=shares, mode="layer" if isinstance(split, tuple) else split, main=main)
    return placed if placed != Placement() else None
