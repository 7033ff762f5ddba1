"""What FleetState wants done: the only ways its decisions reach the world (pure).

`runner` is the number FleetState gave a process, `ticket` the number the actor gave a request.
"""

from __future__ import annotations

from dataclasses import dataclass

from powerd.errors import PowerError
from powerd.fleet.terms import FleetEvent, Want
from powerd.protocol import Deployment


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start a process and have it load `deployment`."""

    runner: int
    model: str
    deployment: Deployment


@dataclass(frozen=True, slots=True)
class Stop:
    """End a process: politely, or (with `error`) at once, failing the requests on it with that."""

    runner: int
    error: PowerError | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """Request `ticket` holds a place on `runner` until it is released."""

    ticket: int
    runner: int
    want: Want
    keep_alive_ignored: bool = False


@dataclass(frozen=True, slots=True)
class Loaded:
    """Request `ticket` asked only for the model to be loaded, and it is."""

    ticket: int
    runner: int


@dataclass(frozen=True, slots=True)
class Refuse:
    """Request `ticket` ends with `error`."""

    ticket: int
    error: PowerError


@dataclass(frozen=True, slots=True)
class Emit:
    """Tell whoever watches."""

    event: FleetEvent


Effect = Spawn | Stop | Grant | Loaded | Refuse | Emit
