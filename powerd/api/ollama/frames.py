"""Answers in Ollama's words: NDJSON lines and single objects (pure).

Field order, omitted zeros and texts follow the contract (sections 0.1, 1.2 to 1.4, 8). Deviations on purpose: a
generation stopped because it repeated itself ends with `done:true` and `done_reason:"repeat"` (Ollama's stream just
ends), and a failure in mid-stream is always a last `{"error": ...}` line.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import msgspec

from powerd.api.answer import Output
from powerd.api.ask import Timing, unpacked
from powerd.api.ollama.times import utc
from powerd.api.status import Refusal
from powerd.errors import PowerError
from powerd.output.pieces import Content
from powerd.protocol import Finished, Likely, Logprob, ToolCall

_json = msgspec.json.encode


def error_body(error: PowerError | Refusal) -> bytes:
    """`{"error": "..."}`, for every failure."""
    return _json({"error": error.message})


class _Lines(ABC):
    """What the NDJSON of generate and chat have in common."""

    content_type = "application/x-ndjson"
    _open: bytes  # what stands between created_at's value and the text
    _close: bytes  # what follows the text

    def __init__(self, model: str) -> None:
        self._model = model
        self._head = b'{"model":' + _json(model) + b',"created_at":"'
        self._calls = 0  # told so far

    def chunk(self, output: Output, now: int) -> bytes:
        """One line of text, thoughts and calls."""
        pieces = output.pieces
        if len(pieces) == 1 and isinstance(pieces[0], Content) and not output.logprobs:
            return b"".join((self._head, utc(now).encode(), self._open, _json(pieces[0].text), self._close))
        about = {"model": self._model, "created_at": utc(now)}
        return _json(about | self._said(output) | {"done": False} | _likely(output.logprobs)) + b"\n"

    def last(self, finished: Finished, timing: Timing) -> bytes:
        """The line with `done:true` and the figures."""
        return self.whole(Output(), finished, timing) + b"\n"

    def failed(self, error: PowerError | Refusal) -> bytes:
        """The line that ends a stream that went wrong."""
        return error_body(error) + b"\n"

    def whole(self, output: Output, finished: Finished, timing: Timing) -> bytes:
        """The answer as one object."""
        about = {"model": self._model, "created_at": utc(timing.now)}
        said = self._said(output)
        end: dict[str, object] = {"done": True, "done_reason": finished.reason}
        more = self._more(finished)
        return _json(about | said | end | more | figures(finished, timing) | _likely(output.logprobs))

    def _numbered(self, calls: Sequence[ToolCall]) -> list[dict[str, object]]:
        """The calls as objects, counted through the whole answer."""
        first, self._calls = self._calls, self._calls + len(calls)
        return [
            {"id": call.id, "function": {"index": index, "name": call.name, "arguments": call.arguments}}
            for index, call in enumerate(calls, first)
        ]

    @abstractmethod
    def _said(self, output: Output) -> dict[str, object]:
        """The output under the route's own keys."""

    def _more(self, finished: Finished) -> dict[str, object]:
        return {}


class GenerateFrames(_Lines):
    """The NDJSON of one /api/generate.

    The last object carries the tool calls, and `context` when the runner returned the tokens.
    """

    _open = b'","response":'
    _close = b',"done":false}\n'

    def __init__(self, model: str) -> None:
        super().__init__(model)
        self._kept: list[dict[str, object]] = []

    def _said(self, output: Output) -> dict[str, object]:
        self._kept += self._numbered(output.calls)
        said: dict[str, object] = {"response": output.content}
        if thinking := output.thinking:
            said["thinking"] = thinking
        return said

    def _more(self, finished: Finished) -> dict[str, object]:
        context: dict[str, object] = {"context": unpacked(finished.tokens)} if finished.tokens else {}
        return context | ({"tool_calls": self._kept} if self._kept else {})


class ChatFrames(_Lines):
    """The NDJSON of one /api/chat."""

    _open = b'","message":{"role":"assistant","content":'
    _close = b'},"done":false}\n'

    def _said(self, output: Output) -> dict[str, object]:
        message: dict[str, object] = {"role": "assistant", "content": output.content}
        if thinking := output.thinking:
            message["thinking"] = thinking
        if calls := output.calls:
            message["tool_calls"] = self._numbered(calls)
        return {"message": message}


def _likely(logprobs: Sequence[Logprob]) -> dict[str, object]:
    """`logprobs`, where they were asked for (contract section 8.5)."""
    return {"logprobs": [_logprob(token) for token in logprobs]} if logprobs else {}


def _logprob(token: Logprob) -> dict[str, object]:
    top = {"top_logprobs": [_token(other) for other in token.top]} if token.top else {}
    return _token(token) | top


def _token(token: Logprob | Likely) -> dict[str, object]:
    text = token.token.decode(errors="replace")
    return {"token": text, "logprob": token.logprob, "bytes": list(token.token)}


def figures(finished: Finished, timing: Timing) -> dict[str, int]:
    """The metrics of a last line, zeros left out."""
    values = {
        "total_duration": timing.total,
        "load_duration": timing.load,
        "prompt_eval_count": finished.prompt_tokens,
        "prompt_eval_duration": finished.prompt_ns,
        "eval_count": finished.output_tokens,
        "eval_duration": finished.output_ns,
    }
    return {name: value for name, value in values.items() if value}


def empty_generate(model: str, reason: str, now: int) -> bytes:
    """The one object that answers a load or an unload over /api/generate."""
    return _json({"model": model, "created_at": utc(now), "response": "", "done": True, "done_reason": reason})


def empty_chat(model: str, reason: str, now: int) -> bytes:
    """The one object that answers a load or an unload over /api/chat."""
    message = {"role": "assistant", "content": ""}
    return _json({"model": model, "created_at": utc(now), "message": message, "done": True, "done_reason": reason})


def only_rendered(model: str, info: Mapping[str, object], now: int, body: Mapping[str, object]) -> bytes:
    """The answer to `_debug_render_only`: the prompt, and nothing generated."""
    return _json({"model": model, "created_at": utc(now), **body, "done": False, "_debug_info": info})
