"""A real Open WebUI in its own process, on a free port and in its own directory, with a powerd as its Ollama."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.clients.declared import EMBEDDER, INSTALLED, MODEL, environ
from tests.sources.lab import free_port

HOME = INSTALLED / "open_webui"
STARTS_WITHIN = 180  # seconds; it takes about 20 on two idle cores
#: What a model may call: as Open WebUI's users write them.
WEATHER = '''class Tools:
    def get_weather(self, city: str) -> str:
        """Get the current weather in a city"""
        return '{"temperature": 21, "condition": "sunny"}'
'''


def _settings(powerd_url: str, directory: Path) -> dict[str, str]:
    return {
        "DATA_DIR": str(directory),
        "WEBUI_AUTH": "False",
        "WEBUI_SECRET_KEY": "only for this test",
        "OLLAMA_BASE_URL": powerd_url,
        "ENABLE_OPENAI_API": "False",
        "RAG_EMBEDDING_ENGINE": "ollama",
        "RAG_OLLAMA_BASE_URL": powerd_url,
        "RAG_EMBEDDING_MODEL": EMBEDDER,
        # nothing is asked of anybody else
        "OFFLINE_MODE": "True",
        "HF_HUB_OFFLINE": "1",
        "ENABLE_VERSION_UPDATE_CHECK": "False",
        "ANONYMIZED_TELEMETRY": "False",
        "DO_NOT_TRACK": "true",
        "SCARF_NO_ANALYTICS": "true",
    }


def _started(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Wait until it answers."""
    deadline = time.monotonic() + STARTS_WITHIN
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/health", timeout=5).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise AssertionError(f"Open WebUI did not start:\n{log.read_text(errors='replace')[-4000:]}")


@contextmanager
def open_webui(powerd_url: str, directory: Path) -> Iterator[httpx.Client]:
    """It runs; a client that is signed in as its administrator."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    log = directory / "log"
    command = [str(HOME / "bin/open-webui"), "serve", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=output,
            cwd=directory,
            env=environ(directory) | _settings(powerd_url, directory),
            start_new_session=True,
        )
    try:
        _started(process, url, log)
        with httpx.Client(base_url=url, timeout=60) as client:
            token = call(client, "POST", "/api/v1/auths/signin", {"email": "", "password": ""})["token"]
            client.headers["Authorization"] = f"Bearer {token}"
            yield client
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def call(client: httpx.Client, method: str, path: str, body: object = None) -> Any:
    """One call of its API, which must succeed; the decoded answer."""
    answer = client.request(method, path, json=body)
    assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
    return answer.json()


def lines(client: httpx.Client, path: str, body: object) -> list[str]:
    """One call that reports its progress; the `status` of each line."""
    answer = client.post(path, json=body)
    assert answer.is_success, f"{path}: {answer.status_code} {answer.text}"
    return [httpx.Response(200, content=line).json().get("status", line) for line in answer.text.splitlines() if line]


def furnish(client: httpx.Client) -> None:
    """What its administrator sets up: a tool, and a model `forecast` that has it.

    Open WebUI offers every model some thirty tools of its own. The demonstration model's context of 1024 tokens has no
    room for them, so they are switched off. So is the list of news that the page opens with.
    """
    call(client, "POST", "/api/v1/users/user/settings/update", {"ui": {"showChangelog": False}})
    call(client, "POST", "/api/v1/tools/create", {"id": "weather", "name": "Weather", "content": WEATHER, "meta": {}})
    plain = {"capabilities": {"builtin_tools": False}}
    for name, of, meta in ((MODEL, None, plain), ("forecast", MODEL, plain | {"toolIds": ["weather"]})):
        model = {"id": name, "name": name, "base_model_id": of, "meta": meta, "params": {}}
        call(client, "POST", "/api/v1/models/create", model)
