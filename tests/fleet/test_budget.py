"""The memory arithmetic."""

from __future__ import annotations

from typing import Any

import pytest

from powerd.fleet.budget import IDLE_BYTES, estimate, layers_by_device, probed, serving
from powerd.fleet.devices import Device
from powerd.jobs import Probed
from powerd.protocol import Deployment, Placement, Shape

SHAPE = Shape(weights_bytes=1000, layers=2, embedding=0, kv_width=64, vocab=0, trained_context=4096)
GIB = 1 << 30
CPU = Device("cpu", "cpu", budget=64 * GIB)
LARGE = Shape(
    weights_bytes=8 * GIB,
    layers=32,
    embedding=4096,
    kv_width=65_536,
    vocab=128_000,
    trained_context=131_072,
    heads=32,
    feed_forward=14_336,
    input_bytes=GIB // 2,
    output_bytes=GIB // 2,
)


def deployment(**changes: Any) -> Deployment:
    values: dict[str, Any] = {"context": 2048, "parallel": 3, "shape": SHAPE}
    return Deployment("/w", "a" * 64, **(values | changes))


def gpu(number: int, gib: int = 24) -> Device:
    return Device(f"CUDA{number}", "gpu", budget=gib * GIB)


@pytest.mark.parametrize(("kind", "size"), [("f16", 2 * 64), ("q8_0", 64 * 34 // 32), ("q4_0", 64 * 18 // 32)])
def test_cells_cost_keys_and_values_for_every_token_of_every_sequence(kind: str, size: int) -> None:
    assert estimate(deployment(kv_cache=kind)).cells == 2048 * 3 * size


def test_quantised_keys_of_a_layer_are_counted_once_more_for_shifting_wherever_there_are_layers() -> None:
    def compute(kind: str, **more: Any) -> dict[str, int]:
        made = deployment(shape=LARGE, context=8192, parallel=2, kv_cache=kind, **more)
        need = estimate(made, [CPU, gpu(0)])
        plain = estimate(deployment(shape=LARGE, context=8192, parallel=2, **more), [CPU, gpu(0)])
        return {device: size - plain.by_device[device] for device, size in need.by_device.items()}

    keys = 4 * 16_384 * 1024
    cells = {kind: 16_384 * 65_536 * size // 32 for kind, size in (("f16", 64), ("q8_0", 34))}
    assert compute("q8_0") == {"cpu": 0, "CUDA0": keys + cells["q8_0"] - cells["f16"]}
    split = compute("q8_0", gpu_layers=17)
    assert sum(split.values()) == 2 * keys + cells["q8_0"] - cells["f16"]


def test_the_pool_is_made_in_blocks() -> None:
    assert estimate(deployment(context=100, parallel=1)).cells == 256 * 128


def test_recurrent_layers_keep_a_state_for_each_sequence() -> None:
    recurrent = Shape(1000, 2, 0, 0, vocab=0, trained_context=4096, state_bytes=500)
    assert estimate(deployment(shape=recurrent)).cells == 1500


def test_weights_are_the_files_bytes_and_the_total_is_the_sum() -> None:
    need = estimate(deployment())
    assert need.weights == 1000
    assert need.total == need.weights + need.cells + need.compute == need.by_device["cpu"]


def test_compute_holds_mask_activations_logits_vocabulary_sequences_and_process() -> None:
    wide = Shape(1000, 2, 100, 64, vocab=1000, trained_context=4096, feed_forward=400)
    batch, logits, words = 512 * (2 * 2048 * 3 + 4 * (4 * 400 + 125)), 4 * 1000 * 3, 1000 * 272
    made = deployment(shape=wide)
    graphs = 9 << 20
    assert estimate(made).compute == batch + logits + words + serving(made) + IDLE_BYTES + graphs
    assert estimate(made, idle=1 << 20).compute == estimate(made).compute - IDLE_BYTES + (1 << 20)


def test_a_smaller_batch_takes_less_and_no_flash_attention_much_more() -> None:
    usual = estimate(deployment(shape=LARGE)).compute
    assert estimate(deployment(shape=LARGE, batch=128)).compute < usual
    scores = 512 * (4 + 2) * 32 * 2048 * 3
    assert estimate(deployment(shape=LARGE, flash_attention="off")).compute > usual + scores


# ---------------------------------------------------------------- devices


def test_without_an_accelerator_everything_lies_on_the_host() -> None:
    assert layers_by_device(deployment(shape=LARGE), [CPU]) == {"cpu": 33}
    assert list(estimate(deployment(shape=LARGE), [CPU]).by_device) == ["cpu"]


@pytest.mark.parametrize(
    ("gpu_layers", "layers"),
    [
        (0, {"cpu": 33}),
        (1, {"cpu": 32, "CUDA0": 1}),
        (12, {"cpu": 21, "CUDA0": 12}),
        (33, {"CUDA0": 33}),
        (9999, {"CUDA0": 33}),
        (-1, {"CUDA0": 33}),
    ],
)
def test_the_last_layers_go_first_and_the_output_layer_counts(gpu_layers: int, layers: dict[str, int]) -> None:
    assert layers_by_device(deployment(shape=LARGE, gpu_layers=gpu_layers), [CPU, gpu(0)]) == layers


@pytest.mark.parametrize(
    ("placement", "layers"),
    [
        (Placement(), {"CUDA0": 11, "CUDA1": 22}),
        (Placement(devices=("CUDA1",)), {"CUDA1": 33}),
        (Placement(devices=("CUDA1", "CUDA0")), {"CUDA1": 22, "CUDA0": 11}),
        (Placement(devices=("CUDA0", "CUDA1"), split=(1.0, 1.0)), {"CUDA0": 17, "CUDA1": 16}),
        (Placement(mode="none"), {"CUDA0": 33}),
        (Placement(mode="none", main="CUDA1"), {"CUDA1": 33}),
        (Placement(devices=("CUDA7",)), {"cpu": 33}),
    ],
)
def test_layers_are_dealt_out_by_share(placement: Placement, layers: dict[str, int]) -> None:
    devices = [CPU, gpu(0, 12), gpu(1, 24)]
    assert layers_by_device(deployment(shape=LARGE, placement=placement), devices) == layers


def test_weights_and_cells_lie_where_their_layers_are() -> None:
    half = estimate(deployment(shape=LARGE, gpu_layers=17, context=8192, parallel=1), [CPU, gpu(0)])
    body, cells = 7 * GIB // 2, 8192 * 65_536 * 2 // 2
    on_gpu = body + GIB // 2 + cells
    assert on_gpu < half.by_device["CUDA0"] < on_gpu + GIB
    assert half.by_device["cpu"] > body + GIB // 2 + cells
    assert half.weights == 8 * GIB


def test_embeddings_that_serve_as_the_output_matrix_are_copied_onto_the_accelerator() -> None:
    tied = Shape(*(4 * GIB, 32, 2048, 8192, 128_000, 8192), heads=16, feed_forward=8192, input_bytes=GIB)
    assert estimate(deployment(shape=tied), [CPU]).weights == 4 * GIB
    assert estimate(deployment(shape=tied), [CPU, gpu(0)]).weights == 5 * GIB


def test_the_buffers_and_the_process_of_a_dry_load_stand_in_for_our_own() -> None:
    found = Probed("llama.cpp", (), idle=5, process=70, compute={"cpu": 11, "CUDA0": 13})
    made = deployment(shape=LARGE)
    header, dry = estimate(made, [CPU]), probed(made, [CPU], found)
    assert (dry.weights, dry.cells, dry.source) == (header.weights, header.cells, "probed")
    assert dry.compute == 70 + 11 + 13 + serving(made) + (2 << 20)
