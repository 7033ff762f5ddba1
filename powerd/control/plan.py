"""The control routes that foretell and go back: plan, diff, history, rollback, update, lock."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

import msgspec
from litestar import get, post
from litestar.params import JSONBody

from powerd.catalog.show import redacted
from powerd.control.schema_plan import (
    DiffReply,
    Generation,
    HistoryModel,
    LockReply,
    PlanDevice,
    PlanReply,
    PlanRequest,
    PlanWaiting,
    RollbackReply,
    RollbackRequest,
    UpdateRequest,
    UpdateRow,
)
from powerd.documents import Reading, read
from powerd.errors import BadRequest, NotFound
from powerd.reconcile.generations import lock as locking
from powerd.reconcile.generations.generation import Generations, Judged
from powerd.reconcile.generations.records import blobs
from powerd.reconcile.generations.rollback import Past, past, roll_back
from powerd.reconcile.planning.diff import diff
from powerd.reconcile.planning.plan import Plan
from powerd.reconcile.planning.planning import Ground, plan
from powerd.reconcile.reconciler import Reconciler
from powerd.store.store import Store

MAX_WAIT = 86_400.0


def handlers(reconciler: Reconciler) -> list[Any]:
    """The routes."""
    return [*_foretelling(reconciler), *_going_back(reconciler), *_about_sources(reconciler)]


def _foretelling(reconciler: Reconciler) -> list[Any]:
    generations = reconciler.generations

    @get("/v1/plan")
    async def plan_file() -> PlanReply:
        return plan_reply(await _planned(reconciler, await _look(generations, PlanRequest())))

    @post("/v1/plan", status_code=200)
    async def plan_text(data: JSONBody[PlanRequest]) -> PlanReply:
        return plan_reply(await _planned(reconciler, await _look(generations, data)))

    @get("/v1/diff")
    async def diff_file() -> DiffReply:
        judged = await _look(generations, PlanRequest())
        rows = diff(judged.catalog, reconciler.entries, reconciler.judging.sight().runner)
        return diff_reply(judged, generations, [asdict(row) for row in rows])

    return [plan_file, plan_text, diff_file]


async def _look(generations: Generations, request: PlanRequest) -> Judged:
    """Judge the files as they are, or another text in the place of models.yaml."""
    reading = await asyncio.to_thread(read, generations.path)
    if request.text is not None:
        reading = Reading({**reading.documents, str(generations.path): request.text})
    return await generations.judge(reading, locked=request.locked)


async def _planned(reconciler: Reconciler, judged: Judged) -> Plan:
    tools, fleet = reconciler.tools, reconciler.tools.fleet
    ground = Ground(
        store=tools.store,
        reach=tools.reach,
        node=tools.node,
        directory=reconciler.generations.path.parent,
        foretell=fleet.foretell,
        needs=tools.needs,
        memory=fleet.memory(),
        runners=fleet.views(),
        probe=tools.probe,
    )
    return await plan(ground, reconciler.entries, reconciler.generations, judged)


def plan_reply(made: Plan) -> PlanReply:
    """A plan as it travels."""
    said = asdict(made)
    devices = [
        PlanDevice(device, budget, made.before.get(device, 0), made.after.get(device, 0))
        for device, budget in made.budget.items()
    ]
    said |= {"changes": made.changes, "devices": devices}
    said["waiting"] = [PlanWaiting(model, why) for model, why in made.waiting]
    return msgspec.convert(said, PlanReply, from_attributes=True)


def diff_reply(judged: Judged, generations: Generations, rows: list[dict[str, Any]]) -> DiffReply:
    """A diff as it travels."""
    said = {
        "changes": bool(judged.problems) or any(row["kind"] != "same" for row in rows),
        "generation": generations.number,
        "file": str(generations.path),
        "hold": judged.held,
        "problems": judged.problems,
        "rows": rows,
    }
    return msgspec.convert(said, DiffReply)


# ---------------------------------------------------------------- generations


def _going_back(reconciler: Reconciler) -> list[Any]:
    generations, store = reconciler.generations, reconciler.tools.store

    def told() -> list[Generation]:
        return [_generation(one, generations, store) for one in past(generations.history, str(generations.path))]

    @get("/v1/history")
    async def history() -> list[Generation]:
        return await asyncio.to_thread(told)

    @get("/v1/history/{number:int}")
    async def one_generation(number: int) -> Generation:
        kept = await asyncio.to_thread(told)
        found = next((one for one in kept if one.number == number), None)
        if found is None:
            numbers = ", ".join(str(one.number) for one in reversed(kept)) or "none"
            raise NotFound(f"no generation {number} is kept; kept are: {numbers}")
        return found

    @post("/v1/rollback", status_code=200)
    async def rollback(data: JSONBody[RollbackRequest]) -> RollbackReply:
        if not 0 <= data.timeout <= MAX_WAIT:
            raise BadRequest(f"timeout must be between 0 and {MAX_WAIT:.0f} seconds, not {data.timeout}", "timeout")
        goal = await roll_back(generations, store, data.to or None)
        settled = await reconciler.waiting.settle(data.timeout) if data.wait else False
        hold = generations.hold
        failing = reconciler.judging.failing() if data.wait else []
        return RollbackReply(generations.number, goal.number, hold.message if hold else "", settled, failing)

    return [history, one_generation, rollback]


def _generation(one: Past, generations: Generations, store: Store) -> Generation:
    models = []
    for name, resolved in one.resolved.items():
        try:
            present = all(store.blob(digest) is not None for digest in blobs(resolved))
        except ValueError:
            present = False
        models.append(
            HistoryModel(
                name=name,
                source=redacted(resolved.source),
                digest=resolved.origin,
                weights=resolved.weights,
                manifest=resolved.manifest,
                quantization=resolved.quantization,
                revision=resolved.revision,
                present=present,
            )
        )
    record = one.record
    return Generation(
        number=record.number,
        accepted_at=record.accepted_at,
        reason=record.reason,
        declared=one.declared,
        models=models,
        changed=list(one.changed),
        accepted=record.number == generations.number,
        held=record.number == generations.number and generations.hold is not None,
        problem=one.problem,
    )


# ---------------------------------------------------------------- sources


def _about_sources(reconciler: Reconciler) -> list[Any]:
    generations, updates = reconciler.generations, reconciler.updates

    @post("/v1/update", status_code=200)
    async def update(data: JSONBody[UpdateRequest]) -> list[UpdateRow]:
        if not data.check and not data.models:
            raise BadRequest("name the models to update; `update --check` asks about all of them", "models")
        news = await (updates.check(data.models) if data.check else updates.update(data.models))
        return [msgspec.convert(asdict(one), UpdateRow) for one in news]

    @get("/v1/lock")
    async def lock() -> LockReply:
        made = locking.make(generations.catalog, generations.resolved, generations.path.parent)
        models = [name for name, spec in generations.catalog.models.items() if spec.state != "absent"]
        return LockReply(
            path=str(locking.lock_path(generations.path)),
            text=locking.show(made),
            locked=[name for name in models if name in made.models],
            unresolved=[name for name in models if name not in made.models],
        )

    return [update, lock]
