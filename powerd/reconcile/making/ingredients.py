"""Ingredients: the layers a model is made of, from another model and from uploaded files. Blocking.

Every uploaded file is checked here before anything else looks at it: its format, its kind, and that the parts of a
split model belong together.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from powerd.digest import Digest
from powerd.errors import BadRequest, Conflict
from powerd.reconcile.making.lora import check
from powerd.reconcile.offer import Offer
from powerd.store import manifest as m
from powerd.store.files import regular
from powerd.store.gguf import GgufError, Header, read_header
from powerd.store.gguf_merge import merge, part_name
from powerd.store.gguf_types import MAGIC
from powerd.store.looks import ENOUGH, looks_like
from powerd.store.manifest import Layer
from powerd.store.store import Store

MAX_FILES = 4096
#: Ollama's stand-in for the digest of what does not exist yet.
NO_DIGEST = "0000000000000000000"
_MAX_NAME = 4096
#: Formats that would have to be unpacked or run to be read (reliability S08, S43).
_REFUSED = ("zip", "gzip", "bzip2", "xz", "zstandard", "7-Zip", "RAR", "tar archive", "Python objects", "HDF5", "NumPy")

OnStatus = Callable[[dict[str, object]], None]


@dataclass(slots=True)
class Ingredients:
    """The layers so far. `weights` is the one layer of weights, its file and its header."""

    layers: list[Layer] = field(default_factory=list)
    weights: Layer | None = None
    path: Path = Path()
    header: Header | None = None
    config: dict[str, object] = field(default_factory=dict)
    params: dict[str, object] = field(default_factory=dict)
    new_weights: bool = False
    fresh: set[Digest] = field(default_factory=set)  # blobs that were not here before

    def set_weights(self, layer: Layer, path: Path, header: Header) -> None:
        """Take weights, in the place of what were the weights."""
        self.weights, self.path, self.header, self.new_weights = layer, path, header, True
        self.layers = [layer, *(each for each in self.layers if each.media_type != m.MODEL_TYPE)]


@dataclass(frozen=True, slots=True)
class Upload:
    """A file of the request, found in the store."""

    name: str
    digest: Digest
    path: Path
    size: int


def inherit(offer: Offer) -> Ingredients:
    """Everything a model is made of, with its name as the origin of each layer."""
    stored, origin = offer.stored, (offer.target or offer.name).display
    layers = [Layer(each.media_type, each.digest, each.size, origin) for each in stored.layers]
    weights = next(each for each in layers if each.media_type == m.MODEL_TYPE)
    return Ingredients(layers, weights, stored.weights, stored.header, stored.config, dict(stored.params))


def digests(files: Mapping[str, str]) -> list[Digest]:
    """The digests of a request's files. Raises BadRequest for a bad name or digest."""
    if len(files) > MAX_FILES:
        raise BadRequest(f"at most {MAX_FILES} files make a model", "files")
    for name in files:
        _check_name(name)
    try:
        return [Digest.parse(text) for text in files.values()]
    except ValueError:
        raise BadRequest("invalid digest format", "files") from None


def uploads(files: Mapping[str, str], store: Store) -> list[Upload]:
    """Find a request's files in the store. Raises BadRequest also for a blob that is not here."""
    found = []
    for name, digest in zip(files, digests(files), strict=True):
        path = store.blob(digest)
        if path is None:
            raise BadRequest(f'blob "{digest}" not found; upload it first by POST /api/blobs/{digest}', "files")
        found.append(Upload(name, digest, path, path.stat().st_size))
    return found


def _check_name(name: str) -> None:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0] or not name.isprintable():
        raise BadRequest("file path must be relative", "files")
    if len(name) > _MAX_NAME:
        raise BadRequest(f"a file's name has at most {_MAX_NAME} characters", "files")


def add_files(made: Ingredients, files: Sequence[Upload], store: Store, on_status: OnStatus) -> None:
    """Add weights and projectors; `on_status` may raise to stop.

    Raises BadRequest for what is no GGUF or does not fit together.
    """
    parts = {upload.name: upload for upload in files if _is_part(upload)}
    for upload in files:
        on_status({"status": "parsing GGUF"})
        if upload.name not in parts:
            _add(made, upload, _header(upload))
    if parts:
        _add_merged(made, parts, store, on_status)


