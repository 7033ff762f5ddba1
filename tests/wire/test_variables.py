"""Ollama's variables, and another server's, by what they do to a real daemon that was given them."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from powerd.names import Name
from powerd.store.manifest import MODEL_TYPE, TEMPLATE_TYPE, Layer
from powerd.store.store import Store
from tests.wire.powerd_process import Powerd

DEMO = Path(__file__).parent.parent.parent / "powerd" / "demo" / "tiny-chat-q8_0.gguf"
GO = "<{{ .Prompt }}>"
SET = {
    "OLLAMA_HOST": "http://localhost:0/",
    "OLLAMA_KEEP_ALIVE": '"2h"',
    "OLLAMA_CONTEXT_LENGTH": "300",
    "OLLAMA_NUM_PARALLEL": "3",
    "MAX_CACHE_MODELS": "1",
    "OLLAMA_KV_CACHE_TYPE": "Q8_0",
    "OLLAMA_FLASH_ATTENTION": "1",
    "OLLAMA_GO_TEMPLATE": "1",
    "OLLAMA_ORIGINS": "https://ui.example,app://mine",
    "OLLAMA_NOPRUNE": "1",
    "OLLAMA_DEBUG": "1",
    "OLLAMA_TMPDIR": "/nowhere",
    "MODEL_LOAD_COOLDOWN": "600",
}

pytestmark = pytest.mark.model


class Given(Powerd):
    """A powerd whose address and directories nobody but the environment names."""

    def command(self, *flags: str) -> list[str]:
        """Without the flags that would win over the variables."""
        whole = super().command(*flags)
        for flag in ("--listen", "--state"):
            place = whole.index(flag)
            del whole[place : place + 2]
        return whole


@pytest.fixture(scope="module")
def powerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Powerd]:
    directory = tmp_path_factory.mktemp("variables")
    store = Store(directory / "models")
    store.open()
    weights = store.take(DEMO)
    template, size = store.put(GO.encode())
    layers = [Layer(MODEL_TYPE, weights, DEMO.stat().st_size), Layer(TEMPLATE_TYPE, template, size)]
    store.publish(Name.parse("pulled"), layers, {})
    store.close()
    models = "models:\n  other: {source: 'builtin:demo', context: 200}\n"
    places = {"OLLAMA_MODELS": str(directory / "models"), "POWER_HOME": str(directory / "home")}
    with Given(directory, models=models, **SET, **places) as powerd:
        yield powerd


def loaded(powerd: Powerd) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = httpx.get(f"{powerd.url}/api/ps", timeout=30).json()["models"]
    return rows


def load(powerd: Powerd, model: str) -> None:
    assert httpx.post(f"{powerd.url}/api/generate", json={"model": model}, timeout=60).status_code == 200


def test_it_listens_stores_and_keeps_its_state_where_they_say(powerd: Powerd) -> None:
    assert powerd.url.startswith(("http://127.0.0.1:", "http://localhost:", "http://[::1]:"))
    names = [row["name"] for row in httpx.get(f"{powerd.url}/api/tags", timeout=30).json()["models"]]
    assert "pulled:latest" in names
    assert (powerd.directory / "home" / "generations").is_dir()


def test_a_model_is_loaded_as_they_say_and_only_one_at_a_time(powerd: Powerd) -> None:
    powerd.wait("Fits", "other")
    load(powerd, "other")
    load(powerd, "pulled")
    (row,) = loaded(powerd)
    assert (row["name"], row["context_length"]) == ("pulled:latest", 300)
    left = datetime.fromisoformat(str(row["expires_at"])) - datetime.now(UTC)
    assert 7000 < left.total_seconds() <= 7200
    (own,) = powerd.control("GET", "/v1/ps")
    assert (own["context"], own["parallel"]) == (300, 3)
    explained = json.dumps(powerd.control("POST", "/v1/explain", {"model": "other"}))
    for variable in ("OLLAMA_KV_CACHE_TYPE", "OLLAMA_FLASH_ATTENTION", "OLLAMA_NUM_PARALLEL", "OLLAMA_KEEP_ALIVE"):
        assert variable in explained


def test_a_pulled_go_template_is_used_though_the_gguf_can_do_more(powerd: Powerd) -> None:
    asked = {"model": "pulled", "prompt": "hi", "_debug_render_only": True}
    told = httpx.post(f"{powerd.url}/api/generate", json=asked, timeout=30).json()
    assert told["_debug_info"]["rendered_template"] == "<hi>"


def test_origins_are_let_in(powerd: Powerd) -> None:
    for origin, status in (("https://ui.example", 200), ("app://mine", 200), ("https://else.example", 403)):
        answer = httpx.get(f"{powerd.url}/api/tags", headers={"Origin": origin}, timeout=30)
        assert answer.status_code == status
        assert answer.headers.get("access-control-allow-origin") == (origin if status == 200 else None)


def test_nothing_is_collected(powerd: Powerd) -> None:
    orphan = powerd.directory / "models" / "blobs" / f"sha256-{'0' * 64}"
    orphan.write_bytes(b"x" * 1000)
    long_ago = time.time() - 10**6
    os.utime(orphan, (long_ago, long_ago))
    assert "max_delete_fraction" in powerd.control("POST", "/v1/store/gc", {})["error"]
    assert orphan.exists()


def test_the_log_speaks_of_each_request_and_names_what_means_nothing(powerd: Powerd) -> None:
    httpx.get(f"{powerd.url}/api/version", timeout=30)
    log = powerd.log()
    assert '"asked"' in log
    for variable in ("OLLAMA_TMPDIR", "MODEL_LOAD_COOLDOWN"):
        assert variable in log
