"""The tools of a request, checked once for every dialect (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from powerd.api.strict import MAX_CONTAINERS, MAX_VALUES, counted, loads
from powerd.errors import BadRequest

MAX_TOOLS = 512
Tools = tuple[dict[str, Any], ...]
_MAX_NAME = 256  # characters


def checked(tools: Sequence[Any]) -> Tools:
    """The tools as templates see them: `{"type": "function", "function": {name, description?, parameters?}}`.

    All of a tool's JSON schema stays (Ollama drops most keywords before the model sees them). Raises BadRequest.
    """
    limited(len(tools))
    known: set[str] = set()
    return tuple(_tool(f"tools[{number}]", tool, known) for number, tool in enumerate(tools))


def limited(count: int) -> None:
    """Raises BadRequest for more tools than are taken."""
    if count > MAX_TOOLS:
        raise BadRequest(f"tools: at most {MAX_TOOLS} tools are taken, not {count}", "tools")


def _tool(place: str, tool: Any, known: set[str]) -> dict[str, Any]:
    if not isinstance(tool, dict) or tool.get("type", "function") != "function":
        raise BadRequest(f'{place}: only tools of type "function" are taken', place)
    return function(place, f"{place}.function", tool.get("function"), known)


def function(param: str, place: str, value: Any, known: set[str]) -> dict[str, Any]:
    """One function as a tool; `known` collects the names. Raises BadRequest, which names `param` and tells `place`."""
    name = value.get("name") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME:
        raise BadRequest(f"{place}.name: a name of 1 to {_MAX_NAME} characters is needed", param)
    if name in known:
        raise BadRequest(f'{place}.name: "{name}" stands there twice', param)
    known.add(name)
    if not isinstance(value.get("description") or "", str):
        raise BadRequest(f"{place}.description: a string is needed", param)
    if not isinstance(value.get("parameters") or {}, dict):
        raise BadRequest(f"{place}.parameters: a JSON schema is needed, which is an object", param)
    return {"type": "function", "function": {key: item for key, item in value.items() if item is not None}}


def chosen(choice: Any, name: Any, offered: Tools, form: str) -> tuple[str, Tools]:
    """OpenAI's `tool_choice` as an Ask has it, and the tools it leaves.

    `name` is the function that a choice in object form names, `form` how that is written. Raises BadRequest.
    """
    if choice is None or choice == "auto" or (choice == "required" and offered):
        return choice or "auto", offered
    if choice == "none":
        return "auto", ()
    if choice == "required":
        raise BadRequest("tool_choice: a call is required and there are no tools", "tool_choice")
    if not isinstance(name, str):
        raise BadRequest(f'tool_choice: "auto", "none", "required" or {form} is taken', "tool_choice")
    named = tuple(tool for tool in offered if tool["function"]["name"] == name)
    if not named:
        raise BadRequest(f'tool_choice: "{name[:80]}" is none of the tools', "tool_choice")
    return name, named


@dataclass(slots=True)
class Arguments:
    """Reads the arguments of the calls that OpenAI's clients send back as text.

    A body counts such a text as one value, whatever it holds; so all of a request's together are bounded as a body is.
    """

    _containers: int = 0  # arrays and objects so far
    _values: int = 0

    def read(self, place: str, text: str) -> dict[str, Any]:
        """The arguments of one call. Raises BadRequest, which names `place`."""
        try:
            value = self._loaded(text.encode()) if text else {}
        except BadRequest as error:
            raise BadRequest(f"{place}: {error.message}", place) from None
        if not isinstance(value, dict):
            raise BadRequest(f"{place}: invalid tool call arguments", place)
        return value

    def _loaded(self, text: bytes) -> Any:
        value = loads(text)
        containers, values = counted(text)
        self._containers += containers
        self._values += values
        if self._containers > MAX_CONTAINERS or self._values > MAX_VALUES:
            raise BadRequest(
                f"the arguments of all calls together hold more than {MAX_CONTAINERS} arrays and objects or "
                f"{MAX_VALUES} values"
            )
        return value
