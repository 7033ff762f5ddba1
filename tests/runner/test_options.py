"""A real runner does what its deployment asks, says what it really has, or does not load."""

from __future__ import annotations

import ctypes
import resource
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from powerd.protocol import LoadFailed, ReadBack, Ready
from tests.gguf_maker import recurrent
from tests.runner.child import DEMO, Child

_PR_CAPBSET_DROP = 24
_CAP_IPC_LOCK = 14


def have(child: Child, **fields: Any) -> ReadBack:
    answer = child.load(DEMO, **fields)
    assert isinstance(answer, Ready), answer
    return answer.have


def held(pid: int, what: str) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{what}:"))


def test_what_is_read_back_is_the_engines_own(spawn: Callable[[], Child]) -> None:
    child = spawn()
    said = have(child, context=1000, parallel=3)
    assert (said.context, said.cells, said.sequences) == (1000, 3072, 3)
    assert (said.kv_cache, said.flash_attention, said.batch, said.load_mode) == ("f16", True, 512, "mmap")
    assert (said.layers, said.gpu_layers, said.adapters) == (4, 0, ())
    assert {device: share.layers for device, share in said.devices.items()} == {"cpu": 4}
    assert said.devices["cpu"].size == said.size
    assert abs(said.pss - held(child.process.pid, "Pss")) < 10 << 20, "others come and go that share pages with it"


@pytest.mark.parametrize("kind", ["q8_0", "q4_0"])
def test_quantized_cells_are_read_back_and_need_flash_attention(spawn: Callable[[], Child], kind: str) -> None:
    said = have(spawn(), kv_cache=kind)
    assert (said.kv_cache, said.flash_attention) == (kind, True)


def test_options_of_the_load(spawn: Callable[[], Child]) -> None:
    child = spawn()
    said = have(child, threads=1, batch=64, load_mode="read", flash_attention="off")
    assert (said.threads, said.batch, said.load_mode, said.flash_attention) == (1, 64, "read", False)
    assert child.one("hello " * 200, num_predict=4).finished.prompt_tokens > 64, "in chunks no larger than the batch"


def test_more_sequences_than_tokens_computed_at_once(spawn: Callable[[], Child]) -> None:
    child = spawn()
    assert have(child, parallel=6, batch=2).batch == 2
    numbers = [child.ask("hello there", num_predict=6) for _ in range(6)]
    assert all(answer.finished.output_tokens for answer in child.wait(*numbers))


def test_flash_attention_that_is_asked_for_is_had(spawn: Callable[[], Child]) -> None:
    assert have(spawn(), flash_attention="on").flash_attention


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"flash_attention": "off", "kv_cache": "q8_0"}, "quantized V cache requires flash_attn"),
        ({"placement": {"devices": ["CUDA0"]}}, "placement names CUDA0; the engine has no accelerator"),
        ({"placement": {"main": "GPU-1"}}, "placement names GPU-1; the engine has no accelerator"),
    ],
)
def test_what_cannot_be_done_fails_the_load(spawn: Callable[[], Child], fields: dict[str, Any], words: str) -> None:
    answer = spawn().load(DEMO, **fields)
    assert isinstance(answer, LoadFailed)
    assert words in answer.reason
    assert not answer.out_of_memory


def test_locked_memory_is_really_locked_or_the_load_fails(spawn: Callable[[], Child]) -> None:
    child = spawn()
    answer = child.load(DEMO, load_mode="mlock")
    if isinstance(answer, LoadFailed):  # this machine's hard limit is below the model
        assert "mlock was refused" in answer.reason
        return
    assert answer.have.load_mode == "mlock"
    status = Path(f"/proc/{child.process.pid}/status").read_text()
    locked = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmLck:"))
    assert locked * 1024 >= DEMO.stat().st_size // 2


def test_locked_memory_that_the_system_refuses_fails_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid() -> None:
        ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, _CAP_IPC_LOCK, 0, 0, 0)
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (4096, 4096))

    real: Any = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **kwargs: real(*args, preexec_fn=forbid, **kwargs))
    child = Child()
    try:
        answer = child.load(DEMO, load_mode="mlock")
        assert isinstance(answer, LoadFailed), "a load that is not locked must not pass for one that is"
        assert "mlock was refused" in answer.reason
        assert "RLIMIT_MEMLOCK, here 4096 bytes" in answer.reason
    finally:
        child.close()


def test_what_was_admitted_is_there_before_the_first_request(spawn: Callable[[], Child]) -> None:
    child = spawn()
    have(child, context=1024, parallel=4)
    before = held(child.process.pid, "Pss_Anon")
    numbers = [child.ask("and so on " * 90, num_predict=8) for _ in range(4)]
    child.wait(*numbers)
    assert held(child.process.pid, "Pss_Anon") < before * 1.1, "a full cache takes no more than the load did"


def test_a_model_without_cells_has_none_of_another_type(spawn: Callable[[], Child], tmp_path: Path) -> None:
    answer = spawn().load(recurrent(tmp_path / "recurrent.gguf"))
    assert isinstance(answer, Ready)
    assert answer.have.kv_cache == "f16"
