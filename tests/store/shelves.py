"""Ollama directories made by hand, from the contract alone: nothing of powerd.store is used to write them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from tests.store.crafted import STR, Crafted

MODEL = "application/vnd.ollama.image.model"
KINDS = "application/vnd.ollama.image."


def weights(name: str = "Crafted") -> bytes:
    """A small sound GGUF; different names give different digests."""
    return Crafted().set("general.name", STR, name).bytes()


def add_blob(root: Path, data: bytes, *, legacy: bool = False) -> str:
    hexadecimal = hashlib.sha256(data).hexdigest()
    blobs = root / "blobs"
    blobs.mkdir(parents=True, exist_ok=True)
    path = blobs / (f"sha256:{hexadecimal}" if legacy else f"sha256-{hexadecimal}")
    path.write_bytes(data)
    path.chmod(0o644)
    return f"sha256:{hexadecimal}"


def add_model(
    root: Path,
    path: str,
    *,
    gguf: bytes | None = None,
    texts: list[tuple[str, bytes]] | None = None,
    config: dict[str, object] | None = None,
    legacy: bool = False,
) -> bytes:
    """Write blobs and a manifest at `path` (host/namespace/model/tag); returns the manifest's bytes."""
    data = weights() if gguf is None else gguf
    said = config if config is not None else {"model_format": "gguf", "model_family": "llama", "rootfs": {"type": "x"}}
    config_data = json.dumps(said).encode()
    layers = [
        {"mediaType": kind, "digest": add_blob(root, body, legacy=legacy), "size": len(body)}
        for kind, body in [(MODEL, data), *((KINDS + kind, body) for kind, body in texts or [])]
    ]
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "digest": add_blob(root, config_data, legacy=legacy),
            "size": len(config_data),
        },
        "layers": layers,
    }
    return add_manifest(root, path, json.dumps(manifest, indent=3).encode())


def add_manifest(root: Path, path: str, data: bytes) -> bytes:
    file = root / "manifests" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return data


def snapshot(root: Path) -> dict[str, tuple[int, int, bytes]]:
    """Everything about a tree that a writer could change: modes, mtimes, contents."""
    return {
        str(path.relative_to(root)): (
            path.lstat().st_mode,
            path.lstat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in sorted(root.rglob("*"))
    }
