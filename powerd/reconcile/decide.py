"""Decide: the options somebody chose and the shape of the weights become the Deployment that serves them. Pure.

What nobody chose is decided here: by powerd.yaml and the variables, and by what the machine's devices can hold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import msgspec

from powerd.catalog.spec import CellType, Defaults, LoadMode, ModelSpec
from powerd.fleet.budget import estimate, pool
from powerd.fleet.devices import Device, named
from powerd.fleet.fit import Fitted, Freedom, fit, usual_context
from powerd.prompt.choose import GoTemplates
from powerd.protocol import Deployment, Placement, Shape
from powerd.settings import Settings
from powerd.store.manifest import StoredModel
from powerd.vectors import Pooling

#: Tokens per sequence when nobody says (contract section 5: CPU and small GPUs).
DEFAULT_CONTEXT = 4096
#: Tokens computed at once when nobody says.
BATCH = 512
#: More layers than any model has: `gpu_layers: all`.
ALL_LAYERS = 9999
#: Below this size handing work between threads costs more than it saves.
SINGLE_THREAD_BYTES = 16 << 20
#: Sequences `parallel: auto` stops at.
MAX_AUTO_PARALLEL = 16
#: Cells that `parallel: auto` may take whatever the weights' size.
AUTO_CELLS_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class NodeDefaults:
    """What powerd.yaml and OLLAMA_* say of models nobody said more about; 0 = auto."""

    context: int = 0
    parallel: int = 0
    kv_cache: CellType = "f16"
    flash_attention: Literal["auto", "on", "off"] = "auto"
    spread: bool = False  # over every accelerator, where nobody placed the model
    go_templates: GoTemplates = "auto"
    gpu_layers: int = -1  # -1 = auto
    devices: Callable[[], Sequence[Device]] = field(default=tuple, compare=False)  # what the machine has by now

    @classmethod
    def of(cls, settings: Settings, devices: Callable[[], Sequence[Device]] = tuple) -> NodeDefaults:
        """The defaults that powerd.yaml and the variables set."""
        return cls(
            settings.context_length,
            settings.parallel,
            settings.kv_cache,
            settings.flash_attention,
            settings.sched_spread,
            settings.go_templates,
            settings.gpu_layers,
            devices,
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """The runner options somebody chose; None = auto."""

    gpu_layers: int | Literal["all"] | None
    context: int | None
    parallel: int | None
    kv_cache: CellType | None
    context_source: str
    placement: Placement | None = None
    threads: int | None = None
    batch: int | None = None
    load_mode: LoadMode = "auto"
    flash_attention: bool | None = None
    pooling: Pooling | None = None


def fitted(stored: StoredModel, choice: Choice, node: NodeDefaults) -> Fitted:
    """The process that would serve `stored` with these options, what it needs, and why it was decided so."""
    files = tuple(sorted({(each.digest.hex, str(path), each.size) for each, path in stored.adapters}))
    return _decided(str(stored.weights), stored.weights_digest.hex, stored.header.shape(), choice, node, files)


def choice_of(said: ModelSpec | Defaults, context_source: str = "") -> Choice:
    """The runner options that a spec, or the `defaults:` block, chooses."""
    return Choice(
        gpu_layers=said.gpu_layers,
        context=said.context,
        parallel=said.parallel,
        kv_cache=said.kv_cache,
        context_source=context_source,
        placement=said.placement,
        threads=said.threads,
        batch=said.batch,
        load_mode=said.load_mode,
        flash_attention=said.flash_attention,
        pooling=said.pooling,
    )


def automatic_source(deployment: Deployment, node: NodeDefaults) -> str:
    """Where an automatic context comes from, for the text of an error about it."""
    context = deployment.context
    if context == (deployment.shape.trained_context or DEFAULT_CONTEXT):
        return "the context the model was trained for"
    if node.context:
        return "OLLAMA_CONTEXT_LENGTH or `context_length` in powerd.yaml"
    fits = context == usual_context(node.devices())
    return f"the default of {context} tokens" if fits else "what fits into this machine's memory"


def expected(spec: ModelSpec, shape: Shape, digest: str, node: NodeDefaults) -> Deployment:
    """The process that would serve a declared model of which only the weights' shape and digest are known."""
    return _decided("", digest, shape, choice_of(spec), node).deployment


