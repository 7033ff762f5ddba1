"""Pins: blobs that only an earlier generation needs are kept, counted as such, and go when they are pinned no more."""

from __future__ import annotations

from pathlib import Path

from powerd.store.store import Store


def test_pinned_blobs_are_kept_and_told_apart_from_those_nothing_needs(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.open()
    (kept, size), (loose, other) = store.put(b"kept for rollback"), store.put(b"nobody's")
    for digest in (kept, loose):
        store._blobs.leases.release(digest)
    store.pin([kept])
    usage = store.usage()
    assert (usage.kept, usage.unreferenced) == (size, other)
    assert store.collect((), grace=0.0) == [loose]
    store.pin([])
    assert (store.usage().kept, store.collect((), grace=0.0)) == (0, [kept])
    store.close()


def test_a_store_that_is_only_peeked_at_is_not_written(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.open()
    digest, _ = store.put(b"x" * (2 << 20))
    store.close()
    mark = tmp_path / ".powerd/verified" / digest.hex
    mark.unlink()
    before = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    peeking = Store(tmp_path)
    peeking.peek()
    assert peeking.intact(digest)
    assert sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")) == before
