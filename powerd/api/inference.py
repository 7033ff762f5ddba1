"""The one path from a dialect's wish to text: find, check, merge options, render, lease, submit, account.

A dialect translates its request into an Ask, opens an Answer with it and reads text until the terminal frame. What
was served differently than asked stands in `Answer.notes`, which travel as `X-Powerd-*` headers: nothing is cut,
shrunk or ignored in silence.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType

import msgspec

from powerd import errors, metrics
from powerd.api.ask import Ask, packed
from powerd.api.context import ApiContext
from powerd.errors import BadRequest, Busy, DoesNotFit, PowerError, RunnerDied, TooLarge, Unsupported
from powerd.fleet.lease import Lease
from powerd.fleet.process import Stream
from powerd.fleet.terms import Reason, Unload, Want
from powerd.options import Options, merge
from powerd.prompt.choose import Chosen
from powerd.protocol import Failed, Finished, Generate, Message, Row
from powerd.reconcile.offer import Offer
from powerd.reconcile.readback import shortfall

_STAYS = MappingProxyType({"X-Powerd-Keep-Alive": "ignored (models.yaml declares that the model stays loaded)"})
#: The client is still there, so it was not the client who cancelled.
_CUT = "the generation was ended before it was complete: the model is being unloaded"
#: The request header that says in which scheduling class a request waits; it can only lower it.
CLASS_HEADER = b"x-powerd-class"
MAX_ANSWER = 16 << 20  # bytes of text an answer that is not streamed may hold


@dataclass(slots=True)
class Answer:
    """A running generation: read it to its end, or leave the block that opened it."""

    offer: Offer
    load_ns: int
    notes: dict[str, str]
    _stream: Stream
    _started: int  # monotonic ns
    _silent: bool = True

    async def read(self) -> tuple[str, Finished | None]:
        """The text since the last call, and the terminal frame once there is one.

        Raises what made the generation fail.
        """
        batch = await anext(self._stream, None)
        if batch is None:
            raise RunnerDied("the stream ended without its last frame")
        texts: list[str] = []
        finished: Finished | None = None
        for event in batch:
            if isinstance(event, Row):
                texts.append(event.text)
            elif isinstance(event, Failed):
                raise failure(event)
            else:
                finished = event
        text = "".join(texts)
        if self._silent and text:
            self._silent = False
            elapsed = (time.monotonic_ns() - self._started) / 1e9
            metrics.FIRST_TOKEN_SECONDS.labels(self.offer.name.display).observe(elapsed)
        if finished is not None:
            self._account(finished)
        return text, finished

    async def whole(self) -> tuple[str, Finished]:
        """All the text at once. Raises TooLarge above MAX_ANSWER."""
        texts: list[str] = []
        size = 0
        while True:
            text, finished = await self.read()
            texts.append(text)
            size += len(text.encode())
            if size > MAX_ANSWER:
                raise TooLarge(f"the answer passes {MAX_ANSWER} bytes; stream it or set a token limit")
            if finished is not None:
                return "".join(texts), finished

    def _account(self, finished: Finished) -> None:
        if finished.reason == "cancel":
            raise Busy(_CUT)
        model = self.offer.name.display
        metrics.TOKENS.labels(model, "prompt").inc(max(0, finished.prompt_tokens - finished.cached_tokens))
        metrics.TOKENS.labels(model, "cached").inc(finished.cached_tokens)
        metrics.TOKENS.labels(model, "output").inc(finished.output_tokens)


# ---------------------------------------------------------------- the path


@asynccontextmanager
async def opened(context: ApiContext, ask: Ask, request_id: str, started: int) -> AsyncIterator[Answer]:
    """Begin to generate; leaving the block early cancels. `started` is the request's time (monotonic ns).

    Raises every class of powerd.errors that a request can meet.
    """
    offer = find(context, ask)
    while True:
        options, notes = merged(ask, offer)
        prompt = await rendered(context, ask, offer, notes)
        await _checked(context, offer)
        if (now := find(context, ask)).deployment.key == offer.deployment.key:
            break
        offer = now  # declared anew meanwhile: the old process must not be started again for this request
    want = _want(ask, offer, options, request_id)
    frame = _frame(ask, offer, options, prompt, want)
    async with await _lease(context, offer, want) as lease:
        notes |= _lease_notes(options, lease)
        frame.context = min(options.num_ctx or 0, lease.context)
        if 0 < frame.context < lease.context:
            frame.context_source = "`num_ctx` of the request"
        yield Answer(offer, lease.load_ns, notes, lease.submit(frame), started)


async def load(context: ApiContext, ask: Ask, request_id: str) -> tuple[Offer, dict[str, str]]:
    """Have the model in memory and its idle clock set by this request."""
    await _checked(context, find(context, ask))
    offer = find(context, ask)
    options, notes = merged(ask, offer)
    async with await _lease(context, offer, _want(ask, offer, options, request_id)) as lease:
        notes |= _lease_notes(options, lease)
    return offer, notes


async def unload(context: ApiContext, ask: Ask) -> dict[str, str]:
    """Unload the model if it is loaded and its declaration lets a client do that; the notes say when it does not."""
    offer = find(context, ask)
    done: Unload = await context.fleet.unload(offer.deployment.key, Reason.IDLE)
    return {} if done else dict(_STAYS)


def find(context: ApiContext, ask: Ask) -> Offer:
    """The offer, with every capability the request needs. Raises BadRequest, NotFound, Busy or Unsupported."""
    if context.stopping():
        raise Busy("powerd is stopping; try again when it is back", 5.0)
    offer = context.library.find(ask.model)
    if "completion" not in offer.capabilities:
        raise Unsupported(f'"{ask.model}" does not support {ask.verb}', "model")
    for need in ask.needs:
        if need not in offer.capabilities:
            raise Unsupported(_lacking(ask.model, offer, need), _FIELDS.get(need))
    return offer


_FIELDS = {"tools": "tools", "thinking": "think", "vision": "images", "insert": "suffix"}


def _lacking(model: str, offer: Offer, need: str) -> str:
    if need == "thinking":
        return f'"{model}" does not support thinking'
    if need == "vision":
        return f'"{model}" does not support images (vision)'
    return f"{offer.name.full} does not support {need}"


def merged(ask: Ask, offer: Offer) -> tuple[Options, dict[str, str]]:
    """The model's parameters under the request's options, and what of these had no effect.

    Raises BadRequest, also for runner options that the model's declaration refuses.
    """
    options = merge(offer.parameters, ask.options)
    if offer.request_options == "reject":
        _reject(ask, offer, options)
    notes = {"X-Powerd-Class": _class(ask, offer)} if ask.scheduling_class else {}
    if options.unused:
        notes["X-Powerd-Ignored"] = ", ".join(options.unused)
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


def _want(ask: Ask, offer: Offer, options: Options, request_id: str) -> Want:
    return Want(
        offer.deployment,
        offer.name.display,
        keep_alive=ask.keep_alive,
        default_keep_alive=offer.keep_alive,
        num_ctx=options.num_ctx,
        priority=offer.priority,
        request_id=request_id,
        scheduling_class=_class(ask, offer),
        request_options=offer.request_options,
    )


async def _checked(context: ApiContext, offer: Offer) -> None:
    """Check the weights that would have to be loaded (reliability S06). Raises Conflict naming a corrupt blob."""
    if all(view.key != offer.deployment.key for view in context.fleet.views()):
        await asyncio.to_thread(context.store.check_blob, offer.stored.weights_digest)


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


# ---------------------------------------------------------------- the prompt


def conversation(ask: Ask, offer: Offer) -> tuple[Message, ...]:
    """The messages a template sees: the system text, the model's own messages, the request's (contract 1.3).

    The model's system text stands in unless the request's first message is one.
    """
    own_system = bool(ask.messages) and ask.messages[0].role == "system"
    system = ask.system or ("" if own_system else offer.system)
    head = (Message("system", system),) if system else ()
    stored = tuple(Message(role, content) for role, content in offer.messages) if ask.with_stored else ()
    return head + stored + ask.messages


async def rendered(context: ApiContext, ask: Ask, offer: Offer, notes: dict[str, str]) -> str:
    """The prompt's text. An assistant's last message is left open for the model to continue (contract 1.3).

    Raises BadRequest with the template's own words, Timeout when it takes too long.
    """
    if ask.raw is not None:
        return ask.raw
    messages = conversation(ask, offer)
    last = messages[-1] if messages else Message("user")
    open_end = last.role == "assistant" and bool(last.content)
    if last.role == "assistant" and not last.content:
        messages = messages[:-1]
    header = offer.stored.header
    chosen = template(ask, offer)
    if ask.suffix and not chosen.inserts:
        raise Unsupported("the template of the request has no .Suffix", "template")
    if chosen.origin == "named":
        notes["X-Powerd-Template"] = f"{chosen.name} (recognised; the model brings no template)"
    text = await context.renderers.render(
        chosen.text,
        messages,
        bos=header.bos_text,
        eos=header.eos_text,
        add_generation_prompt=not open_end,
        tools=(),
        variables={} if ask.think is None else {"enable_thinking": ask.think},
        syntax=chosen.syntax,
        suffix=ask.suffix,
        on_note=None if chosen.origin == "owner" else partial(notes.__setitem__, "X-Powerd-Template"),
    )
    return _left_open(text, last.content) if open_end else text


def template(ask: Ask, offer: Offer) -> Chosen:
    """The request's own template, else the model's."""
    return Chosen(ask.template.text, ask.template.syntax, "owner") if ask.template is not None else offer.chosen


def _left_open(text: str, content: str) -> str:
    """`text` up to the end of its last message's content."""
    for part in (content, content.strip()):
        at = text.rfind(part)
        if part and at >= 0:
            return text[: at + len(part)]
    raise BadRequest(
        "the model's template does not show the last assistant message, so it cannot be continued", "messages"
    )


