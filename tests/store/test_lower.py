"""Lower stores: an existing Ollama directory is served and not one byte of it changes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from powerd.digest import Digest
from powerd.errors import Forbidden, NotFound
from powerd.names import Name
from powerd.store.lower import default_lower
from powerd.store.manifest import MODEL_TYPE, Layer
from powerd.store.store import Store
from tests.store.shelves import add_blob, add_manifest, add_model, snapshot, weights
from tests.store.test_gguf import DEMO

LIBRARY = "registry.ollama.ai/library"


@pytest.fixture
def ollama(tmp_path: Path) -> Path:
    root = tmp_path / "ollama"
    texts = [
        ("template", b"{{ .Prompt }}"),
        ("system", b"Be kind."),
        ("params", b'{"num_ctx":512,"stop":["</s>"]}'),
        ("license", b"MIT"),
        ("embed", b"obsolete"),
    ]
    add_model(root, f"{LIBRARY}/Demo/latest", gguf=DEMO.read_bytes(), texts=texts)
    add_model(root, "hf.co/someone/Small-GGUF/Q8_0", gguf=weights("hub"))
    add_model(root, f"{LIBRARY}/old/v1", gguf=weights("old"), legacy=True)
    return root


@pytest.fixture
def store(tmp_path: Path, ollama: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "own", lower=[ollama])
    opened.open()
    yield opened
    opened.close()


def test_an_ollama_directory_is_served_unchanged(store: Store, ollama: Path) -> None:
    before = snapshot(ollama)
    assert {model.name.display for model in store.models()} == {
        "Demo:latest",
        "hf.co/someone/Small-GGUF:Q8_0",
        "old:v1",
    }
    model = store.find(Name.parse("demo"))
    assert model is not None
    assert model.read_only is True
    assert (model.template, model.system, model.params) == (
        "{{ .Prompt }}",
        "Be kind.",
        {"num_ctx": 512, "stop": ["</s>"]},
    )
    assert model.licenses == ("MIT",)
    assert model.header.parameter_count == 2_885_888
    assert model.weights == ollama / "blobs" / model.weights_digest.blob_name
    manifest = (ollama / "manifests" / LIBRARY / "Demo/latest").read_bytes()
    assert model.digest == Digest.of(manifest)
    said = json.loads(manifest)
    assert model.size == said["config"]["size"] + sum(layer["size"] for layer in said["layers"])
    store.copy(Name.parse("demo"), Name.parse("mine"))
    store.collect([], grace=0)
    with pytest.raises(Forbidden, match=f"model 'demo:latest' belongs to {ollama}"):
        store.delete(Name.parse("demo"))
    assert store.remove_manifest(Name.parse("demo")) is False
    assert snapshot(ollama) == before


def test_early_blob_names_are_found(store: Store, ollama: Path) -> None:
    model = store.find(Name.parse("old:v1"))
    assert model is not None
    assert model.weights == ollama / "blobs" / f"sha256:{model.weights_digest.hex}"


def test_a_copy_is_ours_and_reads_the_lower_stores_blobs(store: Store, ollama: Path) -> None:
    store.copy(Name.parse("demo"), Name.parse("mine"))
    mine = store.find(Name.parse("mine"))
    assert mine is not None
    assert mine.read_only is False
    assert mine.weights.is_relative_to(ollama)
    assert store.delete(Name.parse("mine")) == []
    assert store.find(Name.parse("demo")) is not None


def test_ours_hides_theirs_until_it_is_deleted(store: Store) -> None:
    digest, size = store.put(weights("ours"))
    store.publish(Name.parse("demo"), [Layer(MODEL_TYPE, digest, size)], {})
    found = store.find(Name.parse("DEMO:latest"))
    assert found is not None
    assert found.header.name == "ours"
    assert [model.header.name for model in store.models()].count("Tiny Demo Chat") == 0
    store.delete(Name.parse("demo"))
    found = store.find(Name.parse("demo"))
    assert found is not None
    assert found.header.name == "Tiny Demo Chat"


def test_a_model_made_of_a_lower_stores_weights_copies_nothing(store: Store, ollama: Path) -> None:
    lower = store.find(Name.parse("demo"))
    assert lower is not None
    ours = store.publish(Name.declared("persona"), lower.layers, lower.config)
    assert ours.weights == lower.weights
    assert lower.weights.is_relative_to(ollama)


def test_what_ollama_has_and_we_cannot_serve_is_told(store: Store, ollama: Path) -> None:
    add_manifest(
        ollama,
        f"{LIBRARY}/cloudy/cloud",
        b'{"schemaVersion":2,"config":{"mediaType":"c","digest":"%s","size":33},"layers":[]}'
        % add_blob(ollama, b'{"remote_host":"https://x.test/"}').encode(),
    )
    assert len(store.models()) == 3
    assert len(store.problems) == 1
    assert "cloudy:cloud" in store.problems[0]
    assert "cloud model" in store.problems[0]


def test_links_in_a_lower_store_are_followed(store: Store, ollama: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    (ollama / "blobs").rename(moved)
    (ollama / "blobs").symlink_to(moved)
    blob = moved / Digest.of(DEMO.read_bytes()).blob_name
    blob.rename(tmp_path / "weights.gguf")
    blob.symlink_to(tmp_path / "weights.gguf")
    assert len(store.models()) == 3


def test_a_link_in_our_own_store_is_no_blob(store: Store, tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"secret")
    digest = Digest.of(b"secret")
    (store.root / "blobs" / digest.blob_name).symlink_to(tmp_path / "outside")
    assert store.blob(digest) is None


def test_our_own_directory_is_not_below_itself(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "own")
    store = Store(tmp_path / "own", lower=[tmp_path / "own", tmp_path / "link"])
    store.open()
    digest, size = store.put(weights())
    store.publish(Name.parse("demo"), [Layer(MODEL_TYPE, digest, size)], {})
    store.delete(Name.parse("demo"))
    with pytest.raises(NotFound):
        store.delete(Name.parse("demo"))
    store.close()


def test_a_lower_store_that_vanishes_takes_only_its_own_models_away(store: Store, ollama: Path) -> None:
    digest, size = store.put(weights("ours"))
    store.publish(Name.parse("ours"), [Layer(MODEL_TYPE, digest, size)], {})
    assert len(store.models()) == 4
    ollama.rename(ollama.with_name("gone"))
    assert [model.name.model for model in store.models()] == ["ours"]
    assert store.problems == []
    assert store.find(Name.parse("demo")) is None


def test_lower_stores_are_found_by_default(tmp_path: Path) -> None:
    home, service, absent = tmp_path / "home", tmp_path / "service", tmp_path / "absent"
    for root in (home / ".ollama" / "models", service):
        (root / "manifests").mkdir(parents=True)
        (root / "blobs").mkdir()
    assert default_lower(home, {}, (service, absent)) == (home / ".ollama" / "models", service)
    assert default_lower(absent, {}, ()) == ()
    for place, environ in (
        (home / ".cache" / "huggingface" / "hub", {}),
        (home / "elsewhere" / "hub", {"HF_HOME": str(home / "elsewhere")}),
        (home / "direct", {"HF_HUB_CACHE": str(home / "direct")}),
    ):
        (place / "models--org--model").mkdir(parents=True)
        assert default_lower(home, environ, ())[-1] == place


def test_a_hugging_face_cache_gives_blobs_and_no_models(tmp_path: Path) -> None:
    blobs = tmp_path / "hub" / "models--org--model" / "blobs"
    blobs.mkdir(parents=True)
    digest = Digest.of(weights())
    (blobs / digest.hex).write_bytes(weights())
    (blobs / ("a" * 40)).write_bytes(b"a small file, kept by its git hash")
    store = Store(tmp_path / "store", lower=[tmp_path / "hub"])
    store.open()
    assert store.blob(digest) == blobs / digest.hex
    assert store.intact(digest)
    assert store.models() == []
    assert [str(found) for found, _ in store.lower.shelves[0].digests()] == [str(digest)]
    store.close()


def test_the_modes_of_a_directory_shared_on_purpose_stay(ollama: Path) -> None:
    os.chmod(ollama, 0o755)
    before = snapshot(ollama)
    store = Store(ollama)
    store.open()
    assert len(store.models()) == 3
    store.close()
    after = snapshot(ollama)
    assert {path: state for path, state in after.items() if not path.startswith(".powerd")} == before
