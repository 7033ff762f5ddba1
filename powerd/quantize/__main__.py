"""`python -m powerd.quantize FD`: do the one Quantize job that comes on the inherited socket FD, and end.

A second thread waits for the socket to close and ends the process then, so that no job outlives its daemon. Exit
codes: 0 when the job is done or the daemon is gone, 1 when it failed, 64 on wrong usage, 76 on a frame that does not
decode.
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
from contextlib import suppress
from typing import BinaryIO

import msgspec

from powerd.protocol import HEADER, MAX_FRAME, Quantize, Quantized, QuantizeFailed, Quantizing, encode
from powerd.quantize.tensorlog import TensorLog
from powerd.runner.__main__ import usable_cores
from powerd.runner.llama import Bindings, EngineFailed, EngineMissing, quantize

_PR_SET_PDEATHSIG = 1
#: Inference goes first.
_NICE = 10


def main(arguments: list[str]) -> int:
    """Run the process; its exit code."""
    if len(arguments) != 1 or not arguments[0].isdecimal():
        sys.stderr.write("usage: python -m powerd.quantize FD\n")
        return os.EX_USAGE
    _settle()
    peer = socket.socket(fileno=int(arguments[0]))
    stream = peer.makefile("rb")
    try:
        job = _read(stream)
    except msgspec.DecodeError as error:
        sys.stderr.write(f"powerd.quantize: the job does not decode: {error}\n")
        return os.EX_PROTOCOL
    if job is None:
        return os.EX_OK
    threading.Thread(target=_leave_with, args=(stream,), daemon=True).start()
    return _work(job, peer)


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


def _read(stream: BinaryIO) -> Quantize | None:
    """The job; None when the daemon is gone. Raises msgspec.DecodeError."""
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    (size,) = HEADER.unpack(header)
    if size > MAX_FRAME:
        raise msgspec.DecodeError(f"a frame of {size} bytes passes the limit of {MAX_FRAME}")
    body = stream.read(size)
    return msgspec.msgpack.decode(body, type=Quantize) if len(body) == size else None


def _leave_with(stream: BinaryIO) -> None:
    with suppress(OSError):
        stream.read(1)
    os._exit(os.EX_OK)


def _work(job: Quantize, peer: socket.socket) -> int:
    try:
        bindings = Bindings()
        bindings.log = TensorLog(lambda tensor: peer.sendall(encode(Quantizing(tensor))))
        quantize(bindings, job.source, job.destination, job.file_type, usable_cores())
    except EngineMissing as error:
        peer.sendall(encode(QuantizeFailed(str(error), missing=True)))
        return 1
    except EngineFailed as error:
        peer.sendall(encode(QuantizeFailed(str(error))))
        return 1
    peer.sendall(encode(Quantized()))
    return os.EX_OK


if __name__ == "__main__":
    # Nothing to unwind: the thread that waits for the daemon must not delay the end.
    sys.stderr.flush()
    os._exit(main(sys.argv[1:]))
