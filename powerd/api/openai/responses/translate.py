"""From a request for a response to an Ask, and what of the request its answer repeats (contract section 11.5; pure).

Deviations from Ollama's reading of this API, on purpose: what asks for a memory that is not there is refused rather
than answered without it; `tool_choice`, `parallel_tool_calls`, `truncation` and `include` (log probabilities) are
honoured; the declared temperature and top_p hold where the request is silent, and the answer tells which held.
"""

from __future__ import annotations

from typing import Any

from powerd.api.ask import Ask, Format, checked_options
from powerd.api.openai.responses import items, toolbox
from powerd.api.openai.responses.schema import ResponsesRequest
from powerd.api.openai.responses.toolbox import Toolbox
from powerd.api.openai.translate import answer_format, thinking
from powerd.errors import BadRequest
from powerd.options import Options

_MAX_PAIRS = 16
_SUMMARIES = (None, "auto", "concise", "detailed", "none")
_LIKELY = "message.output_text.logprobs"
#: What would have to be kept from one request to the next, and what to send instead.
_REMEMBERED = {
    "previous_response_id": "powerd keeps no responses; send the whole conversation as `input`",
    "conversation": "powerd keeps no conversations; send the whole conversation as `input`",
    "prompt": "powerd keeps no prompts; send their text as `instructions`",
}


def response(request: ResponsesRequest) -> tuple[Ask, Toolbox]:
    """POST /v1/responses. Raises BadRequest."""
    for name, reason in _REMEMBERED.items():
        if getattr(request, name) is not None:
            raise BadRequest(f"{name}: {reason}", name)
    _check(request)
    box = toolbox.filled(request.tools)
    choice, offered = toolbox.chosen(request.tool_choice, box)
    messages, has_media = items.read(request.input, request.instructions or "")
    think = thinking(request.reasoning.effort, "reasoning.effort")
    needs = (("thinking", bool(think)), ("tools", bool(offered)), ("vision", has_media))
    ask = Ask(
        request.model,
        messages=messages,
        options=_options(request),
        think=think,
        tools=offered,
        tool_choice=choice,
        parallel_calls=request.parallel_tool_calls,
        format=_format(request),
        logprobs=request.top_logprobs if _LIKELY in request.include or request.top_logprobs else -1,
        truncate={"auto": True, "disabled": False}.get(request.truncation),
        needs=tuple(need for need, has in needs if has),
    )
    return ask, box


def _check(request: ResponsesRequest) -> None:
    if request.truncation not in ("", "auto", "disabled"):
        raise BadRequest('truncation: must be "auto" or "disabled"', "truncation")
    if request.reasoning.summary not in _SUMMARIES:
        raise BadRequest('reasoning.summary: must be "auto", "concise" or "detailed"', "reasoning.summary")
    if not 0 <= request.top_logprobs <= 20:
        raise BadRequest("top_logprobs must be between 0 and 20", "top_logprobs")
    if len(request.metadata) > _MAX_PAIRS:
        raise BadRequest(f"metadata: at most {_MAX_PAIRS} pairs are taken", "metadata")


def _format(request: ResponsesRequest) -> Format | None:
    value = request.text.format
    wanted = value.get("schema") if isinstance(value, dict) else None
    return answer_format(value, wanted, "text.format", "text.format.schema")


def _options(request: ResponsesRequest) -> dict[str, Any]:
    limit = request.max_output_tokens
    if limit is not None and limit < 1:
        raise BadRequest(f"max_output_tokens: must be at least 1, not {limit}", "max_output_tokens")
    given = {name: getattr(request, name) for name in ("temperature", "top_p", "thinking_budget")}
    return checked_options(given | {"num_predict": limit}, {"num_predict": "max_output_tokens"})


# ---------------------------------------------------------------- what the answer repeats


def repeated(request: ResponsesRequest, ask: Ask, options: Options) -> dict[str, object]:
    """The part of a response that does not change while it is made; `options` are those that hold."""
    sampling = options.sampling
    return {
        "model": request.model,
        "previous_response_id": None,
        "instructions": request.instructions,
        "tools": [_whole(tool) for tool in request.tools],
        "tool_choice": "auto" if request.tool_choice is None else request.tool_choice,
        "truncation": request.truncation or "disabled",
        "parallel_tool_calls": ask.parallel_calls,
        "text": _text(request),
        "top_p": sampling.top_p,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "top_logprobs": request.top_logprobs,
        "temperature": sampling.temperature,
        "reasoning": {"effort": request.reasoning.effort, "summary": request.reasoning.summary},
        "max_output_tokens": request.max_output_tokens,
        "max_tool_calls": None,
        "store": False,
        "background": request.background,
        "service_tier": "default",
        "metadata": request.metadata,
        "safety_identifier": request.safety_identifier,
        "prompt_cache_key": request.prompt_cache_key,
    }


def _whole(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool as it was sent; a function with all the fields that clients read."""
    if tool.get("type") != "function":
        return tool
    return {"description": None, "parameters": None, "strict": None} | tool


def _text(request: ResponsesRequest) -> dict[str, object]:
    text: dict[str, object] = {"format": request.text.format or {"type": "text"}}
    return text if request.text.verbosity is None else text | {"verbosity": request.text.verbosity}
