"""Lease: a place on a ready runner."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import TracebackType

import msgspec

from powerd.errors import RunnerDied
from powerd.fleet.process import Counting, RunnerProcess, Stream
from powerd.protocol import Count, Failed, Generate, Sampling
from powerd.vectors import Embed

_numbers = itertools.count(1)
#: What a canary asks for: one token, whatever it is.
CANARY = Generate(id=0, prompt="Hi", sampling=Sampling(temperature=0.0), num_predict=1, request_id="canary")
EMBEDDING_CANARY = Embed(id=0, text="Hi")


class Lease:
    """Held until the `async with` block is left and the runner owes nothing for it."""

    def __init__(
        self,
        process: RunnerProcess,
        context: int,
        give_back: Callable[[], None],
        again: Callable[[Lease, Stream], Callable[[], object]] | None,
        *,
        quiet: bool = False,
    ) -> None:
        """`again`, if given, is asked once to send a stream's request to another runner; what it returns stops that."""
        self.context = context  # tokens per sequence actually served
        self.load_ns = 0  # nanoseconds between asking for the lease and having it
        self.quiet = quiet
        self.keep_alive_ignored = False  # the request's keep_alive has no effect: the model is declared to stay
        self._process = process
        self._give_back = give_back
        self._again = again
        self._stop_asking: Callable[[], object] | None = None
        self._open: set[int] = set()
        self._left = False

    @property
    def pid(self) -> int:
        """The runner's process id."""
        return self._process.pid

    def submit(self, frame: Generate | Embed) -> Stream:
        """Send a request to the runner; its id is assigned here. Raises BadRequest when no frame can carry it."""
        stream = Stream(msgspec.structs.replace(frame, id=next(_numbers)), self)
        self._send(stream)
        return stream

    async def count(self, text: str, add_bos: bool = True) -> int:
        """How many tokens `text` is, without a place in the batch. Raises RunnerDied when no answer comes."""
        counting = Counting(Count(next(_numbers), text, add_bos=add_bos), self)
        self._send(counting)
        await _succeeded(counting)
        return counting.tokens

    async def prove(self) -> None:
        """Have the runner answer with one token, or one vector. Raises RunnerDied when it does not."""
        await _succeeded(self.submit(EMBEDDING_CANARY if self._process.embeds else CANARY))

    def _send(self, stream: Stream) -> None:
        self._process.submit(stream)
        self._open.add(stream.frame.id)

    def release(self) -> None:
        """Give the place back. Requests still running on it are cancelled; the place is free when they have ended."""
        if self._left:
            return
        self._left = True
        if self._stop_asking is not None:
            self._stop_asking()
        self._open = {number for number in self._open if self._process.owes(number)}
        for number in self._open:
            self._process.cancel(number)
        if not self._open:
            self._give_back()

    def answered(self, number: int) -> None:
        """The runner owes nothing more for this request."""
        self._open.discard(number)
        if self._left and not self._open:
            self._give_back()

    def unread(self, stream: Stream) -> bool:
        """The runner ended before it read this request: have it sent again, unless that was done before."""
        if self._left or self._again is None:
            return False
        self._stop_asking = self._again(self, stream)
        self._again = None
        return True

    def move(self, other: Lease, stream: Stream) -> None:
        """Go on with the place that `other` holds, and send the stream's request there."""
        self._process, self._give_back, self.context = other._process, other._give_back, other.context
        self._open = set()
        self._send(stream)

    async def __aenter__(self) -> Lease:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


async def _succeeded(stream: Stream) -> None:
    """Read to the end. Raises RunnerDied when the runner says that it failed."""
    async for batch in stream:
        for item in batch:
            if isinstance(item, Failed):
                raise RunnerDied(item.message or item.code)
