"""Edits to models.yaml while streams run: a change touches only what it must, and a broken one nothing."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.gguf_maker import tiny
from tests.wire.powerd_process import Powerd

#: Long enough to be in the way of whatever a test does: attention over thousands of cells slows even a tiny model.
LONG = {"num_predict": 8000, "temperature": 0.8, "seed": 7}


class Stream(threading.Thread):
    """A streamed generation read in the background: every line with the time it came."""

    def __init__(self, powerd: Powerd, model: str, **options: object) -> None:
        super().__init__(daemon=True)
        self._url = powerd.url + "/api/generate"
        self._body = {"model": model, "prompt": "Once upon a time", "options": {**LONG, **options}}
        self.lines: list[dict[str, object]] = []
        self.times: list[float] = []
        self.stop = threading.Event()
        self.start()

    def run(self) -> None:
        with httpx.stream("POST", self._url, json=self._body, timeout=120) as answer:
            for line in answer.iter_lines():
                self.lines.append(json.loads(line))
                self.times.append(time.monotonic())
                if self.stop.is_set():
                    return

    def begun(self) -> Stream:
        deadline = time.monotonic() + 30
        while not self.lines:
            assert time.monotonic() < deadline, "no first token"
            time.sleep(0.01)
        return self

    @property
    def worst_gap(self) -> float:
        return max(later - earlier for earlier, later in zip(self.times, self.times[1:], strict=False))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "random.gguf"
    tiny(path, context=8192)
    return path


@pytest.fixture
def other(tmp_path: Path) -> Path:
    path = tmp_path / "other.gguf"
    tiny(path, context=4096, seed=9)
    return path


@pytest.fixture
def powerd(tmp_path: Path, weights: Path) -> Iterator[Powerd]:
    with Powerd(tmp_path, models=f"models:\n{declaration(weights)}") as running:
        running.wait("Fits", "a")
        yield running


def declaration(weights: Path) -> str:
    return f"  a: {{source: {weights}, context: 8192, parallel: 16, keep_alive: 1h}}\n"


def test_edits_of_b_never_touch_a_stream_on_a(powerd: Powerd, weights: Path, other: Path) -> None:
    stream = Stream(powerd, "a", num_predict=4500).begun()
    pid = powerd.ps()[0]["pid"]
    a = declaration(weights)

    def have(model: str) -> dict[str, object]:
        have = powerd.model(model)["have"]
        assert isinstance(have, dict)
        return have

    powerd.declare(f"models:\n{a}  b: {{source: {other}, context: 512, parallel: 1}}\n")
    assert powerd.powerctl("apply", "--wait").returncode == 0
    assert powerd.post(
        "/api/generate", {"model": "b", "prompt": "x", "stream": False, "options": {"num_predict": 3}}
    ).is_success
    first = have("b")
    assert (first["state"], first["context"]) == ("running", 512)

    powerd.declare(
        f"models:\n{a}  b: {{source: {other}, context: 1024, parallel: 1, aliases: [bee], "
        "parameters: {num_predict: 5}}\n"
    )
    assert powerd.powerctl("apply", "--wait").returncode == 0
    answer = powerd.post("/api/generate", {"model": "bee", "prompt": "x", "stream": False}).json()
    assert (answer["model"], answer["eval_count"]) == ("bee", 5)
    second = have("b")
    assert (second["state"], second["context"]) == ("running", 1024)
    assert second["pid"] != first["pid"]

    powerd.declare(f"models:\n{a}")
    deadline = time.monotonic() + 10
    while len(powerd.status()["models"]) > 1:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert powerd.post("/api/generate", {"model": "b", "prompt": "x"}).status_code == 404
    told = powerd.powerctl("status").stdout
    assert "Withdrawn" in told

    assert stream.is_alive(), "the stream ended before the edits did"
    stream.join(120)
    assert stream.lines[-1]["done"] is True
    assert stream.lines[-1]["eval_count"] == 4500
    assert stream.worst_gap < 1.0
    assert have("a")["pid"] == pid


def test_y05_a_broken_edit_changes_nothing_and_is_reported_with_its_line(powerd: Powerd, weights: Path) -> None:
    generation = powerd.status()["generation"]
    powerd.declare(f"models:\n{declaration(weights)}  b: {{source: builtin:demo, contxt: 5}}\n")
    applied = powerd.powerctl("apply")
    assert applied.returncode == 1
    assert f'{powerd.models}:4:29: b: unknown key "contxt"; did you mean "context"?' in applied.stdout + applied.stderr
    told = powerd.powerctl("status")
    assert told.returncode == 1
    assert "models.yaml:4:29" in told.stdout
    assert powerd.status()["generation"] == generation
    assert [model["name"] for model in powerd.status()["models"]] == ["a"]
    assert powerd.metric("power_config_valid") == 0
    powerd.declare(f"models:\n{declaration(weights)}")
    powerd.wait("ConfigValid")


def test_a_live_edit_restarts_nothing(powerd: Powerd, weights: Path) -> None:
    ask = {"model": "a", "prompt": "x", "stream": False}
    assert powerd.post("/api/generate", {**ask, "options": {"num_predict": 2}}).json()["eval_count"] == 2
    pid = powerd.ps()[0]["pid"]
    powerd.declare(f"models:\n{declaration(weights)[:-2]}, system: Be brief., parameters: {{num_predict: 4}}}}\n")
    assert powerd.powerctl("apply", "--wait").returncode == 0
    assert powerd.post("/api/generate", ask).json()["eval_count"] == 4
    assert powerd.ps()[0]["pid"] == pid


def test_a_wiped_file_keeps_the_last_good_generation_also_over_a_restart(powerd: Powerd) -> None:
    powerd.models.write_text("")
    deadline = time.monotonic() + 10
    while powerd.metric("power_config_valid"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert powerd.post("/api/generate", {"model": "a"}).is_success
    powerd.signal(signal.SIGTERM)
    assert powerd.wait_exit() == 0
    powerd.start()
    powerd.wait("Fits", "a")
    assert powerd.powerctl("status").returncode == 1
    assert powerd.post("/api/generate", {"model": "a"}).is_success


def test_a_failing_model_never_delays_another(powerd: Powerd, weights: Path, tmp_path: Path) -> None:
    (tmp_path / "page.gguf").write_text("<!DOCTYPE html><html>404</html>")
    powerd.declare(
        f"models:\n{declaration(weights)}"
        "  slow: {source: 'http://127.0.0.1:9/never.gguf'}\n"
        f"  page: {{source: {tmp_path}/page.gguf}}\n"
        f"  gone: {{source: {tmp_path}/gone.gguf}}\n"
        "  later: {source: models/later.gguf}\n"
        "  good: {source: 'builtin:demo'}\n"
    )
    assert powerd.powerctl("apply", "--wait", "--timeout", "5").returncode == 1
    powerd.wait("Fits", "good")
    reasons = {
        model["name"]: next(item for item in model["conditions"] if item["status"] == "False")
        for model in powerd.status()["models"]
        if model["name"] not in {"a", "good"}
    }
    assert "looks like HTML" in reasons["page"]["message"]
    assert "gone.gguf" in reasons["gone"]["message"]
    assert reasons["later"]["reason"] == "BadSource"
    refused = powerd.post("/api/generate", {"model": "page", "prompt": "x"})
    assert refused.status_code == 503
    assert "looks like HTML" in refused.json()["error"]


def test_kill_9_of_a_runner_is_an_error_line_within_a_second_and_the_next_request_an_answer(powerd: Powerd) -> None:
    stream = Stream(powerd, "a").begun()
    os.kill(powerd.ps()[0]["pid"], signal.SIGKILL)
    killed = time.monotonic()
    stream.join(5)
    assert time.monotonic() - killed < 1.0
    assert "error" in stream.lines[-1]
    assert not stream.lines[-1].get("done")
    again = powerd.post("/api/generate", {"model": "a", "prompt": "x", "stream": False, "options": {"num_predict": 3}})
    assert again.json()["eval_count"] == 3
    assert any(event["kind"] == "crash" for event in powerd.status()["events"])


def test_sixteen_at_once_share_batches_and_a_hang_up_frees_cells(powerd: Powerd) -> None:
    streams = [Stream(powerd, "a", seed=seed) for seed in range(16)]
    for stream in streams:
        stream.begun()
    rows = 0.0
    deadline = time.monotonic() + 10
    while rows < 8 and time.monotonic() < deadline:
        rows = max(rows, powerd.metric("power_batch_rows", model="a"))
        time.sleep(0.05)
    assert rows >= 8
    for stream in streams[1:]:
        stream.stop.set()
    within(5, lambda: powerd.metric("power_requests_running", model="a") == 1)
    assert powerd.metric("power_cells_used", model="a") > 0
    streams[0].stop.set()
    streams[0].join(5)
    within(1, lambda: powerd.metric("power_cells_used", model="a") == 0)


def within(seconds: float, true: Callable[[], bool]) -> None:
    """Wait until `true()`; fails when that takes longer."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


def test_no_models_yaml_at_all_serves_what_is_installed(tmp_path: Path, weights: Path) -> None:
    with Powerd(tmp_path, models=f"models:\n{declaration(weights)}") as powerd:
        powerd.wait("Fits", "a")
        assert powerd.powerctl("cp", "a", "kept").returncode == 0
    (tmp_path / "models.yaml").unlink()
    for generation in (tmp_path / "state/generations").iterdir():
        generation.unlink()
    with Powerd(tmp_path) as powerd:
        assert powerd.status()["conditions"][0]["reason"] == "NoFile"
        assert powerd.powerctl("status").returncode == 0
        answer = powerd.post(
            "/api/generate", {"model": "kept", "prompt": "x", "stream": False, "options": {"num_predict": 2}}
        )
        assert answer.json()["eval_count"] == 2
        assert powerd.post("/api/generate", {"model": "kept", "keep_alive": 0}).json()["done_reason"] == "unload"
