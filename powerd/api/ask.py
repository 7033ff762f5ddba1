"""Ask and Timing: what every dialect's request comes to, and the readings its answer needs at its end (pure)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from powerd.catalog.spec import Template
from powerd.errors import BadRequest
from powerd.options import check
from powerd.protocol import Message

#: A schema, or any JSON object.
Format = Mapping[str, Any] | Literal["json"]


@dataclass(frozen=True, slots=True)
class Ask:
    """What a client wants of a model, in the same words for every dialect."""

    model: str  # as sent
    messages: tuple[Message, ...] = ()
    system: str = ""  # instead of the model's own
    template: Template | None = None  # instead of the model's own
    suffix: str = ""  # what follows the gap that the answer fills
    raw: str | None = None  # the finished prompt: no template, no messages
    with_stored: bool = True  # the model's own messages come first
    prefix: tuple[int, ...] = ()  # token ids before the prompt
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    logit_bias: Mapping[int, float] = field(default_factory=lambda: MappingProxyType({}))
    keep_alive: float | None = None  # seconds; inf = for ever
    think: bool | str | None = None  # a level counts as true; None = the model's own
    tools: tuple[dict[str, Any], ...] = ()  # {"type": "function", "function": {name, description, parameters}}
    tool_choice: str = "auto"  # auto, required (some call must come), or the name of the only tool
    parallel_calls: bool = True  # several calls in one answer
    format: Format | None = None  # what the answer's content must be
    logprobs: int = -1  # alternatives told of each token; negative = nothing told
    cuts: bool = False  # whether this dialect cuts what does not fit; contract section 6
    truncate: bool | None = None  # the request's own word on cutting its prompt
    shift: bool | None = None  # and on dropping the older half of a context that fills up
    needs: tuple[str, ...] = ()  # capabilities, contract section 9
    verb: str = "chat"  # what an embedding model is told it does not support
    want_tokens: bool = False
    embeds: bool = False  # vectors are wanted, not text
    scheduling_class: str = ""  # as the header X-Powerd-Class names it; it can only step back to batch


@dataclass(frozen=True, slots=True)
class Timing:
    """What is known at the end of an answer beside its last frame; times are in nanoseconds."""

    now: int  # since the epoch
    total: int  # since the request
    load: int  # until the runner was ready
    thinking_tokens: int = 0  # of the answer's


def checked_options(given: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """The options that are given, checked; `names` are the dialect's own words for some, by which a refusal names them.

    Raises BadRequest.
    """
    try:
        return check(given)
    except BadRequest as error:
        name = (error.param or "").removeprefix("options.")
        spoken = names.get(name, name)
        raise BadRequest(error.message.replace(f'"{name}"', f'"{spoken}"', 1), spoken) from None


def packed(tokens: tuple[int, ...], vocab: int) -> bytes:
    """Token ids as little-endian int32. Raises BadRequest for one that is not in the vocabulary."""
    if any(not 0 <= token < vocab for token in tokens):
        raise BadRequest(f"context: token ids of this model run from 0 to {vocab - 1}", "context")
    return struct.pack(f"<{len(tokens)}i", *tokens)


def unpacked(tokens: bytes) -> list[int]:
    """The token ids of a Finished frame."""
    return list(struct.unpack(f"<{len(tokens) // 4}i", tokens))
