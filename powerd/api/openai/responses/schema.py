"""The body of POST /v1/responses (contract section 11.5). Unknown fields are ignored.

`Any` stands where a field has several types; `items`, `toolbox` and `translate` read those.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

#: What a client may have sent back to it.
Mark = Annotated[str, msgspec.Meta(max_length=512)]


class Reasoning(msgspec.Struct):
    """`reasoning`."""

    effort: str | None = None
    summary: str | None = None


class Text(msgspec.Struct):
    """`text`."""

    format: Any = None
    verbosity: Mark | None = None


class ResponsesRequest(msgspec.Struct, kw_only=True):
    """POST /v1/responses."""

    model: str = ""
    input: Any = None
    instructions: str | None = None
    stream: bool = False
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    reasoning: Reasoning = msgspec.field(default_factory=Reasoning)
    text: Text = msgspec.field(default_factory=Text)
    tools: list[Any] = []
    tool_choice: Any = None
    parallel_tool_calls: bool = True
    truncation: str = ""
    include: list[str] = []
    top_logprobs: int = 0
    thinking_budget: int | None = None  # ours: tokens of thinking
    background: bool = False
    metadata: dict[Annotated[str, msgspec.Meta(max_length=64)], Mark] = {}
    safety_identifier: Mark | None = None
    prompt_cache_key: Mark | None = None
    previous_response_id: Any = None
    conversation: Any = None
    prompt: Any = None
