"""Health that tells the truth: canaries, /readyz, what is put right behind our back, and what explains it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gguf_maker import tiny
from tests.wire.powerd_process import Powerd
from tests.wire.test_changes import LONG, within

LOADED = "models:\n  demo: {source: 'builtin:demo', state: loaded, parallel: 2}\n"


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """The process does not run meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.fixture(scope="module")
def powerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Powerd]:
    directory = tmp_path_factory.mktemp("truth")
    long = f"  long: {{source: {tiny(directory / 'r.gguf')}, context: 8192, parallel: 1}}\n"
    with Powerd(directory, models=LOADED + long, config="canary: {timeout: 1s}\n") as running:
        running.wait("Ready", "demo")
        yield running


def events(powerd: Powerd, *arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in powerd.powerctl("events", "--json", *arguments).stdout.splitlines()]


def test_ready_means_that_a_token_came_back_and_leaves_no_trace(powerd: Powerd) -> None:
    ready = powerd.condition("Ready", "demo")
    assert (ready["status"], ready["reason"]) == ("True", "CanaryAnswered")
    assert powerd.metric("power_canaries_total", model="demo", result="answered") >= 1
    assert powerd.metric("power_tokens_total", model="demo") == 0
    assert powerd.get("/readyz").status_code == 200


def test_a_stopped_runner_makes_readyz_503_within_10_s_and_200_again_when_it_goes_on(powerd: Powerd) -> None:
    pid = powerd.ps()[0]["pid"]
    assert powerd.get("/readyz").status_code == 200
    started = time.monotonic()
    with stopped(pid):
        while (answer := powerd.get("/readyz")).status_code == 200:
            assert time.monotonic() - started < 10
            time.sleep(0.2)
        assert time.monotonic() - started < 10
        assert "model 'demo' does not answer: no answer to a request for one token in" in answer.text
        assert powerd.condition("Ready", "demo")["reason"] == "CanaryFailed"
        assert powerd.powerctl("status").returncode == 1
        assert powerd.ps()[0]["pid"] == pid, "a late canary does not kill"
        assert powerd.get("/health").json()["status"] == "degraded"
    within(5, lambda: powerd.get("/readyz").status_code == 200)
    told = [event["reason"] for event in events(powerd, "demo") if event["kind"] == "canary"]
    assert told == ["CanaryFailed", "CanaryAnswered"]


def test_c06_the_control_sockets_file_comes_back_and_open_streams_go_on(powerd: Powerd) -> None:
    follower = subprocess.Popen(
        [sys.executable, "-m", "powerd.ctl", "--socket", str(powerd.socket), "events", "-f", "--json"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert follower.stdout is not None
    with follower:
        first = json.loads(follower.stdout.readline())
        assert first["number"] == 1
        powerd.socket.unlink()
        within(5, lambda: powerd.powerctl("status").returncode == 0)
        assert oct(powerd.socket.stat().st_mode & 0o777) == "0o660"
        numbers, reasons = [1], [""]
        while reasons[-1] != "SocketRestored":
            event = json.loads(follower.stdout.readline())
            numbers.append(event["number"])
            reasons.append(event["reason"])
        assert numbers == list(range(1, len(numbers) + 1)), "no event is left out"
        follower.kill()


def test_explain_says_where_each_value_comes_from(powerd: Powerd) -> None:
    told = json.loads(powerd.powerctl("explain", "demo", "--json").stdout)
    values = {value["field"]: value for value in told["values"]}
    assert values["parallel"]["origin"] == f"{powerd.models}:3"
    assert (values["parallel"]["value"], values["parallel"]["have"]) == (2, 2)
    assert values["kv_cache"]["origin"] == "built-in"
    assert values["context"]["have"] == values["context"]["value"]
    text = powerd.powerctl("explain", "demo").stdout
    assert "ENGINE HAS" in text
    assert powerd.powerctl("explain", "nobody").returncode == 1


def test_why_says_where_a_model_is_and_what_led_there(powerd: Powerd) -> None:
    text = powerd.powerctl("why", "demo").stdout
    assert text.startswith("model demo: it is loaded (pid ")
    assert "ready after" in text
    missing = powerd.powerctl("why", "nobody")
    assert (missing.returncode, "no model, and no request" in missing.stderr) == (1, True)


def test_why_says_what_a_request_is_doing(powerd: Powerd) -> None:
    body = {"model": "long", "prompt": "Once upon a time", "options": LONG}
    headers = {"X-Request-Id": "my-request"}
    with httpx.stream("POST", powerd.url + "/api/generate", json=body, headers=headers, timeout=60) as answer:
        lines = answer.iter_lines()  # kept: without it the stream is closed
        next(lines)
        told = powerd.control("POST", "/v1/why", {"subject": "my-request"})
    assert told["kind"] == "request"
    assert told["answer"].startswith("it runs on 'long' since ")


def test_a_dead_runner_is_back_and_an_event_says_so(powerd: Powerd) -> None:
    pid = powerd.ps()[0]["pid"]
    os.kill(pid, signal.SIGKILL)
    within(10, lambda: [row["pid"] for row in powerd.ps() if row["state"] == "ready"] not in ([], [pid]))
    powerd.wait("Ready", "demo")
    kinds = [event["kind"] for event in events(powerd, "demo")]
    assert kinds[kinds.index("crash") :][:3] == ["crash", "load", "ready"]


def test_hand_actions_are_overrides_with_an_owner_and_an_end(powerd: Powerd) -> None:
    assert powerd.powerctl("stop", "demo", "--for", "10m").returncode == 0
    [override] = powerd.status()["overrides"]
    assert (override["model"], override["kind"], override["owner"]) == ("demo", "stopped", "operator")
    assert 500 < override["until"] - time.time() < 601
    shown = powerd.powerctl("status").stdout
    assert "Overrides\n  demo    stopped by the operator" in shown
    assert "stopped by the operator" in powerd.powerctl("why", "demo").stdout + shown
    assert powerd.powerctl("load", "demo").returncode == 0
    powerd.wait("Ready", "demo")


def test_a_model_whose_requirement_cannot_be_met_is_refused_with_numbers(tmp_path: Path) -> None:
    tiny(tmp_path / "m.gguf")
    models = f"models:\n  m: {{source: {tmp_path}/m.gguf, state: loaded, require: {{gpu: true}}}}\n"
    with Powerd(tmp_path, models=models) as powerd:
        powerd.powerctl("apply", "--wait")
        fits = powerd.condition("Fits", "m")
        assert (fits["status"], fits["reason"]) == ("False", "RequireUnmet")
        refused = powerd.post("/api/generate", {"model": "m", "prompt": "x"})
        assert (refused.status_code, "require" in refused.text) == (503, True)


def test_doctor_examines_the_running_daemon_and_works_without_one(powerd: Powerd, tmp_path: Path) -> None:
    well = powerd.powerctl("doctor", "--json")
    findings = {each["subject"]: each for each in json.loads(well.stdout)["findings"]}
    assert findings["daemon"]["message"].endswith(f"answers on {powerd.socket}")
    assert findings["port"]["message"] == f"powerd listens on {powerd.url.removeprefix('http://')}"
    assert well.returncode == 0, well.stdout
    down = Powerd(tmp_path).powerctl("doctor")
    assert down.returncode == 1
    assert "fail  daemon" in down.stdout
