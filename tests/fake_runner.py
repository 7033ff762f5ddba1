"""A runner without an engine: a real process that speaks the protocol and misbehaves on command.

`python tests/fake_runner.py FD`. What it does is written in the file name of the deployment's weights, in the prompt,
or in FAKE_RUNNER, as comma-separated words after a `?` (weights, prompt) or bare (environment):

load:     slow-load=SECONDS progress=SECONDS never-ready load-fails=REASON oom=REASON crash-on-load exit-on-load=CODE
          size=BYTES
answer:   rate=TOKENS_PER_SECOND tokens=N crash-after=N signal=NUMBER exit-after=CODE hang-after=N garbage-after=N
          huge-after=N fail=CODE echo class stats say=TEXT cut=TOKENS shifted=TOKENS
always:   ignore-sigterm ignore-shutdown grandchild close-after=N

An answer is the numbers "0 1 2 …", one token a step, `num_predict` of them (10 when negative). `echo` answers the
prompt's length in characters and bytes instead, `class` the scheduling class of the request, `say` its percent-encoded
text, a character a token. `cut` says beforehand that the prompt had so many tokens. Counting counts words. A vector is
(0.6, 0.8, words), unless it shall not be normalised: then it is (3, 4, words).
"""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from powerd.protocol import (
    HEADER,
    Cancel,
    Count,
    Counted,
    Cut,
    Delta,
    Deployment,
    Failed,
    Finished,
    Generate,
    Likely,
    Load,
    LoadFailed,
    Logprob,
    Part,
    Progress,
    ReadBack,
    Ready,
    Row,
    Shutdown,
    Stats,
    ToRunner,
    encode,
)
from powerd.vectors import Embed, Embedded

DECODER = msgspec.msgpack.Decoder(ToRunner)


def words(text: str) -> dict[str, str]:
    """The words after the last `?`."""
    _, mark, rest = text.rpartition("?")
    pairs = (word.partition("=") for word in (rest if mark else "").split(",") if word)
    return {name: value for name, _, value in pairs}


@dataclass
class Answer:
    request: Generate
    orders: dict[str, str]
    total: int
    text: str = ""  # what to say instead of numbers
    sent: int = 0
    due: float = 0.0
    started: float = field(default_factory=time.monotonic)


