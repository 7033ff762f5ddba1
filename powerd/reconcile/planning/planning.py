"""Planning: gathers what a plan is made of. It reads the store, the fleet and the sources' own words, and changes none.

Works on the daemon's own entries, or on entries made of the last generation where no daemon runs.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from powerd.catalog.spec import ModelSpec
from powerd.digest import Digest
from powerd.errors import PowerError
from powerd.fleet.budget import HOST, Estimate
from powerd.fleet.ledger import measured
from powerd.fleet.terms import Forecast, RunnerView, Wish
from powerd.protocol import Deployment, Shape
from powerd.reconcile import act
from powerd.reconcile.decide import NodeDefaults, expected
from powerd.reconcile.entry import Entry
from powerd.reconcile.generations.generation import Generations, Judged
from powerd.reconcile.generations.pin import Pins, Refused
from powerd.reconcile.making import adapters, modelfiles
from powerd.reconcile.making.compose import declared_offer
from powerd.reconcile.making.lora import without
from powerd.reconcile.planning.departures import Departures
from powerd.reconcile.planning.lora_ahead import Ahead, ahead, along, known, written
from powerd.reconcile.planning.plan import (
    Deletion,
    Fetching,
    FilePiece,
    Foreseen,
    ModelPlan,
    Plan,
    action,
    change_class,
    drained,
    field_changes,
    foresee,
    step_names,
    totals,
)
from powerd.reconcile.reach import Reach, installed
from powerd.reconcile.step import Fetched, Have, answers
from powerd.reconcile.wishes import wishes
from powerd.sources.dryrun import DryRun, Piece, dry_run
from powerd.sources.fetch import path_of
from powerd.sources.source import parse
from powerd.store.gguf import GgufError, read_header
from powerd.store.manifest import StoredModel
from powerd.store.store import Store

#: Seconds a source is given to say what it has.
PATIENCE = 20.0
#: What stands for weights whose digest is not known before they are fetched.
UNKNOWN = Digest("0" * 64)


@dataclass(frozen=True, slots=True)
class Ground:
    """What a plan stands on: where things are, and whom it asks."""

    store: Store
    reach: Reach
    node: NodeDefaults
    directory: Path
    foretell: Callable[[Mapping[str, Wish]], Forecast]
    needs: Callable[[Deployment], Estimate]
    memory: list[tuple[str, int, int]]
    runners: list[RunnerView]
    probe: Callable[[Deployment], Awaitable[object]] | None = None


@dataclass(frozen=True, slots=True)
class _Case:
    """One model of the plan, with everything found out about it."""

    name: str
    old: ModelSpec | None
    new: ModelSpec | None
    have: Have
    foreseen: Foreseen
    before: Deployment | None
    after: Deployment | None
    fetch: Fetching | None
    fits: bool
    warnings: tuple[str, ...]
    refused: bool = False


async def plan(ground: Ground, entries: Mapping[str, Entry], generations: Generations, judged: Judged) -> Plan:
    """What taking over the file that was judged will do. Raises StoreFailed."""
    said = Plan(generations.number, generations.number, str(generations.path), hold=judged.held)
    if judged.problems:
        return replace(said, problems=tuple(judged.problems))
    following = await asyncio.to_thread(generations.history.next_number) if judged.new else generations.number
    names = dict.fromkeys((*judged.catalog.models, *entries))
    given = known(entries)
    cases = await asyncio.gather(*(_case(ground, entries.get(name), name, judged, given) for name in names))
    cases = _with_adapters(cases)
    forecast = ground.foretell(_wishes(cases))
    departures = await asyncio.to_thread(Departures.of, ground.store, generations, judged, following)
    before, after = totals(forecast)
    return replace(
        said,
        following=following,
        models=tuple(_model(ground, case, forecast, departures) for case in cases),
        moves=forecast.moves,
        budget={device: budget for device, budget, _ in ground.memory},
        before=before,
        after=after,
        waiting=forecast.waiting,
        deletes=departures.forgotten(),
        warnings=tuple(str(problem) for problem in judged.catalog.warnings),
    )


def _with_adapters(cases: list[_Case]) -> list[_Case]:
    """The cases, each on a runner that loads the adapters of all that have its weights."""
    known = [case for case in cases if case.after is not None]
    after = dict(zip(map(id, known), adapters.shared([case.after for case in known if case.after]), strict=True))
    return [replace(case, after=after.get(id(case))) for case in cases]


def _wishes(cases: list[_Case]) -> dict[str, Wish]:
    return wishes(
        (case.name, case.new, deployment, case.fits)
        for case in cases
        if case.new is not None and case.new.state != "absent" and not case.refused
        if (deployment := case.after or case.before) is not None
    )


# ---------------------------------------------------------------- one model


async def _case(ground: Ground, entry: Entry | None, name: str, judged: Judged, given: Mapping[str, Digest]) -> _Case:
    old = entry.want if entry is not None and entry.withdraw_at is None else None
    new = judged.catalog.models.get(name)
    shadow = _shadow(entry, name, new, judged.pins.get(name, Pins()))
    before = entry.offer.deployment if entry is not None and entry.offer is not None else None
    nothing = Foreseen((), Have())
    try:
        if new is not None and new.state != "absent":
            act.refuse_not_yet(new, [device for device, _, _ in ground.memory])
        have = await act.have(ground.store, shadow, ground.directory)
    except (PowerError, Refused) as error:
        why = error.trouble.message if isinstance(error, Refused) else error.message
        return _Case(name, old, new, Have(), nothing, before, None, None, True, (why,), refused=True)
    foreseen = foresee(new, have, _brought(new, have, None))
    fetch, shape, coming = None, None, Ahead()
    if foreseen.fetches and new is not None:
        run, fetch = await _ask(ground, new)
        shape = run.shape if run is not None else None
        foreseen = foresee(new, have, _brought(new, have, run))
        wanted = await asyncio.to_thread(written, new, ground.directory, ground.store)
        coming = await ahead(wanted, ground.reach, ground.directory, given, PATIENCE) if wanted else along(run)
        fetch = coming.beside(fetch)
    after = await asyncio.to_thread(_after, ground, new, foreseen, shape, coming)
    if after is not None:
        await _learn(ground, after)
    warnings = list(new.not_yet) if new is not None else []
    trouble = act.fits(ground.needs(after), ground.memory) if after is not None else None
    warnings += [trouble.message] if trouble is not None else []
    warnings += [f"its source {entry.moved}"] if entry is not None and entry.moved and new == old else []
    warnings += [f"its memory is not known: {fetch.problem}"] if fetch is not None and fetch.problem else []
    warnings += coming.warnings
    return _Case(name, old, new, have, foreseen, before, after, fetch, trouble is None, tuple(warnings))


def _shadow(entry: Entry | None, name: str, new: ModelSpec | None, pins: Pins) -> Entry:
    """The entry as it would be with the new spec; the real one stays as it is."""
    if entry is not None:
        meant = (entry.last.source, entry.last.digest, entry.last.quantization, entry.pins)
        same = new is None or meant == (new.source, new.digest, new.quantization, pins)
        return replace(entry, want=new, last=new or entry.last, pins=pins, fetched=entry.fetched if same else None)
    assert new is not None
    return Entry(name, new, new, 0, pins=pins)


def _brought(spec: ModelSpec | None, have: Have, run: DryRun | None) -> Fetched:
    """What a fetch of the source would come to, as far as is known."""
    digest = UNKNOWN
    if spec is not None and have.recorded is not None and _still_gives(spec, have, have.recorded):
        digest = have.recorded.weights
    elif have.lock:
        digest = Digest.parse(have.lock)
    elif run is not None:
        weights = [piece.digest for piece in run.pieces if piece.role in {"weights", "model"}]
        digest = weights[0] if len(weights) == 1 and weights[0] is not None else UNKNOWN
    if spec is None:
        return Fetched("", "", digest, digest)
    return Fetched(
        source=spec.source,
        identity=have.identity,
        weights=digest,
        origin=digest,
        quantization=spec.quantization or "",
        pinned=str(spec.digest or ""),
    )


def _still_gives(spec: ModelSpec, have: Have, recorded: Fetched) -> bool:
    """Whether a fetch for the adapters' sake would bring the weights that were recorded."""
    return answers(spec, recorded, have.lock) and without(recorded.identity) == without(have.identity)


