"""Reader: manifests to StoredModels, remembered until a file changes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from powerd.digest import Digest
from powerd.errors import StoreFailed
from powerd.names import Name
from powerd.quantities import show_bytes
from powerd.store import manifest as m
from powerd.store.files import Stamp, read_small, stamp
from powerd.store.gguf import Header, read_header
from powerd.store.manifest import Layer, Manifest, StoredModel, parse_manifest

_MAX_TEXT = 1 << 20
_MAX_LICENSE = 4 << 20

#: Where a digest's blob lies, or None.
FindBlob = Callable[[Digest], Path | None]


class Unreadable(ValueError):
    """A model cannot be served; the message says why in a few words."""


class Remote(Unreadable):
    """The manifest stands for a model that runs at `host`."""

    def __init__(self, host: str) -> None:
        super().__init__("it stands for a cloud model and has no weights")
        self.host = host


@dataclass(frozen=True, slots=True)
class _Kept:
    """A model as it was read, and the stamps of every file it was read from."""

    manifest: Stamp
    files: tuple[tuple[Digest, Path, Stamp], ...]
    model: StoredModel


class Reader:
    """Reads models and remembers them; 200 unchanged models cost their stat calls only."""

    def __init__(self, find_blob: FindBlob) -> None:
        self._find_blob = find_blob
        self._kept: dict[Path, _Kept] = {}
        self._headers: dict[Path, tuple[Stamp, Header]] = {}

    def model(self, name: Name, path: Path, *, read_only: bool) -> StoredModel:
        """The model whose manifest is the file `path`. Raises Unreadable."""
        now = _stamp(path, "its manifest")
        kept = self._kept.get(path)
        if kept is not None and kept.manifest == now and _unchanged(kept):
            return kept.model
        try:
            data = read_small(path, m.MAX_MANIFEST)
        except OSError as error:
            raise Unreadable(f"its manifest: {error.strerror}") from None
        model, files = self.assemble(name, data, modified=now[0] / 1e9, read_only=read_only)
        self._kept[path] = _Kept(now, files, model)
        return model

    def assemble(
        self, name: Name, data: bytes, *, modified: float, read_only: bool
    ) -> tuple[StoredModel, tuple[tuple[Digest, Path, Stamp], ...]]:
        """The model a manifest's bytes describe, and the blobs it consists of. Raises Unreadable."""
        try:
            manifest = parse_manifest(data)
        except ValueError as error:
            raise Unreadable(str(error)) from None
        files = tuple(self._present(layer) for layer in dict.fromkeys((manifest.config, *manifest.layers)))
        paths = {digest: path for digest, path, _ in files}
        config = _object(manifest.config, paths, "config")
        weights = _weights(manifest, config)
        try:
            header = self._header(paths[weights.digest])
        except (ValueError, OSError) as error:
            raise Unreadable(f"its weights, blob {weights.digest.short}: {error}") from None
        model = StoredModel(
            name=name,
            digest=Digest(hashlib.sha256(data).hexdigest()),
            modified=modified,
            size=manifest.config.size + sum(layer.size for layer in manifest.layers),
            read_only=read_only,
            config=config,
            layers=manifest.layers,
            weights=paths[weights.digest],
            weights_digest=weights.digest,
            header=header,
            adapters=tuple(
                (layer, paths[layer.digest]) for layer in manifest.layers if layer.media_type == m.ADAPTER_TYPE
            ),
        )
        return _with_texts(model, paths), files

    def forget_all_but(self, paths: Iterable[Path]) -> None:
        """Drop what was remembered of manifests that are gone."""
        gone = set(self._kept).difference(paths)
        for path in gone:
            self._kept.pop(path, None)
        weights = {kept.model.weights for kept in list(self._kept.values())}
        for path in set(self._headers).difference(weights):
            self._headers.pop(path, None)

    def _present(self, layer: Layer) -> tuple[Digest, Path, Stamp]:
        try:
            path = self._find_blob(layer.digest)
        except StoreFailed as error:
            raise Unreadable(error.message) from None
        if path is None:
            raise Unreadable(f"blob {layer.digest} is missing")
        now = _stamp(path, f"blob {layer.digest}")
        if now[1] != layer.size:
            raise Unreadable(f"blob {layer.digest} has {now[1]} bytes where its manifest says {layer.size}")
        return layer.digest, path, now

    def _header(self, path: Path) -> Header:
        now = _stamp(path, "its weights")
        kept = self._headers.get(path)
        if kept is not None and kept[0] == now:
            return kept[1]
        header = read_header(path)
        header.check_model()
        self._headers[path] = (now, header)
        return header


