"""What is done to a store in the tests that break it: pulls, creations, copies, deletions, collections."""

from __future__ import annotations

import json
from pathlib import Path

from powerd.digest import Digest
from powerd.errors import NotFound
from powerd.names import Name
from powerd.store.manifest import CONFIG_TYPE, MODEL_TYPE, SYSTEM_TYPE, Layer
from powerd.store.store import Store
from tests.store.shelves import weights

PIECE = 1500


def content(seed: int) -> bytes:
    """Weights of a few kilobytes."""
    return weights(f"weights {seed}") + bytes(1000 * (seed % 5) + seed)


def bring(store: Store, data: bytes, ranged: bool) -> Layer:
    """As a pull does: nothing is fetched that is here and right; else piece by piece, in any order where `ranged`."""
    digest = Digest.of(data)
    if not store.intact(digest) and ranged:
        partial = store.partial(digest, len(data))
        try:
            for start, end in reversed(partial.missing(len(data))):
                for at in reversed(range(start, end, PIECE)):
                    partial.write(at, data[at : min(end, at + PIECE)])
            while partial.hash_more():
                pass
            partial.commit()
        finally:
            partial.close()
    elif not store.intact(digest):
        with store.ingest(digest, len(data)) as ingest:
            for start in range(0, len(data), PIECE):
                ingest.write(data[start : start + PIECE])
            ingest.commit()
    return Layer(MODEL_TYPE, digest, len(data))


def manifest(seed: int, text: str) -> bytes:
    """A registry's manifest, spaced as we never would."""
    config = json.dumps({"seed": seed}).encode()
    parts = [(CONFIG_TYPE, config), (MODEL_TYPE, content(seed)), (SYSTEM_TYPE, text.encode())]
    layers = [{"mediaType": kind, "digest": str(Digest.of(data)), "size": len(data)} for kind, data in parts]
    return json.dumps({"schemaVersion": 2, "config": layers[0], "layers": layers[1:]}, indent=3).encode()


def pull(store: Store, name: str, seed: int, text: str, ranged: bool = False) -> None:
    data = content(seed)
    blobs = [json.dumps({"seed": seed}).encode(), text.encode()]
    with store.lease([Digest.of(data), *(Digest.of(blob) for blob in blobs)]):
        bring(store, data, ranged)
        for blob in blobs:
            store.put(blob)
        store.publish_manifest(Name.parse(name), manifest(seed, text))


def create(store: Store, name: str, source: str, text: str) -> None:
    """The source's weights with another system text. Raises NotFound without the source."""
    found = store.find(Name.parse(source))
    if found is None:
        raise NotFound(source)
    with store.lease([found.weights_digest]):
        if store.blob(found.weights_digest) is None:
            raise NotFound(source)
        layer = next(layer for layer in found.layers if layer.media_type == MODEL_TYPE)
        system = Layer(SYSTEM_TYPE, *store.put(text.encode()))
        store.publish(Name.parse(name), [layer, system], {"from": source})


def take(store: Store, name: str, seed: int, text: str, directory: Path) -> None:
    """A local file brought in and published."""
    path = directory / f"{seed}.gguf"
    if not path.exists():
        path.write_bytes(content(seed))
    digest = store.take(path)
    layers = [Layer(MODEL_TYPE, digest, path.stat().st_size), Layer(SYSTEM_TYPE, *store.put(text.encode()))]
    store.publish(Name.parse(name), layers, {"file": seed})


def shown(store: Store) -> dict[str, str]:
    """Each model's name and system text."""
    return {model.name.model: model.system or "" for model in store.models()}


def wrong_blobs(root: Path) -> list[str]:
    """Names of blobs whose bytes are not what the name says."""
    return [path.name for path in (root / "blobs").glob("*") if Digest.of(path.read_bytes()).blob_name != path.name]
