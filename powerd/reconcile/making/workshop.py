"""Workshop: the work on the way to a model. Files are read in, safetensors converted, weights quantized.

What is made on the way is kept while the model is made; what no model names in the end is deleted.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import TypeVar

from powerd.digest import Digest
from powerd.errors import BadRequest, Cancelled, PowerError
from powerd.reconcile.making import converting, quantizing
from powerd.reconcile.making.ingredients import (
    NO_DIGEST,
    Ingredients,
    OnStatus,
    Upload,
    add_adapters,
    add_files,
    check_first,
    take_weights,
    uploads,
)
from powerd.store.files import naming
from powerd.store.store import Store

Result = TypeVar("Result")

_SAFETENSORS = ".safetensors"


class Workshop:
    """Makes ingredients of uploaded files, telling `on_status` in Ollama's words. The event loop's."""

    def __init__(
        self,
        store: Store,
        on_status: OnStatus,
        *,
        quantizer: Sequence[str] = quantizing.COMMAND,
        converter: Sequence[str] = converting.COMMAND,
    ) -> None:
        self._store = store
        self._on_status = on_status
        self._quantizer = quantizer
        self._converter = converter
        self._leases = ExitStack()
        self._made: set[Digest] = set()
        self._converted: set[Digest] = set()

    async def __aenter__(self) -> Workshop:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leases.close()
        await asyncio.to_thread(self._clear)

    def named(self, digests: Collection[Digest]) -> None:
        """A model names these; they are no longer ours to delete."""
        self._made.difference_update(digests)

    def _keep(self, digest: Digest) -> None:
        self._leases.enter_context(self._store.lease([digest]))
        self._made.add(digest)

    def _clear(self) -> None:
        for digest in self._made:
            with suppress(PowerError):  # another model, or another's work, needs it too; else the collection takes it
                self._store.remove_blob(digest)

    # ------------------------------------------------------------ what comes in

    async def find(self, files: Mapping[str, str]) -> list[Upload]:
        """A request's files in the store. Raises BadRequest for one that is not there."""
        return await self.in_thread(lambda _say: uploads(files, self._store))

    async def add_files(self, made: Ingredients, files: Sequence[Upload], what: str = "model") -> None:
        """Add the weights and projectors among the files. Raises BadRequest, and what the conversion raises."""
        checkpoint = _checkpoint(files)
        if checkpoint:
            check_first(made)
        read = [each for each in files if each.name not in checkpoint]
        await self.in_thread(lambda say: add_files(made, read, self._store, say))
        if made.weights is not None and made.weights.digest in made.fresh:
            self._keep(made.weights.digest)
        if checkpoint:
            check_first(made)
            digest = await self._convert(checkpoint, what)
            await self.in_thread(lambda _say: take_weights(made, digest, self._store))

    async def _convert(self, checkpoint: Mapping[str, Digest], what: str) -> Digest:
        text = f"converting {what}"
        self._on_status({"status": text})
        digest = await converting.convert(checkpoint, self._store, self._progress(text), self._converter)
        self._keep(digest)
        self._converted.add(digest)
        return digest

    async def add_adapter(self, made: Ingredients, files: Sequence[Upload]) -> None:
        """Add a LoRA adapter, converted where it is of safetensors. Raises BadRequest, and what that raises."""
        checkpoint = _checkpoint(files)
        if checkpoint:
            if len(checkpoint) < len(files):
                raise BadRequest("only one adapter is currently supported", "adapters")
            files = [await self._convert_adapter(made, checkpoint)]
        await self.in_thread(lambda _say: add_adapters(made, files))

    async def _convert_adapter(self, made: Ingredients, checkpoint: Mapping[str, Digest]) -> Upload:
        text = "converting adapter"
        self._on_status({"status": text})
        progress = self._progress(text)
        digest = await converting.convert_adapter(checkpoint, made.path, self._store, progress, self._converter)
        self._keep(digest)
        made.fresh.add(digest)
        [upload] = await self.find({"the converted adapter": str(digest)})
        return upload

    # ------------------------------------------------------------ what becomes of it

    async def quantize(self, made: Ingredients, kind: str, what: str = "model") -> None:
        """Quantize the weights where that is asked for and they are not of that type already.

        Raises BadRequest for weights that cannot be, and what the quantizing raises.
        """
        assert made.header is not None
        assert made.weights is not None
        if kind and made.header.file_type != kind:
            quantizing.check_full(made.header)
            progress = self._progress(f"quantizing {made.header.file_type} {what} to {kind}")
            digest = await quantizing.quantize(made.path, kind, self._store, progress, self._quantizer)
            self._keep(digest)
            self._converted.add(digest)
            await self.in_thread(lambda _say: take_weights(made, digest, self._store))
        elif made.new_weights:
            self._progress("validating GGUF model")(made.weights.size, made.weights.size)
        if made.weights.digest in self._converted:
            self._on_status({"status": "verifying conversion"})

    def _progress(self, status: str) -> Callable[[int, int], None]:
        def tell(completed: int, total: int) -> None:
            self._on_status({"status": status, "digest": NO_DIGEST, "total": total, "completed": completed})

        return tell

    async def in_thread(self, work: Callable[[OnStatus], Result]) -> Result:
        """Do blocking work beside the event loop. Cancelling stops it at its next status and waits for that."""
        loop = asyncio.get_running_loop()
        stop = threading.Event()

        def say(status: dict[str, object]) -> None:
            if stop.is_set():
                raise Cancelled("the work was cancelled")
            loop.call_soon_threadsafe(self._on_status, status)

        def run() -> Result:
            with naming(self._store.root, "making a new model in"):
                return work(say)

        thread = asyncio.ensure_future(asyncio.to_thread(run))
        try:
            return await asyncio.shield(thread)
        except asyncio.CancelledError:
            stop.set()
            await asyncio.wait([thread])
            thread.exception()
            raise


def _checkpoint(files: Sequence[Upload]) -> dict[str, Digest]:
    """The files of a checkpoint of safetensors: where there is one, all that are no GGUF by their name."""
    if not any(each.name.lower().endswith(_SAFETENSORS) for each in files):
        return {}
    return {each.name: each.digest for each in files if not each.name.lower().endswith(".gguf")}
