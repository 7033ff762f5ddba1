"""The one path from a dialect's inputs to vectors: find, check, merge options, lease, submit, account.

Inputs travel one by one, a few ahead of the answers, so that a thousand of them neither wait for each other nor fill
any buffer. An error names the input by its index, and ends the rest.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from powerd import metrics
from powerd.api import inference
from powerd.api.answer import failure
from powerd.api.ask import Ask
from powerd.api.call import Call
from powerd.api.fitting import HEADER as CUT_HEADER
from powerd.errors import BadRequest, ContextOverflow, Unsupported
from powerd.fleet.lease import Lease
from powerd.fleet.process import Stream
from powerd.options import Options
from powerd.protocol import Failed
from powerd.reconcile.offer import Offer
from powerd.vectors import EMBEDDING_CONTEXT, Embed, Embedded

#: Inputs sent before the first of them is answered.
_AHEAD = 64
#: Cut inputs that the header names.
_NAMED = 10


@dataclass(frozen=True, slots=True)
class Inputs:
    """What vectors are wanted of."""

    texts: tuple[str, ...]
    truncate: bool | None = True  # one that does not fit loses its end; None = as the model's `overflow` says
    normalise: bool = True
    dimensions: int = 0  # the first ones; 0, or more than there are, is all


@dataclass(slots=True)
class Vectors:
    """What came of them, each vector as `write` made it of little-endian float32."""

    written: list[bytes] = field(default_factory=list)
    tokens: int = 0
    load_ns: int = 0
    cut: list[tuple[int, Embedded]] = field(default_factory=list)


async def embed(call: Call, ask: Ask, inputs: Inputs, write: Callable[[bytes], bytes]) -> Vectors:
    """Make the vectors, or with no texts have the model loaded. Leaves notes in the call's headers.

    Raises every class of powerd.errors that a request can meet.
    """
    vectors = Vectors()
    await call.while_connected(_embed(call, ask, inputs, write, vectors))
    return vectors


async def _embed(call: Call, ask: Ask, inputs: Inputs, write: Callable[[bytes], bytes], vectors: Vectors) -> None:
    asked = inference.in_class(ask, call.header(inference.CLASS_HEADER))
    async with inference.leased(call.context, asked, call.id) as (offer, options, lease, notes):
        _refuse_scorers(ask, offer)
        call.model = offer.name.display
        vectors.load_ns = lease.load_ns
        async for index, frame in _answers(lease, _frames(inputs, offer, options)):
            vectors.written.append(write(frame.vector))
            vectors.tokens += frame.tokens
            if frame.needed:
                vectors.cut.append((index, frame))
            await asyncio.sleep(0)  # writing takes a while, and there may be thousands
        call.headers |= notes | _told(inputs, offer, vectors)
    call.prompt_tokens = vectors.tokens
    metrics.TOKENS.labels(call.model, "prompt").inc(vectors.tokens)
    metrics.EMBEDDINGS.labels(call.model).inc(len(vectors.written))


def _refuse_scorers(ask: Ask, offer: Offer) -> None:
    if offer.deployment.shape.pooling == "rank":
        raise Unsupported(f'"{ask.model}" does not support embeddings: it scores texts, to put them in order', "model")


def _frames(inputs: Inputs, offer: Offer, options: Options) -> list[Embed]:
    """A frame for each text."""
    truncate = inputs.truncate
    if truncate is None:
        truncate = offer.overflow != "reject"
    source = _source(offer, options)
    return [
        Embed(
            id=0,
            text=text,
            truncate=truncate,
            normalise=inputs.normalise,
            dimensions=max(0, inputs.dimensions),
            context=options.num_ctx or 0,
            context_source=source,
            adapters=offer.adapters,
        )
        for text in inputs.texts
    ]


def _source(offer: Offer, options: Options) -> str:
    """Where the limit on an input comes from."""
    deployment = offer.deployment
    limits = {deployment.context: offer.context_source}
    if not deployment.shape.pooling:
        limits.setdefault(EMBEDDING_CONTEXT, f"the {EMBEDDING_CONTEXT} tokens a generative model embeds at most")
    elif deployment.shape.trained_context:
        limits.setdefault(deployment.shape.trained_context, "the context the model was trained for")
    if options.num_ctx is not None:
        limits.setdefault(options.num_ctx, "`num_ctx` of the request")
    return limits[min(limits)]


async def _answers(lease: Lease, frames: list[Embed]) -> AsyncIterator[tuple[int, Embedded]]:
    """Every input's answer, in their order. Raises what made one fail, with its index."""
    ahead: deque[tuple[int, Stream]] = deque()
    for index, frame in enumerate(frames):
        if len(ahead) == _AHEAD:
            yield await _answer(*ahead.popleft())
        ahead.append((index, lease.submit(frame)))
    while ahead:
        yield await _answer(*ahead.popleft())


async def _answer(index: int, stream: Stream) -> tuple[int, Embedded]:
    async for batch in stream:
        for item in batch:
            if isinstance(item, Embedded):
                return index, item
            if isinstance(item, Failed):
                raise _named(index, item)
    raise AssertionError("a stream ends with its terminal frame, or raises")


def _named(index: int, failed: Failed) -> Exception:
    """The failure of one input; what is the request's own fault names it."""
    error = failure(failed)
    if isinstance(error, ContextOverflow):
        return BadRequest(
            f"the input length exceeds the context length: input[{index}] has {error.needed} tokens, and {error.limit} "
            f"are available, which comes from {error.limit_source}; shorten it, or let it be cut with `truncate: true`",
            f"input[{index}]",
        )
    if isinstance(error, BadRequest):
        return BadRequest(f"input[{index}]: {error.message}", error.param or f"input[{index}]")
    return error


def _told(inputs: Inputs, offer: Offer, vectors: Vectors) -> dict[str, str]:
    """What was made differently than asked, as headers."""
    notes: dict[str, str] = {}
    width = offer.deployment.shape.embedding
    if inputs.dimensions > width > 0:
        notes["X-Powerd-Dimensions"] = f"{width} (all there are; {inputs.dimensions} were asked)"
    if vectors.cut:
        metrics.CUTS.labels(offer.name.display, "embedding").inc(len(vectors.cut))
        named = [f"input[{index}] from {frame.needed} to {frame.tokens} tokens" for index, frame in vectors.cut]
        more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
        notes[CUT_HEADER] = ", ".join(named[:_NAMED]) + more
    return notes
