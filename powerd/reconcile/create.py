"""Create: a model made of another one or of uploaded files, as POST /api/create asks (contract section 4.3).

Everything that can be refused is looked at before anything is written; the manifest comes last.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace

from powerd.digest import Digest
from powerd.errors import BadRequest, Conflict, Forbidden, NotFound
from powerd.names import Name
from powerd.prompt.published import FAMILIES
from powerd.reconcile.library import Library
from powerd.reconcile.making import converting, creation, quantizing
from powerd.reconcile.making.automatic import Unasked, unasked
from powerd.reconcile.making.creation import CreateRequest
from powerd.reconcile.making.drafts import add_draft
from powerd.reconcile.making.ingredients import Ingredients, OnStatus, digests, inherit
from powerd.reconcile.making.workshop import Workshop
from powerd.reconcile.offer import Offer
from powerd.reconcile.remote import is_cloud
from powerd.store.manifest import TEMPLATE_TYPE, Layer, StoredModel
from powerd.store.store import Store

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
    converter: Sequence[str] = converting.COMMAND,
) -> None:
    """Make and publish the model. `on_status` gets Ollama's progress objects, on the event loop.

    `pull` fetches a base that is not here. Raises BadRequest for what cannot be made, NotFound without the base,
    Conflict for a declared name, and what `pull`, the store, the converter and the quantizer raise.
    """
    name = _destination(request, library)
    named = _checked(request)
    base = await _base(request, library, pull, on_status) if request.base else None
    inherited = [layer.digest for layer in base.stored.layers] if base is not None else []
    with store.lease([*inherited, *named]):
        async with Workshop(store, on_status, quantizer=quantizer, converter=converter) as workshop:
            made = await _gather(request, base, store, workshop)
            stored = await workshop.in_thread(lambda say: _publish(request, name, made, store, say))
            workshop.named([layer.digest for layer in stored.layers])
    await library.refresh()
    for warning in request.warnings:
        on_status({"status": warning})
    on_status({"status": "success"})


def _checked(request: CreateRequest) -> list[Digest]:
    """Look at everything that can be judged by itself; returns the digests of the files. Raises BadRequest."""
    if not request.base and not request.files:
        raise BadRequest("neither 'from' or 'files' was specified")
    for kind in (request.quantize, request.draft_quantize):
        if kind:
            quantizing.kind_of(kind)
    creation.version(request.requires)
    creation.overrides(request.info)
    creation.texts(request, creation.parameters({}, request.parameters))
    return [*digests(request.files), *digests(request.adapters), *digests(request.draft_files)]


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


async def _base(request: CreateRequest, library: Library, pull: Pull | None, on_status: OnStatus) -> Offer:
    try:
        return library.find(request.base)
    except Forbidden:
        if request.draft_files and is_cloud(request.base):
            raise BadRequest(creation.NO_REMOTE_DRAFT, "draft_files") from None
        raise
    except NotFound:
        if pull is None:
            raise
    async with aclosing(pull(request.base)) as statuses:
        async for status in statuses:
            if status.get("status") != "success":
                on_status(status)
    return library.find(request.base)


async def _gather(request: CreateRequest, base: Offer | None, store: Store, workshop: Workshop) -> Ingredients:
    """Everything the model is made of but its texts."""
    made = inherit(base) if base is not None else Ingredients()
    files, adapters, drafts = [
        await workshop.find(named) for named in (request.files, request.adapters, request.draft_files)
    ]
    await workshop.add_files(made, files)
    if made.weights is None:
        raise BadRequest("there are no model weights among the files", "files")
    await workshop.add_adapter(made, adapters)
    await add_draft(made, drafts, _kind(request.draft_quantize), store, workshop)
    await workshop.quantize(made, _kind(request.quantize))
    return made


def _kind(text: str) -> str:
    return quantizing.kind_of(text) if text else ""


def _publish(request: CreateRequest, name: Name, made: Ingredients, store: Store, on_status: OnStatus) -> StoredModel:
    """Write the texts as layers, then the manifest. Blocking."""
    assert made.header is not None
    defaults = unasked(request, made)
    texts = _texts(request, made, defaults)
    if defaults.family:
        on_status({"status": f"using autodetected template {defaults.family}"})
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
    if defaults.writer:
        request = replace(request, renderer=defaults.writer, parser=defaults.writer)
    config = creation.config(made.config, made.header, request, new_weights=made.new_weights)
    return store.publish(name, layers, config)


def _texts(request: CreateRequest, made: Ingredients, defaults: Unasked) -> list[tuple[str, bytes]]:
    """The text layers, those of the defaults among them."""
    params = {**made.params, "stop": list(defaults.stops)} if defaults.stops else made.params
    merged = creation.parameters(params, request.parameters) if request.parameters or defaults.stops else {}
    texts = creation.texts(request, merged)
    if defaults.family:
        texts.append((TEMPLATE_TYPE, FAMILIES[defaults.family].go.encode()))
    return texts
