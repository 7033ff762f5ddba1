"""A token, and who chooses it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Token:
    """One entry of the vocabulary: the bytes it puts into an answer, and whether it ends one."""

    id: int
    piece: bytes  # none for control tokens and for those that end an answer
    trimmed: bytes  # `piece` without white space at its ends
    ends: bool


class Stuck(Exception):
    """No token can follow: what an answer must match and what the model can write have nothing in common any more."""


class Sampler(Protocol):
    """Chooses the tokens of one request."""

    def draw(self, row: int) -> int:
        """The token chosen for `row` of the last decode, which is then remembered. Raises Stuck."""

    def take(self, token: int) -> None:
        """Remember `token`, which comes next without having been drawn."""

    def close(self) -> None:
        """Free what it holds; once."""
