"""Hearts: what each owner must be able to do, again and again, for the daemon to count as alive.

The work is wanted for itself: runners are asked for a token when it is time, conditions are judged, the fleet is told
again what should be in memory, and the control socket's file is kept in place.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from powerd.listeners import CannotListen, UnixDoor
from powerd.pulse import Heart
from powerd.reconcile.health.canary import Canary
from powerd.reconcile.reconciler import Reconciler


def hearts(canary: Canary, reconciler: Reconciler, door: UnixDoor) -> list[Heart]:
    """The hearts of those who work in this process."""
    return [
        Heart("canary", _canary(canary)),
        Heart("reconciler", _reconciler(reconciler)),
        Heart("fleet", _fleet(reconciler)),
        Heart("control socket", _door(door, reconciler)),
    ]


Work = Callable[[], Awaitable[bool]]


def _canary(canary: Canary) -> Work:
    async def look() -> bool:
        canary.look()
        return True

    return look


def _reconciler(reconciler: Reconciler) -> Work:
    async def judge() -> bool:
        reconciler.judging.refresh()
        return not reconciler.ended()

    return judge


def _fleet(reconciler: Reconciler) -> Work:
    async def wish() -> bool:
        """Say again what should be in memory: level, not edge, and a sign that the fleet takes events."""
        reconciler.wish()
        return True

    return wish


def _door(door: UnixDoor, reconciler: Reconciler) -> Work:
    async def keep() -> bool:
        """Put the control socket's file back when it went away (C06)."""
        try:
            if await door.keep():
                reconciler.bulletin.record("drift", "", "SocketRestored", "the control socket's file: gone -> back")
        except CannotListen as error:
            reconciler.bulletin.remark("drift", "", "SocketLost", str(error))
        return True

    return keep
