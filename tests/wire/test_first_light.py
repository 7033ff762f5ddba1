"""The demo model through the real daemon and real llama.cpp: the official clients, powerctl, and clean ends."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import ollama
import openai
import openai.types.chat
import psutil
import pytest

from tests.wire.powerd_process import Powerd

DEMO = "models:\n  demo: {source: 'builtin:demo', aliases: [gpt-4o]}\n"
QUESTION = [{"role": "user", "content": "What is 2 + 3?"}]
ASKED: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "What is 2 + 3?"}]


@pytest.fixture(scope="module")
def powerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Powerd]:
    with Powerd(tmp_path_factory.mktemp("powerd"), models=DEMO) as running:
        running.wait("Fits", "demo")
        yield running


@pytest.fixture(scope="module")
def client(powerd: Powerd) -> Iterator[ollama.Client]:
    with ollama.Client(host=powerd.url) as client:
        yield client


def test_the_ollama_client_lists_shows_chats_and_completes(client: ollama.Client) -> None:
    assert {model.model for model in client.list().models} == {"demo:latest", "gpt-4o:latest"}
    shown = client.show("demo")
    assert shown.modelinfo is not None
    assert shown.modelinfo["general.architecture"] == "llama"
    assert shown.capabilities == ["completion", "tools", "thinking"]
    whole = client.chat("demo", QUESTION, options={"temperature": 0})
    assert whole.message.content is not None
    assert "5" in whole.message.content
    assert (whole.done_reason, whole.done) == ("stop", True)
    chunks = list(client.chat("demo", QUESTION, stream=True, options={"temperature": 0}))
    assert "".join(chunk.message.content or "" for chunk in chunks) == whole.message.content
    assert [chunk.done for chunk in chunks].count(True) == 1
    assert chunks[-1].eval_count == whole.eval_count
    generated = client.generate("demo", "What is 2 + 3?", options={"temperature": 0})
    assert generated.response == whole.message.content
    assert generated.context
    assert [model.name for model in client.ps().models] == ["demo:latest"]


def test_generate_goes_on_from_a_context(client: ollama.Client) -> None:
    first = client.generate("demo", "My name is Anna.", options={"temperature": 0})
    second = client.generate("demo", "What is my name?", context=list(first.context or ()), options={"temperature": 0})
    assert "Anna" in (second.response or "")


def test_the_openai_client_lists_chats_and_completes(powerd: Powerd) -> None:
    with openai.OpenAI(base_url=powerd.url + "/v1", api_key="none") as client:
        converse(client)


def converse(client: openai.OpenAI) -> None:
    assert "demo:latest" in [model.id for model in client.models.list()]
    assert client.models.retrieve("demo").id == "demo"
    whole = client.chat.completions.create(model="gpt-4o", messages=ASKED, temperature=0)
    assert "5" in (whole.choices[0].message.content or "")
    assert whole.choices[0].finish_reason == "stop"
    stream = client.chat.completions.create(
        model="demo", messages=ASKED, temperature=0, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage is not None
    assert whole.usage is not None
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    completed = client.completions.create(model="demo", prompt="What is 2 + 3?", temperature=0)
    assert "5" in completed.choices[0].text


def test_a_model_nobody_has_is_404_in_each_dialect(powerd: Powerd, client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match="model 'nope' not found") as native:
        client.chat("nope", QUESTION)
    assert native.value.status_code == 404
    with (
        openai.OpenAI(base_url=powerd.url + "/v1", api_key="x", max_retries=0) as other,
        pytest.raises(openai.NotFoundError, match="model 'nope' not found"),
    ):
        other.chat.completions.create(model="nope", messages=ASKED)


def test_load_and_unload_by_empty_prompt(powerd: Powerd) -> None:
    assert powerd.post("/api/generate", {"model": "demo"}).json()["done_reason"] == "load"
    assert [row["model"] for row in powerd.ps()]
    assert powerd.post("/api/generate", {"model": "demo", "keep_alive": 0}).json()["done_reason"] == "unload"
    deadline = time.monotonic() + 10
    while powerd.ps() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert powerd.ps() == []
    assert powerd.condition("Loaded", "demo")["status"] == "False"


def test_delete_and_copy(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match=r"declared as \"demo\" in models.yaml"):
        client.delete("demo")
    client.copy("demo", "mine")
    assert "mine:latest" in [model.model for model in client.list().models]
    assert "5" in (client.generate("mine", "What is 2 + 3?", options={"temperature": 0}).response or "")
    client.delete("mine")
    assert "mine:latest" not in [model.model for model in client.list().models]
    assert "5" in (client.generate("demo", "What is 2 + 3?", options={"temperature": 0}).response or "")


def test_pull_of_a_declared_name_ends_in_success(client: ollama.Client) -> None:
    statuses = [progress.status for progress in client.pull("demo", stream=True)]
    assert statuses[0] == "pulling manifest"
    assert statuses[-3:] == ["verifying sha256 digest", "writing manifest", "success"]
    with pytest.raises(ollama.ResponseError, match="invalid model name"):
        client.pull("no//pe")


def test_health_and_metrics(powerd: Powerd) -> None:
    health = powerd.get("/health").json()
    assert health["status"] == "ok"
    assert {"version", "uptime", "loaded_models"} <= health.keys()
    assert powerd.get("/livez").status_code == powerd.get("/readyz").status_code == 200
    assert powerd.metric("power_generation") == 1
    assert powerd.metric("power_config_valid") == 1
    assert powerd.metric("power_tokens_total", model="demo:latest", kind="output") > 0


def test_powerctl_tells_the_same_story(powerd: Powerd) -> None:
    answer = powerd.powerctl("run", "demo", "What is 2 + 3?", "-o", "temperature=0")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "5" in answer.stdout
    assert "5" in powerd.powerctl("run", "demo", stdin="What is 2 + 3?").stdout
    rows = json.loads(powerd.powerctl("ps", "--json").stdout)
    assert {"model", "pid", "state", "context", "parallel", "size", "size_vram", "expires_at", "requests"} <= rows[
        0
    ].keys()
    status = powerd.powerctl("status")
    assert status.returncode == 0
    assert "demo" in status.stdout
    told = json.loads(powerd.powerctl("status", "--json").stdout)
    assert {"generation", "conditions", "models"} <= told.keys()
    assert {"name", "want", "have", "conditions"} <= told["models"][0].keys()
    assert powerd.powerctl("list").stdout.splitlines()[0].split() == ["NAME", "ID", "SIZE", "MODIFIED"]
    assert "llama" in powerd.powerctl("show", "demo").stdout
    assert powerd.powerctl("wait", "--for=Ready", "model/demo", "--timeout", "20").returncode == 0
    assert powerd.powerctl("stop", "demo").returncode == 0
    assert powerd.powerctl("load", "demo").returncode == 0
    assert powerd.powerctl("pull", "demo").returncode == 0
    assert powerd.powerctl("apply", "--wait").returncode == 0
    assert powerd.powerctl("cp", "demo", "other").stdout.strip() == "copied 'demo' to 'other'"
    assert powerd.powerctl("rm", "other").stdout.strip() == "deleted 'other'"
    assert powerd.powerctl("rm", "demo").returncode == 1


def test_sigterm_ends_it_with_0_and_leaves_nothing(tmp_path: Path) -> None:
    with Powerd(tmp_path, models=DEMO) as powerd:
        powerd.wait("Fits", "demo")
        assert powerd.powerctl("load", "demo").returncode == 0
        children = psutil.Process(powerd.pid).children(recursive=True)
        assert len(children) >= 3
        powerd.signal(signal.SIGTERM)
        assert powerd.wait_exit() == 0
        assert not [child for child in children if child.is_running()]
        assert not powerd.socket.exists()


def test_k06_kill_9_under_an_answer_leaves_no_process_and_a_restart_is_clean(tmp_path: Path) -> None:
    with Powerd(tmp_path, models=DEMO) as powerd:
        powerd.wait("Fits", "demo")
        assert powerd.powerctl("load", "demo").returncode == 0
        children = psutil.Process(powerd.pid).children(recursive=True)
        asked = {"model": "demo", "prompt": "Once", "raw": True, "options": {"num_predict": 500, "temperature": 2}}
        with httpx.stream("POST", powerd.url + "/api/generate", json=asked, timeout=30) as answer:
            next(answer.iter_lines())
            powerd.signal(signal.SIGKILL)
            powerd.wait_exit()
        gone, alive = psutil.wait_procs(children, timeout=5)
        assert gone
        assert not alive
        powerd.start()
        powerd.wait("Fits", "demo")
        assert powerd.status()["generation"] == 1
        assert "5" in powerd.powerctl("run", "demo", "What is 2 + 3?", "-o", "temperature=0").stdout


def test_c02_a_second_daemon_is_78_with_a_clear_message(tmp_path: Path) -> None:
    with Powerd(tmp_path, models=DEMO) as powerd:
        for flags in ((), ("--socket", str(tmp_path / "other.sock"))):
            second = subprocess.run(powerd.command(*flags), capture_output=True, text=True, timeout=20, check=False)
            assert second.returncode == 78, second.stderr
            assert "another powerd" in second.stderr
        assert powerd.get("/livez").status_code == 200
