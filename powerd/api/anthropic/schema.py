"""Anthropic's request bodies (contract section 12). Unknown fields are ignored.

`Any` stands where a field has several types; `blocks` and `translate` read those.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Thinking(msgspec.Struct):
    """`thinking`."""

    type: str | None = None
    budget_tokens: int | None = None


class OutputConfig(msgspec.Struct):
    """`output_config`."""

    effort: str | None = None
    format: Any = None


class ToolChoice(msgspec.Struct):
    """`tool_choice`."""

    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class SentMessage(msgspec.Struct):
    """One message; `content` is a string or an array of blocks."""

    role: str
    content: Any = None


class CountRequest(msgspec.Struct, kw_only=True):
    """POST /v1/messages/count_tokens: what makes up the prompt."""

    model: str = ""
    messages: list[SentMessage] = []
    system: Any = None
    tools: list[Any] = []
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    output_format: Any = None  # where it stood before `output_config`


class MessagesRequest(CountRequest, kw_only=True):
    """POST /v1/messages."""

    max_tokens: int | None = None
    stream: bool = False
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: list[str] = []
