"""Memory arithmetic: what a deployment will hold, device by device, from its header or from a dry load (pure).

The figures below were fitted to llama.cpp 0.5.0 on a CPU, to the resident bytes of runners before their first request
and after long ones: models of 0.2 to 110 MB, 256 to 65,536 cells, f16 and quantized, 1 to 64 sequences.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

import msgspec

from powerd.fleet.devices import Device
from powerd.jobs import Probed
from powerd.protocol import Deployment, ReadBack, Shape

HOST = "cpu"
#: Bytes per cell element, as numerator and denominator: q8_0 stores 32 elements in 34 bytes, q4_0 in 18.
_ELEMENT = {"f16": (2, 1), "q8_0": (34, 32), "q4_0": (18, 32)}
#: llama.cpp makes cells in blocks of so many.
_BLOCK = 256
#: What a process with the engine in it holds (interpreter, libraries), where nobody measured it.
IDLE_BYTES = 17 << 20
#: What it holds besides once it has a model: graphs, threads, work memory; and the part of that a dry load has not.
_GRAPHS = 9 << 20
_WORK = 2 << 20
#: What the first full batch of inputs that are computed whole takes, besides what each pair of its tokens does.
_WHOLE_WORK = 4 << 20
#: What a second context on the same weights holds besides its cells and buffers: graphs, and inputs on their way.
_SECOND_GRAPHS = 3 << 20
#: The engine's tables for one word of the vocabulary.
_WORD = 272
#: The library of arrays, which grammars and probabilities need; and the masks' table for one word.
_ARRAYS = 22 << 20
_MASKED_WORD = 416
#: What serving one sequence takes: its tokens, its sampler chain, and the candidates of one draw per word.
_SEQUENCE = 128 << 10
_CANDIDATE = 12
#: Pages of libraries that the processes of a daemon usually share.
_SHARED = 16 << 20
#: What the driver takes for each process that uses an accelerator.
_DRIVER = 256 << 20


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bytes a deployment will hold in memory: by what they are for, and by where they lie ("cpu" = host memory)."""

    weights: int
    cells: int
    compute: int  # buffers, and the process itself
    by_device: Mapping[str, int]
    source: Literal["header", "probed", "measured"] = "header"

    @property
    def total(self) -> int:
        """All of it together."""
        return sum(self.by_device.values())


def estimate(deployment: Deployment, devices: Sequence[Device] = (), idle: int = 0) -> Estimate:
    """Foretell a deployment's memory on `devices` from its header alone.

    `idle`: what a process with the engine in it was measured to hold, 0 = nobody did. Sliding windows are counted in
    full, and experts as they are computed: what cannot be known from the header is rather more than less.
    """
    layers = layers_by_device(deployment, devices)
    process = (idle or IDLE_BYTES) + _GRAPHS + _WORD * deployment.shape.vocab
    return _sum(deployment, layers, _buffers(deployment, layers), process, "header")


def probed(deployment: Deployment, devices: Sequence[Device], found: Probed) -> Estimate:
    """The same with the buffers and the process of a dry load in place of our own arithmetic."""
    layers = layers_by_device(deployment, devices)
    return _sum(deployment, layers, found.compute, found.process + _WORK, "probed")


def _sum(
    deployment: Deployment,
    layers: Mapping[str, int],
    buffers: Mapping[str, int],
    process: int,
    source: Literal["header", "probed"],
) -> Estimate:
    weights = _weights(_adapted(deployment), layers)
    cells = _cells(deployment, layers)
    compute = Counter(buffers)
    compute[HOST] += process + serving(deployment) + _scratch(deployment, layers)
    compute.update(_shifting(deployment, layers))
    for device in layers:
        compute[device] += _DRIVER if device != HOST else 0
    by_device = {device: weights[device] + cells[device] + compute[device] for device in dict.fromkeys((HOST, *layers))}
    return Estimate(weights.total(), cells.total(), compute.total(), by_device, source)


