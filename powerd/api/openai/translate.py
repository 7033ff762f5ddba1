"""Between OpenAI's words and the neutral ones: requests to Asks, text to JSON and server-sent events (pure).

Deviations from Ollama's reading of this API, on purpose: the declared temperature and top_p hold where the request is
silent, `max_completion_tokens` and `logit_bias` are honoured, and a failure in mid-stream is an `error` event. An
answer stopped because it repeated itself has the finish reason `length`, the nearest one clients know.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from powerd import errors
from powerd.api.ask import Ask, Timing
from powerd.api.openai.schema import ChatMessage, ChatRequest, CompletionRequest, Sampled
from powerd.api.openai.schema import ToolCall as SentCall
from powerd.api.status import Refusal, status_of
from powerd.api.strict import loads
from powerd.errors import BadRequest, PowerError, Unsupported
from powerd.options import check
from powerd.protocol import Finished, Message, ToolCall

MAX_MESSAGES = 4096
MAX_BIASES = 1024
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_EFFORTS = frozenset({"minimal", "low", "medium", "high", "xhigh", "ultra", "max"})
_json = msgspec.json.encode

#: The `type` of an error; everything else is an `api_error` (contract section 11).
ERROR_TYPES: Mapping[int, str] = MappingProxyType({400: "invalid_request_error", 404: "not_found_error"})
#: The `code` of an error where clients act on one.
ERROR_CODES: Mapping[type[PowerError], str] = MappingProxyType({errors.ContextOverflow: "context_length_exceeded"})


def error_object(error: PowerError | Refusal) -> dict[str, object]:
    """`{"error": {message, type, param, code}}`."""
    return {
        "error": {
            "message": error.message,
            "type": ERROR_TYPES.get(status_of(error), "api_error"),
            "param": error.param if isinstance(error, BadRequest) else None,
            "code": next((code for kind, code in ERROR_CODES.items() if isinstance(error, kind)), None),
        }
    }


def error_body(error: PowerError | Refusal) -> bytes:
    """The error as a body."""
    return _json(error_object(error))


# ---------------------------------------------------------------- requests


def chat(request: ChatRequest) -> Ask:
    """POST /v1/chat/completions. Raises BadRequest."""
    if not request.messages:
        raise BadRequest("[] is too short - 'messages'", "messages")
    if len(request.messages) > MAX_MESSAGES:
        raise BadRequest(f"messages[{MAX_MESSAGES}]: a conversation holds at most {MAX_MESSAGES} messages", "messages")
    if not 0 <= request.top_logprobs <= 20:
        raise BadRequest("top_logprobs must be between 0 and 20", "top_logprobs")
    if request.logprobs:
        raise Unsupported("logprobs are not available in this version of powerd", "logprobs")
    _refuse_format(request.response_format)
    think = _think(request)
    needs = ["thinking"] if think else []
    if request.tools or request.functions:
        needs.append("tools")
    names: dict[str, str] = {}
    messages = tuple(_message(index, message, names) for index, message in enumerate(request.messages))
    if any(_has_media(message.content) for message in request.messages):
        needs.append("vision")
    limit = request.max_tokens if request.max_completion_tokens is None else request.max_completion_tokens
    return Ask(
        request.model,
        messages=messages,
        options=_options(request, limit),
        logit_bias=_biases(request.logit_bias),
        think=think,
        needs=tuple(needs),
    )


def completion(request: CompletionRequest) -> Ask:
    """POST /v1/completions: one prompt, put through the chat template as Ollama does. Raises BadRequest."""
    for name, given in (
        ("logprobs", request.logprobs is not None),
        ("echo", request.echo),
        ("best_of", request.best_of != 1),
    ):
        if given:
            raise Unsupported(f"{name} is not available in this version of powerd", name)
    return Ask(
        request.model,
        messages=(Message("user", prompt(request)),),
        options=_options(request, request.max_tokens),
        logit_bias=_biases(request.logit_bias),
        needs=("insert",) if request.suffix else (),
        verb="generate",
    )


def prompt(request: CompletionRequest) -> str:
    """The one prompt of a completion. Raises BadRequest for several, or for token ids."""
    if isinstance(request.prompt, str):
        return request.prompt
    if len(request.prompt) == 1 and isinstance(request.prompt[0], str):
        return request.prompt[0]
    raise BadRequest("prompt: one string is taken, not several and not token ids", "prompt")


def _think(request: ChatRequest) -> bool | None:
    effort = request.reasoning_effort or (request.reasoning.effort if request.reasoning else None)
    if effort is None:
        return None
    if effort != "none" and effort not in _EFFORTS:
        choices = '"high", "medium", "low", "max", "minimal", "xhigh", "ultra", or "none"'
        raise BadRequest(f'invalid reasoning value: "{effort[:80]}" (must be {choices})', "reasoning_effort")
    return effort != "none"


def _refuse_format(value: Any) -> None:
    if value is None:
        return
    kind = value.get("type") if isinstance(value, dict) else value
    if kind in ("json_object", "json_schema"):
        raise Unsupported(
            "structured output (`response_format`) is not available in this version of powerd", "response_format"
        )
    if kind != "text":
        raise BadRequest('response_format: `type` must be "text", "json_object" or "json_schema"', "response_format")


def _message(index: int, message: ChatMessage, names: dict[str, str]) -> Message:
    """One message; `names` collects the tool calls' functions by id, for the results that name only the id."""
    place = f"messages[{index}]"
    if message.role not in _ROLES:
        raise BadRequest(f'{place}.role: unknown role "{message.role[:40]}"', f"{place}.role")
    calls = tuple(_call(place, call) for call in message.tool_calls or ())
    names.update({call.id: call.name for call in calls if call.id})
    tool_call_id = message.tool_call_id or ""
    return Message(
        "system" if message.role == "developer" else message.role,
        _content(place, message.content, has_calls=bool(calls)),
        message.reasoning or "",
        calls,
        (message.name or names.get(tool_call_id, "")) if message.role in ("tool", "function") else "",
        tool_call_id,
    )


