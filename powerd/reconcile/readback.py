"""What the engine really has, held against what was declared: differences, and requirements that are not met. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from powerd.catalog.spec import Require
from powerd.fleet.terms import RunnerView
from powerd.protocol import Deployment, ReadBack
from powerd.quantities import show_bytes

CPU = "cpu"


def differences(deployment: Deployment, have: ReadBack) -> list[str]:
    """Every field that is not as it was asked for, each as one phrase with both values.

    What the deployment leaves to the engine (`auto`, 0) is never a difference, and neither is what an engine does not
    tell.
    """
    return [f"{field}: want {want}, have {got}" for field, want, got in _compared(deployment, have)]


def _compared(deployment: Deployment, have: ReadBack) -> Iterator[tuple[str, str, str]]:
    cells = deployment.context * deployment.parallel
    flash = deployment.flash_attention
    at_least = (
        ("context", deployment.context, have.context, "tokens a sequence"),
        ("parallel", deployment.parallel, have.sequences, "sequences"),
        ("cells", cells, have.cells or cells, "in the pool"),
    )
    for field, want, got, unit in at_least:
        if got < want:
            yield field, str(want), f"{got} {unit}"
    exact = (
        ("kv_cache", deployment.kv_cache, have.kv_cache),
        ("threads", deployment.threads or have.threads, have.threads),
        ("batch", deployment.batch, have.batch or deployment.batch),
        ("flash_attention", flash if flash != "auto" else _switch(have), _switch(have)),
        ("load_mode", _mode(deployment, have), have.load_mode),
        ("pooling", _pooling(deployment, have), have.pooling),
        ("adapters", _named(digest for digest, _, _ in deployment.adapters), _named(have.adapters)),
    )
    for name, wanted, found in exact:
        if wanted != found:
            yield name, str(wanted), str(found)
    yield from _layers(deployment, have)


def _named(digests: Iterable[str]) -> str:
    """Adapter files by the beginnings of their digests."""
    return ", ".join(digest[:12] for digest in digests) or "none"


def _pooling(deployment: Deployment, have: ReadBack) -> str:
    """What an embedding model's own context does; a generative model's second one is not there yet."""
    return (deployment.pooling or have.pooling) if deployment.shape.pooling and have.pooling else have.pooling


def _switch(have: ReadBack) -> str:
    return "on" if have.flash_attention else "off"


def _mode(deployment: Deployment, have: ReadBack) -> str:
    """The load mode asked for, where one was and the engine tells its own."""
    return have.load_mode if deployment.load_mode == "auto" or not have.load_mode else deployment.load_mode


def _layers(deployment: Deployment, have: ReadBack) -> Iterator[tuple[str, str, str]]:
    """Layers on accelerators; llama.cpp counts the output layer, so `all` is satisfied by every repeating layer."""
    if deployment.gpu_layers < 0:
        return
    want = min(deployment.gpu_layers, have.layers)
    if have.gpu_layers < want:
        whole = "all " if deployment.gpu_layers >= have.layers else ""
        yield "gpu_layers", f"{whole}{want}", f"{have.gpu_layers} ({where(have)})"


def where(have: ReadBack) -> str:
    """The layers and bytes on each device, as a phrase: `24 layers and 4.1 GiB on CUDA0, 0.5 GiB on cpu`."""
    if not have.devices:
        return f"everything on {have.device}"
    shares = [
        (f"{share.layers} layers and " if share.layers else "") + f"{show_bytes(share.size)} on {device}"
        for device, share in have.devices.items()
    ]
    return ", ".join(shares)


def unmet(require: Require, have: ReadBack) -> str:
    """Which requirement the loaded model does not meet, with numbers; "" when it meets them."""
    if require.gpu and not _offloaded(have):
        return f"`require: gpu` is not met: 0 of {have.layers} layers are on an accelerator ({where(have)})"
    if require.full_offload and have.gpu_layers < have.layers:
        return (
            f"`require: full_offload` is not met: {have.gpu_layers} of {have.layers} layers are on an accelerator "
            f"({where(have)})"
        )
    return ""


def shortfall(require: Require, views: Iterable[RunnerView], pid: int) -> str:
    """Which requirement the runner with this process id does not meet; "" when it meets them or is not there."""
    if not (require.gpu or require.full_offload):
        return ""
    have = next((view.readback for view in views if view.pid == pid), None)
    return unmet(require, have) if have is not None else ""


def _offloaded(have: ReadBack) -> bool:
    return have.gpu_layers > 0 or any(share.layers for device, share in have.devices.items() if device != CPU)


def unmeetable(require: Require, deployment: Deployment, devices: list[str]) -> str:
    """Which requirement is known before the load not to be met, with numbers; "" when none is."""
    if short := lacking(require, devices):
        return short
    if require.full_offload and 0 <= deployment.gpu_layers < deployment.shape.layers:
        return (
            f"`require: full_offload` cannot be met: {deployment.gpu_layers} of {deployment.shape.layers} layers go "
            f"onto {', '.join(_accelerators(devices))}"
        )
    return ""


def lacking(require: Require, devices: list[str]) -> str:
    """What the machine does not have for the requirements, whatever the deployment; "" when it has it."""
    if (require.gpu or require.full_offload) and not _accelerators(devices):
        return f"require: asks for a GPU and this machine offers {', '.join(devices) or 'none'} only"
    return ""


def _accelerators(devices: list[str]) -> list[str]:
    return [device for device in devices if device != CPU]
