"""The outbox: order kept, nobody blocked by a daemon that does not read."""

from __future__ import annotations

import socket
import threading
import time

import msgspec

from powerd.protocol import HEADER, Finished, FromRunner
from powerd.runner.outbox import Outbox

DECODER = msgspec.msgpack.Decoder(FromRunner)


def read_ids(sock: socket.socket, count: int) -> list[int]:
    ids = []
    with sock.makefile("rb") as stream:
        for _ in range(count):
            frame = DECODER.decode(stream.read(HEADER.unpack(stream.read(HEADER.size))[0]))
            assert isinstance(frame, Finished)
            ids.append(frame.id)
    return ids


def test_frames_arrive_in_order_after_a_daemon_that_did_not_read() -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
    outbox = Outbox(theirs)
    padding = b"x" * 50_000
    begun = time.monotonic()
    for number in range(200):  # 10 MB: more than the kernel takes
        outbox.send(Finished(number, "stop", tokens=padding))
    assert time.monotonic() - begun < 5
    paused = threading.Thread(target=outbox.wait)
    paused.start()
    paused.join(0.05)
    assert paused.is_alive()  # the engine waits, a cancelling thread would not
    assert read_ids(ours, 200) == list(range(200))
    paused.join(5)
    assert not paused.is_alive()
    outbox.flush(5)
    ours.close()
    theirs.close()


def test_frames_of_one_call_arrive_together() -> None:
    ours, theirs = socket.socketpair()
    Outbox(theirs).send(Finished(1, "stop"), Finished(2, "stop"))
    assert read_ids(ours, 2) == [1, 2]
    ours.close()
    theirs.close()


def test_a_daemon_that_is_gone_is_no_error() -> None:
    ours, theirs = socket.socketpair()
    outbox = Outbox(theirs)
    ours.close()
    outbox.send(Finished(1, "stop"))
    outbox.flush(1)
    theirs.close()
