"""Parts of an input joined to one vector, batches planned, and the queue of inputs over a context that counts."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import cast

import msgspec
import pytest

from powerd.protocol import Failed
from powerd.runner.adapters import AdapterSet
from powerd.runner.embedding import Context, Embeddings
from powerd.runner.llama import EngineFailed
from powerd.runner.pooling import Job, NotFinite, Room, fits, parts
from powerd.vectors import Embedded, Pooling


def job(length: int, number: int = 1, **fields: bool | int | AdapterSet) -> Job:
    return Job(number, list(range(length)), **fields)  # type: ignore[arg-type]  # fields of Job, by name


def floats(vector: bytes) -> list[float]:
    return list(struct.unpack(f"<{len(vector) // 4}f", vector))


@pytest.mark.parametrize(
    ("pooling", "want"), [("mean", [1.5, 2.5]), ("last", [3.0, 1.0]), ("cls", [1.0, 3.0])], ids=["mean", "last", "cls"]
)
def test_parts_are_joined_as_the_model_pools(pooling: Pooling, want: list[float]) -> None:
    made = job(4, normalise=False)
    made.feed([1.0, 3.0], 3, pooling)
    made.feed([3.0, 1.0], 1, pooling)
    assert made.left == 0
    assert floats(made.vector()) == want


def test_an_input_of_one_part_keeps_its_vector_to_the_bit() -> None:
    made = job(3, normalise=False)
    made.feed([0.1, 0.7], 3, "mean")
    assert made.joined == [0.1, 0.7]


def test_a_vector_of_nothing_stays_nothing() -> None:
    made = job(1)
    made.feed([0.0, 0.0], 1, "mean")
    assert floats(made.vector()) == [0.0, 0.0]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused(value: float) -> None:
    made = job(1)
    made.feed([1.0, value], 1, "mean")
    with pytest.raises(NotFinite, match="NaN or Inf"):
        made.vector()


def test_a_batch_takes_parts_in_order_of_arrival() -> None:
    first, second, third = job(6), job(6), job(6)
    room = Room(rows=10, sequences=4, cells=100, whole=False)
    assert list(parts([first, second, third], room)) == [(first, 6), (second, 4)]


def test_a_batch_beside_running_answers_is_smaller_unless_inputs_are_whole() -> None:
    only = job(6)
    assert list(parts([only], Room(rows=10, sequences=4, cells=100, whole=False), 4)) == [(only, 4)]
    assert list(parts([only], Room(rows=10, sequences=4, cells=100, whole=True), 4)) == [(only, 6)]


def test_a_batch_of_whole_inputs_stops_before_the_one_that_does_not_fit() -> None:
    first, second, third = job(6), job(6), job(2)
    room = Room(rows=10, sequences=4, cells=0, whole=True)
    assert list(parts([first, second, third], room)) == [(first, 6)]


def test_an_input_begins_when_a_sequence_and_cells_are_free() -> None:
    room = Room(rows=4, sequences=2, cells=10, whole=False)
    assert fits(job(10), [], room)
    assert not fits(job(5), [job(6)], room)
    assert fits(job(4), [job(6)], room)
    assert not fits(job(1), [job(1), job(1)], room)


class Counting:
    """A context whose vectors say how many tokens each part had."""

    def __init__(self, room: Room, problem: str = "") -> None:
        self.room, self.problem = room, problem
        self.batches: list[list[int]] = []
        self.forgotten: list[int] = []
        self.closed = False

    def compute(self, plan: Sequence[tuple[Job, int]]) -> str:
        assert len({work.slot for work, _ in plan}) == len(plan), "one sequence each"
        assert sum(count for _, count in plan) <= self.room.rows
        self.batches.append([count for _, count in plan])
        if not self.problem:
            for work, count in plan:
                work.feed([float(count)], count, "mean")
        return self.problem

    def forget(self, slot: int) -> None:
        self.forgotten.append(slot)

    def close(self) -> None:
        self.closed = True


def queue(context: Counting) -> Embeddings:
    return Embeddings(lambda: cast(Context, context))


def drained(embeddings: Embeddings) -> list[msgspec.Struct]:
    frames: list[msgspec.Struct] = []
    while embeddings:
        frames += embeddings.step()
    return frames


def test_every_input_gets_one_frame_and_its_sequence_back() -> None:
    context = Counting(Room(rows=8, sequences=2, cells=20, whole=False))
    embeddings = queue(context)
    for number, length in enumerate((3, 12, 1, 20, 5)):
        embeddings.add(job(length, number))
    assert embeddings.ids == [0, 1, 2, 3, 4]
    frames = drained(embeddings)
    assert sorted((frame.id, frame.tokens) for frame in frames if isinstance(frame, Embedded)) == [
        (0, 3), (1, 12), (2, 1), (3, 20), (4, 5)
    ]  # fmt: skip
    assert len(context.forgotten) == 5
    assert embeddings.tokens == 41
    embeddings.close()
    assert context.closed


def test_the_context_is_made_when_the_first_input_comes() -> None:
    made: list[Counting] = []

    def make() -> Context:
        made.append(Counting(Room(8, 2, 20, whole=False)))
        return cast(Context, made[-1])

    embeddings = Embeddings(make)
    assert embeddings.step() == []
    embeddings.close()
    assert not made
    embeddings.add(job(1))
    drained(embeddings)
    assert len(made) == 1


def test_a_context_that_cannot_be_made_fails_the_inputs_and_is_tried_again() -> None:
    context = Counting(Room(8, 2, 20, whole=False))
    outcomes: list[object] = [EngineFailed("no memory"), context]

    def make() -> Context:
        outcome = outcomes.pop(0)
        if isinstance(outcome, EngineFailed):
            raise outcome
        return cast(Context, outcome)

    embeddings = Embeddings(make)
    embeddings.add(job(1))
    (failed,) = drained(embeddings)
    assert isinstance(failed, Failed)
    assert "no memory" in failed.message
    embeddings.add(job(1))
    assert isinstance(drained(embeddings)[0], Embedded)


def test_a_batch_that_is_refused_fails_those_in_it_alone() -> None:
    context = Counting(Room(rows=4, sequences=1, cells=4, whole=False), problem="refused")
    embeddings = queue(context)
    embeddings.add(job(4, 1))
    embeddings.add(job(4, 2))
    (failed,) = embeddings.step()
    assert isinstance(failed, Failed)
    assert failed.id == 1
    context.problem = ""
    assert isinstance(drained(embeddings)[0], Embedded)


def test_a_cancelled_input_leaves_whether_it_waits_or_runs() -> None:
    context = Counting(Room(rows=2, sequences=1, cells=10, whole=False))
    embeddings = queue(context)
    embeddings.add(job(10, 1))
    embeddings.add(job(10, 2))
    embeddings.step()
    for number in (1, 2):
        failed = embeddings.cancel(number)
        assert failed is not None
        assert failed.code == "cancelled"
    assert embeddings.cancel(3) is None
    assert not embeddings
    assert context.forgotten == [0]


PIRATE, POET = (("a" * 64, 1.0),), (("b" * 64, 0.5),)


def test_a_batch_holds_inputs_of_one_adapter_set_the_oldests() -> None:
    one, two, three, four = (job(3, adapters=each) for each in (PIRATE, POET, PIRATE, ()))
    room = Room(rows=100, sequences=4, cells=100, whole=False)
    assert list(parts([one, two, three, four], room)) == [(one, 3), (three, 3)]
    assert list(parts([two, three, four], room)) == [(two, 3)]
    assert list(parts([], room)) == []


def test_inputs_of_several_adapter_sets_all_come_to_their_end_in_turn() -> None:
    context = Counting(Room(rows=4, sequences=3, cells=40, whole=False))
    embeddings = queue(context)
    for number in range(9):
        embeddings.add(job(6, number, adapters=((), PIRATE, POET)[number % 3]))
    frames = drained(embeddings)
    assert [frame.id for frame in frames if isinstance(frame, Embedded)] == list(range(9))
