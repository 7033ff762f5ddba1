"""Whatever a body holds, it is an Ask or a BadRequest that names the place."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from powerd.api.anthropic import translate
from powerd.api.anthropic.schema import CountRequest, MessagesRequest
from powerd.api.ask import Ask
from powerd.api.strict import decode
from powerd.errors import BadRequest

_SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=5)
_ANY = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
_KINDS = st.sampled_from(
    [
        *("text", "image", "thinking", "redacted_thinking", "tool_use", "tool_result", "server_tool_use", "document"),
        *("web_search_tool_result", "base64", "url", "enabled", "any", "tool", "json_schema", "custom", "wizard"),
    ]
)
_WORDS = ("text", "thinking", "id", "name", "input", "tool_use_id", "content", "source", "data", "media_type", "title")
_BLOCK = st.fixed_dictionaries({"type": _KINDS | _SCALARS}, optional=dict.fromkeys(_WORDS, _ANY))
_BLOCKS = st.lists(_BLOCK | _ANY, max_size=3) | _ANY
_NESTED = st.fixed_dictionaries({"type": _KINDS}, optional={"content": _BLOCKS, "tool_use_id": st.text(max_size=3)})
_MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "tool"]), "content": st.lists(_NESTED) | _BLOCKS}
)
_TOOL = st.fixed_dictionaries(
    {}, optional={"type": _KINDS, "name": st.text(max_size=3), "input_schema": _ANY, "description": _ANY}
)
_FIELDS = {
    "system": _BLOCKS,
    "tools": st.lists(_TOOL | _ANY, max_size=3),
    "tool_choice": st.fixed_dictionaries({"type": _KINDS}, optional={"name": _ANY}),
    "thinking": st.fixed_dictionaries({}, optional={"type": _KINDS, "budget_tokens": st.integers() | _ANY}),
    "output_config": st.fixed_dictionaries({}, optional={"effort": _ANY, "format": _BLOCK}),
    "output_format": _ANY,
    "max_tokens": st.integers() | _ANY,
    "temperature": _ANY,
    "top_k": _ANY,
    "stop_sequences": st.lists(st.text()) | _ANY,
    "stream": st.booleans(),
}


def read(translated: Callable[[Any], Ask], schema: type[CountRequest], body: bytes) -> Ask | None:
    """None for a body that was refused."""
    try:
        return translated(decode(schema, body))
    except BadRequest as error:
        assert error.message
        return None


@settings(max_examples=25, deadline=None)
@given(st.fixed_dictionaries({"messages": st.lists(_MESSAGE, min_size=1, max_size=3)}, optional=_FIELDS))
def test_h01_no_body_does_anything_else(sent: dict[str, Any]) -> None:
    body = json.dumps({"model": "m", "max_tokens": 5, **sent}).encode()
    for asked in (read(translate.messages, MessagesRequest, body), read(translate.count, CountRequest, body)):
        assert asked is None or translate.estimate(asked) >= 0
