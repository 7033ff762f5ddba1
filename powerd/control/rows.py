"""Rows: what status and ps print, made from what the reconciler and the fleet know. Pure."""

from __future__ import annotations

from powerd.catalog.show import spec_to_dict
from powerd.control.schema import Condition, Event, LoadFailure, ModelStatus, Override, RunnerRow, Transfer
from powerd.fleet.budget import HOST
from powerd.fleet.ledger import measured
from powerd.fleet.terms import Hand, RunnerView
from powerd.fleet.terms import LoadFailure as LoadFailed
from powerd.reconcile.conditions import Condition as Judged
from powerd.reconcile.entry import Entry
from powerd.reconcile.health.bulletin import Event as Happened


def condition(judged: Judged) -> Condition:
    """A condition as it travels."""
    return Condition(judged.type, judged.status, judged.reason, judged.message, judged.since, judged.generation)


def event(happened: Happened) -> Event:
    """An event as it travels."""
    return Event(happened.time, happened.kind, happened.model, happened.reason, happened.message, happened.number)


def failure(failed: LoadFailed, now: float, clock: float) -> LoadFailure:
    """A failed load as it travels. `now` is monotonic, `clock` the wall clock at the same moment."""
    at, again = clock + failed.at - now, clock + failed.next_try - now
    return LoadFailure(failed.model, failed.reason, at, failed.tries, again, failed.memory)


def override(hand: Hand, now: float, clock: float) -> Override:
    """Somebody's hand as it travels. `now` is monotonic, `clock` the wall clock at the same moment."""
    until = None if hand.until is None else clock + hand.until - now
    return Override(hand.model, hand.kind, hand.owner, hand.message, until)


def model(entry: Entry, runner: RunnerView | None, now: float, clock: float) -> ModelStatus:
    """A declared model. `now` is monotonic, `clock` the wall clock at the same moment."""
    fetching = None
    if entry.progress is not None:
        seconds = max(now - entry.progress.started, 0.001)
        fetching = Transfer(entry.progress.completed, entry.progress.total, entry.progress.completed / seconds)
    return ModelStatus(
        name=entry.name,
        want=spec_to_dict(entry.want) if entry.want else {"state": "withdrawn"},
        have=_have(entry, runner, now, clock),
        conditions=[condition(judged) for judged in entry.conditions.values()],
        fetching=fetching,
        next_try=clock + entry.next_try - now if entry.next_try > now else 0.0,
    )


def _have(entry: Entry, runner: RunnerView | None, now: float, clock: float) -> dict[str, object]:
    if entry.offer is None:
        return {"state": "absent"}
    stored = entry.offer.stored
    have: dict[str, object] = {
        "state": "idle",
        "digest": stored.digest.hex,
        "size": stored.size,
        "context": entry.offer.deployment.context,
        "parallel": entry.offer.deployment.parallel,
    }
    if runner is not None:
        held = measured(runner.readback) if runner.readback else {HOST: runner.size}
        have |= {
            "state": "running" if runner.state == "ready" else runner.state,
            "pid": runner.pid,
            "context": runner.context,
            "parallel": runner.parallel,
            "requests": runner.requests,
            "queued": runner.queued,
            "memory": sum(held.values()),
            "memory_gpu": runner.size_vram,
            "devices": {device: {"layers": _layers(runner, device), "size": size} for device, size in held.items()},
            "progress": round(runner.progress, 3),
            "expires_at": None if runner.expires_at is None else clock + runner.expires_at - now,
            "estimate": runner.needs,
            "override": runner.override,
        }
    return have


def _layers(runner: RunnerView, device: str) -> int:
    share = runner.devices.get(device)
    return share.layers if share else 0


def runner_row(view: RunnerView, digest: str, now: float, clock: float) -> RunnerRow:
    """A runner; `digest` of its manifest. `now` is monotonic, `clock` the wall clock at the same moment."""
    return RunnerRow(
        model=view.model,
        names=list(view.names),
        pid=view.pid,
        state=view.state,
        context=view.context,
        parallel=view.parallel,
        size=view.size,
        size_vram=view.size_vram,
        expires_at=None if view.expires_at is None else clock + view.expires_at - now,
        requests=view.requests,
        queued=view.queued,
        digest=digest,
        device=view.readback.device if view.readback else "",
        progress=view.progress,
        override=view.override,
    )
