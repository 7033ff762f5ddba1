"""The composition root: builds every owner once, starts them in order, and stops them in the opposite one.

Start: sockets bound, store locked, fleet, helpers, reconciler, both listeners, READY. What is in the store already is
on offer when the first request comes; nothing waits for a fetch, so a slow pull never makes a daemon look dead. Stop:
refuse new work, let streams end within the drain timeout, end the runners, close the sockets.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import sdnotify
import structlog

from powerd import __version__, metrics
from powerd.api.app import SOCKET_ROUTES, TCP_ROUTES, build_app
from powerd.api.auth import access
from powerd.api.context import ApiContext
from powerd.config import Config
from powerd.control import app as control
from powerd.control.schema import Device, Node
from powerd.ending import within
from powerd.errors import PowerError
from powerd.fleet.fleet import Fleet
from powerd.fleet.footprints import Footprints
from powerd.fleet.prober import NOW_SECONDS, Prober, ask, drivers
from powerd.fleet.renderers import Renderers
from powerd.fleet.survey import Survey
from powerd.fleet.terms import FleetConfig, FleetEvent
from powerd.hearts import hearts
from powerd.hosts import address
from powerd.jobs import Probe, Probed, ProbeFailed
from powerd.listeners import CannotListen, Listener, UnixDoor, bind_tcp, bind_unix
from powerd.machine import engine, engine_version
from powerd.ollama_variables import without_effect
from powerd.paths import Paths
from powerd.protocol import Deployment
from powerd.pulse import Heart, Pulse, Supervisor, answers
from powerd.reconcile.decide import NodeDefaults
from powerd.reconcile.entry import Tools
from powerd.reconcile.generations.history import History
from powerd.reconcile.health.canary import Canary
from powerd.reconcile.health.devicecare import DeviceCare
from powerd.reconcile.health.readiness import Readiness
from powerd.reconcile.library import Library
from powerd.reconcile.pulls import Pulls
from powerd.reconcile.reach import Reach
from powerd.reconcile.reconciler import Reconciler
from powerd.settings import Settings, host_port
from powerd.sources.configured import outbound_config
from powerd.sources.hub.model import HubConfig
from powerd.sources.transport.outbound import Outbound
from powerd.store.lower import default_lower
from powerd.store.store import Store

logger = structlog.get_logger(__name__)

RUNNER = (sys.executable, "-m", "powerd.runner")
RENDER = (sys.executable, "-m", "powerd.render")
CLOSE_SECONDS = 2.0
#: What one step of the stop may take, and the fleet beyond its drain: its ladder of Shutdown, SIGTERM and SIGKILL.
STEP_SECONDS = 3.0
FLEET_SECONDS = 20.0
#: The most a stop takes beyond the drain: every step above, and two listeners.
STOP_SECONDS = FLEET_SECONDS + 8 * STEP_SECONDS
#: The longest the listeners wait for models that are in the store to be put on offer.
FIRST_ROUND_SECONDS = 1.0


class Daemon:
    """Everything that lives as long as the process. `runner` is the command that becomes a runner."""

    def __init__(self, config: Config, runner: Sequence[str] = RUNNER) -> None:
        self.config = config
        settings, paths = config.settings, config.paths
        lower = settings.store.read_only
        self._store = Store(
            paths.store,
            lower=default_lower(Path.home(), os.environ) if lower is None else [Path(path) for path in lower],
            quota=settings.store.quota,
        )
        self._have_runners(settings, paths, runner)
        self._renderers = Renderers(RENDER)
        node = self._defaults = NodeDefaults.of(settings, self._survey.current)
        self._outbound = Outbound(outbound_config(settings, paths.state))
        hub = HubConfig(settings.sources.huggingface.endpoint, settings.sources.huggingface.token_file)
        reach = Reach(self._store, self._outbound, hub)
        self._pulls = Pulls(reach)
        self._library = Library(
            self._store,
            self._fleet,
            node,
            self._pulls,
            hide_unmanaged=settings.unmanaged == "hide",
            default_model=settings.default_model,
        )
        tools = Tools(self._store, self._fleet, self._library, node, reach, self._footprints.need, self._prober.now)
        self._reconciler = Reconciler(
            tools,
            paths.models,
            History(paths.state / "generations", settings.keep_generations),
            allow_empty=settings.allow_empty,
            locked=settings.locked,
            max_delete_fraction=settings.max_delete_fraction,
        )
        self._look_after(settings)
        self._listeners: list[Listener | UnixDoor] = []
        self._started = time.monotonic()
        self._stopping = False
        self._notifier = sdnotify.SystemdNotifier()
        self.listen = settings.listen

    def _have_runners(self, settings: Settings, paths: Paths, runner: Sequence[str]) -> None:
        """The fleet, and those who tell it what there is and what is needed."""
        self._survey = Survey(settings)
        self._footprints = Footprints(paths.state / "footprints.json", engine(), self._survey.current)
        self._fleet = Fleet(
            FleetConfig.of(settings),
            runner,
            self._on_fleet_event,
            devices=self._survey.devices,
            needs=self._footprints.need,
            on_measured=self._footprints.measured,
        )
        self._prober = Prober(self._footprints, self._offered)

    def _look_after(self, settings: Settings) -> None:
        """Those who find out whether what runs is well."""
        judging, bulletin = self._reconciler.judging, self._reconciler.bulletin
        canary = settings.canary
        self._canary = Canary(self._fleet, bulletin, judging.key, interval=canary.interval, timeout=canary.timeout)
        named = [name for name in settings.devices if name != "cpu"]
        self._care = DeviceCare(self._ask_devices, bulletin, self._other_devices, named)
        judging.verdict, judging.devices = self._canary.verdict, self._care.state
        self._readiness = Readiness(self._reconciler.entries, judging, self._canary, settings.ready_when)

    # ------------------------------------------------------------ start

    async def start(self) -> None:
        """Bring everything up. Raises CannotListen or PowerError with a message for the operator."""
        settings, paths = self.config.settings, self.config.paths
        for variable, reason in without_effect(os.environ):
            logger.warning("variable without effect", variable=variable, reason=reason)
        host, port = host_port(settings.listen)
        tcp = bind_tcp(host, port)
        try:
            unix = bind_unix(paths.socket)
        except CannotListen:
            tcp.close()
            raise
        try:
            await asyncio.to_thread(self._store.open)
        except PowerError as error:
            tcp.close()
            unix.close()
            paths.socket.unlink()
            if error.code == "conflict":
                raise CannotListen(f"another powerd is running: {error}") from None
            raise
        if await self._survey.look():
            self._fleet.set_devices(self._survey.devices)
        await self._fleet.start()
        await self._renderers.start()
        await self._reconciler.start()
        await self._reconciler.waiting.first_round(FIRST_ROUND_SECONDS)
        await self._serve(tcp, unix, host)
        self._prober.start()
        self._care.start(self._survey.devices[1:], driver=drivers())
        metrics.INFO.labels(__version__).set(1)
        logger.info("serving", listen=self.listen, socket=str(paths.socket), models=str(paths.models))

    async def _serve(self, tcp: socket.socket, unix: socket.socket, host: str) -> None:
        settings = self.config.settings
        context = ApiContext(
            library=self._library,
            store=self._store,
            fleet=self._fleet,
            renderers=self._renderers,
            version=__version__,
            started=self._started,
            stopping=lambda: self._stopping,
            not_ready=self.not_ready,
            fresh=self._readiness.fresh,
            default_model=settings.default_model,
            q4_above=settings.pull.q4_above,
        )
        rules = access(
            bound=host,
            hostname=socket.gethostname(),
            allowed_hosts=settings.allowed_hosts,
            allowed_origins=settings.allowed_origins,
            mutations=settings.mutations,
        )
        public = Listener(build_app(context, rules, TCP_ROUTES), tcp)
        app = control.build(self._commands(), build_app(context, None, SOCKET_ROUTES))
        private = self._door = UnixDoor(app, self.config.paths.socket, unix)
        self.listen = address(host, public.port)
        self._listeners = [public, private]
        for listener in self._listeners:
            await listener.start()

    def _commands(self) -> control.ControlContext:
        settings = self.config.settings
        return control.ControlContext(
            reconciler=self._reconciler,
            library=self._library,
            fleet=self._fleet,
            node=self._node,
            store=self._store,
            max_delete_fraction=settings.max_delete_fraction,
            pulls=self._pulls,
            defaults=self._defaults,
            devices=self._devices,
            origins=self.config.origins,
            keep_alive=settings.keep_alive,
        )

    def not_ready(self) -> list[str]:
        """Why /readyz says no; empty when it says yes."""
        if self._stopping:
            return ["powerd is stopping"]
        return self._readiness.reasons()

    def _node(self) -> Node:
        memory = self._fleet.memory()
        return Node(
            version=__version__,
            pid=os.getpid(),
            uptime=time.monotonic() - self._started,
            listen=self.listen,
            models_file=str(self.config.paths.models),
            store=str(self.config.paths.store),
            memory_budget=sum(budget for _, budget, _ in memory),
            memory_used=sum(used for _, _, used in memory),
            config_file=str(self.config.paths.config),
            state=str(self.config.paths.state),
            socket=str(self.config.paths.socket),
            engine=engine_version(),
        )

    def _devices(self) -> list[Device]:
        given = {device: used for device, _, used in self._fleet.memory()}
        return [
            Device(one.id, one.budget, given.get(one.id, 0), one.kind, one.name, one.total)
            for one in self._survey.devices
        ]

    async def _ask_devices(self) -> Probed | ProbeFailed:
        return await ask(Probe(), NOW_SECONDS) if drivers() else Probed("", (), 0)

    def _other_devices(self, answer: Probed) -> None:
        if self._survey.take(answer):
            self._fleet.set_devices(self._survey.devices)

    def _offered(self) -> list[Deployment]:
        return [entry.offer.deployment for entry in self._reconciler.entries.values() if entry.offer is not None]

    def _on_fleet_event(self, event: FleetEvent) -> None:
        self._reconciler.fleet_event(event)
        if event.kind == "ready":
            self._canary.look()

    # ------------------------------------------------------------ run and stop

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT; a second one stops at once. SIGHUP reads models.yaml again."""
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        again = asyncio.Event()

        def terminate() -> None:
            """Ask for the time a stop may take before all else: the loop's next turn may be late on a busy machine."""
            drain = 0.0 if stop.is_set() else self.config.settings.drain_timeout
            self._notify(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={(drain + STOP_SECONDS) * 1e6:.0f}")
            (again if stop.is_set() else stop).set()

        loop.add_signal_handler(signal.SIGTERM, terminate)
        loop.add_signal_handler(signal.SIGINT, terminate)
        reread = asyncio.Event()
        loop.add_signal_handler(signal.SIGHUP, reread.set)
        hurry = asyncio.create_task(again.wait())
        starting = asyncio.create_task(self.start())
        await asyncio.wait({starting, hurry}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            logger.warning("second signal while starting: leaving at once")
            return
        starting.result()
        pulse = self._pulse()
        living = asyncio.create_task(pulse.run(), name="pulse")
        reloading = asyncio.create_task(self._reload(reread, pulse), name="reload")
        gc.freeze()  # what start-up made lives as long as the process; collections need not walk it
        await stop.wait()
        living.cancel()
        reloading.cancel()
        await self._end(hurry)

    async def _end(self, hurry: asyncio.Task[Literal[True]]) -> None:
        """Stop, and once `hurry` is done at once."""
        stopping = asyncio.create_task(self.stop(self.config.settings.drain_timeout))
        await asyncio.wait({stopping, hurry}, return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done():
            logger.warning("second signal: stopping at once")
            stopping.cancel()
            await asyncio.gather(stopping, return_exceptions=True)
            await self.stop(0.0)
        hurry.cancel()

    async def stop(self, drain: float) -> None:
        """Refuse new work, wait up to `drain` seconds for what runs, end the runners, close the sockets."""
        self._stopping = True
        logger.info("stopping", drain=drain)
        await within(STEP_SECONDS, "canary", self._canary.stop())
        await within(STEP_SECONDS, "reconciler", self._reconciler.stop())
        await within(STEP_SECONDS, "probes", self._still())
        await within(drain + FLEET_SECONDS, "fleet", self._fleet.stop(drain))
        await within(STEP_SECONDS, "render helpers", self._renderers.stop())
        for listener in self._listeners:
            await within(STEP_SECONDS, "listener", listener.stop(min(drain, CLOSE_SECONDS)))
        await within(STEP_SECONDS, "outbound connections", self._outbound.aclose())
        await within(STEP_SECONDS, "store", asyncio.to_thread(self._store.close))
        logger.info("stopped")

    async def _still(self) -> None:
        await self._prober.stop()
        await self._care.stop()
        self._footprints.close()

    async def _reload(self, asked: asyncio.Event, pulse: Pulse) -> None:
        """Read models.yaml again whenever that is asked, once at a time; the service manager hears of it once READY."""
        while True:
            await asked.wait()
            asked.clear()
            told = pulse.ready
            if told:
                self._notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
            try:
                problems = await self._reconciler.apply()
            except Exception:
                logger.exception("models.yaml could not be taken over")
            else:
                if problems:
                    logger.error("models.yaml refused", problems=problems[:20])
            if told:
                self._notify("READY=1")

    def _pulse(self) -> Pulse:
        """What the service manager hears, and the heartbeats of those who must make progress for that."""
        supervisor = Supervisor(self._notify, int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6)
        beating = hearts(self._canary, self._reconciler, self._door)
        if supervisor.watchdog:
            host, port = host_port(self.listen)
            beating.append(Heart("listener", lambda: answers(host, port), supervisor.rest))
        return Pulse(
            supervisor,
            tuple(beating),
            ready=lambda: not self.not_ready(),
            status=self._status_line,
            resumed=self._resumed,
        )

    def _resumed(self) -> None:
        """The machine slept: what was known of runners and devices is asked anew."""
        self._canary.resumed()
        self._care.resumed()

    def _status_line(self) -> str:
        entries = self._reconciler.entries
        failing = len(self._reconciler.judging.failing())
        loaded = sum(view.state == "ready" for view in self._fleet.views())
        return f"{len(entries)} declared, {failing} not as declared, {loaded} loaded, listening on {self.listen}"

    def _notify(self, message: str) -> None:
        self._notifier.notify(message)
