"""What is done with a prompt that does not fit, and how it is told (contract section 6).

Whole messages go first, the oldest ones, never a system message nor the last one. How many is found by bisection: the
number of tokens falls with every message. What still does not fit loses its middle in the runner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from powerd import metrics
from powerd.api.ask import Ask
from powerd.api.context import ApiContext
from powerd.api.rendering import rendered
from powerd.errors import BadRequest, ContextOverflow
from powerd.fleet.lease import Lease
from powerd.protocol import Cut, Message
from powerd.reconcile.offer import Offer

HEADER = "X-Powerd-Truncated"

_log = structlog.get_logger("powerd.api")


@dataclass(frozen=True, slots=True)
class Policy:
    """What may be cut."""

    messages: bool  # the oldest messages of a conversation
    tokens: bool  # the middle of a prompt
    shift: bool  # the older half of a context that fills up while the answer is written


def policy(ask: Ask, offer: Offer) -> Policy:
    """The request's word, else the model's `overflow`, which as `dialect` leaves it to the route.

    A request that forbids shifting forbids the loss of the prompt's middle too, as in Ollama.
    """
    by_model = {"dialect": ask.cuts, "reject": False, "truncate": True, "shift": True}[offer.overflow]
    truncate = by_model if ask.truncate is None else ask.truncate
    shift = (by_model and offer.overflow != "truncate" and _may_shift(offer)) if ask.shift is None else ask.shift
    return Policy(truncate, truncate and ask.shift is not False, shift)


def _may_shift(offer: Offer) -> bool:
    """Whether a context is shifted where nobody says so: Ollama leaves this family out (contract section 6)."""
    return offer.overflow == "shift" or offer.stored.header.architecture != "deepseek2"


def has_bos(prompt: str, offer: Offer) -> bool:
    """Whether the template wrote the token that begins a text itself."""
    bos = offer.stored.header.bos_text
    return bool(bos) and prompt.startswith(bos)


async def shortened(
    context: ApiContext,
    ask: Ask,
    offer: Offer,
    messages: tuple[Message, ...],
    lease: Lease,
    overflow: ContextOverflow,
    notes: dict[str, str],
) -> str:
    """The prompt with as few of the oldest messages left out as it takes to fit, or with the last one alone."""
    low, high = 1, last_cut(messages)  # of all cuts, the smallest that fits; `high` is taken if none does
    while low < high:
        middle = (low + high) // 2
        if await _fits(context, ask, offer, cut(messages, middle), lease, overflow.limit):
            high = middle
        else:
            low = middle + 1
    kept = cut(messages, low)
    prompt = await rendered(context, ask, offer, kept, notes)
    left_out = len(messages) - len(kept)
    sentence = (
        f"{left_out} of {len(messages)} messages left out: {overflow.needed} tokens were sent and {overflow.limit} are "
        f"available, from {overflow.limit_source}"
    )
    note(offer, "messages", sentence, notes)
    return prompt


async def _fits(
    context: ApiContext, ask: Ask, offer: Offer, messages: tuple[Message, ...], lease: Lease, limit: int
) -> bool:
    """Whether these messages leave room for an answer. Those a template refuses do not."""
    try:
        prompt = await rendered(context, ask, offer, messages, {})
    except BadRequest:
        return False
    return len(ask.prefix) + await lease.count(prompt, add_bos=not has_bos(prompt, offer)) < limit


def last_cut(messages: Sequence[Message]) -> int:
    """The cut that leaves the last message alone."""
    return len(messages) - 1


def cut(messages: tuple[Message, ...], at: int) -> tuple[Message, ...]:
    """The messages from `at` on, behind all system messages before."""
    return tuple(message for message in messages[:at] if message.role == "system") + messages[at:]


def told(event: Cut, offer: Offer, notes: dict[str, str]) -> None:
    """The runner has cut the prompt's middle out: say so."""
    sentence = (
        f"the prompt was cut from {event.needed} to {event.kept} tokens: {event.limit} are available, "
        f"from {event.limit_source}"
    )
    note(offer, "tokens", sentence, notes)


def note(offer: Offer, kind: str, sentence: str, notes: dict[str, str]) -> None:
    """Header, log line and counter of one cut."""
    notes[HEADER] = f"{notes[HEADER]}; {sentence}" if HEADER in notes else sentence
    metrics.CUTS.labels(offer.name.display, kind).inc()
    _log.warning("a prompt was cut", model=offer.name.display, kind=kind, how=sentence)
