"""The helper as a process, against its protocol."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from powerd.jobs import FromQuantize, Quantize, Quantized, QuantizeFailed, Quantizing
from powerd.protocol import HEADER, MAX_FRAME, encode
from tests import gguf_maker


class Helper:
    def __init__(self) -> None:
        self.socket, theirs = socket.socketpair()
        command = [sys.executable, "-m", "powerd.quantize", str(theirs.fileno())]
        self.process = subprocess.Popen(command, pass_fds=(theirs.fileno(),), stderr=subprocess.PIPE)
        theirs.close()

    def __enter__(self) -> Helper:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
        self.process.communicate(timeout=20)

    def answers(self, data: bytes) -> list[Any]:
        self.socket.sendall(data)
        stream = self.socket.makefile("rb")
        frames = []
        while header := stream.read(HEADER.size):
            frames.append(msgspec.msgpack.decode(stream.read(HEADER.unpack(header)[0]), type=FromQuantize))
        stream.close()
        return frames


def test_it_writes_the_file_and_tells_every_tensor(tmp_path: Path) -> None:
    (source,) = gguf_maker.full(tmp_path / "full.gguf")
    with Helper() as helper:
        frames = helper.answers(encode(Quantize(str(source), str(tmp_path / "out"), 15)))
        assert frames.pop() == Quantized()
        assert len({frame.tensor for frame in frames if isinstance(frame, Quantizing)}) == 20
        assert (tmp_path / "out").read_bytes()[:4] == b"GGUF"
        assert helper.process.wait(20) == 0


def test_it_says_why_it_cannot(tmp_path: Path) -> None:
    with Helper() as helper:
        (answer,) = helper.answers(encode(Quantize(str(tmp_path / "none"), str(tmp_path / "out"), 15)))
        assert isinstance(answer, QuantizeFailed)
        assert not answer.missing
        assert helper.process.wait(20) == 1


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"", 0), (HEADER.pack(5), 0), (HEADER.pack(1) + b"\xc1", 76), (HEADER.pack(MAX_FRAME + 1), 76)],
)
def test_it_ends_when_the_daemon_is_gone_or_speaks_nonsense(data: bytes, code: int) -> None:
    with Helper() as helper:
        helper.socket.sendall(data)
        helper.socket.shutdown(socket.SHUT_WR)
        assert helper.process.wait(20) == code
