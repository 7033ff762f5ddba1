"""What probes and scrapers ask: /livez, /readyz, /health and /metrics."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from powerd import metrics
from powerd.api.call import Call, Dialect, Route
from powerd.api.status import Refusal, status_of
from powerd.errors import PowerError


def _error(error: PowerError | Refusal) -> bytes:
    return msgspec.json.encode({"error": error.message, "status": status_of(error)})


DIALECT = Dialect("ops", "application/json", "missing request body", _error)


async def livez(call: Call) -> None:
    """200 as long as the daemon's loop turns."""
    await call.json({"status": "ok"})


async def readyz(call: Call) -> None:
    """200 when requests should come here, else 503 with the reasons.

    A loaded model that has proved nothing lately is asked for a token first.
    """
    if not call.context.stopping():
        await call.context.fresh()
    reasons = _reasons(call)
    await call.json({"status": "not ready" if reasons else "ok", "reasons": reasons}, 503 if reasons else 200)


async def health(call: Call) -> None:
    """The daemon in a few words; 200 whether it is ready or not."""
    context = call.context
    reasons = _reasons(call)
    await call.json(
        {
            "status": "degraded" if reasons else "ok",
            "version": context.version,
            "uptime": round(time.monotonic() - context.started, 3),
            "loaded_models": [view.model for view in context.fleet.views() if view.state == "ready"],
            "reasons": reasons,
        },
    )


async def scrape(call: Call) -> None:
    """Every Prometheus series."""
    await call.answer(metrics.exposition(), metrics.CONTENT_TYPE)


def _reasons(call: Call) -> list[str]:
    stopping = ["powerd is stopping"] if call.context.stopping() else []
    return [*stopping, *call.context.not_ready()]


ROUTES: Sequence[Route] = tuple(
    Route(path, DIALECT, {"GET": handler, "HEAD": handler})
    for path, handler in (("/livez", livez), ("/readyz", readyz), ("/health", health), ("/metrics", scrape))
)
