"""The ASGI application: routes on Litestar's trie, and around them the guards, the log and the last resort.

Handlers get raw bodies and send raw answers, because Litestar's own answer POST with 201, refuse HEAD and large
bodies and publish a schema (pitfall 12). Built once for each listener: over TCP with the host, origin and peer rules,
on the control socket without.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import structlog
from litestar import Litestar, Request, Response
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.handlers import ASGIRouteHandler, asgi
from litestar.types import Receive as LitestarReceive
from litestar.types import Scope as LitestarScope
from litestar.types import Send as LitestarSend

from powerd import metrics
from powerd.api import auth, ops
from powerd.api.anthropic import routes as anthropic_routes
from powerd.api.auth import Access
from powerd.api.call import Call, Dialect, Receive, Route, Scope, Send
from powerd.api.context import ApiContext
from powerd.api.ollama import routes as ollama_routes
from powerd.api.openai import routes as openai_routes
from powerd.api.short import routes as short_routes
from powerd.api.status import Refusal
from powerd.errors import Cancelled, PowerError

TCP_ROUTES: Sequence[Route] = (
    *ollama_routes.ROUTES,
    *openai_routes.ROUTES,
    *anthropic_routes.ROUTES,
    *short_routes.ROUTES,
    *ops.ROUTES,
)
SOCKET_ROUTES: Sequence[Route] = ollama_routes.ROUTES

MAX_TARGET = 8192  # bytes of path and query
MAX_HEADERS = 100
MAX_HEADER_BYTES = 32 << 10

AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
_CALL = "powerd.call"
_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_log = structlog.get_logger("powerd.api")


def build_app(context: ApiContext, access: Access | None, routes: Sequence[Route]) -> AsgiApp:
    """An application serving `routes`; `access` None means that who reaches the listener may do everything."""
    app = cast(
        AsgiApp,
        Litestar(
            [_endpoint(route) for route in routes],
            openapi_config=None,
            logging_config=None,
            request_max_body_size=None,
            exception_handlers={HTTPException: _no_page},
        ),
    )

    async def entrance(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1003})
        else:
            path = scope["path"]
            call = Call(context, access, scope, receive, send, _request_id(scope), _dialect_of(path), path)
            scope[_CALL] = call
            with _recorded(call):
                if await _admitted(call):
                    await app(scope, receive, send)

    return entrance


# ---------------------------------------------------------------- around every request


@contextmanager
def _recorded(call: Call) -> Iterator[None]:
    """Log and count the request, however it ends."""
    log = _log.bind(request=call.id)
    log.debug("asked", method=call.method, path=call.path[:200])
    try:
        yield
    finally:
        seconds = (time.monotonic_ns() - call.started) / 1e9
        status = call.status or 499
        metrics.REQUESTS.labels(call.dialect.name, call.route, str(status)).inc()
        metrics.REQUEST_SECONDS.labels(call.dialect.name, call.route).observe(seconds)
        say = log.debug if call.dialect is ops.DIALECT else log.info
        say(
            "answered",
            dialect=call.dialect.name,
            method=call.method,
            route=call.route,
            model=call.model,
            status=status,
            seconds=round(seconds, 4),
            prompt_tokens=call.prompt_tokens,
            output_tokens=call.output_tokens,
            failure=call.failure.message if call.failure else "",
        )


async def _answering(call: Call, work: Awaitable[None]) -> None:
    """Await `work`; whatever goes wrong becomes an answer in the dialect's shape, never a traceback to the client."""
    try:
        try:
            await work
        except Cancelled as error:
            call.failure = error  # nobody is there to read an answer
        except (PowerError, Refusal) as error:
            await call.fail(error)
    except Exception:
        refusal = call.unexpected()
        if not call.status:
            await call.fail(refusal)


async def _admitted(call: Call) -> bool:
    """Whether the request may go on to its route; if not, it has been answered."""
    await _answering(call, _guard(call))
    return not call.status


async def _guard(call: Call) -> None:
    """Apply the listener's rules. Raises what is refused."""
    headers = call.scope["headers"]
    if len(headers) > MAX_HEADERS or sum(len(name) + len(value) for name, value in headers) > MAX_HEADER_BYTES:
        raise Refusal(431, f"more than {MAX_HEADERS} headers or {MAX_HEADER_BYTES} bytes of them")
    if len(call.path) + len(call.scope.get("query_string", b"")) > MAX_TARGET:
        raise Refusal(414, f"the request's target is longer than {MAX_TARGET} bytes")
    if call.access is not None:
        auth.check_host(headers, call.access)
        call.headers |= auth.check_origin(headers, call.access)
        if call.method == "OPTIONS":
            call.headers |= auth.preflight()
            await call.answer(b"", "text/plain", 204)
            return
    if "//" in call.path:
        raise Refusal.no_page()


def _request_id(scope: Scope) -> str:
    given = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), "")
    return given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex[:24]


def _dialect_of(path: str) -> Dialect:
    if f"{path}/".startswith("/v1/messages/"):
        return anthropic_routes.DIALECT
    return openai_routes.DIALECT if path.startswith("/v1/") else ollama_routes.DIALECT


# ---------------------------------------------------------------- one route


def _endpoint(route: Route) -> ASGIRouteHandler:
    """Litestar's handler for a route."""

    @asgi(route.path, is_mount=route.below, copy_scope=False)
    async def endpoint(scope: LitestarScope, receive: LitestarReceive, send: LitestarSend) -> None:
        call = cast(Scope, scope)[_CALL]
        await _answering(call, _serve(call, route))

    return endpoint


async def _serve(call: Call, route: Route) -> None:
    if call.path.removeprefix(route.path)[:1] not in {"", "/"}:
        raise Refusal.no_page()  # Litestar's mounts match `/v1/modelsx` too
    call.route, call.dialect = route.path, route.dialect
    call.limit = call.context.inference_body if route.inference else call.context.other_body
    handler = route.methods.get(call.method)
    if handler is None:
        raise Refusal(405, "405 method not allowed", {"Allow": ", ".join(route.methods)}, plain=True)
    if route.manages and call.access is not None:
        client = call.scope.get("client")
        auth.check_management(client[0] if client else None, call.access)
    await handler(call)


def _no_page(request: Request[object, object, State], _error: HTTPException) -> Response[bytes]:
    """Litestar found no route."""
    call: Call = cast(Scope, request.scope)[_CALL]
    call.failure = Refusal.no_page()
    call.status = call.failure.status
    body, kind = call.dialect.failure(call.failure, call.id)
    headers = {**call.dialect.headers(call.id), **call.headers}
    return Response(body, media_type=kind.partition(";")[0], status_code=404, headers=headers)
