"""`python -m powerd.render FD`: answer ToRender frames on the inherited socket FD with FromRender frames.

A job that does not fit in a frame comes as Part frames that carry slices of the msgpack encoding of the whole
RenderJob, ended by an empty Part. An answer that does not fit goes as several Rendered, the last with `last` set.
The parent kills a child that takes too long; the limits here hold without a parent. Exit codes: 0 after end-of-file,
1 after a broken frame, 64 on wrong usage.
"""

from __future__ import annotations

import math
import resource
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import BinaryIO

import msgspec

from powerd.jobs import Rendered, RenderFailed, RenderJob, ToRender
from powerd.prompt.conversation import render
from powerd.prompt.failed import MAX_OUTPUT, TemplateFailed
from powerd.protocol import HEADER, MAX_FRAME, PART_BYTES, Part, encode

MEMORY = 512 * 1024 * 1024  # bytes of address space
CPU_SECONDS = 2  # of one job, at least: as long as the parent waits, so that it is the parent who ends it
MAX_JOB = 16 * 1024 * 1024  # bytes of a job sent in parts: four times the longest text that may come of it

_frames: msgspec.msgpack.Decoder[ToRender] = msgspec.msgpack.Decoder(ToRender)
_jobs = msgspec.msgpack.Decoder(RenderJob)


class Broken(Exception):
    """The peer does not speak the protocol."""


def main(arguments: list[str]) -> int:
    """Run until the socket closes; the exit code."""
    if len(arguments) != 1 or not arguments[0].isdecimal():
        sys.stderr.write("usage: python -m powerd.render FD\n")
        return 64
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when a Ctrl-C ends us
    limit_process()
    with socket.socket(fileno=int(arguments[0])) as peer, peer.makefile("rb") as stream:
        try:
            serve(stream, peer)
        except Broken as error:
            sys.stderr.write(f"powerd.render: {error}\n")
            return 1
        except ConnectionError:
            return 0
    return 0


def limit_process() -> None:
    """Bound the address space and switch core dumps off; systems that know no such limit go without."""
    for kind, value in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CORE, 0)):
        with suppress(OSError, ValueError):
            resource.setrlimit(kind, (value, value))


def allow_time() -> None:
    """Let the process use CPU_SECONDS more, then SIGXCPU ends it."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    until = math.ceil(time.process_time()) + CPU_SECONDS
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CPU, (until, hard))


def serve(stream: BinaryIO, peer: socket.socket) -> None:
    """Answer every job of `stream` on `peer`. Raises Broken, ConnectionError."""
    while (frame := read_frame(stream)) is not None:
        allow_time()
        job = assemble(frame, stream) if isinstance(frame, Part) else frame
        for answer in answers(job):
            peer.sendall(encode(answer))


def read_frame(stream: BinaryIO) -> ToRender | None:
    """The next frame, None at the end of the stream. Raises Broken."""
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    (size,) = HEADER.unpack(header)
    if size > MAX_FRAME:
        raise Broken(f"a frame of {size} bytes passes the limit of {MAX_FRAME}")
    body = stream.read(size)
    if len(body) < size:
        return None
    try:
        return _frames.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Broken(f"a frame does not decode: {error}") from None


def assemble(first: Part, stream: BinaryIO) -> RenderJob | RenderFailed:
    """The job whose parts begin with `first`; a failure where they are too many. Raises Broken, ConnectionError."""
    slices, size, part = [first.data], len(first.data), first
    while part.data:
        following = read_frame(stream)
        if following is None:
            raise ConnectionError
        if not isinstance(following, Part) or following.id != first.id:
            raise Broken(f"the parts of job {first.id} are interrupted")
        part = following
        size += len(part.data)
        if size <= MAX_JOB:
            slices.append(part.data)
    if size > MAX_JOB:
        return RenderFailed(
            first.id,
            f"the conversation takes {size} bytes, over the limit of {MAX_JOB}; a prompt may have {MAX_OUTPUT}",
        )
    try:
        return _jobs.decode(b"".join(slices))
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Broken(f"job {first.id} does not decode: {error}") from None


def answers(job: RenderJob | RenderFailed) -> Iterator[Rendered | RenderFailed]:
    """The frames that answer a job."""
    if isinstance(job, RenderFailed):
        yield job
        return
    notes: list[str] = []
    try:
        text = render(job, datetime.now().astimezone(), notes.append)
    except TemplateFailed as error:
        yield RenderFailed(job.id, str(error))
        return
    pieces = list(pieces_of(text))
    for number, piece in enumerate(pieces, 1):
        last = number == len(pieces)
        yield Rendered(job.id, piece, last, "; ".join(notes) if last else "")


def pieces_of(text: str) -> Iterator[str]:
    """`text` in pieces of at most PART_BYTES of UTF-8, cut between characters; one empty piece for the empty text."""
    data = text.encode()
    start = 0
    while True:
        end = start + PART_BYTES
        while end < len(data) and data[end] & 0xC0 == 0x80:
            end -= 1
        yield data[start:end].decode()
        if end >= len(data):
            return
        start = end


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
