"""A neutral conversation as Ollama's Go templates see it (contract section 7.2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from powerd.jobs import RenderJob
from powerd.prompt.gotemplate.evaluate import execute
from powerd.prompt.gotemplate.functions import typescript
from powerd.prompt.gotemplate.nodes import Template
from powerd.prompt.gotemplate.parser import parse
from powerd.prompt.gotemplate.survey import cut, names
from powerd.prompt.gotemplate.values import JsonList, JsonMap, Record
from powerd.prompt.thinking import go_variables
from powerd.protocol import Message, ToolCall


def parsed(text: str) -> Template:
    """The template; one that names neither messages nor the answer ends with the answer. Raises TemplateFailed."""
    return parse(text if names(text) & {"Messages", "Response"} else text + "{{ .Response }}")


def render(job: RenderJob, now: datetime) -> str:
    """The prompt text of a job with a Go template. Raises TemplateFailed."""
    template = parsed(job.template)
    thinking = go_variables(job.think, job.template)
    system, messages = collated(job.messages)
    if job.suffix and job.messages:
        prompt = job.messages[-1].content
        return execute(template, {"Prompt": prompt, "Suffix": job.suffix, "Response": "", **thinking}, now)
    if "Messages" in names(job.template):
        data = {
            "System": system,
            "Messages": [_message(message) for message in messages],
            "Tools": JsonList(_tool(tool) for tool in job.tools),
            "Response": "",
            **thinking,
        }
        return execute(template, data, now)
    *finished, last = turns(messages)
    texts = [execute(template, {**turn.variables, **thinking}, now) for turn in finished]
    return "".join([*texts, execute(cut(template), {**last.variables, **thinking}, now)])


# ---------------------------------------------------------------- messages


def collated(messages: Sequence[Message]) -> tuple[str, list[Message]]:
    """All system texts as one, and the messages with neighbours of the same role joined, but for results of tools."""
    system = "\n\n".join(message.content for message in messages if message.role == "system")
    joined: list[Message] = []
    for message in messages:
        if joined and joined[-1].role == message.role != "tool":
            joined[-1] = _joined(joined[-1], message)
        else:
            joined.append(message)
    return system, joined


def _joined(one: Message, other: Message) -> Message:
    return Message(
        one.role,
        "\n\n".join(filter(None, (one.content, other.content))),
        "\n\n".join(filter(None, (one.thinking, other.thinking))),
        one.tool_calls + other.tool_calls,
        one.tool_name,
        one.tool_call_id,
    )


@dataclass(slots=True)
class Turn:
    """One pass of a legacy template."""

    system: str = ""
    prompt: str = ""
    response: str = ""

    @property
    def variables(self) -> dict[str, str]:
        """The names a legacy template knows."""
        return {"System": self.system, "Prompt": self.prompt, "Response": self.response}


def turns(messages: Sequence[Message]) -> Iterator[Turn]:
    """The conversation as passes of a legacy template, at least one; only the last has room for an answer.

    Roles other than system, user and assistant have no place there.
    """
    turn = Turn()
    for message in messages:
        if (message.role == "system" and (turn.prompt or turn.response)) or (message.role == "user" and turn.response):
            yield turn
            turn = Turn()
        if message.role == "system":
            turn.system = message.content
        elif message.role == "user":
            turn.prompt = message.content
        elif message.role == "assistant":
            turn.response = message.content
    yield turn


def _message(message: Message) -> Record:
    calls = [_call(index, call) for index, call in enumerate(message.tool_calls)]
    said = {
        "content": message.content,
        "thinking": message.thinking,
        "tool_calls": [call.plain for call in calls],
        "tool_name": message.tool_name,
        "tool_call_id": message.tool_call_id,
    }
    return Record(
        "Message",
        {
            "Role": message.role,
            "Content": message.content,
            "Thinking": message.thinking,
            "Images": [],
            "ToolCalls": JsonList(calls),
            "ToolName": message.tool_name,
            "ToolCallID": message.tool_call_id,
        },
        {"role": message.role} | {key: value for key, value in said.items() if value or key == "content"},
    )


def _call(index: int, call: ToolCall) -> Record:
    plain = {"index": index, "name": call.name, "arguments": call.arguments}
    function = Record(
        "ToolCallFunction",
        {"Index": index, "Name": call.name, "Arguments": JsonMap(call.arguments)},
        plain,
    )
    identity = {"id": call.id} if call.id else {}
    return Record("ToolCall", {"ID": call.id, "Function": function}, {**identity, "function": plain})


# ---------------------------------------------------------------- tools

#: The keys of a JSON schema that reach the model, in Ollama's order; the others are dropped (contract section 1.3).
_PROPERTY = ("anyOf", "type", "items", "description", "enum", "properties", "required")
_PARAMETERS = ("type", "$defs", "items", "required", "properties")


def _tool(tool: Mapping[str, Any]) -> Record:
    function = _mapping(tool.get("function"))
    parameters = _parameters(_mapping(function.get("parameters")))
    name, description = _text(function.get("name")), _text(function.get("description"))
    said = {"name": name, **({"description": description} if description else {}), "parameters": parameters.plain}
    kind, items = _text(tool.get("type")), tool.get("items")
    fields = {"Name": name, "Description": description, "Parameters": parameters}
    return Record(
        "Tool",
        {"Type": kind, "Items": items, "Function": Record("ToolFunction", fields, said)},
        {"type": kind, **({"items": items} if items else {}), "function": said},
    )


def _parameters(schema: Mapping[str, Any]) -> Record:
    properties = JsonMap({name: _property(_mapping(each)) for name, each in _mapping(schema.get("properties")).items()})
    plain = {key: schema[key] for key in _PARAMETERS if schema.get(key)}
    plain = {"type": "", **plain, "properties": {name: each.plain for name, each in properties.items()}}
    fields = {
        "Type": _text(schema.get("type")),
        "Defs": schema.get("$defs"),
        "Items": schema.get("items"),
        "Required": schema.get("required") or [],
        "Properties": properties,
    }
    return Record("ToolFunctionParameters", fields, plain)


def _property(schema: Mapping[str, Any]) -> Record:
    plain = {key: schema[key] for key in _PROPERTY if schema.get(key)}
    nested = {name: _property(_mapping(each)) for name, each in _mapping(schema.get("properties")).items()}
    if nested:
        plain["properties"] = {name: each.plain for name, each in nested.items()}
    record = Record("ToolProperty", {}, plain)
    record.fields = {
        "AnyOf": [_property(_mapping(each)) for each in schema.get("anyOf") or []],
        "Type": schema.get("type") or "",
        "Items": schema.get("items"),
        "Description": _text(schema.get("description")),
        "Enum": schema.get("enum") or [],
        "Properties": JsonMap(nested),
        "Required": schema.get("required") or [],
        "ToTypeScriptType": typescript((record,)),
    }
    return record


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
