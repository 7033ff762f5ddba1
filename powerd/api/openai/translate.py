"""From OpenAI's requests to Asks (contract sections 11.1 and 11.2; pure).

Deviations from Ollama's reading of this API, on purpose: the declared temperature and top_p hold where the request is
silent; `max_completion_tokens`, `logit_bias`, `tool_choice` and `parallel_tool_calls` are honoured; a text completion
does not think, since it has no place for thoughts.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from powerd.api import tools
from powerd.api.ask import Ask, Format
from powerd.api.openai.schema import ChatMessage, ChatRequest, CompletionRequest, Sampled
from powerd.api.openai.schema import ToolCall as SentCall
from powerd.api.strict import loads
from powerd.errors import BadRequest, Unsupported
from powerd.options import check
from powerd.output.grammars import schema
from powerd.protocol import Message, ToolCall

MAX_MESSAGES = 4096
MAX_BIASES = 1024
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_EFFORTS: Mapping[str, bool | str] = MappingProxyType(
    {
        "none": False,
        "minimal": "low",
        "low": "low",
        "medium": "medium",
        "high": "high",
        "xhigh": "max",
        "ultra": "max",
        "max": "max",
    }
)


def chat(request: ChatRequest) -> Ask:
    """POST /v1/chat/completions. Raises BadRequest."""
    if not request.messages:
        raise BadRequest("[] is too short - 'messages'", "messages")
    if len(request.messages) > MAX_MESSAGES:
        raise BadRequest(f"messages[{MAX_MESSAGES}]: a conversation holds at most {MAX_MESSAGES} messages", "messages")
    if not 0 <= request.top_logprobs <= 20:
        raise BadRequest("top_logprobs must be between 0 and 20", "top_logprobs")
    think = _think(request)
    needs = ["thinking"] if think else []
    choice, offered = _tools(request)
    if offered:
        needs.append("tools")
    names: dict[str, str] = {}
    messages = tuple(_message(index, message, names) for index, message in enumerate(request.messages))
    if any(_has_media(message.content) for message in request.messages):
        needs.append("vision")
    limit = request.max_tokens if request.max_completion_tokens is None else request.max_completion_tokens
    return Ask(
        request.model,
        messages=messages,
        options=_options(request, limit),
        logit_bias=_biases(request.logit_bias),
        think=think,
        tools=offered,
        tool_choice=choice,
        parallel_calls=request.parallel_tool_calls is not False,
        format=_format(request.response_format),
        logprobs=request.top_logprobs if request.logprobs else -1,
        needs=tuple(needs),
    )


def _tools(request: ChatRequest) -> tuple[str, tuple[dict[str, Any], ...]]:
    """The tool choice and the tools it leaves. Raises BadRequest."""
    if request.functions:
        raise BadRequest("functions: OpenAI replaced them by `tools`; send those", "functions")
    offered = tools.checked(request.tools)
    choice = request.tool_choice
    if choice is None or choice == "auto" or (choice == "required" and offered):
        return choice or "auto", offered
    if choice == "none":
        return "auto", ()
    if choice == "required":
        raise BadRequest("tool_choice: a call is required and there are no tools", "tool_choice")
    function = choice.get("function") if isinstance(choice, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    named = tuple(tool for tool in offered if tool["function"]["name"] == name)
    if not isinstance(name, str):
        raise BadRequest(
            'tool_choice: "auto", "none", "required" or {"type": "function", "function": {"name": …}} is taken',
            "tool_choice",
        )
    if not named:
        raise BadRequest(f'tool_choice: "{name[:80]}" is none of the tools', "tool_choice")
    return name, named


def completion(request: CompletionRequest) -> Ask:
    """POST /v1/completions: one prompt, put through the chat template as Ollama does. Raises BadRequest."""
    for name, given in (("echo", request.echo), ("best_of", request.best_of != 1)):
        if given:
            raise Unsupported(f"{name} is not available in this version of powerd", name)
    if request.logprobs is not None and not 0 <= request.logprobs <= 20:
        raise BadRequest("logprobs must be between 0 and 20", "logprobs")
    return Ask(
        request.model,
        messages=(Message("user", prompt(request)),),
        options=_options(request, request.max_tokens),
        logit_bias=_biases(request.logit_bias),
        think=False,
        suffix=request.suffix,
        logprobs=-1 if request.logprobs is None else request.logprobs,
        needs=("insert",) if request.suffix else (),
        verb="generate",
    )


def prompt(request: CompletionRequest) -> str:
    """The one prompt of a completion. Raises BadRequest for several, or for token ids."""
    if isinstance(request.prompt, str):
        return request.prompt
    if len(request.prompt) == 1 and isinstance(request.prompt[0], str):
        return request.prompt[0]
    raise BadRequest("prompt: one string is taken, not several and not token ids", "prompt")


def _think(request: ChatRequest) -> bool | str | None:
    """Whether and how much to think, as OpenAI's efforts say it (contract section 11.1)."""
    effort = request.reasoning_effort or (request.reasoning.effort if request.reasoning else None)
    if effort is None:
        return None
    if effort not in _EFFORTS:
        choices = '"minimal", "low", "medium", "high", "xhigh", "ultra", "max", or "none"'
        raise BadRequest(f'invalid reasoning value: "{effort[:80]}" (must be {choices})', "reasoning_effort")
    return _EFFORTS[effort]


