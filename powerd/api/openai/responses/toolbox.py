"""The tools of a response: functions, functions in a namespace, and tools that take plain text (pure).

A model knows functions only. `ns.name` stands for a function in a namespace, and a tool that takes text is a function
of one string; `Toolbox.told` leads from what the model calls back to what the client has sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from powerd.api import tools
from powerd.errors import BadRequest

CUSTOM_INPUT = "input"
#: OpenAI's own search, by its name or one of its dated ones. Agents send it with every request.
_SEARCHES = ("web_search", "web_search_preview")
_FORM = '{"type": "function", "name": …}'


@dataclass(frozen=True, slots=True)
class Told:
    """How a call is told to the client."""

    name: str
    namespace: str = ""
    custom: bool = False  # it takes text


@dataclass(slots=True)
class Toolbox:
    """What the model may call."""

    offered: list[dict[str, Any]] = field(default_factory=list)  # as templates see them
    told: dict[str, Told] = field(default_factory=dict)  # by the name the model knows
    without_search: bool = False  # a search was sent along, which nobody here can do
    _known: set[str] = field(default_factory=set)

    def add(self, place: str, tool: Any, namespace: str = "") -> None:
        """Take one tool. Raises BadRequest."""
        kind = tool.get("type") if isinstance(tool, dict) else None
        if kind == "function":
            function = {name: tool.get(name) for name in ("name", "description", "parameters", "strict")}
            self._add(place, function, Told("", namespace))
        elif kind == "custom":
            self._add(place, _taking_text(tool), Told("", namespace, custom=True))
        elif kind == "namespace" and not namespace:
            for where, member, name in _members(place, tool):
                self.add(where, member, name)
        elif isinstance(kind, str) and kind.startswith(_SEARCHES) and not namespace:
            self.without_search = True
        else:
            told = f'"{str(kind)[:80]}"' if kind is not None else "none"
            raise BadRequest(
                f'{place}.type: tools of type "function", "custom", "namespace" and "web_search" are taken, not {told}',
                place,
            )

    def _add(self, place: str, function: dict[str, Any], told: Told) -> None:
        name = function["name"]
        if isinstance(name, str) and name:
            function["name"] = full_name(told.namespace, name)
        tool = tools.function(place, place, function, self._known)
        self.offered.append(tool)
        tools.limited(len(self.offered))
        self.told[tool["function"]["name"]] = Told(name, told.namespace, told.custom)


def _taking_text(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A tool that takes text as a function; the grammar of its text, if there is one, is told in words."""
    description, form = tool.get("description"), tool.get("format")
    grammar = form.get("definition") if isinstance(form, dict) and form.get("type") == "grammar" else None
    if isinstance(grammar, str) and isinstance(description, str | None):
        description = f"{description or ''}\n\n`{CUSTOM_INPUT}` follows this grammar:\n{grammar}".strip()
    text = {"type": "object", "properties": {CUSTOM_INPUT: {"type": "string"}}, "required": [CUSTOM_INPUT]}
    return {"name": tool.get("name"), "description": description, "parameters": text}


def _members(place: str, tool: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    name, members = tool.get("name"), tool.get("tools")
    if not isinstance(name, str) or not name:
        raise BadRequest(f"{place}.name: a namespace has a name", place)
    if not isinstance(members, list):
        raise BadRequest(f"{place}.tools: an array of tools is needed", place)
    for number, member in enumerate(members):
        yield f"{place}.tools[{number}]", member, name


def full_name(namespace: str, name: str) -> str:
    """The name by which the model knows a function."""
    return f"{namespace}.{name}" if namespace else name


def filled(offered: list[Any]) -> Toolbox:
    """The tools of a request. Raises BadRequest naming the tool."""
    box = Toolbox()
    for number, tool in enumerate(offered):
        box.add(f"tools[{number}]", tool)
    return box


def chosen(choice: Any, box: Toolbox) -> tuple[str, tools.Tools]:
    """The tool choice as an Ask has it, and the tools it leaves. Raises BadRequest."""
    offered = tuple(box.offered)
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind != "allowed_tools":
        return tools.chosen(choice, _name(choice) if kind in ("function", "custom") else None, offered, _FORM)
    allowed = choice.get("tools")
    if not isinstance(allowed, list) or choice.get("mode", "auto") not in ("auto", "required"):
        raise BadRequest('tool_choice: `mode` ("auto" or "required") and `tools` (an array) are needed', "tool_choice")
    names = {name for name in map(_name, allowed) if name is not None}
    left = tuple(tool for tool in offered if tool["function"]["name"] in names)
    if len(left) < len(names):
        raise BadRequest("tool_choice.tools: names a function that is none of the tools", "tool_choice")
    return tools.chosen(choice.get("mode"), None, left, _FORM)


def _name(tool: Any) -> str | None:
    """The name by which the model knows what a choice names."""
    name = tool.get("name") if isinstance(tool, dict) else None
    namespace = tool.get("namespace") if isinstance(tool, dict) else None
    if not isinstance(name, str):
        return None
    return full_name(namespace, name) if isinstance(namespace, str) else name
