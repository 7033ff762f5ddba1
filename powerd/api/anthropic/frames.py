"""Answers in Anthropic's words: messages and server-sent events (contract section 12, example A5; pure).

Deviations from Ollama's reading of this API, on purpose, each as Anthropic publishes it: a failure in mid-stream is an
`error` event, `stop_reason` and `stop_sequence` are always there, `content` is never null, thinking blocks carry a
signature, thoughts after text are told, and input read from the cache is counted apart. The signature is a word:
nothing here verifies it, but clients do not keep a thinking block that has none.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType

import msgspec

from powerd.api.answer import Output
from powerd.api.ask import Timing
from powerd.api.status import Refusal, status_of
from powerd.errors import ContextOverflow, PowerError
from powerd.output.pieces import Content, Piece, Thought
from powerd.protocol import Finished, ToolCall

_json = msgspec.json.encode

#: The `type` of an error by its status; other mistakes of the client are an `invalid_request_error`, and everything
#: else is an `api_error`.
ERROR_TYPES: Mapping[int, str] = MappingProxyType(
    {
        401: "authentication_error",
        403: "permission_error",
        404: "not_found_error",
        413: "request_too_large",
        429: "rate_limit_error",
        503: "overloaded_error",
        504: "timeout_error",
        529: "overloaded_error",
    }
)
PING = b'event: ping\ndata: {"type":"ping"}\n\n'
SIGNATURE = "unsigned"


def error_body(error: PowerError | Refusal, request_id: str = "") -> bytes:
    """`{"type": "error", "error": {type, message}, "request_id"}`."""
    status = status_of(error)
    kind = ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    body: dict[str, object] = {"type": "error", "error": {"type": kind, "message": _message(error)}}
    return _json(body | ({"request_id": request_id} if request_id else {}))


def _message(error: PowerError | Refusal) -> str:
    """The sentence; for a prompt that is too long with the words by which clients know that they must shorten it."""
    if isinstance(error, ContextOverflow):
        return f"prompt is too long: {error.needed} tokens > {error.limit} maximum; {error.message}"
    return error.message


def usage(finished: Finished, thinking_tokens: int = 0) -> dict[str, object]:
    """The `usage` object; its three kinds of input add up to the prompt."""
    counted: dict[str, object] = {
        "input_tokens": max(0, finished.prompt_tokens - finished.cached_tokens),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": finished.cached_tokens,
        "output_tokens": finished.output_tokens,
    }
    if thinking_tokens:
        counted["output_tokens_details"] = {"thinking_tokens": thinking_tokens}
    return counted


class MessageFrames:
    """The object, or the events, of one answer."""

    content_type = "text/event-stream"

    def __init__(self, model: str, identity: str, request_id: str, stops: Collection[str], estimate: int) -> None:
        """`identity` goes into the message's id; `stops` are the request's own, `estimate` its tokens, about."""
        self._about = {"id": f"msg_{identity}", "type": "message", "role": "assistant", "model": model}
        self._request_id = request_id
        self._stops = frozenset(filter(None, stops))
        self._estimate = estimate
        self._begun = False
        self._open: type[Piece] | None = None  # the kind of the block that is open
        self._index = -1  # of the last block that was opened
        self._called = False

    # ------------------------------------------------------------ events

    def chunk(self, output: Output, now: int) -> bytes:
        """The events of some output, block by block."""
        if not output.pieces:
            return b""
        return self._opening() + b"".join(map(self._piece, output.pieces))

    def last(self, finished: Finished, timing: Timing) -> bytes:
        """The end of the open block, why the answer ended, and the end."""
        counted = usage(finished, timing.thinking_tokens)
        delta = {"type": "message_delta", "delta": self._stopped(finished), "usage": counted}
        return self._opening() + self._closed() + _event("message_delta", _json(delta)) + _END

    def failed(self, error: PowerError | Refusal) -> bytes:
        """The event that ends a stream that went wrong."""
        return _event("error", error_body(error, self._request_id))

    def _opening(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        counted = usage(Finished(0, "stop", prompt_tokens=self._estimate))
        ending = {"stop_reason": None, "stop_sequence": None}
        message: dict[str, object] = {**self._about, "content": [], **ending, "usage": counted}
        return _event("message_start", _json({"type": "message_start", "message": message})) + PING

    def _piece(self, piece: Piece) -> bytes:
        if isinstance(piece, ToolCall):
            self._called = True
            tool = {"type": "tool_use", "id": piece.id, "name": piece.name, "input": {}}
            delta = _delta(b"input_json_delta", b"partial_json", _json(piece.arguments).decode())
            return self._started(ToolCall, tool) + self._told(delta)
        if isinstance(piece, Thought):
            head = {"type": "thinking", "thinking": "", "signature": ""}
            delta = _delta(b"thinking_delta", b"thinking", piece.text)
        else:
            head = {"type": "text", "text": ""}
            delta = _delta(b"text_delta", b"text", piece.text)
        start = b"" if self._open is type(piece) else self._started(type(piece), head)
        return start + self._told(delta)

    def _started(self, kind: type[Piece], head: Mapping[str, object]) -> bytes:
        """The events that open a block, after the end of the one before."""
        closed = self._closed()
        self._open, self._index = kind, self._index + 1
        start = {"type": "content_block_start", "index": self._index, "content_block": head}
        return closed + _event("content_block_start", _json(start))

    def _closed(self) -> bytes:
        if self._open is None:
            return b""
        signed = self._told(_delta(b"signature_delta", b"signature", SIGNATURE)) if self._open is Thought else b""
        self._open = None
        return signed + _event("content_block_stop", b'{"type":"content_block_stop","index":%d}' % self._index)

    def _told(self, delta: bytes) -> bytes:
        body = b'{"type":"content_block_delta","index":%d,"delta":%b}' % (self._index, delta)
        return _event("content_block_delta", body)

    # ------------------------------------------------------------ the whole

    def whole(self, output: Output, finished: Finished, timing: Timing) -> bytes:
        """The answer as one object."""
        self._called = bool(output.calls)
        content = [_block(piece) for piece in output.pieces]
        counted = usage(finished, timing.thinking_tokens)
        return _json({**self._about, "content": content, **self._stopped(finished), "usage": counted})

    def _stopped(self, finished: Finished) -> dict[str, str | None]:
        """Why the answer ended; a stop string of the model's own is no business of the client's."""
        matched = finished.stop_text if finished.stop_text in self._stops else None
        if self._called:
            reason = "tool_use"
        elif finished.reason != "stop":
            reason = "max_tokens"
        else:
            reason = "end_turn" if matched is None else "stop_sequence"
        return {"stop_reason": reason, "stop_sequence": matched}


def _block(piece: Piece) -> dict[str, object]:
    if isinstance(piece, Content):
        return {"type": "text", "text": piece.text}
    if isinstance(piece, Thought):
        return {"type": "thinking", "thinking": piece.text, "signature": SIGNATURE}
    return {"type": "tool_use", "id": piece.id, "name": piece.name, "input": piece.arguments}


def _delta(kind: bytes, name: bytes, text: str) -> bytes:
    return b'{"type":"%b","%b":%b}' % (kind, name, _json(text))


def _event(name: str, data: bytes) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data)


_END = _event("message_stop", b'{"type":"message_stop"}')
