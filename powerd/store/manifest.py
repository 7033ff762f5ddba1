"""Manifests: Ollama's JSON, and a stored model as the rest of powerd sees it (contract sections 2.3 and 2.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from powerd.digest import Digest
from powerd.names import Name
from powerd.store.gguf import Header

MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
MODEL_TYPE = "application/vnd.ollama.image.model"
PROJECTOR_TYPE = "application/vnd.ollama.image.projector"
ADAPTER_TYPE = "application/vnd.ollama.image.adapter"
DRAFT_TYPE = "application/vnd.ollama.image.draft"
TEMPLATE_TYPE = "application/vnd.ollama.image.template"
LEGACY_TEMPLATE_TYPE = "application/vnd.ollama.image.prompt"
SYSTEM_TYPE = "application/vnd.ollama.image.system"
PARAMS_TYPE = "application/vnd.ollama.image.params"
MESSAGES_TYPE = "application/vnd.ollama.image.messages"
LICENSE_TYPE = "application/vnd.ollama.image.license"
#: Ours: Ollama's `template` layer is Go text and would fail to parse Jinja.
JINJA_TYPE = "application/vnd.powerd.jinja"

MAX_MANIFEST = 4 << 20
_MAX_LAYERS = 4096
_MAX_SIZE = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Layer:
    """One blob of a model."""

    media_type: str
    digest: Digest
    size: int
    origin: str | None = None  # the manifest's `from`


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A complete model in a store: its manifest, and the small layers already read."""

    name: Name
    digest: Digest  # of the manifest's bytes
    modified: float  # seconds since the epoch, the manifest file's mtime
    size: int  # bytes: layers plus config, duplicates counted
    read_only: bool  # from a lower store
    config: dict[str, object]
    layers: tuple[Layer, ...]
    weights: Path  # the blob of the model layer
    weights_digest: Digest
    header: Header  # of the weights
    template: str | None = None  # Go text of a template layer
    jinja: str | None = None  # text of a layer of ours
    system: str | None = None
    params: dict[str, object] = field(default_factory=dict)
    messages: tuple[tuple[str, str], ...] = ()
    licenses: tuple[str, ...] = ()
    adapters: tuple[tuple[Layer, Path], ...] = ()  # LoRA files, in the manifest's order


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest's own words: the config layer and the layers, digests parsed."""

    config: Layer
    layers: tuple[Layer, ...]


def parse_manifest(data: bytes) -> Manifest:
    """Read a manifest; keys nobody needs are ignored.

    Raises ValueError("invalid manifest: <field>") for everything that is not one, so that nothing of a stranger's text
    is repeated.
    """
    if len(data) > MAX_MANIFEST:
        raise ValueError(f"invalid manifest: larger than {MAX_MANIFEST} bytes")
    try:
        value = msgspec.json.decode(data, type=dict[str, Any])
    except msgspec.ValidationError:
        raise ValueError("invalid manifest: not an object") from None
    except (ValueError, RecursionError):
        raise ValueError("invalid manifest: not JSON") from None
    if value.get("schemaVersion", 2) != 2:
        raise ValueError("invalid manifest: schemaVersion")
    layers = value.get("layers")
    if not isinstance(layers, list) or len(layers) > _MAX_LAYERS:
        raise ValueError("invalid manifest: layers")
    config = _layer(value.get("config"), "config")
    return Manifest(config, tuple(_layer(layer, f"layers[{index}]") for index, layer in enumerate(layers)))


def _layer(value: object, where: str) -> Layer:
    said = value if isinstance(value, dict) else {}
    media_type, size, origin = (said.get(key) for key in ("mediaType", "size", "from"))
    if not isinstance(media_type, str) or not media_type or len(media_type) > 255:
        raise ValueError(f"invalid manifest: {where}.mediaType")
    if type(size) is not int or not 0 <= size <= _MAX_SIZE:
        raise ValueError(f"invalid manifest: {where}.size")
    if origin is not None and not isinstance(origin, str):
        raise ValueError(f"invalid manifest: {where}.from")
    try:
        digest = Digest.parse(said.get("digest"))
    except ValueError:
        raise ValueError(f"invalid manifest: {where}.digest") from None
    return Layer(media_type, digest, size, origin or None)


def build_manifest(config: Layer, layers: Sequence[Layer]) -> bytes:
    """The manifest's bytes as Ollama writes them: compact JSON and a newline."""
    value = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": _written(config),
        "layers": [_written(layer) for layer in layers],
    }
    return msgspec.json.encode(value) + b"\n"


def _written(layer: Layer) -> dict[str, object]:
    written: dict[str, object] = {"mediaType": layer.media_type, "digest": str(layer.digest), "size": layer.size}
    return written | ({"from": layer.origin} if layer.origin else {})


def describe(header: Header) -> dict[str, object]:
    """The config of a model with these weights (contract section 2.3; architecture and os are constants there)."""
    return {
        "model_format": "gguf",
        "model_family": header.architecture,
        "model_families": [header.architecture],
        "model_type": parameter_size(header.parameter_count),
        "file_type": header.file_type,
        "architecture": "amd64",
        "os": "linux",
    }


def parameter_size(count: int) -> str:
    """A number of parameters as listings show it: 8.0B, 7B, 2.89M, 596K (contract section 2.4)."""
    if count >= 10**9:
        return f"{count // 10**9}B" if count % 10**9 == 0 else f"{count / 1e9:.1f}B"
    if count >= 10**6:
        return f"{count / 1e6:.2f}M"
    return f"{count / 1e3:.0f}K" if count >= 10**3 else str(count)
