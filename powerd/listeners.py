"""Listeners: the two sockets powerd serves on, bound by us, and the embedded Granian servers behind them.

Granian binds with SO_REUSEPORT, so a second server on the same port would start without an error and split the
traffic; and it cannot set a Unix socket's mode. So sockets are bound here and handed over as file descriptors, through
one private method that tests/test_listeners.py guards.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog
from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from powerd.paths import MAX_SOCKET_PATH

log = structlog.get_logger(__name__)

BACKLOG = 4096
HEADER_DEADLINE_MS = 10_000
#: Open files the daemon asks for, and those of them that connections leave to the store, the runners and downloads.
FILES = 65_536
FILES_KEPT = 512
#: How long streams over a control socket whose file went away may go on.
LEFTOVER_SECONDS = 3600.0


class CannotListen(Exception):
    """An address that cannot be had; the message says which, why and what to do."""


def claim_files() -> None:
    """Raise this process's limit of open files as far as it may; many shells start programs with 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # macOS has a lower limit of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def capacity() -> int:
    """Connections that one of our two listeners has open at once; more wait in the kernel's queue.

    A server that runs out of descriptors accepts nothing, tries again without a pause, and nobody else gets a file.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return BACKLOG if soft == resource.RLIM_INFINITY else max(16, min(BACKLOG, (soft - FILES_KEPT) // 2))


def bind_tcp(host: str, port: int) -> socket.socket:
    """A listening TCP socket, exclusively ours. Raises CannotListen."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with contextlib.ExitStack() as undo:
            listener = undo.enter_context(socket.socket(family, socket.SOCK_STREAM))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
            undo.pop_all()
    except OSError as error:
        reason = error.strerror or str(error)
        raise CannotListen(
            f"cannot listen on {host}:{port}: {reason}; stop the program that has it (another powerd, or Ollama?) "
            "or choose another address with --listen HOST:PORT"
        ) from error
    listener.setblocking(False)
    return listener


def bind_unix(path: Path) -> socket.socket:
    """A listening Unix socket of mode 0660 in a directory of mode 0750; these are the access control.

    A socket file left behind is replaced only after connecting to it was refused. Raises CannotListen.
    """
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        raise CannotListen(
            f"control socket path is longer than {MAX_SOCKET_PATH} bytes: {path}; choose one with --socket"
        )
    try:
        if not path.parent.exists():
            path.parent.mkdir(mode=0o750, parents=True)
            path.parent.chmod(0o750)
        _clear_stale(path)
        with contextlib.ExitStack() as undo:
            listener = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            listener.bind(str(path))
            path.chmod(0o660)  # nobody gets in before `listen`; a umask would be that of every thread
            listener.listen(BACKLOG)
            undo.pop_all()
    except OSError as error:
        raise CannotListen(f"cannot make the control socket {path}: {error.strerror}") from error
    listener.setblocking(False)
    return listener


def _clear_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise CannotListen(f"{path} exists and is not a socket; move it away or choose another path with --socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # the event loop waits for nobody
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except BlockingIOError:
            pass  # somebody is there, with more callers than are accepted
    raise CannotListen(f"another powerd already answers on {path}")


class _Embedded(Server):
    """A Granian server on a listening socket it is given, and closes when it stops."""

    def __init__(self, listener: socket.socket, **options: Any) -> None:
        super().__init__(**options)
        self._listener = listener

    def _init_shared_socket(self) -> None:
        uds = self._listener.family == socket.AF_UNIX
        descriptor = self._listener.detach()
        holder: Any = SocketHolder  # its stub lacks the arguments
        self.__dict__.update(_sfd=descriptor, _shd=holder(descriptor, uds, BACKLOG), _ssp=None)


class Listener:
    """One ASGI application on one socket; owns the socket until `stop`."""

    def __init__(self, app: Callable[..., Any], listener: socket.socket) -> None:
        self._socket = listener
        address = listener.getsockname()
        self.port = int(address[1]) if listener.family != socket.AF_UNIX else 0  # also where 0 was asked for
        self._server = _Embedded(
            listener,
            target=app,
            interface=Interfaces.ASGINL,
            http=HTTPModes.http1,
            http1_settings=HTTP1Settings(header_read_timeout=HEADER_DEADLINE_MS, keep_alive=True),
            websockets=False,
            backlog=BACKLOG,
            backpressure=capacity(),
            log_enabled=False,
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Accept connections from here on."""
        self._task = asyncio.create_task(self._server.serve())
        self._task.add_done_callback(_told)
        await asyncio.sleep(0)

    async def stop(self, timeout: float) -> None:
        """Stop accepting, give open connections up to `timeout` seconds, then drop them."""
        if self._task is not None:
            self._server.stop()  # type: ignore[no-untyped-call]  # granian leaves it untyped
            await asyncio.wait({self._task}, timeout=timeout)
            self._task.cancel()
        self._socket.close()  # which a server that has begun has taken over


def _told(serving: asyncio.Task[None]) -> None:
    """A server that ended by itself listens no more, and nobody asks its task why."""
    if not serving.cancelled() and (error := serving.exception()) is not None:
        log.error("a listener ended", error=repr(error))


class UnixDoor:
    """The listener on the control socket, put back when the socket's file is gone (reliability C06)."""

    def __init__(self, app: Callable[..., Any], path: Path, listener: socket.socket) -> None:
        self._app = app
        self._path = path
        self._open = Listener(app, listener)
        self._file = _identity(path)
        self._closing: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Accept connections from here on."""
        await self._open.start()

    async def keep(self) -> bool:
        """See that the file is there; whether it was gone and is back. Raises CannotListen when it cannot be.

        Connections through the file that is gone go on for an hour at most.
        """
        if self._file is not None and _identity(self._path) == self._file:
            return False
        old, self._open = self._open, Listener(self._app, bind_unix(self._path))
        self._file = _identity(self._path)
        await self._open.start()
        closing = asyncio.create_task(old.stop(LEFTOVER_SECONDS))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        return True

    async def stop(self, timeout: float) -> None:
        """Take the socket's file away, if it is still ours, and stop as a Listener does."""
        for closing in self._closing:
            closing.cancel()
        if self._file is not None and _identity(self._path) == self._file:
            with contextlib.suppress(OSError):
                self._path.unlink()
        await self._open.stop(timeout)


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file this is; None when there is none."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
