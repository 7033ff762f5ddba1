"""`python -m powerd.runner FD`: the process, its threads, and how it ends.

The main thread loads and then runs the engine; a reading thread takes frames in, tokenises prompts, and ends the
process the moment the socket closes, so that no runner outlives its daemon. Exit codes: 0 after a Shutdown or when
the daemon is gone, 1 when the load failed, 64 on wrong usage, 70 when the engine failed, 76 on a frame that does not
decode. Standard error is the log; standard output is not used.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from queue import SimpleQueue
from typing import BinaryIO

import msgspec

from powerd.errors import Unsupported
from powerd.protocol import (
    HEADER,
    MAX_FRAME,
    Count,
    Deployment,
    Failed,
    Generate,
    Load,
    LoadFailed,
    Part,
    Progress,
    ReadBack,
    Ready,
    Shutdown,
    ToRunner,
)
from powerd.runner import llama
from powerd.runner.embedding import Embeddings, context_of
from powerd.runner.engine import Engine, Mail
from powerd.runner.inputs import InputMaker
from powerd.runner.intake import Intake, Make
from powerd.runner.making import SequenceMaker
from powerd.runner.memory import resident
from powerd.runner.outbox import Outbox
from powerd.runner.pooling import Job
from powerd.runner.readback import read_back
from powerd.runner.scheduler import Scheduler
from powerd.runner.sequence import Sequence
from powerd.vectors import Embed

_log = logging.getLogger("powerd.runner")
_PR_SET_PDEATHSIG = 1
_OOM_SCORE = "500"
_PROGRESS_NS = 100_000_000
_LIFE_SECONDS = 1.0
_FLUSH_SECONDS = 2.0
#: How long a thread may keep the interpreter from the engine.
_SWITCH_SECONDS = 0.0005


def main(arguments: list[str]) -> int:
    """Run the process; its exit code."""
    if len(arguments) != 1 or not arguments[0].isdecimal():
        sys.stderr.write("usage: python -m powerd.runner FD\n")
        return os.EX_USAGE
    _settle()
    sock = socket.socket(fileno=int(arguments[0]))
    outbox = Outbox(sock)
    reader = Reader(sock.makefile("rb"), outbox)
    threading.Thread(target=reader.run, name="reader", daemon=True).start()
    code = _serve(reader, outbox)
    outbox.flush(_FLUSH_SECONDS)
    return code


def _settle() -> None:
    """Make this a good child: dies with its parent, first to go when memory ends, quiet towards systemd."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ.pop("NOTIFY_SOCKET", None)
    sys.setswitchinterval(_SWITCH_SECONDS)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        try:
            Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE, encoding="ascii")
        except OSError as error:
            _log.warning("oom_score_adj stays as it is: %s", error)


class Reader:
    """The reading end of the socket."""

    def __init__(self, stream: BinaryIO, outbox: Outbox) -> None:
        self._stream = stream
        self._outbox = outbox
        self._decoder = msgspec.msgpack.Decoder(ToRunner)
        self.load: SimpleQueue[Load | Shutdown] = SimpleQueue()
        self.mail: SimpleQueue[Mail] = SimpleQueue()
        self.stopping = threading.Event()
        self.intake: Intake | None = None  # set once there is a model

    def run(self) -> None:
        """Read until the daemon is gone, then end the process at once."""
        code = os.EX_SOFTWARE
        try:
            code = self._read()
        except Exception:
            _log.exception("the reading thread failed")
        os._exit(code)

    def _read(self) -> int:
        while header := self._stream.read(HEADER.size):
            length = HEADER.unpack(header)[0] if len(header) == HEADER.size else 0
            if length > MAX_FRAME:
                _log.error("the daemon sent a frame of %d bytes, which does not fit the limit of %d", length, MAX_FRAME)
                return os.EX_PROTOCOL
            body = self._stream.read(length)
            if len(header) < HEADER.size or len(body) < length:
                break
            try:
                frame = self._decoder.decode(body)
            except msgspec.DecodeError as error:
                _log.error("the daemon sent a frame that does not decode: %s", error)
                return os.EX_PROTOCOL
            self._take(frame)
        return os.EX_OK

    def _take(self, frame: ToRunner) -> None:
        if isinstance(frame, Load):
            self.load.put(frame)
        elif isinstance(frame, Shutdown):
            self.stopping.set()
            self.load.put(frame)
            self.mail.put(frame)
        elif self.intake is None:
            if isinstance(frame, Generate | Embed | Count):
                self._outbox.send(Failed(frame.id, "busy", "the model is still loading"))
        elif isinstance(frame, Generate):
            self.intake.generate(frame)
        elif isinstance(frame, Embed):
            self.intake.embed(frame)
        elif isinstance(frame, Count):
            self.intake.count(frame)
        elif isinstance(frame, Part):
            self.intake.part(frame)
        else:
            self.intake.cancel(frame)


