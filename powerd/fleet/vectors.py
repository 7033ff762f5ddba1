"""Vectors of generative models: the memory of the second context they are made in (pure).

It is promised when the first request for vectors gets its place, and goes with the runner.
"""

from __future__ import annotations

from powerd.errors import DoesNotFit
from powerd.fleet.board import Board
from powerd.fleet.budget import second
from powerd.fleet.entries import Runner
from powerd.fleet.ledger import together
from powerd.fleet.terms import Want
from powerd.quantities import show_bytes

#: Seconds after which a request refused for memory may be worth another try.
_RETRY_AFTER = 30.0


def promise(board: Board, runner: Runner, want: Want) -> DoesNotFit | None:
    """Promise what this request needs besides the runner's own, once; the refusal where that is not free."""
    if not want.embeds or runner.entry.embeds or runner.second is not None:
        return None
    ledger, need = board.ledger, second(runner.deployment, runner.readback)
    if not ledger.fits(need.by_device):
        sizes = [
            f"{show_bytes(size)} on {device}, where {show_bytes(max(0, ledger.free(device)))} are free"
            for device, size in need.by_device.items()
            if size
        ]
        return DoesNotFit(
            f"model '{runner.entry.model}' makes embeddings in a second context, for which there is no room: it needs "
            f"{' and '.join(sizes)}; unload another model, or use an embedding model",
            _RETRY_AFTER,
        )
    ledger.resize(runner.id, together(ledger.held(runner.id), need.by_device))
    runner.second = need
    runner.entry.story.tell(runner.used, f"{show_bytes(need.total)} more are promised for embeddings")
    return None
