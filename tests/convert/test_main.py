"""The helper as a process, against its protocol."""

from __future__ import annotations

import resource
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from powerd.jobs import Convert, Converted, ConvertFailed, Converting, FromConvert
from powerd.protocol import HEADER, MAX_FRAME, encode
from tests.convert import checkpoints
from tests.job_child import JobChild


def test_it_writes_the_file_and_tells_how_far_it_is(demo: Path, tmp_path: Path) -> None:
    with JobChild("powerd.convert", FromConvert) as helper:
        frames = helper.answers(encode(Convert(checkpoints.files(demo), str(tmp_path / "out"))))
        assert frames.pop() == Converted()
        told = [(frame.done, frame.total) for frame in frames if isinstance(frame, Converting)]
        assert told[0][0] == 0
        assert told[-1][0] == told[-1][1] > 5_000_000
        assert (tmp_path / "out").read_bytes()[:4] == b"GGUF"
        assert helper.process.wait(20) == 0


def refused(files: dict[str, str], destination: Path, prepare: Callable[[int], object] = lambda _pid: None) -> str:
    with JobChild("powerd.convert", FromConvert) as helper:
        prepare(helper.process.pid)
        answer = helper.answers(encode(Convert(files, str(destination))))[-1]
        assert isinstance(answer, ConvertFailed)
        assert not answer.missing
        assert helper.process.wait(20) == 1
        return answer.reason


def test_it_says_why_it_cannot(demo: Path, tmp_path: Path) -> None:
    assert refused({}, tmp_path / "out").startswith("config.json is missing")
    assert "No such file" in refused(checkpoints.files(demo), tmp_path / "none" / "out")


def test_its_memory_has_a_limit(demo: Path, tmp_path: Path) -> None:
    (demo / "tokenizer.json").write_bytes(b'{"model":[' + b"[]," * (3 << 20) + b"[]]}")
    limits = (160 << 20, 160 << 20)
    reason = refused(
        checkpoints.files(demo), tmp_path / "out", lambda pid: resource.prlimit(pid, resource.RLIMIT_DATA, limits)
    )
    assert reason.startswith("configuration and tokenizer take more memory")


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"", 0), (HEADER.pack(5), 0), (HEADER.pack(1) + b"\xc1", 76), (HEADER.pack(MAX_FRAME + 1), 76)],
)
def test_it_ends_when_the_daemon_is_gone_or_speaks_nonsense(data: bytes, code: int) -> None:
    with JobChild("powerd.convert", FromConvert) as helper:
        helper.socket.sendall(data)
        helper.socket.shutdown(socket.SHUT_WR)
        assert helper.process.wait(20) == code
