"""How an answer is to be held and read: its constraint, the marks around its thinking, and its reader."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from powerd.api.ask import Ask
from powerd.api.rendering import format_of, is_prefill, thinks
from powerd.errors import Unsupported
from powerd.output.formats import Format, Tags
from powerd.output.grammars import grammar
from powerd.output.pieces import Reader
from powerd.output.reader import reader
from powerd.protocol import Constraint, Message, Thinking
from powerd.reconcile.offer import Offer

#: What opens and closes gpt-oss's thinking.
_CHANNEL = Tags("<|channel|>analysis<|message|>", "<|end|>")


@dataclass(frozen=True, slots=True)
class Manner:
    """What the runner must know of the answer's form."""

    reader: Reader | None = None  # None = all text is content
    markers: tuple[str, ...] = ()
    thinking: Thinking | None = None
    constraint: Constraint | None = None


def manner(ask: Ask, offer: Offer, prompt: str, messages: tuple[Message, ...], budget: int) -> Manner:
    """The form of the answer to `prompt`; `budget` is the most tokens of thinking, negative for no limit.

    A raw prompt and a gap to be filled know neither thinking nor tools. Raises BadRequest for a schema that no
    grammar can hold.
    """
    if ask.raw is not None or ask.suffix:
        return Manner(constraint=None if ask.format is None else grammar.answer(_schema(ask), Format()))
    form = format_of(ask, offer)
    tags = _CHANNEL if form.harmony else form.thinking
    inside = tags is not None and prompt.rstrip().endswith(tags.open)
    answering = is_prefill(messages) and not inside
    thinking = (bool(thinks(ask, offer)) or form.always_thinks) and not answering
    tools = tools_by_name(ask) if ask.tools else None
    return Manner(
        reader(form, tools, inside=inside, answering=answering),
        _markers(form, with_tools=bool(ask.tools)),
        _thinking(tags, inside=inside, budget=budget) if tags is not None and (thinking or inside) else None,
        _constraint(ask, form),
    )


def tools_by_name(ask: Ask) -> dict[str, Mapping[str, Any]]:
    """The request's tools, each with the schema of its parameters."""
    return {tool["function"]["name"]: tool["function"].get("parameters") or {} for tool in ask.tools}


def _schema(ask: Ask) -> Mapping[str, Any] | None:
    return None if ask.format == "json" or ask.format is None else ask.format


def _markers(form: Format, *, with_tools: bool) -> tuple[str, ...]:
    tools = form.tools.markers if form.tools is not None and with_tools else ()
    return (*form.thought_markers, *tools)


def _thinking(tags: Tags, *, inside: bool, budget: int) -> Thinking:
    ending = tags.close if tags is _CHANNEL else f"\n{tags.close}\n\n"
    return Thinking(tags.open, tags.close, inside, budget, ending)


def _constraint(ask: Ask, form: Format) -> Constraint | None:
    if not ask.tools:
        return None if ask.format is None else grammar.answer(_schema(ask), form)
    tools = tools_by_name(ask)
    if ask.format is not None:
        return grammar.both(_schema(ask), form, tools, ask.tool_choice, parallel=ask.parallel_calls)
    held = grammar.calls(form, tools, ask.tool_choice, parallel=ask.parallel_calls)
    if held is None and ask.tool_choice != "auto":
        raise Unsupported(
            f'tool_choice: a call cannot be required of "{ask.model}", of which it is not known how it writes calls',
            "tool_choice",
        )
    return held
