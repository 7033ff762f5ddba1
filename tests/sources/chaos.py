"""A TCP proxy that breaks connections: at a given byte of the answer it resets, ends, stalls or changes one bit."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["none", "refuse", "reset", "end", "stall", "flip"]


@dataclass(frozen=True)
class Fault:
    kind: Kind = "none"
    at: int = 0  # bytes of the answers on this connection


class Chaos:
    """In front of `upstream` (host:port), in a thread of its own. `choose` gives each new connection its fault."""

    def __init__(self, upstream: str, choose: Callable[[], Fault]) -> None:
        host, _, port = upstream.rpartition(":")
        self._upstream = (host, int(port))
        self._choose = choose
        self.down = 0  # bytes that were sent to clients
        self.broken = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Chaos:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        connections: set[asyncio.Task[None]] = set()

        def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._connection(reader, writer))
            connections.add(task)
            task.add_done_callback(connections.discard)

        server = await asyncio.start_server(accepted, sock=self._listener)
        await self._stop.wait()
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fault = self._choose()
        self.broken += fault.kind != "none"
        if fault.kind == "refuse":
            _reset(writer)
            return
        try:
            above_reader, above_writer = await asyncio.open_connection(*self._upstream)
            up = asyncio.ensure_future(_copy(reader, above_writer))
            try:
                with contextlib.suppress(ConnectionError):
                    await self._answer(above_reader, writer, fault)
            finally:
                up.cancel()
                above_writer.transport.abort()
        finally:  # also where this ends before anybody above has answered
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault) -> None:
        sent = 0
        while data := await reader.read(16_384):
            here = fault.at - sent
            if fault.kind != "none" and 0 <= here < len(data):
                if fault.kind != "flip":
                    await self._send(writer, data[:here])
                    await _break(writer, fault.kind)
                    return
                data = data[:here] + bytes([data[here] ^ 1]) + data[here + 1 :]
            await self._send(writer, data)
            sent += len(data)
        writer.write_eof()

    async def _send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        self.down += len(data)
        writer.write(data)
        await writer.drain()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(16_384):
            writer.write(data)
            await writer.drain()


async def _break(writer: asyncio.StreamWriter, kind: Kind) -> None:
    if kind == "stall":
        await asyncio.sleep(3600)
    elif kind == "reset":
        _reset(writer)
    else:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def _reset(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
