"""Answer: a running generation as a dialect reads it, its text already told apart into content, thinking and calls."""

from __future__ import annotations

import secrets
import string
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import msgspec
import structlog

from powerd import errors, metrics
from powerd.errors import Busy, PowerError, RunnerDied, TooLarge
from powerd.fleet.process import Item, Stream
from powerd.output.pieces import Content, Piece, Reader, Thought
from powerd.protocol import Cut, Failed, Finished, Logprob, Row, ToolCall
from powerd.reconcile.offer import Offer

#: The client is still there, so it was not the client who cancelled.
_CUT = "the generation was ended before it was complete: the model is being unloaded"
MAX_ANSWER = 16 << 20  # bytes of text an answer that is not streamed may hold
_ID_CHARACTERS = string.ascii_lowercase + string.digits

_log = structlog.get_logger("powerd.api")


@dataclass(slots=True)
class Output:
    """Some of an answer: its pieces in order, neighbours of one kind joined."""

    pieces: list[Piece] = field(default_factory=list)
    logprobs: list[Logprob] = field(default_factory=list)  # of all its tokens
    spoken: list[Logprob] = field(default_factory=list)  # of those that are not thinking

    def __bool__(self) -> bool:
        return bool(self.pieces or self.logprobs)

    @property
    def content(self) -> str:
        """What is for the user."""
        return "".join(piece.text for piece in self.pieces if isinstance(piece, Content))

    @property
    def thinking(self) -> str:
        """What the model wrote for itself."""
        return "".join(piece.text for piece in self.pieces if isinstance(piece, Thought))

    @property
    def calls(self) -> list[ToolCall]:
        """The tools it calls."""
        return [piece for piece in self.pieces if isinstance(piece, ToolCall)]

    def add(self, pieces: Sequence[Piece]) -> None:
        """Append, joining text to text of its kind."""
        for piece in pieces:
            last = self.pieces[-1] if self.pieces else None
            if isinstance(piece, Content) and isinstance(last, Content):
                self.pieces[-1] = Content(last.text + piece.text)
            elif isinstance(piece, Thought) and isinstance(last, Thought):
                self.pieces[-1] = Thought(last.text + piece.text)
            else:
                self.pieces.append(piece)


