"""The ledger: what was promised of which device."""

from __future__ import annotations

import pytest

from powerd.fleet.ledger import Ledger, larger, measured
from powerd.protocol import ReadBack
from tests.fleet.play import model, read_back


def test_it_gives_out_no_more_than_the_budget_of_each_device() -> None:
    ledger = Ledger({"cpu": 100, "gpu": 50})
    ledger.reserve(1, {"cpu": 60, "gpu": 50})
    assert not ledger.fits({"cpu": 10, "gpu": 1})
    with pytest.raises(ValueError, match="were not free"):
        ledger.reserve(2, {"cpu": 10, "gpu": 1})
    ledger.reserve(2, {"cpu": 40, "gpu": 0})
    ledger.release(1)
    assert (ledger.reserved("cpu"), ledger.free("cpu"), ledger.free("gpu"), ledger.holders()) == (40, 60, 50, {2})


def test_nobody_is_promised_twice() -> None:
    ledger = Ledger({"cpu": 100})
    ledger.reserve(1, {"cpu": 1})
    with pytest.raises(ValueError, match="runner 1"):
        ledger.reserve(1, {"cpu": 1})


def test_it_shows_what_a_runner_holds_above_its_promise() -> None:
    ledger = Ledger({"cpu": 100})
    ledger.reserve(1, {"cpu": 60})
    ledger.resize(1, {"cpu": 130})
    assert (dict(ledger.held(1)), ledger.reserved("cpu"), ledger.free("cpu")) == ({"cpu": 130}, 130, -30)


def test_a_device_it_was_not_given_has_nothing_to_give() -> None:
    ledger = Ledger({"cpu": 100})
    assert not ledger.fits({"gpu": 1})
    assert ledger.fits({"gpu": 0})


def test_a_device_that_goes_leaves_its_promises_standing() -> None:
    ledger = Ledger({"cpu": 100, "gpu": 50})
    ledger.reserve(1, {"gpu": 20})
    ledger.set_budgets({"cpu": 100})
    assert (ledger.budget("gpu"), ledger.reserved("gpu"), ledger.free("gpu")) == (0, 20, -20)
    assert list(ledger.devices) == ["cpu", "gpu"]
    ledger.release(1)
    assert list(ledger.devices) == ["cpu"]


@pytest.mark.parametrize(
    ("size", "size_gpu", "pss", "host"), [(70, 0, 0, 70), (70, 0, 55, 55), (0, 0, 0, 5), (70, 60, 0, 10)]
)
def test_without_devices_the_host_holds_what_is_told(size: int, size_gpu: int, pss: int, host: int) -> None:
    have = ReadBack(1, 1, 1, 1, 0, "f16", True, 1, 1, 1, "", "cpu", rss=5, size=size, size_gpu=size_gpu, pss=pss)
    assert measured(have) == {"cpu": host}


def test_devices_hold_what_the_engine_says_and_the_host_what_the_kernel_counts() -> None:
    have = read_back(model("a"), size=9, devices={"cpu": 10, "CUDA0": 90})
    assert measured(have) == {"cpu": 10, "CUDA0": 90}


def test_the_larger_of_two_is_taken_device_by_device() -> None:
    assert larger({"cpu": 1, "gpu": 5}, {"cpu": 2, "npu": 3}) == {"cpu": 2, "gpu": 5, "npu": 3}
