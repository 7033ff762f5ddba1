"""A neutral conversation as a template sees it, in the form the transformers library gives to `apply_chat_template`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from powerd.prompt.generic import TEMPLATE
from powerd.prompt.jinja import run
from powerd.protocol import Message, RenderJob, ToolCall


def render(job: RenderJob, now: datetime) -> str:
    """The prompt text of a job; `now` carries the local time zone. Raises TemplateFailed.

    The names the form fixes (`messages`, `tools`, `bos_token`, `eos_token`, `add_generation_prompt`) win over
    `job.variables`.
    """
    variables = {
        **job.variables,
        "messages": [as_mapping(message) for message in job.messages],
        "tools": list(job.tools) or None,
        "bos_token": job.bos,
        "eos_token": job.eos,
        "add_generation_prompt": job.add_generation_prompt,
    }
    return run(job.template or TEMPLATE, variables, now)


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
