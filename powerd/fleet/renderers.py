"""Renderers: a few helper processes that turn messages and a template into text.

A template is a program somebody else wrote, so it runs where it can be killed: a job that takes longer than its limit
costs its helper's life and nothing else. Jobs are served in order, one per helper at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence

import msgspec
import structlog

from powerd.errors import BadRequest, Timeout
from powerd.fleet.child import Child, Graces
from powerd.fleet.wire import BrokenPeer
from powerd.jobs import FromRender, Rendered, RenderFailed, RenderJob
from powerd.protocol import HEADER, MAX_FRAME, PART_BYTES, Part, encode

DEFAULT_COMMAND = (sys.executable, "-m", "powerd.render")
#: Seconds a helper that has answered nothing yet may take longer: it starts its interpreter first.
_START_UP = 10.0
#: Seconds a job waits for a helper before it is refused.
_PATIENCE = 30.0
_GRACES = Graces(farewell=0.0, terminate=0.0)

_log = structlog.get_logger("powerd.renderers")


class Renderers:
    """A pool of render helpers."""

    def __init__(self, command: Sequence[str] = DEFAULT_COMMAND, count: int = 2, limit: float = 2.0) -> None:
        """`limit`: seconds one job may take."""
        self._limit = limit
        self._helpers = [_Renderer(command) for _ in range(count)]
        self._free: asyncio.Queue[_Renderer] = asyncio.Queue()
        self._numbers = itertools.count(1)
        self._jobs: set[asyncio.Task[Rendered]] = set()

    async def start(self) -> None:
        """Spawn the helpers."""
        for helper in self._helpers:
            helper.spawn()
            self._free.put_nowait(helper)

    async def stop(self) -> None:
        """End the helpers; jobs on them fail."""
        for job in self._jobs:
            job.cancel()
        for helper in self._helpers:
            await helper.stop()

    async def render(self, job: RenderJob, on_note: Callable[[str], None] | None = None) -> str:
        """The prompt's text; the job's number is given here. A lenient job tells `on_note` what its template lost.

        Raises BadRequest with the template's own words, Timeout when no helper comes free.
        """
        number = next(self._numbers)
        try:
            body = msgspec.msgpack.encode(msgspec.structs.replace(job, id=number))
        except (ValueError, TypeError, RecursionError, OverflowError) as error:
            raise BadRequest(f"the messages cannot be rendered: {error}") from error
        try:
            async with asyncio.timeout(_PATIENCE):
                helper = await self._free.get()
        except TimeoutError:
            raise Timeout(f"no renderer came free within {_PATIENCE:.0f} s; try again") from None
        task = asyncio.create_task(self._work(helper, number, body))
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)
        done = await asyncio.shield(task)  # who goes away leaves the job to end by itself, within its limit
        if done.note and on_note is not None:
            on_note(done.note)
        return done.text

    async def _work(self, helper: _Renderer, number: int, body: bytes) -> Rendered:
        try:
            with contextlib.suppress(_RendererEnded):
                return await helper.render(number, body, self._limit)
            return await helper.render(number, body, self._limit)
        except _RendererEnded as death:
            raise BadRequest(f"template error: the renderer ended twice over this request: {death}") from None
        finally:
            self._free.put_nowait(helper)


class _RendererEnded(Exception):
    """A helper ended over a job; the message says how."""


class _Renderer:
    """One helper process, spawned again whenever it is needed and not there."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._decode = msgspec.msgpack.Decoder(FromRender).decode
        self._child: Child | None = None
        self._lives: set[asyncio.Task[None]] = set()
        self._job = 0
        self._pieces: list[str] = []
        self._answer: asyncio.Future[Rendered] | None = None
        self._proven = False  # whether this process has answered anything

    def spawn(self) -> None:
        """Have a process."""
        if self._child is None:
            self._proven = False
            self._child = Child(self._command, "render", self._received, _GRACES)
            life = asyncio.create_task(self._live(self._child))
            self._lives.add(life)
            life.add_done_callback(self._lives.discard)

    async def _live(self, child: Child) -> None:
        try:
            how = await child.run()
        except OSError as error:
            how = f"it cannot be started: {error.strerror}"
        if self._child is child:
            self._child = None
            if self._answer is not None and not self._answer.done():
                _log.warning("a renderer ended over a request", how=how, said=child.last_lines[-1:])
                self._answer.set_exception(_RendererEnded(how))

    async def stop(self) -> None:
        """End the process, and wait for those that were killed before."""
        if self._child is not None:
            self._child.stop(None)
        while self._lives:
            await asyncio.wait(self._lives)

    async def render(self, number: int, body: bytes, limit: float) -> Rendered:
        """One job, `body` being its msgpack. Raises BadRequest, _RendererEnded."""
        self.spawn()
        assert self._child is not None
        self._job, self._pieces = number, []
        self._answer = asyncio.get_running_loop().create_future()
        self._child.wire.send_all(_frames(number, body))
        try:
            async with asyncio.timeout(limit if self._proven else limit + _START_UP):
                return await self._answer
        except TimeoutError:
            self._replace()
            raise BadRequest(f"template error: rendering took longer than {limit:g} s") from None
        finally:
            self._answer = None

    def _replace(self) -> None:
        """Kill the process over its job and have a fresh one, so that the next job need not wait for it."""
        if self._child is not None:
            self._child.stop(None)
            self._child = None
        self.spawn()

    def _received(self, body: memoryview) -> None:
        try:
            frame = self._decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise BrokenPeer(f"it sent a frame that cannot be read: {error}") from error
        self._proven = True
        answer = self._answer
        if frame.id != self._job or answer is None or answer.done():
            return
        if isinstance(frame, RenderFailed):
            answer.set_exception(BadRequest(frame.message))
        elif isinstance(frame, Rendered):
            self._pieces.append(frame.text)
            if frame.last:
                answer.set_result(Rendered(frame.id, "".join(self._pieces), note=frame.note))


def _frames(number: int, body: bytes) -> Iterator[bytes]:
    """A job in one frame, or as slices of its encoding ended by an empty one."""
    if len(body) <= MAX_FRAME:
        yield HEADER.pack(len(body)) + body
        return
    for start in range(0, len(body), PART_BYTES):
        yield encode(Part(number, body[start : start + PART_BYTES]))
    yield encode(Part(number, b""))
