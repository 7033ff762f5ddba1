"""Fleet: the actor around FleetState. It owns the timer, the runner processes (lives.py) and what is promised to those
who wait (promises.py).

Every event goes through `_do`: the state decides in one step that nothing can interrupt, and its effects are performed
at once. Everything here runs on the daemon's event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import structlog

from powerd.errors import BackendUnavailable, Busy, PowerError, Timeout
from powerd.fleet import gauges
from powerd.fleet.budget import Estimate, estimate
from powerd.fleet.child import Graces
from powerd.fleet.devices import Device
from powerd.fleet.devices import devices as devices_of
from powerd.fleet.effects import Effect, Emit, Grant, Loaded, Refuse, Spawn, Stop
from powerd.fleet.foretell import foretell
from powerd.fleet.lease import Lease
from powerd.fleet.ledger import Ledger
from powerd.fleet.lives import Lives
from powerd.fleet.process import DEFAULT_COMMAND, Launch, Stream
from powerd.fleet.promises import Event, Promises
from powerd.fleet.state import FleetState
from powerd.fleet.terms import (
    FleetConfig,
    FleetEvent,
    Forecast,
    Hand,
    LoadFailure,
    Reason,
    RunnerView,
    Unload,
    Want,
    Wish,
)
from powerd.fleet.views import failures, overrides, views
from powerd.fleet.why import why_request
from powerd.machine import engine_version
from powerd.protocol import Deployment, LoadFailed, Progress, ReadBack, Ready, Stats
from powerd.settings import DeviceSettings

#: How long a cancelled task may take to end.
_CANCELLED_SECONDS = 1.0
_log = structlog.get_logger("powerd.fleet")
#: Seconds the gauges may lag behind.
_GAUGE_LAG = 0.1


def _shutting_down() -> PowerError:
    return Busy("the server is shutting down; try again when it is back", 5.0)


class Fleet:
    """Leases on runners, for whoever serves requests; runners in memory, for whoever declares them."""

    def __init__(
        self,
        config: FleetConfig,
        runner_command: Sequence[str] = DEFAULT_COMMAND,
        on_event: Callable[[FleetEvent], None] = lambda event: None,
        *,
        devices: Sequence[Device] | None = None,
        needs: Callable[[Deployment], Estimate] = estimate,
        on_measured: Callable[[Deployment, ReadBack], None] = lambda deployment, have: None,
        backend_available: bool | None = None,
    ) -> None:
        """A fleet on `devices` (None = the CPU alone).

        `needs` says what a deployment will hold, by device, and `on_measured` hears what it really does.
        `backend_available`: whether runners can work; None = look whether the engine is installed.
        """
        if backend_available is None:
            needs_engine = tuple(runner_command) == DEFAULT_COMMAND
            backend_available = not needs_engine or bool(engine_version())
        if devices is None:
            devices = devices_of({"cpu": DeviceSettings(budget=config.memory_budget)})
        self._state = FleetState(config, Ledger(_budgets(devices)), needs, lambda: random.uniform(0.8, 1.2))
        self._on_measured = on_measured
        launch = Launch(runner_command, Graces(config.shutdown_grace, config.terminate_grace))
        self._lives = Lives(launch, self._state, self._do, self)
        self._promises = Promises(self._do, self._state.cancel)
        self._on_event = on_event
        self._backend_available = backend_available
        self._errands: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._gauges = gauges.Gauges(self._state.board)
        self._gauge_timer: asyncio.TimerHandle | None = None
        self._quiet = asyncio.Event()  # no lease is held

    # ------------------------------------------------------------ life

    async def start(self) -> None:
        """Begin. Nothing is loaded until it is wished for or asked for."""
        if not self._backend_available:
            self._do(partial(self._state.refuse_all, BackendUnavailable))
        self._gauges.refresh()

    async def stop(self, drain: float) -> None:
        """Refuse new requests, give running ones `drain` seconds, then end every runner. A second call ends the wait.

        It takes at most `drain` and the deadlines of the kill ladder.
        """
        first = self._state.board.refusal is not _shutting_down
        self._do(partial(self._state.shut_down, _shutting_down, urgent=not first))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(drain if first else 0):
                await self._quiet.wait()
        if not self._quiet.is_set():
            self._do(partial(self._state.shut_down, _shutting_down, urgent=True))
        await self._lives.over()
        await self._still()

    async def _still(self) -> None:
        """Nothing of ours runs any more."""
        running = [*self._lives.tasks(), *self._errands]
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=_CANCELLED_SECONDS)
        for timer in (self._timer, self._gauge_timer):
            if timer is not None:
                timer.cancel()
        self._gauges.refresh()

    # ------------------------------------------------------------ leases

    async def lease(self, want: Want) -> Lease:
        """A place on a runner of `want.deployment`, loading it and making room for it as needed.

        Raises Busy, DoesNotFit, LoadFailed, RunnerDied, BackendUnavailable or Timeout.
        """
        asked = asyncio.get_running_loop().time()
        lease = await self._promises.wait(lambda ticket, now: self._state.request(ticket, want, now))
        assert lease is not None
        lease.load_ns = int((asyncio.get_running_loop().time() - asked) * 1e9)
        return lease

    async def load(
        self, deployment: Deployment, model: str, hold: float | None = None, *, owner: str = "operator"
    ) -> None:
        """Load a model by somebody's hand; with `hold`, keep it for that many seconds. Raises as `lease` does."""
        want = Want(deployment, model)
        await self._promises.wait(lambda ticket, now: self._state.load(ticket, want, hold, now, owner=owner))

    async def canary(self, key: str, timeout: float) -> None:
        """Have a ready deployment answer with one token, through the queue and the batch that real requests take.

        Nothing is loaded or evicted for it, and no clock or keep-alive is touched. Raises Timeout after `timeout`
        seconds, Busy when no runner of it is ready, and what else can become of a request.
        """
        entry = self._state.board.entries.get(key)
        if entry is None:
            raise Busy("the model is not ready")
        want = Want(entry.deployment, entry.model, deadline_s=timeout, request_id="canary", quiet=True)
        try:
            async with asyncio.timeout(timeout), await self.lease(want) as lease:
                await lease.prove()
        except TimeoutError:
            raise Timeout(f"'{entry.model}' did not answer a request for one token within {timeout:g} s") from None

    # ------------------------------------------------------------ the owner's hand

    def wish(self, wishes: Mapping[str, Wish]) -> None:
        """What is declared from now on, by deployment key; replaces all that was declared before."""
        self._do(partial(self._state.wishes, wishes))

    async def unload(
        self,
        key: str,
        reason: Reason = Reason.OPERATOR,
        *,
        force: bool = False,
        hold: float | None = None,
        owner: str = "operator",
    ) -> Unload:
        """Take a model out of memory, as FleetState.unload says.

        Returns when its process is gone, or at once when requests still run on it.
        """
        answer: list[Unload] = []

        def event(now: float) -> list[Effect]:
            verdict, effects = self._state.unload(key, reason, now, force=force, hold=hold, owner=owner)
            answer.append(verdict)
            return effects

        self._do(event)
        entry = self._state.board.entries.get(key)
        if entry is not None and answer[0]:
            await self._lives.ended([runner.id for runner in entry.runners if runner.why])
        return answer[0]

    def set_devices(self, devices: Sequence[Device]) -> None:
        """The devices there are from now on; what is loaded stays."""
        self._do(partial(self._state.budgets, _budgets(devices)))

    # ------------------------------------------------------------ what is

    def views(self) -> list[RunnerView]:
        """Every runner, oldest first."""
        return views(self._state.board, self._lives.pids(), asyncio.get_running_loop().time())

    def memory(self) -> list[tuple[str, int, int]]:
        """For each device: its id, the bytes it may give out and the bytes it has given out."""
        ledger = self._state.board.ledger
        return [(device, ledger.budget(device), ledger.reserved(device)) for device in ledger.devices]

    def failures(self) -> list[LoadFailure]:
        """Every deployment whose last load failed, the latest first; times as of the running loop's clock."""
        return failures(self._state.board)

    def overrides(self) -> list[Hand]:
        """Every override that holds, also of what is not in memory; times as of the running loop's clock."""
        return overrides(self._state.board, asyncio.get_running_loop().time())

    def foretell(self, wishes: Mapping[str, Wish]) -> Forecast:
        """What `wish(wishes)` would load and unload. Nothing is changed."""
        return foretell(self._state.board, wishes, asyncio.get_running_loop().time())

    def story(self, key: str) -> list[str]:
        """The last things that happened to a deployment, oldest first."""
        entry = self._state.board.entries.get(key)
        return entry.story.lines(asyncio.get_running_loop().time()) if entry else []

    def why(self, key: str) -> str:
        """Why a deployment that is wanted is not loaded, as a sentence; "" when it is, or nobody wants it."""
        if not self._backend_available:
            return BackendUnavailable().message
        entry = self._state.board.entries.get(key)
        return entry.waiting if entry and entry.current is None else ""

    def why_request(self, request_id: str) -> list[str]:
        """What a request waits for or runs on, in sentences; empty when it is not here."""
        return why_request(self._state.board, request_id, asyncio.get_running_loop().time())

    # ------------------------------------------------------------ events in, effects out

    def _do(self, event: Event) -> None:
        for effect in event(asyncio.get_running_loop().time()):
            self._perform(effect)
        if self._state.board.leases:
            self._quiet.clear()
        else:
            self._quiet.set()
        self._rearm()

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Grant():
                self._grant(effect)
            case Loaded(ticket):
                self._promises.keep(ticket, None)
            case Refuse(ticket, error):
                self._promises.refuse(ticket, error)
            case Spawn():
                self._lives.spawn(effect)
            case Stop(runner, error):
                self._lives[runner].stop(error)
            case Emit(event):
                self._tell(event)

    def _grant(self, grant: Grant) -> None:
        process = self._lives[grant.runner]
        runner = self._state.board.runners[grant.runner]
        context = runner.readback.context if runner.readback else runner.deployment.context
        give_back = partial(self._do, partial(self._state.release, grant.ticket))
        quiet = grant.want.quiet
        lease = Lease(process, context, give_back, None if quiet else partial(self._again, grant.want), quiet=quiet)
        lease.keep_alive_ignored = grant.keep_alive_ignored
        self._promises.keep(grant.ticket, lease)

    def _again(self, want: Want, lease: Lease, stream: Stream) -> Callable[[], object]:
        """A runner was gone before it read a request it had been given: have another one answer it.

        Returns what ends the wait for that one.
        """
        errand = asyncio.create_task(self._resubmit(want, lease, stream))
        self._errands.add(errand)
        errand.add_done_callback(self._errands.discard)
        return errand.cancel

    async def _resubmit(self, want: Want, lease: Lease, stream: Stream) -> None:
        try:
            lease.move(await self.lease(want), stream)
        except PowerError as error:
            stream.end(error)
        except asyncio.CancelledError:
            stream.end(_shutting_down())
            raise

    def _tell(self, event: FleetEvent) -> None:
        gauges.count(event)
        level = "warning" if event.kind in {"crash", "error"} else "info"
        getattr(_log, level)(event.message, model=event.model, kind=event.kind, reason=event.reason)
        try:
            self._on_event(event)
        except Exception:
            _log.exception("an observer of the fleet failed", model=event.model)

    def _rearm(self) -> None:
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
        due = self._state.due(loop.time())
        self._timer = None if due == math.inf else loop.call_at(due, self._tick)
        if self._gauge_timer is None:
            self._gauge_timer = loop.call_later(_GAUGE_LAG, self._refresh)

    def _refresh(self) -> None:
        self._gauge_timer = None
        self._gauges.refresh()

    def _tick(self) -> None:
        now = asyncio.get_running_loop().time()
        heard = self._lives.heard(now)
        self._do(lambda at: self._state.tick(at, heard))

    # ------------------------------------------------------------ what runners say (process.Listener)

    def loading(self, number: int, frame: Progress) -> None:
        """A load goes on."""
        self._do(partial(self._state.progress, number, frame.fraction))

    def loaded(self, number: int, frame: Ready) -> None:
        """A runner can serve."""
        runner = self._state.board.runners[number]
        self._on_measured(runner.deployment, frame.have)
        self._do(partial(self._state.ready, number, frame.have, frame.load_ns))
        gauges.loaded(runner)

    def not_loaded(self, number: int, frame: LoadFailed) -> None:
        """A load failed."""
        oom = frame.out_of_memory
        self._do(partial(self._state.load_failed, number, frame.reason, out_of_memory=oom))

    def measured(self, number: int, frame: Stats) -> None:
        """A runner's gauges."""
        self._state.stats(number, frame)
        runner = self._state.board.runners.get(number)
        if runner is not None:
            gauges.measured(runner.entry.model, frame)

    def answered(self, number: int) -> None:
        """A runner has finished a request that is no canary's."""
        self._state.answered(number, asyncio.get_running_loop().time())


def _budgets(devices: Sequence[Device]) -> dict[str, int]:
    return {device.id: device.budget for device in devices}