def _content(place: str, content: Any, *, has_calls: bool) -> str:
    """A message's text; text parts are joined by blank lines, as Ollama joins messages of one role."""
    if isinstance(content, str):
        return content
    if content is None and has_calls:
        return ""
    if not isinstance(content, list):
        kind = "<nil>" if content is None else type(content).__name__
        raise BadRequest(f"{place}.content: invalid message content type: {kind}", f"{place}.content")
    texts = [_part(f"{place}.content[{number}]", part) for number, part in enumerate(content)]
    return "\n\n".join(text for text in texts if text)


def _part(place: str, part: Any) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in _MEDIA:
        return ""
    if kind not in ("text", "input_text") or not isinstance(part.get("text"), str):
        raise BadRequest(f"{place}: invalid message format", place)
    return str(part["text"])


_MEDIA = ("image_url", "input_image", "input_audio")


def _has_media(content: Any) -> bool:
    return isinstance(content, list) and any(isinstance(part, dict) and part.get("type") in _MEDIA for part in content)


def _call(place: str, call: SentCall) -> ToolCall:
    arguments = loads(call.function.arguments.encode()) if call.function.arguments else {}
    if not isinstance(arguments, dict):
        raise BadRequest(f"{place}.tool_calls: invalid tool call arguments", f"{place}.tool_calls")
    return ToolCall(call.function.name, arguments, call.id)


def _options(request: Sampled, limit: int | None) -> dict[str, Any]:
    """The request's sampling in Ollama's names, checked; `limit` is the most tokens it wants."""
    if request.n != 1:
        raise Unsupported("n: more than one choice is not available in this version of powerd", "n")
    if limit is not None and limit < 1:
        raise BadRequest(f"max_tokens: must be at least 1, not {limit}", "max_tokens")
    stop = [request.stop] if isinstance(request.stop, str) else request.stop
    if stop is not None and not (isinstance(stop, list) and all(isinstance(item, str) for item in stop)):
        raise BadRequest("invalid type for 'stop' field: a string or an array of strings is taken", "stop")
    given = {name: getattr(request, name) for name in _PLAIN_OPTIONS}
    try:
        return check(given | {"stop": stop, "num_predict": limit})
    except BadRequest as error:
        name = (error.param or "").removeprefix("options.")
        raise BadRequest(error.message, "max_tokens" if name == "num_predict" else name) from None


_PLAIN_OPTIONS = ("seed", "temperature", "top_p", "frequency_penalty", "presence_penalty")


def _biases(biases: Mapping[str, float]) -> dict[int, float]:
    if len(biases) > MAX_BIASES:
        raise BadRequest(f"logit_bias: at most {MAX_BIASES} tokens", "logit_bias")
    for token, bias in biases.items():
        if not (token.isascii() and token.isdigit() and len(token) < 10) or not -100 <= bias <= 100:
            raise BadRequest("logit_bias: takes token ids and numbers from -100 to 100", "logit_bias")
    return {int(token): bias for token, bias in biases.items()}


# ---------------------------------------------------------------- answers