def second(deployment: Deployment, have: ReadBack | None) -> Estimate:
    """What the second context of a loaded generative model holds, in which its embeddings are made.

    It lies where the layers do; every row of its batch has logits.
    """
    small = deployment.pooled
    held = {device: share.layers for device, share in (have.devices if have else {}).items() if share.layers}
    layers = held or {HOST: small.shape.layers}
    last = list(layers)[-1]
    layers[last] += 1  # the output layer
    cells, compute = _cells(small, layers), Counter(_buffers(small, layers))
    compute[last] += 4 * small.batch * small.shape.vocab
    compute[HOST] += _SECOND_GRAPHS
    sizes = {device: cells[device] + compute[device] for device in dict.fromkeys((HOST, *layers))}
    return Estimate(0, cells.total(), compute.total(), sizes)


def arrays(_deployment: Deployment, _have: ReadBack | None) -> Estimate:
    """What a runner holds once it has computed with arrays."""
    return Estimate(0, 0, _ARRAYS, {HOST: _ARRAYS})


def masks(deployment: Deployment, _have: ReadBack | None) -> Estimate:
    """What a runner holds besides once it has kept an answer within a grammar."""
    size = _MASKED_WORD * deployment.shape.vocab
    return Estimate(0, 0, size, {HOST: size})


def measured(deployment: Deployment, devices: Sequence[Device], have: ReadBack) -> Estimate | None:
    """What a runner that is ready holds, and will hold to a few hundredths; None where its system tells nothing.

    Pages it shares beyond the usual are weights that another runner maps too, and count as its own: it may be alone
    with them the next time.
    """
    foretold, layers = estimate(deployment, devices), layers_by_device(deployment, devices)
    shifting = _shifting(deployment, layers)
    sizes = {device: share.size + _DRIVER for device, share in have.devices.items() if share.size and device != HOST}
    sizes = {device: size + shifting.get(device, 0) for device, size in sizes.items()}
    if have.pss:
        sizes[HOST] = have.pss + max(0, have.rss - have.pss - _SHARED)
        sizes[HOST] += _scratch(deployment, layers) + shifting.get(HOST, 0)
    elif HOST in have.devices:
        sizes[HOST] = have.devices[HOST].size + foretold.by_device[HOST] - _held(deployment, devices)
    else:
        return None
    compute = max(0, sum(sizes.values()) - foretold.weights - foretold.cells)
    return Estimate(foretold.weights, foretold.cells, compute, sizes, "measured")


def _held(deployment: Deployment, devices: Sequence[Device]) -> int:
    """What the engine itself accounts for on the host."""
    layers = layers_by_device(deployment, devices)
    parts = (_weights(deployment.shape, layers), _cells(deployment, layers), _buffers(deployment, layers))
    return sum(part.get(HOST, 0) for part in parts)


def serving(deployment: Deployment) -> int:
    """What a runner comes to hold when all its sequences are in use."""
    return deployment.parallel * (_SEQUENCE + _CANDIDATE * deployment.shape.vocab)


def _scratch(deployment: Deployment, layers: Mapping[str, int]) -> int:
    """What the CPU takes for the fullest batch without flash attention: the scores of every head once more, in f16.

    Where tokens see what follows them, always something for each pair of the batch.
    """
    if not deployment.shape.causal and _repeating(layers).get(HOST):
        return _WHOLE_WORK + 4 * deployment.batch**2
    if deployment.flash_attention != "off" or not _repeating(layers).get(HOST):
        return 0
    return 2 * min(deployment.batch, pool(deployment)) * pool(deployment) * deployment.shape.heads


def _shifting(deployment: Deployment, layers: Mapping[str, int]) -> dict[str, int]:
    """What the first shift of a full context takes: a layer's quantised keys in f32, wherever there are layers."""
    shape = deployment.shape
    if deployment.kv_cache == "f16" or not shape.causal or shape.pooling:
        return {}
    keys = 4 * pool(deployment) * shape.kv_width // (2 * max(shape.layers, 1))
    return {device: keys for device, count in _repeating(layers).items() if count}


