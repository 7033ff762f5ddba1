"""Converting: the files of a Hugging Face checkpoint become a GGUF blob, by way of a helper process."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from powerd.digest import Digest
from powerd.errors import BadRequest
from powerd.jobs import AdaptedModel, Convert, Converting, FromConvert
from powerd.protocol import MAX_FRAME, encode
from powerd.reconcile.making.job import Job, Kind, OnProgress, check_room
from powerd.store.gguf import GgufError, Header, read_header
from powerd.store.store import Store

COMMAND = (sys.executable, "-m", "powerd.convert")
MAX_FILES = 4096
_KIND: Kind[Converting] = Kind(
    "convert", "conversion", "files", "what came out is unsound", msgspec.msgpack.Decoder(FromConvert).decode
)


async def convert(
    files: Mapping[str, Digest], store: Store, on_progress: OnProgress, command: Sequence[str] = COMMAND
) -> Digest:
    """Make a GGUF of `files`, a checkpoint's by their relative paths, all in the store; returns the GGUF's digest.

    `on_progress` hears (bytes of tensors written, bytes of all). Cancelling kills the helper and leaves nothing behind.
    Raises BadRequest naming the file, the architecture or the field; BackendUnavailable, NoSpace, StoreFailed, Busy.
    """
    return await _make(files, None, store, on_progress, command, Header.check_model)


async def convert_adapter(
    files: Mapping[str, Digest],
    base: Path,
    store: Store,
    on_progress: OnProgress,
    command: Sequence[str] = COMMAND,
) -> Digest:
    """Make a GGUF adapter of `files`, a PEFT LoRA's, for the model in the GGUF `base`; returns the adapter's digest.

    Everything else as `convert`.
    """
    header = await asyncio.to_thread(_read_base, base)
    described = AdaptedModel(header.architecture, header.layers, *_heads(header))
    return await _make(files, described, store, on_progress, command, lambda made: _check_adapter(made, header))


async def _make(
    files: Mapping[str, Digest],
    base: AdaptedModel | None,
    store: Store,
    on_progress: OnProgress,
    command: Sequence[str],
    check: Callable[[Header], None],
) -> Digest:
    paths = await asyncio.to_thread(_located, files, store)
    begun = False

    def frame(destination: str) -> Convert:
        convert = Convert(paths, destination, base)
        if len(encode(convert)) > MAX_FRAME:
            raise BadRequest(f"the names of the {len(files)} files are too long together", "files")
        return convert

    def told(step: Converting) -> None:
        nonlocal begun
        if not begun:  # it has begun with the tensors a moment ago
            begun = True
            job.beside(asyncio.to_thread(check_room, store, step.total, "the converted model needs"))
        on_progress(step.done, step.total)

    job = Job(_KIND, store, command, told)
    return await job.make(frame, check)


def _located(files: Mapping[str, Digest], store: Store) -> dict[str, str]:
    """Where the files lie. Raises BadRequest for one that is not in the store."""
    if len(files) > MAX_FILES:
        raise BadRequest(f"{len(files)} files are too many, at most {MAX_FILES} are converted", "files")
    paths = {}
    for name, digest in files.items():
        path = store.blob(digest)
        if path is None:
            raise BadRequest(f"{name}: the blob {digest} is not in the store; upload it first", "files")
        paths[name] = str(path.absolute())
    return paths


def _read_base(path: Path) -> Header:
    try:
        return read_header(path)
    except GgufError as error:
        raise BadRequest(f"the adapter's model is not sound: {error}", "adapters") from None
    except OSError as error:
        raise BadRequest(f"the adapter's model cannot be read: {error.strerror}", "adapters") from None


def _heads(header: Header) -> tuple[int, int]:
    """Heads of queries, and of keys and values; 0 where they differ between layers."""

    def of(name: str, default: int) -> int:
        value = header.metadata.get(f"{header.architecture}.attention.{name}", default)
        return value if type(value) is int else 0

    queries = of("head_count", 0)
    return queries, of("head_count_kv", queries)


def _check_adapter(made: Header, base: Header) -> None:
    """Hold each pair of the adapter to the matrix it is added to. Raises BadRequest where they do not fit."""
    widths = {tensor.name: tensor.shape for tensor in base.tensors}
    for tensor in made.tensors:
        name, _, side = tensor.name.rpartition(".lora_")
        matrix = widths.get(name)
        if matrix is None:
            raise BadRequest(f"the adapter changes {name}, which the model has not got", "adapters")
        place = 0 if side == "a" else 1
        if tensor.shape[place] != matrix[place]:
            raise BadRequest(
                f"the adapter is not for this model: {name} is {matrix[0]} x {matrix[1]} there, and its part {side} is "
                f"for {tensor.shape[place]}",
                "adapters",
            )
