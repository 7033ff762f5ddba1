"""Ending: the steps of a stop, each bounded, so that the stop itself always ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import structlog

logger = structlog.get_logger(__name__)


async def within(seconds: float, step: str, work: Awaitable[None]) -> None:
    """Take one step of the stop; one that does not end is told and left behind."""
    task = asyncio.ensure_future(work)
    await asyncio.wait({task}, timeout=seconds)
    if not task.done():
        task.cancel()
        logger.error("a step of the stop did not end in time", step=step, seconds=seconds)
    elif not task.cancelled() and (error := task.exception()) is not None:
        logger.error("a step of the stop failed", step=step, error=str(error))
