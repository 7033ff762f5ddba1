"""The fixed conversations that every template is compared by, as a request says them and as a job does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from powerd.jobs import RenderJob
from powerd.protocol import Message, ToolCall

WEATHER: dict[str, object] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells the weather.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "Where"}},
            "required": ["city"],
        },
    },
}
_USER = {"role": "user", "content": "Hi <é> & {{ x }}"}
_AGAIN = {"role": "user", "content": "And?"}
_CALL = {
    "type": "function",
    "id": "call00001",
    "function": {"name": "weather", "arguments": json.dumps({"city": "Köln"}, ensure_ascii=False)},
}
_THOUGHT = [_USER, {"role": "assistant", "content": "Hello", "reasoning_content": "They greet."}, _AGAIN]


def _body(messages: list[Any], *, think: bool = True, **more: object) -> dict[str, Any]:
    return {"messages": messages, "chat_template_kwargs": {"enable_thinking": think}, **more}


#: The body of a request to llama.cpp's `/apply-template`, by the conversation's name.
BODIES: Mapping[str, Mapping[str, Any]] = {
    "plain": _body(
        [{"role": "system", "content": "Be brief."}, _USER, {"role": "assistant", "content": "Hello"}, _AGAIN]
    ),
    "tools": _body(
        [
            _USER,
            {"role": "assistant", "content": "", "tool_calls": [_CALL]},
            {"role": "tool", "content": "sun", "name": "weather", "tool_call_id": "call00001"},
        ],
        tools=[WEATHER],
    ),
    "thinking": _body(_THOUGHT),
    "off": _body(_THOUGHT, think=False),
}


def job(kind: str, template: str, bos: str, eos: str) -> RenderJob:
    """The same as a job of a model that brings `template`."""
    body = BODIES[kind]
    return RenderJob(
        1,
        tuple(_message(message) for message in body["messages"]),
        template,
        bos=bos,
        eos=eos,
        tools=tuple(body.get("tools", ())),
        think=body["chat_template_kwargs"]["enable_thinking"],
        lenient=True,
    )


def _message(body: Mapping[str, Any]) -> Message:
    return Message(
        body["role"],
        body["content"],
        body.get("reasoning_content", ""),
        tuple(
            ToolCall(call["function"]["name"], json.loads(call["function"]["arguments"]), call["id"])
            for call in body.get("tool_calls", ())
        ),
        body.get("name", ""),
        body.get("tool_call_id", ""),
    )
