"""Frames over a real socketpair."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Awaitable, Callable

from powerd.fleet.wire import BrokenPeer, Wire
from powerd.protocol import HEADER, MAX_FRAME

Body = Callable[[Wire, socket.socket, list[bytes], list[str]], Awaitable[None]]


def wired(body: Body, refuse: str = "") -> None:
    """Run `body` with a Wire, the other end of its socket, the frames it got and the ends it told."""

    async def run() -> None:
        frames: list[bytes] = []
        ends: list[str] = []

        def frame(data: memoryview) -> None:
            if refuse:
                raise BrokenPeer(refuse)
            frames.append(bytes(data))

        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        wire = Wire(frame, ends.append)
        await asyncio.get_running_loop().create_connection(lambda: wire, sock=ours)
        try:
            await asyncio.wait_for(body(wire, theirs, frames, ends), 5)
        finally:
            wire.close()
            theirs.close()
            await asyncio.sleep(0)

    asyncio.run(run())


def packed(body: bytes) -> bytes:
    return HEADER.pack(len(body)) + body


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def test_frames_arrive_whole_however_they_are_cut() -> None:
    async def body(wire: Wire, peer: socket.socket, frames: list[bytes], ends: list[str]) -> None:
        bodies = [b"", b"a", b"b" * 300, b"c" * MAX_FRAME]
        data = b"".join(packed(each) for each in bodies)
        cuts = [0, 1, 3, 5, 200, 310, 312, 1000, len(data)]
        for start, end in itertools.pairwise(cuts):
            await asyncio.get_running_loop().sock_sendall(peer, data[start:end])
            await asyncio.sleep(0.001)
        await until(lambda: len(frames) == 4)
        assert frames == bodies

    wired(body)


def test_a_frame_over_the_limit_ends_the_connection() -> None:
    async def body(wire: Wire, peer: socket.socket, frames: list[bytes], ends: list[str]) -> None:
        peer.send(HEADER.pack(MAX_FRAME + 1))
        await until(lambda: ends)
        assert ends == [f"it sent a frame of {MAX_FRAME + 1} bytes, over the limit of {MAX_FRAME}"]

    wired(body)


def test_a_frame_the_reader_refuses_ends_the_connection_once() -> None:
    async def body(wire: Wire, peer: socket.socket, frames: list[bytes], ends: list[str]) -> None:
        peer.send(packed(b"x") + packed(b"y"))
        await until(lambda: ends)
        await asyncio.sleep(0.01)
        assert ends == ["nonsense"]

    wired(body, refuse="nonsense")


def test_hanging_up_is_told_without_blame() -> None:
    async def body(wire: Wire, peer: socket.socket, frames: list[bytes], ends: list[str]) -> None:
        peer.close()
        await until(lambda: ends)
        assert ends == [""]

    wired(body)


def test_a_long_body_is_drawn_only_as_the_peer_reads_and_order_is_kept() -> None:
    async def body(wire: Wire, peer: socket.socket, frames: list[bytes], ends: list[str]) -> None:
        drawn = 0

        def parts() -> object:
            nonlocal drawn
            for number in range(100):
                drawn += 1
                yield packed(bytes([number]) * 100_000)

        wire.send(packed(b"first"))
        wire.send_all(parts())  # type: ignore[arg-type]
        wire.send(packed(b"last"))
        await asyncio.sleep(0.01)
        assert drawn < 20
        received = bytearray()
        total = 9 + 100 * 100_004 + 8
        while len(received) < total:
            received += await asyncio.get_running_loop().sock_recv(peer, 1 << 20)
        assert drawn == 100
        assert received.startswith(packed(b"first"))
        assert received.endswith(packed(b"last"))

    wired(body)


def test_what_is_sent_before_the_socket_is_there_goes_out_first() -> None:
    async def run() -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        wire = Wire(lambda data: None, lambda why: None)
        wire.send(packed(b"one"))
        await asyncio.get_running_loop().create_connection(lambda: wire, sock=ours)
        wire.send(packed(b"two"))
        await asyncio.sleep(0.01)
        assert theirs.recv(100) == packed(b"one") + packed(b"two")
        wire.close()
        theirs.close()
        await asyncio.sleep(0)

    asyncio.run(run())
