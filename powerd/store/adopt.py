"""Adopt: take over the models of an Ollama directory or a Hugging Face cache, without copying unless asked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from powerd.digest import Digest
from powerd.errors import BadRequest, Conflict
from powerd.names import Name
from powerd.store.files import naming, read_small
from powerd.store.gguf import read_header
from powerd.store.lower import HubShelf, recognise
from powerd.store.manifest import MAX_MANIFEST, MODEL_TYPE, Layer, describe, parse_manifest
from powerd.store.shelf import Shelf
from powerd.store.store import Store
from powerd.store.verified import SMALL

#: lower: served from where it lies. link: reflinked or hard-linked into our store. copy: copied.
How = Literal["lower", "link", "copy"]
#: Hears the model at hand, bytes done and bytes in all of the file at hand; may raise to stop.
OnProgress = Callable[[str, int, int], None]

_QUANTIZATION = re.compile(r"(?:^|[-._/])((?:UD-)?I?Q\d(?:_[A-Z0-9]+)*|BF16|F16|F32|MXFP4)(?:-0|\.gguf$)", re.I)
_SPLIT = re.compile(r"-\d{5}-of-\d{5}\.gguf$", re.I)


@dataclass(slots=True)
class Adopted:
    """What came of it. `skipped`: a sentence for each model that was not taken over."""

    kind: Literal["ollama", "huggingface"]
    how: How
    directory: str
    models: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def adopt(store: Store, path: Path, how: How, on_progress: OnProgress = lambda _name, _done, _all: None) -> Adopted:
    """Make the models found at `path` ours to serve.

    A model whose name we have already is left as it is. Raises BadRequest for a directory that is neither, Conflict for
    one that is our own store, NoSpace, StoreFailed.
    """
    if not path.is_absolute():
        raise BadRequest(f"{path}: give an absolute path", "path")
    with naming(path, "reading"):
        shelf = recognise(path)
        if shelf.root.resolve() == store.root.resolve():
            raise Conflict(f"{path} is this daemon's own store")
        hub = isinstance(shelf, HubShelf)
        adopted = Adopted("huggingface" if hub else "ollama", how, str(shelf.root))
        if how == "lower":
            store.lower.add(shelf.root)
        if isinstance(shelf, HubShelf):
            _take_hub(store, shelf, adopted, on_progress)
        else:
            _take_ollama(store, shelf, adopted, on_progress)
    return adopted


def _take_ollama(store: Store, shelf: Shelf, adopted: Adopted, on_progress: OnProgress) -> None:
    for path, name in shelf.names():
        if name is None:
            adopted.skipped.append(f"{path} is not the place of a manifest")
        elif adopted.how == "lower":
            adopted.models.append(name.display)
        elif store.find(name) is not None and store.owns(name):
            adopted.skipped.append(f"{name} is in the store already")
        else:
            _attempt(adopted, name, partial(_share, store, shelf, name, path, adopted, on_progress))


def _attempt(adopted: Adopted, name: Name, work: Callable[[], None]) -> None:
    try:
        work()
    except (BadRequest, Conflict, ValueError) as error:
        adopted.skipped.append(f"{name}: {error}")
    else:
        adopted.models.append(name.display)


def _share(store: Store, shelf: Shelf, name: Name, path: Path, adopted: Adopted, on_progress: OnProgress) -> None:
    data = read_small(path, MAX_MANIFEST)
    manifest = parse_manifest(data)
    layers = dict.fromkeys((manifest.config, *manifest.layers))
    with store.lease(layer.digest for layer in layers):
        for layer in layers:
            blob = shelf.blob(layer.digest)
            if blob is None:
                raise Conflict(f"blob {layer.digest} is missing in {shelf.root}")
            _bring(store, blob, layer.digest, name, adopted, on_progress)
        store.publish_manifest(name, data)


def _bring(store: Store, path: Path, digest: Digest, name: Name, adopted: Adopted, on_progress: OnProgress) -> None:
    copy = adopted.how == "copy" or path.stat().st_size < SMALL
    store.take(path, digest, lambda done, total: on_progress(name.display, done, total), copy=copy)


# ------------------------------------------------------------ Hugging Face


def _take_hub(store: Store, shelf: HubShelf, adopted: Adopted, on_progress: OnProgress) -> None:
    for repository in shelf.repositories():
        for file in _weights(repository):
            try:
                name, layer, config = _described(repository, file)
            except (ValueError, OSError) as error:
                adopted.skipped.append(f"{file}: {error}")
                continue
            if store.owns(name):
                adopted.skipped.append(f"{name} is in the store already")
                continue

            _attempt(adopted, name, partial(_offer, store, file, name, layer, config, adopted, on_progress))


def _offer(
    store: Store,
    file: Path,
    name: Name,
    layer: Layer,
    config: dict[str, object],
    adopted: Adopted,
    on_progress: OnProgress,
) -> None:
    on_progress(name.display, 0, layer.size)
    with store.lease([layer.digest]):
        if adopted.how != "lower":
            _bring(store, file, layer.digest, name, adopted, on_progress)
        store.publish(name, [layer], config)
    on_progress(name.display, layer.size, layer.size)


def _weights(repository: Path) -> Iterator[Path]:
    """The GGUF files of every revision that is kept, each file once, the revision `main` names first."""
    try:
        main = read_small(repository / "refs" / "main", 1000).decode(errors="replace").strip()
    except OSError:
        main = ""
    seen: set[Path] = set()
    for revision in sorted((repository / "snapshots").glob("*"), key=lambda path: path.name != main):
        for file in sorted(revision.rglob("*.gguf")):
            target = file.resolve()
            if target not in seen:
                seen.add(target)
                yield file


def _described(repository: Path, file: Path) -> tuple[Name, Layer, dict[str, object]]:
    """A file's model name, layer and config. Raises ValueError for what cannot be a model of its own, OSError."""
    if _SPLIT.search(file.name):
        raise ValueError("one part of split weights; pull it instead")
    target = file.resolve()
    if len(target.name) != 64:
        raise ValueError("the cache does not keep it under its SHA-256")
    digest = Digest.parse(f"sha256:{target.name}")
    header = read_header(target)
    header.check_model()
    found = _QUANTIZATION.search(file.name)
    organisation, _, model = repository.name.removeprefix("models--").partition("--")
    name = Name.parse(f"hf.co/{organisation}/{model}:{found[1].upper() if found else header.file_type}")
    return name, Layer(MODEL_TYPE, digest, target.stat().st_size), describe(header)


def forget(store: Store, path: Path) -> bool:
    """Stop serving from an adopted directory; returns whether it was one. Raises StoreFailed."""
    places = (path, path / "models", path / ".ollama" / "models", path / "hub")
    return bool([root for root in places if store.lower.drop(root)])
