"""A response in OpenAI's words: one object, or the events it is made with (contract section 11.5; pure).

Deviations from Ollama, on purpose: an answer that was cut is `incomplete`; a failure in mid-stream is
`response.failed`; the parts of an answer are told in the order in which they were written, text after a call too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from powerd.api.answer import Output
from powerd.api.ask import Timing
from powerd.api.openai.frames import error_code
from powerd.api.openai.responses.toolbox import Told
from powerd.api.openai.responses.writing import Event, Place, Reasoning, Spoken, Status, called
from powerd.api.status import Refusal
from powerd.errors import PowerError
from powerd.output.pieces import Piece, Thought
from powerd.protocol import Finished, Logprob, ToolCall

_json = msgspec.json.encode


class ResponseFrames:
    """One response while it is made.

    `repeated` is what it tells of its request, `told` how it names the functions the model calls.
    """

    content_type = "text/event-stream"

    def __init__(
        self, repeated: Mapping[str, object], identity: str, created: int, told: Mapping[str, Told] | None = None
    ) -> None:
        self._repeated = repeated
        self._id = identity
        self._created = created
        self._told = told or {}
        self._items: list[dict[str, object]] = []  # the finished ones
        self._open: Reasoning | Spoken | None = None
        self._likely: list[Logprob] = []  # of text that has not been told yet
        self._events = 0  # told so far

    # ------------------------------------------------------------ events

    def chunk(self, output: Output, now: int) -> bytes:
        """The events of some output, behind those that begin a response."""
        self._likely += output.spoken
        events = self._begun()
        for piece in output.pieces:
            events += self._called(piece) if isinstance(piece, ToolCall) else self._more(piece)
        return self._numbered(events)

    def last(self, finished: Finished, timing: Timing) -> bytes:
        """The events that close what is open, and the whole response."""
        events = [*self._begun(), *self._end(finished)]
        whole = self._finished(finished, timing)
        return self._numbered([*events, (f"response.{whole['status']}", {"response": whole})])

    def failed(self, error: PowerError | Refusal) -> bytes:
        """The event that ends a stream that went wrong."""
        self._close("incomplete")
        told = {"code": error_code(error) or "server_error", "message": error.message}
        return self._numbered([("response.failed", {"response": self._object("failed", error=told)})])

    def whole(self, output: Output, finished: Finished, timing: Timing) -> bytes:
        """The answer that is not streamed."""
        self.chunk(output, timing.now)
        self._end(finished)
        return _json(self._finished(finished, timing))

    def _begun(self) -> list[Event]:
        if self._events:
            return []
        return [(kind, {"response": self._object("in_progress")}) for kind in _OPENING]

    def _numbered(self, events: Iterable[Event]) -> bytes:
        parts: list[bytes] = []
        for kind, fields in events:
            data = _json({"type": kind, "sequence_number": self._events, **fields})
            parts += (b"event: ", kind.encode(), b"\ndata: ", data, b"\n\n")
            self._events += 1
        return b"".join(parts)

    # ------------------------------------------------------------ items

    def _place(self) -> Place:
        return Place(self._id, len(self._items))

    def _more(self, piece: Piece) -> list[Event]:
        """Text: of the open item, or of a new one."""
        assert not isinstance(piece, ToolCall)
        kind = Reasoning if isinstance(piece, Thought) else Spoken
        events: list[Event] = []
        if not isinstance(self._open, kind):
            events = self._close("completed")
            self._open = kind(self._place())
            events += self._open.opened()
        likely: list[Logprob] = []
        if kind is Spoken:
            likely, self._likely = self._likely, likely
        return [*events, self._open.more(piece.text, likely)]

    def _called(self, call: ToolCall) -> list[Event]:
        events = self._close("completed")
        item, told = called(self._place(), call, self._told.get(call.name, Told(call.name)))
        self._items.append(item)
        return events + told

    def _close(self, status: Status) -> list[Event]:
        writing, self._open = self._open, None
        if writing is None:
            return []
        item = writing.item(status)
        self._items.append(item)
        return writing.closed(item)

    def _end(self, finished: Finished) -> list[Event]:
        """The last item's end; an answer of nothing is a message without text."""
        events: list[Event] = []
        if self._open is None and not self._items:
            self._open = Spoken(self._place())
            events = self._open.opened()
        return events + self._close("completed" if finished.reason == "stop" else "incomplete")

    # ------------------------------------------------------------ the response

    def _finished(self, finished: Finished, timing: Timing) -> dict[str, object]:
        counted = {"usage": usage(finished, timing.thinking_tokens)}
        if finished.reason == "stop":
            return self._object("completed", completed_at=timing.now // 1_000_000_000, **counted)
        return self._object("incomplete", incomplete_details={"reason": "max_output_tokens"}, **counted)

    def _object(self, status: str, **changes: object) -> dict[str, object]:
        return {
            "id": f"resp_{self._id}",
            "object": "response",
            "created_at": self._created,
            "completed_at": None,
            "status": status,
            "error": None,
            "incomplete_details": None,
            **self._repeated,
            "output": list(self._items),
            "usage": None,
            **changes,
        }


_OPENING = ("response.created", "response.in_progress")


def usage(finished: Finished, thinking_tokens: int) -> dict[str, object]:
    """The `usage` object."""
    return {
        "input_tokens": finished.prompt_tokens,
        "input_tokens_details": {"cached_tokens": finished.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": finished.output_tokens,
        "output_tokens_details": {"reasoning_tokens": min(thinking_tokens, finished.output_tokens)},
        "total_tokens": finished.prompt_tokens + finished.output_tokens,
    }
