"""Later: memory that a runner needs only once some request asks for it, promised before that request is served (pure).

Vectors of a generative model are made in a second context; answers are held to a grammar with a table of the whole
vocabulary; that and probabilities are computed with a library of arrays. Each is made once, stays, and goes with the
runner.

Idle models of no higher priority leave for it, as they would for a load; but for vectors, no model that chats unless
its priority is lower: then a second context has no more right than an embedding model. Nobody is waited for: where idle
models do not do, the request is refused with the numbers, and the model goes on serving others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from powerd.errors import DoesNotFit
from powerd.fleet.board import Board
from powerd.fleet.budget import Estimate, arrays, masks, second
from powerd.fleet.entries import Runner, Waiter
from powerd.fleet.ledger import together
from powerd.fleet.residency import Demand, Room, idlers, parting
from powerd.fleet.terms import Reason, Want
from powerd.protocol import Deployment, ReadBack
from powerd.quantities import show_bytes

#: Seconds after which a request refused for memory may be worth another try.
_RETRY_AFTER = 30.0


@dataclass(frozen=True, slots=True)
class _Kind:
    need: Callable[[Deployment, ReadBack | None], Estimate]
    does: str
    instead: str
    purpose: str
    spares: bool = False  # models that chat, whose priority is not lower


_KINDS: Mapping[str, _Kind] = MappingProxyType(
    {
        "vectors": _Kind(
            second, "makes embeddings in a second context", "use an embedding model", "embeddings", spares=True
        ),
        "arrays": _Kind(
            arrays, "computes probabilities and masks with a library", "ask for text alone", "probabilities and masks"
        ),
        "masks": _Kind(masks, "holds answers to a schema with a table", "ask for text", "answers held to a schema"),
    }
)


@dataclass(frozen=True, slots=True)
class Extra:
    """What a runner is to hold besides, and who asks for it first."""

    runner: Runner
    name: str
    demand: Demand
    quiet: bool  # a canary asks, for which nobody leaves


def extras(board: Board) -> list[Extra]:
    """Everything that requests need of runners where they could be served now, and that is not promised yet."""
    found: dict[tuple[int, str], Extra] = {}
    for entry in {board.waiting[ticket].key: board.waiting[ticket] for ticket in board.waiting}.values():
        for runner in entry.runners:
            if not runner.serving or len(runner.leases) >= runner.deployment.parallel:
                continue
            for waiter in runner.queue():
                for name in missing(runner, waiter):
                    if (runner.id, name) not in found:
                        found[runner.id, name] = _extra(runner, name, waiter)
    return list(found.values())


def _extra(runner: Runner, name: str, waiter: Waiter) -> Extra:
    need = _KINDS[name].need(runner.deployment, runner.readback)
    demand = Demand(runner.entry, runner.deployment, need, waiter.turn, extra=True)
    return Extra(runner, name, demand, waiter.want.quiet)


def missing(runner: Runner, waiter: Waiter) -> Iterator[str]:
    """What has to be promised before this request is served on this runner."""
    return (name for name in _asked(runner, waiter.want) if name not in runner.later and not waiter.load_only)


def unmet(runner: Runner, waiter: Waiter) -> str:
    """What the memory is for that this request waits for on this runner, in words; "" when it waits for none."""
    return " and ".join(_KINDS[name].purpose for name in missing(runner, waiter))


def _asked(runner: Runner, want: Want) -> Iterator[str]:
    if want.embeds and not runner.entry.embeds:
        yield "vectors"
    if want.masked:
        yield "masks"
    if want.masked or want.likely:
        yield "arrays"


def meet(board: Board, room: Room, extra: Extra, now: float) -> None:
    """Promise it, have idle models leave for it, or refuse those who ask for it."""
    runner, demand = extra.runner, extra.demand
    asking = [waiter for waiter in runner.queue() if extra.name in missing(runner, waiter)]
    if not asking:
        return  # refused for want of something else
    if board.ledger.fits(demand.sizes) and not room.lacks(demand):
        _promise(board, extra, now)
        return
    others = [] if extra.quiet else _others(board, extra, now)
    victims = room.victims(demand, others)
    if victims is None:
        refusal = _refusal(room, extra)
        for waiter in asking:
            board.refuse(waiter, refusal)
        return
    for victim in victims:
        board.stop(victim, Reason.EVICTED, parting(victim, runner.entry.model, now), now)
    room.claim(demand)


def _others(board: Board, extra: Extra, now: float) -> list[Runner]:
    """Who may leave for it, the first to go first."""
    own, spares = extra.runner.entry, _KINDS[extra.name].spares
    return [
        other
        for other in idlers(extra.demand, board.runners.values(), now, board.config.min_residency)
        if other.entry.priority < own.priority
        or (other.entry.priority == own.priority and not (spares and not other.entry.embeds))
    ]


def _promise(board: Board, extra: Extra, now: float) -> None:
    runner, need, ledger = extra.runner, extra.demand.need, board.ledger
    ledger.resize(runner.id, together(ledger.held(runner.id), need.by_device))
    runner.later = {**runner.later, extra.name: need}  # a new one: foretelling works on copies that share the old
    runner.entry.story.tell(now, f"{show_bytes(need.total)} more are promised for {_KINDS[extra.name].purpose}")


def _refusal(room: Room, extra: Extra) -> DoesNotFit:
    kind = _KINDS[extra.name]
    sizes = [
        f"{show_bytes(size)} on {device}, where {show_bytes(max(0, room.unclaimed(device)))} are free"
        for device, size in extra.demand.sizes.items()
        if size
    ]
    return DoesNotFit(
        f"model '{extra.runner.entry.model}' {kind.does}, for which there is no room: it needs {' and '.join(sizes)}; "
        f"unload another model, or {kind.instead}",
        _RETRY_AFTER,
    )
