"""What a runner says while it loads, and how many threads it takes."""

from __future__ import annotations

import os
import socket
import threading
from types import SimpleNamespace
from typing import cast

import msgspec
import pytest

from powerd.protocol import HEADER, FromRunner, Progress
from powerd.runner import __main__ as runner
from powerd.runner.outbox import Outbox

DECODER = msgspec.msgpack.Decoder(FromRunner)


class Rig:
    def __init__(self) -> None:
        self.stopping = threading.Event()
        self.ours, self.theirs = socket.socketpair()
        self.ours.settimeout(10)
        reader = cast(runner.Reader, SimpleNamespace(stopping=self.stopping))
        self.loading = runner.Loading(reader, Outbox(self.theirs))

    def said(self) -> list[FromRunner]:
        """Everything, once the load has ended."""
        self.loading.end()
        self.theirs.close()
        frames = []
        with self.ours, self.ours.makefile("rb") as stream:
            while header := stream.read(HEADER.size):
                frames.append(DECODER.decode(stream.read(HEADER.unpack(header)[0])))
        return frames


def test_progress_is_told_ten_times_a_second_at_most_and_the_end_always() -> None:
    rig = Rig()
    for hundredth in range(101):
        assert rig.loading.progress(hundredth / 100)
    assert rig.said() == [Progress(0.0), Progress(1.0)]


def test_a_shutdown_stops_the_load() -> None:
    rig = Rig()
    rig.stopping.set()
    assert not rig.loading.progress(0.5)
    rig.said()


def test_x03_a_process_that_grows_in_silence_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [1, 2, 2, 3]
    seen = threading.Event()

    def resident() -> int:
        if len(sizes) == 1:
            seen.set()
        return sizes.pop(0) if len(sizes) > 1 else sizes[0]

    monkeypatch.setattr(runner, "resident", resident)
    monkeypatch.setattr(runner, "_LIFE_SECONDS", 0.001)
    rig = Rig()
    assert seen.wait(10)
    assert rig.said() == [Progress(0.0), Progress(0.0)]  # it grew twice


def test_threads_are_no_more_than_the_process_may_use() -> None:
    assert 1 <= runner.usable_cores() <= len(os.sched_getaffinity(0))
