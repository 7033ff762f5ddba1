"""Vectors from a real runner: an embedding model, and a generative one with its second context."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from powerd.protocol import Cancel, Failed, Finished, LoadFailed, Ready
from powerd.vectors import Embed, Embedded
from tests.runner.child import DEMO, Answer, Child, chat

EMBED = Path(__file__).parent.parent / "models" / "tiny-embed-q8_0.gguf"
Spawn = Callable[[], Child]
SENTENCES = ("Paris is the capital of France.", "A cow says moo.", "It is sunny in Madrid.")


def floats(frame: Embedded) -> tuple[float, ...]:
    return struct.unpack(f"<{len(frame.vector) // 4}f", frame.vector)


def ends(child: Child, *frames: Embed) -> list[Embedded | Failed]:
    """Send these and wait for what each ends with, in their order."""
    child.send(*frames)
    found: dict[int, Embedded | Failed] = {}
    for frame in child.frames():
        if isinstance(frame, Embedded | Failed):
            assert frame.id not in found, "two terminal frames"
            found[frame.id] = frame
        if len(found) == len(frames):
            break
    return [found[frame.id] for frame in frames]


def vector(child: Child, text: str, number: int = 900, **fields: object) -> tuple[float, ...]:
    (end,) = ends(child, Embed(number, text, **fields))  # type: ignore[arg-type]  # fields of Embed, by name
    assert isinstance(end, Embedded), end
    return floats(end)


def near(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True)) / (math.hypot(*one) * math.hypot(*other))


@pytest.fixture(scope="module")
def embedder(request: pytest.FixtureRequest) -> Child:
    """An embedding model, trained for 256 tokens."""
    child = Child()
    request.addfinalizer(child.close)
    assert isinstance(child.load(EMBED, context=256, parallel=4, batch=256), Ready)
    return child


@pytest.fixture(autouse=True)
def _failures_are_expected(embedder: Child) -> None:
    embedder.answers = {number: Answer() for number in range(1000)}
    embedder._next = 0


def test_texts_of_one_meaning_are_nearer_than_others(embedder: Child) -> None:
    asked = vector(embedder, "Which city is the capital of France?")
    scores = [near(asked, vector(embedder, text)) for text in SENTENCES]
    assert max(scores) == scores[0]
    assert len(asked) == 128


def test_a_vector_has_length_one_unless_told_otherwise(embedder: Child) -> None:
    unit = vector(embedder, SENTENCES[0])
    plain = vector(embedder, SENTENCES[0], normalise=False)
    assert math.hypot(*unit) == pytest.approx(1, abs=1e-6)
    assert math.hypot(*plain) > 1.5
    assert near(unit, plain) == pytest.approx(1, abs=1e-6)


def test_fewer_dimensions_are_the_first_ones_made_length_one_again(embedder: Child) -> None:
    whole = vector(embedder, SENTENCES[0])
    part = vector(embedder, SENTENCES[0], dimensions=16)
    length = math.hypot(*whole[:16])
    assert part == pytest.approx([value / length for value in whole[:16]], abs=1e-6)
    assert vector(embedder, SENTENCES[0], dimensions=4096) == whole


def test_a_batch_of_inputs_gives_what_each_alone_gives(embedder: Child) -> None:
    texts = [f"{SENTENCES[number % 3]} {'again ' * number}" for number in range(40)]
    together = ends(embedder, *(Embed(number, text) for number, text in enumerate(texts)))
    for text, end in zip(texts, together, strict=True):
        assert isinstance(end, Embedded)
        assert near(floats(end), vector(embedder, text)) == pytest.approx(1, abs=1e-5)


def test_too_long_an_input_is_refused_with_its_numbers(embedder: Child) -> None:
    (failed,) = ends(embedder, Embed(1, "word " * 400, context_source="somewhere"))
    assert isinstance(failed, Failed)
    assert (failed.code, failed.limit, failed.limit_source) == ("context_overflow", 256, "somewhere")
    assert failed.needed > 400


def test_too_long_an_input_loses_its_end_where_that_is_allowed(embedder: Child) -> None:
    (cut,) = ends(embedder, Embed(1, "word " * 400, truncate=True))
    assert isinstance(cut, Embedded)
    assert (cut.tokens, cut.needed) == (256, 402)
    (other,) = ends(embedder, Embed(2, "word " * 400 + "and quite another end", truncate=True))
    assert isinstance(other, Embedded)
    assert floats(other) == floats(cut)
    (short,) = ends(embedder, Embed(3, "word " * 400, truncate=True, context=10))
    assert isinstance(short, Embedded)
    assert short.tokens == 10
    assert floats(short) == pytest.approx(vector(embedder, "word " * 8), abs=1e-6)


def test_a_very_long_input_is_not_read_to_its_end(embedder: Child) -> None:
    (cut,) = ends(embedder, Embed(1, "word " * 20_000, truncate=True))
    assert isinstance(cut, Embedded)
    assert cut.tokens == 256
    assert cut.needed > 256


def test_an_empty_input_has_a_vector_too(embedder: Child) -> None:
    assert math.hypot(*vector(embedder, "")) == pytest.approx(1, abs=1e-6)


def test_an_embedding_model_refuses_to_continue_text(embedder: Child) -> None:
    answer = embedder.one("Hello")
    assert answer.failed.code == "unsupported"
    assert "embedding model" in answer.failed.message


def test_a_reranking_model_is_refused(spawn: Spawn, tmp_path: Path) -> None:
    key, weights = b"bert.pooling_type" + struct.pack("<I", 4), EMBED.read_bytes()
    assert weights.count(key + struct.pack("<I", 1)) == 1
    changed = tmp_path / "rank.gguf"
    changed.write_bytes(weights.replace(key + struct.pack("<I", 1), key + struct.pack("<I", 4)))
    failed = spawn().load(changed)
    assert isinstance(failed, LoadFailed)
    assert "reranking" in failed.reason


# ---------------------------------------------------------------- a generative model


def test_a_chat_model_makes_vectors_in_batches_while_it_goes_on_talking(spawn: Spawn) -> None:
    child = spawn()
    assert isinstance(child.load(DEMO, context=1024, parallel=2), Ready)
    talking = child.ask(chat("Tell me a story."), num_predict=60)
    child.until_text(talking)
    long = "The cat sits on the mat. " * 60  # several batches
    child.send(Embed(501, long), Embed(502, "The cat sits on the mat."), Embed(503, "What is 2 and 3?"))
    found = {frame.id: frame for frame in (child.until(Embedded), child.until(Embedded), child.until(Embedded))}
    assert isinstance(child.wait(talking)[0].finished, Finished)
    assert found[501].tokens > 256
    one, other, far = (floats(found[number]) for number in (501, 502, 503))
    assert len(one) == 256
    assert near(one, other) > near(one, far)
    assert child.shutdown()[0] == 0


def test_inputs_are_cancelled_waiting_or_under_way(spawn: Spawn) -> None:
    child = spawn()
    assert isinstance(child.load(DEMO, context=1024, parallel=1), Ready)
    numbers = range(1, 31)
    for number in numbers:
        child.request(number)
    child.send(*(Embed(number, "word " * 300) for number in numbers), *(Cancel(number) for number in numbers))
    ended = (frame for frame in child.frames() if isinstance(frame, Embedded | Failed))
    gone = [next(ended) for _ in numbers]
    assert {frame.id for frame in gone} == set(numbers)
    assert sum(isinstance(frame, Failed) and frame.code == "cancelled" for frame in gone) > 20
    assert isinstance(ends(child, Embed(99, "still there"))[0], Embedded)
