"""A short run of `make endure`: edits of every kind under load."""

from __future__ import annotations

from pathlib import Path

from tests.endure.edits import endure, judge


def test_edits_under_load_cost_no_answer_and_only_the_loads_they_ask_for(tmp_path: Path) -> None:
    outcome = endure(tmp_path, valid=8, broken=3, seed=5)
    assert outcome.valid == 9
    assert judge(outcome) == []
