"""What Anthropic's clients call (contract section 12), and the count of tokens, which Ollama does not have."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from powerd.api import counting, stream
from powerd.api.anthropic import frames, translate
from powerd.api.anthropic.schema import CountRequest, MessagesRequest
from powerd.api.ask import Ask
from powerd.api.call import Call, Dialect, Route
from powerd.api.status import Refusal
from powerd.errors import PowerError


@dataclass(frozen=True, slots=True)
class MessagesDialect(Dialect):
    """Tells a request's id in a header and in every error, and has no bare text."""

    def headers(self, request_id: str) -> dict[str, str]:
        """Both names: that of this API and that of all others."""
        return {"X-Request-Id": request_id, "Request-Id": _named(request_id)}

    def failure(self, error: PowerError | Refusal, request_id: str) -> tuple[bytes, str]:
        """The error's whole body, and its type."""
        return frames.error_body(error, _named(request_id)), self.json_type


DIALECT = MessagesDialect("anthropic", "application/json", "EOF", frames.error_body, ping=frames.PING)


def _named(request_id: str) -> str:
    """The id by which the log knows the request, as this API writes ids."""
    return f"req_{request_id}"


async def messages(call: Call) -> None:
    """POST /v1/messages."""
    request = await call.decoded(MessagesRequest)
    request.model = request.model or call.context.default_model
    ask = translate.messages(request)
    if translate.searches(request):
        call.headers["X-Powerd-Tools"] = "web_search is not there, and the model was not told of it"
    framing = frames.MessageFrames(
        request.model, secrets.token_hex(12), _named(call.id), request.stop_sequences, translate.estimate(ask)
    )
    await stream.reply(call, ask, framing, stream=request.stream)


async def count_tokens(call: Call) -> None:
    """POST /v1/messages/count_tokens."""
    request = await call.decoded(CountRequest)
    request.model = request.model or call.context.default_model
    ask = translate.count(request)
    await call.while_connected(_count(call, ask))


async def _count(call: Call, ask: Ask) -> None:
    await call.json({"input_tokens": await counting.counted(call, ask)})


ROUTES: Sequence[Route] = (
    Route("/v1/messages", DIALECT, {"POST": messages}, inference=True),
    Route("/v1/messages/count_tokens", DIALECT, {"POST": count_tokens}, inference=True),
)
