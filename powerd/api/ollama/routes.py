"""What Ollama's clients call (contract section 1)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from powerd.api import inference, stream
from powerd.api.ask import Ask
from powerd.api.call import Call, Dialect, Handler, Route
from powerd.api.ollama import account, blobs, create, embed, frames, listing, show, transfers, translate
from powerd.api.ollama.schema import ChatRequest, CopyRequest, GenerateRequest, ModelRequest, ShowRequest
from powerd.errors import BadRequest, Forbidden, NotFound, PowerError
from powerd.names import Name
from powerd.reconcile.offer import Offer
from powerd.store.gguf import GgufError, read_array, read_header
from powerd.store.manifest import PROJECTOR_TYPE, StoredModel
from powerd.store.store import Store

#: The Ollama whose API this is: clients compare it before they use a feature. powerd's own stands beside it.
OLLAMA_VERSION = "0.33.0"
DIALECT = Dialect("ollama", "application/json; charset=utf-8", "missing request body", frames.error_body)


# ---------------------------------------------------------------- what there is


async def root(call: Call) -> None:
    """Every client probes this text."""
    await call.answer(b"Ollama is running", "text/plain; charset=utf-8")


async def version(call: Call) -> None:
    """GET /api/version."""
    await call.json({"version": OLLAMA_VERSION, "powerd": call.context.version})


async def status(call: Call) -> None:
    """GET /api/status: there is no cloud behind powerd."""
    await call.json({"cloud": {"disabled": True, "source": "config"}})


async def tags(call: Call) -> None:
    """GET /api/tags."""
    await call.json({"models": [listing.tag(offer) for offer in call.context.library.offers()]})


async def ps(call: Call) -> None:
    """GET /api/ps."""

    def find(name: str) -> Offer | None:
        try:
            return call.context.library.find(name)
        except PowerError:
            return None

    rows = listing.loaded(call.context.fleet.views(), find, datetime.now().astimezone(), time.monotonic())
    await call.json({"models": rows})


async def show_model(call: Call) -> None:
    """POST /api/show."""
    request = await call.decoded(ShowRequest)
    asked = request.model or request.name or call.context.default_model
    if not asked:
        raise BadRequest("model is required", "model")
    try:
        offer = call.context.library.find(asked)
    except NotFound:
        raise NotFound(f"model '{Name.parse(asked).display}' not found") from None
    except Forbidden:
        raise Forbidden("ollama cloud is disabled: remote model details are unavailable") from None
    shown = await asyncio.to_thread(_shown, call.context.store, offer, request)
    info = shown["model_info"]
    if isinstance(info, dict) and call.header(b"user-agent").startswith("GitHubCopilotChat/"):
        info["general.basename"] = asked
    await call.json(shown)


def _shown(store: Store, offer: Offer, request: ShowRequest) -> dict[str, object]:
    """Everything known of a model, its projector's header read for it."""
    stored = offer.stored
    return show.show(
        offer,
        system=request.system,
        options=request.options,
        weights=show.Weights(stored.header, partial(read_array, stored.weights)),
        projector=_projector(store, stored),
        verbose=request.verbose,
    )


def _projector(store: Store, stored: StoredModel) -> show.Weights | None:
    """The first projector's weights; None without one, and for one that cannot be read."""
    layer = next((layer for layer in stored.layers if layer.media_type == PROJECTOR_TYPE), None)
    path = store.blob(layer.digest) if layer is not None else None
    if path is None:
        return None
    try:
        return show.Weights(read_header(path), partial(read_array, path))
    except (GgufError, OSError):
        return None


# ---------------------------------------------------------------- inference


async def generate(call: Call) -> None:
    """POST /api/generate."""
    request = await call.decoded(GenerateRequest)
    translate.check_first(request)
    request.model = request.model or call.context.default_model
    if not request.model:
        raise NotFound("model '' not found")
    call.context.library.find(request.model)
    ask = translate.generate(request)
    if request.debug_render_only:
        await _render_only(call, ask, {"response": ""})
    elif not request.prompt:
        await _load_or_unload(call, ask, frames.empty_generate)
    else:
        await stream.reply(call, ask, frames.GenerateFrames(ask.model), stream=request.stream)