def _serve(reader: Reader, outbox: Outbox) -> int:
    """Load, then run the engine until it is told to stop; the exit code."""
    first = reader.load.get()
    if isinstance(first, Shutdown):
        return os.EX_OK
    begun = time.monotonic_ns()
    try:
        model, have = _load(first.deployment, Loading(reader, outbox))
    except (llama.EngineMissing, llama.EngineFailed) as error:
        if reader.stopping.is_set():
            return os.EX_OK
        outbox.send(LoadFailed(str(error), getattr(error, "out_of_memory", False)))
        return 1
    except Exception as error:
        _log.exception("the load failed in a way nobody foresaw")
        outbox.send(LoadFailed(f"{type(error).__name__}: {error}"))
        return os.EX_SOFTWARE
    reader.intake = Intake(model.vocabulary, _make(model, have), reader.mail.put, outbox.send, time.monotonic_ns)
    scheduler: Scheduler[Sequence] = Scheduler(have.sequences, model.batch.limit)
    embeddings = Embeddings(lambda: context_of(model))
    engine = Engine(model, scheduler, have.cells, reader.mail, outbox, time.monotonic_ns, embeddings)
    gc.collect()
    gc.freeze()
    outbox.send(Ready(have, time.monotonic_ns() - begun))
    try:
        engine.run()
    except Exception:
        _log.exception("the engine failed")
        return os.EX_SOFTWARE
    embeddings.close()
    model.close()
    return os.EX_OK


def _make(model: llama.Model, have: ReadBack) -> Make:
    """What makes sequences and inputs of the frames that ask for them."""
    own = min(have.context, model.trained_context or have.context)
    inputs = InputMaker(model.vocabulary, own if model.pooling else model.deployment.pooled.context, model.adapters)
    sequences = SequenceMaker(model, have.context)

    def make(frame: Generate | Embed, text: bytes, now: int) -> Sequence | Job:
        if isinstance(frame, Embed):
            return inputs.make(frame, text)
        if model.pooling:
            raise Unsupported("this is an embedding model; chat and completion need a generative one", "model")
        return sequences.make(frame, text, now)

    return make


class Loading:
    """Tells the daemon how the load goes, ten times a second at most, and stops the load when it was told to.

    Mapped weights are read by the kernel in one silent call, and the rest by the first decode: meanwhile a growing
    process is the sign of life.
    """

    def __init__(self, reader: Reader, outbox: Outbox) -> None:
        self._reader = reader
        self._outbox = outbox
        self._told = 0
        self._fraction = 0.0
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="loading", daemon=True)
        self._watcher.start()

    def progress(self, fraction: float) -> bool:
        """Called by the load with 0..1; whether to go on."""
        now = time.monotonic_ns()
        self._fraction = fraction
        if now - self._told >= _PROGRESS_NS or fraction >= 1:
            self._told = now
            self._outbox.send(Progress(fraction))
        return not self._reader.stopping.is_set()

    def _watch(self) -> None:
        size = resident()
        while not self._ended.wait(_LIFE_SECONDS):
            size, before = resident(), size
            if size != before:
                self._outbox.send(Progress(self._fraction))

    def end(self) -> None:
        """The load is over, one way or the other; nothing is sent after this."""
        self._ended.set()
        self._watcher.join()


def _load(deployment: Deployment, loading: Loading) -> tuple[llama.Model, ReadBack]:
    """The model ready to serve, and what it really has. Raises EngineMissing, EngineFailed."""
    threads = deployment.threads or usable_cores()
    try:
        bindings = llama.Bindings()
        model = llama.Model(bindings, deployment, threads, loading.progress)
        model.warm_up()
    finally:
        loading.end()
    return model, read_back(bindings, model, deployment)


def usable_cores() -> int:
    """Physical cores this process may use, no more than its control group's quota."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    siblings = set()
    for cpu in os.sched_getaffinity(0):
        listed = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        siblings.add(listed.read_text(encoding="ascii") if listed.exists() else str(cpu))
    return max(1, min(len(siblings), _quota()))


def _quota() -> int:
    """Whole cores the control group grants; a large number where it does not limit."""
    unlimited = 1 << 16
    try:
        path = Path("/proc/self/cgroup").read_text(encoding="ascii").rpartition("0::")[2].strip()
        quota, period = Path(f"/sys/fs/cgroup{path}/cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return unlimited
    return unlimited if quota == "max" else max(1, int(quota) // int(period))


if __name__ == "__main__":
    # Nothing to unwind: native threads and a reader blocked in a read must not delay the end.
    os._exit(main(sys.argv[1:]))
