"""Rate: how many bytes a second all transfers together may take."""

from __future__ import annotations

import asyncio
import time


class RateLimit:
    """Pauses whoever takes bytes, so that together they stay below `bytes_per_second`; 0 is no limit."""

    def __init__(self, bytes_per_second: int) -> None:
        self._rate = bytes_per_second
        self._paid_until = 0.0  # monotonic seconds

    async def take(self, count: int) -> None:
        """Return once `count` more bytes are within the rate."""
        if not self._rate:
            return
        now = time.monotonic()
        self._paid_until = max(self._paid_until, now) + count / self._rate
        await asyncio.sleep(self._paid_until - now)