class FakeRunner:
    def __init__(self, fd: int) -> None:
        self.socket = socket.socket(fileno=fd)
        self.tail = b""
        self.parts: dict[int, list[bytes]] = {}
        self.answers: dict[int, Answer] = {}
        self.orders = words("?" + os.environ.get("FAKE_RUNNER", ""))
        self.output_tokens = 0
        self.context = 0
        self.steps = 0

    # ------------------------------------------------------------ wire

    def send(self, frame: msgspec.Struct) -> None:
        self.socket.sendall(encode(frame))

    def receive(self, timeout: float | None) -> list[ToRunner]:
        """Every complete frame, waiting up to `timeout` for the first byte. Ends the process at end of file."""
        if not select.select([self.socket], [], [], timeout)[0]:
            return []
        data = self.socket.recv(1 << 20)
        if not data:
            sys.exit(0)
        self.tail += data
        frames = []
        while len(self.tail) >= HEADER.size:
            (size,) = HEADER.unpack_from(self.tail)
            if len(self.tail) < HEADER.size + size:
                break
            frames.append(DECODER.decode(self.tail[HEADER.size : HEADER.size + size]))
            self.tail = self.tail[HEADER.size + size :]
        return frames

    # ------------------------------------------------------------ load

    def run(self) -> None:
        first = self.receive(None)
        while not first:
            first = self.receive(None)
        load, *rest = first
        assert isinstance(load, Load)
        self.orders |= words(load.deployment.weights)
        self.behave()
        self.load(load.deployment)
        for frame in rest:
            self.take(frame)
        while True:
            self.step()

    def behave(self) -> None:
        if "ignore-sigterm" in self.orders:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if "grandchild" in self.orders:
            subprocess.Popen(["sleep", "60"], pass_fds=(self.socket.fileno(),))
        for name in ("crash-on-load", "exit-on-load"):
            if name in self.orders:
                self.die(self.orders)

    def load(self, deployment: Deployment) -> None:
        until = time.monotonic() + float(self.orders.get("slow-load", 0))
        pause = float(self.orders.get("progress", 0.05))
        while "never-ready" in self.orders or time.monotonic() < until:
            if "never-ready" not in self.orders:
                self.send(Progress(0.5))
            for frame in self.receive(pause):
                self.take(frame)
        for name in ("load-fails", "oom"):
            if name in self.orders:
                self.send(LoadFailed(self.orders[name].replace("_", " "), name == "oom"))
                sys.exit(1)
        self.send(Ready(self.read_back(deployment), 1_000_000))

    def read_back(self, deployment: Deployment) -> ReadBack:
        self.context = deployment.context if deployment.shape.pooling else deployment.pooled.context
        return ReadBack(
            context=deployment.context,
            cells=deployment.context * deployment.parallel,
            sequences=deployment.parallel,
            layers=deployment.shape.layers,
            gpu_layers=0,
            kv_cache=deployment.kv_cache,
            flash_attention=True,
            threads=1,
            vocab=deployment.shape.vocab,
            trained_context=deployment.shape.trained_context,
            engine="fake",
            device="cpu",
            rss=1,
            size=int(self.orders.get("size", 1)),
            size_gpu=0,
            adapters=tuple(digest for digest, _, _ in deployment.adapters),
        )

    # ------------------------------------------------------------ answers

    def take(self, frame: ToRunner) -> None:
        match frame:
            case Shutdown():
                if "ignore-shutdown" not in self.orders:
                    sys.exit(0)
            case Part(id=number, data=data):
                self.parts.setdefault(number, []).append(data)
            case Generate():
                self.begin(frame)
            case Embed():
                self.embed(frame)
            case Count():
                text = self.whole(frame, frame.text)
                self.send(Counted(frame.id, len(text.split()) + frame.add_bos))
            case Cancel(id=number):
                answer = self.answers.pop(number, None)
                if answer is not None:
                    self.finish(answer, "cancel")

    def begin(self, frame: Generate) -> None:
        prompt = self.whole(frame, frame.prompt)
        orders = self.orders | words(prompt[-200:])
        if "fail" in orders:
            self.send(Failed(frame.id, orders["fail"], "it was told to fail"))
            return
        if "echo" in orders or "class" in orders:
            text = frame.scheduling_class if "class" in orders else f"{len(prompt)} {len(prompt.encode())}"
            self.send(Delta([Row(frame.id, text, 1)]))
            self.send(Finished(frame.id, "stop", 1, 0, 1))
            return
        if "cut" in orders:
            self.send(Cut(frame.id, int(orders["cut"]), 1, frame.context, frame.context_source))
        text = unquote(orders.get("say", ""))
        total = int(orders.get("tokens", len(text) or (frame.num_predict if frame.num_predict >= 0 else 10)))
        self.answers[frame.id] = Answer(frame, orders, total, text)

    def embed(self, frame: Embed) -> None:
        text = self.whole(frame, frame.text)
        orders = self.orders | words(text[-200:])
        count, limit = max(1, len(text.split())), min(frame.context or self.context, self.context)
        if "fail" in orders:
            self.send(Failed(frame.id, orders["fail"], "it was told to fail"))
        elif count > limit and not frame.truncate:
            self.send(Failed(frame.id, "context_overflow", "", count, limit, frame.context_source))
        else:
            kept = min(count, limit)
            length = 5.0 if frame.normalise else 1.0
            vector = struct.pack("<3f", 3.0 / length, 4.0 / length, kept)[: 4 * frame.dimensions or None]
            self.send(Embedded(frame.id, vector, kept, count if count > kept else 0))

    def whole(self, frame: Generate | Embed | Count, text: str) -> str:
        slices = self.parts.pop(frame.id, [])
        assert len(slices) == frame.parts
        return b"".join(slices).decode() if slices else text

    def step(self) -> None:
        """Read what came, then give every answer that is due its next token, all in one Delta."""
        now = time.monotonic()
        pause = min((answer.due - now for answer in self.answers.values()), default=None)
        for frame in self.receive(None if pause is None else max(0.0, pause)):
            self.take(frame)
        now = time.monotonic()
        rows = [row for answer in list(self.answers.values()) if answer.due <= now and (row := self.token(answer, now))]
        if rows:
            self.steps += 1
            self.output_tokens += len(rows)
            self.send(Delta(rows))
            if "stats" in self.orders:
                self.report(len(rows))
        for answer in list(self.answers.values()):
            if answer.sent >= answer.total:
                del self.answers[answer.request.id]
                self.finish(answer, "stop" if answer.text else "length")

    def token(self, answer: Answer, now: float) -> Row | None:
        self.misbehave(answer)
        if answer.sent >= answer.total:
            return None
        text = answer.text[answer.sent] if answer.text else f"{answer.sent} "
        answer.sent += 1
        rate = float(answer.orders.get("rate", 0))
        answer.due = now + 1 / rate if rate else now
        return Row(answer.request.id, text, 1, self.logprobs(answer.request, text))

    def logprobs(self, request: Generate, text: str) -> list[Logprob]:
        if request.logprobs < 0:
            return []
        token = text.encode()
        return [Logprob(token, -0.5, [Likely(token, -0.5), Likely(b"\xff", -1.5)][: request.logprobs])]

    def misbehave(self, answer: Answer) -> None:
        for name, count in answer.orders.items():
            if not name.endswith("-after") or name == "exit-after" or int(count) != answer.sent:
                continue
            if name == "crash-after":
                self.die(answer.orders)
            elif name == "hang-after":
                while True:
                    time.sleep(60)
            elif name == "garbage-after":
                self.socket.sendall(HEADER.pack(3) + b"\xc1\xc1\xc1")
            elif name == "huge-after":
                self.socket.sendall(HEADER.pack(1 << 31))
            elif name == "close-after":
                self.socket.shutdown(socket.SHUT_RDWR)
                time.sleep(60)

    def die(self, orders: dict[str, str]) -> None:
        sys.stderr.write("the fake runner was told to die\n")
        sys.stderr.flush()
        code = orders.get("exit-on-load") or orders.get("exit-after")
        if code:
            os._exit(int(code))
        os.kill(os.getpid(), int(orders.get("signal") or signal.SIGSEGV))
        time.sleep(60)

    def finish(self, answer: Answer, reason: str) -> None:
        spent = int((time.monotonic() - answer.started) * 1e9)
        frame = Finished(answer.request.id, "stop", 1, 0, answer.sent, 1, spent)
        shifted = int(answer.orders.get("shifted", 0))
        self.send(msgspec.structs.replace(frame, reason=reason, shifted=shifted))

    def report(self, rows: int) -> None:
        running = len(self.answers)
        self.send(Stats(running, 100, running, 0, rows, rows, self.steps, self.steps, 0, self.output_tokens))


if __name__ == "__main__":
    FakeRunner(int(sys.argv[1])).run()
