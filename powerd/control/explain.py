"""The control routes that tell why: events, why and explain."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import msgspec
from litestar import post
from litestar.params import JSONBody
from litestar.response import Stream

from powerd.control import rows
from powerd.control.schema_tell import EventsRequest, Explained, ExplainRequest, Explanation, WhyReply, WhyRequest
from powerd.errors import NotFound, PowerError
from powerd.fleet.fleet import Fleet
from powerd.reconcile.bulletin import Bulletin
from powerd.reconcile.conditions import as_declared
from powerd.reconcile.entry import Entry
from powerd.reconcile.explain import Subject, explain
from powerd.reconcile.library import Library
from powerd.reconcile.offer import Offer
from powerd.reconcile.reconciler import Reconciler


def handlers(
    reconciler: Reconciler, library: Library, fleet: Fleet, settings: Mapping[str, str], keep_alive: float
) -> list[Any]:
    """The routes. `settings`: where the daemon's options come from; `keep_alive`: its own default, in seconds."""

    @post("/v1/events", status_code=200)
    async def events(data: JSONBody[EventsRequest]) -> Stream:
        return Stream(_lines(reconciler.bulletin, data), media_type="application/x-ndjson")

    @post("/v1/explain", status_code=200)
    async def explain_model(data: JSONBody[ExplainRequest]) -> Explanation:
        offer = library.find(data.model)
        entry = _entry(reconciler, library, data.model)
        view = next((view for view in fleet.views() if view.key == offer.deployment.key and view.readback), None)
        values = explain(
            Subject(
                offer=offer,
                spec=entry.last if entry else None,
                catalog=reconciler.generations.catalog,
                settings=settings,
                keep_alive=keep_alive,
                have=view.readback if view else None,
            )
        )
        return Explanation(
            model=offer.name.display,
            kind=offer.origin,
            generation=reconciler.generations.number,
            loaded=view is not None,
            values=[Explained(value.field, value.value, value.origin, value.have) for value in values],
            choices=list(offer.choices),
        )

    @post("/v1/why", status_code=200)
    async def why(data: JSONBody[WhyRequest]) -> WhyReply:
        lines = fleet.why_request(data.subject)
        if lines:
            return WhyReply(data.subject, "request", lines[0], lines[1:])
        reconciler.judging.refresh()
        entry = _entry(reconciler, library, data.subject)
        try:
            offer = library.find(data.subject)
        except NotFound:
            raise NotFound(f"no model, and no request that waits or runs, is called '{data.subject}'") from None
        except PowerError as error:
            if entry is None:
                raise
            return WhyReply(data.subject, "model", error.message, _behind(entry))
        story = [line.strip() for line in reversed(fleet.story(offer.deployment.key))]
        behind = _behind(entry) if entry else []
        return WhyReply(data.subject, "model", _answer(fleet, entry, offer), [*behind, *story])

    return [events, explain_model, why]


def _entry(reconciler: Reconciler, library: Library, name: str) -> Entry | None:
    """The declared model that a name or alias means."""
    declared = library.declared_name(name)
    return reconciler.entries.get(declared) if declared is not None else None


def _answer(fleet: Fleet, entry: Entry | None, offer: Offer) -> str:
    """One sentence: where the model is, and for what reason."""
    key = offer.deployment.key
    views = sorted((view for view in fleet.views() if view.key == key), key=lambda view: view.state != "ready")
    if views:
        view = views[0]
        match view.state:
            case "ready":
                use = f"{view.requests} requests run, {view.queued} wait"
                return f"it is loaded (pid {view.pid}); {use}" + (f"; {view.override}" if view.override else "")
            case "loading":
                return f"it is being loaded, {view.progress:.0%} done"
            case state:
                return f"it is {state}: {view.requests} requests end on it first"
    if waiting := fleet.why(key):
        return f"it is not loaded: {waiting}"
    if failed := next((failure for failure in fleet.failures() if failure.key == key), None):
        return f"it is not loaded: {failed.reason}"
    if entry is not None and entry.last_unload:
        return f"it is not loaded: it was {entry.last_unload}"
    return "it is not loaded: nobody has asked for it, and it loads on the first request"


def _behind(entry: Entry) -> list[str]:
    """The conditions that are not True of a model that is not as declared, as sentences."""
    if as_declared(entry.last, entry.conditions):
        return []
    return [
        f"{each.type} is {each.status}" + (f" ({each.reason})" if each.reason else "") + f": {each.message}"
        for each in entry.conditions.values()
        if each.status != "True" and (each.reason or each.message)
    ]


async def _lines(bulletin: Bulletin, asked: EventsRequest) -> AsyncGenerator[bytes, None]:
    """Events as NDJSON; while following, a blank line now and then shows that the stream is alive."""
    async with aclosing(bulletin.follow(asked.after)) as batches:
        async for batch in batches:
            wanted = [
                rows.event(event)
                for event in batch
                if event.time >= asked.since and (event.kind == "gap" or asked.model in {"", event.model})
            ]
            yield b"".join(msgspec.json.encode(event) + b"\n" for event in wanted) or b"\n"
            if not asked.follow:
                return
