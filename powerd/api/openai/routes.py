"""What OpenAI's clients call (contract sections 11.1, 11.2, 11.4 and 11.5)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TypeVar

from powerd.api import inference, stream
from powerd.api.ask import Ask
from powerd.api.call import Call, Dialect, Route
from powerd.api.openai import choices, embeddings, frames, transcriptions, translate
from powerd.api.openai.responses import translate as to_ask
from powerd.api.openai.responses.frames import ResponseFrames
from powerd.api.openai.responses.schema import ResponsesRequest
from powerd.api.openai.schema import ChatRequest, CompletionRequest, Sampled
from powerd.errors import BadRequest
from powerd.reconcile.offer import Offer

Kind = TypeVar("Kind", frames.ChatFrames, frames.CompletionFrames)

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
    framings = _framings(frames.ChatFrames, call, request)
    if request.debug_render_only:
        await call.answer(framings[0].rendered(await inference.only_rendered(call.context, ask, call.headers)))
    else:
        await _reply(call, ask, framings, request)


async def completions(call: Call) -> None:
    """POST /v1/completions."""
    request = await call.decoded(CompletionRequest)
    request.model = _named(call, request.model)
    ask = translate.completion(request)
    framings = _framings(frames.CompletionFrames, call, request)
    if translate.prompt(request):
        await _reply(call, ask, framings, request)
    else:
        await call.while_connected(_load(call, ask))
        await call.answer(framings[0].loaded())


async def _reply(call: Call, ask: Ask, framings: Sequence[choices.Frames], request: Sampled) -> None:
    if len(framings) == 1:
        await stream.reply(call, ask, framings[0], stream=request.stream)
    else:
        await choices.reply(call, ask, framings, streamed=request.stream)


def _framings(kind: type[Kind], call: Call, request: Sampled) -> list[Kind]:
    """One for each choice that was asked for."""
    created, usage = int(time.time()), bool(request.stream_options.include_usage)
    return [kind(request.model, call.id, created, include_usage=usage, index=index) for index in range(request.n)]


async def responses(call: Call) -> None:
    """POST /v1/responses."""
    request = await call.decoded(ResponsesRequest)
    request.model = _named(call, request.model)
    ask, box = to_ask.response(request)
    options, _ = inference.merged(ask, inference.find(call.context, ask))
    repeated = to_ask.repeated(request, ask, options)
    if request.stream:
        call.headers["Cache-Control"] = "no-cache"
    if box.without_search:
        call.headers["X-Powerd-Tools"] = "web_search is not there, and the model was not told of it"
    await stream.reply(call, ask, ResponseFrames(repeated, call.id, int(time.time()), box.told), stream=request.stream)


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


ROUTES: Sequence[Route] = (
    Route("/v1/models", DIALECT, {"GET": models}, below=True),
    Route("/v1/chat/completions", DIALECT, {"POST": chat_completions}, inference=True),
    Route("/v1/completions", DIALECT, {"POST": completions}, inference=True),
    Route("/v1/embeddings", DIALECT, {"POST": embeddings.embeddings}, inference=True),
    Route("/v1/audio/transcriptions", DIALECT, {"POST": transcriptions.transcriptions}, inference=True),
    Route("/v1/responses", DIALECT, {"POST": responses}, inference=True),
)