def _stamp(path: Path, what: str) -> Stamp:
    try:
        now = stamp(path)
    except OSError as error:
        raise Unreadable(f"{what}: {error.strerror}") from None
    if now is None:
        raise Unreadable(f"{what} is missing or no file")
    return now


def _unchanged(kept: _Kept) -> bool:
    try:
        return all(stamp(path) == before for _, path, before in kept.files)
    except OSError:
        return False


def _weights(manifest: Manifest, config: dict[str, object]) -> Layer:
    weights = [layer for layer in manifest.layers if layer.media_type == m.MODEL_TYPE]
    if len(weights) == 1:
        return weights[0]
    if weights:
        raise Unreadable(f"it has {len(weights)} layers of weights; one is served")
    if config.get("remote_host") or config.get("remote_model"):
        raise Remote(str(config.get("remote_host") or ""))
    raise Unreadable("it has no GGUF weights")


def _with_texts(model: StoredModel, paths: dict[Digest, Path]) -> StoredModel:
    """The model with its small layers read; where one kind appears twice the last holds, licences add up."""
    for layer in model.layers:
        if layer.media_type in {m.TEMPLATE_TYPE, m.LEGACY_TEMPLATE_TYPE}:
            model = replace(model, template=_text(layer, paths))
        elif layer.media_type == m.JINJA_TYPE:
            model = replace(model, jinja=_text(layer, paths))
        elif layer.media_type == m.SYSTEM_TYPE:
            model = replace(model, system=_text(layer, paths))
        elif layer.media_type == m.PARAMS_TYPE:
            model = replace(model, params=_object(layer, paths, "params"))
        elif layer.media_type == m.MESSAGES_TYPE:
            model = replace(model, messages=_messages(layer, paths))
        elif layer.media_type == m.LICENSE_TYPE:
            text = _bytes(layer, paths, _MAX_LICENSE).decode(errors="replace")
            model = replace(model, licenses=(*model.licenses, text))
    return model


def _bytes(layer: Layer, paths: dict[Digest, Path], limit: int = _MAX_TEXT) -> bytes:
    if layer.size > limit:
        raise Unreadable(f"blob {layer.digest.short} ({layer.media_type}) is larger than {show_bytes(limit)}")
    try:
        return read_small(paths[layer.digest], limit)
    except OSError as error:
        raise Unreadable(f"blob {layer.digest.short}: {error.strerror}") from None


def _text(layer: Layer, paths: dict[Digest, Path]) -> str:
    try:
        return _bytes(layer, paths).decode()
    except UnicodeDecodeError:
        raise Unreadable(f"blob {layer.digest.short} ({layer.media_type}) is not UTF-8 text") from None


def _json(layer: Layer, paths: dict[Digest, Path], what: str) -> object:
    try:
        value: object = msgspec.json.decode(_bytes(layer, paths))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Unreadable(f"its {what}, blob {layer.digest.short}, is not JSON") from None
    return value


def _object(layer: Layer, paths: dict[Digest, Path], what: str) -> dict[str, object]:
    value = _json(layer, paths, what)
    if not isinstance(value, dict):
        raise Unreadable(f"its {what}, blob {layer.digest.short}, is not an object")
    return value


def _messages(layer: Layer, paths: dict[Digest, Path]) -> tuple[tuple[str, str], ...]:
    value = _json(layer, paths, "messages")
    if not isinstance(value, list):
        raise Unreadable(f"its messages, blob {layer.digest.short}, are not a list")
    messages = []
    for each in value:
        role, content = (each.get(key, "") if isinstance(each, dict) else None for key in ("role", "content"))
        if not isinstance(role, str) or not isinstance(content, str):
            raise Unreadable(f"its messages, blob {layer.digest.short}, are not roles with contents")
        messages.append((role, content))
    return tuple(messages)
