"""From Ollama's requests to Asks (contract sections 1.2 to 1.4; pure).

Ours beside the contract: `tools` and a tool choice are taken by generate too.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from powerd.api import tools
from powerd.api.ask import Ask, Format
from powerd.api.ollama import images
from powerd.api.ollama.schema import ChatMessage, ChatRequest, GenerateRequest, Inference
from powerd.api.ollama.times import FOR_EVER
from powerd.catalog.spec import Template
from powerd.catalog.template import syntax_of
from powerd.errors import BadRequest
from powerd.output.grammars import schema
from powerd.protocol import Message, ToolCall
from powerd.quantities import parse_duration

MAX_MESSAGES = 4096
_LEVELS = ("high", "medium", "low", "max")
_json = msgspec.json.encode


def chat(request: ChatRequest) -> Ask:
    """POST /api/chat. Raises BadRequest."""
    if len(request.messages) > MAX_MESSAGES:
        raise BadRequest(f"messages[{MAX_MESSAGES}]: a conversation holds at most {MAX_MESSAGES} messages", "messages")
    wishes = _wishes(request)
    for index, message in enumerate(request.messages):
        images.check(message.images or (), f"messages[{index}].images")
    if any(message.images for message in request.messages):
        wishes["needs"] += ("vision",)
    return Ask(request.model, messages=tuple(_message(message) for message in request.messages), **wishes)


def generate(request: GenerateRequest) -> Ask:
    """POST /api/generate. Raises BadRequest."""
    if request.raw and (request.template or request.system or request.context):
        raise BadRequest("raw mode does not support template, system, or context", "raw")
    wishes = _wishes(request)
    if request.suffix:
        wishes["needs"] += ("insert",)
    images.check(request.images, "images")
    if request.images:
        wishes["needs"] += ("vision",)
    return Ask(
        request.model,
        messages=(Message("user", request.prompt),),
        system=request.system,
        template=Template(request.template, syntax_of(request.template)) if request.template else None,
        suffix=request.suffix,
        raw=request.prompt if request.raw else None,
        with_stored=request.context is None,
        prefix=tuple(request.context or ()),
        verb="generate",
        want_tokens=not request.raw,
        **wishes,
    )


def _wishes(request: Inference) -> dict[str, Any]:
    """The fields of an Ask that chat and generate have in common."""
    thinking = think(request.think)
    needs = (("thinking",) if thinking else ()) + (("tools",) if request.tools else ())
    return {
        "options": request.options,
        "keep_alive": keep_alive(request.keep_alive),
        "think": thinking,
        "tools": tools.checked(request.tools),
        "format": answer_format(request.format),
        "logprobs": request.top_logprobs if request.logprobs else -1,
        "cuts": True,
        "truncate": request.truncate,
        "shift": request.shift,
        "needs": needs,
    }


def check_first(request: Inference) -> None:
    """What Ollama judges before it looks for the model. Raises BadRequest."""
    if not 0 <= request.top_logprobs <= 20:
        raise BadRequest("top_logprobs must be between 0 and 20", "top_logprobs")


def answer_format(value: Any) -> Format | None:
    """The `format` field. Raises BadRequest, also for a schema that no answer can be held to."""
    if value is None or value == "":
        return None
    if value == "json":
        return "json"
    if not isinstance(value, dict):
        text = _json(value).decode()[:200]
        raise BadRequest(f'invalid format: {text}; expected "json" or a valid JSON Schema object', "format")
    return schema.checked(value)


def think(value: Any) -> bool | str | None:
    """The `think` field: None when it says nothing, else yes, no or a level. Raises BadRequest."""
    if value is None or isinstance(value, bool):
        return value
    choices = '"high", "medium", "low", "max", true, or false'
    if not isinstance(value, str):
        raise BadRequest(f"think must be a boolean or string ({choices})", "think")
    if value not in _LEVELS:
        raise BadRequest(f'invalid think value: "{value[:80]}" (must be {choices})', "think")
    return value


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
