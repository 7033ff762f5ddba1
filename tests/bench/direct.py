"""A runner driven over its socket, without the daemon: what the engine itself costs beside the bare loop.

`python -m tests.bench.direct MODEL` prints the figures of one stream, of eight, and of four beside two long prompts.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from powerd import protocol
from tests.bench.figures import Stream, milliseconds, rate
from tests.bench.prompts import prompt

_DECODER = msgspec.msgpack.Decoder(protocol.FromRunner)
_SAMPLING = protocol.Sampling(temperature=0.8, top_k=40, top_p=0.9)


@contextmanager
def runner(model: Path, context: int, parallel: int) -> Iterator[socket.socket]:
    """A loaded runner's socket; the runner ends with the block."""
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "powerd.runner", str(theirs.fileno())]  # X
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stderr=subprocess.DEVNULL)
    theirs.close()
    shape = protocol.Shape(0, 0, 0, 0, 0, 0)
    deployment = protocol.Deployment(str(model.resolve()), "0" * 64, context, parallel, shape)
    ours.sendall(protocol.encode(protocol.Load(deployment)))
    try:
        for frame in frames(ours):
            if isinstance(frame, protocol.Ready):
                break
        yield ours
    finally:
        ours.close()
        process.wait()


def frames(sock: socket.socket) -> Iterator[protocol.FromRunner]:
    """Frames as they come; between two of them the caller may stop reading."""
    while True:
        (length,) = protocol.HEADER.unpack(sock.recv(protocol.HEADER.size, socket.MSG_WAITALL))
        yield _DECODER.decode(sock.recv(length, socket.MSG_WAITALL))


def ask(
    sock: socket.socket, request: int, words: int, tokens: int, constraint: protocol.Constraint | None = None
) -> Stream:
    """Send one request; the record its frames go to."""
    text = " " + prompt(words, request)
    sampling = msgspec.structs.replace(_SAMPLING, seed=request)
    frame = protocol.Generate(
        request, text, sampling=sampling, num_predict=tokens, repeat_limit=0, constraint=constraint
    )
    stream = Stream(time.perf_counter())
    sock.sendall(protocol.encode(frame))
    return stream


def collect(sock: socket.socket, streams: dict[int, Stream], until: set[int]) -> None:
    """Read frames until every request in `until` has ended."""
    open_ones = set(until)
    for frame in frames(sock):
        now = time.perf_counter()
        _note(frame, now, streams)
        if isinstance(frame, protocol.Finished | protocol.Failed):
            assert isinstance(frame, protocol.Finished), frame
            open_ones.discard(frame.id)
            if not open_ones:
                return


def throughput(model: Path, count: int, tokens: int, words: int) -> list[Stream]:
    """`count` streams at once."""
    with runner(model, 2048, count) as sock:
        streams = {request: ask(sock, request, words, tokens) for request in range(1, count + 1)}
        collect(sock, streams, set(streams))
        return list(streams.values())


def mixed(model: Path, tokens: int) -> tuple[list[Stream], list[Stream]]:
    """Four streams, and two prompts of 1,500 words that arrive while they run."""
    with runner(model, 4096, 8) as sock:
        streams = {request: ask(sock, request, 20, tokens) for request in range(1, 5)}
        arrive = time.perf_counter() + 2
        owed = set(range(1, 7))
        for frame in frames(sock):
            now = time.perf_counter()
            if now > arrive and len(streams) == 4:
                streams |= {request: ask(sock, request, 1500, 4) for request in (5, 6)}
            _note(frame, now, streams)
            if isinstance(frame, protocol.Finished):
                owed.discard(frame.id)
            if not owed:
                break
        return [streams[request] for request in range(1, 5)], [streams[request] for request in (5, 6)]


def _note(frame: protocol.FromRunner, now: float, streams: dict[int, Stream]) -> None:
    if isinstance(frame, protocol.Delta):
        for row in frame.rows:
            streams[row.id].add(now, row.tokens)


def main(path: str) -> None:
    """One line of JSON for each scenario."""
    model = Path(path)
    for count, tokens in ((1, 256), (8, 128)):
        figures = {"streams": count, "tok_s": round(rate(throughput(model, count, tokens, 100)), 2)}
        sys.stdout.write(json.dumps(figures) + "\n")
    short, long = mixed(model, 512)
    first = [round(1e3 * stream.first) for stream in long]
    sys.stdout.write(json.dumps({**milliseconds(short), "long_first_ms": first}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
