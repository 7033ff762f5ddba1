"""Fit: how many layers go where and how long the context is, where nobody said (pure).

Decided against what the devices may give out, never against what happens to be free, and with the arithmetic of the
header alone: the same declaration on the same machine is decided the same way every time. What was chosen explicitly
stays as it is, and then fits or does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from powerd.fleet.budget import HOST, Estimate, layers_by_device
from powerd.fleet.devices import Device
from powerd.protocol import Deployment, Placement
from powerd.quantities import show_bytes

GIB = 1 << 30
#: An automatic context is no shorter than this, unless the model was trained for less.
FLOOR = 2048
#: Tokens per sequence on a CPU and on small accelerators; a longer one is not worth leaving layers on the host.
USUAL = 4096
#: Bytes of accelerator memory from which an automatic context is longer (contract section 5).
_TIERS = ((47 * GIB, 262_144), (23 * GIB, 32_768))
_BLOCK = 256

Needs = Callable[[Deployment], Estimate]


@dataclass(frozen=True, slots=True)
class Freedom:
    """What may be chosen; everything else was said by somebody."""

    layers: bool = False
    context: bool = False  # down from the deployment's
    placement: bool = False
    spread: bool = False  # over every accelerator, also where one would hold it
    parallel: Callable[[Deployment], int] | None = None  # the sequences wished for at a context


@dataclass(frozen=True, slots=True)
class Fitted:
    """The decision, what it needs, and why it is so, as sentences."""

    deployment: Deployment
    estimate: Estimate
    sentences: tuple[str, ...] = ()


def usual_context(devices: Sequence[Device]) -> int:
    """Tokens per sequence that suit the accelerators' memory, all together."""
    total = sum(device.total for device in devices if device.kind == "gpu")
    return next((tokens for size, tokens in _TIERS if total >= size), USUAL)


def fit(deployment: Deployment, devices: Sequence[Device], needs: Needs, free: Freedom) -> Fitted:
    """Decide what `free` leaves open, beginning at the deployment's context.

    The longest context is taken with which every layer is on an accelerator; from 4096 tokens down, as many layers as
    go. What fits in no way comes back in its smallest form, for whoever refuses it to name its size.
    """
    machine = _Machine(devices, needs)
    chosen = deployment
    for chosen in _candidates(deployment, machine, free):
        if machine.holds(chosen):
            break
    return Fitted(chosen, needs(chosen), tuple(_told(chosen, deployment, machine, free)))


def _candidates(deployment: Deployment, machine: _Machine, free: Freedom) -> Iterator[Deployment]:
    """Every form it may take, the best first: a longer context, then whole on accelerators, then more sequences."""
    for candidate in _contexts(deployment, free):
        for sized in _sequences(candidate, free):
            yield from _whole(sized, machine, free)
        if free.layers and machine.accelerators and (candidate.context <= USUAL or not free.context):
            for sized in _sequences(candidate, free):
                yield from _parted(sized, machine, free)


class _Machine:
    """The devices and what they may give out."""

    def __init__(self, devices: Sequence[Device], needs: Needs) -> None:
        self.devices = devices
        self.budgets = {device.id: device.budget for device in devices}
        self.accelerators = [device for device in devices if device.kind == "gpu"]
        self.needs = needs

    def holds(self, deployment: Deployment) -> bool:
        need = self.needs(deployment).by_device
        return all(size <= self.budgets.get(device, 0) for device, size in need.items())


