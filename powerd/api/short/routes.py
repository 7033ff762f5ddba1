"""The short routes: /chat, /pull, /models and /status."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing

from powerd.api import inference, stream
from powerd.api.ask import Ask
from powerd.api.auth import is_loopback
from powerd.api.call import Call, Dialect, Route
from powerd.api.short import frames, schema
from powerd.api.short.schema import ChatRequest, PullRequest
from powerd.errors import BadRequest
from powerd.reconcile.offer import Offer

DIALECT = Dialect("short", "application/json", "missing request body", frames.error_body)
ENGINE = "llama.cpp"


async def chat(call: Call) -> None:
    """POST /chat: one answer, of a model that is here."""
    request = await call.decoded(ChatRequest)
    request.model = request.model or call.context.default_model
    if not request.model:
        raise BadRequest("model is required", "model")
    await stream.reply(call, schema.chat(request), frames.ChatFrames(request.model), stream=False)


async def pull(call: Call) -> None:
    """POST /pull: fetch a model, load it where `init` says so, and answer when that is done."""
    request = await call.decoded(PullRequest)
    await call.while_connected(_pulled(call, request, schema.wanted(request)))


async def _small_enough(call: Call, request: PullRequest, *, trusted: bool) -> str | None:
    """The name of the file that `auto` takes because it need not be quantized; None without a bound or such a file."""
    bound = call.context.q4_above
    for name in schema.unquantized(request) if bound else ():
        size = await call.context.library.size(name, trusted=trusted)
        if size is not None:
            return name if size <= bound else None
    return None


async def _pulled(call: Call, request: PullRequest, usual: str) -> None:
    client = call.scope.get("client")
    trusted = call.access is None or is_loopback(client[0] if client else None)
    library = call.context.library
    name = await _small_enough(call, request, trusted=trusted) or usual
    async with aclosing(library.pull(name, trusted=trusted)) as statuses:
        async for _ in statuses:
            pass
    if name != request.model:  # whoever asked for it goes on calling it by its bare name
        await library.copy(name, request.model)
    if request.init:
        offer, notes = await inference.load(call.context, Ask(request.model), call.id)
        call.headers |= notes
    else:
        offer = library.find(request.model)
    call.model = offer.name.display
    await call.json({"status": "ok", "model": request.model, "cached": True, "backend": _backend(offer)})


def _backend(offer: Offer) -> dict[str, object]:
    quantization = offer.stored.header.file_type
    return {
        "name": ENGINE,
        "quantization": quantization,
        "preferred_quantized": quantization not in {"F16", "BF16", "F32"},
        "size_bytes": offer.stored.size,
    }


async def models(call: Call) -> None:
    """GET /models: every model that can be served."""
    loaded = _loaded(call)
    rows = [
        {
            "model": offer.name.display,
            "description": None,
            "loaded": offer.deployment.key in loaded,
            "backend": ENGINE,
            "size_bytes": offer.stored.size,
            "load_duration": None,
        }
        for offer in call.context.library.offers()
    ]
    await call.json({"models": rows})


async def status(call: Call) -> None:
    """GET /status: what is in memory, what could not be loaded, and why nothing may be asked."""
    context = call.context
    reasons = [*(["powerd is stopping"] if context.stopping() else []), *context.not_ready()]
    failed = [{"model": one.model, "error": one.reason} for one in context.fleet.failures()]
    await call.json(
        {
            "status": "degraded" if reasons else "ok",
            "reasons": reasons,
            "version": context.version,
            "backend": ENGINE,
            "cached_models": [view.model for view in context.fleet.views() if view.state == "ready"],
            "failed_loads": failed,
        }
    )


def _loaded(call: Call) -> set[str]:
    return {view.key for view in call.context.fleet.views() if view.state == "ready"}


ROUTES: Sequence[Route] = (
    Route("/chat", DIALECT, {"POST": chat}, inference=True),
    Route("/pull", DIALECT, {"POST": pull}, manages=True),
    Route("/models", DIALECT, {"GET": models}),
    Route("/status", DIALECT, {"GET": status}),
)
