"""Between Ollama's words and the neutral ones: requests to Asks, text to NDJSON (pure).

Field order, omitted zeros and texts follow the contract (sections 0.1, 1.2 to 1.4). Deviations on purpose: a
generation stopped because it repeated itself ends with `done:true` and `done_reason:"repeat"` (Ollama's stream just
ends), and a failure in mid-stream is always a last `{"error": ...}` line.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import msgspec

from powerd.api.ask import Ask, Timing, unpacked
from powerd.api.ollama.schema import ChatMessage, ChatRequest, GenerateRequest, Inference
from powerd.api.status import Refusal
from powerd.catalog.spec import Template
from powerd.catalog.template import syntax_of
from powerd.errors import BadRequest, PowerError, Unsupported
from powerd.prompt.choose import Chosen
from powerd.protocol import Finished, Message, ToolCall
from powerd.quantities import parse_duration

MAX_MESSAGES = 4096
_LEVELS = ("high", "medium", "low", "max")
_json = msgspec.json.encode

#: The longest duration Go can hold; "for ever" is shown as an expiry this far away (contract section 1.9).
FOR_EVER = timedelta(microseconds=(2**63 - 1) // 1000)


def error_body(error: PowerError | Refusal) -> bytes:
    """`{"error": "..."}`, for every failure."""
    return _json({"error": error.message})


# ---------------------------------------------------------------- requests


def chat(request: ChatRequest) -> Ask:
    """POST /api/chat. Raises BadRequest."""
    if len(request.messages) > MAX_MESSAGES:
        raise BadRequest(f"messages[{MAX_MESSAGES}]: a conversation holds at most {MAX_MESSAGES} messages", "messages")
    thinking, needs = _wishes(request)
    if request.tools:
        needs.append("tools")
    if any(message.images for message in request.messages):
        needs.append("vision")
    return Ask(
        request.model,
        messages=tuple(_message(message) for message in request.messages),
        options=request.options,
        keep_alive=keep_alive(request.keep_alive),
        think=thinking,
        needs=tuple(needs),
    )


def generate(request: GenerateRequest) -> Ask:
    """POST /api/generate. Raises BadRequest."""
    if request.raw and (request.template or request.system or request.context):
        raise BadRequest("raw mode does not support template, system, or context", "raw")
    thinking, needs = _wishes(request)
    if request.suffix:
        needs.append("insert")
    if request.images:
        needs.append("vision")
    return Ask(
        request.model,
        messages=(Message("user", request.prompt),),
        system=request.system,
        template=Template(request.template, syntax_of(request.template)) if request.template else None,
        suffix=request.suffix,
        raw=request.prompt if request.raw else None,
        with_stored=request.context is None,
        prefix=tuple(request.context or ()),
        options=request.options,
        keep_alive=keep_alive(request.keep_alive),
        think=thinking,
        needs=tuple(needs),
        verb="generate",
        want_tokens=not request.raw,
    )


def _wishes(request: Inference) -> tuple[bool | None, list[str]]:
    """Whether to think, and the capabilities that takes; refuses what this version does not do."""
    if not 0 <= request.top_logprobs <= 20:
        raise BadRequest("top_logprobs must be between 0 and 20", "top_logprobs")
    if request.logprobs:
        raise Unsupported("logprobs are not available in this version of powerd", "logprobs")
    _refuse_format(request.format)
    thinking = think(request.think)
    return thinking, ["thinking"] if thinking else []


def _refuse_format(value: Any) -> None:
    if value is None or value == "":
        return
    if value != "json" and not isinstance(value, dict):
        text = _json(value).decode()[:200]
        raise BadRequest(f'invalid format: {text}; expected "json" or a valid JSON Schema object', "format")
    raise Unsupported("structured output (`format`) is not available in this version of powerd", "format")


def think(value: Any) -> bool | None:
    """The `think` field: None when it says nothing; levels count as true. Raises BadRequest."""
    if value is None or isinstance(value, bool):
        return value
    choices = '"high", "medium", "low", "max", true, or false'
    if not isinstance(value, str):
        raise BadRequest(f"think must be a boolean or string ({choices})", "think")
    if value not in _LEVELS:
        raise BadRequest(f'invalid think value: "{value[:80]}" (must be {choices})', "think")
    return True


def keep_alive(value: Any) -> float | None:
    """The `keep_alive` field in seconds; negative means for ever. Raises BadRequest with Go's texts."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        kind = {bool: "bool", list: "[]interface {}", dict: "map[string]interface {}"}[type(value)]
        raise BadRequest(f"keep_alive: Unsupported type: '{kind}'", "keep_alive")
    if isinstance(value, str):
        try:
            seconds = parse_duration(value)
        except ValueError as error:
            raise BadRequest(f"time: {error}", "keep_alive") from None
    else:
        seconds = float(min(value, 10**12))
    return math.inf if seconds < 0 or seconds > FOR_EVER.total_seconds() else seconds


