"""Deleting models and collecting blobs: nothing that anybody needs ever goes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from powerd.digest import Digest
from powerd.errors import Conflict, NotFound
from powerd.names import Name
from powerd.store import collect
from powerd.store.manifest import MODEL_TYPE, SYSTEM_TYPE, Layer
from powerd.store.store import Store
from tests.store.shelves import add_manifest, weights


class Clock:
    """The monotonic clock of leases, in the test's hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(collect, "time", clock)
    return clock


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    opened = Store(tmp_path / "store")
    opened.open()
    yield opened
    opened.close()


def publish(store: Store, name: str, system: str = "") -> None:
    parts = [(MODEL_TYPE, weights()), *([(SYSTEM_TYPE, system.encode())] if system else [])]
    store.publish(Name.parse(name), [Layer(kind, *store.put(data)) for kind, data in parts], {"for": name})


def blobs(store: Store) -> set[str]:
    return {path.name for path in (store.root / "blobs").iterdir()}


def test_delete_removes_the_manifest_empty_directories_and_unshared_blobs(store: Store) -> None:
    publish(store, "me/one", "be one")
    publish(store, "two")
    removed = store.delete(Name.parse("me/ONE"))
    assert Digest.of(b"be one") in removed
    assert Digest.of(weights()) not in removed
    assert [path.name for path in (store.root / "manifests").rglob("*")] == [
        "registry.ollama.ai",
        "library",
        "two",
        "latest",
    ]
    assert [model.name.model for model in store.models()] == ["two"]
    removed = store.delete(Name.parse("two"))
    assert Digest.of(weights()) in removed
    assert blobs(store) == set()
    assert list((store.root / "manifests").iterdir()) == []


def test_delete_of_what_is_not_there(store: Store) -> None:
    with pytest.raises(NotFound, match="model 'none:latest' not found"):
        store.delete(Name.parse("none"))


def test_delete_keeps_what_is_asked_for(store: Store) -> None:
    publish(store, "one", "be one")
    kept = Digest.of(weights())
    removed = store.delete(Name.parse("one"), keep=[kept])
    assert kept not in removed
    assert blobs(store) == {kept.blob_name}


def test_delete_spares_a_blob_that_another_model_is_about_to_name(store: Store) -> None:
    publish(store, "one")
    digest, size = store.put(weights())  # somebody brings the same weights again
    store.delete(Name.parse("one"))
    store.publish(Name.parse("two"), [Layer(MODEL_TYPE, digest, size)], {})
    assert [model.name.model for model in store.models()] == ["two"]


def test_an_unreadable_manifest_stops_every_removal_of_blobs(store: Store) -> None:
    publish(store, "one")
    add_manifest(store.root, "registry.ollama.ai/library/torn/latest", b'{"layers":')
    before = blobs(store)
    assert store.delete(Name.parse("one")) == []
    assert store.collect([], grace=0) == []
    assert blobs(store) == before
    assert store.delete(Name.parse("torn")) == []
    assert len(store.collect([], grace=0)) == 2
    assert blobs(store) == set()


def test_removing_a_manifest_leaves_its_blobs_to_the_collection(store: Store, clock: Clock) -> None:
    publish(store, "one")
    before = blobs(store)
    assert store.remove_manifest(Name.parse("ONE")) is True
    assert store.remove_manifest(Name.parse("one")) is False
    assert blobs(store) == before
    assert store.collect([]) == []  # takes note
    clock.now += 3599
    assert store.collect([]) == []
    clock.now += 2
    assert {digest.blob_name for digest in store.collect([])} == before
    assert blobs(store) == set()


def test_collect_keeps_what_is_named_kept_or_new(store: Store, clock: Clock) -> None:
    publish(store, "one", "be one")
    kept, _ = store.put(b"kept by a generation")
    fresh, _ = store.put(b"about to be named")
    assert store.collect([kept], grace=0) == []
    clock.now += collect.LEASE + 1
    assert store.collect([kept], grace=0) == [fresh]
    assert store.collect([], grace=0) == [kept]
    assert store.find(Name.parse("one")) is not None


def test_collect_never_deletes_more_than_the_allowed_part_at_once(store: Store, clock: Clock) -> None:
    publish(store, "one", "be one")
    store.remove_manifest(Name.parse("one"))
    clock.now += 2 * collect.LEASE
    before = blobs(store)
    with pytest.raises(Conflict, match=r"more than max_delete_fraction \(0.5\)"):
        store.collect([], grace=0, fraction=0.5)
    assert blobs(store) == before
    assert store.collect([], grace=0, fraction=1.0)
    assert blobs(store) == set()


def test_uploads_that_became_no_model_may_be_most_of_the_store(store: Store, clock: Clock) -> None:
    """Weights of full precision are larger than what is made of them, and would never go again."""
    publish(store, "one", "be one")
    upload, _ = store.put(bytes(1 << 20))
    clock.now += 2 * collect.LEASE
    with pytest.raises(Conflict, match="max_delete_fraction"):
        store.collect([], grace=0, fraction=0.0)
    assert store.collect([], grace=0, fraction=0.1) == [upload]
    store.put(bytes(1 << 20))
    with store.lease([upload]):
        assert store.collect([], grace=0, fraction=0.1) == []


def test_bytes_that_came_once_more_for_a_model_that_is_there_are_no_mere_upload(store: Store, clock: Clock) -> None:
    publish(store, "one", "be one")
    with store.ingest(None, None) as ingest:
        ingest.write(weights())
        assert ingest.commit() == Digest.of(weights())
    assert store.collect([]) == []
    store.remove_manifest(Name.parse("one"))
    clock.now += 2 * collect.LEASE
    with pytest.raises(Conflict, match="max_delete_fraction"):
        store.collect([], grace=0, fraction=0.1)


def test_a_blob_that_is_needed_again_in_between_starts_its_grace_anew(store: Store, clock: Clock) -> None:
    publish(store, "one")
    weight = Digest.of(weights())
    store.remove_manifest(Name.parse("one"))
    store.collect([])
    clock.now += 3000
    store.collect([weight])
    clock.now += 3000
    assert weight not in store.collect([])
    clock.now += 3601
    assert store.collect([]) == [weight]


def test_d07_a_restart_forgets_how_long_a_blob_was_unneeded(store: Store, clock: Clock) -> None:
    publish(store, "one")
    store.remove_manifest(Name.parse("one"))
    store.collect([])
    store.close()
    clock.now += 10_000
    again = Store(store.root)
    again.open()
    assert again.collect([]) == []
    clock.now += 3601
    assert len(again.collect([])) == 2
    again.close()


def test_collect_leaves_files_that_are_no_blobs(store: Store) -> None:
    (store.root / "blobs" / "sha256-abc-partial-0").write_bytes(b"ollama's")
    assert store.collect([], grace=0) == []
    assert blobs(store) == {"sha256-abc-partial-0"}
