"""Send an Answer: at once, or chunk by chunk as it comes, one send per wake-up.

The head goes out with the first chunk, so a failure before it has its real status. After that a failure is the
stream's last, visible line, and nothing follows it.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import Protocol

from powerd.api import inference
from powerd.api.answer import Answer, Output
from powerd.api.ask import Ask, Timing
from powerd.api.call import Call
from powerd.api.status import Refusal
from powerd.errors import Cancelled, PowerError
from powerd.protocol import Finished

#: Seconds without a word, while the model writes what is told later, after which a dialect that can says so.
QUIET = 10.0


class Framing(Protocol):
    """How one route writes an answer; made anew for each request. `now` is in nanoseconds since the epoch."""

    content_type: str

    def chunk(self, output: Output, now: int) -> bytes:
        """Some of the stream; empty where this API has no place for it."""

    def last(self, finished: Finished, timing: Timing) -> bytes:
        """The end of a stream that went well."""

    def failed(self, error: PowerError | Refusal) -> bytes:
        """The end of a stream that did not."""

    def whole(self, output: Output, finished: Finished, timing: Timing) -> bytes:
        """The answer that is not streamed."""


async def reply(call: Call, ask: Ask, framing: Framing, *, stream: bool) -> None:
    """Generate and send, until the end, a failure or the client's leave."""
    await call.while_connected(told(call, framing, _sent(call, ask, framing, stream=stream), stream=stream))


async def _sent(call: Call, ask: Ask, framing: Framing, *, stream: bool) -> None:
    ask = inference.in_class(ask, call.header(inference.CLASS_HEADER))
    async with inference.opened(call.context, ask, call.id, call.started) as answer:
        call.model = answer.offer.name.display
        await (_streamed if stream else _at_once)(call, answer, framing)


async def told(call: Call, framing: Framing, sending: Awaitable[None], *, stream: bool) -> None:
    """Await what sends an answer; a failure after its head is its last words. Raises what failed before."""
    try:
        await sending
    except Exception as error:
        if not call.status or isinstance(error, Cancelled):
            raise
        call.failure = error if isinstance(error, PowerError) else call.unexpected()
        await call.write(framing.failed(call.failure), framing.content_type)
    if stream:
        await call.finish()


async def _streamed(call: Call, answer: Answer, framing: Framing) -> None:
    finished = None
    spoke = time.monotonic()
    while finished is None:
        output, finished = await answer.read()
        data = framing.chunk(output, time.time_ns()) if output else b""
        if finished is not None:
            data += framing.last(finished, _noted(call, answer, finished))
        if not data and call.status and time.monotonic() - spoke > QUIET:
            data = call.dialect.ping
        if data:
            if not call.status:
                call.headers |= answer.notes
            await call.write(data, framing.content_type)
            spoke = time.monotonic()


async def _at_once(call: Call, answer: Answer, framing: Framing) -> None:
    output, finished = await answer.whole()
    call.headers |= answer.notes
    await call.answer(framing.whole(output, finished, _noted(call, answer, finished)))


def _noted(call: Call, answer: Answer, finished: Finished) -> Timing:
    call.prompt_tokens, call.output_tokens = finished.prompt_tokens, finished.output_tokens
    return Timing(time.time_ns(), time.monotonic_ns() - call.started, answer.load_ns, answer.thinking_tokens)
