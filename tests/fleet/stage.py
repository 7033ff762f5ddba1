"""Stage: a Fleet over fake runners, for tests that need real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

from powerd.fleet.fleet import Fleet
from powerd.fleet.process import Item, Stream
from powerd.fleet.terms import FleetConfig, FleetEvent, Want
from powerd.protocol import Deployment, Finished, Generate, Row, Shape

COMMAND = (sys.executable, str(Path(__file__).parent.parent / "fake_runner.py"))
#: Deadlines short enough to wait for, long enough for two busy cores.
CONFIG = FleetConfig(memory_budget=10 << 30, shutdown_grace=0.5, terminate_grace=0.5)

_keys = iter(range(1, 1 << 30))


def fake(orders: str = "", *, parallel: int = 1, context: int = 4096, auto: bool = False) -> Deployment:
    """A deployment whose fake runner follows `orders`; each call makes another key."""
    shape = Shape(1 << 20, 2, 64, 64, 1000, 1 << 17)
    return Deployment(f"/weights?{orders}", f"{next(_keys):064x}", context, parallel, shape, context_auto=auto)


class Stage:
    """A running fleet and the events it told."""

    def __init__(self, config: FleetConfig = CONFIG, command: tuple[str, ...] = COMMAND) -> None:
        self.events: list[FleetEvent] = []
        self.fleet = Fleet(config, command, self.events.append)

    def said(self, kind: str) -> list[str]:
        """The reasons of every event of a kind."""
        return [event.reason for event in self.events if event.kind == kind]

    async def ask(self, deployment: Deployment, prompt: str = "", **changes: object) -> list[Item]:
        """One request from lease to terminal frame."""
        async with await self.fleet.lease(want(deployment)) as lease:
            return await collect(lease.submit(generate(prompt, **changes)))


def want(deployment: Deployment, **changes: object) -> Want:
    """A request for a deployment."""
    return replace(Want(deployment, "model"), **changes)  # type: ignore[arg-type]


def generate(orders: str = "", **changes: object) -> Generate:
    """A request whose answer follows `orders`."""
    return Generate(id=0, prompt=f"hi?{orders}", **changes)  # type: ignore[arg-type]


async def collect(stream: Stream) -> list[Item]:
    """Everything that arrives, until the end."""
    return [item async for batch in stream for item in batch]


def text(items: list[Item]) -> str:
    """The text of an answer that ended well."""
    assert isinstance(items[-1], Finished)
    return "".join(item.text for item in items if isinstance(item, Row))


def on_stage(
    play: Callable[[Stage], Awaitable[None]], config: FleetConfig = CONFIG, command: tuple[str, ...] = COMMAND
) -> float:
    """Run a test against a fleet and stop it; nothing may be left. Returns the seconds that stopping took."""

    async def run() -> float:
        open_files = len(os.listdir("/proc/self/fd"))
        stage = Stage(config, command)
        await stage.fleet.start()
        try:
            async with asyncio.timeout(20):
                await play(stage)
        finally:
            started = time.monotonic()
            await stage.fleet.stop(0)
            took = time.monotonic() - started
        assert stage.fleet.views() == []
        assert [reserved for _, _, reserved in stage.fleet.memory()] == [0]
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
        await asyncio.sleep(0)
        assert len(os.listdir("/proc/self/fd")) <= open_files  # another fleet of this process may close some of its own
        return took

    return asyncio.run(run())


def alive(pid: int) -> bool:
    """Whether a process of this id runs (a zombie does not)."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Kill a runner from outside."""
    os.kill(pid, number)


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait for something that must come true."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


def children(pid: int) -> Iterator[int]:
    """The ids of a process's children."""
    for line in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield int(line)