async def _ask(ground: Ground, spec: ModelSpec) -> tuple[DryRun | None, Fetching]:
    """What the source says it has, or why it does not say."""
    reach, text, directory = ground.reach, spec.source, ground.directory
    try:
        source = parse(text, directory)
        if source.kind == "modelfile":
            recipe = await asyncio.to_thread(modelfiles.read, source, ground.store)
            if recipe.installed is not None:
                return _of_installed(recipe.installed)
            text, directory = recipe.base.text, (source.path or directory).parent
        elif (here := await asyncio.to_thread(installed, source, ground.store, spec.quantization)) is not None:
            return _of_installed(here)
        async with asyncio.timeout(PATIENCE):
            run = await dry_run(
                text,
                reach.store,
                reach.outbound,
                reach.hub,
                directory=directory,
                quantization=spec.quantization or "",
                declared=True,
            )
    except PowerError as error:
        return None, Fetching(problem=error.message)
    except TimeoutError:
        return None, Fetching(problem=f"the source did not answer within {PATIENCE:g} s")
    pieces = tuple(
        FilePiece(piece.role, piece.name, piece.size, str(piece.digest or ""), piece.present) for piece in run.pieces
    )
    return run, Fetching(run.place, run.total - run.present, run.total, pieces)


async def _learn(ground: Ground, deployment: Deployment) -> None:
    """Have what is only estimated of weights that are here measured, where that can be done."""
    if ground.probe is None or not deployment.weights or ground.needs(deployment).source != "header":
        return
    with contextlib.suppress(PowerError, TimeoutError):
        async with asyncio.timeout(PATIENCE):
            await ground.probe(deployment)


