"""Manifests: Ollama's JSON, and a stored model as the rest of powerd sees it (contract sections 2.3 and 2.4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from powerd.digest import Digest
from powerd.names import Name
from powerd.store.gguf import Header

MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
MODEL_TYPE = "application/vnd.ollama.image.model"
PROJECTOR_TYPE = "application/vnd.ollama.image.projector"
ADAPTER_TYPE = "application/vnd.ollama.image.adapter"
TEMPLATE_TYPE = "application/vnd.ollama.image.template"
SYSTEM_TYPE = "application/vnd.ollama.image.system"
PARAMS_TYPE = "application/vnd.ollama.image.params"
MESSAGES_TYPE = "application/vnd.ollama.image.messages"
LICENSE_TYPE = "application/vnd.ollama.image.license"
#: Ours: Ollama's `template` layer is Go text and would fail to parse Jinja.
JINJA_TYPE = "application/vnd.powerd.jinja"


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
