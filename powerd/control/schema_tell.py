"""What travels on the control socket about events, reasons and origins. `powerctl --json` prints it as it is."""

from __future__ import annotations

import msgspec


class EventsRequest(msgspec.Struct, omit_defaults=True):
    """Events after `after` (-1: all that are kept), not older than `since`, of `model` (empty: of all).

    With `follow` the stream goes on until the client leaves it.
    """

    after: int = -1
    since: float = 0.0  # seconds since the epoch
    model: str = ""
    follow: bool = False


class WhyRequest(msgspec.Struct):
    """Asks about a model's name or a request's id."""

    subject: str


class WhyReply(msgspec.Struct):
    """Why a model or a request is where it is: one sentence, then what led there, newest first."""

    subject: str
    kind: str  # model or request
    answer: str
    because: list[str]


class ExplainRequest(msgspec.Struct):
    """Asks for every effective value of a model."""

    model: str


class Explained(msgspec.Struct, omit_defaults=True):
    """One effective value: where it comes from, and what the engine says it has where it says so."""

    field: str
    value: object
    origin: str  # a file:line, a variable, the model's own parameters, automatic or built-in
    have: object = None  # read back from the engine; null: not loaded, or not told


class Explanation(msgspec.Struct):
    """`powerctl explain --json`."""

    model: str
    kind: str  # declared, alias, installed or lower
    generation: int
    loaded: bool
    values: list[Explained]
    choices: list[str]  # what was chosen automatically, and why
