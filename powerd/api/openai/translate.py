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
from powerd.api.ask import Ask, Format, checked_options
from powerd.api.openai import media
from powerd.api.openai.schema import ChatMessage, ChatRequest, CompletionRequest, Sampled
from powerd.api.openai.schema import ToolCall as SentCall
from powerd.errors import BadRequest, Unsupported
from powerd.output.grammars import schema
from powerd.protocol import Message, ToolCall

MAX_MESSAGES = 4096
MAX_BIASES = 1024
MAX_CHOICES = 16
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
    read = tools.Arguments()
    messages = tuple(_message(index, message, names, read) for index, message in enumerate(request.messages))
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
    function = choice.get("function") if isinstance(choice, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    return tools.chosen(choice, name, offered, '{"type": "function", "function": {"name": …}}')


def completion(request: CompletionRequest) -> Ask:
    """POST /v1/completions: one prompt, put through the chat template as Ollama does. Raises BadRequest."""
    for name, given in (("echo", request.echo), ("best_of", request.best_of not in {1, request.n})):
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
    return thinking(request.reasoning_effort or (request.reasoning.effort if request.reasoning else None))


def thinking(effort: str | None, param: str = "reasoning_effort") -> bool | str | None:
    """Whether and how much to think, as OpenAI's efforts say it (contract section 11.1). Raises BadRequest."""
    if effort is None:
        return None
    if effort not in _EFFORTS:
        choices = '"minimal", "low", "medium", "high", "xhigh", "ultra", "max", or "none"'
        raise BadRequest(f'invalid reasoning value: "{effort[:80]}" (must be {choices})', param)
    return _EFFORTS[effort]


def _format(value: Any) -> Format | None:
    named = value.get("json_schema") if isinstance(value, dict) else None
    wanted = named.get("schema") if isinstance(named, dict) else None
    return answer_format(value, wanted, "response_format", "response_format.json_schema.schema")


def answer_format(value: Any, wanted: Any, param: str, place: str) -> Format | None:
    """What `{"type": …}` asks the answer to be; `wanted` is its JSON schema, which stands at `place`.

    Raises BadRequest, also for a schema that no answer can be held to.
    """
    kind = value.get("type") if isinstance(value, dict) else None
    if value is None or kind == "text":
        return None
    if kind == "json_object":
        return "json"
    if kind != "json_schema":
        raise BadRequest(f'{param}: `type` must be "text", "json_object" or "json_schema"', param)
    if not isinstance(wanted, dict):
        raise BadRequest(f"{place}: a JSON schema is needed, an object", param)
    return schema.checked(wanted, param)


def _message(index: int, message: ChatMessage, names: dict[str, str], read: tools.Arguments) -> Message:
    """One message; `names` collects the tool calls' functions by id, for the results that name only the id."""
    place = f"messages[{index}]"
    if message.role not in _ROLES:
        raise BadRequest(f'{place}.role: unknown role "{message.role[:40]}"', f"{place}.role")
    calls = tuple(
        _call(f"{place}.tool_calls[{number}]", call, read) for number, call in enumerate(message.tool_calls or ())
    )
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
    if kind in media.KINDS:
        media.check(part, place)
        return ""
    if kind not in ("text", "input_text") or not isinstance(part.get("text"), str):
        raise BadRequest(f"{place}: invalid message format", place)
    return str(part["text"])


def _has_media(content: Any) -> bool:
    return isinstance(content, list) and any(
        isinstance(part, dict) and part.get("type") in media.KINDS for part in content
    )


def _call(place: str, call: SentCall, read: tools.Arguments) -> ToolCall:
    arguments = read.read(f"{place}.function.arguments", call.function.arguments)
    return ToolCall(call.function.name, arguments, call.id)


def _options(request: Sampled, limit: int | None) -> dict[str, Any]:
    """The request's sampling in Ollama's names, checked; `limit` is the most tokens it wants."""
    if not 1 <= request.n <= MAX_CHOICES:
        raise BadRequest(f"n: from 1 to {MAX_CHOICES} choices can be asked for, not {request.n}", "n")
    if limit == 0:
        raise BadRequest("max_tokens: must be at least 1, or -1 for no limit, not 0", "max_tokens")
    stop = [request.stop] if isinstance(request.stop, str) else request.stop
    if stop is not None and not (isinstance(stop, list) and all(isinstance(item, str) for item in stop)):
        raise BadRequest("invalid type for 'stop' field: a string or an array of strings is taken", "stop")
    given = {name: getattr(request, name) for name in _PLAIN_OPTIONS}
    return checked_options(given | {"stop": stop, "num_predict": limit}, {"num_predict": "max_tokens"})


_PLAIN_OPTIONS = ("seed", "temperature", "top_p", "frequency_penalty", "presence_penalty", "thinking_budget")


def _biases(biases: Mapping[str, float]) -> dict[int, float]:
    if len(biases) > MAX_BIASES:
        raise BadRequest(f"logit_bias: at most {MAX_BIASES} tokens", "logit_bias")
    for token, bias in biases.items():
        if not (token.isascii() and token.isdigit() and len(token) < 10) or not -100 <= bias <= 100:
            raise BadRequest("logit_bias: takes token ids and numbers from -100 to 100", "logit_bias")
    return {int(token): bias for token, bias in biases.items()}
