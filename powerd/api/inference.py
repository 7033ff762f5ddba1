"""The one path from a dialect's wish to text: find, check, merge options, render, lease, submit, account.

A dialect translates its request into an Ask, opens an Answer with it and reads text until the terminal frame. What
was served differently than asked stands in `Answer.notes`, which travel as `X-Powerd-*` headers: nothing is cut,
shrunk or ignored in silence.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType

import msgspec

from powerd.api.answer import Answer, failure
from powerd.api.ask import Ask, packed
from powerd.api.context import ApiContext
from powerd.api.fitting import Policy, has_bos, last_cut, policy, shortened, told
from powerd.api.reading import Manner, manner
from powerd.api.rendering import conversation, rendered, template
from powerd.digest import Digest
from powerd.errors import BadRequest, Busy, ContextOverflow, DoesNotFit, NotFound, Unsupported
from powerd.fleet.lease import Lease
from powerd.fleet.process import Item
from powerd.fleet.terms import Reason, Unload, Want
from powerd.options import Options, merge
from powerd.protocol import Failed, Generate, Message
from powerd.reconcile.offer import Offer
from powerd.reconcile.readback import shortfall

_STAYS = MappingProxyType({"X-Powerd-Keep-Alive": "ignored (models.yaml declares that the model stays loaded)"})
#: The request header that says in which scheduling class a request waits; it can only lower it.
CLASS_HEADER = b"x-powerd-class"


# ---------------------------------------------------------------- the path


@asynccontextmanager
async def opened(context: ApiContext, ask: Ask, request_id: str, started: int) -> AsyncIterator[Answer]:
    """Begin to generate; leaving the block early cancels. `started` is the request's time (monotonic ns).

    Raises every class of powerd.errors that a request can meet.
    """
    offer = find(context, ask)
    while True:
        options, notes = merged(ask, offer)
        messages = conversation(ask, offer)
        prompt = await rendered(context, ask, offer, messages, notes)
        await _checked(context, offer)
        if (now := find(context, ask)).deployment.key == offer.deployment.key:
            break
        offer = now  # declared anew meanwhile: the old process must not be started again for this request
    held = await _held(ask, offer, prompt, messages, options.thinking_budget)
    want = _want(ask, offer, options, request_id, masked=held.constraint is not None)
    async with await _lease(context, offer, want) as lease:
        notes |= _lease_notes(options, lease)
        begun = _Begun(context, ask, offer, options, held, lease, notes, request_id)
        yield await begun.answer(messages, prompt, started)


async def _held(ask: Ask, offer: Offer, prompt: str, messages: tuple[Message, ...], budget: int) -> Manner:
    """The form of the answer; beside the event loop where grammars are made, a millisecond for each tool."""
    if ask.tools or ask.format is not None:
        return await asyncio.to_thread(manner, ask, offer, prompt, messages, budget)
    return manner(ask, offer, prompt, messages, budget)


async def only_rendered(context: ApiContext, ask: Ask, notes: dict[str, str]) -> dict[str, object]:
    """What `_debug_render_only` asks for: the prompt, and whose template made it. Nothing is generated."""
    offer = find(context, ask)
    info: dict[str, object] = {
        "rendered_template": await rendered(context, ask, offer, conversation(ask, offer), notes)
    }
    if ask.raw is None:
        chosen = template(ask, offer)
        info["template"] = {"origin": chosen.origin, "syntax": chosen.syntax, "name": chosen.name}
    return info


async def load(context: ApiContext, ask: Ask, request_id: str) -> tuple[Offer, dict[str, str]]:
    """Have the model in memory and its idle clock set by this request."""
    async with leased(context, ask, request_id) as (offer, _, _, notes):
        return offer, notes


@asynccontextmanager
async def leased(
    context: ApiContext, ask: Ask, request_id: str
) -> AsyncIterator[tuple[Offer, Options, Lease, dict[str, str]]]:
    """The model in memory with its idle clock set by this request, a place on it, and what to tell of both."""
    await _checked(context, find(context, ask))
    offer = find(context, ask)
    options, notes = merged(ask, offer)
    async with await _lease(context, offer, _want(ask, offer, options, request_id)) as lease:
        notes |= _lease_notes(options, lease)
        yield offer, options, lease, notes


async def unload(context: ApiContext, ask: Ask) -> dict[str, str]:
    """Unload the model if it is loaded and its declaration lets a client do that; the notes say when it does not."""
    offer = find(context, replace(ask, embeds=True))  # what a model can do does not matter for that
    done: Unload = await context.fleet.unload(offer.deployment.key, Reason.IDLE)
    return {} if done else dict(_STAYS)


def find(context: ApiContext, ask: Ask) -> Offer:
    """The offer, with every capability the request needs. Raises BadRequest, NotFound, Busy or Unsupported."""
    if context.stopping():
        raise Busy("powerd is stopping; try again when it is back", 5.0)
    offer = context.library.find(ask.model)
    if "completion" not in offer.capabilities and not ask.embeds:
        raise Unsupported(f'"{ask.model}" does not support {ask.verb}', "model")
    for need in ask.needs:
        if need not in offer.capabilities:
            raise Unsupported(_lacking(ask.model, offer, need), _FIELDS.get(need))
    return offer


def known(context: ApiContext, model: str) -> None:
    """Raises NotFound in the words that the routes of embeddings have for it (contract section 1.5)."""
    try:
        context.library.find(model)
    except NotFound:
        raise NotFound(f'model "{model}" not found, try pulling it first') from None


_FIELDS = {"tools": "tools", "thinking": "think", "vision": "images", "insert": "suffix"}


def _lacking(model: str, offer: Offer, need: str) -> str:
    if need == "thinking":
        again = ". Pull the model again to get the latest version with full thinking support" if offer.forgets else ""
        return f'"{model}" does not support thinking{again}'
    return f"{offer.name.full} does not support {need}"


def merged(ask: Ask, offer: Offer) -> tuple[Options, dict[str, str]]:
    """The model's parameters under the request's options, and what of these had no effect.

    Raises BadRequest, also for runner options that the model's declaration refuses.
    """
    options = merge(offer.parameters, ask.options)
    if offer.request_options == "reject":
        _reject(ask, offer, options)
    notes = {"X-Powerd-Class": _class(ask, offer)} if ask.scheduling_class else {}
    if ignored := sorted(options.unused + options.gone):
        notes["X-Powerd-Ignored"] = ", ".join(ignored)
    return options, notes


def _reject(ask: Ask, offer: Offer, options: Options) -> None:
    context = offer.deployment.context
    refused = f'"{ask.model}" refuses it by `request_options: reject`'
    if options.num_ctx is not None and options.num_ctx > context:
        raise BadRequest(
            f"num_ctx: {options.num_ctx} tokens are asked for and {context} are there, from {offer.context_source}; "
            f"{refused}; ask for at most {context}",
            "options.num_ctx",
        )
    if options.unused:
        names = ", ".join(options.unused)
        raise BadRequest(f"{names}: a request cannot choose this; {refused}", f"options.{options.unused[0]}")


def in_class(ask: Ask, header: str) -> Ask:
    """The ask in the scheduling class that the request's header names, "" being silent.

    A request may step back to batch; asking for interactive leaves its model's own class. Raises BadRequest.
    """
    if header not in {"", "interactive", "batch"}:
        raise BadRequest(f'X-Powerd-Class: "{header[:40]}" is no scheduling class; send "batch" or "interactive"')
    return replace(ask, scheduling_class=header)


def _class(ask: Ask, offer: Offer) -> str:
    return "batch" if "batch" in (ask.scheduling_class, offer.scheduling_class) else "interactive"


def _want(ask: Ask, offer: Offer, options: Options, request_id: str, *, masked: bool = False) -> Want:
    return Want(
        offer.deployment,
        offer.name.display,
        keep_alive=ask.keep_alive,
        default_keep_alive=offer.keep_alive,
        num_ctx=None if ask.embeds and not offer.deployment.shape.pooling else options.num_ctx,
        priority=offer.priority,
        request_id=request_id,
        scheduling_class=_class(ask, offer),
        request_options=offer.request_options,
        embeds=ask.embeds,
        masked=masked,
        likely=ask.logprobs >= 0,
    )


async def _checked(context: ApiContext, offer: Offer) -> None:
    """Check the files that would have to be loaded (reliability S06). Raises Conflict naming a corrupt blob."""
    if all(view.key != offer.deployment.key for view in context.fleet.views()):
        for digest in (offer.stored.weights_digest, *(Digest(each) for each, _, _ in offer.deployment.adapters)):
            await asyncio.to_thread(context.store.check_blob, digest)


async def _lease(context: ApiContext, offer: Offer, want: Want) -> Lease:
    """A lease on the offer's runner.

    Raises DoesNotFit when the loaded model is not what the offer requires (X06), and what the fleet raises.
    """
    lease = await context.fleet.lease(want)
    if short := shortfall(offer.require, context.fleet.views(), lease.pid):
        lease.release()
        raise DoesNotFit(f"model '{offer.name.display}' is not served: {short}", 60.0)
    return lease


def _lease_notes(options: Options, lease: Lease) -> dict[str, str]:
    notes: dict[str, str] = {}
    if options.num_ctx is not None and options.num_ctx > lease.context:
        notes["X-Powerd-Context"] = f"{lease.context} (declared; {options.num_ctx} was asked)"
    if lease.keep_alive_ignored:
        notes |= _STAYS
    return notes


# ---------------------------------------------------------------- the frame


@dataclass(frozen=True, slots=True)
class _Begun:
    """What an answer is made with, once there is a lease."""

    context: ApiContext
    ask: Ask
    offer: Offer
    options: Options
    held: Manner
    lease: Lease
    notes: dict[str, str]
    request_id: str

    async def answer(self, messages: tuple[Message, ...], prompt: str, started: int) -> Answer:
        """Begin to generate. A conversation that does not fit is shortened where that is allowed, and sent again."""
        allowed = policy(self.ask, self.offer)
        whole = not allowed.messages or self.ask.raw is not None or last_cut(messages) < 1
        answer = self._submitted(prompt, allowed, started, cut=whole and allowed.tokens)
        answer.first = await anext(answer.stream, None)
        overflow = _overflow(answer.first)
        if overflow is None or whole:
            return answer
        prompt = await shortened(self.context, self.ask, self.offer, messages, self.lease, overflow, self.notes)
        answer = self._submitted(prompt, allowed, started, cut=allowed.tokens)
        answer.first = await anext(answer.stream, None)
        return answer

    def _submitted(self, prompt: str, allowed: Policy, started: int, *, cut: bool) -> Answer:
        stream = self.lease.submit(self._frame(prompt, cut=cut, shift=allowed.shift))
        answer = Answer(self.offer, self.lease.load_ns, self.notes, stream, started, self.held.reader)
        answer.parallel_calls = self.ask.parallel_calls
        answer.on_cut = partial(told, offer=self.offer, notes=self.notes)
        return answer

    def _frame(self, prompt: str, *, cut: bool, shift: bool) -> Generate:
        ask, offer, options, held = self.ask, self.offer, self.options, self.held
        bos = has_bos(prompt, offer)
        if ask.prefix and bos:
            prompt = prompt.removeprefix(offer.stored.header.bos_text)
        limit = min(options.num_ctx or 0, self.lease.context)
        return Generate(
            id=0,
            prompt=prompt,
            prefix=packed(ask.prefix, offer.deployment.shape.vocab),
            add_bos=not bos and not ask.prefix,
            sampling=msgspec.structs.replace(options.sampling, logit_bias=dict(ask.logit_bias)),
            stop=options.stop,
            num_predict=options.num_predict or -1,
            context=limit,
            context_source="`num_ctx` of the request" if 0 < limit < self.lease.context else offer.context_source,
            want_tokens=ask.want_tokens,
            scheduling_class=_class(ask, offer),
            request_id=self.request_id,
            markers=held.markers,
            constraint=held.constraint,
            thinking=held.thinking,
            adapters=offer.adapters,
            logprobs=ask.logprobs,
            num_keep=options.num_keep,
            truncate=cut,
            shift=shift,
        )


def _overflow(batch: list[Item] | None) -> ContextOverflow | None:
    """The refusal of a prompt that does not fit, if that is what came."""
    refusal = batch[0] if batch else None
    error = failure(refusal) if isinstance(refusal, Failed) else None
    return error if isinstance(error, ContextOverflow) else None