def _of_installed(stored: StoredModel) -> tuple[DryRun, Fetching]:
    """A name that is installed here."""
    pieces = tuple(
        Piece(layer.media_type.rpartition(".")[2], layer.digest.short, layer.size, layer.digest, present=True)
        for layer in stored.layers
    )
    place = f"the installed model {stored.name.display}"
    run = DryRun(stored.name.display, place, (), pieces, stored.header.shape(), stored.header.file_type)
    files = tuple(FilePiece(one.role, one.name, one.size, str(one.digest or ""), present=True) for one in pieces)
    return run, Fetching(place, 0, run.total, files)


def _after(
    ground: Ground, spec: ModelSpec | None, foreseen: Foreseen, shape: Shape | None, coming: Ahead
) -> Deployment | None:
    """The process that will serve the model; None where that is not known, or there will be none. Blocking."""
    weights = foreseen.weights
    if spec is None or weights is None:
        return None
    path = _local(ground, spec) if foreseen.fetches else ground.store.blob(weights)
    if not foreseen.fetches:
        stored = ground.store.find(spec.name)
        if stored is not None and stored.weights_digest == weights:
            return declared_offer(spec, stored, ground.node).deployment
        try:
            shape = read_header(path).shape() if path is not None else None
        except (OSError, GgufError):
            return None
    if shape is None:
        return None
    digest = weights.hex if weights != UNKNOWN else Digest.of(spec.source.encode()).hex
    composed = foreseen.end.composed
    files = coming.files if foreseen.fetches or composed is None else adapters.to_come(composed.fetched.inherited)
    made = adapters.loading(expected(spec, shape, digest, ground.node), files)
    return msgspec.structs.replace(made, weights=str(path)) if path is not None else made


def _local(ground: Ground, spec: ModelSpec) -> Path | None:
    """The file that a source names on this machine."""
    source = parse(spec.source, ground.directory)
    return path_of(source) if source.kind in {"file", "builtin"} else None


def _model(ground: Ground, case: _Case, forecast: Forecast, departures: Departures) -> ModelPlan:
    fields = field_changes(case.old, case.new)
    same = case.before is not None and case.after is not None and case.before.key == case.after.key
    done = "refuse" if case.refused else action(case.old, case.new, case.have, case.foreseen, case.fetch)
    old_key = case.before.key if case.before is not None else None
    moved = [move for move in forecast.moves if old_key is not None and move.key == old_key and move.kind == "unload"]
    need = ground.needs(case.after) if case.after is not None else None
    change = change_class(fields, case.foreseen, moves=bool(moved), same=same)
    return ModelPlan(
        name=case.name,
        action=done,
        change=change if done in {"update", "repair"} else "",
        steps=step_names(case.foreseen),
        fields=fields,
        fetch=case.fetch,
        memory=dict(need.by_device) if need is not None else {},
        memory_before=_held(ground, old_key),
        measured=need.source if need is not None else "",
        drains=drained(moved, old_key),
        deletes=_deletes(case, departures),
        warnings=case.warnings,
    )


def _held(ground: Ground, key: str | None) -> dict[str, int]:
    """Bytes by device that a model's runner holds at this moment."""
    for view in ground.runners:
        if view.key == key and view.state in {"ready", "loading"}:
            return measured(view.readback) if view.readback is not None else {HOST: view.size}
    return {}


def _deletes(case: _Case, departures: Departures) -> tuple[Deletion, ...]:
    gone = case.new is None or case.new.state == "absent"
    if gone and case.have.composed is not None:
        when = "2 s after the file is accepted" if case.new is None else "when the file is accepted"
        manifest = Deletion("manifest", 0, when, case.name)
        return (manifest, *departures.blobs(case.name, case.have.composed.fetched))
    changed = case.have.composed is not None and case.foreseen.weights not in {None, case.have.composed.fetched.weights}
    return departures.blobs(case.name, case.have.composed.fetched) if changed and case.have.composed else ()