def _contexts(deployment: Deployment, free: Freedom) -> Iterator[Deployment]:
    """The context wished for, then half of it, and so on down to the floor, not past the usual one."""
    yield deployment
    floor = min(FLOOR, deployment.context)
    while free.context and deployment.context > floor:
        least = USUAL if deployment.context > USUAL else floor
        half = max(least, deployment.context // 2 // _BLOCK * _BLOCK)
        deployment = msgspec.structs.replace(deployment, context=half)
        yield deployment


def _sequences(deployment: Deployment, free: Freedom) -> Iterator[Deployment]:
    """The sequences wished for at this context, then fewer."""
    count = deployment.parallel if free.parallel is None else free.parallel(deployment)
    yield msgspec.structs.replace(deployment, parallel=count)
    while free.parallel is not None and count > 1:
        count //= 2
        yield msgspec.structs.replace(deployment, parallel=count)


def _whole(deployment: Deployment, machine: _Machine, free: Freedom) -> Iterator[Deployment]:
    """With all the layers that shall be on accelerators, on one of them or over all."""
    layers = deployment.shape.layers + 1 if free.layers else deployment.gpu_layers
    if not machine.accelerators or not layers:
        yield deployment
        return
    for placement in _placements(deployment, machine, free):
        yield msgspec.structs.replace(deployment, gpu_layers=layers, placement=placement)


def _parted(deployment: Deployment, machine: _Machine, free: Freedom) -> Iterator[Deployment]:
    """With as many layers on accelerators as go."""
    *_, placement = _placements(deployment, machine, free)
    for layers in range(deployment.shape.layers, -1, -1):
        yield msgspec.structs.replace(deployment, gpu_layers=layers, placement=placement)


def _placements(deployment: Deployment, machine: _Machine, free: Freedom) -> Iterator[Placement]:
    """The accelerators to try: the largest alone, then all of them in shares of their budgets."""
    given = deployment.placement
    if len(machine.accelerators) == 1 or not free.placement:
        named = [device for device in machine.accelerators if device.id in given.devices] or machine.accelerators
        shared = given.mode != "none" and not given.split and len(named) > 1
        yield _shared(given, named) if shared else given
        return
    largest = max(machine.accelerators, key=lambda device: device.budget)
    if not free.spread:
        yield Placement(devices=(largest.id,))
    yield _shared(given, machine.accelerators)


def _shared(given: Placement, devices: Sequence[Device]) -> Placement:
    """Shares in proportion to the budgets: left alone, the engine would go by what is free when it loads."""
    order = given.devices or tuple(device.id for device in devices)
    budgets = {device.id: device.budget for device in devices}
    shares = tuple(round(budgets.get(device, 0) / GIB, 2) for device in order)
    return msgspec.structs.replace(given, devices=order, split=shares if any(shares) else ())


# ---------------------------------------------------------------- in words


def _told(chosen: Deployment, wished: Deployment, machine: _Machine, free: Freedom) -> Iterator[str]:
    need = machine.needs(chosen)
    if free.layers:
        yield f"gpu_layers: {_layers(chosen, machine, need)}"
    most = 0 if free.parallel is None else free.parallel(chosen)
    if chosen.parallel < most:
        yield f"parallel: {chosen.parallel} at once, for {most} would not fit"
    if free.context and chosen.context < wished.context:
        yield f"context: {chosen.context} tokens, for {wished.context} would not fit ({_sizes(machine, need)})"
    elif free.context:
        yield f"context: {chosen.context} tokens"


def _layers(chosen: Deployment, machine: _Machine, need: Estimate) -> str:
    if not machine.accelerators:
        return f"all on the CPU, for there is no accelerator: {_sizes(machine, need)}"
    count = chosen.shape.layers + 1
    dealt = layers_by_device(chosen, machine.devices)
    on = {device: layers for device, layers in dealt.items() if device != HOST}
    moved = sum(on.values())
    amount = f"all {count}" if moved == count else f"{moved} of {count}"
    dealt_out = " and ".join(f"{layers} on {device}" for device, layers in on.items())
    where = f", {dealt_out}" if len(on) > 1 else f" on {next(iter(on), 'an accelerator')}"
    return f"{amount} layers{where}: {_sizes(machine, need)}"


def _sizes(machine: _Machine, need: Estimate) -> str:
    """What each device would hold of what it may give out, accelerators first."""
    order = sorted(need.by_device, key=lambda device: device == HOST)
    return ", ".join(
        f"{show_bytes(need.by_device[device])} of {show_bytes(machine.budgets.get(device, 0))} on {device}"
        for device in order
    )
