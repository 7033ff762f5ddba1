"""The render child as its parent sees it: a real process on a socketpair."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest

from powerd.jobs import FromRender, Rendered, RenderFailed, RenderJob
from powerd.protocol import HEADER, MAX_FRAME, PART_BYTES, Message, Part, encode
from powerd.render.__main__ import MAX_JOB, pieces_of

_ANSWERS: msgspec.msgpack.Decoder[FromRender] = msgspec.msgpack.Decoder(FromRender)


class Child:
    """One `powerd.render` process."""

    def __init__(self, *command: str) -> None:
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(20)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, *command, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        self.stream = self.socket.makefile("rb")

    def send(self, *frames: msgspec.Struct) -> None:
        for frame in frames:
            self.socket.sendall(encode(frame))

    def receive(self) -> FromRender | None:
        header = self.stream.read(HEADER.size)
        if not header:
            return None
        (size,) = HEADER.unpack(header)
        assert size <= MAX_FRAME
        return _ANSWERS.decode(self.stream.read(size))

    def ask(self, template: str, *messages: Message, number: int = 1) -> str:
        """The text or the failure's message."""
        self.send(RenderJob(number, messages, template))
        return self.answer(number)

    def answer(self, number: int) -> str:
        texts = []
        while True:
            frame = self.receive()
            assert frame is not None
            assert frame.id == number
            if isinstance(frame, RenderFailed):
                return frame.message
            texts.append(frame.text)
            if frame.last:
                return "".join(texts)

    def end(self) -> tuple[int, str]:
        """Close our side; the exit code and what stood on stderr."""
        self.stream.close()
        self.socket.close()
        _, noise = self.process.communicate(timeout=20)
        return self.process.returncode, noise.decode()


@contextmanager
def child(*command: str) -> Iterator[Child]:
    running = Child(*(command or ("-m", "powerd.render")))
    try:
        yield running
    finally:
        running.process.kill()
        running.end()


@pytest.fixture(scope="module")
def shared() -> Iterator[Child]:
    """A child for the jobs that must leave it fit for the next."""
    with child() as running:
        yield running


def test_jobs_are_answered_in_order_under_their_ids(shared: Child) -> None:
    for number in (7, 8):
        shared.send(RenderJob(number, (Message("user", f"hello {number}"),)))
    assert [shared.answer(7), shared.answer(8)] == ["hello 7", "hello 8"]


def test_an_empty_text_is_one_last_piece(shared: Child) -> None:
    shared.send(RenderJob(1, (), "{# nothing #}"))
    assert shared.receive() == Rendered(1, "", last=True)


def test_a_bad_template_is_an_answer_and_the_next_job_works(shared: Child) -> None:
    assert shared.ask("{% if %}").startswith("template error: ")
    assert shared.ask("{{ ''.__class__.__mro__ }}").startswith("template error: ")
    assert shared.ask("{{ strftime_now('%Y') }}") == time.strftime("%Y")


@pytest.mark.parametrize(
    "template", ["{{ 'A' * 10**10 }}", "{% set x = 'A' * 10**9 %}{{ x | length }}", "{{ [0] * 10**10 }}"]
)
def test_s42_memory_runs_out_in_the_child_and_the_next_job_works(shared: Child, template: str) -> None:
    assert shared.ask(template) == "template error: the template needs more memory than it may have"
    assert shared.ask("{{ 1 + 1 }}") == "2"


def test_s42_output_ends_at_four_mebibytes(shared: Child) -> None:
    assert "over the limit of 4194304 bytes" in shared.ask("{% for i in range(5000) %}{{ 'x' * 1000 }}{% endfor %}")


def test_a_text_over_one_frame_comes_in_pieces(shared: Child) -> None:
    text = "aä€😀" * 60_000
    assert shared.ask("{{ 'aä€😀' * 60000 }}") == text


def test_a_job_over_one_frame_goes_in_parts(shared: Child) -> None:
    text = "aä€😀" * 60_000
    body = msgspec.msgpack.encode(RenderJob(5, (Message("user", text),)))
    slices = _slices(body)
    assert len(slices) > 2
    shared.send(*(Part(5, data) for data in slices), Part(5, b""))
    assert shared.answer(5) == text


def _slices(body: bytes) -> list[bytes]:
    return [body[start : start + PART_BYTES] for start in range(0, len(body), PART_BYTES)]


def test_a_job_over_the_limit_is_refused_and_the_next_one_works(shared: Child) -> None:
    block = Part(6, b"x" * PART_BYTES)
    shared.send(*[block] * (MAX_JOB // PART_BYTES + 1), Part(6, b""))
    assert "over the limit of 16777216" in shared.answer(6)
    assert shared.ask("{{ 1 + 1 }}") == "2"


def test_an_interrupt_from_the_terminal_does_not_end_it(shared: Child) -> None:
    shared.process.send_signal(signal.SIGINT)
    assert shared.ask("{{ 1 + 1 }}") == "2"


def test_it_ends_quietly_when_the_socket_closes() -> None:
    with child() as running:
        assert running.ask("{% if %}")
        assert running.end() == (0, "")


def test_it_ends_quietly_when_the_socket_closes_inside_a_job() -> None:
    with child() as running:
        running.send(Part(1, b"half"))
        assert running.end() == (0, "")


@pytest.mark.parametrize(
    "noise",
    [
        HEADER.pack(MAX_FRAME + 1),
        HEADER.pack(3) + b"xyz",
        encode(Rendered(1, "from the wrong side")),
        encode(Part(1, b"a")) + encode(Part(2, b"")),
        encode(Part(1, b"not a job")) + encode(Part(1, b"")),
    ],
)
def test_a_broken_frame_ends_it_with_one_line(noise: bytes) -> None:
    with child() as running:
        running.socket.sendall(noise)
        assert running.receive() is None
        code, line = running.end()
    assert code == 1
    assert line.startswith("powerd.render: ")
    assert line.count("\n") == 1


def test_s42_a_template_that_never_ends_is_ended_by_the_processor_limit_without_a_parent() -> None:
    program = "import sys, powerd.render.__main__ as m; m.CPU_SECONDS = 1; sys.exit(m.main(sys.argv[1:]))"
    with child("-c", program) as running:
        running.send(
            RenderJob(1, (), "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}")
        )
        assert running.receive() is None
        assert running.end() == (-signal.SIGXCPU, "")


def test_wrong_usage_says_so() -> None:
    done = subprocess.run([sys.executable, "-m", "powerd.render"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (64, "usage: python -m powerd.render FD\n")


def test_it_stays_small_by_importing_little() -> None:
    program = "import powerd.render.__main__, sys; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"asyncio", "ctypes", "httpx", "litestar", "logging", "prometheus_client", "pydantic", "structlog", "yaml"}
    assert heavy.intersection(loaded) == set()


@pytest.mark.parametrize("character", ["a", "ä", "€", "😀"])
@pytest.mark.parametrize("offset", range(4))
def test_pieces_are_cut_between_characters(character: str, offset: int) -> None:
    text = "x" * offset + character * (PART_BYTES // 2)
    pieces = list(pieces_of(text))
    assert "".join(pieces) == text
    assert all(0 < len(piece.encode()) <= PART_BYTES for piece in pieces)
    assert list(pieces_of("")) == [""]
