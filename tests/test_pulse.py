"""pulse: WATCHDOG only while every owner makes progress, READY once, and a machine that slept is noticed."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from powerd import pulse
from powerd.pulse import Heart, Pulse, Supervisor, answers


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(pulse, "READY_SECONDS", 0.02)


class Scene:
    """What was said, and the knobs."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.ready = True
        self.alive = True
        self.hang = asyncio.Event()
        self.slept = 0.0
        self.resumed = 0

    async def work(self) -> bool:
        if self.hang.is_set():
            await asyncio.sleep(60)
        return self.alive

    async def broken(self) -> bool:
        if not self.alive:
            raise RuntimeError("told to")
        return True

    def wake(self) -> None:
        self.resumed += 1

    def pulse(self, work: Callable[[], Awaitable[bool]] | None = None) -> Pulse:
        return Pulse(
            Supervisor(self.said.append, watchdog=0.04),
            (Heart("reconciler", work or self.work, 0.01), Heart("fleet", self.always, 0.01)),
            ready=lambda: self.ready,
            status=lambda: "well",
            resumed=self.wake,
            clocks=lambda: self.slept,
        )

    async def always(self) -> bool:
        return True

    def watchdogs(self) -> int:
        return self.said.count("WATCHDOG=1")


def play(act: Callable[[Scene], Awaitable[None]], work: str = "work") -> None:
    async def scene() -> None:
        stage = Scene()
        task = asyncio.create_task(stage.pulse(getattr(stage, work)).run())
        try:
            await act(stage)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scene())


async def quiet(stage: Scene) -> None:
    """Wait until the watchdog is fed no more, and make sure that it stays so."""
    async with asyncio.timeout(5):
        while "STATUS=no progress: reconciler" not in stage.said:
            await asyncio.sleep(0.01)
    before = stage.watchdogs()
    await asyncio.sleep(0.15)
    assert stage.watchdogs() == before


def test_ready_once_and_the_watchdog_again_and_again() -> None:
    async def act(stage: Scene) -> None:
        stage.ready = False
        await asyncio.sleep(0.1)
        assert "READY=1" not in stage.said
        assert "EXTEND_TIMEOUT_USEC=30000000" in stage.said
        stage.ready = True
        await asyncio.sleep(0.2)
        assert (stage.said.count("READY=1"), stage.said.count("STATUS=well")) == (1, 1)
        assert stage.watchdogs() > 4

    play(act)


@pytest.mark.parametrize("how", ["hangs", "does nothing", "raises"])
def test_the_watchdog_starves_while_one_owner_makes_no_progress_and_is_fed_when_it_does(how: str) -> None:
    async def act(stage: Scene) -> None:
        await asyncio.sleep(0.05)
        assert stage.watchdogs()
        if how == "hangs":
            stage.hang.set()
        else:
            stage.alive = False
        await quiet(stage)
        if how != "hangs":
            stage.alive = True
            before = stage.watchdogs()
            await asyncio.sleep(0.15)
            assert stage.watchdogs() > before
            assert stage.said[-1] == "WATCHDOG=1" and "STATUS=well" in stage.said[-20:]

    play(act, "broken" if how == "raises" else "work")


def test_a_machine_that_slept_is_noticed_once_and_nobody_counts_as_stuck_for_it() -> None:
    async def act(stage: Scene) -> None:
        await asyncio.sleep(0.05)
        stage.slept = 3600.0
        await asyncio.sleep(0.15)
        assert stage.resumed == 1
        assert not [line for line in stage.said if "no progress" in line]

    play(act)


def test_a_listener_answers_or_does_not() -> None:
    async def act() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        assert await answers("127.0.0.1", port)
        assert await answers("0.0.0.0", port)  # what a daemon may be told to listen on
        server.close()
        await server.wait_closed()
        assert not await answers("127.0.0.1", port)

    asyncio.run(act())


def test_one_that_accepts_and_says_nothing_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "BEAT_SECONDS", 0.05)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        assert not asyncio.run(answers(*mute.getsockname()))
