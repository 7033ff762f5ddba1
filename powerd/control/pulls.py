"""The control route that foretells a pull."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from litestar import post
from litestar.params import JSONBody

from powerd.control.schema_store import DryRunPiece, DryRunReply, DryRunRequest
from powerd.fleet.budget import estimate
from powerd.fleet.fleet import Fleet
from powerd.reconcile.decide import NodeDefaults, foretold
from powerd.reconcile.pulls import Pulls
from powerd.sources.dryrun import DryRun


def handlers(pulls: Pulls, fleet: Fleet, node: NodeDefaults) -> list[Any]:
    """The route."""

    @post("/v1/dry-run", status_code=200)
    async def dry_run(data: JSONBody[DryRunRequest]) -> DryRunReply:
        found = await pulls.foretell(data.model, insecure=data.insecure, trusted=True, directory=Path("/"))
        budget = sum(size for _, size, _ in fleet.memory())
        return reply(found, node, budget)

    return [dry_run]


def reply(found: DryRun, node: NodeDefaults, budget: int) -> DryRunReply:
    """A dry run as it travels, with whether the model would fit into `budget` bytes."""
    memory = estimate(foretold(found.shape, node)).total if found.shape is not None else 0
    return DryRunReply(
        model=found.text,
        place=found.place,
        failed=list(found.failed),
        files=[
            DryRunPiece(piece.role, piece.name, piece.size, str(piece.digest or ""), piece.present)
            for piece in found.pieces
        ],
        total=found.total,
        missing=found.total - found.present,
        quantization=found.quantization,
        memory=memory,
        budget=budget,
        fits=memory <= budget if memory else None,
        unread=found.unread,
    )
