"""A blob is hashed again when its file has changed, and only then; a corrupt one is refused, named and healed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from powerd.digest import Digest
from powerd.errors import BadRequest, Conflict, StoreFailed
from powerd.names import Name
from powerd.store import verified
from powerd.store.manifest import MODEL_TYPE, Layer
from powerd.store.store import Store
from tests.store.deeds import manifest, pull
from tests.store.shelves import add_model, snapshot, weights


class Hashing:
    """Counts the files that are hashed."""

    def __init__(self, real: Callable[[int], Digest]) -> None:
        self._real = real
        self.files = 0

    def __call__(self, fd: int) -> Digest:
        self.files += 1
        return self._real(fd)


@pytest.fixture
def hashing(monkeypatch: pytest.MonkeyPatch) -> Hashing:
    counting = Hashing(verified.hash_file)
    monkeypatch.setattr(verified, "hash_file", counting)
    monkeypatch.setattr(verified, "SMALL", 1000)
    return counting


@pytest.fixture
def store(tmp_path: Path, hashing: Hashing) -> Iterator[Store]:
    opened = Store(tmp_path / "store")
    opened.open()
    yield opened
    opened.close()


BIG = b"x" * 5000


def reopened(store: Store) -> Store:
    store.close()
    again = Store(store.root)
    again.open()
    return again


def test_what_was_committed_is_not_hashed_again_even_after_a_restart(store: Store, hashing: Hashing) -> None:
    digest, _ = store.put(BIG)
    store.check_blob(digest)
    store = reopened(store)
    store.check_blob(digest)
    assert hashing.files == 0
    store.close()


def test_a_small_blob_is_hashed_each_time_and_leaves_no_mark(store: Store, hashing: Hashing) -> None:
    digest, _ = store.put(b"small")
    store.check_blob(digest)
    assert hashing.files == 1
    assert list((store.root / ".powerd" / "verified").iterdir()) == []


def overwritten(path: Path) -> None:
    path.chmod(0o600)
    path.write_bytes(bytes(len(BIG)))


def replaced_with_its_time_kept(path: Path) -> None:
    before = path.stat()
    new = path.with_suffix(".new")
    new.write_bytes(bytes(len(BIG)))
    new.rename(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def overwritten_with_its_time_kept(path: Path) -> None:
    before = path.stat()
    overwritten(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def cut(path: Path) -> None:
    path.chmod(0o600)
    os.truncate(path, 100)


@pytest.mark.parametrize("harm", [overwritten, replaced_with_its_time_kept, overwritten_with_its_time_kept, cut])
def test_s06_a_changed_blob_is_refused_by_name(store: Store, harm: Callable[[Path], None]) -> None:
    digest, _ = store.put(BIG)
    path = store.blob(digest)
    assert path is not None
    harm(path)
    for _ in range(2):
        with pytest.raises(Conflict, match=f"^blob {digest} is corrupt, re-pull$"):
            store.check_blob(digest)
        assert store.intact(digest) is False
    store.put(BIG)
    store.check_blob(digest)


def test_a_touched_blob_is_hashed_once(store: Store, hashing: Hashing) -> None:
    digest, _ = store.put(BIG)
    path = store.blob(digest)
    assert path is not None
    os.utime(path)
    store.check_blob(digest)
    store.check_blob(digest)
    assert hashing.files == 1


@pytest.mark.parametrize("mark", [b"", b"1 2 3", b"\xff" * 50, b"x" * 1000])
def test_k07_a_torn_mark_costs_a_hashing_and_nothing_else(store: Store, hashing: Hashing, mark: bytes) -> None:
    digest, _ = store.put(BIG)
    store = reopened(store)
    (store.root / ".powerd" / "verified" / digest.hex).write_bytes(mark)
    store.check_blob(digest)
    store.check_blob(digest)
    assert hashing.files == 1
    store.close()


def test_a_blob_that_is_not_there_is_missing(store: Store) -> None:
    with pytest.raises(Conflict, match=r"is missing, re-pull"):
        store.check_blob(Digest.of(b"nowhere"))
    assert store.intact(Digest.of(b"nowhere")) is False


def test_d03_a_blob_that_cannot_be_read_is_the_disks_fault(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    digest, _ = store.put(b"small")

    def fail(_fd: int) -> Digest:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(verified, "hash_file", fail)
    with pytest.raises(StoreFailed, match="Input/output error"):
        store.check_blob(digest)


def test_many_who_ask_at_once_wait_for_one_hashing(store: Store, hashing: Hashing) -> None:
    digest, _ = store.put(BIG)
    path = store.blob(digest)
    assert path is not None
    os.utime(path)
    threads = [threading.Thread(target=store.check_blob, args=(digest,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert hashing.files == 1


def test_a_lower_stores_blob_is_hashed_once_and_never_written(tmp_path: Path, hashing: Hashing) -> None:
    large = weights() + bytes(1000)
    add_model(tmp_path / "lower", "registry.ollama.ai/library/demo/latest", gguf=large)
    before = snapshot(tmp_path / "lower")
    digest = Digest.of(large)
    for _ in range(2):
        store = Store(tmp_path / "store", lower=[tmp_path / "lower"])
        store.open()
        store.check_blob(digest)
        store.collect([], grace=0)
        store.close()
    assert hashing.files == 1
    assert snapshot(tmp_path / "lower") == before
    (tmp_path / "lower" / "blobs" / digest.blob_name).write_bytes(bytes(len(large)))
    store.open()
    with pytest.raises(Conflict, match="is corrupt"):
        store.check_blob(digest)
    store.put(large)  # ours goes before the lower store's
    store.check_blob(digest)
    store.close()


def test_marks_of_blobs_that_are_gone_go_too(store: Store) -> None:
    digest, _ = store.put(BIG)
    path = store.blob(digest)
    assert path is not None
    path.unlink()
    store.clear_leftovers()
    assert list((store.root / ".powerd" / "verified").iterdir()) == []


def test_s04_s05_a_manifest_over_corrupt_bytes_is_never_published(store: Store) -> None:
    digest, size = store.put(weights())
    path = store.blob(digest)
    assert path is not None
    path.chmod(0o600)
    path.write_bytes(bytes(size))
    with pytest.raises(Conflict, match=f"demo:latest cannot be published: blob {digest} is corrupt, re-pull"):
        store.publish(Name.parse("demo"), [Layer(MODEL_TYPE, digest, size)], {})
    assert store.models() == []


def test_a_manifest_is_kept_byte_for_byte(store: Store) -> None:
    pull(store, "demo", 1, "text")
    path = store.root / "manifests/registry.ollama.ai/library/demo/latest"
    assert path.read_bytes() == manifest(1, "text")
    found = store.find(Name.parse("demo"))
    assert found is not None
    assert found.digest == Digest.of(manifest(1, "text"))


@pytest.mark.parametrize("data", [b"", b"[]", b'{"schemaVersion":2}', b'{"schemaVersion":1,"layers":[]}'])
def test_s07_what_is_no_manifest_is_refused(store: Store, data: bytes) -> None:
    with pytest.raises(BadRequest, match="invalid manifest: "):
        store.publish_manifest(Name.parse("demo"), data)
    assert not list((store.root / "manifests").iterdir())
