"""The control routes that tell why: events, why and explain."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import msgspec
from litestar import post
from litestar.params import JSONBody
from litestar.response import Stream

from powerd.control import rows
from powerd.control.schema_tell import EventsRequest, Explained, ExplainRequest, Explanation, WhyReply, WhyRequest
from powerd.errors import NotFound, PowerError
from powerd.fleet.fleet import Fleet
from powerd.reconcile.conditions import as_declared
from powerd.reconcile.entry import Entry
from powerd.reconcile.health.bulletin import Bulletin
from powerd.reconcile.library import Library
from powerd.reconcile.offer import Offer
from powerd.reconcile.planning.explain import Subject, explain
from powerd.reconcile.reconciler import Reconciler


def handlers(
    reconciler: Reconciler, library: Library, fleet: Fleet, settings: Mapping[str, str], keep_alive: float
) -> list[Any]:
    """The routes. `settings`: where the daemon's options come from; `keep_alive`: its own default, in seconds."""
    teller = _Teller(reconciler, library, fleet, settings, keep_alive)

    @post("/v1/events", status_code=200)
    async def events(data: JSONBody[EventsRequest]) -> Stream:
        return Stream(_lines(reconciler.bulletin, data), media_type="application/x-ndjson")

    @post("/v1/explain", status_code=200)
    async def explain_model(data: JSONBody[ExplainRequest]) -> Explanation:
        return teller.explanation(data.model)

    @post("/v1/why", status_code=200)
    async def why(data: JSONBody[WhyRequest]) -> WhyReply:
        return teller.why(data.subject)

    return [events, explain_model, why]


@dataclass(frozen=True, slots=True)
class _Teller:
    """Answers explain and why."""

    reconciler: Reconciler
    library: Library
    fleet: Fleet
    settings: Mapping[str, str]
    keep_alive: float

    def explanation(self, model: str) -> Explanation:
        """Every effective value of a model. Raises what the library says of the name."""
        offer, entry = self.library.find(model), self._entry(model)
        key = offer.deployment.key
        have = next((view.readback for view in self.fleet.views() if view.key == key and view.readback), None)
        values = explain(
            Subject(
                offer=offer,
                spec=entry.last if entry else None,
                catalog=self.reconciler.generations.catalog,
                settings=self.settings,
                keep_alive=self.keep_alive,
                have=have,
            )
        )
        return Explanation(
            model=offer.name.display,
            kind=offer.origin,
            generation=self.reconciler.generations.number,
            loaded=have is not None,
            values=[Explained(value.field, value.value, value.origin, value.have) for value in values],
            choices=list(offer.choices),
        )

    def why(self, subject: str) -> WhyReply:
        """Why a request waits, or why a model is where it is. Raises NotFound where it is neither."""
        lines = self.fleet.why_request(subject)
        if lines:
            return WhyReply(subject, "request", lines[0], lines[1:])
        self.reconciler.judging.refresh()
        entry = self._entry(subject)
        try:
            offer = self.library.find(subject)
        except NotFound:
            raise NotFound(f"no model, and no request that waits or runs, is called '{subject}'") from None
        except PowerError as error:
            if entry is None:
                raise
            return WhyReply(subject, "model", error.message, _behind(entry))
        story = [line.strip() for line in reversed(self.fleet.story(offer.deployment.key))]
        behind = _behind(entry) if entry else []
        return WhyReply(subject, "model", _answer(self.fleet, entry, offer), [*behind, *story])

    def _entry(self, name: str) -> Entry | None:
        """The declared model that a name or alias means."""
        declared = self.library.declared_name(name)
        return self.reconciler.entries.get(declared) if declared is not None else None


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
