"""What one request has consumed, what it has produced, and when it must end. Pure.

A sequence has at most `context` tokens, prompt and answer together; the last token drawn is never decoded, so an
answer may fill the context to the last place.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from typing import Literal, Protocol

from powerd.protocol import MAX_FRAME, Finished, Generate, Row
from powerd.runner.text import Text

Reason = Literal["stop", "length", "repeat", "cancel"]
#: Room left in a frame beside the token ids.
_FRAME_OVERHEAD = 4096
_ID_BYTES = 4


@dataclass(frozen=True, slots=True)
class Token:
    """One entry of the vocabulary: the bytes it stands for (none for control tokens), and whether it ends an answer."""

    id: int
    piece: bytes
    trimmed: bytes  # `piece` without white space at its ends
    ends: bool


class Sampler(Protocol):
    """Draws a token from a row of the last decode."""

    def draw(self, row: int) -> int:
        """The token chosen for `row` of the batch, which the chain then remembers."""

    def close(self) -> None:
        """Free the chain."""


class Sequence:
    """One request from its first prompt token to its terminal frame. Times are monotonic nanoseconds."""

    __slots__ = (
        "_identical",
        "_last_trimmed",
        "_most",
        "_pending",
        "_repeat_limit",
        "_text",
        "answer",
        "deadline",
        "fed",
        "first_token_at",
        "id",
        "last",
        "prompt",
        "reason",
        "sampler",
        "slot",
        "started_at",
        "want_tokens",
    )

    def __init__(self, frame: Generate, prompt: list[int], context: int, sampler: Sampler, now: int) -> None:
        self.id = frame.id
        self.prompt = prompt
        self.sampler = sampler
        self.slot = -1
        self.fed = 0  # prompt tokens in the cache
        self.answer: list[int] = []
        self.last = -1  # the token to decode next
        self.reason: Reason | None = None
        self.deadline = now + frame.deadline * 1e9 if frame.deadline > 0 else math.inf
        self.started_at = 0
        self.first_token_at = 0
        self.want_tokens = frame.want_tokens
        self._text = Text(frame.stop)
        room = context - len(prompt)
        self._most = min(frame.num_predict, room) if frame.num_predict > 0 else room
        self._repeat_limit = frame.repeat_limit
        self._last_trimmed = b""
        self._identical = 0
        self._pending = 0

    @property
    def remaining(self) -> int:
        """Prompt tokens not yet in the cache; 0 = generating."""
        return len(self.prompt) - self.fed

    @property
    def position(self) -> int:
        """Where the next token goes, which is also the number of cells in use."""
        return self.fed + len(self.answer) - 1 if self.answer else self.fed

    def accept(self, token: Token) -> Row | None:
        """Take in the token drawn; sets `reason` when it is the last. The row to send, if any text is due."""
        self.last = token.id
        self.answer.append(token.id)
        self._pending += 1
        text = "" if token.ends else self._text.feed(token.piece)
        self.reason = self._verdict(token)
        if self.reason is not None:
            text += self._text.flush()
        return self._row(text)

    def _verdict(self, token: Token) -> Reason | None:
        if token.ends or self._text.stopped_by:
            return "stop"
        if self._repeats(token.trimmed):
            return "repeat"
        return "length" if len(self.answer) >= self._most else None

    def _repeats(self, trimmed: bytes) -> bool:
        """Whether the answer is stuck: more than the limit of equal tokens in a row (contract section 1.4)."""
        if trimmed != self._last_trimmed:
            self._last_trimmed = trimmed
            self._identical = 0
        self._identical += 1
        return 0 < self._repeat_limit < self._identical

    def cancel(self) -> Row | None:
        """End here; the row with the text held back, if there is any."""
        self.reason = "cancel"
        return self._row(self._text.flush())

    def _row(self, text: str) -> Row | None:
        if not text:
            return None
        row = Row(self.id, text, self._pending)
        self._pending = 0
        return row

    def finished(self, now: int) -> Finished:
        """The terminal frame. Call it once `reason` is set."""
        assert self.reason is not None
        first = self.first_token_at or now
        return Finished(
            id=self.id,
            reason=self.reason,
            prompt_tokens=len(self.prompt),
            output_tokens=len(self.answer),
            prompt_ns=first - self.started_at if self.started_at else 0,
            output_ns=now - first,
            stop_text=self._text.stopped_by,
            tokens=self._ids() if self.want_tokens else b"",
        )

    def _ids(self) -> bytes:
        """All token ids but one that ended the answer; nothing when they pass a frame."""
        ended = self.reason == "stop" and not self._text.stopped_by
        ids = array("i", self.prompt + (self.answer[:-1] if ended else self.answer))
        return ids.tobytes() if len(ids) * _ID_BYTES <= MAX_FRAME - _FRAME_OVERHEAD else b""
