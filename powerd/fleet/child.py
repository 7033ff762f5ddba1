"""Child: one process of ours from spawn to reaped, with its socket, its last words and the ladder that ends it.

The child leads a session of its own, so that its whole group can be signalled and nothing it started survives it. It
gets one end of a socketpair as its last argument and an environment without secrets.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import re
import signal
import socket
from asyncio.subprocess import DEVNULL, Process
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from powerd.fleet import devices
from powerd.fleet.wire import Wire

#: Lines of standard error kept for messages, and bytes of each.
LAST_LINES = 20
_LINE_BYTES = 2000
#: Seconds the last frames and lines of a dead child may take to arrive, and a child that hung up may take to exit.
_LAST_WORDS = 0.2
#: The kernel's out-of-memory killer takes a child (which can be started again) before the daemon.
_OOM_SCORE = "500"
_PRIVATE = re.compile(
    r"NOTIFY_SOCKET|WATCHDOG_.*|LISTEN_.*|POWER_.*|OLLAMA_.*|AWS_.*|.*_PROXY"
    r"|.*(TOKEN|SECRET|PASSW|CREDENTIAL|APIKEY|API_KEY|PRIVATE).*|.*_KEY",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Graces:
    """Seconds each rung of the ladder gives before the next."""

    farewell: float = 5.0
    terminate: float = 2.0
    kill: float = 10.0

    @property
    def total(self) -> float:
        """Seconds after which a process that still lives cannot be killed."""
        return self.farewell + self.terminate + self.kill


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What a child may know: everything but the service manager's variables, our settings and anything secret."""
    return {name: value for name, value in environ.items() if not _PRIVATE.fullmatch(name)}


def describe_exit(code: int) -> str:
    """How a process ended, for people."""
    if code >= 0:
        return f"exit status {code}"
    try:
        return f"killed by signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"killed by signal {-code}"


class Child:
    """A process and our end of its socket. `run` lives as long as it does."""

    def __init__(
        self, command: Sequence[str], label: str, on_frame: Callable[[memoryview], None], graces: Graces
    ) -> None:
        self.pid = 0
        self.out_of_memory = False  # whether the kernel killed it for want of memory
        self.broken = ""  # what it did wrong, if that is why it was killed
        self.wire = Wire(on_frame, self._hung_up)
        self._command = command
        self._graces = graces
        self._log = structlog.get_logger("powerd.child").bind(model=label)
        self._lines = _Lines(self._log)
        self._hung = asyncio.Event()
        self._exited = asyncio.Event()
        self._stopping: tuple[bytes | None] | None = None  # the farewell of the ladder that was asked for
        self._ladder: asyncio.Task[None] | None = None

    @property
    def stopping(self) -> bool:
        """Whether somebody has asked for its end."""
        return self._stopping is not None

    @property
    def last_lines(self) -> list[str]:
        """The last lines it wrote to standard error."""
        return list(self._lines.kept)

    async def run(self) -> str:
        """Start it and wait until it is reaped with all its group. Returns how it ended. Raises OSError."""
        kills = devices.oom_kills()
        process = await self._start()
        try:
            if self._stopping is not None:
                self._climb(*self._stopping)
            code = await process.wait()
        finally:
            self._exited.set()
            self._signal(signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS):
                await self._hung.wait()
                await self._lines.ended.wait()
        self.wire.close()
        self._lines.close()
        if code == -signal.SIGKILL and not self.stopping and devices.oom_kills() > kills:
            self.out_of_memory = True
            return "killed by the kernel: out of memory"
        return self.broken or describe_exit(code)

    def stop(self, farewell: bytes | None) -> None:
        """End it: by the frame `farewell` if there is one, then SIGTERM, then SIGKILL, each with its deadline."""
        if self._exited.is_set() or (self._stopping is not None and (farewell or self._stopping == (None,))):
            return
        self._stopping = (farewell,)
        if self.pid:
            self._climb(farewell)

    def _climb(self, farewell: bytes | None) -> None:
        if self._ladder is not None:
            self._ladder.cancel()
        self._ladder = asyncio.create_task(self._down_the_ladder(farewell))

    async def _down_the_ladder(self, farewell: bytes | None) -> None:
        if farewell is not None:
            self.wire.send(farewell)
            if await self._gone_within(self._graces.farewell):
                return
        self._signal(signal.SIGTERM)
        if await self._gone_within(self._graces.terminate):
            return
        self._signal(signal.SIGKILL)
        while not await self._gone_within(self._graces.kill):
            self._log.error("the process does not end although it was killed; its memory stays reserved", pid=self.pid)

    async def _gone_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._exited.wait()
        except TimeoutError:
            return False
        return True

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _hung_up(self, why: str) -> None:
        self._hung.set()
        self.broken = why
        if not self._exited.is_set() and self._stopping is None:
            asyncio.get_running_loop().call_later(_LAST_WORDS, self._bury)

    def _bury(self) -> None:
        """It hung up and lives on: of no use to anybody."""
        if not self._exited.is_set():
            self.broken = self.broken or "it closed its connection without ending"
            self.stop(None)

    # ------------------------------------------------------------ birth

    async def _start(self) -> Process:
        ours, theirs = socket.socketpair()
        read, write = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                str(theirs.fileno()),
                stdin=DEVNULL,
                stdout=write,
                stderr=write,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                env=clean_environment(os.environ),
            )
        except BaseException:
            ours.close()
            os.close(read)
            raise
        finally:
            theirs.close()
            os.close(write)
        self.pid = process.pid
        said = os.fdopen(read, "rb", buffering=0)
        try:
            await self._listen(ours, said)
        except BaseException:  # out of descriptors, or cancelled: nobody would hear it or reap it
            ours.close()
            said.close()
            process.kill()
            await process.wait()
            raise
        return process

    async def _listen(self, ours: socket.socket, said: io.FileIO) -> None:
        _offer_to_oom_killer(self.pid)
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: self._lines, said)
        ours.setblocking(False)
        await loop.create_connection(lambda: self.wire, sock=ours)


def _offer_to_oom_killer(pid: int) -> None:
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text(_OOM_SCORE)


class _Lines(asyncio.Protocol):
    """Keeps and logs what a child says on its standard output and error."""

    def __init__(self, log: structlog.typing.FilteringBoundLogger) -> None:
        self.kept: deque[str] = deque(maxlen=LAST_LINES)
        self.ended = asyncio.Event()
        self._log = log
        self._tail = b""
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *lines, self._tail = (self._tail + data).split(b"\n")
        if len(self._tail) > _LINE_BYTES:
            lines, self._tail = [*lines, self._tail], b""
        for line in lines:
            self._keep(line)

    def _keep(self, line: bytes) -> None:
        text = line[:_LINE_BYTES].decode("utf-8", "replace").rstrip()
        if text:
            self.kept.append(text)
            self._log.debug(text)

    def connection_lost(self, error: Exception | None) -> None:
        self._keep(self._tail)
        self._tail = b""
        self.ended.set()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
