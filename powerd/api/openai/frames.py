"""Answers in OpenAI's words: objects and server-sent events (contract sections 11 to 11.2; pure).

Deviations from Ollama's reading of this API, on purpose: a failure in mid-stream is an `error` event, and logprobs
reach text completions too. An answer stopped because it repeated itself has the finish reason `length`, the nearest
one clients know. Log probabilities are those of the content: thoughts have none.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import msgspec

from powerd import errors
from powerd.api.answer import Output
from powerd.api.ask import Timing
from powerd.api.status import Refusal, status_of
from powerd.errors import BadRequest, PowerError
from powerd.protocol import Finished, Likely, Logprob, ToolCall

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
            "code": error_code(error),
        }
    }


def error_code(error: PowerError | Refusal) -> str | None:
    """The `code` of an error that clients act on."""
    return next((code for kind, code in ERROR_CODES.items() if isinstance(error, kind)), None)


def error_body(error: PowerError | Refusal) -> bytes:
    """The error as a body."""
    return _json(error_object(error))


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
    """The objects and events of one chat completion, or of its choice number `index`."""

    content_type = "text/event-stream"

    def __init__(self, model: str, identity: str, created: int, *, include_usage: bool, index: int = 0) -> None:
        self._about = {"created": created, "model": model, "system_fingerprint": "fp_ollama"}
        self._id = f"chatcmpl-{identity}"
        self._include_usage = include_usage
        self._index = index
        self._head = self._object([])[:-2] + b'{"index":%d,"delta":{' % index
        self._role = b'"role":"assistant",'
        self._calls = 0  # told so far

    def _object(self, choices: list[dict[str, object]], **more: object) -> bytes:
        kind = "chat.completion.chunk"
        return _json({"id": self._id, "object": kind, **self._about, "choices": choices, **more})

    def chunk(self, output: Output, now: int) -> bytes:
        """The events of some output; the first of all carries the role. Thoughts have an event of their own."""
        content, thinking, calls = output.content, output.thinking, output.calls
        events = []
        if thinking:
            alone = not (content or calls)
            events.append(self._event((b'"content":"",' if alone else b"") + b'"reasoning":' + _json(thinking)))
        if content or calls or (output.spoken and not thinking):
            told = b',"tool_calls":' + _json(self._numbered(calls)) if calls else b""
            events.append(self._event(b'"content":' + _json(content) + told, output.spoken))
        return b"".join(events)

    def _event(self, delta: bytes, logprobs: Sequence[Logprob] = ()) -> bytes:
        role, self._role = self._role, b""
        likely = b',"logprobs":' + _json(_logprobs(logprobs)) if logprobs else b""
        return b"".join((b"data: ", self._head, role, delta, b"}", likely, b',"finish_reason":null}]}\n\n'))

    def _numbered(self, calls: Sequence[ToolCall]) -> list[dict[str, object]]:
        """The calls as objects, counted through the whole answer."""
        first, self._calls = self._calls, self._calls + len(calls)
        return [
            {"index": index, "id": call.id, "type": "function", "function": _function(call)}
            for index, call in enumerate(calls, first)
        ]

    def last(self, finished: Finished, timing: Timing) -> bytes:
        """The finish event, the usage where it was asked for, and `[DONE]`."""
        return self.finish(finished) + self.tail(finished)

    def finish(self, finished: Finished) -> bytes:
        """The event that ends the choice."""
        opening = self._event(b'"content":""') if self._role else b""
        end = self._object([{"index": self._index, "delta": {}, "finish_reason": self._reason(finished)}])
        return opening + _event(end)

    def tail(self, finished: Finished) -> bytes:
        """What follows the last choice; `finished` counts the tokens of all."""
        counted = _event(self._object([], usage=usage(finished))) if self._include_usage else b""
        return counted + b"data: [DONE]\n\n"

    def failed(self, error: PowerError | Refusal) -> bytes:
        """The event that ends a stream that went wrong."""
        return _event(error_body(error))

    def whole(self, output: Output, finished: Finished, timing: Timing) -> bytes:
        """The answer as one object."""
        return self.together([self.choice(output, finished)], finished)

    def together(self, choices: Sequence[Mapping[str, object]], finished: Finished) -> bytes:
        """The choices as one object; `finished` counts the tokens of all."""
        about = {"id": self._id, "object": "chat.completion", **self._about}
        return _json({**about, "choices": choices, "usage": usage(finished)})

    def choice(self, output: Output, finished: Finished) -> dict[str, object]:
        """The choice as an object."""
        message: dict[str, object] = {"role": "assistant", "content": output.content}
        if thinking := output.thinking:
            message["reasoning"] = thinking
        if calls := output.calls:
            message["tool_calls"] = self._numbered(calls)
        choice: dict[str, object] = {"index": self._index, "message": message, "finish_reason": self._reason(finished)}
        if output.spoken:
            choice["logprobs"] = _logprobs(output.spoken)
        return choice

    def rendered(self, info: Mapping[str, object]) -> bytes:
        """The answer to `_debug_render_only`: the prompt, and nothing generated."""
        choice = {"index": 0, "message": {"role": "assistant", "content": ""}, "finish_reason": None}
        nothing = usage(Finished(0, "stop"))
        about = {"id": self._id, "object": "chat.completion", **self._about}
        return _json({**about, "choices": [choice], "usage": nothing, "_debug_info": info})

    def _reason(self, finished: Finished) -> str:
        reason = _finish_reason(finished)
        return "tool_calls" if self._calls and reason == "stop" else reason


def _function(call: ToolCall) -> dict[str, object]:
    return {"name": call.name, "arguments": _json(call.arguments).decode()}


def _logprobs(logprobs: Sequence[Logprob]) -> dict[str, object]:
    return {"content": [token_object(token) for token in logprobs], "refusal": None}


def token_object(token: Logprob) -> dict[str, object]:
    """A token of the answer, its log probability, and the other likely ones."""
    return _token(token) | {"top_logprobs": [_token(other) for other in token.top]}


def _token(token: Logprob | Likely) -> dict[str, object]:
    return {"token": _text(token), "logprob": token.logprob, "bytes": list(token.token)}


def _text(token: Logprob | Likely) -> str:
    return token.token.decode(errors="replace")


class CompletionFrames:
    """The objects and events of one text completion, or of its choice number `index`."""

    content_type = "text/event-stream"

    def __init__(self, model: str, identity: str, created: int, *, include_usage: bool, index: int = 0) -> None:
        self._about = {
            "id": f"cmpl-{identity}",
            "object": "text_completion",
            "created": created,
            "model": model,
            "system_fingerprint": "fp_ollama",
        }
        self._include_usage = include_usage
        self._index = index
        self._head = _json({**self._about, "choices": []})[:-2] + b'{"text":'
        zero = b',"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}' if include_usage else b""
        self._tail = b',"finish_reason":null}]' + zero + b"}\n\n"
        self._length = 0  # characters told so far

    def chunk(self, output: Output, now: int) -> bytes:
        """One event of text; with usage asked for, each carries zeros, as Ollama's do."""
        text = output.content
        if not text and not output.spoken:
            return b""
        likely = b',"logprobs":' + _json(self._likely(output)) if output.spoken else b""
        return b"".join((b"data: ", self._head, _json(text), b',"index":%d' % self._index, likely, self._tail))

    def _likely(self, output: Output) -> dict[str, object]:
        """Log probabilities in the older form: lists side by side."""
        tokens = [_text(token) for token in output.spoken]
        offsets = list(itertools.accumulate(map(len, tokens), initial=self._length))[:-1]
        self._length += len(output.content)
        return {
            "tokens": tokens,
            "token_logprobs": [token.logprob for token in output.spoken],
            "top_logprobs": [{_text(other): other.logprob for other in token.top} for token in output.spoken],
            "text_offset": offsets,
        }

    def last(self, finished: Finished, timing: Timing) -> bytes:
        """The finish event, the usage where it was asked for, and `[DONE]`."""
        return self.finish(finished) + self.tail(finished)

    def finish(self, finished: Finished) -> bytes:
        """The event that ends the choice."""
        zero = {"usage": usage(Finished(0, "stop"))} if self._include_usage else {}
        return _event(_json({**self._about, "choices": [self._choice("", _finish_reason(finished))], **zero}))

    def tail(self, finished: Finished) -> bytes:
        """What follows the last choice; `finished` counts the tokens of all."""
        counted = _json({**self._about, "choices": [], "usage": usage(finished)})
        return (_event(counted) if self._include_usage else b"") + b"data: [DONE]\n\n"

    def failed(self, error: PowerError | Refusal) -> bytes:
        """The event that ends a stream that went wrong."""
        return _event(error_body(error))

    def whole(self, output: Output, finished: Finished, timing: Timing) -> bytes:
        """The answer as one object."""
        return self.together([self.choice(output, finished)], finished)

    def together(self, choices: Sequence[Mapping[str, object]], finished: Finished) -> bytes:
        """The choices as one object; `finished` counts the tokens of all."""
        return _json({**self._about, "choices": choices, "usage": usage(finished)})

    def choice(self, output: Output, finished: Finished) -> dict[str, object]:
        """The choice as an object."""
        choice = self._choice(output.content, _finish_reason(finished))
        return choice | ({"logprobs": self._likely(output)} if output.spoken else {})

    def loaded(self) -> bytes:
        """The answer to an empty prompt."""
        choices = [self._choice("", "load")]
        return _json({**self._about, "choices": choices, "usage": usage(Finished(0, "stop"))})

    def _choice(self, text: str, reason: str) -> dict[str, object]:
        return {"text": text, "index": self._index, "finish_reason": reason}
