"""The short routes' request bodies. Unknown fields are ignored. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from powerd.api.ask import Ask
from powerd.errors import BadRequest
from powerd.protocol import Message

#: Tokens an answer has at most where the request does not say.
MAX_TOKENS = 512
MAX_MESSAGES = 4096
#: Tags of files that are not quantized, in the order in which `auto` weighs them.
_WHOLE = ("F16", "BF16")
#: What `quantize` asks for, as the tag of a repository's file; None: whatever comes first.
_TAGS: dict[str, str | None] = {"auto": None, "no": "F16", "fp16": "F16", "fp32": "F32", "q4": "Q4_K_M"}


class ChatMessage(msgspec.Struct):
    """One message."""

    role: str
    content: str


class ChatRequest(msgspec.Struct):
    """POST /chat."""

    model: str = ""
    messages: list[ChatMessage] = []
    max_tokens: int | None = None
    temperature: float | None = None


class PullRequest(msgspec.Struct):
    """POST /pull. `init`: load it too."""

    model: str = ""
    quantize: str = "auto"
    init: bool = False


def chat(request: ChatRequest) -> Ask:
    """What a POST /chat wants. Raises BadRequest."""
    if not request.messages:
        raise BadRequest("messages must hold at least one message", "messages")
    if len(request.messages) > MAX_MESSAGES:
        raise BadRequest(f"a conversation holds at most {MAX_MESSAGES} messages", "messages")
    options: dict[str, Any] = {"num_predict": MAX_TOKENS if request.max_tokens is None else request.max_tokens}
    if request.temperature is not None:
        options["temperature"] = request.temperature
    messages = tuple(Message(one.role, one.content) for one in request.messages)
    return Ask(request.model, messages=messages, options=options, cuts=True)


def wanted(request: PullRequest) -> str:
    """The name a POST /pull asks for. Raises BadRequest."""
    if not request.model:
        raise BadRequest("model is required", "model")
    quantize = request.quantize.lower()
    tag = _TAGS.get(quantize, request.quantize)
    if tag is None:
        return request.model
    if not _chooses(request.model):
        raise BadRequest(
            "quantize chooses among the files of a Hugging Face repository, ORG/REPO; "
            "for other models name the tag, as in llama3.2:1b",
            "quantize",
        )
    return f"{request.model}:{tag}"


def unquantized(request: PullRequest) -> tuple[str, ...]:
    """The names under which `auto` looks for a file that is not quantized."""
    if request.quantize.lower() != "auto" or not _chooses(request.model):
        return ()
    return tuple(f"{request.model}:{tag}" for tag in _WHOLE)


def _chooses(model: str) -> bool:
    """Whether a tag chooses among the files of `model`: a repository, its file not named yet."""
    return "/" in model and ":" not in model.rpartition("/")[2]
