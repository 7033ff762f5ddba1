"""Lives: the runner processes, each from spawn to reaped. What becomes of one is an event of the state."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from functools import partial

import structlog

from powerd.fleet.effects import Spawn
from powerd.fleet.process import Launch, Listener, RunnerProcess
from powerd.fleet.promises import Event
from powerd.fleet.state import FleetState

_log = structlog.get_logger("powerd.fleet")


class Lives:
    """Every process there is, by runner number. `listener` hears what the processes say."""

    def __init__(self, launch: Launch, state: FleetState, do: Callable[[Event], None], listener: Listener) -> None:
        self._launch = launch
        self._state = state
        self._do = do
        self._listener = listener
        self._processes: dict[int, RunnerProcess] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def __getitem__(self, number: int) -> RunnerProcess:
        return self._processes[number]

    def pids(self) -> dict[int, int]:
        """The process id of every runner; 0 before it has one."""
        return {number: process.pid for number, process in self._processes.items()}

    def heard(self, now: float) -> dict[int, float]:
        """When a frame last came from each runner; `now` for those that owe nothing."""
        return {number: process.heard(now) for number, process in self._processes.items()}

    def spawn(self, spawn: Spawn) -> None:
        """Begin a life."""
        process = RunnerProcess(spawn.runner, spawn.deployment, self._launch, spawn.model, self._listener)
        self._processes[spawn.runner] = process
        self._tasks[spawn.runner] = asyncio.create_task(self._live(process))

    async def _live(self, process: RunnerProcess) -> None:
        number = process.number
        try:
            how = await process.run()
        except OSError as error:
            how = f"the runner could not be started: {error.strerror}"
            self._do(partial(self._state.load_failed, number, how))
        if process.out_of_memory:
            self._do(partial(self._state.load_failed, number, how, out_of_memory=True))
        del self._processes[number], self._tasks[number]
        self._do(partial(self._state.exited, number, how, out_of_memory=process.out_of_memory))
        if process.last_lines and not process.asked_to_stop:
            _log.error("last words of a runner", runner=number, how=how, lines=process.last_lines)

    async def ended(self, numbers: Collection[int]) -> None:
        """Wait until these runners are reaped."""
        if numbers:
            await asyncio.wait([self._tasks[number] for number in numbers])

    async def over(self) -> None:
        """Wait until every runner is reaped, for as long as the kill ladder takes."""
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=self._launch.graces.total)

    def tasks(self) -> Iterable[asyncio.Task[None]]:
        """What still runs."""
        return self._tasks.values()