def _format(value: Any) -> Format | None:
    """`response_format`. Raises BadRequest, also for a schema that no answer can be held to."""
    if value is None:
        return None
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "text":
        return None
    if kind == "json_object":
        return "json"
    if kind != "json_schema":
        raise BadRequest('response_format: `type` must be "text", "json_object" or "json_schema"', "response_format")
    named = value.get("json_schema")
    wanted = named.get("schema") if isinstance(named, dict) else None
    if not isinstance(wanted, dict):
        raise BadRequest("response_format.json_schema.schema: a JSON schema is needed, an object", "response_format")
    return schema.checked(wanted)


def _message(index: int, message: ChatMessage, names: dict[str, str]) -> Message:
    """One message; `names` collects the tool calls' functions by id, for the results that name only the id."""
    place = f"messages[{index}]"
    if message.role not in _ROLES:
        raise BadRequest(f'{place}.role: unknown role "{message.role[:40]}"', f"{place}.role")
    calls = tuple(_call(place, call) for call in message.tool_calls or ())
    names.update({call.id: call.name for call in calls if call.id})
    tool_call_id = message.tool_call_id or ""
    return Message(
        "system" if message.role == "developer" else message.role,
        _content(place, message.content, has_calls=bool(calls)),
        message.reasoning or "",
        calls,
        (message.name or names.get(tool_call_id, "")) if message.role in ("tool", "function") else "",
        tool_call_id,
    )


def _content(place: str, content: Any, *, has_calls: bool) -> str:
    """A message's text; text parts are joined by blank lines, as Ollama joins messages of one role."""
    if isinstance(content, str):
        return content
    if content is None and has_calls:
        return ""
    if not isinstance(content, list):
        kind = "<nil>" if content is None else type(content).__name__
        raise BadRequest(f"{place}.content: invalid message content type: {kind}", f"{place}.content")
    texts = [_part(f"{place}.content[{number}]", part) for number, part in enumerate(content)]
    return "\n\n".join(text for text in texts if text)


def _part(place: str, part: Any) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in _MEDIA:
        return ""
    if kind not in ("text", "input_text") or not isinstance(part.get("text"), str):
        raise BadRequest(f"{place}: invalid message format", place)
    return str(part["text"])


_MEDIA = ("image_url", "input_image", "input_audio")


def _has_media(content: Any) -> bool:
    return isinstance(content, list) and any(isinstance(part, dict) and part.get("type") in _MEDIA for part in content)


def _call(place: str, call: SentCall) -> ToolCall:
    arguments = loads(call.function.arguments.encode()) if call.function.arguments else {}
    if not isinstance(arguments, dict):
        raise BadRequest(f"{place}.tool_calls: invalid tool call arguments", f"{place}.tool_calls")
    return ToolCall(call.function.name, arguments, call.id)


def _options(request: Sampled, limit: int | None) -> dict[str, Any]:
    """The request's sampling in Ollama's names, checked; `limit` is the most tokens it wants."""
    if request.n != 1:
        raise Unsupported("n: more than one choice is not available in this version of powerd", "n")
    if limit is not None and limit < 1:
        raise BadRequest(f"max_tokens: must be at least 1, not {limit}", "max_tokens")
    stop = [request.stop] if isinstance(request.stop, str) else request.stop
    if stop is not None and not (isinstance(stop, list) and all(isinstance(item, str) for item in stop)):
        raise BadRequest("invalid type for 'stop' field: a string or an array of strings is taken", "stop")
    given = {name: getattr(request, name) for name in _PLAIN_OPTIONS}
    try:
        return check(given | {"stop": stop, "num_predict": limit})
    except BadRequest as error:
        name = (error.param or "").removeprefix("options.")
        raise BadRequest(error.message, "max_tokens" if name == "num_predict" else name) from None


_PLAIN_OPTIONS = ("seed", "temperature", "top_p", "frequency_penalty", "presence_penalty", "thinking_budget")


def _biases(biases: Mapping[str, float]) -> dict[int, float]:
    if len(biases) > MAX_BIASES:
        raise BadRequest(f"logit_bias: at most {MAX_BIASES} tokens", "logit_bias")
    for token, bias in biases.items():
        if not (token.isascii() and token.isdigit() and len(token) < 10) or not -100 <= bias <= 100:
            raise BadRequest("logit_bias: takes token ids and numbers from -100 to 100", "logit_bias")
    return {int(token): bias for token, bias in biases.items()}