def usage(finished: Finished) -> dict[str, object]:
    """The `usage` object."""
    counted: dict[str, object] = {
        "prompt_tokens": finished.prompt_tokens,
        "completion_tokens": finished.output_tokens,
        "total_tokens": finished.prompt_tokens + finished.output_tokens,
    }
    if finished.cached_tokens:
        counted["prompt_tokens_details"] = {"cached_tokens": finished.cached_tokens}
    return counted


def _finish_reason(finished: Finished) -> str:
    return "stop" if finished.reason == "stop" else "length"


def _event(data: bytes) -> bytes:
    return b"data: " + data + b"\n\n"


class ChatFrames:
    """The objects and events of one chat completion."""

    content_type = "text/event-stream"

    def __init__(self, model: str, identity: str, created: int, *, include_usage: bool) -> None:
        self._about = {"created": created, "model": model, "system_fingerprint": "fp_ollama"}
        self._id = f"chatcmpl-{identity}"
        self._include_usage = include_usage
        self._head = self._object([])[:-2] + b'{"index":0,"delta":{'
        self._role = b'"role":"assistant",'

    def _object(self, choices: list[dict[str, object]], **more: object) -> bytes:
        kind = "chat.completion.chunk"
        return _json({"id": self._id, "object": kind, **self._about, "choices": choices, **more})

    def chunk(self, text: str, now: int) -> bytes:
        """One event of text; the first carries the role."""
        role, self._role = self._role, b""
        return b"".join((b"data: ", self._head, role, b'"content":', _json(text), b'},"finish_reason":null}]}\n\n'))

    def last(self, finished: Finished, timing: Timing) -> bytes:
        """The finish event, the usage where it was asked for, and `[DONE]`."""
        opening = self.chunk("", timing.now) if self._role else b""
        end = self._object([{"index": 0, "delta": {}, "finish_reason": _finish_reason(finished)}])
        counted = _event(self._object([], usage=usage(finished))) if self._include_usage else b""
        return opening + _event(end) + counted + b"data: [DONE]\n\n"

    def failed(self, error: PowerError | Refusal) -> bytes:
        """The event that ends a stream that went wrong."""
        return _event(error_body(error))

    def whole(self, text: str, finished: Finished, timing: Timing) -> bytes:
        """The answer as one object."""
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": _finish_reason(finished)}
        return _json(
            {"id": self._id, "object": "chat.completion", **self._about, "choices": [choice], "usage": usage(finished)}
        )


class CompletionFrames:
    """The objects and events of one text completion."""

    content_type = "text/event-stream"

    def __init__(self, model: str, identity: str, created: int, *, include_usage: bool) -> None:
        self._about = {
            "id": f"cmpl-{identity}",
            "object": "text_completion",
            "created": created,
            "model": model,
            "system_fingerprint": "fp_ollama",
        }
        self._include_usage = include_usage
        self._head = _json({**self._about, "choices": []})[:-2] + b'{"text":'
        zero = b',"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}' if include_usage else b""
        self._tail = b',"index":0,"finish_reason":null}]' + zero + b"}\n\n"

    def chunk(self, text: str, now: int) -> bytes:
        """One event of text; with usage asked for, each carries zeros, as Ollama's do."""
        return b"".join((b"data: ", self._head, _json(text), self._tail))

    def last(self, finished: Finished, timing: Timing) -> bytes:
        """The finish event, the usage where it was asked for, and `[DONE]`."""
        zero = {"usage": usage(Finished(0, "stop"))} if self._include_usage else {}
        end = _event(_json({**self._about, "choices": [self._choice("", _finish_reason(finished))], **zero}))
        counted = (
            _event(_json({**self._about, "choices": [], "usage": usage(finished)})) if self._include_usage else b""
        )
        return end + counted + b"data: [DONE]\n\n"

    def failed(self, error: PowerError | Refusal) -> bytes:
        """The event that ends a stream that went wrong."""
        return _event(error_body(error))

    def whole(self, text: str, finished: Finished, timing: Timing) -> bytes:
        """The answer as one object."""
        choices = [self._choice(text, _finish_reason(finished))]
        return _json({**self._about, "choices": choices, "usage": usage(finished)})

    def loaded(self) -> bytes:
        """The answer to an empty prompt."""
        choices = [self._choice("", "load")]
        return _json({**self._about, "choices": choices, "usage": usage(Finished(0, "stop"))})

    @staticmethod
    def _choice(text: str, reason: str) -> dict[str, object]:
        return {"text": text, "index": 0, "finish_reason": reason}
