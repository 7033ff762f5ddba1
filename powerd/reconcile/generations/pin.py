"""Pin: which bytes a source must give: those the spec names, those of the lock, those the generation resolved to.

A tag that moved upstream is never followed by itself: what was resolved once is fetched again, or nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from powerd.catalog.spec import ModelSpec
from powerd.digest import Digest
from powerd.errors import SourceFailed
from powerd.reconcile.conditions import Trouble
from powerd.reconcile.generations.lock import Locked
from powerd.reconcile.making.lora import without
from powerd.reconcile.step import Fetched, answers


class Refused(Exception):
    """A step failed for a reason that names its condition; never reaches a client."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.message)
        self.trouble = trouble


@dataclass(frozen=True, slots=True)
class Pins:
    """What a model is held to by its generation and by models.lock.yaml."""

    recorded: Fetched | None = None  # what the accepted generation says it resolved to
    rolled_back: bool = False  # that stands, whatever the source looks like by now
    locked: Locked | None = None


@dataclass(frozen=True, slots=True)
class Pin:
    """What a fetch must come to: `origin` is the digest of what is fetched, `revision` where it is had from."""

    origin: Digest | None = None
    revision: str = ""
    of_lock: bool = False

    def refusal(self, got: Digest, name: str) -> Refused:
        """The source gave other bytes."""
        return self._refused(f"its source gives {got.short}", name)

    def explained(self, error: SourceFailed, name: str) -> Exception:
        """A failed fetch in terms of the pin, where it is the pin that failed it."""
        return self._refused(error.message, name) if self.origin and "digest mismatch" in error.message else error

    def _refused(self, found: str, name: str) -> Refused:
        wanted = self.origin.short if self.origin else ""
        if self.of_lock:
            message = f"models.lock.yaml says {wanted}: {found}; run `powerctl update {name}` and `powerctl lock`"
            return Refused(Trouble("Resolved", "LockMismatch", message))
        message = f"the accepted generation has {wanted}, which is not in the store: {found}"
        return Refused(Trouble("Resolved", "Moved", f"{message}; `powerctl update {name}` takes what is there by now"))


def pin(pins: Pins, spec: ModelSpec, identity: str) -> Pin:
    """The bytes a fetch for `spec` must bring; `identity` is how the source looks now."""
    locked, recorded = pins.locked, pins.recorded
    if locked is not None:
        origin = Digest.parse(locked.digest)
        return Pin(origin, locked.revision, of_lock=True)
    if (
        recorded is not None
        and answers(spec, recorded)
        and (without(recorded.identity) == without(identity) or pins.rolled_back)
    ):
        return Pin(recorded.origin, recorded.revision)
    return Pin()
