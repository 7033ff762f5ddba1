"""history: accepted generations and what they resolved to, numbered, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from powerd.digest import Digest
from powerd.errors import StoreFailed
from powerd.reconcile.generations.history import History
from powerd.reconcile.generations.records import Record, Resolved, blobs, fetched, resolved
from powerd.reconcile.step import Fetched
from powerd.store.manifest import Layer

A, B = Digest("a" * 64), Digest("b" * 64)
ONE = Fetched("/m.gguf", "looks", A, B, "Q4_K_M", str(B), (Layer("template", B, 3),), "commit")


def record(number: int, text: str = "x") -> Record:
    return Record(number, 1.0, "models.yaml", {"/etc/power/models.yaml": text})


def accept(history: History, *texts: str, **known: Resolved) -> None:
    for text in texts:
        history.accept(record(history.next_number(), text), known)


def test_a_generation_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    history = History(tmp_path / "generations", keep=5)
    assert history.latest() is None
    kept = Record(1, 12.5, "rollback to 3", {"/a": "ä", "/b": "\n"}, "lock", 3, "print")
    history.accept(kept, {"m": resolved(ONE, A)})
    again = History(tmp_path / "generations", keep=5)
    assert again.latest() == kept
    assert fetched(again.resolved(1)["m"]) == ONE
    assert again.kept_blobs() == {A, B}


def test_only_the_newest_are_kept_with_their_blobs_and_numbers_never_come_back(tmp_path: Path) -> None:
    history = History(tmp_path, keep=2)
    accept(history, "a", m=resolved(ONE, A))
    accept(history, "b", "c", "d")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000003.json", "000004.json"]
    assert history.kept_blobs() == set()
    assert History(tmp_path, keep=2).next_number() == 5


def test_an_old_generation_that_cannot_be_deleted_hinders_no_new_one(tmp_path: Path) -> None:
    (tmp_path / "000001.json").mkdir()
    history = History(tmp_path, keep=1)
    history.accept(record(2, "new"), {})
    assert history.latest() == record(2, "new")


@pytest.mark.parametrize("torn", [b"\xff\xfe", b"", b"{", b'{"number": 7}', b"[]"])
def test_k07_an_unreadable_generation_is_passed_over(tmp_path: Path, torn: bytes) -> None:
    history = History(tmp_path, keep=5)
    accept(history, "good", m=resolved(ONE, A))
    (tmp_path / "000002.json").write_bytes(torn)
    (tmp_path / "000002.resolved.json").write_bytes(torn)
    assert history.latest() == record(1, "good")
    assert history.resolved(2) == {}
    assert (history.kept_blobs(), history.next_number()) == ({A, B}, 3)


def test_k07_a_resolved_model_with_bad_digests_keeps_the_others(tmp_path: Path) -> None:
    history = History(tmp_path, keep=5)
    accept(
        history,
        "x",
        m=resolved(ONE, A),
        bad=Resolved(source="/s", identity="", weights="nonsense", origin="", manifest=""),
    )
    assert history.kept_blobs() == {A, B}
    with pytest.raises(ValueError, match=r".+"):
        blobs(history.resolved(1)["bad"])


def test_a_state_directory_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreFailed, match="cannot keep generation 1"):
        accept(History(tmp_path / "file" / "generations", keep=5), "a")


def test_nothing_half_written_is_left_behind(tmp_path: Path) -> None:
    accept(History(tmp_path, keep=5), "a", m=resolved(ONE, A))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000001.json", "000001.resolved.json"]


def test_k07_what_a_kill_left_half_written_is_swept_away(tmp_path: Path) -> None:
    History(tmp_path / "none", keep=5).sweep()
    history = History(tmp_path, keep=5)
    accept(history, "good")
    (tmp_path / ".new-abc").write_bytes(b"half")
    history.sweep()
    assert not (tmp_path / ".new-abc").exists()
    assert history.latest() == record(1, "good")
