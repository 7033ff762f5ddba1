"""A child that does one job, driven over its protocol."""

from __future__ import annotations

import socket
import subprocess
import sys
from types import TracebackType
from typing import Any

import msgspec

from powerd.protocol import HEADER


class JobChild:
    """`with JobChild("powerd.probe", FromProbe) as child:` starts it, and waits for its end."""

    def __init__(self, module: str, answers: Any) -> None:
        """`answers`: what its frames are decoded as."""
        self._decoder = msgspec.msgpack.Decoder(answers)
        self.socket, theirs = socket.socketpair()
        command = [sys.executable, "-m", module, str(theirs.fileno())]
        self.process = subprocess.Popen(command, pass_fds=(theirs.fileno(),), stderr=subprocess.PIPE)
        theirs.close()

    def __enter__(self) -> JobChild:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()
        self.process.communicate(timeout=20)

    def answers(self, data: bytes) -> list[Any]:
        """Send bytes; every frame that comes until it hangs up."""
        self.socket.sendall(data)
        frames = []
        with self.socket.makefile("rb") as stream:
            while header := stream.read(HEADER.size):
                frames.append(self._decoder.decode(stream.read(HEADER.unpack(header)[0])))
        return frames
