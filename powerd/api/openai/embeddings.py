"""POST /v1/embeddings (contract section 11.3). Ours beside it: `truncate`."""

from __future__ import annotations

from typing import Any

import msgspec

from powerd.api import embedding, inference, vectors
from powerd.api.ask import Ask
from powerd.api.call import Call
from powerd.errors import BadRequest, NotFound

_json = msgspec.json.encode
_WRITERS = {"float": vectors.numbers, "base64": vectors.base64}


class EmbeddingsRequest(msgspec.Struct):
    """The body."""

    model: str = ""
    input: Any = None
    dimensions: int | None = None
    encoding_format: str | None = None
    truncate: bool | None = None


async def embeddings(call: Call) -> None:
    """POST /v1/embeddings."""
    request = await call.decoded(EmbeddingsRequest)
    model = request.model or call.context.default_model
    if not model:
        raise NotFound("model '' not found")
    write = _WRITERS.get((request.encoding_format or "float").lower())
    if write is None:
        raise BadRequest(
            f"Invalid value for 'encoding_format' = {request.encoding_format}. Supported values: ['float', 'base64'].",
            "encoding_format",
        )
    texts = vectors.texts(request.input, empty_is_none=False)
    if not texts:
        raise BadRequest("invalid input", "input")
    inference.known(call.context, model)
    inputs = embedding.Inputs(texts, request.truncate, dimensions=request.dimensions or 0)
    made = await embedding.embed(call, Ask(model, verb="embeddings", embeds=True), inputs, write)
    await call.answer(_body(model, made))


def _body(model: str, made: embedding.Vectors) -> bytes:
    data = b",".join(
        b'{"object":"embedding","embedding":%b,"index":%d}' % (vector, index)
        for index, vector in enumerate(made.written)
    )
    usage = _json({"prompt_tokens": made.tokens, "total_tokens": made.tokens})
    return b'{"object":"list","data":[%b],"model":%b,"usage":%b}' % (data, _json(model), usage)
