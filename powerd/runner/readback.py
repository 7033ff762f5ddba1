"""The read-back: what the engine really has after a load, asked from it or read in its log, never in the request."""

from __future__ import annotations

from powerd.protocol import Deployment, DeviceShare, ReadBack
from powerd.runner.enginelog import HOST, EngineLog
from powerd.runner.llama import Bindings, Model
from powerd.runner.memory import proportional, resident


def read_back(bindings: Bindings, model: Model, deployment: Deployment) -> ReadBack:
    """Everything a daemon compares with what it declared.

    The context per sequence is our own limit, for with unified cells llama.cpp reports the whole pool. A model without
    cells (a recurrent one) has none of another type than was asked for.
    """
    log = bindings.log
    return ReadBack(
        context=min(deployment.context, model.cells // model.sequences),
        cells=model.cells,
        sequences=model.sequences,
        layers=model.layers,
        gpu_layers=log.gpu_layers,
        kv_cache=log.kv_cache or deployment.kv_cache,
        flash_attention=log.flash_attention,
        threads=model.threads,
        vocab=model.vocabulary.size,
        trained_context=model.trained_context,
        engine=bindings.engine,
        device=", ".join(log.devices) or HOST,
        rss=resident(),
        size=model.size,
        size_gpu=log.size_gpu,
        pss=proportional(),
        batch=model.computed_at_once,
        load_mode=log.load_mode,
        adapters=model.adapters,
        pooling=(deployment.pooling or model.pooling) if model.pooling else "",
        devices=shares(log, model.layers),
    )


def shares(log: EngineLog, layers: int) -> dict[str, DeviceShare]:
    """Repeating layers and bytes on each device, host memory first."""
    sizes, held = log.sizes(), log.layers(layers)
    order = sorted(sizes.keys() | held.keys() | {HOST}, key=lambda device: (device != HOST, device))
    return {device: DeviceShare(held.get(device, 0), sizes.get(device, 0)) for device in order}
