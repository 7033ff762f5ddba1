"""/api/pull and /api/push: Ollama's progress objects, streamed unless `stream` is false (contract section 1.10)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from powerd.api.auth import is_loopback
from powerd.api.call import NDJSON, Call
from powerd.api.ollama import frames
from powerd.api.ollama.schema import ModelRequest
from powerd.errors import BadRequest, PowerError

Statuses = AsyncGenerator[dict[str, object], None]


async def pull(call: Call) -> None:
    """POST /api/pull."""
    request = await call.decoded(ModelRequest)
    library = call.context.library
    statuses = library.pull(request.asked, insecure=request.insecure, trusted=trusted(call))
    await call.while_connected(told(call, statuses, stream=request.stream))


async def push(call: Call) -> None:
    """POST /api/push; `destination` names another place than the model's own name does."""
    request = await call.decoded(ModelRequest)
    if not request.asked:
        raise BadRequest("model is required", "model")
    library = call.context.library
    statuses = library.push(request.asked, request.destination, insecure=request.insecure, trusted=trusted(call))
    await call.while_connected(told(call, statuses, stream=request.stream))


def trusted(call: Call) -> bool:
    """Whether the caller is on this machine: then private registries may be named (reliability S19)."""
    client = call.scope.get("client")
    return call.access is None or is_loopback(client[0] if client else None)


async def told(call: Call, statuses: Statuses, *, stream: bool) -> None:
    """Answer with each progress object as it comes, or with the last one."""
    async with aclosing(statuses):
        await (_streamed if stream else _at_once)(call, statuses)


async def _streamed(call: Call, statuses: Statuses) -> None:
    try:
        async for progress in statuses:
            await call.write(msgspec.json.encode(progress) + b"\n", NDJSON)
    except PowerError as error:
        if not call.status:
            raise
        call.failure = error
        await call.write(frames.error_body(error) + b"\n", NDJSON)
    await call.finish()


async def _at_once(call: Call, statuses: Statuses) -> None:
    last: dict[str, object] = {}
    async for progress in statuses:
        last = progress
    await call.json(last)