def _frame(ask: Ask, offer: Offer, options: Options, prompt: str, want: Want) -> Generate:
    bos = offer.stored.header.bos_text
    has_bos = bool(bos) and prompt.startswith(bos)
    if ask.prefix and has_bos:
        prompt = prompt.removeprefix(bos)
    sampling = options.sampling
    if ask.logit_bias:
        sampling = msgspec.structs.replace(sampling, logit_bias=dict(ask.logit_bias))
    return Generate(
        id=0,
        prompt=prompt,
        prefix=packed(ask.prefix, offer.deployment.shape.vocab),
        add_bos=not has_bos and not ask.prefix,
        sampling=sampling,
        stop=options.stop,
        num_predict=options.num_predict or -1,
        context_source=offer.context_source,
        want_tokens=ask.want_tokens,
        scheduling_class=want.scheduling_class,
        request_id=want.request_id,
    )


# ---------------------------------------------------------------- failures


def failure(frame: Failed) -> PowerError:
    """A runner's Failed frame as the error it stands for."""
    if frame.code == errors.ContextOverflow.code:
        return errors.ContextOverflow(frame.needed, frame.limit, frame.limit_source)
    if frame.code == errors.Cancelled.code:
        return Busy(_CUT)
    kind = _PLAIN.get(frame.code)
    return kind(frame.message) if kind else RunnerDied(frame.message or frame.code)


_PLAIN: Mapping[str, type[PowerError]] = MappingProxyType(
    {
        kind.code: kind
        for kind in (
            errors.BadRequest,
            errors.Unsupported,
            errors.TooLarge,
            errors.Busy,
            errors.LoadFailed,
            errors.Timeout,
        )
    }
)