def pool(deployment: Deployment) -> int:
    """The cells llama.cpp makes for a deployment."""
    return -(-deployment.context * deployment.parallel // _BLOCK) * _BLOCK


def layers_by_device(deployment: Deployment, devices: Sequence[Device]) -> dict[str, int]:
    """How many layers each device gets, as llama.cpp deals them out: the last ones, and the output layer with them.

    Counts the output layer, so that the sum is one more than the model has; devices without a layer are missing.
    """
    count = deployment.shape.layers + 1
    used, shares = _used(deployment, devices)
    moved = min(count, deployment.gpu_layers if deployment.gpu_layers >= 0 else count) if used else 0
    edges = [edge / sum(shares) for edge in accumulate(shares)] if used else []
    dealt = Counter(used[min(bisect_right(edges, layer / moved), len(used) - 1)] for layer in range(moved))
    return {HOST: count - moved, **dealt} if count > moved else dict(dealt)


def _used(deployment: Deployment, devices: Sequence[Device]) -> tuple[list[str], list[float]]:
    """The accelerators a deployment uses, and the share of each."""
    budgets = {device.id: float(device.budget) for device in devices if device.kind == "gpu"}
    place = deployment.placement
    used = [device for device in place.devices or budgets if device in budgets]
    if place.mode == "none":
        used = [device for device in used if device == place.main][:1] or used[:1]
    shares = list(place.split) if len(place.split) == len(used) else [budgets[device] for device in used]
    return (used, shares) if sum(shares) > 0 else ([], [])


def _adapted(deployment: Deployment) -> Shape:
    """The weights with their adapters, which lie where the layers do."""
    size = deployment.shape.weights_bytes + sum(size for _, _, size in deployment.adapters)
    return msgspec.structs.replace(deployment.shape, weights_bytes=size)


def _weights(shape: Shape, layers: Mapping[str, int]) -> Counter[str]:
    """The embeddings stay on the host; the output matrix goes with the output layer, which is dealt out last."""
    body = max(0, shape.weights_bytes - shape.input_bytes - shape.output_bytes)
    last = list(layers)[-1]
    sizes: Counter[str] = Counter({HOST: shape.input_bytes})
    for device, count in _repeating(layers).items():
        sizes[device] += body * count // max(shape.layers, 1)
    sizes[last] += shape.output_bytes or (shape.input_bytes if last != HOST else 0)
    return sizes


def _repeating(layers: Mapping[str, int]) -> dict[str, int]:
    """The same without the output layer."""
    last = list(layers)[-1]
    return {device: count - (device == last) for device, count in layers.items()}


def _cells(deployment: Deployment, layers: Mapping[str, int]) -> Counter[str]:
    shape = deployment.shape
    numerator, denominator = _ELEMENT[deployment.kv_cache]
    size = pool(deployment) * shape.kv_width * numerator // denominator + shape.state_bytes * deployment.parallel
    return Counter({device: size * count // max(shape.layers, 1) for device, count in _repeating(layers).items()})


def _buffers(deployment: Deployment, layers: Mapping[str, int]) -> dict[str, int]:
    """Compute buffers of every device that computes, and the logits on the host."""
    full, mask = _activations(deployment)
    buffers = dict.fromkeys(layers, full)
    buffers.setdefault(HOST, mask)
    buffers[HOST] += 4 * deployment.parallel * deployment.shape.vocab
    return buffers


def _activations(deployment: Deployment) -> tuple[int, int]:
    """What the fullest batch over the fullest cache takes where it is computed, and where it only comes from.

    With flash attention, the mask in f16 and what one layer works on; without it, the scores of every head besides, in
    f32. Or the logits of all sequences, if that is more.
    """
    shape, rows = deployment.shape, min(deployment.batch, pool(deployment))
    cells = pool(deployment) if shape.kv_width else 0 if shape.causal else rows
    width = max(4 * shape.feed_forward + 5 * shape.embedding // 4, 6 * shape.embedding)
    off = deployment.flash_attention == "off"
    mask, scores = (4 * cells, 4 * cells * shape.heads) if off else (2 * cells, 0)
    full = max(rows * (mask + scores + 4 * width), 4 * deployment.parallel * shape.vocab)
    return full, rows * (mask + 4 * shape.embedding)
