"""A real runner process as tests drive it: frames in, frames out, every wait bounded."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from powerd import protocol
from powerd.protocol import Cancel, Delta, Failed, Finished, Generate, Load, LoadFailed, Ready, Shutdown, Stats

ROOT = Path(__file__).parent.parent.parent
DEMO = ROOT / "powerd" / "demo" / "tiny-chat-q8_0.gguf"
SECONDS = 60.0
GREEDY = protocol.Sampling(temperature=0)
_DECODER = msgspec.msgpack.Decoder(protocol.FromRunner)
Frame = TypeVar("Frame", bound=msgspec.Struct)
_NO_SHAPE = protocol.Shape(0, 0, 0, 0, 0, 0)


def chat(question: str) -> str:
    """The demo model's prompt for one question."""
    return f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"


class Answer:
    """What came back for one request."""

    def __init__(self) -> None:
        self.text = ""
        self.rows = 0
        self.tokens = 0
        self.ends: list[Finished | Failed] = []

    @property
    def finished(self) -> Finished:
        """The one terminal frame, which went well."""
        (end,) = self.ends
        assert isinstance(end, Finished), end
        return end

    @property
    def failed(self) -> Failed:
        """The one terminal frame, which went wrong."""
        (end,) = self.ends
        assert isinstance(end, Failed), end
        return end


class Child:
    """One runner. `stderr` holds its log once it ended."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self.sock, theirs = socket.socketpair()
        self.sock.settimeout(SECONDS)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "powerd.runner", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env=os.environ | (environment or {}),
        )
        theirs.close()
        self._stream = self.sock.makefile("rb")
        self.answers: dict[int, Answer] = {}
        self.stats: list[Stats] = []
        self.said: list[protocol.FromRunner] = []
        self._next = 0

    def load(self, weights: Path, context: int = 1024, parallel: int = 4, **fields: object) -> Ready | LoadFailed:
        """Send Load and wait for the verdict."""
        values = {"weights": str(weights), "weights_digest": "0" * 64, "context": context, "parallel": parallel}
        self.send(Load(msgspec.convert(values | {"shape": _NO_SHAPE} | fields, protocol.Deployment)))
        for frame in self.frames():
            if isinstance(frame, Ready | LoadFailed):
                return frame
        raise AssertionError(f"the runner ended: {self.end()[1]}")

    def send(self, *frames: msgspec.Struct) -> None:
        """Send frames."""
        self.sock.sendall(b"".join(map(protocol.encode, frames)))

    def ask(self, prompt: str = "", **fields: object) -> int:
        """Send one request; its id."""
        self._next += 1
        self.send(self.request(self._next, prompt, **fields))
        return self._next

    def request(self, number: int, prompt: str = "", **fields: object) -> Generate:
        """The frame of one request, greedy unless told otherwise."""
        self.answers.setdefault(number, Answer())
        return msgspec.structs.replace(Generate(number, prompt, sampling=GREEDY), **fields)

    def cancel(self, number: int) -> None:
        """Send Cancel."""
        self.send(Cancel(number))

    def frames(self) -> Iterator[protocol.FromRunner]:
        """Frames until the runner closes its end."""
        while header := self._stream.read(protocol.HEADER.size):
            frame = _DECODER.decode(self._stream.read(protocol.HEADER.unpack(header)[0]))
            self._note(frame)
            yield frame

    def _note(self, frame: protocol.FromRunner) -> None:
        self.said.append(frame)
        if isinstance(frame, Delta):
            for row in frame.rows:
                answer = self.answers[row.id]
                assert not answer.ends, "text after the terminal frame"
                answer.text += row.text
                answer.rows += 1
                answer.tokens += row.tokens
        elif isinstance(frame, Finished | Failed):
            self.answers[frame.id].ends.append(frame)
        elif isinstance(frame, Stats):
            self.stats.append(frame)

    def until(self, kind: type[Frame]) -> Frame:
        """The next frame of `kind`."""
        for frame in self.frames():
            if isinstance(frame, kind):
                return frame
        raise AssertionError(f"the runner ended: {self.end()[1]}")

    def until_text(self, number: int) -> None:
        """Wait for the first text of one request."""
        for _ in self.frames():
            if self.answers[number].text:
                return

    def wait(self, *numbers: int) -> list[Answer]:
        """Wait for the terminal frames of these requests."""
        answers = [self.answers[number] for number in numbers]
        if not all(answer.ends for answer in answers):
            for _ in self.frames():
                if all(answer.ends for answer in answers):
                    break
        return answers

    def one(self, prompt: str = "", **fields: object) -> Answer:
        """Ask and wait."""
        return self.wait(self.ask(prompt, **fields))[0]

    def idle(self) -> Stats:
        """The gauges once nothing is left to do."""
        while not self.stats or self.stats[-1].running or self.stats[-1].waiting:
            self.until(Stats)
        return self.stats[-1]

    def shutdown(self) -> tuple[int, str]:
        """Send Shutdown; exit code and log."""
        with contextlib.suppress(BrokenPipeError):
            self.send(Shutdown())
        for _ in self.frames():
            pass
        return self.end()

    def end(self) -> tuple[int, str]:
        """Close the socket and wait for the process; exit code and log."""
        self._stream.close()
        self.sock.close()
        out, log = self.process.communicate(timeout=SECONDS)
        assert out == b"", "standard output is not used"
        return self.process.returncode, log.decode()

    def close(self) -> None:
        """Leave nothing behind, whatever state the test left it in."""
        self._stream.close()
        self.sock.close()
        self.process.kill()
        with self.process:
            pass

    def gone_within(self, seconds: float) -> bool:
        """Whether the process ends by itself in time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                return True
            time.sleep(0.01)
        return False
