"""From a job to its prompt: what a neutral conversation looks like to a Jinja template, and who runs which syntax.

Jinja templates see the form that the transformers library gives to `apply_chat_template`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from powerd.prompt import turns
from powerd.prompt.failed import TemplateFailed
from powerd.prompt.generic import TEMPLATE
from powerd.prompt.jinja import run, without_unknown_tags
from powerd.protocol import Message, RenderJob, ToolCall


def render(job: RenderJob, now: datetime, on_note: Callable[[str], None] = lambda _: None) -> str:
    """The prompt text of a job; `now` carries the local time zone. Raises TemplateFailed.

    A lenient job's Jinja template goes without the tags nobody knows, which `on_note` hears; and where it refuses the
    usual form, it is tried with the others that templates are written for. If none helps, the first refusal counts.
    """
    if job.syntax == "go":
        return turns.render(job, now)
    template = job.template or TEMPLATE
    usual = _variables(job)
    if "message.thinking" in template:
        _add_thinking(usual["messages"])
    if not job.lenient:
        return run(template, usual, now)
    template, unknown = without_unknown_tags(template)
    if unknown:
        on_note(f"tags nobody knows were left out: {', '.join(unknown)}")
    try:
        return run(template, usual, now)
    except TemplateFailed as refusal:
        for variables in _other_forms(job, usual):
            with suppress(TemplateFailed):
                return run(template, variables, now)
        raise refusal from None


def _variables(job: RenderJob) -> dict[str, Any]:
    """The names the form fixes win over `job.variables`."""
    return {
        **job.variables,
        "messages": [as_mapping(message) for message in job.messages],
        "tools": list(job.tools) or None,
        "bos_token": job.bos,
        "eos_token": job.eos,
        "add_generation_prompt": job.add_generation_prompt,
    }


def _add_thinking(mappings: Sequence[dict[str, Any]]) -> None:
    """Thoughts under the name that gpt-oss gives them; its template refuses a call that has both them and a content."""
    for mapping in mappings:
        if "reasoning_content" in mapping and not (mapping["content"] and "tool_calls" in mapping):
            mapping["thinking"] = mapping["reasoning_content"]


def _other_forms(job: RenderJob, usual: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What some templates want instead: no `tools` at all, arguments of calls as JSON text, no system message."""
    if not job.tools:
        yield {name: value for name, value in usual.items() if name != "tools"}
    if any(message.tool_calls for message in job.messages):
        yield {**usual, "messages": [_with_json_arguments(as_mapping(message)) for message in job.messages]}
    if any(message.role == "system" for message in job.messages):
        yield {**usual, "messages": [as_mapping(message) for message in _without_system(job.messages)]}


def _with_json_arguments(mapping: dict[str, Any]) -> dict[str, Any]:
    for call in mapping.get("tool_calls", ()):
        call["function"]["arguments"] = json.dumps(call["function"]["arguments"], ensure_ascii=False)
    return mapping


def _without_system(messages: Sequence[Message]) -> list[Message]:
    """The system texts stand before the first message of the user."""
    system = "\n\n".join(message.content for message in messages if message.role == "system")
    kept = [message for message in messages if message.role != "system"]
    for at, message in enumerate(kept):
        if message.role == "user":
            kept[at] = replace(message, content=f"{system}\n\n{message.content}")
            return kept
    return [Message("user", system), *kept]


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
