"""fsck: everything that can be wrong with a store is found and named, and repair loses nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from powerd.digest import Digest
from powerd.errors import Cancelled
from powerd.names import Name
from powerd.store.fsck import FsckReport
from powerd.store.manifest import MODEL_TYPE, SYSTEM_TYPE, Layer
from powerd.store.store import Store
from tests.store.shelves import add_manifest, snapshot, weights


def publish(store: Store, name: str, system: str = "") -> None:
    parts = [(MODEL_TYPE, weights()), *([(SYSTEM_TYPE, system.encode())] if system else [])]
    store.publish(Name.parse(name), [Layer(kind, *store.put(data)) for kind, data in parts], {"for": name})


def overwrite(store: Store, digest: Digest, data: bytes) -> Path:
    path = store.root / "blobs" / digest.blob_name
    path.chmod(0o600)
    path.write_bytes(data)
    return path


def kinds(report: FsckReport) -> list[str]:
    return [finding.kind for finding in report.findings]


def test_a_sound_store_has_nothing_to_report(store: Store) -> None:
    publish(store, "one", "be one")
    heard: list[tuple[int, int]] = []
    report = store.fsck(on_progress=lambda done, total: heard.append((done, total)))
    assert (report.sound, report.blobs, report.manifests, report.findings) == (True, 3, 1, ())
    assert heard[-1] == (report.bytes, report.bytes)
    assert heard == sorted(heard)


def test_s06_a_zeroed_blob_is_named_with_every_model_that_needs_it(store: Store) -> None:
    publish(store, "one")
    publish(store, "two")
    weight = Digest.of(weights())
    overwrite(store, weight, bytes(len(weights())))
    report = store.fsck()
    assert kinds(report) == ["corrupt"]
    finding = report.findings[0]
    assert (finding.subject, finding.models) == (str(weight), ("one:latest", "two:latest"))
    assert f"blob {weight} is corrupt" in finding.message
    assert report.sound is False


def test_a_truncated_blob_is_told_apart(store: Store) -> None:
    publish(store, "one")
    overwrite(store, Digest.of(weights()), weights()[:100])
    assert kinds(store.fsck()) == ["truncated"]


def test_everything_else_that_can_be_wrong_is_found(store: Store) -> None:
    publish(store, "good")
    publish(store, "lost", "a text that will be gone")
    missing = Digest.of(b"a text that will be gone")
    (store.root / "blobs" / missing.blob_name).unlink()
    (store.root / "blobs" / "sha256-abc-partial-0").write_bytes(b"ollama's")
    (store.root / "blobs" / Digest.of(b"a directory").blob_name).mkdir()
    add_manifest(store.root, "registry.ollama.ai/library/torn/latest", b'{"layers":')
    add_manifest(store.root, "registry.ollama.ai/library/stray", b"{}")
    (store.root / ".powerd" / "ingest" / "left").write_bytes(b"half")
    found = {(finding.kind, finding.subject, finding.harmless) for finding in store.fsck().findings}
    assert found == {
        ("missing_blob", str(missing), False),
        ("unreadable_manifest", "torn:latest", False),
        ("unreadable_manifest", str(store.root / "manifests/registry.ollama.ai/library/stray"), False),
        ("ill_named", str(store.root / "blobs" / "sha256-abc-partial-0"), True),
        ("ill_named", str(store.root / "blobs" / Digest.of(b"a directory").blob_name), True),
        ("leftover", str(store.root / ".powerd" / "ingest" / "left"), True),
    }


def test_an_orphan_is_harmless_and_what_is_about_to_be_named_is_none(store: Store) -> None:
    publish(store, "one", "be one")
    store.remove_manifest(Name.parse("one"))
    store.put(b"about to be named")
    report = store.fsck()
    assert kinds(report) == ["orphan"] * 3
    assert report.sound


def test_a_manifest_that_says_another_size_is_told(store: Store) -> None:
    publish(store, "one")
    path = store.root / "manifests/registry.ollama.ai/library/one/latest"
    size = len(weights())
    path.write_bytes(path.read_bytes().replace(f'"size":{size}'.encode(), f'"size":{size + 1}'.encode()))
    report = store.fsck()
    assert kinds(report) == ["unreadable_manifest"]
    assert f"has {size} bytes where its manifests say {size + 1}" in report.findings[0].message


def test_without_repair_nothing_is_touched(store: Store) -> None:
    publish(store, "one")
    overwrite(store, Digest.of(weights()), b"other")
    before = snapshot(store.root)
    store.fsck()
    assert snapshot(store.root) == before


def test_s06_repair_moves_the_corrupt_blob_away_and_the_right_bytes_heal_the_model(store: Store) -> None:
    publish(store, "one")
    publish(store, "two")
    weight = Digest.of(weights())
    for number in (1, 2):
        overwrite(store, weight, f"corrupt {number}".encode())
        (moved,) = {finding.moved_to for finding in store.fsck(repair=True).findings}
        assert Path(moved).read_bytes() == f"corrupt {number}".encode()
        assert Path(moved).parent == store.root / ".powerd" / "corrupt"
        assert store.blob(weight) is None
        assert store.models() == []
        store.put(weights())
        assert [model.name.model for model in store.models()] == ["two", "one"]
    assert store.fsck().sound
    assert store.usage().corrupt == 2 * len("corrupt 1")
    assert len(list((store.root / ".powerd" / "corrupt").iterdir())) == 2


def test_d03_a_blob_that_cannot_be_read_is_not_called_corrupt(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(store, "one")
    real = os.pread

    def pread(fd: int, count: int, at: int) -> bytes:
        data = real(fd, count, at)
        if data[:4] == b"GGUF":
            raise OSError(5, "Input/output error")
        return data

    monkeypatch.setattr(os, "pread", pread)
    report = store.fsck(repair=True)
    assert kinds(report) == ["unreadable_blob"]
    assert report.findings[0].models == ("one:latest",)
    assert store.blob(Digest.of(weights())) is not None


def test_a_blob_replaced_while_it_is_hashed_is_left_alone(store: Store) -> None:
    publish(store, "one")
    weight = Digest.of(weights())
    overwrite(store, weight, b"corrupt")
    done = False

    def heal(_done: int, _total: int) -> None:
        nonlocal done
        if not done:
            done = True
            store.put(weights())

    assert store.fsck(repair=True, on_progress=heal).findings == ()
    assert store.intact(weight)


def test_it_stops_when_nobody_listens(store: Store) -> None:
    publish(store, "one")

    def stop(_done: int, _total: int) -> None:
        raise Cancelled("gone")

    with pytest.raises(Cancelled):
        store.fsck(on_progress=stop)
