"""The step loop where the engine beneath it fails, which the real one cannot be made to do on demand."""

from __future__ import annotations

import socket
from collections.abc import Callable
from queue import SimpleQueue
from typing import cast

import msgspec
import pytest

from powerd.protocol import HEADER, Delta, Failed, Finished, FromRunner, Generate, Stats
from powerd.runner.embedding import Context, Embeddings
from powerd.runner.engine import Engine, Mail
from powerd.runner.extras import Wishes
from powerd.runner.llama import EngineBroken, Model
from powerd.runner.outbox import Outbox
from powerd.runner.scheduler import Scheduler
from powerd.runner.sequence import Prompt, Sequence
from powerd.runner.token import Token
from tests.runner.letters import Told

DECODER = msgspec.msgpack.Decoder(FromRunner)


class Batch:
    """Keeps only how many rows there are."""

    def __init__(self) -> None:
        self.rows = 0

    def clear(self) -> None:
        self.rows = 0

    def add(self, _token: int, _position: int, _slot: int) -> int:
        self.rows += 1
        return self.rows - 1

    def extend(self, tokens: list[int], _position: int, _slot: int, _last: bool) -> int:
        self.rows += len(tokens)
        return self.rows - 1


class Vocabulary:
    def token(self, token: int) -> Token:
        return Token(token, b"x", b"x", False)


class Scripted:
    """A model whose decodes go as `script` says, step by step; then well."""

    def __init__(self, script: list[Callable[[], str]]) -> None:
        self.batch = Batch()
        self.vocabulary = Vocabulary()
        self.forgotten: list[int] = []
        self.dropped: list[tuple[int, int, int]] = []
        self._script = script

    def apply(self, adapters: tuple[tuple[str, float], ...]) -> str:
        return "" if not adapters else "no adapters here"

    def decode(self) -> str:
        return self._script.pop(0)() if self._script else ""

    def forget(self, slot: int) -> None:
        self.forgotten.append(slot)

    def drop(self, slot: int, begin: int, count: int) -> bool:
        self.dropped.append((slot, begin, count))
        return len(self.dropped) < 2


class Sampler:
    closed = False

    def draw(self, row: int) -> int:
        return row

    def take(self, token: int) -> None:
        raise AssertionError(token)

    def close(self) -> None:
        assert not self.closed
        self.closed = True


def well() -> str:
    return ""


def no_room() -> str:
    return "the cache has no room for the batch"


def broken() -> str:
    raise EngineBroken("llama_decode failed with -3")


class Rig:
    """An engine on a scripted model; `read` closes it and returns every frame but text and gauges."""

    def __init__(self, *script: Callable[[], str], slots: int = 2) -> None:
        self.model = Scripted(list(script))
        self.mail: SimpleQueue[Mail] = SimpleQueue()
        self._ours, theirs = socket.socketpair()
        self._theirs = theirs
        scheduler: Scheduler[Sequence] = Scheduler(slots, 512)
        embeddings = Embeddings(lambda: cast(Context, None))
        self.engine = Engine(cast(Model, self.model), scheduler, 100, self.mail, Outbox(theirs), lambda: 0, embeddings)
        self.samplers: list[Sampler] = []

    def ask(self, number: int, tokens: int = 2) -> None:
        self.samplers.append(Sampler())
        self.mail.put(Sequence(Generate(number, num_predict=tokens), Prompt([1, 2, 3], 50), self.samplers[-1], 0))

    def read(self, *left_out: type[FromRunner]) -> list[FromRunner]:
        self._theirs.close()
        frames = []
        with self._ours, self._ours.makefile("rb") as stream:
            while header := stream.read(HEADER.size):
                frame = DECODER.decode(stream.read(HEADER.unpack(header)[0]))
                if not isinstance(frame, left_out or (Stats, Delta)):
                    frames.append(frame)
        return frames


def test_requests_of_a_batch_without_room_fail_and_the_engine_goes_on() -> None:
    rig = Rig(no_room)
    for number in (1, 2, 3):
        rig.ask(number)
    for _ in range(3):  # the failing step, then the two of the third request
        rig.engine.turn()
    first, second, third = rig.read()
    assert isinstance(first, Failed)
    assert isinstance(second, Failed)
    assert isinstance(third, Finished)
    assert (first.id, first.code, second.id) == (1, "runner_died", 2)
    assert "no room" in first.message
    assert (third.id, third.reason, third.output_tokens) == (3, "length", 2)
    assert rig.model.forgotten == [0, 1, 0]
    assert all(sampler.closed for sampler in rig.samplers)


def test_a_broken_engine_tells_everyone_and_ends() -> None:
    rig = Rig(well, broken, slots=1)
    rig.ask(1)
    rig.ask(2)
    with pytest.raises(EngineBroken):
        rig.engine.run()
    frames = rig.read()
    assert [(frame.id, frame.code) for frame in frames if isinstance(frame, Failed)] == [
        (1, "runner_died"),
        (2, "runner_died"),
    ]
    assert len(frames) == 2


def test_a_cache_that_cannot_be_shifted_fails_the_request_and_frees_its_place() -> None:
    rig = Rig()
    sampler = Sampler()
    rig.mail.put(Sequence(Generate(1, repeat_limit=0), Prompt([1, 2, 3], 8, keep=1), sampler, 0))
    for _ in range(8):  # 5 tokens fill the context, and 3 more what was dropped
        rig.engine.turn()
    (failed,) = rig.read()
    assert isinstance(failed, Failed)
    assert (failed.code, "older half" in failed.message, sampler.closed) == ("runner_died", True, True)
    assert rig.model.dropped == [(0, 1, 3), (0, 1, 3)]
    assert rig.model.forgotten == [0]


def test_rows_with_probabilities_travel_in_frames_of_their_own() -> None:
    rig = Rig(slots=3)
    rig.ask(1, tokens=1)
    told = Wishes({}, probabilities=Told())
    for number in (2, 3):
        rig.samplers.append(Sampler())
        frame = Generate(number, num_predict=1)
        rig.mail.put(Sequence(frame, Prompt([1], 50), rig.samplers[-1], 0, told))
    rig.engine.turn()
    deltas = [[row.id for row in frame.rows] for frame in rig.read(Stats) if isinstance(frame, Delta)]
    assert deltas == [[2], [3], [1]]
