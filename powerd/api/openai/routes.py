"""What OpenAI's clients call (contract sections 11.1, 11.2 and 11.4)."""

from __future__ import annotations

import time
from collections.abc import Sequence

from powerd.api import inference, stream
from powerd.api.ask import Ask
from powerd.api.call import Call, Dialect, Route, not_yet
from powerd.api.openai import embeddings, frames, translate
from powerd.api.openai.schema import ChatRequest, CompletionRequest, Sampled
from powerd.errors import BadRequest
from powerd.reconcile.offer import Offer

DIALECT = Dialect("openai", "application/json", "EOF", frames.error_body)


async def models(call: Call) -> None:
    """GET /v1/models, and GET /v1/models/NAME."""
    library = call.context.library
    if call.below:
        await call.json(_model(call.below, library.find(call.below)))
    else:
        await call.json({"object": "list", "data": [_model(offer.name.display, offer) for offer in library.offers()]})


def _model(name: str, offer: Offer) -> dict[str, object]:
    created = int(offer.stored.modified)
    return {"id": name, "object": "model", "created": created, "owned_by": offer.name.namespace}


async def chat_completions(call: Call) -> None:
    """POST /v1/chat/completions."""
    request = await call.decoded(ChatRequest)
    request.model = _named(call, request.model)
    ask = translate.chat(request)
    framing = frames.ChatFrames(request.model, call.id, int(time.time()), include_usage=_usage(request))
    await stream.reply(call, ask, framing, stream=request.stream)


async def completions(call: Call) -> None:
    """POST /v1/completions."""
    request = await call.decoded(CompletionRequest)
    request.model = _named(call, request.model)
    ask = translate.completion(request)
    framing = frames.CompletionFrames(request.model, call.id, int(time.time()), include_usage=_usage(request))
    if translate.prompt(request):
        await stream.reply(call, ask, framing, stream=request.stream)
    else:
        await call.while_connected(_load(call, ask))
        await call.answer(framing.loaded())


async def _load(call: Call, ask: Ask) -> None:
    asked = inference.in_class(ask, call.header(inference.CLASS_HEADER))
    offer, notes = await inference.load(call.context, asked, call.id)
    call.model = offer.name.display
    call.headers |= notes


def _named(call: Call, model: str) -> str:
    """The model's name as the answer echoes it. Raises BadRequest or NotFound before anything else is judged."""
    name = model or call.context.default_model
    if not name:
        raise BadRequest("model is required", "model")
    call.context.library.find(name)
    return name


def _usage(request: Sampled) -> bool:
    return bool(request.stream_options.include_usage)


ROUTES: Sequence[Route] = (
    Route("/v1/models", DIALECT, {"GET": models}, below=True),
    Route("/v1/chat/completions", DIALECT, {"POST": chat_completions}, inference=True),
    Route("/v1/completions", DIALECT, {"POST": completions}, inference=True),
    Route("/v1/embeddings", DIALECT, {"POST": embeddings.embeddings}, inference=True),
    Route("/v1/responses", DIALECT, {"POST": not_yet("/v1/responses")}, inference=True),
)
