"""What one request has consumed, what it has produced, and when it must end. Pure.

A sequence has at most `context` tokens, prompt and answer together; the last token drawn is never decoded, so an
answer may fill the context to the last place. One that may shift loses its older half then, and goes on.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from typing import Literal

from powerd.protocol import MAX_FRAME, Cut, Finished, Generate, Row
from powerd.runner.extras import Extras, Wishes
from powerd.runner.text import Text
from powerd.runner.token import Sampler, Token
from powerd.runner.window import dropped

Reason = Literal["stop", "length", "repeat", "cancel"]
#: Room left in a frame beside the token ids.
_FRAME_OVERHEAD = 4096
_ID_BYTES = 4
#: An answer without a limit that may shift ends after this many times its context (contract section 5).
_MOST_CONTEXTS = 10


@dataclass(frozen=True, slots=True)
class Prompt:
    """Where a sequence begins: its tokens, and how many tokens prompt and answer may be together."""

    tokens: list[int]
    context: int
    keep: int = -1  # tokens at the beginning that stay when a full context loses its older half; negative = it ends
    cut: Cut | None = None  # what was done to a prompt that did not fit


class Sequence:
    """One request from its first prompt token to its terminal frame. Times are monotonic nanoseconds."""

    __slots__ = (
        "_extras",
        "_full_at",
        "_identical",
        "_keep",
        "_last_trimmed",
        "_limit",
        "_most",
        "_pending",
        "_repeat_limit",
        "_text",
        "adapters",
        "answer",
        "cut",
        "deadline",
        "draw",
        "fed",
        "first_token_at",
        "id",
        "last",
        "prompt",
        "reason",
        "sampler",
        "shifted",
        "slot",
        "started_at",
        "want_tokens",
    )

    def __init__(
        self, frame: Generate, prompt: Prompt, sampler: Sampler, now: int, wishes: Wishes | None = None
    ) -> None:
        self.id = frame.id
        self.adapters = frame.adapters
        self.prompt = prompt.tokens
        self.cut = prompt.cut
        self.sampler = sampler
        self._extras = Extras(wishes, sampler) if wishes is not None else None
        #: The token that follows a row of the last decode.
        self.draw = sampler.draw if self._extras is None else self._extras.draw
        self.slot = -1
        self.fed = 0  # prompt tokens in the cache
        self.answer: list[int] = []
        self.last = -1  # the token to decode next
        self.reason: Reason | Literal["full"] | None = None  # full = it goes on once `make_room` was called
        self.shifted = 0  # tokens dropped from the cache
        self.deadline = now + frame.deadline * 1e9 if frame.deadline > 0 else math.inf
        self.started_at = 0
        self.first_token_at = 0
        self.want_tokens = frame.want_tokens
        self._text = Text(frame.stop)
        self._keep = prompt.keep
        self._full_at = prompt.context - len(prompt.tokens)  # tokens of answer that fill the context
        most = _MOST_CONTEXTS * prompt.context if prompt.keep >= 0 else self._full_at
        self._limit = frame.num_predict if frame.num_predict > 0 else most
        self._most = min(self._limit, self._full_at)
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
        return self.fed + len(self.answer) - 1 - self.shifted if self.answer else self.fed

    def accept(self, token: Token) -> Row | None:
        """Take in the token drawn; sets `reason` when it is the last. The row to send, if any text is due."""
        self.last = token.id
        self.answer.append(token.id)
        self._pending += 1
        if self._extras is not None:
            token = self._extras.see(token)
        text = self._text.feed(token.piece)
        self.reason = self._verdict(token)
        if self.reason is not None and self.reason != "full":
            text += self._text.flush()
        return self._row(text)

    def _verdict(self, token: Token) -> Reason | Literal["full"] | None:
        if token.ends or self._text.stopped_by:
            return "stop"
        if self._repeats(token.trimmed):
            return "repeat"
        if len(self.answer) < self._most:
            return None
        return "full" if self._keep >= 0 and len(self.answer) < self._limit else "length"

    def make_room(self) -> tuple[int, int]:
        """Go on in a full context: where the older half begins and how many cells it is. They must be dropped."""
        count = dropped(self._keep, self.position)
        self.shifted += count
        self._full_at += count
        self._most = min(self._limit, self._full_at)
        self.reason = None
        return self._keep, count

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
        if not text and (self._extras is None or not self._extras.full):
            return None
        row = Row(self.id, text, self._pending)
        if self._extras is not None:
            row.logprobs = self._extras.told()
        self._pending = 0
        return row

    def finished(self, now: int) -> Finished:
        """The terminal frame. Call it once `reason` is set."""
        assert self.reason is not None
        assert self.reason != "full"
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
            shifted=self.shifted,
        )

    def _ids(self) -> bytes:
        """All token ids but one that ended the answer; nothing when they pass a frame."""
        ended = self.reason == "stop" and not self._text.stopped_by
        ids = array("i", self.prompt + (self.answer[:-1] if ended else self.answer))
        return ids.tobytes() if len(ids) * _ID_BYTES <= MAX_FRAME - _FRAME_OVERHEAD else b""
