"""A helper process for one job: it settles, takes the job from its socket, does it, and ends; or it leaves early.

A second thread waits for the socket to close and ends the process then, so that no job outlives its daemon.
"""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import BinaryIO, TypeVar

import msgspec

from powerd.protocol import HEADER, MAX_FRAME

_PR_SET_PDEATHSIG = 1
#: Inference goes first.
_NICE = 10

Job = TypeVar("Job", bound=msgspec.Struct)


def run(name: str, arguments: Sequence[str], kind: type[Job], work: Callable[[Job, socket.socket], int]) -> int:
    """Do the one job of `kind` that comes on the inherited socket whose number is the argument; the exit code.

    `work`'s own, 0 when the daemon is gone, 64 on wrong usage, 76 on a frame that does not decode.
    """
    if len(arguments) != 1 or not arguments[0].isdecimal():
        sys.stderr.write(f"usage: python -m {name} FD\n")
        return os.EX_USAGE
    _settle()
    peer = socket.socket(fileno=int(arguments[0]))
    stream = peer.makefile("rb")
    try:
        job = _read(stream, kind)
    except msgspec.DecodeError as error:
        sys.stderr.write(f"{name}: the job does not decode: {error}\n")
        return os.EX_PROTOCOL
    if job is None:
        return os.EX_OK
    threading.Thread(target=_leave_with, args=(stream,), daemon=True).start()
    return work(job, peer)


def _settle() -> None:
    """Make this a good child: dies with its parent, leaves the processor to others, dumps no core."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.nice(_NICE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _read(stream: BinaryIO, kind: type[Job]) -> Job | None:
    """The job; None when the daemon is gone. Raises msgspec.DecodeError."""
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    (size,) = HEADER.unpack(header)
    if size > MAX_FRAME:
        raise msgspec.DecodeError(f"a frame of {size} bytes passes the limit of {MAX_FRAME}")
    body = stream.read(size)
    return msgspec.msgpack.decode(body, type=kind) if len(body) == size else None


def _leave_with(stream: BinaryIO) -> None:
    with suppress(OSError):
        stream.read(1)
    os._exit(os.EX_OK)
