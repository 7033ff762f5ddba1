"""POST /api/embed and the older POST /api/embeddings (contract sections 1.5 and 1.6)."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from powerd.api import embedding, inference, vectors
from powerd.api.ask import Ask
from powerd.api.call import Call
from powerd.api.ollama.translate import keep_alive
from powerd.errors import BadRequest, NotFound

_json = msgspec.json.encode


class EmbedRequest(msgspec.Struct):
    """POST /api/embed."""

    model: str = ""
    input: Any = None
    truncate: bool | None = None
    dimensions: int | None = None
    keep_alive: Any = None
    options: dict[str, Any] = {}


class EmbeddingsRequest(msgspec.Struct):
    """POST /api/embeddings."""

    model: str = ""
    prompt: str = ""
    keep_alive: Any = None
    options: dict[str, Any] = {}


async def embed(call: Call) -> None:
    """POST /api/embed."""
    request = await call.decoded(EmbedRequest)
    model = request.model or call.context.default_model
    if not model:
        raise NotFound("model '' not found")
    texts = vectors.texts(request.input, empty_is_none=True)
    inference.known(call.context, model)
    inputs = embedding.Inputs(texts, request.truncate, dimensions=request.dimensions or 0)
    made = await embedding.embed(call, _ask(model, request), inputs, vectors.numbers)
    times = {
        "total_duration": time.monotonic_ns() - call.started,
        "load_duration": made.load_ns,
        "prompt_eval_count": made.tokens,
    }
    told = b"".join(b',"%s":%d' % (name.encode(), value) for name, value in times.items() if value)
    body = b'{"model":' + _json(model) + b',"embeddings":[' + b",".join(made.written) + b"]" + (told if texts else b"")
    await call.answer(body + b"}")


async def embeddings(call: Call) -> None:
    """POST /api/embeddings: one prompt, neither cut nor normalised."""
    request = await call.decoded(EmbeddingsRequest)
    model = request.model or call.context.default_model
    if not model:
        raise BadRequest("model is required", "model")
    inference.known(call.context, model)
    texts = (request.prompt,) if request.prompt else ()
    inputs = embedding.Inputs(texts, truncate=False, normalise=False)
    made = await embedding.embed(call, _ask(model, request), inputs, vectors.numbers)
    await call.answer(b'{"embedding":' + (made.written[0] if made.written else b"[]") + b"}")


def _ask(model: str, request: EmbedRequest | EmbeddingsRequest) -> Ask:
    return Ask(
        model, options=request.options, keep_alive=keep_alive(request.keep_alive), verb="embeddings", embeds=True
    )
