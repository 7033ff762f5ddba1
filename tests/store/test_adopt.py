"""Adoption: Ollama directories and Hugging Face caches become ours to serve, and not a byte of them changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from powerd.digest import Digest
from powerd.errors import BadRequest, Conflict
from powerd.names import Name
from powerd.store.adopt import adopt, forget
from powerd.store.store import Store
from tests.store.shelves import add_blob, add_manifest, add_model, snapshot, weights


@pytest.fixture
def ollama(tmp_path: Path) -> Path:
    root = tmp_path / "home" / ".ollama" / "models"
    add_model(root, "registry.ollama.ai/library/demo/latest", texts=[("system", b"be kind")])
    add_model(root, "hf.co/org/repo/Q4_K_M", gguf=weights("other") + bytes(2 << 20))
    return root


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    root = tmp_path / "huggingface" / "hub"
    add_cached(root, "org", "Small-GGUF", "abc", "small-Q4_K_M.gguf", weights("q4"))
    add_cached(root, "org", "Small-GGUF", "abc", "sub/small.UD-Q8_0.gguf", weights("q8"))
    (root / "models--org--Small-GGUF" / "refs").mkdir()
    (root / "models--org--Small-GGUF" / "refs" / "main").write_text("abc")
    return root


def add_cached(root: Path, organisation: str, model: str, revision: str, name: str, data: bytes) -> Path:
    """Lay a file out as huggingface_hub does."""
    repository = root / f"models--{organisation}--{model}"
    blob = repository / "blobs" / Digest.of(data).hex
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(data)
    link = repository / "snapshots" / revision / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(os.path.relpath(blob, link.parent))
    return blob


def shown(store: Store) -> dict[str, tuple[str | None, bool]]:
    return {model.name.display: (model.system, model.read_only) for model in store.models()}


def reopened(store: Store) -> Store:
    store.close()
    again = Store(store.root)
    again.open()
    return again


@pytest.mark.parametrize("above", [0, 1, 2])
def test_an_ollama_directory_is_served_from_where_it_lies(store: Store, ollama: Path, above: int) -> None:
    before = snapshot(ollama)
    given = (ollama, *ollama.parents)[above]
    adopted = adopt(store, given, "lower")
    assert (adopted.kind, adopted.directory, sorted(adopted.models)) == (
        "ollama",
        str(ollama),
        ["demo:latest", "hf.co/org/repo:Q4_K_M"],
    )
    assert shown(store) == {"demo:latest": ("be kind", True), "hf.co/org/repo:Q4_K_M": (None, True)}
    assert list((store.root / "blobs").iterdir()) == []
    store = reopened(store)
    assert len(shown(store)) == 2
    assert adopt(store, ollama, "lower").models == adopted.models
    assert len(store.lower.shelves) == 1
    assert forget(store, given) is True
    assert forget(store, given) is False
    assert shown(store) == {}
    assert snapshot(ollama) == before
    store.close()


def test_copying_makes_the_models_our_own_byte_for_byte(store: Store, ollama: Path) -> None:
    before = snapshot(ollama)
    heard: list[tuple[str, int, int]] = []
    adopted = adopt(store, ollama, "copy", lambda *step: heard.append(step))
    assert adopted.skipped == []
    assert shown(store) == {"demo:latest": ("be kind", False), "hf.co/org/repo:Q4_K_M": (None, False)}
    assert store.lower.shelves == ()
    ours = {path.relative_to(store.root): path.read_bytes() for path in (store.root / "manifests").rglob("*/*/*/*")}
    theirs = {path.relative_to(ollama): path.read_bytes() for path in (ollama / "manifests").rglob("*/*/*/*")}
    assert ours == theirs
    assert store.fsck().findings == ()
    assert ("hf.co/org/repo:Q4_K_M", len(weights("other")) + (2 << 20), len(weights("other")) + (2 << 20)) in heard
    assert snapshot(ollama) == before
    again = adopt(store, ollama, "copy")
    assert again.models == []
    assert len(again.skipped) == 2
    assert "is in the store already" in again.skipped[0]


def test_linking_shares_what_nobody_may_write_and_copies_nothing_large(store: Store, ollama: Path) -> None:
    large = ollama / "blobs" / Digest.of(weights("other") + bytes(2 << 20)).blob_name
    adopted = adopt(store, ollama, "link")
    if adopted.skipped:  # a file system without reflinks
        assert adopted.models == ["demo:latest"]
        assert "cannot be shared with the store" in adopted.skipped[0]
        large.chmod(0o440)
        assert adopt(store, ollama, "link").models == ["hf.co/org/repo:Q4_K_M"]
        assert large.stat().st_nlink == 2
    assert len(shown(store)) == 2


def test_what_cannot_be_taken_over_is_skipped_with_the_reason(store: Store, ollama: Path) -> None:
    add_manifest(ollama, "registry.ollama.ai/library/torn/latest", b"{")
    add_model(ollama, "registry.ollama.ai/library/lost/latest", gguf=weights("lost"))
    (ollama / "blobs" / Digest.of(weights("lost")).blob_name).unlink()
    add_model(ollama, "registry.ollama.ai/library/bad/latest", gguf=weights("bad"))
    (ollama / "blobs" / Digest.of(weights("bad")).blob_name).write_bytes(b"GGUF, but other bytes")
    adopted = adopt(store, ollama, "copy")
    assert sorted(adopted.models) == ["demo:latest", "hf.co/org/repo:Q4_K_M"]
    told = "\n".join(adopted.skipped)
    assert "torn:latest: invalid manifest: not JSON" in told
    assert "lost:latest: blob sha256:" in told
    assert "bad:latest: digest mismatch" in told
    assert store.fsck().sound


def test_a_hugging_face_cache_is_served_from_where_it_lies(store: Store, hub: Path) -> None:
    before = snapshot(hub)
    adopted = adopt(store, hub.parent, "lower")
    names = ["hf.co/org/Small-GGUF:Q4_K_M", "hf.co/org/Small-GGUF:UD-Q8_0"]
    assert (adopted.kind, sorted(adopted.models), adopted.skipped) == ("huggingface", names, [])
    found = store.find(Name.parse("hf.co/org/small-gguf:q4_k_m"))
    assert found is not None
    assert found.weights == hub / "models--org--Small-GGUF" / "blobs" / Digest.of(weights("q4")).hex
    assert sum(path.stat().st_size for path in (store.root / "blobs").iterdir()) < 500  # configs alone
    store = reopened(store)
    assert sorted(shown(store)) == names
    store.check_blob(found.weights_digest)
    assert snapshot(hub) == before
    store.close()


def test_a_cached_file_with_other_bytes_than_its_name_is_not_adopted(store: Store, hub: Path) -> None:
    blob = hub / "models--org--Small-GGUF" / "blobs" / Digest.of(weights("q4")).hex
    blob.write_bytes(weights("another"))
    adopted = adopt(store, hub, "lower")
    assert adopted.models == ["hf.co/org/Small-GGUF:UD-Q8_0"]
    assert "is corrupt" in adopted.skipped[0]


def test_parts_projectors_and_files_kept_otherwise_are_skipped(store: Store, hub: Path) -> None:
    add_cached(hub, "org", "Split", "r", "big-Q4_0-00001-of-00002.gguf", weights("part"))
    add_cached(hub, "org", "Torn", "r", "torn.gguf", b"GGUF")
    plain = hub / "models--org--Plain" / "snapshots" / "r" / "plain.gguf"
    plain.parent.mkdir(parents=True)
    plain.write_bytes(weights("plain"))
    adopted = adopt(store, hub, "lower")
    assert len(adopted.models) == 2
    told = "\n".join(adopted.skipped)
    for expected in ("split weights", "truncated GGUF", "does not keep it under its SHA-256"):
        assert expected in told


def test_a_cache_can_be_copied(store: Store, hub: Path) -> None:
    assert len(adopt(store, hub, "copy").models) == 2
    assert all(not read_only for _, read_only in shown(store).values())
    assert store.lower.shelves == ()


def test_what_is_neither_is_refused(store: Store, tmp_path: Path, ollama: Path) -> None:
    with pytest.raises(BadRequest, match="neither an Ollama directory"):
        adopt(store, tmp_path / "nowhere", "lower")
    with pytest.raises(BadRequest, match="neither an Ollama directory"):
        adopt(store, tmp_path, "lower")
    with pytest.raises(BadRequest, match="absolute path"):
        adopt(store, Path("relative"), "lower")
    with pytest.raises(Conflict, match="own store"):
        adopt(store, store.root, "copy")


def test_s01_a_torn_list_and_a_directory_that_is_gone_harm_nothing(store: Store, ollama: Path) -> None:
    adopt(store, ollama, "lower")
    (ollama / "blobs").rename(ollama / "away")
    store = reopened(store)
    assert shown(store) == {}
    (ollama / "away").rename(ollama / "blobs")
    (store.root / ".powerd" / "lower.json").write_bytes(b"[1,")
    store = reopened(store)
    assert shown(store) == {}
    assert adopt(store, ollama, "lower").models
    assert len(shown(store)) == 2
    store.close()


def test_a_lower_blob_never_counts_as_ours(store: Store, ollama: Path) -> None:
    adopt(store, ollama, "lower")
    digest = add_blob(ollama, b"theirs")
    assert store.collect([], grace=0) == []
    assert (ollama / "blobs" / digest.replace(":", "-")).exists()