async def chat(call: Call) -> None:
    """POST /api/chat."""
    request = await call.decoded(ChatRequest)
    translate.check_first(request)
    request.model = request.model or call.context.default_model
    if not request.model:
        raise BadRequest("model is required", "model")
    call.context.library.find(request.model)
    ask = translate.chat(request)
    if request.debug_render_only:
        await _render_only(call, ask, {"message": {"role": "assistant", "content": ""}})
    elif not request.messages:
        await _load_or_unload(call, ask, frames.empty_chat)
    else:
        await stream.reply(call, ask, frames.ChatFrames(ask.model), stream=request.stream)


async def _load_or_unload(call: Call, ask: Ask, body: Callable[[str, str, int], bytes]) -> None:
    """No prompt: the model is loaded, or with a keep_alive of 0 unloaded."""

    async def work() -> None:
        if ask.keep_alive == 0:
            call.headers |= await inference.unload(call.context, ask)
        else:
            asked = inference.in_class(ask, call.header(inference.CLASS_HEADER))
            offer, notes = await inference.load(call.context, asked, call.id)
            call.model = offer.name.display
            call.headers |= notes

    await call.while_connected(work())
    await call.answer(body(ask.model, "unload" if ask.keep_alive == 0 else "load", time.time_ns()))


async def _render_only(call: Call, ask: Ask, body: dict[str, object]) -> None:
    info = await inference.only_rendered(call.context, ask, call.headers)
    await call.answer(frames.only_rendered(ask.model, info, time.time_ns(), body))


# ---------------------------------------------------------------- changing models


async def delete(call: Call) -> None:
    """DELETE /api/delete."""
    request = await call.decoded(ModelRequest)
    await call.context.library.delete(request.asked)
    await call.answer(b"")


async def copy(call: Call) -> None:
    """POST /api/copy."""
    request = await call.decoded(CopyRequest)
    await call.context.library.copy(request.source, request.destination)
    await call.answer(b"")


# ---------------------------------------------------------------- the table


def _probed(path: str, handler: Handler) -> Route:
    return Route(path, DIALECT, {"GET": handler, "HEAD": handler})


ROUTES: Sequence[Route] = (
    _probed("/", root),
    _probed("/api/version", version),
    _probed("/api/tags", tags),
    Route("/api/status", DIALECT, {"GET": status}),
    Route("/api/ps", DIALECT, {"GET": ps}),
    Route("/api/show", DIALECT, {"POST": show_model}),
    Route("/api/generate", DIALECT, {"POST": generate}, inference=True),
    Route("/api/chat", DIALECT, {"POST": chat}, inference=True),
    Route("/api/pull", DIALECT, {"POST": transfers.pull}, manages=True),
    Route("/api/copy", DIALECT, {"POST": copy}, manages=True),
    Route("/api/delete", DIALECT, {"DELETE": delete}, manages=True),
    Route("/api/create", DIALECT, {"POST": create.create}, manages=True),
    Route("/api/push", DIALECT, {"POST": transfers.push}, manages=True),
    Route(
        "/api/blobs",
        DIALECT,
        {"HEAD": blobs.probe, "POST": blobs.upload, "GET": blobs.download, "DELETE": blobs.remove},
        manages=True,
        below=True,
    ),
    Route("/api/embed", DIALECT, {"POST": embed.embed}, inference=True),
    Route("/api/embeddings", DIALECT, {"POST": embed.embeddings}, inference=True),
    Route("/api/me", DIALECT, {"POST": account.disabled("the account")}),
    Route("/api/signout", DIALECT, {"POST": account.signout}),
    Route("/api/user/keys", DIALECT, {"DELETE": account.signout}, below=True),
    Route("/api/experimental/web_search", DIALECT, {"POST": account.disabled("web search")}),
    Route("/api/experimental/web_fetch", DIALECT, {"POST": account.disabled("web fetch")}),
    Route("/api/experimental/model-recommendations", DIALECT, {"GET": account.recommendations}),
)
