"""What the text of an answer consists of, and how it is read.

A call is a `protocol.ToolCall`; its `id` is empty where the model's format has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from powerd.protocol import ToolCall


@dataclass(frozen=True, slots=True)
class Content:
    """Text for the user."""

    text: str


@dataclass(frozen=True, slots=True)
class Thought:
    """Text the model wrote for itself."""

    text: str


Piece = Content | Thought | ToolCall


class Reader(Protocol):
    """Reads one answer. Made anew for each."""

    def feed(self, text: str) -> Sequence[Piece]:
        """What can be told after some more text. Pieces hold no empty text."""

    def end(self) -> Sequence[Piece]:
        """What was held back, at the end of the answer; nothing is fed afterwards."""
