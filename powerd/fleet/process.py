"""RunnerProcess: a runner's process and the mailboxes of the requests on it.

The one reader of its frames: load progress goes to the fleet, what a request gets into its mailbox. A runner that
ends fails its open mailboxes at once, and only those.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from powerd.errors import BadRequest, PowerError, RunnerDied
from powerd.fleet.child import Child, Graces
from powerd.fleet.wire import BrokenPeer
from powerd.protocol import (
    MAX_FRAME,
    PART_BYTES,
    Cancel,
    Count,
    Counted,
    Cut,
    Delta,
    Deployment,
    Failed,
    Finished,
    FromRunner,
    Generate,
    Load,
    LoadFailed,
    Part,
    Progress,
    Ready,
    Row,
    Shutdown,
    Stats,
    encode,
)
from powerd.vectors import Embed, Embedded

#: How a runner is started; the number of its socket is appended.
DEFAULT_COMMAND = (sys.executable, "-m", "powerd.runner")

Item = Cut | Row | Finished | Embedded | Failed


class Stream:
    """The mailbox of one request: `async for` yields all that arrived since the last time, the terminal frame last.

    A Cut, if the prompt lost its middle, comes before the first Row.
    Iterating raises RunnerDied (or what else ended the runner) when the terminal frame will not come.
    """

    __slots__ = ("_arrived", "_batch", "_error", "_over", "begun", "frame", "owner")

    def __init__(self, frame: Generate | Embed | Count, owner: StreamOwner) -> None:
        self.frame = frame
        self.owner = owner
        self.begun = False  # whether anything ever arrived
        self._batch: list[Item] = []
        self._arrived: asyncio.Future[None] | None = None
        self._over = False
        self._error: PowerError | None = None

    def put(self, item: Item) -> None:
        """Something arrived."""
        self.begun = True
        self._batch.append(item)
        self._wake()

    def end(self, error: PowerError | None = None) -> None:
        """Nothing more will arrive."""
        self._over = True
        self._error = error
        self._wake()

    def _wake(self) -> None:
        arrived = self._arrived
        if arrived is not None and not arrived.done():
            arrived.set_result(None)

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> list[Item]:
        while not self._batch:
            if self._error is not None:
                raise self._error
            if self._over:
                raise StopAsyncIteration
            self._arrived = asyncio.get_running_loop().create_future()
            try:
                await self._arrived
            finally:
                self._arrived = None
        batch, self._batch = self._batch, []
        return batch


class Counting(Stream):
    """The mailbox of a Count: nothing arrives but a Failed, and `tokens` is set when it ends without one."""

    __slots__ = ("tokens",)

    def __init__(self, frame: Count, owner: StreamOwner) -> None:
        super().__init__(frame, owner)
        self.tokens = 0


class StreamOwner(Protocol):
    """Who submitted a request."""

    quiet: bool  # a canary, which leaves no trace

    def answered(self, number: int) -> None:
        """The terminal frame of request `number` has come."""

    def unread(self, stream: Stream) -> bool:
        """The runner ended before it read this request. Whether it is sent again to another."""


class Listener(Protocol):
    """Who hears what becomes of a runner; `number` is the runner's."""

    def loading(self, number: int, frame: Progress) -> None:
        """Its load goes on."""

    def loaded(self, number: int, frame: Ready) -> None:
        """It can serve."""

    def not_loaded(self, number: int, frame: LoadFailed) -> None:
        """It could not load and exits."""

    def measured(self, number: int, frame: Stats) -> None:
        """Its gauges."""

    def answered(self, number: int) -> None:
        """It has finished a request that is no canary's."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How runners are started and ended."""

    command: Sequence[str]
    graces: Graces


