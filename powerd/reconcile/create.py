"""Create: a model made of another one or of uploaded files, as POST /api/create asks (contract section 4.3).

Everything that can be refused is looked at before anything is written; the manifest comes last.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar

from powerd.digest import Digest
from powerd.errors import BadRequest, Cancelled, Conflict, NotFound
from powerd.names import Name
from powerd.prompt.published import FAMILIES, match
from powerd.reconcile import creation, quantizing
from powerd.reconcile.creation import CreateRequest
from powerd.reconcile.ingredients import (
    NO_DIGEST,
    Ingredients,
    OnStatus,
    add_adapters,
    add_files,
    digests,
    inherit,
    take_weights,
    uploads,
)
from powerd.reconcile.library import Library
from powerd.reconcile.offer import Offer
from powerd.store.files import naming
from powerd.store.manifest import TEMPLATE_TYPE, Layer
from powerd.store.store import Store

Result = TypeVar("Result")

#: Fetches a model by name; yields Ollama's progress objects.
Pull = Callable[[str], AsyncGenerator[dict[str, object], None]]


async def create(
    request: CreateRequest,
    library: Library,
    store: Store,
    on_status: OnStatus,
    *,
    pull: Pull | None = None,
    quantizer: Sequence[str] = quantizing.COMMAND,
) -> None:
    """Make and publish the model. `on_status` gets Ollama's progress objects, on the event loop.

    `pull` fetches a base that is not here. Raises BadRequest for what cannot be made, NotFound without the base,
    Conflict for a declared name, and what `pull`, the store and the quantizer raise.
    """
    name = _destination(request, library)
    kind = quantizing.kind_of(request.quantize) if request.quantize else ""
    named = _checked(request)
    base = await _base(request.base, library, pull, on_status) if request.base else None
    inherited = [layer.digest for layer in base.stored.layers] if base is not None else []
    with store.lease([*inherited, *named]):
        made = await _in_thread(lambda say: _gather(request, base, store, say), on_status)
        await _converted(made, kind, store, on_status, quantizer)
        await _in_thread(lambda say: _publish(request, name, made, store, say), on_status)
    await library.refresh()
    for warning in request.warnings:
        on_status({"status": warning})
    on_status({"status": "success"})


def _checked(request: CreateRequest) -> list[Digest]:
    """Look at everything that can be judged by itself; returns the digests of the files. Raises BadRequest."""
    if not request.base and not request.files:
        raise BadRequest("neither 'from' or 'files' was specified")
    creation.version(request.requires)
    creation.overrides(request.info)
    creation.texts(request, creation.parameters({}, request.parameters))
    return [*digests(request.files), *digests(request.adapters)]


async def _in_thread(work: Callable[[OnStatus], Result], on_status: OnStatus) -> Result:
    """Do blocking work beside the event loop. Cancelling stops it at its next status and waits for that."""
    loop = asyncio.get_running_loop()
    stop = threading.Event()

    def say(status: dict[str, object]) -> None:
        if stop.is_set():
            raise Cancelled("the work was cancelled")
        loop.call_soon_threadsafe(on_status, status)

    thread = asyncio.ensure_future(asyncio.to_thread(work, say))
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait([thread])
        thread.exception()
        raise


def _destination(request: CreateRequest, library: Library) -> Name:
    """The name to publish under. Raises BadRequest, Conflict for one that models.yaml holds."""
    try:
        name = Name.parse(request.name)
    except ValueError:
        raise BadRequest("invalid model name", "model") from None
    if name.is_declared:
        raise BadRequest("invalid model name", "model")
    declared = library.declared_name(request.name)
    if declared is not None:
        raise Conflict(
            f'"{request.name}" is declared as "{declared}" in models.yaml and cannot be overwritten here; edit the '
            "file instead"
        )
    return name


async def _base(text: str, library: Library, pull: Pull | None, on_status: OnStatus) -> Offer:
    try:
        return library.find(text)
    except NotFound:
        if pull is None:
            raise
    async with aclosing(pull(text)) as statuses:
        async for status in statuses:
            if status.get("status") != "success":
                on_status(status)
    return library.find(text)


def _gather(request: CreateRequest, base: Offer | None, store: Store, on_status: OnStatus) -> Ingredients:
    """Everything the model is made of but its texts. Blocking."""
    made = inherit(base) if base is not None else Ingredients()
    with naming(store.root, "reading the parts of a new model in"):
        files, adapters = uploads(request.files, store), uploads(request.adapters, store)
        add_files(made, files, store, on_status)
        if made.weights is None:
            raise BadRequest("there are no model weights among the files", "files")
        add_adapters(made, adapters)
    return made


async def _converted(made: Ingredients, kind: str, store: Store, on_status: OnStatus, quantizer: Sequence[str]) -> None:
    """Quantize the weights where that is asked for and they are not of that type already."""
    assert made.header is not None
    assert made.weights is not None
    if not kind or made.header.file_type == kind:
        if made.new_weights:
            on_status(_progress("validating GGUF model", made.weights.size, made.weights.size))
        return
    text = f"quantizing {made.header.file_type} model to {kind}"

    def on_progress(completed: int, total: int) -> None:
        on_status(_progress(text, completed, total))

    quantizing.check_full(made.header)
    digest = await quantizing.quantize(made.path, kind, store, on_progress, quantizer)
    on_status({"status": "verifying conversion"})
    await asyncio.to_thread(take_weights, made, digest, store)


def _progress(status: str, completed: int, total: int) -> dict[str, object]:
    return {"status": status, "digest": NO_DIGEST, "total": total, "completed": completed}


def _family(request: CreateRequest, made: Ingredients) -> str | None:
    """The family whose Go template uploaded weights get because their own Jinja is that family's (contract 7.3)."""
    jinja = made.header.chat_template if made.header is not None and request.files else None
    if not jinja or request.template or any(layer.media_type in creation.TEMPLATE_TYPES for layer in made.layers):
        return None
    return match(jinja)


def _publish(request: CreateRequest, name: Name, made: Ingredients, store: Store, on_status: OnStatus) -> None:
    """Write the texts as layers, then the manifest. Blocking."""
    assert made.header is not None
    family = _family(request, made)
    if family is not None:
        on_status({"status": f"using autodetected template {family}"})
    params = made.params if family is None else {**made.params, "stop": list(FAMILIES[family].stops)}
    merged = creation.parameters(params, request.parameters) if request.parameters or family else {}
    texts = creation.texts(request, merged)
    if family is not None:
        texts.append((TEMPLATE_TYPE, FAMILIES[family].go.encode()))
    gone = creation.replaced(texts)
    layers = [layer for layer in made.layers if layer.media_type not in gone]
    for media_type, data in texts:
        digest = Digest.of(data)
        if store.blob(digest) is None:
            made.fresh.add(digest)
        store.put(data)
        layers.append(Layer(media_type, digest, len(data)))
    for layer in layers:
        word = "creating new" if layer.digest in made.fresh else "using existing"
        on_status({"status": f"{word} layer {layer.digest}"})
    on_status({"status": "writing manifest"})
    config = creation.config(made.config, made.header, request, new_weights=made.new_weights)
    store.publish(name, layers, config)