def _message(message: ChatMessage) -> Message:
    calls = tuple(
        ToolCall(call.function.name, call.function.arguments or {}, call.id or "") for call in message.tool_calls or ()
    )
    return Message(
        message.role.lower(),
        message.content or "",
        message.thinking or "",
        calls,
        message.tool_name or "",
        message.tool_call_id or "",
    )


# ---------------------------------------------------------------- times


def utc(now: int) -> str:
    """RFC 3339 in UTC with the zeros of the fraction trimmed; `now` in nanoseconds since the epoch."""
    seconds, fraction = divmod(now, 10**9)
    return f"{_second(seconds)}.{fraction:09d}".rstrip("0").rstrip(".") + "Z"


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    """The part of a time that all the tokens of one second share."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def local(moment: datetime) -> str:
    """RFC 3339 with the moment's own offset and the zeros of the fraction trimmed."""
    text = moment.isoformat(timespec="microseconds")
    head, offset = text[:26], text[26:]
    return head.rstrip("0").rstrip(".") + ("Z" if offset == "+00:00" else offset)


# ---------------------------------------------------------------- answers


class _Lines(ABC):
    """What the NDJSON of generate and chat have in common."""

    content_type = "application/x-ndjson"
    _open: bytes  # what stands between created_at's value and the text
    _close: bytes  # what follows the text

    def __init__(self, model: str) -> None:
        self._model = model
        self._head = b'{"model":' + _json(model) + b',"created_at":"'

    def chunk(self, text: str, now: int) -> bytes:
        """One line of text."""
        return b"".join((self._head, utc(now).encode(), self._open, _json(text), self._close))

    def last(self, finished: Finished, timing: Timing) -> bytes:
        """The line with `done:true` and the figures."""
        return self.whole("", finished, timing) + b"\n"

    def failed(self, error: PowerError | Refusal) -> bytes:
        """The line that ends a stream that went wrong."""
        return error_body(error) + b"\n"

    def whole(self, text: str, finished: Finished, timing: Timing) -> bytes:
        """The answer as one object."""
        end: dict[str, object] = {"done": True, "done_reason": finished.reason}
        about = {"model": self._model, "created_at": utc(timing.now)}
        return _json(about | self._said(text) | end | self._more(finished) | figures(finished, timing))

    @abstractmethod
    def _said(self, text: str) -> dict[str, object]:
        """The text under the route's own key."""

    def _more(self, finished: Finished) -> dict[str, object]:
        return {}


class GenerateFrames(_Lines):
    """The NDJSON of one /api/generate; the last object carries `context` when the runner returned the tokens."""

    _open = b'","response":'
    _close = b',"done":false}\n'

    def _said(self, text: str) -> dict[str, object]:
        return {"response": text}

    def _more(self, finished: Finished) -> dict[str, object]:
        return {"context": unpacked(finished.tokens)} if finished.tokens else {}


class ChatFrames(_Lines):
    """The NDJSON of one /api/chat."""

    _open = b'","message":{"role":"assistant","content":'
    _close = b'},"done":false}\n'

    def _said(self, text: str) -> dict[str, object]:
        return {"message": {"role": "assistant", "content": text}}


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


def only_rendered(model: str, prompt: str, chosen: Chosen | None, now: int, body: Mapping[str, object]) -> bytes:
    """The answer to `_debug_render_only`: the prompt, and nothing generated. Ours: whose template `chosen` is."""
    debug: dict[str, object] = {"rendered_template": prompt}
    if chosen is not None:
        debug["template"] = {"origin": chosen.origin, "syntax": chosen.syntax, "name": chosen.name}
    return _json({"model": model, "created_at": utc(now), **body, "done": False, "_debug_info": debug})
