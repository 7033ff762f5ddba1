"""What is chosen where nobody said, on machines made up for the purpose."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
import pytest

from powerd.fleet.budget import estimate
from powerd.fleet.devices import Device
from powerd.fleet.fit import Fitted, Freedom, fit, usual_context
from powerd.protocol import Deployment, Placement, Shape

GIB = 1 << 30
#: An 8B model in four bits: 4.5 GiB, and 128 KiB of cells a token.
EIGHT = Shape(
    weights_bytes=9 * GIB // 2,
    layers=32,
    embedding=4096,
    kv_width=65_536,
    vocab=128_256,
    trained_context=131_072,
    heads=32,
    feed_forward=14_336,
    input_bytes=GIB // 4,
    output_bytes=GIB // 2,
)
AUTO = Freedom(layers=True, context=True, placement=True)


def machine(*gpus: float, host: float = 64) -> tuple[Device, ...]:
    cards = [
        Device(f"CUDA{number}", "gpu", total=int(gib * GIB), budget=int(gib * GIB)) for number, gib in enumerate(gpus)
    ]
    return Device("cpu", "cpu", budget=int(host * GIB)), *cards


def decided(devices: tuple[Device, ...], free: Freedom = AUTO, **fields: Any) -> Fitted:
    values: dict[str, Any] = {"context": usual_context(devices), "parallel": 1, "shape": EIGHT} | fields
    return fit(Deployment("/w", "a" * 64, **values), devices, partial(estimate, devices=devices), free)


@pytest.mark.parametrize(
    ("gpus", "tokens"), [((), 4096), ((8.0,), 4096), ((23.0,), 32_768), ((24.0, 24.0), 262_144), ((80.0,), 262_144)]
)
def test_the_usual_context_follows_the_accelerators_memory(gpus: tuple[float, ...], tokens: int) -> None:
    assert usual_context(machine(*gpus)) == tokens


def test_without_an_accelerator_everything_stays_on_the_cpu_and_is_said() -> None:
    chosen = decided(machine())
    assert (chosen.deployment.gpu_layers, chosen.deployment.context) == (-1, 4096)
    layers, context = chosen.sentences
    assert layers.startswith("gpu_layers: all on the CPU, for there is no accelerator: ")
    assert layers.endswith("of 64.0 GiB on cpu")
    assert context == "context: 4096 tokens"


def test_all_layers_go_onto_an_accelerator_that_holds_them() -> None:
    chosen = decided(machine(24))
    assert (chosen.deployment.gpu_layers, chosen.deployment.context) == (33, 32_768)
    assert chosen.deployment.placement == Placement(), "one accelerator needs no placement"
    assert chosen.sentences[0].startswith("gpu_layers: all 33 layers on CUDA0: ")
    assert "of 24.0 GiB on CUDA0" in chosen.sentences[0]


def test_a_shorter_context_comes_before_layers_on_the_host() -> None:
    chosen = decided(machine(8), context=32_768)
    assert chosen.deployment.gpu_layers == 33
    assert 4096 <= chosen.deployment.context < 32_768
    assert chosen.sentences[1].startswith(f"context: {chosen.deployment.context} tokens, for 32768 would not fit")


def test_at_the_usual_context_as_many_layers_go_as_fit() -> None:
    devices = machine(4)
    chosen = decided(devices)
    layers = chosen.deployment.gpu_layers
    assert 0 < layers < 33
    assert chosen.deployment.context == 4096
    assert chosen.estimate.by_device["CUDA0"] <= 4 * GIB
    more = msgspec.structs.replace(chosen.deployment, gpu_layers=layers + 1)
    assert estimate(more, devices).by_device["CUDA0"] > 4 * GIB, "one more would not fit"
    assert chosen.sentences[0].startswith(f"gpu_layers: {layers} of 33 layers on CUDA0: ")


def test_halving_does_not_skip_the_usual_context() -> None:
    assert decided(machine(6.6), context=10_240).deployment.context >= 4096


def test_the_context_shrinks_to_what_the_host_holds_but_not_below_the_floor() -> None:
    room = estimate(decided(machine()).deployment).total / GIB
    assert decided(machine(host=room - 0.1)).deployment.context == 2048
    hopeless = decided(machine(host=1))
    assert hopeless.deployment.context == 2048
    assert hopeless.estimate.by_device["cpu"] > GIB, "it does not fit, and its size is told"


def test_a_model_trained_for_less_than_the_floor_keeps_its_context() -> None:
    assert decided(machine(host=1), context=1024).deployment.context == 1024


def test_fewer_sequences_come_before_a_shorter_context_and_before_layers_on_the_host() -> None:
    free = Freedom(layers=True, context=True, parallel=lambda deployment: 4)
    chosen = decided(machine(6.5), free)
    assert (chosen.deployment.gpu_layers, chosen.deployment.context) == (33, 4096)
    assert chosen.deployment.parallel < 4
    assert f"parallel: {chosen.deployment.parallel} at once, for 4 would not fit" in chosen.sentences


# ---------------------------------------------------------------- several accelerators


def test_one_accelerator_is_used_where_one_holds_it() -> None:
    chosen = decided(machine(12, 24))
    assert chosen.deployment.placement == Placement(devices=("CUDA1",)), "the one that gives out most"
    assert set(chosen.estimate.by_device) == {"cpu", "CUDA1"}


def test_layers_are_split_by_budget_where_none_holds_them_alone() -> None:
    chosen = decided(machine(4, 4), context=4096)
    assert chosen.deployment.gpu_layers == 33
    assert chosen.deployment.placement == Placement(devices=("CUDA0", "CUDA1"), split=(4.0, 4.0))
    assert "all 33 layers, 17 on CUDA0 and 16 on CUDA1: " in chosen.sentences[0]


def test_spread_uses_every_accelerator() -> None:
    free = Freedom(layers=True, context=True, placement=True, spread=True)
    chosen = decided(machine(24, 24), free)
    assert chosen.deployment.placement.devices == ("CUDA0", "CUDA1")


def test_a_placement_is_kept_and_only_its_shares_are_chosen() -> None:
    free = Freedom(layers=True, context=True)
    given = Placement(devices=("CUDA2", "CUDA0"))
    assert decided(machine(12, 24, 36), free, placement=given).deployment.placement == Placement(
        devices=("CUDA2", "CUDA0"), split=(36.0, 12.0)
    )
    exact = Placement(devices=("CUDA2", "CUDA0"), split=(1.0, 5.0))
    assert decided(machine(12, 24, 36), free, placement=exact).deployment.placement == exact
    alone = Placement(mode="none", main="CUDA1")
    assert decided(machine(12, 24, 36), free, placement=alone).deployment.placement == alone


# ---------------------------------------------------------------- what was said is not changed


@pytest.mark.parametrize("gpu_layers", [0, 7, 9999])
def test_explicit_layers_stay_and_then_fit_or_do_not(gpu_layers: int) -> None:
    chosen = decided(machine(2), Freedom(placement=True), gpu_layers=gpu_layers, context=8192)
    assert (chosen.deployment.gpu_layers, chosen.deployment.context) == (gpu_layers, 8192)
    assert chosen.sentences == ()
    assert (chosen.estimate.by_device.get("CUDA0", 0) <= 2 * GIB) == (gpu_layers < 9999)


def test_an_explicit_context_stays_and_layers_make_room_for_it() -> None:
    chosen = decided(machine(8), Freedom(layers=True, placement=True), context=65_536)
    assert chosen.deployment.context == 65_536
    assert 0 < chosen.deployment.gpu_layers < 33
