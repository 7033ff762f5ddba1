"""`python -m powerd.quantize FD`: do the one Quantize job that comes on the inherited socket FD, and end.

Exit codes: 0 when the job is done or the daemon is gone, 1 when it failed, 64 on wrong usage, 76 on a frame that does
not decode.
"""

from __future__ import annotations

import os
import socket
import sys

from powerd.jobs import Quantize, Quantized, QuantizeFailed, Quantizing
from powerd.protocol import encode
from powerd.quantize.tensorlog import TensorLog
from powerd.runner.__main__ import usable_cores
from powerd.runner.llama import Bindings, EngineFailed, EngineMissing, quantize
from powerd.runner.onejob import run


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
    os._exit(run("powerd.quantize", sys.argv[1:], Quantize, _work))