class RunnerProcess:
    """One runner from spawn to reaped."""

    def __init__(self, number: int, deployment: Deployment, launch: Launch, label: str, listener: Listener) -> None:
        self.number = number
        self._child = Child(launch.command, label, self._received, launch.graces)
        self._deployment = deployment
        self._listener = listener
        self._decode = msgspec.msgpack.Decoder(FromRunner).decode
        self._streams: dict[int, Stream] = {}
        self._fate: PowerError | None = None  # what we told its requests, if we ended it under them
        self._gone: PowerError | None = None  # what its requests hear, once it has ended
        self._busy_since = 0.0  # when it last began to owe something

    @property
    def pid(self) -> int:
        """The process's id; 0 before it is spawned."""
        return self._child.pid

    @property
    def embeds(self) -> bool:
        """Whether its model makes vectors and cannot continue text."""
        return bool(self._deployment.shape.pooling)

    @property
    def last_lines(self) -> list[str]:
        """The last lines it wrote to standard error."""
        return self._child.last_lines

    @property
    def asked_to_stop(self) -> bool:
        """Whether its end is our doing."""
        return self._child.stopping

    @property
    def out_of_memory(self) -> bool:
        """Whether the kernel killed it for want of memory."""
        return self._child.out_of_memory

    def heard(self, now: float) -> float:
        """When a frame last came; `now` while it owes nothing."""
        return max(self._child.wire.heard, self._busy_since) if self._streams else now

    async def run(self) -> str:
        """Start it, have it load, wait until it is gone. Returns how it ended. Raises OSError when it cannot start."""
        self._child.wire.send(encode(Load(self._deployment)))
        how = "the server is shutting down"
        try:
            how = await self._child.run()
        finally:
            self._gone = self._fate or RunnerDied(how)
            self._fail_all(self._gone)
        return how

    def stop(self, error: PowerError | None) -> None:
        """End it. With `error`, requests on it fail at once with that, and SIGTERM comes before anything polite."""
        if error is not None:
            self._fate = error
            self._fail_all(error)
        self._child.stop(encode(Shutdown()) if error is None else None)

    # ------------------------------------------------------------ requests

    def submit(self, stream: Stream) -> None:
        """Send a request; its answer goes into `stream`. Raises BadRequest when it passes what frames can carry.

        A process that has ended meanwhile has not read it.
        """
        frames = _frames(stream.frame)
        if self._gone is not None:
            self._fail(stream, self._gone, unread=self._fate is None)
            return
        if not self._streams:
            self._busy_since = asyncio.get_running_loop().time()
        self._streams[stream.frame.id] = stream
        self._child.wire.send_all(frames)

    def cancel(self, request: int) -> None:
        """Ask for the terminal frame now; nobody reads this mailbox any more."""
        if request in self._streams:
            self._child.wire.send(encode(Cancel(request)))

    def owes(self, request: int) -> bool:
        """Whether this request's terminal frame is still to come."""
        return request in self._streams

    def _fail_all(self, error: PowerError) -> None:
        streams, self._streams = self._streams, {}
        unread = self._child.wire.unread and self._fate is None
        for stream in streams.values():
            self._fail(stream, error, unread=unread and not stream.begun)

    @staticmethod
    def _fail(stream: Stream, error: PowerError, *, unread: bool) -> None:
        if not (unread and stream.owner.unread(stream)):
            stream.end(error)

    # ------------------------------------------------------------ frames

    def _received(self, body: memoryview) -> None:
        try:
            frame = self._decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise BrokenPeer(f"it sent a frame that cannot be read: {error}") from error
        if type(frame) is Delta:
            streams = self._streams
            for row in frame.rows:
                stream = streams.get(row.id)
                if stream is not None:
                    stream.put(row)
        else:
            self._dispatch(frame)

    def _dispatch(self, frame: FromRunner) -> None:
        match frame:
            case Finished() | Embedded() | Failed():
                self._close(frame)
            case Cut():
                if (stream := self._streams.get(frame.id)) is not None:
                    stream.put(frame)
            case Counted():
                self._counted(frame)
            case Stats():
                self._listener.measured(self.number, frame)
            case Progress():
                self._listener.loading(self.number, frame)
            case Ready():
                self._listener.loaded(self.number, frame)
            case LoadFailed():
                self._listener.not_loaded(self.number, frame)

    def _close(self, frame: Finished | Embedded | Failed) -> None:
        stream = self._streams.pop(frame.id, None)
        if stream is not None:
            stream.put(frame)
            stream.end()
            stream.owner.answered(frame.id)
            well = isinstance(frame, Embedded) or (isinstance(frame, Finished) and frame.reason != "cancel")
            if well and not stream.owner.quiet:
                self._listener.answered(self.number)

    def _counted(self, frame: Counted) -> None:
        stream = self._streams.pop(frame.id, None)
        if isinstance(stream, Counting):
            stream.tokens = frame.tokens
            stream.end()
            stream.owner.answered(frame.id)


def _frames(frame: Generate | Embed | Count) -> Iterator[bytes]:
    """The request as frames: a text too large for one goes ahead in parts."""
    name = "prompt" if isinstance(frame, Generate) else "text"
    whole: str = getattr(frame, name)
    beside = isinstance(frame, Generate) and frame.constraint is not None  # a grammar may take most of a frame
    room = 0 if beside else PART_BYTES
    text = whole.encode() if len(whole) > room // 4 else b""
    if len(text) <= room:
        return iter((_whole(frame),))
    count = -(-len(text) // PART_BYTES)
    last = _whole(msgspec.structs.replace(frame, **{name: "", "parts": count}))
    return _in_parts(frame.id, text, last)


def _in_parts(number: int, data: bytes, last: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), PART_BYTES):
        yield encode(Part(number, data[start : start + PART_BYTES]))
    yield last


def _whole(frame: Generate | Embed | Count) -> bytes:
    try:
        return encode(frame)
    except ValueError as error:
        raise BadRequest(f"the request is too large: beside its prompt it passes {MAX_FRAME} bytes") from error
