"""The tools of a request, checked once for every dialect (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from powerd.errors import BadRequest

MAX_TOOLS = 512
_MAX_NAME = 256  # characters


def checked(tools: Sequence[Any]) -> tuple[dict[str, Any], ...]:
    """The tools as templates see them: `{"type": "function", "function": {name, description?, parameters?}}`.

    All of a tool's JSON schema stays (Ollama drops most keywords before the model sees them). Raises BadRequest.
    """
    if len(tools) > MAX_TOOLS:
        raise BadRequest(f"tools: at most {MAX_TOOLS} tools are taken, not {len(tools)}", "tools")
    known: set[str] = set()
    return tuple(_tool(f"tools[{number}]", tool, known) for number, tool in enumerate(tools))


def _tool(place: str, tool: Any, known: set[str]) -> dict[str, Any]:
    if not isinstance(tool, dict) or tool.get("type", "function") != "function":
        raise BadRequest(f'{place}: only tools of type "function" are taken', place)
    function = tool.get("function")
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(function, dict) or not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME:
        raise BadRequest(f"{place}.function.name: a name of 1 to {_MAX_NAME} characters is needed", place)
    if name in known:
        raise BadRequest(f'{place}.function.name: "{name}" stands there twice', place)
    known.add(name)
    if not isinstance(function.get("description") or "", str):
        raise BadRequest(f"{place}.function.description: a string is needed", place)
    if not isinstance(function.get("parameters") or {}, dict):
        raise BadRequest(f"{place}.function.parameters: a JSON schema is needed, which is an object", place)
    return {"type": "function", "function": {key: value for key, value in function.items() if value is not None}}
