"""What of a checkpoint becomes which tensor of the GGUF: its name there, its type, and the order of its rows."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gguf
import numpy as np

from powerd.convert.checkpoint import Weight
from powerd.convert.mxfp4 import BLOCK_BYTES, BLOCK_VALUES, MXFP4, paired
from powerd.errors import BadRequest

KINDS = gguf.GGMLQuantizationType
#: A matrix stays what it is; a float32 one becomes a float16 one (docs/convert.md says why).
_MATRICES = {"BF16": KINDS.BF16, "F16": KINDS.F16, "F32": KINDS.F16, MXFP4: KINDS.MXFP4}
#: Matrices that llama.cpp reads as float32 only, or that are too small and too touchy for less.
_FULL = ("ffn_gate_inp.weight", "position_embd.weight", "token_types.weight")
_EXPERT = re.compile(r"(.*\.experts)\.(\d+)\.(w1|w2|w3|gate_proj|up_proj|down_proj)\.weight")
_LAYER = re.compile(r"blk\.(\d+)\.(.+)")
#: Left by older versions of transformers; llama.cpp computes them.
_COMPUTED = (".rotary_emb.inv_freq", ".attention.masked_bias", ".attention.bias", "embeddings.position_ids")
#: GGML_MAX_NAME without its terminating NUL.
MAX_NAME = 63

Rewrite = Callable[[Weight], Iterable[Weight]]


@dataclass(frozen=True)
class Planned:
    """A tensor of the GGUF: `shape` as numpy orders it, written as `kind`."""

    name: str
    kind: Any
    weight: Weight

    @property
    def size(self) -> int:
        """Bytes in the file."""
        count = math.prod(self.weight.shape)
        if self.kind == KINDS.MXFP4:
            return count // BLOCK_VALUES * BLOCK_BYTES
        return count * (4 if self.kind == KINDS.F32 else 2)


def plan(
    weights: Mapping[str, Weight], architecture: Any, layers: int, rewrite: Rewrite, dropped: Sequence[str] = ()
) -> list[Planned]:
    """The GGUF's tensors, in the order of the checkpoint. Raises BadRequest for a tensor that has no place in it.

    `dropped` are names, or beginnings of names, that the architecture does without.
    """
    names = gguf.get_tensor_name_map(architecture, layers)
    kept = [
        weight
        for name, weight in weights.items()
        if not name.endswith(_COMPUTED) and not name.startswith(tuple(dropped))
    ]
    rewritten = [part for weight in stacked(paired(kept)) for part in rewrite(weight)]
    planned = [_planned(named(names, weight, architecture), weight) for weight in rewritten]
    _check(planned, layers)
    return planned


def named(names: Any, weight: Weight, architecture: Any) -> str:
    """The name that the GGUF knows `weight` by. Raises BadRequest where it knows none."""
    name = names.get_name(weight.name, try_suffixes=(".weight", ".bias"))
    if name is None:
        raise BadRequest(
            f"{weight.file}: tensor {weight.name[:100]} is not one that llama.cpp's architecture "
            f"{gguf.MODEL_ARCH_NAMES[architecture]} has a place for",
            "files",
        )
    return str(name)


def permuted(weight: Weight, heads: int) -> Weight:
    """Rows of queries or keys in llama.cpp's order.

    transformers rotates the first half of a head against its second half, llama.cpp's `llama` architecture each row
    against the next one: row i and row i + half become neighbours.
    """
    (array,) = weight.arrays
    rows = weight.shape[0]
    if rows % (2 * heads):
        raise BadRequest(
            f"{weight.file}: tensor {weight.name} has {rows} rows, which {heads} heads cannot share", "files"
        )
    halves = array.reshape(heads, 2, rows // heads // 2, *weight.shape[1:])
    return replace(weight, arrays=(halves.swapaxes(1, 2),))


def part(weight: Weight, name: str, array: Any) -> Weight:
    """A piece of `weight`: the view `array` of its values, under a name of its own."""
    return replace(weight, name=name, shape=tuple(array.shape), arrays=(array,))


def stacked(weights: Iterable[Weight]) -> list[Weight]:
    """The same, with the matrices of the experts of a layer as one tensor. Raises BadRequest where one is missing."""
    together: list[Weight] = []
    experts: dict[str, dict[int, Weight]] = defaultdict(dict)
    for weight in weights:
        found = _EXPERT.fullmatch(weight.name)
        if found is None:
            together.append(weight)
        else:
            experts[f"{found[1]}.{found[3]}.weight"][int(found[2])] = weight
    return together + [_stack(name, group) for name, group in experts.items()]


def _stack(name: str, group: dict[int, Weight]) -> Weight:
    first = group.get(0)
    for number in range(len(group)):
        weight = group.get(number)
        if first is None or weight is None or (weight.shape, weight.dtype) != (first.shape, first.dtype):
            raise BadRequest(f"{name}: expert {number} is missing, or of another shape than expert 0", "files")
    assert first is not None
    arrays = tuple(array for number in range(len(group)) for array in group[number].arrays)
    return replace(first, name=name, shape=(len(group), *first.shape), arrays=arrays)


def _planned(name: str, weight: Weight) -> Planned:
    if weight.dtype not in _MATRICES:
        raise BadRequest(
            f"{weight.file}: tensor {weight.name[:100]} is of type {weight.dtype}; checkpoints in BF16, F16 or F32 are "
            "converted, quantized ones are not",
            "files",
        )
    if not 0 < len(weight.shape) <= 4 or 0 in weight.shape or len(name) > MAX_NAME:
        raise BadRequest(f"{weight.file}: tensor {weight.name[:100]} has the impossible shape {weight.shape}", "files")
    vector = len(weight.shape) == 1 or name.endswith("_norm.weight") or not name.endswith(".weight")
    kind = KINDS.F32 if vector or name.endswith(_FULL) or weight.shift else _MATRICES[weight.dtype]
    return Planned(name, kind, weight)


def _check(planned: Sequence[Planned], layers: int) -> None:
    """Refuse doubles and holes: each layer has what the first has."""
    seen: set[str] = set()
    held: dict[int, set[str]] = {layer: set() for layer in range(layers)}
    for each in planned:
        if each.name in seen:
            raise BadRequest(f"{each.weight.file}: tensor {each.weight.name[:100]} comes twice", "files")
        seen.add(each.name)
        found = _LAYER.fullmatch(each.name)
        if found:
            held.setdefault(int(found[1]), set()).add(found[2])
    for needed in ("token_embd.weight",):
        if needed not in seen:
            raise BadRequest("the token embeddings are missing from the safetensors files", "files")
    for layer, names in held.items():
        if names != held[0]:
            odd = sorted(names ^ held[0])[:3]
            raise BadRequest(f"layer {layer} has not the same tensors as layer 0: {', '.join(odd)}", "files")


def literal(name: str, values: Sequence[float]) -> Planned:
    """A tensor of these float32 values, computed rather than read."""
    array = np.array(values, dtype=np.float32)
    return Planned(name, KINDS.F32, Weight(name, "F32", array.shape, (array,)))
