"""What a neutral conversation looks like to a Jinja template.

The usual form is the one that the transformers library gives to `apply_chat_template`; some families want another.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from msgspec.structs import replace

from powerd.protocol import Message, ToolCall

_THOUGHT_BLOCK = re.compile(r"\b(?!message)\w+(?:\.thinking|\[['\"]thinking['\"]\])")


def mappings(messages: Sequence[Message], template: str) -> list[dict[str, Any]]:
    """The messages with their thoughts where the template looks for them.

    That is `reasoning_content` for most, `thinking` for gpt-oss, whose template refuses a call that has both that and a
    content, and a block of the content for Ministral.
    """
    told = [as_mapping(message) for message in messages]
    if "message['tool_responses']" in template and "'tool_call_id'" not in template:
        told = _with_results(told)
    named = "message.thinking" in template
    blocks = not named and "reasoning_content" not in template and _THOUGHT_BLOCK.search(template)
    for mapping in told:
        thoughts = mapping.get("reasoning_content")
        if thoughts and named and not (mapping["content"] and "tool_calls" in mapping):
            mapping["thinking"] = thoughts
        elif thoughts and blocks:
            text = [{"type": "text", "text": mapping["content"]}] if mapping["content"] else []
            mapping["content"] = [{"type": "thinking", "thinking": thoughts}, *text]
    return told


def _with_results(mappings: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Results of tools within the message that called them, and the answer after them too, as Gemma 4 has them."""
    told: list[dict[str, Any]] = []
    for mapping in mappings:
        before = told[-1] if told and "tool_calls" in told[-1] else {}
        if before and mapping["role"] == "tool":
            before.setdefault("tool_responses", []).append(_result(before, mapping))
        elif "tool_responses" in before and not before["content"] and _answers(mapping):
            told[-1] = mapping | before | {"content": mapping["content"]}
        else:
            told.append(mapping)
    return told


def _answers(mapping: dict[str, Any]) -> bool:
    return mapping["role"] == "assistant" and "tool_calls" not in mapping


def _result(calling: dict[str, Any], mapping: dict[str, Any]) -> dict[str, Any]:
    """A result by the name its message gives, or that of the call whose turn it is."""
    open_calls = calling["tool_calls"][len(calling["tool_responses"]) :]
    name = mapping.get("name") or (open_calls[0]["function"]["name"] if open_calls else mapping.get("tool_call_id", ""))
    return {"name": name, "response": _decoded(mapping["content"])}


def _decoded(text: str) -> Any:
    with suppress(ValueError, RecursionError):
        return json.loads(text)
    return text


def with_json_arguments(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The messages with the arguments of calls as JSON text."""
    told = [as_mapping(message) for message in messages]
    for call in (call for mapping in told for call in mapping.get("tool_calls", ())):
        call["function"]["arguments"] = json.dumps(call["function"]["arguments"], ensure_ascii=False)
    return told


def without_system(messages: Sequence[Message]) -> list[Message]:
    """The system texts stand before the first message of the user."""
    if all(message.role != "system" for message in messages):
        return list(messages)
    system = "\n\n".join(message.content for message in messages if message.role == "system")
    kept = [message for message in messages if message.role != "system"]
    for at, message in enumerate(kept):
        if message.role == "user":
            kept[at] = replace(message, content=f"{system}\n{message.content}")
            return kept
    return [Message("user", system), *kept]


def without_calls(messages: Sequence[Message]) -> list[Message]:
    """Calls and their results as text of the assistant and the user, who speak in turns."""
    told: list[Message] = []
    for message in messages:
        spoken = _spoken(message)
        if told and told[-1].role == spoken.role:
            spoken = replace(spoken, content=f"{told.pop().content}\n{spoken.content}")
        told.append(spoken)
    return told


def _spoken(message: Message) -> Message:
    if message.role == "tool":
        told = {"name": message.tool_name, "content": message.content}
        return Message("user", json.dumps({"tool_response": told}, ensure_ascii=False))
    if message.tool_calls:
        calls = [{"name": call.name, "arguments": call.arguments} for call in message.tool_calls]
        text = json.dumps({"tool_calls": calls}, ensure_ascii=False)
        return Message(message.role, f"{message.content}\n{text}" if message.content else text)
    return message


def as_mapping(message: Message) -> dict[str, Any]:
    """One message with the keys that have something to say; templates ask `'tool_calls' in message`."""
    mapping: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.thinking:
        mapping["reasoning_content"] = message.thinking
    if message.tool_calls:
        mapping["tool_calls"] = [_call(call) for call in message.tool_calls]
    if message.tool_name:
        mapping["name"] = message.tool_name
    if message.tool_call_id:
        mapping["tool_call_id"] = message.tool_call_id
    return mapping


def _call(call: ToolCall) -> dict[str, Any]:
    mapping: dict[str, Any] = {"type": "function", "function": {"name": call.name, "arguments": call.arguments}}
    if call.id:
        mapping["id"] = call.id
    return mapping
