"""The memory arithmetic."""

from __future__ import annotations

import pytest

from powerd.fleet.budget import PROCESS_BYTES, Ledger, estimate
from powerd.protocol import Deployment, Shape

SHAPE = Shape(weights_bytes=1000, layers=2, embedding=0, kv_width=64, vocab=0, trained_context=4096)


def deployment(**changes: object) -> Deployment:
    values: dict[str, object] = {"context": 2048, "parallel": 3, "shape": SHAPE}
    return Deployment("/w", "a" * 64, **(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "size"), [("f16", 2 * 64), ("q8_0", 64 * 34 // 32), ("q4_0", 64 * 18 // 32)])
def test_cells_cost_keys_and_values_for_every_token_of_every_sequence(kind: str, size: int) -> None:
    assert estimate(deployment(kv_cache=kind)).cells == 2048 * 3 * size


def test_weights_are_the_files_bytes_and_the_total_is_the_sum() -> None:
    need = estimate(deployment())
    assert need.weights == 1000
    assert need.total == need.weights + need.cells + need.compute


def test_compute_holds_mask_activations_logits_vocabulary_and_process() -> None:
    wide = Shape(1000, 2, 100, 64, vocab=152_064, trained_context=4096)
    mask, activations, logits, words = 512 * 2 * 2048 * 3, 512 * 4 * 100 * 16, 4 * 152_064 * 4, 152_064 * 256
    assert estimate(deployment(shape=wide)).compute == mask + activations + logits + words + PROCESS_BYTES


def test_the_ledger_gives_out_no_more_than_the_budget() -> None:
    ledger = Ledger("cpu", 100)
    ledger.reserve(1, 60)
    with pytest.raises(ValueError, match="were not free"):
        ledger.reserve(2, 41)
    ledger.reserve(2, 40)
    ledger.release(1)
    assert (ledger.reserved, ledger.free, ledger.holders()) == (40, 60, {2})


def test_the_ledger_shows_what_a_runner_holds_above_its_promise() -> None:
    ledger = Ledger("cpu", 100)
    ledger.reserve(1, 60)
    ledger.resize(1, 130)
    assert (ledger.held(1), ledger.reserved, ledger.free) == (130, 130, -30)
