"""df, leases and pins: where the bytes are, and what keeps them there."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from powerd.digest import Digest
from powerd.errors import Conflict
from powerd.names import Name
from powerd.store import collect
from powerd.store.manifest import MODEL_TYPE, SYSTEM_TYPE, Layer
from powerd.store.store import Store
from tests.store.shelves import add_model, weights
from tests.store.test_taking_away import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(collect, "time", clock)
    return clock


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    add_model(tmp_path / "lower", "registry.ollama.ai/library/theirs/latest", gguf=weights("theirs"))
    opened = Store(tmp_path / "store", lower=[tmp_path / "lower"], quota=1_000_000)
    opened.open()
    yield opened
    opened.close()


def publish(store: Store, name: str, gguf: bytes, system: str = "") -> None:
    parts = [(MODEL_TYPE, gguf), *([(SYSTEM_TYPE, system.encode())] if system else [])]
    store.publish(Name.parse(name), [Layer(kind, *store.put(data)) for kind, data in parts], {})


CONFIG = len(b"{}\n")


def test_df_says_whose_every_byte_is(store: Store) -> None:
    shared, alone = weights("shared"), weights("alone")
    publish(store, "one", shared, "be one")
    publish(store, "two", shared)
    publish(store, "three", alone)
    store.put(b"nobody's")
    (store.root / ".powerd" / "corrupt").mkdir()
    (store.root / ".powerd" / "corrupt" / "x").write_bytes(b"12345")
    usage = store.usage()
    figures = {model.name: (model.size, model.alone, model.read_only) for model in usage.models}
    theirs = figures.pop("theirs:latest")
    assert theirs[1:] == (0, True)
    assert figures == {
        "one:latest": (len(shared) + len("be one") + CONFIG, len("be one"), False),
        "two:latest": (len(shared) + CONFIG, 0, False),
        "three:latest": (len(alone) + CONFIG, len(alone), False),
    }
    assert usage.shared == len(shared) + CONFIG
    assert usage.unreferenced == len("nobody's")
    assert usage.bytes == usage.shared + usage.unreferenced + sum(each[1] for each in figures.values())
    assert (usage.blobs, usage.corrupt, usage.quota, usage.leftovers) == (5, 5, 1_000_000, 0)
    assert usage.free == 1_000_000 - usage.bytes
    assert usage.lower == (str(store.root.parent / "lower"),)


def test_what_df_calls_alone_is_what_deleting_gives_back(store: Store) -> None:
    publish(store, "one", weights("shared"), "be one")
    publish(store, "two", weights("shared"))
    before = store.usage()
    (alone,) = [model.alone for model in before.models if model.name == "one:latest"]
    store.delete(Name.parse("one"))
    assert before.bytes - store.usage().bytes == alone


def test_d08_a_leased_blob_survives_delete_and_collection_until_the_lease_ends(store: Store, clock: Clock) -> None:
    publish(store, "one", weights())
    digest = Digest.of(weights())
    with store.lease([digest]):
        assert digest not in store.delete(Name.parse("one"))
        clock.now += 10 * collect.LEASE
        assert store.collect([], grace=0) == []
        assert store.blob(digest) is not None
    assert store.collect([], grace=0) == [digest]


def test_a_lease_counts_its_holders_and_ends_once(store: Store, clock: Clock) -> None:
    digest, _ = store.put(b"x")
    clock.now += 2 * collect.LEASE
    first, second = store.lease([digest]), store.lease([digest])
    first.close()
    first.close()
    assert store.collect([], grace=0) == []
    second.close()
    assert store.collect([], grace=0) == [digest]


def test_a_lease_starts_the_grace_anew(store: Store, clock: Clock) -> None:
    digest, _ = store.put(b"x")
    clock.now += 2 * collect.LEASE
    assert store.collect([]) == []
    clock.now += 3000
    store.lease([digest]).close()
    store.collect([])
    clock.now += 3000
    assert store.collect([]) == []
    clock.now += 601
    assert store.collect([]) == [digest]


def test_a_lease_on_what_is_not_here_yet_keeps_it_when_it_comes(store: Store, clock: Clock) -> None:
    with store.lease([Digest.of(b"x")]):
        store.put(b"x")
        clock.now += 2 * collect.LEASE
        assert store.collect([], grace=0) == []


def test_pins_are_replaced_as_a_whole(store: Store, clock: Clock) -> None:
    one, two = store.put(b"one")[0], store.put(b"two")[0]
    clock.now += 2 * collect.LEASE
    store.pin([one])
    assert store.collect([], grace=0) == [two]
    store.pin([])
    assert store.collect([], grace=0) == [one]


def test_two_who_bring_the_same_bytes_each_keep_them(store: Store) -> None:
    digest, size = store.put(weights())
    store.put(weights())
    store.publish(Name.parse("one"), [Layer(MODEL_TYPE, digest, size)], {})
    store.delete(Name.parse("one"))
    store.publish(Name.parse("two"), [Layer(MODEL_TYPE, digest, size)], {})
    assert [model.name.model for model in store.models()] == ["two", "theirs"]


def test_a_kept_blob_does_not_count_towards_the_fraction(store: Store, clock: Clock) -> None:
    publish(store, "one", weights())
    store.remove_manifest(Name.parse("one"))
    clock.now += 2 * collect.LEASE
    with pytest.raises(Conflict, match="max_delete_fraction"):
        store.collect([], grace=0, fraction=0.5)
    with store.lease([Digest.of(weights())]):
        assert store.collect([], grace=0, fraction=0.5) == [Digest.of(b"{}\n")]


def test_what_blocks_a_collection_can_be_asked_for(store: Store) -> None:
    assert store.unreadable() == []
    path = store.root / "manifests" / "registry.ollama.ai" / "library" / "torn" / "latest"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"{")
    assert store.unreadable() == [path]


def test_a_download_is_kept_while_it_may_be_of_use(store: Store) -> None:
    partial = store.partial(Digest.of(b"0123456789"), 10)
    partial.write(0, b"012")
    area = store.root / ".powerd" / "ingest"
    store.clear_leftovers(0)  # under way
    partial.close()
    store.clear_leftovers(0)  # written to a moment ago
    assert store.usage().leftovers > 0
    left = area / Digest.of(b"0123456789").blob_name
    assert left.is_dir()
    for path in (*left.iterdir(), left):
        _age(path, 3000)
    store.clear_leftovers(3600)
    assert left.is_dir()
    with store.lease([Digest.of(b"0123456789")]):
        store.clear_leftovers(0)
    assert left.is_dir()
    store.clear_leftovers(0)
    assert not left.exists()


def test_what_is_left_of_a_download_that_was_committed_goes_at_once(store: Store) -> None:
    digest, _ = store.put(b"0123456789")
    left = store.root / ".powerd" / "ingest" / digest.blob_name
    left.mkdir()
    (left / "have").write_text("{}")
    store.collect([])
    assert not left.exists()


def _age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))
