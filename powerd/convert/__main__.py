"""`python -m powerd.convert FD`: do the one Convert job that comes on the inherited socket FD, and end.

Exit codes: 0 when the job is done or the daemon is gone, 1 when it failed, 64 on wrong usage, 76 on a frame that does
not decode.
"""

from __future__ import annotations

import logging
import os
import resource
import socket
import sys
import time
from pathlib import Path

from powerd.errors import BadRequest
from powerd.jobs import Convert, Converted, ConvertFailed, Converting
from powerd.protocol import encode
from powerd.runner.onejob import run

#: Bytes of memory of its own (the mapped files do not count); the largest tokenizers take a third.
MEMORY = 1 << 30
#: Seconds between two reports.
_EVERY = 0.1


class _Progress:
    """Reports to the daemon, not more often than it can be of use."""

    def __init__(self, peer: socket.socket) -> None:
        self._peer = peer
        self._next = 0.0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now >= self._next or done == total:
            self._next = now + _EVERY
            self._peer.sendall(encode(Converting(done, total)))


def _work(job: Convert, peer: socket.socket) -> int:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # nothing is multiplied here
    _limit_memory()
    try:
        _convert(job, _Progress(peer))
    except ImportError as error:
        peer.sendall(encode(ConvertFailed(f"not installed: {error.name}", missing=True)))
        return 1
    except BadRequest as error:
        peer.sendall(encode(ConvertFailed(error.message)))
        return 1
    except MemoryError:
        peer.sendall(encode(ConvertFailed("configuration and tokenizer take more memory than a model's ever did")))
        return 1
    except (ValueError, TypeError, LookupError, ArithmeticError) as error:
        logging.getLogger("powerd.convert").exception("a checkpoint was not understood")
        peer.sendall(encode(ConvertFailed(f"the files are not what they should be: {type(error).__name__}: {error}")))
        return 1
    except OSError as error:
        peer.sendall(encode(ConvertFailed(f"{error.strerror}")))
        return 1
    peer.sendall(encode(Converted()))
    return os.EX_OK


def _limit_memory() -> None:
    """Of our own, without the mapped files. Systems other than Linux count other things, or nothing."""
    if sys.platform == "linux":
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        limit = MEMORY if most == resource.RLIM_INFINITY else min(MEMORY, most)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _convert(job: Convert, on_progress: _Progress) -> None:
    # Imported here because gguf and numpy may be missing, which is an answer of its own.
    from powerd.convert.adapter import convert_adapter  # noqa: PLC0415
    from powerd.convert.checkpoint import Checkpoint  # noqa: PLC0415
    from powerd.convert.model import convert  # noqa: PLC0415

    if job.base is not None:
        convert_adapter(Checkpoint(job.files), job.base, Path(job.destination), on_progress)
    else:
        convert(Checkpoint(job.files), Path(job.destination), on_progress)


if __name__ == "__main__":
    # Nothing to unwind: the thread that waits for the daemon must not delay the end.
    sys.stderr.flush()
    os._exit(run("powerd.convert", sys.argv[1:], Convert, _work))
