"""LoRA adapters on the real engine: each request gets its own set, whoever runs beside it."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

from powerd.protocol import LoadFailed, Ready
from tests.runner.child import DEMO, ROOT, Child, chat

PIRATE = ROOT / "tests" / "models" / "tiny-chat-pirate-lora-f16.gguf"
DIGEST = hashlib.sha256(PIRATE.read_bytes()).hexdigest()
FILE = (DIGEST, str(PIRATE), PIRATE.stat().st_size)
QUESTION = chat("What is the capital of France?")


def test_requests_of_several_adapter_sets_run_at_once_and_each_gets_its_own_answer(
    spawn: Callable[[], Child],
) -> None:
    child = spawn()
    ready = child.load(DEMO, parallel=6, adapters=[FILE])
    assert isinstance(ready, Ready)
    assert ready.have.adapters == (DIGEST,)
    sets = {"plain": (), "full": ((DIGEST, 1.0),), "half": ((DIGEST, 0.5),), "none": ((DIGEST, 0.0),)}
    alone = {name: child.one(QUESTION, adapters=adapters).text for name, adapters in sets.items()}
    assert alone["none"] == alone["plain"]
    assert "Arrr" in alone["full"] or "arr" in alone["full"].lower(), alone
    assert alone["full"] != alone["plain"]
    numbers = {name: child.ask(QUESTION, adapters=adapters) for name, adapters in sets.items()}
    more = child.ask(QUESTION, adapters=sets["full"]), child.ask(QUESTION)
    child.wait(*numbers.values(), *more)
    assert {name: child.answers[number].text for name, number in numbers.items()} == alone
    assert [child.answers[number].text for number in more] == [alone["full"], alone["plain"]]
    assert child.shutdown()[0] == 0


def test_memory_told_after_a_load_counts_the_adapter_once(spawn: Callable[[], Child]) -> None:
    plain, pirate = spawn().load(DEMO, parallel=1), spawn().load(DEMO, parallel=1, adapters=[FILE])
    assert isinstance(plain, Ready)
    assert isinstance(pirate, Ready)
    assert 200_000 < pirate.have.size - plain.have.size < 600_000


def test_an_adapter_that_is_not_loaded_is_refused_by_name(spawn: Callable[[], Child]) -> None:
    child = spawn()
    child.load(DEMO)
    failed = child.one(QUESTION, adapters=(("b" * 64, 1.0),)).failed
    assert (failed.code, "adapter bbbbbbbbbbbb is not loaded" in failed.message) == ("bad_request", True)


def test_a_file_that_is_no_adapter_fails_the_load_with_its_name(spawn: Callable[[], Child], tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.gguf"
    shutil.copy(DEMO, wrong)
    failed = spawn().load(DEMO, adapters=[("c" * 64, str(wrong), 1)])
    assert isinstance(failed, LoadFailed)
    assert "wrong.gguf" in failed.reason
    assert "adapter" in failed.reason
