"""MXFP4, in which GPT-OSS comes: blocks of 32 numbers of four bits and a power of two (OCP Microscaling Formats 1.0).

A checkpoint has the four bits of neighbours in one byte, and the powers in a tensor of their own. ggml has the power
first and then, in each byte, the four bits of a number of the first half of the block and of one of the second half.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from powerd.convert.checkpoint import Weight
from powerd.errors import BadRequest

#: The type of a `Weight` whose two arrays are the blocks (experts, rows, blocks, 16) and the powers of two.
MXFP4 = "MXFP4"
BLOCK_VALUES = 32
BLOCK_BYTES = 17
_BLOCKS, _SCALES = "_blocks", "_scales"


def paired(weights: Iterable[Weight]) -> list[Weight]:
    """The same, with blocks and their powers as one tensor. Raises BadRequest where they do not fit together."""
    by_name = {weight.name: weight for weight in weights}
    found = []
    for name, weight in by_name.items():
        if name.endswith(_BLOCKS) and weight.dtype == "U8":
            found.append(_pair(weight, by_name.get(name.removesuffix(_BLOCKS) + _SCALES)))
        elif not (name.endswith(_SCALES) and name.removesuffix(_SCALES) + _BLOCKS in by_name):
            found.append(weight)
    return found


def _pair(blocks: Weight, scales: Weight | None) -> Weight:
    shape = blocks.shape
    if scales is None or scales.dtype != "U8" or (*scales.shape, BLOCK_VALUES // 2) != shape or len(shape) != 4:
        raise BadRequest(f"{blocks.file}: tensor {blocks.name} and its scales do not fit together", "files")
    arrays = (blocks.arrays[0], scales.arrays[0])
    name = blocks.name.removesuffix(_BLOCKS)
    return replace(blocks, name=name, dtype=MXFP4, shape=(*shape[:2], shape[2] * BLOCK_VALUES), arrays=arrays)


def every_other(weight: Weight, name: str, first: int) -> Weight:
    """Of the rows of each expert every second one, beginning with `first`, under a name of its own."""
    arrays = tuple(array[:, first::2] for array in weight.arrays)
    if weight.shape[1] % 2:
        raise BadRequest(f"{weight.file}: tensor {weight.name} has an odd number of rows", "files")
    shape = (weight.shape[0], weight.shape[1] // 2, *weight.shape[2:])
    return replace(weight, name=name, shape=shape, arrays=arrays)


def repacked(blocks: Any, scales: Any) -> Iterator[bytes]:
    """The bytes that ggml wants, one expert at a time."""
    for pairs, powers in zip(blocks, scales, strict=True):
        numbers = np.stack([pairs & 0x0F, pairs >> 4], axis=-1).reshape(*powers.shape, BLOCK_VALUES)
        halves = numbers[..., : BLOCK_VALUES // 2] | (numbers[..., BLOCK_VALUES // 2 :] << 4)
        yield np.concatenate([powers[..., None], halves], axis=-1).tobytes()
