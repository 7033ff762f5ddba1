"""history: accepted files, numbered, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from powerd.errors import StoreFailed
from powerd.reconcile.history import History


def test_generations_are_numbered_and_equal_ones_are_not_counted_twice(tmp_path: Path) -> None:
    history = History(tmp_path / "generations", keep=5)
    assert history.latest() is None
    assert [history.accept("a"), history.accept("a"), history.accept("b"), history.accept("a")] == [1, 1, 2, 3]
    assert history.latest() == (3, "a")


def test_only_the_newest_are_kept_and_numbers_never_come_back(tmp_path: Path) -> None:
    history = History(tmp_path, keep=2)
    for text in "abcd":
        history.accept(text)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000003.yaml", "000004.yaml"]
    assert History(tmp_path, keep=2).accept("e") == 5


def test_an_unreadable_generation_is_passed_over(tmp_path: Path) -> None:
    history = History(tmp_path, keep=5)
    history.accept("good")
    (tmp_path / "000002.yaml").write_bytes(b"\xff\xfe")
    assert history.latest() == (1, "good")


def test_a_state_directory_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreFailed, match="cannot keep generation 1"):
        History(tmp_path / "file" / "generations", keep=5).accept("a")


def test_nothing_half_written_is_left_behind(tmp_path: Path) -> None:
    History(tmp_path, keep=5).accept("a")
    assert [path.name for path in tmp_path.iterdir()] == ["000001.yaml"]