@dataclass(slots=True)
class Answer:
    """A running generation: read it to its end, or leave the block that opened it."""

    offer: Offer
    load_ns: int
    notes: dict[str, str]  # what was served differently than asked, as headers
    stream: Stream
    started: int  # monotonic ns of the request
    reader: Reader | None = None  # None = all text is content
    parallel_calls: bool = True
    first: list[Item] | None = None  # what was read already
    on_cut: Callable[[Cut], None] = lambda _: None
    thinking_tokens: int = 0  # so far
    _silent: bool = True
    _calls: int = 0
    _thinks: bool = False  # the last piece was a thought
    _untold: list[Logprob] = field(default_factory=list)  # of text that the reader has not told apart yet

    async def read(self) -> tuple[Output, Finished | None]:
        """What came since the last call, and the terminal frame once there is one.

        Raises what made the generation fail.
        """
        batch, self.first = self.first or await anext(self.stream, None), None
        if batch is None:
            raise RunnerDied("the stream ended without its last frame")
        output = Output()
        finished: Finished | None = None
        for event in batch:
            if isinstance(event, Row):
                self._take(event, output)
            elif isinstance(event, Failed):
                raise failure(event)
            elif isinstance(event, Finished):
                finished = event
            elif isinstance(event, Cut):
                self.on_cut(event)
        if finished is not None:
            if self.reader is not None:
                pieces = self._known(self.reader.end())
                output.add(pieces)
                output.spoken += self._spoken([], pieces)
            self._account(finished)
        if self._silent and output:
            self._silent = False
            elapsed = (time.monotonic_ns() - self.started) / 1e9
            metrics.FIRST_TOKEN_SECONDS.labels(self.offer.name.display).observe(elapsed)
        return output, finished

    def _take(self, row: Row, output: Output) -> None:
        if self.reader is None:
            pieces: Sequence[Piece] = (Content(row.text),) if row.text else ()
        else:
            pieces = self.reader.feed(row.text)
            if any(isinstance(piece, ToolCall) for piece in pieces):
                pieces = self._known(pieces)
            if self._is_thought(pieces):
                self.thinking_tokens += row.tokens
        output.add(pieces)
        if row.logprobs:
            output.logprobs += row.logprobs
            output.spoken += row.logprobs if self.reader is None else self._spoken(row.logprobs, pieces)

    def _is_thought(self, pieces: Sequence[Piece]) -> bool:
        """Whether a row belongs to the thinking; one that the reader holds back goes with what came before it."""
        if not pieces:
            return self._thinks
        self._thinks = isinstance(pieces[-1], Thought)
        return any(isinstance(piece, Thought) for piece in pieces)

    def _spoken(self, logprobs: list[Logprob], pieces: Sequence[Piece]) -> list[Logprob]:
        """Those that belong to content: it ends with the last token; tags and the blanks around them come before."""
        tokens = self._untold + logprobs
        self._untold = [] if pieces else tokens
        left = sum(len(piece.text.encode()) for piece in pieces if isinstance(piece, Content))
        first = len(tokens)
        while left > 0 and first > 0:
            first -= 1
            left -= len(tokens[first].token)
        return tokens[first:]

    def _known(self, pieces: Sequence[Piece]) -> list[Piece]:
        """The pieces with an id for every call, and without those calls that were not asked for."""
        known: list[Piece] = []
        for piece in pieces:
            if isinstance(piece, ToolCall):
                self._calls += 1
                if self._calls > 1 and not self.parallel_calls:
                    continue
                known.append(piece if piece.id else msgspec.structs.replace(piece, id=call_id()))
            else:
                known.append(piece)
        return known

    async def whole(self) -> tuple[Output, Finished]:
        """All of it at once. Raises TooLarge above MAX_ANSWER."""
        whole = Output()
        texts: list[tuple[type, list[str]]] = []
        size = 0
        while True:
            output, finished = await self.read()
            for piece in output.pieces:
                if isinstance(piece, ToolCall):
                    whole.pieces += _joined(texts)
                    whole.pieces.append(piece)
                    texts.clear()
                    continue
                if not texts or texts[-1][0] is not type(piece):
                    texts.append((type(piece), []))
                texts[-1][1].append(piece.text)
                size += len(piece.text.encode())
            whole.logprobs += output.logprobs
            whole.spoken += output.spoken
            if size > MAX_ANSWER:
                raise TooLarge(f"the answer passes {MAX_ANSWER} bytes; stream it or set a token limit")
            if finished is not None:
                whole.pieces += _joined(texts)
                return whole, finished

    def _account(self, finished: Finished) -> None:
        if finished.reason == "cancel":
            raise Busy(_CUT)
        model = self.offer.name.display
        metrics.TOKENS.labels(model, "prompt").inc(max(0, finished.prompt_tokens - finished.cached_tokens))
        metrics.TOKENS.labels(model, "cached").inc(finished.cached_tokens)
        metrics.TOKENS.labels(model, "output").inc(finished.output_tokens)
        if finished.shifted:
            metrics.CUTS.labels(model, "shift").inc()
            sentence = f"{finished.shifted} tokens of the context made room for the answer"
            self.notes["X-Powerd-Shifted"] = sentence
            _log.warning("the context was shifted", model=model, dropped=finished.shifted)


def _joined(texts: list[tuple[type, list[str]]]) -> list[Piece]:
    return [kind("".join(parts)) for kind, parts in texts]


def call_id() -> str:
    """An id for a tool call, of the form Ollama gives them (contract section 8.2)."""
    return "call_" + "".join(secrets.choice(_ID_CHARACTERS) for _ in range(8))


# ---------------------------------------------------------------- failures


def failure(frame: Failed) -> PowerError:
    """A runner's Failed frame as the error it stands for."""
    if frame.code == errors.ContextOverflow.code:
        return errors.ContextOverflow(frame.needed, frame.limit, frame.limit_source)
    if frame.code == errors.Cancelled.code:
        return Busy(_CUT)
    kind = _PLAIN.get(frame.code)
    return kind(frame.message) if kind else RunnerDied(frame.message or frame.code)


_PLAIN: Mapping[str, type[PowerError]] = MappingProxyType(
    {
        kind.code: kind
        for kind in (
            errors.BadRequest,
            errors.Unsupported,
            errors.TooLarge,
            errors.Busy,
            errors.LoadFailed,
            errors.Timeout,
        )
    }
)
