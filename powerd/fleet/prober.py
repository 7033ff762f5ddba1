"""Prober: asks the probe helper what the engine can compute on, and what deployments would take (starts processes).

Deployments are probed in the background, one at a time and well after they appeared; what a load has measured by then
is not probed. A helper that hangs, crashes or knows nothing costs an estimate's precision, never anything else.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec
import structlog

from powerd.fleet.budget import Estimate
from powerd.fleet.child import Child, Graces
from powerd.fleet.footprints import Footprints
from powerd.fleet.wire import BrokenPeer
from powerd.jobs import FromProbe, Probe, Probed, ProbeFailed
from powerd.protocol import Deployment, encode

COMMAND = (sys.executable, "-m", "powerd.probe")
#: Seconds a probe may take: before the daemon serves, while somebody waits, and in the background.
START_SECONDS = 3.0
NOW_SECONDS = 10.0
_BACKGROUND_SECONDS = 60.0
#: Seconds between looks at what there is to probe. The first comes when a start has settled.
_PAUSE = 5.0
#: Deployments remembered as impossible to probe.
_HOPELESS = 1000
_GRACES = Graces(farewell=0.0, terminate=0.5, kill=2.0)
#: Files without which no accelerator can be there.
_DRIVERS = ("nvidiactl", "nvidia0", "dri", "kfd", "dxg", "accel")

_log = structlog.get_logger("powerd.probe")


def drivers(root: Path = Path("/")) -> bool:
    """Whether an accelerator's driver can be seen: without one there is nothing to ask the engine."""
    return sys.platform == "darwin" or any((root / "dev" / name).exists() for name in _DRIVERS)


async def ask(job: Probe, seconds: float, command: Sequence[str] = COMMAND) -> Probed | ProbeFailed:
    """Have a helper answer `job` within `seconds`."""
    answers: list[Probed | ProbeFailed] = []
    decode = msgspec.msgpack.Decoder(FromProbe).decode

    def received(body: memoryview) -> None:
        try:
            answers.append(decode(body))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise BrokenPeer(f"it sent a frame that cannot be read: {error}") from error

    child = Child(command, "probe", received, _GRACES)
    child.wire.send(encode(job))
    life = asyncio.ensure_future(child.run())
    try:
        done, _ = await asyncio.wait([life], timeout=seconds)
        if not done:
            return ProbeFailed(f"the probe did not answer within {seconds:g} s")
        how = life.result()
    except OSError as error:
        return ProbeFailed(f"the probe cannot be started: {error.strerror}")
    finally:
        if not life.done():
            child.stop(None)
            await asyncio.wait([life], timeout=_GRACES.total)
    return answers[0] if answers else ProbeFailed(f"the probe ended early: {how}")


class Prober:
    """Keeps footprints known for whatever `wanted` lists."""

    def __init__(
        self,
        footprints: Footprints,
        wanted: Callable[[], Iterable[Deployment]],
        command: Sequence[str] = COMMAND,
        pause: float = _PAUSE,
    ) -> None:
        self._footprints = footprints
        self._wanted = wanted
        self._command = command
        self._pause = pause
        self._one_at_a_time = asyncio.Lock()
        self._hopeless: dict[str, str] = {}  # deployment keys, and why
        self._missing = False  # there is no engine to ask
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to probe in the background."""
        self._task = asyncio.create_task(self._run(), name="prober")

    async def stop(self) -> None:
        """End, with whatever is under way."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def now(self, deployment: Deployment) -> Estimate:
        """What a deployment needs, probed first where that is possible and nothing better is known.

        Takes a few tenths of a second, and never much more than NOW_SECONDS.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(NOW_SECONDS):  # another probe may be under way
                await self._probe(deployment, NOW_SECONDS)
        return self._footprints.need(deployment)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._pause)
            for deployment in list(self._wanted()):
                await self._probe(deployment, _BACKGROUND_SECONDS)

    async def _probe(self, deployment: Deployment, seconds: float) -> None:
        async with self._one_at_a_time:
            if not self._open(deployment):
                return
            answer = await ask(Probe(deployment), seconds, self._command)
        if isinstance(answer, Probed):
            self._footprints.probed(deployment, answer)
            return
        self._missing = answer.missing
        self._give_up(deployment, answer.reason)

    def _open(self, deployment: Deployment) -> bool:
        """Whether there is anything to learn by a probe."""
        return (
            bool(deployment.weights)
            and not self._missing
            and deployment.key not in self._hopeless
            and self._footprints.source(deployment) == "header"
        )

    def _give_up(self, deployment: Deployment, reason: str) -> None:
        _log.info("a deployment cannot be probed", weights=deployment.weights, reason=reason)
        if len(self._hopeless) >= _HOPELESS:
            self._hopeless.pop(next(iter(self._hopeless)))
        self._hopeless[deployment.key] = reason
