"""Probabilities from rows of logits."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence

import pytest

from powerd.runner.likelihood import Likelihood


def likelihood(rows: Sequence[Sequence[float]], top: int) -> Likelihood:
    size = len(rows[0])
    memory = [(ctypes.c_float * size)(*row) for row in rows]
    pointers = [ctypes.cast(row, ctypes.POINTER(ctypes.c_float)) for row in memory]

    def logits(row: int) -> object:
        assert memory
        return pointers[row]

    return Likelihood(logits, size, lambda token: f"t{token}".encode(), top)


def test_they_are_the_log_softmax_and_the_best_come_first() -> None:
    rows = [[0.0, 3.0, 1.0, 2.0, -5.0], [9.0, 9.0, 9.0, 9.0, 9.0]]
    made = likelihood(rows, 3)
    made.look(0)
    told = made.of(2)
    total = math.log(sum(math.exp(value) for value in rows[0]))
    assert told.token == b"t2"
    assert told.logprob == pytest.approx(1.0 - total, abs=1e-6)
    assert [likely.token for likely in told.top] == [b"t1", b"t3", b"t2"]
    assert [likely.logprob for likely in told.top] == pytest.approx([3 - total, 2 - total, 1 - total], abs=1e-6)
    made.look(1)
    assert [likely.token for likely in made.of(0).top] != []
    assert made.of(4).logprob == pytest.approx(-math.log(5), abs=1e-6)


def test_a_row_changed_after_the_look_does_not_change_them() -> None:
    row = (ctypes.c_float * 2)(1.0, 1.0)
    made = Likelihood(lambda _: ctypes.cast(row, ctypes.POINTER(ctypes.c_float)), 2, lambda _: b"", 0)
    made.look(0)
    row[1] = -math.inf
    assert made.of(1).logprob == pytest.approx(-math.log(2), abs=1e-6)


def test_numbers_are_always_finite_and_alternatives_no_more_than_there_are() -> None:
    made = likelihood([[-math.inf, 0.0]], 20)
    made.look(0)
    assert made.of(0).logprob == -9999.0
    assert [likely.logprob for likely in made.of(1).top] == [0.0, -9999.0]
