"""Later: memory that a runner needs only once some request asks for it, promised before that request is served (pure).

Vectors of a generative model are made in a second context; answers are held to a grammar with a table of the whole
vocabulary. Either is made once, stays, and goes with the runner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from powerd.errors import DoesNotFit
from powerd.fleet.board import Board
from powerd.fleet.budget import Estimate, masks, second
from powerd.fleet.entries import Runner
from powerd.fleet.ledger import together
from powerd.fleet.terms import Want
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


_KINDS: Mapping[str, _Kind] = MappingProxyType(
    {
        "vectors": _Kind(second, "makes embeddings in a second context", "use an embedding model", "embeddings"),
        "masks": _Kind(masks, "holds answers to a schema with a table", "ask for text", "answers held to a schema"),
    }
)


def promise(board: Board, runner: Runner, want: Want) -> DoesNotFit | None:
    """Promise what this request needs besides the runner's own, once; the refusal where that is not free."""
    for name in _asked(runner, want):
        if name not in runner.later:
            refusal = _promise(board, runner, name)
            if refusal is not None:
                return refusal
    return None


def _asked(runner: Runner, want: Want) -> Iterator[str]:
    if want.embeds and not runner.entry.embeds:
        yield "vectors"
    if want.masked:
        yield "masks"


def _promise(board: Board, runner: Runner, name: str) -> DoesNotFit | None:
    kind, ledger = _KINDS[name], board.ledger
    need = kind.need(runner.deployment, runner.readback)
    if not ledger.fits(need.by_device):
        sizes = [
            f"{show_bytes(size)} on {device}, where {show_bytes(max(0, ledger.free(device)))} are free"
            for device, size in need.by_device.items()
            if size
        ]
        return DoesNotFit(
            f"model '{runner.entry.model}' {kind.does}, for which there is no room: it needs {' and '.join(sizes)}; "
            f"unload another model, or {kind.instead}",
            _RETRY_AFTER,
        )
    ledger.resize(runner.id, together(ledger.held(runner.id), need.by_device))
    runner.later = {**runner.later, name: need}  # a new one: foretelling works on copies that share the old
    runner.entry.story.tell(runner.used, f"{show_bytes(need.total)} more are promised for {kind.purpose}")
    return None