def _is_part(upload: Upload) -> bool:
    part = part_name(PurePosixPath(upload.name).name)
    return part is not None and part.count > 1


def _add(made: Ingredients, upload: Upload, header: Header) -> None:
    if header.kind == "projector":
        inherited = [layer for layer in made.layers if layer.media_type == m.PROJECTOR_TYPE and layer.origin]
        made.layers = [layer for layer in made.layers if layer not in inherited]
        made.layers.append(Layer(m.PROJECTOR_TYPE, upload.digest, upload.size))
    elif header.kind == "adapter":
        raise BadRequest(f"{upload.name} is an adapter; name it under 'adapters', with a model to apply it to", "files")
    else:
        _check_model(upload.name, header)
        check_first(made)
        made.set_weights(Layer(m.MODEL_TYPE, upload.digest, upload.size), upload.path, header)


def check_first(made: Ingredients) -> None:
    """Raise BadRequest when there are weights already."""
    if made.weights is not None:
        raise BadRequest("'from' and 'files' name more than one model's weights; create one model at a time", "files")


def _add_merged(made: Ingredients, parts: Mapping[str, Upload], store: Store, on_status: OnStatus) -> None:
    """Join the parts of a split model into a blob."""
    check_first(made)
    paths = {PurePosixPath(name).name: upload.path for name, upload in parts.items()}
    if len(paths) != len(parts):
        raise BadRequest("two parts of a split model have the same name", "files")
    try:
        merged = merge(paths)
        with store.ingest(None, merged.size) as ingest:

            def sink(data: bytes) -> None:
                ingest.write(data)
                on_status(merging(ingest.written, merged.size))

            merged.write(sink)
            header = read_header(ingest.path)
            _check_model("the merged file", header)
            digest = ingest.commit()
    except GgufError as error:
        raise BadRequest(str(error), "files") from None
    made.fresh.add(digest)
    made.set_weights(Layer(m.MODEL_TYPE, digest, merged.size), _present(store, digest), header)


def merging(completed: int, total: int) -> dict[str, object]:
    """Progress of joining a split model."""
    return {"status": "merging split GGUF", "digest": NO_DIGEST, "total": total, "completed": completed}


def _present(store: Store, digest: Digest) -> Path:
    path = store.blob(digest)
    if path is None:
        raise Conflict(f"blob {digest} was deleted while the model was made; create it again")
    return path


def take_weights(made: Ingredients, digest: Digest, store: Store) -> None:
    """Put weights that were made for this model in the place of what they were made from."""
    path = _present(store, digest)
    made.fresh.add(digest)
    made.set_weights(Layer(m.MODEL_TYPE, digest, path.stat().st_size), path, read_header(path))


def add_adapters(made: Ingredients, files: Sequence[Upload]) -> None:
    """Add a LoRA adapter. Raises BadRequest unless it is one and fits the model's weights."""
    if len(files) > 1:
        raise BadRequest("only one adapter is currently supported", "adapters")
    for upload in files:
        assert made.header is not None
        check(upload.name, _header(upload), made.header)
        made.layers.append(Layer(m.ADAPTER_TYPE, upload.digest, upload.size))


def _check_model(name: str, header: Header) -> None:
    try:
        header.check_model()
    except GgufError as error:
        raise BadRequest(f"{name}: {error}", "files") from None


def _header(upload: Upload) -> Header:
    """The checked header of a GGUF. Raises BadRequest in the contract's words for everything else."""
    with regular(upload.path) as (fd, _):
        head = os.pread(fd, ENOUGH, 0)
    if not head.startswith(MAGIC) and not (head and MAGIC.startswith(head)):
        looks = f"{upload.name} looks like {looks_like(head)}"
        if any(word in looks for word in _REFUSED):
            raise BadRequest(f"unsupported model format: {looks}; powerd makes models of GGUF files", "files")
        if upload.name.lower().endswith(".gguf"):
            raise BadRequest(f"supplied file was not in GGUF format: {looks}", "files")
        raise BadRequest(f"unknown type: {looks}", "files")
    try:
        return read_header(upload.path)
    except GgufError as error:
        raise BadRequest(f"{upload.name}: {error}", "files") from None
