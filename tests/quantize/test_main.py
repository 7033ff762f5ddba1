"""The helper as a process, against its protocol."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from powerd.jobs import FromQuantize, Quantize, Quantized, QuantizeFailed, Quantizing
from powerd.protocol import HEADER, MAX_FRAME, encode
from tests import gguf_maker
from tests.job_child import JobChild


def test_it_writes_the_file_and_tells_every_tensor(tmp_path: Path) -> None:
    (source,) = gguf_maker.full(tmp_path / "full.gguf")
    with JobChild("powerd.quantize", FromQuantize) as helper:
        frames = helper.answers(encode(Quantize(str(source), str(tmp_path / "out"), 15)))
        assert frames.pop() == Quantized()
        assert len({frame.tensor for frame in frames if isinstance(frame, Quantizing)}) == 20
        assert (tmp_path / "out").read_bytes()[:4] == b"GGUF"
        assert helper.process.wait(20) == 0


def test_it_says_why_it_cannot(tmp_path: Path) -> None:
    with JobChild("powerd.quantize", FromQuantize) as helper:
        (answer,) = helper.answers(encode(Quantize(str(tmp_path / "none"), str(tmp_path / "out"), 15)))
        assert isinstance(answer, QuantizeFailed)
        assert not answer.missing
        assert helper.process.wait(20) == 1


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"", 0), (HEADER.pack(5), 0), (HEADER.pack(1) + b"\xc1", 76), (HEADER.pack(MAX_FRAME + 1), 76)],
)
def test_it_ends_when_the_daemon_is_gone_or_speaks_nonsense(data: bytes, code: int) -> None:
    with JobChild("powerd.quantize", FromQuantize) as helper:
        helper.socket.sendall(data)
        helper.socket.shutdown(socket.SHUT_WR)
        assert helper.process.wait(20) == code