def foretold(shape: Shape, node: NodeDefaults) -> Deployment:
    """The process that would serve weights of this shape that are not here, all options automatic."""
    return _decided("", "", shape, Choice(None, None, None, None, ""), node).deployment


def _decided(
    weights: str,
    digest: str,
    shape: Shape,
    choice: Choice,
    node: NodeDefaults,
    adapters: tuple[tuple[str, str, int], ...] = (),
) -> Fitted:
    devices = node.devices()
    trained = shape.trained_context or DEFAULT_CONTEXT
    sequences = choice.parallel or node.parallel
    context = choice.context or min(node.context or usual_context(devices), trained)
    wished = Deployment(
        weights=weights,
        weights_digest=digest,
        context=context,
        parallel=sequences or 1,
        shape=shape,
        context_auto=choice.context is None,
        kv_cache=choice.kv_cache or node.kv_cache,
        gpu_layers=_gpu_layers(choice.gpu_layers, node),
        threads=choice.threads or (1 if shape.weights_bytes < SINGLE_THREAD_BYTES else 0),
        batch=choice.batch or BATCH if shape.causal else context,
        load_mode=choice.load_mode,
        flash_attention=_flash_attention(choice.flash_attention, node),
        placement=_placement(choice.placement, devices),
        adapters=adapters,
        pooling=_pooling(choice.pooling, shape),
    )
    free = Freedom(
        layers=choice.gpu_layers is None and node.gpu_layers < 0,
        context=choice.context is None and not node.context,
        placement=choice.placement is None,
        spread=node.spread,
        parallel=None if sequences else _auto_parallel,
    )
    chosen = fit(wished, devices, partial(estimate, devices=devices), free) if devices else _alone(wished, free)
    return chosen if choice.batch and shape.causal else _in_batches(chosen)


def _alone(wished: Deployment, free: Freedom) -> Fitted:
    """As wished, on a machine of which nothing is known."""
    sequences = free.parallel(wished) if free.parallel else wished.parallel
    deployment = msgspec.structs.replace(wished, parallel=sequences)
    return Fitted(deployment, estimate(deployment))


def _in_batches(chosen: Fitted) -> Fitted:
    """With an automatic batch: the engine computes no more tokens at once than it has cells, but whole inputs."""
    deployment = chosen.deployment
    batch = min(BATCH, pool(deployment)) if deployment.shape.causal else deployment.context
    return replace(chosen, deployment=msgspec.structs.replace(chosen.deployment, batch=batch))


def _placement(said: Placement | None, devices: Sequence[Device]) -> Placement:
    """With the engine's ids in place of UUIDs and PCI ids."""
    if said is None:
        return Placement()
    used = tuple(named(device, devices) for device in said.devices)
    return msgspec.structs.replace(said, devices=used, main=named(said.main, devices) if said.main else "")


def _flash_attention(choice: bool | None, node: NodeDefaults) -> Literal["auto", "on", "off"]:
    if choice is None:
        return node.flash_attention
    return "on" if choice else "off"


def _pooling(choice: Pooling | None, shape: Shape) -> Pooling | None:
    """What is chosen otherwise than the weights say; a model that chats says nothing, and is pooled by the mean."""
    return None if choice == (shape.pooling or "mean") else choice


def _gpu_layers(choice: int | Literal["all"] | None, node: NodeDefaults) -> int:
    if choice is None:
        return node.gpu_layers
    return ALL_LAYERS if choice == "all" else choice


def _auto_parallel(deployment: Deployment) -> int:
    """The largest power of two of sequences whose cells stay below 1 GiB or half the weights, whichever is more."""
    alone = estimate(msgspec.structs.replace(deployment, parallel=1)).cells
    allowed = max(AUTO_CELLS_BYTES, deployment.shape.weights_bytes / 2)
    fits = allowed / max(alone, 1.0)
    return 1 if fits < 2 else min(MAX_AUTO_PARALLEL, 2 ** int(math.log2(fits)))
