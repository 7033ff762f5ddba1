"""A real runner as a process: load, cancel, refuse, end."""

from __future__ import annotations

import importlib.util
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from powerd.protocol import Failed, LoadFailed, Progress, ReadBack, Ready, Stats
from powerd.runner import llama
from tests.gguf_maker import tiny
from tests.runner.child import DEMO, ROOT, Child, chat

pytestmark = pytest.mark.model

QUESTION = chat("What is 2 + 3?")
MODELS = ROOT / "tests" / "models"
LONG_PROMPT = " time" * 6_000

Spawn = Callable[[], Child]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights: answers that never end by themselves."""
    return tiny(tmp_path_factory.mktemp("model") / "tiny.gguf", context=60_000, layers=4)


@pytest.fixture
def child(spawn: Spawn, weights: Path) -> Child:
    """Two sequences of 30,000 tokens."""
    return loaded(spawn(), weights)[0]


def loaded(
    child: Child, weights: Path, context: int = 30_000, parallel: int = 2, **fields: object
) -> tuple[Child, ReadBack]:
    ready = child.load(weights, context, parallel, **fields)
    assert isinstance(ready, Ready), ready
    return child, ready.have


def endless(child: Child, prompt: str = "time", **fields: object) -> int:
    return child.ask(prompt, repeat_limit=0, **fields)


def test_ready_says_what_the_engine_really_has(spawn: Spawn) -> None:
    child, have = loaded(spawn(), DEMO, 1000, 3, threads=1)
    assert any(isinstance(frame, Progress) for frame in child.said)
    assert (have.context, have.sequences, have.threads, have.vocab) == (1000, 3, 1, 2048)
    assert have.cells >= 3000
    assert (have.layers, have.gpu_layers, have.kv_cache, have.trained_context) == (4, 0, "f16", 1024)
    assert have.engine.startswith("llama.cpp via llama-cpp-python 0.")
    assert have.size > DEMO.stat().st_size
    assert have.rss > 20 << 20
    assert (have.device, have.size_gpu) == ("cpu", 0)
    code, log = child.shutdown()
    assert code == 0
    assert "ERROR" not in log


@pytest.mark.parametrize(
    ("file", "why"),
    [
        ("nowhere.gguf", "No such file"),
        ("text.gguf", "invalid magic"),
        ("cut.gguf", "not within the file bounds"),
        ("empty.gguf", "magic"),
        (".", "directory"),
    ],
)
def test_a_file_that_is_no_model_is_a_failed_load(spawn: Spawn, tmp_path: Path, file: str, why: str) -> None:
    (tmp_path / "text.gguf").write_text("<html>not found</html>")
    (tmp_path / "cut.gguf").write_bytes(DEMO.read_bytes()[:400_000])
    (tmp_path / "empty.gguf").touch()
    child = spawn()
    failed = child.load(tmp_path / file)
    assert isinstance(failed, LoadFailed)
    assert why in failed.reason
    assert not failed.out_of_memory
    assert child.gone_within(5)
    code, log = child.end()
    assert code == 1
    assert "Traceback" not in log


@pytest.mark.parametrize(
    ("file", "why"),
    [
        ("tiny-chat-mmproj-f16.gguf", "CLIP cannot be used as main model"),
        ("tiny-chat-pirate-lora-f16.gguf", "llama.context_length"),
    ],
)
def test_a_model_that_cannot_continue_text_is_refused(spawn: Spawn, file: str, why: str) -> None:
    child = spawn()
    failed = child.load(MODELS / file)
    assert isinstance(failed, LoadFailed)
    assert why in failed.reason
    assert child.gone_within(5)
    assert child.end()[0] == 1


def test_x02_more_memory_than_there_is_says_so(spawn: Spawn) -> None:
    child = spawn()
    resource.prlimit(child.process.pid, resource.RLIMIT_AS, (2 << 30, 2 << 30))
    failed = child.load(DEMO, context=1 << 20, parallel=1)
    assert isinstance(failed, LoadFailed)
    assert failed.out_of_memory, failed.reason
    assert child.gone_within(5)
    assert child.end()[0] == 1


def test_a_context_out_of_range_is_refused(spawn: Spawn) -> None:
    child = spawn()
    failed = child.load(DEMO, context=2**30, parallel=256)
    assert isinstance(failed, LoadFailed)
    assert "out of range" in failed.reason
    assert child.gone_within(5)
    assert child.end()[0] == 1


def test_without_the_engine_the_load_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(llama.EngineMissing, match="llama-cpp-python is not installed"):
        llama.Bindings()


def test_x07_a_cancelled_stream_ends_at_once_and_frees_its_cells(child: Child) -> None:
    number = endless(child)
    child.until_text(number)
    begun = time.monotonic()
    child.cancel(number)
    done = child.wait(number)[0].finished
    assert time.monotonic() - begun < 1
    assert (done.reason, done.output_tokens >= 1) == ("cancel", True)
    assert child.idle().cells_used == 0


def test_x07_a_prompt_is_cancelled_while_it_is_read_in(child: Child) -> None:
    number = child.ask(LONG_PROMPT)
    child.until(Stats)
    child.cancel(number)
    done = child.wait(number)[0].finished
    assert (done.reason, done.output_tokens) == ("cancel", 0)
    assert child.idle().prompt_tokens < done.prompt_tokens


def test_a_waiting_request_is_cancelled_and_the_streams_go_on(child: Child) -> None:
    streams = [endless(child) for _ in range(2)]
    waiting = child.ask(QUESTION)
    child.until_text(streams[1])
    child.cancel(waiting)
    done = child.wait(waiting)[0].finished
    assert (done.reason, done.output_tokens, done.prompt_ns) == ("cancel", 0, 0)
    assert not any(child.answers[stream].ends for stream in streams)


def test_a_cancel_while_the_text_is_tokenised_is_obeyed(child: Child) -> None:
    numbers = [child.ask(" time" * 20_000) for _ in range(6)]
    for number in numbers:
        child.cancel(number)
    assert {answer.finished.reason for answer in child.wait(*numbers)} == {"cancel"}


def test_an_unknown_cancel_is_ignored(child: Child) -> None:
    child.cancel(12345)
    assert child.one(QUESTION, num_predict=2).finished.output_tokens == 2


def test_an_id_in_use_is_refused_and_the_first_goes_on(child: Child) -> None:
    number = endless(child)
    child.until_text(number)
    child.send(child.request(number, QUESTION))
    failed = child.until(Failed)
    assert (failed.id, failed.code) == (number, "bad_request")
    child.answers[number].ends.clear()
    child.cancel(number)
    assert child.wait(number)[0].finished.reason == "cancel"


def test_a_deadline_passes_for_a_request_that_waits(child: Child) -> None:
    streams = [endless(child) for _ in range(2)]
    late = child.ask(QUESTION, deadline=0.05)
    assert child.wait(late)[0].failed.code == "timeout"
    assert not any(child.answers[stream].ends for stream in streams)


def test_streams_go_on_while_a_long_prompt_is_read_in(child: Child) -> None:
    stream = endless(child)
    child.until_text(stream)
    before = child.answers[stream].tokens
    child.wait(child.ask(" time" * 1500, num_predict=1))
    assert child.answers[stream].tokens - before >= 3


def test_a_daemon_that_does_not_read_can_still_cancel(child: Child) -> None:
    numbers = [endless(child, context=20_000) for _ in range(2)]
    time.sleep(0.3)
    for number in numbers:
        child.cancel(number)
    assert all(len(answer.ends) == 1 for answer in child.wait(*numbers))


def test_gauges_rise_and_fall(child: Child) -> None:
    child.wait(child.ask("time " * 50, num_predict=5), child.ask("time " * 50, num_predict=5))
    last = child.idle()
    assert (last.running, last.waiting, last.cells_used) == (0, 0, 0)
    assert last.cells_total >= 60_000
    assert last.output_tokens == 10
    assert last.prompt_tokens == sum(child.answers[number].finished.prompt_tokens for number in (1, 2))
    assert last.steps > 0
    assert last.decode_ns > 0


def test_a_request_before_the_model_is_there_is_told_to_come_back(spawn: Spawn, weights: Path) -> None:
    child = spawn()
    child.send(child.request(1, QUESTION))
    assert child.wait(1)[0].failed.code == "busy"
    assert isinstance(child.load(weights), Ready)
    assert child.shutdown()[0] == 0


def test_shutdown_tells_every_open_request_and_exits_0(child: Child) -> None:
    numbers = [endless(child) for _ in range(3)]
    child.until_text(numbers[1])
    code, log = child.shutdown()
    assert code == 0
    assert all(child.answers[number].failed.code == "runner_died" for number in numbers)
    assert "Traceback" not in log


def test_shutdown_before_the_load_exits_0(spawn: Spawn) -> None:
    assert spawn().shutdown()[0] == 0


@pytest.mark.parametrize("state", ["before load", "idle", "busy"])
def test_x01_the_runner_ends_when_the_daemon_is_gone(spawn: Spawn, weights: Path, state: str) -> None:
    child = spawn() if state == "before load" else loaded(spawn(), weights)[0]
    if state == "busy":
        child.until_text(endless(child))
    child.sock.shutdown(socket.SHUT_RDWR)
    assert child.gone_within(5)
    assert child.end()[0] == 0


def test_sigterm_ends_it_and_ctrl_c_does_not(child: Child) -> None:
    child.process.send_signal(signal.SIGINT)
    assert child.one(QUESTION, num_predict=1).finished
    child.process.send_signal(signal.SIGTERM)
    assert child.gone_within(5)
    assert child.process.returncode == -signal.SIGTERM


def test_x02_the_runner_is_the_first_to_go_when_memory_ends(child: Child) -> None:
    assert Path(f"/proc/{child.process.pid}/oom_score_adj").read_text().strip() == "500"


@pytest.mark.parametrize("garbage", [b"\x05\x00\x00\x00hello", b"\xff\xff\xff\x7f" + b"x" * 100])
def test_a_peer_that_does_not_speak_the_protocol_is_left(spawn: Spawn, garbage: bytes) -> None:
    child = spawn()
    child.sock.sendall(garbage)
    assert child.gone_within(5)
    code, log = child.end()
    assert code == 76
    assert "does not" in log


def test_wrong_usage_is_told() -> None:
    done = subprocess.run([sys.executable, "-m", "powerd.runner"], capture_output=True, cwd=ROOT, check=False)
    assert done.returncode == 64
    assert b"usage" in done.stderr
