"""How vectors are made where somebody chose: the pooling, and the adapters of a persona, on the real engine."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from powerd.protocol import Failed, Ready
from powerd.vectors import Embed, Embedded
from tests.runner.child import DEMO, ROOT, Child
from tests.runner.test_embedding import EMBED, SENTENCES, ends, floats, near, vector

PIRATE = ROOT / "tests" / "models" / "tiny-chat-pirate-lora-f16.gguf"
DIGEST = hashlib.sha256(PIRATE.read_bytes()).hexdigest()
FILE = (DIGEST, str(PIRATE), PIRATE.stat().st_size)
Spawn = Callable[[], Child]


@pytest.mark.parametrize(("pooling", "told"), [(None, "mean"), ("cls", "cls"), ("last", "last")])
def test_an_embedding_model_pools_as_its_file_says_or_as_was_chosen(
    spawn: Spawn, pooling: str | None, told: str
) -> None:
    child, plain = spawn(), spawn()
    ready = child.load(EMBED, context=256, batch=256, pooling=pooling)
    assert isinstance(ready, Ready)
    assert ready.have.pooling == told
    assert isinstance(plain.load(EMBED, context=256, batch=256), Ready)
    same = near(vector(child, SENTENCES[0]), vector(plain, SENTENCES[0]))
    assert (same > 0.9999) == (told == "mean")


def test_a_chat_model_pools_in_its_second_context_as_was_chosen_also_over_several_batches(spawn: Spawn) -> None:
    text = "The cat sits on the mat. " * 40
    found = {}
    for pooling in (None, "mean", "last", "cls"):
        child = spawn()
        ready = child.load(DEMO, context=1024, pooling=pooling)
        assert isinstance(ready, Ready)
        assert ready.have.pooling == ""
        found[pooling] = vector(child, text), vector(child, f"{text} What is 2 and 3?")
        assert child.one("hello", num_predict=1).finished.output_tokens == 1
    assert near(found[None][0], found["mean"][0]) == pytest.approx(1, abs=1e-5)
    assert near(found["mean"][0], found["last"][0]) < 0.999
    assert near(*found["cls"]) == pytest.approx(1, abs=1e-5), "the first token sees nothing of what follows"
    assert near(*found["last"]) < near(*found["mean"]), "the last one sees it all"


def test_each_persona_of_a_chat_model_makes_vectors_with_its_own_adapters_whoever_else_asks(spawn: Spawn) -> None:
    child = spawn()
    assert isinstance(child.load(DEMO, context=1024, parallel=2, adapters=[FILE]), Ready)
    sets = {"plain": (), "full": ((DIGEST, 1.0),), "half": ((DIGEST, 0.5),), "none": ((DIGEST, 0.0),)}
    alone = {name: vector(child, SENTENCES[0], adapters=each) for name, each in sets.items()}
    assert near(alone["plain"], alone["none"]) == pytest.approx(1, abs=1e-6)
    assert near(alone["plain"], alone["full"]) < near(alone["plain"], alone["half"]) < 0.9999
    names = [*sets] * 6
    talking = child.ask("Tell me a story.", num_predict=30, adapters=sets["full"])
    together = ends(child, *(Embed(600 + n, SENTENCES[0], adapters=sets[name]) for n, name in enumerate(names)))
    for name, end in zip(names, together, strict=True):
        assert isinstance(end, Embedded)
        assert near(floats(end), alone[name]) == pytest.approx(1, abs=1e-5), name
    child.wait(talking)
    assert child.shutdown()[0] == 0


def test_an_input_that_names_an_adapter_which_is_not_loaded_is_refused(spawn: Spawn) -> None:
    child = spawn()
    assert isinstance(child.load(DEMO, context=256), Ready)
    child.request(1)
    (failed,) = ends(child, Embed(1, "text", adapters=(("b" * 64, 1.0),)))
    assert isinstance(failed, Failed)
    assert (failed.code, "adapter bbbbbbbbbbbb is not loaded" in failed.message) == ("bad_request", True)
