"""Wire: length-prefixed frames over a child's socket, both ways, on the event loop.

Reading hands over each frame's bytes as it is complete; writing keeps to what the child takes: a body in many frames
is encoded piece by piece as the socket drains, so nothing large is ever held twice or written at one go.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import cast

from powerd.protocol import HEADER, MAX_FRAME


class BrokenPeer(Exception):
    """The child spoke nonsense; the message says which kind."""


class Wire(asyncio.Protocol):
    """One socket's two directions.

    `on_frame` gets each frame's body and may raise BrokenPeer. `on_end` is called once, when reading has ended: with
    what was wrong, or "" when the child hung up.
    """

    def __init__(self, on_frame: Callable[[memoryview], None], on_end: Callable[[str], None]) -> None:
        self.heard = 0.0  # loop time of the last bytes
        self._loop = asyncio.get_running_loop()
        self._on_frame = on_frame
        self._on_end = on_end
        self._ended = False
        self._reset = False
        self._transport: asyncio.Transport | None = None
        self._tail = b""
        self._outbox: deque[Iterator[bytes]] = deque()
        self._paused = False

    # ------------------------------------------------------------ reading

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is ours; what was sent before goes out."""
        self._transport = cast(asyncio.Transport, transport)
        self.heard = self._loop.time()
        self._pump()

    def data_received(self, data: bytes) -> None:
        """Hand over every frame that is complete."""
        self.heard = self._loop.time()
        try:
            self._tail = self._split(self._tail + data if self._tail else data)
        except BrokenPeer as error:
            self._end(str(error))
            self.close()

    def _split(self, data: bytes) -> bytes:
        view, at, end = memoryview(data), 0, len(data)
        while end - at >= HEADER.size:
            (size,) = HEADER.unpack_from(data, at)
            if size > MAX_FRAME:
                raise BrokenPeer(f"it sent a frame of {size} bytes, over the limit of {MAX_FRAME}")
            stop = at + HEADER.size + size
            if stop > end:
                break
            self._on_frame(view[at + HEADER.size : stop])
            at = stop
        return data[at:] if at < end else b""

    def connection_lost(self, error: Exception | None) -> None:
        """The child closed its end, or is gone.

        A Unix socket tells a reset from an end-of-file: the reset means that something we sent was never read.
        """
        self._transport = None
        self._reset = isinstance(error, ConnectionError)
        self._end("")

    def _end(self, why: str) -> None:
        if not self._ended:
            self._ended = True
            self._on_end(why)

    @property
    def unread(self) -> bool:
        """Whether the child has ended without reading all that was sent."""
        return self._ended and (self._reset or bool(self._outbox))

    # ------------------------------------------------------------ writing

    def send(self, frame: bytes) -> None:
        """Write one frame, after all that was sent before."""
        if self._outbox or self._paused or self._transport is None:
            self._outbox.append(iter((frame,)))
        else:
            self._transport.write(frame)

    def send_all(self, frames: Iterator[bytes]) -> None:
        """Write frames in order, drawing each one only when the one before has left."""
        self._outbox.append(frames)
        self._pump()

    def pause_writing(self) -> None:
        """The child reads slower than we write."""
        self._paused = True

    def resume_writing(self) -> None:
        """The child has caught up."""
        self._paused = False
        self._pump()

    def _pump(self) -> None:
        while self._outbox and not self._paused and self._transport is not None:
            frame = next(self._outbox[0], None)
            if frame is None:
                self._outbox.popleft()
            else:
                self._transport.write(frame)

    def close(self) -> None:
        """Close our end at once; what was not written is lost."""
        if self._transport is not None:
            self._transport.abort()
