"""How the vectors of a text's tokens become one, and which inputs go into the next batch. Pure.

llama.cpp joins the tokens of a sequence that are in one batch. An input longer than a batch comes as several vectors,
each with the number of tokens behind it, which are joined here.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from powerd.runner.adapters import AdapterSet
from powerd.vectors import Pooling

#: A header's `<architecture>.pooling_type` in words. A model that names none is asked for the mean.
KINDS: dict[str, Pooling] = {"": "mean", "0": "mean", "1": "mean", "2": "cls", "3": "last"}
#: The kind that scores a text instead of describing it.
RANK = "4"


class NotFinite(ValueError):
    """The engine computed something that is no number."""


@dataclass(slots=True)
class Job:
    """One input on its way to its vector."""

    id: int
    tokens: list[int]
    normalise: bool = True
    dimensions: int = 0  # of the vector, its first ones; 0 = all
    needed: int = 0  # tokens it had before it was cut; 0 = it was not
    adapters: AdapterSet = ()  # what it is computed with
    fed: int = 0
    slot: int = -1  # its sequence in the context; -1 while it waits
    joined: list[float] = field(default_factory=list)

    @property
    def left(self) -> int:
        """Tokens still to be computed."""
        return len(self.tokens) - self.fed

    def feed(self, vector: list[float], count: int, pooling: Pooling) -> None:
        """`count` more tokens were computed, and `vector` is what they pool to."""
        first = self.fed == 0
        self.fed += count
        if pooling == "mean" and not (first and self.left == 0):
            part = count / len(self.tokens)
            before = self.joined or [0.0] * len(vector)
            self.joined = [old + part * new for old, new in zip(before, vector, strict=True)]
        elif first or pooling != "cls":
            self.joined = vector

    def vector(self) -> bytes:
        """The finished vector as little-endian float32. Raises NotFinite."""
        values = self.joined[: self.dimensions or None]
        length = math.hypot(*values)
        if not math.isfinite(length):
            raise NotFinite("embedding contains NaN or Inf values")
        if self.normalise and length > 0:
            values = [value / length for value in values]
        return array("f", values).tobytes()


@dataclass(frozen=True, slots=True)
class Room:
    """What a context has: tokens in a batch, sequences, and cells for the tokens of all inputs begun."""

    rows: int
    sequences: int
    cells: int
    whole: bool  # an input must be in one batch: its tokens see what follows them


def parts(active: Sequence[Job], room: Room, rows: int | None = None) -> Iterator[tuple[Job, int]]:
    """The next batch: inputs in order of arrival, with how many tokens of each, `rows` at most.

    All of one adapter set, the oldest input's: so none waits for more than those that came before it.
    """
    left = room.rows if rows is None or room.whole else min(rows, room.rows)
    oldest = next(iter(active), None)
    for job in active:
        if oldest is not None and job.adapters != oldest.adapters:
            continue
        part = min(job.left, left)
        if not part or (room.whole and part < job.left):
            return
        yield job, part
        left -= part


def fits(job: Job, active: Iterable[Job], room: Room) -> bool:
    """Whether there is a sequence, and cells, for one more input."""
    begun = [len(other.tokens) for other in active]
    return len(begun) < room.sequences and (room.whole or sum(begun) + len(job.tokens) <= room.cells)
