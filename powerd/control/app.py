"""The control socket's routes: status, ps, apply, wait, load and stop, and those about the store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, cast

import structlog
from litestar import Litestar, Request, Response, get, post
from litestar.exceptions import HTTPException

from powerd.control import explain as explain_routes
from powerd.control import installed as installed_routes
from powerd.control import plan as plan_routes
from powerd.control import pulls as pull_routes
from powerd.control import rows
from powerd.control import status as status_routes
from powerd.control import store as store_routes
from powerd.control.schema import (
    ApplyReply,
    ApplyRequest,
    Device,
    Done,
    ModelRequest,
    Node,
    Refusal,
    RunnerRow,
    WaitReply,
    WaitRequest,
)
from powerd.digest import Digest
from powerd.errors import BadRequest, Conflict, NotFound, PowerError
from powerd.fleet.fleet import Fleet
from powerd.fleet.terms import Reason
from powerd.reconcile.decide import NodeDefaults
from powerd.reconcile.library import Library
from powerd.reconcile.pulls import Pulls
from powerd.reconcile.reconciler import Reconciler
from powerd.store.store import Store

log = structlog.get_logger(__name__)

Scope = MutableMapping[str, Any]
AsgiApp = Callable[[Scope, Any, Any], Awaitable[None]]

MAX_WAIT = 86_400.0


@dataclass(frozen=True, slots=True)
class ControlContext:
    """Whom the routes ask."""

    reconciler: Reconciler
    library: Library
    fleet: Fleet
    node: Callable[[], Node]
    store: Store
    max_delete_fraction: float
    pulls: Pulls
    defaults: NodeDefaults
    devices: Callable[[], list[Device]]
    origins: Mapping[str, str]  # where the daemon's own options come from, by dotted key
    keep_alive: float  # seconds, the daemon's own


def build(context: ControlContext, api: AsgiApp) -> AsgiApp:
    """The socket's application: our routes below /v1, and `api` (Ollama's routes) for everything else."""
    control = Litestar(
        route_handlers=_handlers(context),
        openapi_config=None,
        exception_handlers={
            PowerError: _refuse,
            HTTPException: _refuse_http,
            RecursionError: _refuse_deep,
            Exception: _refuse_bug,
        },
        request_max_body_size=1 << 20,
    )

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        ours = scope["type"] == "http" and scope["path"].startswith("/v1/")
        await (cast(AsgiApp, control) if ours else api)(scope, receive, send)

    return app


def _handlers(context: ControlContext) -> list[Any]:
    reconciler, fleet = context.reconciler, context.fleet
    foretelling = pull_routes.handlers(context.pulls, fleet, context.defaults)
    telling = explain_routes.handlers(reconciler, context.library, fleet, context.origins, context.keep_alive)
    status = status_routes.handlers(reconciler, fleet, context.node, context.devices)
    planning = plan_routes.handlers(reconciler)
    own = [*_about_the_file(reconciler), *_about_runners(context)]
    installed = installed_routes.handlers(context.store, reconciler.generations.path)
    return [*status, *telling, *planning, *own, *_about_store(context), *installed, *foretelling]


def _about_the_file(reconciler: Reconciler) -> list[Any]:
    @post("/v1/apply", status_code=200)
    async def apply(data: ApplyRequest) -> ApplyReply:
        before, last = reconciler.generations.number, reconciler.bulletin.last
        problems = await reconciler.apply(locked=data.locked)
        settled = not problems
        if data.wait and not problems:
            settled = await reconciler.waiting.settle(_bounded(data.timeout))
        number = reconciler.generations.number
        failing = reconciler.judging.failing() if data.wait else []
        hold = reconciler.generations.hold
        events = [rows.event(event) for event in reconciler.bulletin.after(last)]
        return ApplyReply(number, number != before, settled, problems, failing, hold.message if hold else "", events)

    @post("/v1/wait", status_code=200)
    async def wait(data: WaitRequest) -> WaitReply:
        met, condition = await reconciler.waiting.wait(data.condition, data.model, _bounded(data.timeout))
        return WaitReply(met, rows.condition(condition))

    return [apply, wait]


def _about_runners(context: ControlContext) -> list[Any]:
    library, fleet = context.library, context.fleet

    @get("/v1/ps")
    async def ps() -> list[RunnerRow]:
        now, clock = time.monotonic(), time.time()
        manifests = {offer.deployment.key: offer.stored.digest.hex for offer in library.offers()}
        return [rows.runner_row(view, manifests.get(view.key, view.digest), now, clock) for view in fleet.views()]

    @post("/v1/load", status_code=200)
    async def load(data: ModelRequest) -> Done:
        offer = library.find(data.model)
        await asyncio.to_thread(context.store.check_blob, offer.stored.weights_digest)
        await fleet.load(offer.deployment, offer.name.display, data.hold or None)
        return Done(f"loaded '{data.model}'")

    @post("/v1/stop", status_code=200)
    async def stop(data: ModelRequest) -> Done:
        offer = library.find(data.model)
        if all(view.key != offer.deployment.key for view in fleet.views()):
            raise NotFound(f'couldn\'t find model "{data.model}" to stop')
        answer = await fleet.unload(offer.deployment.key, Reason.OPERATOR, force=data.force, hold=data.hold or None)
        if not answer:
            raise Conflict(answer.reason)
        return Done(answer.reason)

    return [ps, load, stop]


def _about_store(context: ControlContext) -> list[Any]:
    def in_use() -> set[Digest]:
        return {Digest(view.digest) for view in context.fleet.views()}

    return store_routes.handlers(context.store, context.max_delete_fraction, in_use, context.library.refresh)


def _bounded(seconds: float) -> float:
    if not 0 <= seconds <= MAX_WAIT:
        raise BadRequest(f"timeout must be between 0 and {MAX_WAIT:.0f} seconds, not {seconds}", "timeout")
    return seconds


_STATUS = {
    "bad_request": 400,
    "context_overflow": 400,
    "unsupported": 400,
    "forbidden": 403,
    "not_found": 404,
    "conflict": 409,
    "too_large": 413,
}


def _refuse(_: Request[Any, Any, Any], error: PowerError) -> Response[Refusal]:
    return Response(Refusal(error.message, error.code), status_code=_STATUS.get(error.code, 503))


def _refuse_http(request: Request[Any, Any, Any], error: HTTPException) -> Response[Refusal]:
    if error.status_code == 404:
        detail = f"there is no route {request.url.path} on the control socket"
    else:
        extra = error.extra if isinstance(error.extra, list) else []
        detail = "; ".join(
            [error.detail, *(str(problem.get("message", "")) for problem in extra if isinstance(problem, dict))]
        )
    return Response(Refusal(detail, "bad_request"), status_code=error.status_code)


def _refuse_deep(request: Request[Any, Any, Any], error: Exception) -> Response[Refusal]:
    """The JSON decoder descends as deep as a body goes, and gives up with RecursionError (C05)."""
    return _refuse(request, BadRequest("the body is nested too deeply"))


def _refuse_bug(_: Request[Any, Any, Any], error: Exception) -> Response[Refusal]:
    log.error("control route failed", exc_info=error)
    return Response(Refusal("internal error; see powerd's log", "internal"), status_code=503)
