"""OpenAI's request bodies (contract sections 11.1 and 11.2). Unknown fields are ignored.

`Any` stands where a field has several types; translate reads those.
"""

from __future__ import annotations

from typing import Any

import msgspec


class StreamOptions(msgspec.Struct):
    """`stream_options`."""

    include_usage: bool | None = False


class Reasoning(msgspec.Struct):
    """`reasoning`."""

    effort: str | None = None


class Function(msgspec.Struct):
    """The function of a tool call the model made earlier; `arguments` is JSON text."""

    name: str
    arguments: str = ""


class ToolCall(msgspec.Struct):
    """A tool call in an earlier assistant message."""

    function: Function
    id: str = ""


class ChatMessage(msgspec.Struct):
    """One message; `content` is a string, an array of parts, or null beside tool calls."""

    role: str
    content: Any = None
    name: str | None = None
    reasoning: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None


class Sampled(msgspec.Struct, kw_only=True):
    """What both kinds of completion have in common."""

    model: str = ""
    stream: bool = False
    stream_options: StreamOptions = msgspec.field(default_factory=StreamOptions)
    max_tokens: int | None = None
    seed: int | None = None
    stop: Any = None
    temperature: float | None = None
    top_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: dict[str, float] = {}
    thinking_budget: int | None = None  # ours, and Qwen's: tokens of thinking
    n: int = 1


class ChatRequest(Sampled, kw_only=True, rename={"debug_render_only": "_debug_render_only"}):
    """POST /v1/chat/completions."""

    messages: list[ChatMessage] = []
    max_completion_tokens: int | None = None
    response_format: Any = None
    tools: list[Any] = []
    functions: list[Any] = []
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    reasoning: Reasoning | None = None
    reasoning_effort: str | None = None
    logprobs: bool = False
    top_logprobs: int = 0
    debug_render_only: bool = False


class CompletionRequest(Sampled, kw_only=True):
    """POST /v1/completions."""

    prompt: str | list[Any] = ""
    suffix: str = ""
    logprobs: int | None = None
    echo: bool = False
    best_of: int = 1
