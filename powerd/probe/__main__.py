"""`python -m powerd.probe FD`: answer the one Probe that comes on the inherited socket FD, and end.

Exit codes: 0 when it was answered or the daemon is gone, 1 when it failed, 64 on wrong usage, 76 on a frame that does
not decode.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
from contextlib import suppress
from pathlib import Path

import msgspec

from powerd.jobs import Probe, Probed, ProbeFailed
from powerd.probe.nvml import cards, refined
from powerd.protocol import Deployment, encode
from powerd.runner.enginelog import HOST
from powerd.runner.llama import Bindings, EngineFailed, EngineMissing, Model
from powerd.runner.memory import proportional
from powerd.runner.onejob import run

#: Bytes of writable memory and seconds of computing that no sound file needs for this.
_DATA = 8 << 30
_CPU_SECONDS = 60
#: The kernel's first choice when memory ends.
_OOM_SCORE = "1000"


def _work(job: Probe, peer: socket.socket) -> int:
    _limit()
    try:
        answer = _found(job)
    except EngineMissing as error:
        peer.sendall(encode(ProbeFailed(str(error), missing=True)))
        return 1
    except EngineFailed as error:
        peer.sendall(encode(ProbeFailed(str(error))))
        return 1
    peer.sendall(encode(answer))
    return os.EX_OK


def _limit() -> None:
    for kind, value in ((resource.RLIMIT_DATA, _DATA), (resource.RLIMIT_CPU, _CPU_SECONDS)):
        with suppress(OSError, ValueError):
            resource.setrlimit(kind, (value, value))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE, encoding="ascii")


def _found(job: Probe) -> Probed:
    """The devices, and the dry load if one is asked for. Raises EngineMissing, EngineFailed."""
    known = cards()  # before the engine takes its own part of a card
    bindings = Bindings()
    found = Probed(bindings.engine, refined(bindings.accelerators(), known), proportional())
    return found if job.deployment is None else _foretold(bindings, job.deployment, found)


def _foretold(bindings: Bindings, deployment: Deployment, found: Probed) -> Probed:
    model = Model(bindings, deployment, 1, lambda fraction: True, dry=True)
    buffers = bindings.log.sizes("compute", "output")
    buffers.setdefault(HOST, 0)
    # The output buffer is small and the only one that is really there.
    process = proportional() - bindings.log.sizes("output").get(HOST, 0)
    model.close()
    return msgspec.structs.replace(found, process=process, compute=buffers)


if __name__ == "__main__":
    # Nothing to unwind: the thread that waits for the daemon must not delay the end.
    sys.stderr.flush()
    os._exit(run("powerd.probe", sys.argv[1:], Probe, _work))
