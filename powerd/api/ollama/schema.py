"""Ollama's request bodies (contract sections 1.2, 1.3, 1.8 to 1.12). Unknown fields are ignored, as Ollama does.

`Any` stands where the contract gives a field several types; translate reads those.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Function(msgspec.Struct):
    """The function of a tool call the model made earlier."""

    name: str
    arguments: dict[str, Any] | None = None
    index: int | None = None


class ToolCall(msgspec.Struct):
    """A tool call in an earlier assistant message."""

    function: Function
    id: str | None = None


class ChatMessage(msgspec.Struct):
    """One message; Ollama takes any role."""

    role: str = ""
    content: str | None = None
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class Inference(msgspec.Struct, kw_only=True):
    """What generate and chat have in common."""

    model: str = ""
    stream: bool = True
    format: Any = None
    keep_alive: Any = None
    options: dict[str, Any] = {}
    think: Any = None
    tools: list[Any] = []  # generate: ours
    truncate: bool | None = None
    shift: bool | None = None
    logprobs: bool = False
    top_logprobs: int = 0


class GenerateRequest(Inference, kw_only=True, rename={"debug_render_only": "_debug_render_only"}):
    """POST /api/generate."""

    prompt: str = ""
    suffix: str = ""
    system: str = ""
    template: str = ""
    context: list[int] | None = None
    raw: bool = False
    images: list[str] = []
    debug_render_only: bool = False


class ChatRequest(Inference, kw_only=True, rename={"debug_render_only": "_debug_render_only"}):
    """POST /api/chat."""

    messages: list[ChatMessage] = []
    debug_render_only: bool = False


class ModelRequest(msgspec.Struct):
    """POST /api/pull, POST /api/push, DELETE /api/delete: a model under either of its two keys."""

    model: str = ""
    name: str = ""
    stream: bool = True
    insecure: bool = False
    destination: str = ""  # push: ours, for sending under another name

    @property
    def asked(self) -> str:
        """The name that was sent."""
        return self.model or self.name


class ShowRequest(msgspec.Struct):
    """POST /api/show."""

    model: str = ""
    name: str = ""
    verbose: bool = False
    system: str = ""
    options: dict[str, Any] = {}


class CopyRequest(msgspec.Struct):
    """POST /api/copy."""

    source: str = ""
    destination: str = ""


class CreateBody(msgspec.Struct, rename={"base": "from"}):
    """POST /api/create (contract section 4.3). The old `modelfile` and `path` are ignored."""

    model: str = ""
    name: str = ""
    stream: bool = True
    base: str = ""
    remote_host: str = ""
    files: dict[str, str] = {}
    draft_files: dict[str, str] = {}
    adapters: dict[str, str] = {}
    template: str = ""
    license: Any = None
    system: str = ""
    parameters: dict[str, Any] = {}
    messages: list[ChatMessage] = []
    renderer: str = ""
    parser: str = ""
    requires: str = ""
    quantize: str = ""
    quantization: str = ""
    draft_quantize: str = ""
    info: dict[str, Any] = {}
