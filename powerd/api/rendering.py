"""From an Ask to the prompt's text: which messages, which template, how much thinking."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from msgspec.structs import replace

from powerd.api.ask import Ask
from powerd.api.context import ApiContext
from powerd.errors import BadRequest, Unsupported
from powerd.jobs import RenderJob
from powerd.output.calls.harmony import written_names
from powerd.output.formats import Format
from powerd.prompt.choose import Chosen
from powerd.prompt.thoughts import forgotten
from powerd.protocol import Message
from powerd.reconcile.offer import Offer
from powerd.reconcile.offer import format_of as written_for

Tools = tuple[dict[str, Any], ...]


def conversation(ask: Ask, offer: Offer) -> tuple[Message, ...]:
    """The messages a template sees: the system text, the model's own messages, the request's (contract 1.3).

    The model's system text stands in unless the request's first message is one.
    """
    own_system = bool(ask.messages) and ask.messages[0].role == "system"
    system = ask.system or ("" if own_system else offer.system)
    head = (Message("system", system),) if system else ()
    stored = tuple(Message(role, content) for role, content in offer.messages) if ask.with_stored else ()
    messages = head + stored + ask.messages
    return forgotten(messages) if offer.forgets else messages


def template(ask: Ask, offer: Offer) -> Chosen:
    """The request's own template, else the model's."""
    return Chosen(ask.template.text, ask.template.syntax, "owner") if ask.template is not None else offer.chosen


def format_of(ask: Ask, offer: Offer) -> Format:
    """How the model writes, as the template it is given tells."""
    return offer.format if ask.template is None else written_for(offer.stored, template(ask, offer))


def thinks(ask: Ask, offer: Offer) -> bool | str | None:
    """Whether and how much the model is to think: the request's word, else its declaration's, else yes.

    A model that cannot think is only told not to; None says nothing (contract section 8.1).
    """
    wish = offer.think if ask.think is None else ask.think
    if "thinking" in offer.capabilities:
        return True if wish is None else wish
    return False if wish is False else None


def is_prefill(messages: Sequence[Message]) -> bool:
    """Whether the last message is the beginning of the answer (contract section 1.3)."""
    return bool(messages) and messages[-1].role == "assistant" and bool(messages[-1].content)


async def rendered(
    context: ApiContext, ask: Ask, offer: Offer, messages: tuple[Message, ...], notes: dict[str, str]
) -> str:
    """The prompt's text. An assistant's last message is left open for the model to continue.

    Raises BadRequest with the template's own words, Timeout when it takes too long.
    """
    if ask.raw is not None:
        return ask.raw
    open_end = is_prefill(messages)
    if messages and messages[-1].role == "assistant" and not messages[-1].content and not messages[-1].tool_calls:
        messages = messages[:-1]
    header = offer.stored.header
    tools = ask.tools
    if tools and format_of(ask, offer).harmony:
        tools, messages = _as_written(tools, messages)
    chosen = template(ask, offer)
    if ask.suffix and not chosen.inserts:
        raise Unsupported("the template of the request has no .Suffix", "template")
    if chosen.origin == "named":
        notes["X-Powerd-Template"] = f"{chosen.name} (recognised; the model brings no template)"
    job = RenderJob(
        0,
        messages,
        chosen.text,
        bos=header.bos_text,
        eos=header.eos_text,
        add_generation_prompt=not open_end,
        tools=tools,
        think=thinks(ask, offer),
        syntax=chosen.syntax,
        suffix=ask.suffix,
        lenient=chosen.origin != "owner",
    )
    text = await context.renderers.render(job, partial(notes.__setitem__, "X-Powerd-Template"))
    return _left_open(text, messages[-1].content) if open_end else text


def _as_written(tools: Tools, messages: tuple[Message, ...]) -> tuple[Tools, tuple[Message, ...]]:
    """Tools and conversation with the tools' names as gpt-oss was trained to write them (contract section 8.3)."""
    written = written_names(tool["function"]["name"] for tool in tools)

    def renamed(message: Message) -> Message:
        calls = tuple(replace(call, name=written.get(call.name, call.name)) for call in message.tool_calls)
        return replace(message, tool_calls=calls, tool_name=written.get(message.tool_name, message.tool_name))

    def rewritten(tool: dict[str, Any]) -> dict[str, Any]:
        return tool | {"function": tool["function"] | {"name": written[tool["function"]["name"]]}}

    return tuple(map(rewritten, tools)), tuple(map(renamed, messages))


def _left_open(text: str, content: str) -> str:
    """`text` up to the end of its last message's content."""
    for part in (content, content.strip()):
        at = text.rfind(part)
        if part and at >= 0:
            return text[: at + len(part)]
    raise BadRequest(
        "the model's template does not show the last assistant message, so it cannot be continued", "messages"
    )
