"""From Anthropic's requests to Asks (contract section 12; pure).

Deviations from Ollama's reading of this API, on purpose: `tool_choice`, `budget_tokens` and the schema of an answer are
honoured. Of tools that only Anthropic's servers have the web search, which agents always send, is left out where there
are others; all else of that kind is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from powerd.api import tools
from powerd.api.anthropic.blocks import conversation
from powerd.api.anthropic.schema import CountRequest, MessagesRequest
from powerd.api.ask import Ask, Format, checked_options
from powerd.errors import BadRequest
from powerd.output.grammars import schema

_EFFORTS: Mapping[str, str] = MappingProxyType(
    {"low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "max"}
)
#: Our options' names where this API has others.
_NAMES: Mapping[str, str] = MappingProxyType(
    {"num_predict": "max_tokens", "stop": "stop_sequences", "thinking_budget": "thinking.budget_tokens"}
)
_CHARACTERS_PER_TOKEN = 4
#: What the types of a `tool_choice` are elsewhere; the one that names its tool has no word there.
_CHOICES: Mapping[str, str] = MappingProxyType({"auto": "auto", "any": "required", "none": "none", "tool": ""})
_CHOICE_FORM = '{"type": "auto"}, {"type": "any"}, {"type": "none"} or {"type": "tool", "name": …}'


def messages(request: MessagesRequest) -> Ask:
    """POST /v1/messages. Raises BadRequest, in the order in which Ollama judges."""
    _check_model(request)
    if request.max_tokens is None or request.max_tokens < 1:
        raise BadRequest("max_tokens is required and must be positive", "max_tokens")
    return _ask(request, _options(request))


def count(request: CountRequest) -> Ask:
    """POST /v1/messages/count_tokens. Raises BadRequest."""
    _check_model(request)
    return _ask(request, {})


def estimate(ask: Ask) -> int:
    """About how many tokens the prompt has, for the head of a stream; its end tells the truth."""
    characters = sum(len(message.content) + len(message.thinking) for message in ask.messages)
    return (characters + len(msgspec.json.encode(ask.tools))) // _CHARACTERS_PER_TOKEN


def _check_model(request: CountRequest) -> None:
    if not request.model:
        raise BadRequest("model is required", "model")


def _ask(request: CountRequest, options: Mapping[str, Any]) -> Ask:
    if not request.messages:
        raise BadRequest("messages is required", "messages")
    read = conversation(request.system, request.messages)
    choice, offered = _tools(request)
    needs = (("tools",) if offered else ()) + (("vision",) if read.pictures else ())
    parallel = not (request.tool_choice and request.tool_choice.disable_parallel_tool_use)
    return Ask(
        request.model,
        messages=tuple(read.messages),
        options=options,
        think=_think(request),
        tools=offered,
        tool_choice=choice,
        parallel_calls=parallel,
        format=_format(request),
        needs=needs,
    )


def _options(request: MessagesRequest) -> dict[str, Any]:
    """The request's sampling in Ollama's names, checked."""
    budget = request.thinking.budget_tokens if request.thinking else None
    if budget is not None and budget < 1:
        raise BadRequest(f"thinking.budget_tokens: must be at least 1, not {budget}", "thinking.budget_tokens")
    given = {
        "num_predict": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "stop": request.stop_sequences or None,
        "thinking_budget": budget,
    }
    return checked_options(given, _NAMES)


def _think(request: CountRequest) -> bool | str | None:
    """Whether and how much to think; nothing said, or left to the model, is the model's own way.

    A model that cannot think is asked all the same: it answers without.
    """
    kind = request.thinking.type if request.thinking else None
    effort = request.output_config.effort if request.output_config else None
    if effort is not None and effort not in _EFFORTS:
        choices = ", ".join(f'"{name}"' for name in _EFFORTS)
        raise BadRequest(
            f'output_config.effort: one of {choices} is taken, not "{effort[:40]}"', "output_config.effort"
        )
    if kind == "disabled":
        return False
    if kind == "enabled":
        return True
    return None if effort is None else _EFFORTS[effort]


def _tools(request: CountRequest) -> tuple[str, tuple[dict[str, Any], ...]]:
    """The tool choice and the tools it leaves. Raises BadRequest."""
    tools.limited(len(request.tools))
    known: set[str] = set()
    offered = tuple(
        _tool(f"tools[{number}]", tool, known) for number, tool in enumerate(request.tools) if not _is_search(tool)
    )
    if request.tools and not offered:
        raise BadRequest("tools: web_search is not there, and without it this request has no tool", "tools")
    choice = request.tool_choice
    if choice is None:
        return "auto", offered
    if choice.type not in _CHOICES or (choice.type == "tool" and choice.name is None):
        raise BadRequest(f"tool_choice: {_CHOICE_FORM} is taken", "tool_choice")
    return tools.chosen(_CHOICES[choice.type], choice.name, offered, _CHOICE_FORM)


def searches(request: CountRequest) -> bool:
    """Whether Anthropic's web search is among the tools; the model is told of the others only."""
    return any(map(_is_search, request.tools))


def _is_search(tool: Any) -> bool:
    return isinstance(tool, dict) and str(tool.get("type")).startswith("web_search") and "input_schema" not in tool


def _tool(place: str, tool: Any, known: set[str]) -> dict[str, Any]:
    """One tool in the form that templates know; `known` collects the names."""
    if not isinstance(tool, dict):
        raise BadRequest(f"{place}: an object is needed", place)
    name, parameters = tool.get("name"), tool.get("input_schema")
    if parameters is None and tool.get("type", "custom") != "custom":
        raise BadRequest(
            f'{place}: "{str(tool["type"])[:40]}" is a tool of Anthropic\'s own, which powerd does not have; send '
            "tools with an input_schema",
            place,
        )
    if not isinstance(parameters, dict):
        raise BadRequest(f'invalid input_schema for tool "{str(name)[:80]}": a JSON schema is needed, an object', place)
    function = {"name": name, "description": tool.get("description"), "parameters": parameters}
    return tools.function(place, place, function, known)


def _format(request: CountRequest) -> Format | None:
    """The schema of the answer. Raises BadRequest, also for one that no answer can be held to."""
    value = request.output_config.format if request.output_config else None
    value, place = (request.output_format, "output_format") if value is None else (value, "output_config.format")
    if value is None:
        return None
    wanted = value.get("schema") if isinstance(value, dict) and value.get("type") == "json_schema" else None
    if not isinstance(wanted, dict):
        raise BadRequest(f'{place}: {{"type": "json_schema", "schema": …}} is taken, the schema an object', place)
    return schema.checked(wanted, place)
